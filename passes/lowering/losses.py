"""Losses of classification: what the log-probability of the true class lacks to 0."""

from __future__ import annotations

from math import prod

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type
from mxc.passes.lowering.registry import Node, lowers


def _class_of(k: Body, target: Scalar, classes: int) -> Scalar:
    """The target, moved inside the classes where it is ignored or invalid."""
    target = k.where(target < 0, 0, target)
    return k.where(target > classes - 1, classes - 1, target)


def _weights(loops: Loops, node: Node, target: Tensor, like: Tensor) -> Tensor | None:
    """The weight of every position, 0 where the target is ignored; None if all weigh 1."""
    ignored = node.attr("ignore_index")
    given = loops.cast(node.tensor(2), like.element) if node.has(2) else None
    if given is None and ignored is None:
        return None

    def body(k: Body, t: Scalar) -> Scalar:
        if given is None:
            weight = k.const(1.0, like.element)
        else:
            weight = k.load(given.value, [_class_of(k, t, given.shape[0])])
        return weight if ignored is None else k.where(t.eq(int(ignored)), 0.0, weight)

    return loops.map(body, target, element=like.element)


def _loss(loops: Loops, node: Node, logs: Tensor) -> Tensor:
    """The loss of log-probabilities `logs` [N, C, D], in the type of computation."""
    batch, classes, inner = logs.shape
    target = loops.reshape(node.tensor(1), (batch, inner))
    weights = _weights(loops, node, target, logs)

    def pick(k: Body, t: Scalar, *weight: Scalar) -> Scalar:
        at = [k.index(0), _class_of(k, t, classes), k.index(1)]
        loss = -k.load(logs.value, at)
        if not weight:
            return loss
        return k.where(weight[0].eq(0), 0.0, loss * weight[0])

    given = [] if weights is None else [weights]
    losses = loops.map(pick, target, *given, element=logs.element)
    reduction = node.attr("reduction")
    if reduction == "none":
        return loops.reshape(losses, node.shape())
    if reduction not in ("sum", "mean"):
        raise node.error(f"reduction={reduction} is not known", "use none, sum or mean")
    total = loops.sum(losses, [0, 1])
    if reduction == "sum":
        return total
    if weights is None:
        return loops.map(lambda k, s: s / float(losses.size), total)
    return loops.map(lambda k, s, w: s / w, total, loops.sum(weights, [0, 1]))


def _classes(loops: Loops, node: Node) -> Tensor:
    """The input [N, C, *] as [N, C, D] in the type of computation."""
    x = node.tensor(0)
    flat = loops.reshape(x, (*x.shape[:2], prod(x.shape[2:])))
    return loops.cast(flat, compute_type(x.element))


@lowers("NegativeLogLikelihoodLoss")
def nll_loss(loops: Loops, node: Node) -> Tensor:
    """The loss of log-probabilities."""
    return loops.cast(_loss(loops, node, _classes(loops, node)), node.element())


@lowers("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy_loss(loops: Loops, node: Node) -> list[Tensor | None]:
    """The loss of scores, and their log-probabilities."""
    x = _classes(loops, node)
    kept = (x.shape[0], 1, x.shape[2])
    top = loops.reshape(loops.max(x, [1]), kept)
    shifted = loops.map(lambda k, v, m: v - m, x, top)
    total = loops.reduce(
        lambda k, acc, v: acc + v, shifted, [1], 0, prepare=lambda k, v: k.math("exp", v)
    )
    rest = loops.map(lambda k, s: k.math("log", s), loops.reshape(total, kept))
    logs = loops.map(lambda k, v, s: v - s, shifted, rest)
    loss = loops.cast(_loss(loops, node, logs), node.element())
    if not node.wants(1):
        return [loss]
    return [loss, loops.cast(loops.reshape(logs, node.shape(1)), node.element(1))]
