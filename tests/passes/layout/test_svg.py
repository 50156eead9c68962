"""The scatter plot: well-formed, complete, with the right front and round ticks."""

from xml.etree import ElementTree

import pytest

from mxc.passes.layout.plan import Made
from mxc.passes.layout.policies import POLICIES
from mxc.passes.layout.problem import Contraction, Operand, Problem, Value
from mxc.passes.layout.report import compare
from mxc.passes.layout.svg import Point, front, scatter, ticks
from mxc.passes.layout.views import html_report

POINTS = [
    Point(3, 10, "a", "all & more"),
    Point(1, 5, "b", "least"),
    Point(2, 4, "b", "beaten"),
    Point(1, 5, "a", "equal"),
]


def test_the_front() -> None:
    assert [p.text for p in front(POINTS, more_is_better=True)] == ["least", "all & more"]
    assert [p.text for p in front(POINTS, more_is_better=False)] == ["least", "beaten"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0.1, 0.4, [0.1, 0.2, 0.3, 0.4]), (7, 7, [7]),
     (-1, 1, [-1, -0.5, 0, 0.5, 1])],
)  # fmt: skip
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


def test_the_plot_is_well_formed_and_complete() -> None:
    text = scatter(POINTS, title="a < b", x="bytes", y="score")
    root = ElementTree.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    circles = root.findall(f"{name}circle")
    assert len(circles) == len(POINTS) + 2  # and a legend of two series
    words = [element.text for element in root.iter(f"{name}text")]
    assert {"a < b", "bytes", "score", "least", "all & more"} <= set(words)
    assert "beaten" not in words
    inside = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in circles]
    assert all(0 < x < 760 and 0 < y < 420 for x, y in inside)


def test_equal_points_and_none() -> None:
    ElementTree.fromstring(scatter([POINTS[0]] * 2, title="", x="", y=""))
    with pytest.raises(ValueError, match="no points"):
        scatter([], title="", x="", y="")


def gram(emit: str) -> Problem:
    values = (Value("x", (64, 64)), Value("w", (64, 64), "constant"))
    uses = (
        Contraction("a", (Operand("x", (0,)), Operand("w", (0,)))),
        Contraction("b", (Operand("x", (1,)), Operand("w", (0,)))),
    )
    return Problem(values, (), uses).with_prices(emit=emit)


def test_the_report_shows_figures() -> None:
    figure = scatter(POINTS, title="t", x="x", y="y")
    assert figure in html_report(compare(gram("all"), "all"), figures=[figure])


def test_what_is_made_at_run_time() -> None:
    row = 64 * 64 + 64 * 2
    assert POLICIES["dual"](gram("all")).made == Made(2, 2 * row, 0, 0, 2 * 4096)
    assert POLICIES["exact"](gram("all")).made == Made(1, 4096 + 4, 0, 0, 4096)
    assert POLICIES["naive"](gram("all")).made == Made(1, row, 1, row, 4096, 4096)
    tile4 = POLICIES["exact"](gram("all").with_format("mxfp4").with_prices(noise=0))
    assert tile4.made == Made(1, 4096 / 2 + 4, 0, 0, 4096)
