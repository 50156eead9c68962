"""Operators that surround a tensor with more elements, or cut them off."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mxc.dialects.loops import Loops, Tensor
from mxc.passes.lowering._take import take
from mxc.passes.lowering.registry import Node, lowers


def _reflect(i: int, size: int) -> int:
    """The element that lies at `i` if the axis swings to and fro, its ends not repeated."""
    period = max(2 * (size - 1), 1)
    return min(i % period, period - i % period) if size > 1 else 0


_MODES: dict[str, Callable[[int, int], int]] = {
    "reflect": _reflect,
    "edge": lambda i, size: min(max(i, 0), size - 1),
    "wrap": lambda i, size: i % size,
}
"""Which element of an axis of `size` elements a place outside it repeats."""


def crop(loops: Loops, x: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """`x` without as many elements at either end as the amounts are negative."""
    starts = [max(-b, 0) for b in before]
    sizes = [n - s - max(-a, 0) for n, s, a in zip(x.shape, starts, after, strict=True)]
    return loops.slice(x, starts, sizes)


@lowers("Pad")
def pad(loops: Loops, node: Node) -> Tensor:
    """Elements added (negative amounts: removed) at both ends of the axes."""
    x, amounts = node.tensor(0), node.ints(1) or []
    axes = node.ints(3) if node.has(3) else list(range(x.rank))
    assert axes is not None
    before, after = [0] * x.rank, [0] * x.rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = amounts[i], amounts[i + len(axes)]
    mode = node.attr("mode")
    if mode == "constant":
        inner = crop(loops, x, before, after)
        return surround(loops, node, inner, [max(b, 0) for b in before])
    if mode not in _MODES:
        raise node.error(f"mode={mode} is not known")
    x = crop(loops, x, before, after)
    for axis in range(x.rank):
        width = max(before[axis], 0), max(after[axis], 0)
        if any(width):
            size = x.shape[axis]
            places = range(-width[0], size + width[1])
            x = take(loops, x, axis, [_MODES[mode](i, size) for i in places])
    return x


def surround(loops: Loops, node: Node, inner: Tensor, before: Sequence[int]) -> Tensor:
    """`inner` inside a tensor full of the node's constant value, which may come at run time."""
    shape, element = node.shape(), inner.element
    if inner.shape == shape:
        return inner
    if not node.has(2):
        around = loops.fill(shape, element, 0)
    elif node.is_const(2):
        value = node.const(2)
        assert value is not None
        around = loops.fill(shape, element, value.reshape(-1)[0].item())
    else:
        around = loops.broadcast(loops.reshape(node.tensor(2), ()), shape)
    return loops.insert_slice(inner, around, before) if inner.size else around


@lowers("CenterCropPad")
def center_crop_pad(loops: Loops, node: Node) -> Tensor:
    """The middle of the tensor, or the tensor in the middle of zeros."""
    x, shape = node.tensor(0), node.shape()
    starts = [max(n - m, 0) // 2 for n, m in zip(x.shape, shape, strict=True)]
    sizes = [min(n, m) for n, m in zip(x.shape, shape, strict=True)]
    x = loops.slice(x, starts, sizes)
    before = [(m - n) // 2 for n, m in zip(x.shape, shape, strict=True)]
    after = [m - n - b for n, m, b in zip(x.shape, shape, before, strict=True)]
    return loops.pad(x, before, after)
