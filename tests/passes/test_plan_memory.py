"""Plans: buffers needed together do not overlap, and little memory is lost."""

from hypothesis import given
from hypothesis import strategies as st

from mxc.passes._allocate import Plan, Span, allocate

SPANS = st.lists(
    st.builds(
        lambda size, first, length: Span(size, first, first + length),
        st.integers(0, 5000),
        st.integers(0, 40),
        st.integers(0, 10),
    ),
    max_size=40,
)


def check(spans: list[Span], plan: Plan) -> None:
    placed = list(zip(spans, plan.offsets, strict=True))
    for i, (a, x) in enumerate(placed):
        assert x % 64 == 0
        assert x + a.size <= plan.total
        for b, y in placed[:i]:
            together = a.first <= b.last and b.first <= a.last
            assert not together or x + a.size <= y or y + b.size <= x


@given(SPANS)
def test_buffers_needed_together_do_not_overlap(spans: list[Span]) -> None:
    plan = allocate(spans, 64)
    check(spans, plan)
    live = (sum(-(-s.size // 64) * 64 for s in spans if s.first <= t <= s.last) for t in range(60))
    assert plan.peak == max(live, default=0) <= plan.total


def test_a_chain_takes_two_buffers() -> None:
    spans = [Span(1000, i, i + 1) for i in range(50)]
    assert allocate(spans, 64).total == 2 * 1024


def test_a_hole_is_reused_by_what_fits_best() -> None:
    spans = [Span(640, 0, 9), Span(128, 0, 3), Span(64, 0, 9), Span(128, 5, 9), Span(64, 5, 9)]
    plan = allocate(spans, 64)
    check(spans, plan)
    assert plan.total == plan.peak


def test_nothing_takes_nothing() -> None:
    assert allocate([], 64) == Plan((), 0, 0)


def test_a_plan_above_the_peak_is_tried_again() -> None:
    """The three orders alone take 960 bytes here."""
    shapes = [(192, 6, 9), (192, 6, 7), (256, 7, 10), (64, 0, 3), (192, 4, 7), (256, 2, 5),
              (128, 5, 6), (128, 4, 5)]  # fmt: skip
    spans = [Span(*shape) for shape in shapes]
    plan = allocate(spans, 64)
    check(spans, plan)
    assert plan.total == plan.peak == 832
