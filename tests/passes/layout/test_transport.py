"""A pair of axes in a map means: op(Q(x)) is Q(op(x)), to the bit; a missing one that it is not.

Quantising the source along the first axis and viewing the values gives the values of viewing first
and quantising along the second axis. Where a map has no pair, some input shows a difference.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mxc import numerics
from mxc.passes.layout import transport
from mxc.passes.layout.transport import AxisMap

Array = NDArray[Any]
FORMATS = ("mxint8", "mxfp4", "mxfp6_e2m3", "mxfp8_e4m3")


def quantised(x: Array, axes: tuple[int, ...], format: str) -> Array:
    """The values of `x` after quantisation in blocks along one axis, or tiles along two."""
    block = tuple(32 if axis in axes else 1 for axis in range(x.ndim))
    return numerics.quantize(x, format, block=block).dequantize()


def same(a: Array, b: Array) -> bool:
    """Equal values; the sign of zero is left to the views' own tests (MXINT8 has no -0)."""
    return bool(np.array_equal(a, b))


def data(shape: tuple[int, ...]) -> Array:
    """Data whose blocks have very different scales."""
    random = np.random.default_rng(0)
    x = random.standard_normal(shape) * np.exp2(random.integers(-6, 6, shape))
    return x.astype(np.float32)


def sliced(starts: list[int], sizes: list[int], steps: list[int]) -> Callable[[Array], Array]:
    """A strided part."""
    spans = zip(starts, sizes, steps, strict=True)
    index = tuple(slice(a, a + n * step, step) for a, n, step in spans)
    return lambda x: x[index]


def reshaped(a: tuple[int, ...], b: tuple[int, ...]):
    """A case of reshape."""
    return pytest.param(a, lambda x: x.reshape(b), transport.reshape(a, b), id=f"{a}->{b}")


def part(shape: tuple[int, ...], starts: list[int], sizes: list[int], step: int, id: str):
    """A case of slice."""
    steps = [step, 1]
    axes = transport.slice_(shape, starts, sizes, steps)
    return pytest.param(shape, sliced(starts, sizes, steps), axes, id=f"slice {id}")


def case(shape: tuple[int, ...], view: Callable[[Array], Array], axes: AxisMap, id: str):
    """Any other case."""
    return pytest.param(shape, view, axes, id=id)


CASES = [
    case((64, 40, 32), lambda x: x.transpose(2, 0, 1), transport.transpose((2, 0, 1)), "transpose"),
    case((64, 96), lambda x: -x, transport.identity(2), "neg"),
    case((64, 96), np.abs, transport.identity(2), "abs"),
    case((64, 96), lambda x: x * np.float32(0.25), transport.identity(2), "times 1/4"),
    reshaped((4, 64, 96), (256, 96)),
    reshaped((4, 40, 96), (160, 96)),
    reshaped((256, 96), (4, 64, 96)),
    reshaped((64, 96), (64, 3, 32)),
    reshaped((64, 96), (64, 2, 48)),
    reshaped((64, 80), (64, 2, 40)),
    reshaped((64, 96), (1, 64, 1, 96)),
    reshaped((64, 96), (6144,)),
    reshaped((64, 96), (96, 64)),
    part((96, 64), [32, 0], [64, 64], 1, "on the grid"),
    part((96, 64), [16, 0], [64, 64], 1, "off the grid"),
    part((96, 64), [0, 0], [48, 64], 1, "through a block"),
    part((80, 64), [32, 0], [48, 64], 1, "to the end"),
    part((96, 64), [0, 0], [48, 64], 2, "with a step"),
    case((96, 64), lambda x: x[[5, 5, 80]], transport.gather(2, 0, 1), "gather rows"),
    case((64, 96), lambda x: x[:, [[3, 1], [64, 2]]], transport.gather(2, 1, 2), "gather columns"),
    case((64, 96), lambda x: x[:, None], transport.unsqueeze(2, [1]), "unsqueeze"),
    case((64, 1, 96), lambda x: x[:, 0], transport.squeeze(3, [1]), "squeeze"),
    case(
        (1, 96), lambda x: np.broadcast_to(x, (4, 64, 96)), transport.expand((1, 96), (4, 64, 96)),
        "expand",
    ),
]  # fmt: skip


def survives(shape: tuple[int, ...], view: Callable[[Array], Array], a: Any, b: Any) -> bool:
    """Whether blocks along `a` become blocks along `b`, in every format."""
    x = data(shape)
    return all(
        same(
            np.ascontiguousarray(view(quantised(x, a, format))),
            quantised(np.ascontiguousarray(view(x)), b, format),
        )
        for format in FORMATS
    )


@pytest.mark.parametrize(("shape", "view", "axes"), CASES)
def test_pairs_commute_with_quantisation(
    shape: tuple[int, ...], view: Callable[[Array], Array], axes: AxisMap
):
    for source, target in axes:
        if 1 not in (shape[source], view(data(shape)).shape[target]):
            assert survives(shape, view, (source,), (target,)), (source, target)
    for (a, b), (c, d) in [(p, q) for p in axes for q in axes if p < q]:
        assert survives(shape, view, (a, c), (b, d)), "tiles"


@pytest.mark.parametrize(("shape", "view", "axes"), CASES)
def test_what_is_missing_does_not_commute(
    shape: tuple[int, ...], view: Callable[[Array], Array], axes: AxisMap
):
    result = view(data(shape)).shape
    for source, n in enumerate(shape):
        for target, m in enumerate(result):
            if (source, target) not in axes and n > 1 and m > 1:
                assert not survives(shape, view, (source,), (target,)), (source, target)


@pytest.mark.parametrize(("sizes", "on_grid"), [((64, 48), True), ((48, 64), False)])
def test_concat(sizes: tuple[int, int], on_grid: bool):
    axes = transport.concat(sizes, 2, 0)
    parts = [data((size, 32)) for size in sizes]
    whole = np.concatenate(parts)
    assert ((0, 0) in axes) == on_grid
    for axis in (0, 1):
        joined = np.concatenate([quantised(part, (axis,), "mxint8") for part in parts])
        assert same(joined, quantised(whole, (axis,), "mxint8")) == ((axis, axis) in axes)


def test_max_pool_and_relu_are_no_views():
    """Why they have no maps: a maximum mixes scales, and ReLU leaves a scale too large."""
    x = data((64, 64))
    for op in (lambda v: np.maximum(v, 0), lambda v: np.maximum(v[:, ::2], v[:, 1::2])):
        quantised_first = op(quantised(x, (1,), "mxint8"))
        assert not same(quantised_first, quantised(op(x), (1,), "mxint8"))
