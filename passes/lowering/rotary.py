"""RotaryEmbedding: pairs of elements turned by an angle that grows with the position."""

from __future__ import annotations

from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.passes.lowering.registry import Node, lowers


@lowers("RotaryEmbedding")
def rotary_embedding(loops: Loops, node: Node) -> Tensor:
    """The pairs (x, x') become (cos x - sin x', sin x + cos x')."""
    source = node.tensor(0)
    packed = source.rank == 3
    heads = int(node.attr("num_heads") or 0)
    if packed and (not heads or source.shape[2] % heads):
        raise node.error(f"an input of rank 3 needs num_heads that divides {source.shape[2]}")
    batch = source.shape[0]
    length = source.shape[1] if packed else source.shape[2]
    x = (
        loops.reshape(source, (batch, length, heads, source.shape[2] // heads))
        if packed
        else source
    )
    size = int(node.attr("rotary_embedding_dim") or 0) or x.shape[3]
    half = size // 2
    cos, sin = (_angles(loops, node, i, batch, length, half) for i in (1, 2))
    turned, rest = x, None
    if size < x.shape[3]:
        turned = loops.slice(x, [0, 0, 0, 0], [*x.shape[:3], size])
        rest = loops.slice(x, [0, 0, 0, size], [*x.shape[:3], x.shape[3] - size])
    result = _turned(loops, turned, cos, sin, 1 if packed else 2, bool(node.attr("interleaved")))
    if rest is not None:
        result = loops.concat([result, rest], 3)
    return loops.reshape(result, source.shape)


def _turned(
    loops: Loops, x: Tensor, cos: Tensor, sin: Tensor, time: int, interleaved: bool
) -> Tensor:
    """`x` [.., pairs * 2] with every pair turned; `time` is the axis of positions."""
    half = x.shape[3] // 2
    pairs = loops.reshape(x, (*x.shape[:3], *((half, 2) if interleaved else (2, half))))
    lead = [AffineExpr.dimension(i) for i in range(3)]
    j = AffineExpr.dimension(3)
    angle = [AffineExpr.dimension(0), AffineExpr.dimension(time), j]
    rows: list[list[AffineExpr | int]] = [[j, i] if interleaved else [i, j] for i in range(2)]
    inputs = [(pairs, [*lead, *rows[0]]), (pairs, [*lead, *rows[1]]), (cos, angle), (sin, angle)]
    shape = (*x.shape[:3], half)
    real = loops.generic(lambda k, a, b, c, s: c * a - s * b, inputs, shape, x.element)
    imaginary = loops.generic(lambda k, a, b, c, s: s * a + c * b, inputs, shape, x.element)
    axis = 4 if interleaved else 3
    parts = [loops.reshape(t, (*shape[:axis], 1, *shape[axis:])) for t in (real, imaginary)]
    return loops.reshape(loops.concat(parts, axis), x.shape)


def _angles(loops: Loops, node: Node, index: int, batch: int, length: int, half: int) -> Tensor:
    """The cosines or sines of every position, [batch, length, half]."""
    cache = node.tensor(index)
    if cache.shape[-1] != half:
        raise node.error(f"the cache has {cache.shape[-1]} angles where {half} pairs are turned")
    if not node.has(3):
        return loops.broadcast(cache, (batch, length, half))
    last = cache.shape[0] - 1

    def body(k: Body, position: Scalar) -> Scalar:
        position = k.where(position < 0, 0, position)
        position = k.where(position > last, last, position)
        return k.load(cache.value, [position, k.index(2)])

    row = [AffineExpr.dimension(0), AffineExpr.dimension(1)]
    positions = loops.broadcast(node.tensor(3), (batch, length))
    return loops.generic(body, [(positions, row)], (batch, length, half), cache.element)
