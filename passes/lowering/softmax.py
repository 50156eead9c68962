"""Softmax and its kin: along one axis, shifted by the maximum so that nothing overflows."""

from __future__ import annotations

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type
from mxc.passes.lowering.arg import first_best, one_hot_of
from mxc.passes.lowering.registry import Node, lowers


def _shifted(loops: Loops, x: Tensor, axis: int) -> tuple[Tensor, Tensor, list[int]]:
    """`x` and its maximum along `axis`, in the compute type, and the shape with that axis 1."""
    x = loops.cast(x, compute_type(x.element))
    kept = [1 if a == axis else n for a, n in enumerate(x.shape)]
    return x, loops.reshape(loops.max(x, [axis]), kept), kept


def softmax_along(loops: Loops, x: Tensor, axis: int) -> Tensor:
    """exp(x - max) over its sum along `axis`, in `x`'s compute type."""
    x, top, kept = _shifted(loops, x, axis)
    terms = loops.map(lambda k, v, m: k.math("exp", v - m), x, top)
    total = loops.reshape(loops.sum(terms, [axis]), kept)
    return loops.map(lambda k, v, s: v / s, terms, total)


@lowers("Softmax")
def softmax(loops: Loops, node: Node) -> Tensor:
    """The exponentials over their sum."""
    x = node.tensor(0)
    return loops.cast(softmax_along(loops, x, node.axis(x.rank)), x.element)


@lowers("LogSoftmax")
def log_softmax(loops: Loops, node: Node) -> Tensor:
    """The logarithm of softmax: x - max - log(sum of exp(x - max))."""
    source = node.tensor(0)
    axis = node.axis(source.rank)
    x, top, kept = _shifted(loops, source, axis)
    terms = loops.map(lambda k, v, m: k.math("exp", v - m), x, top)
    total = loops.reshape(loops.sum(terms, [axis]), kept)

    def body(k: Body, v: Scalar, m: Scalar, s: Scalar) -> Scalar:
        return v - m - k.math("log", s)

    return loops.map(body, x, top, total, element=source.element)


@lowers("Hardmax")
def hardmax(loops: Loops, node: Node) -> Tensor:
    """1 at the first maximum along the axis, else 0."""
    x = node.tensor(0)
    axis = node.axis(x.rank)
    return one_hot_of(loops, first_best(loops, x, axis), x, axis)
