"""Operators that give the same elements another shape or order, all known while compiling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mxc.dialects.loops import Loops, Tensor
from mxc.passes.lowering.registry import Node, lowers


@lowers("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def reshape(loops: Loops, node: Node) -> Tensor:
    """The same elements, row-major, under the shape that the importer has worked out."""
    return loops.reshape(node.tensor(0), node.shape())


@lowers("Transpose")
def transpose(loops: Loops, node: Node) -> Tensor:
    """Axes permuted; without `perm`, reversed."""
    x = node.tensor(0)
    perm = node.attr("perm")
    return loops.transpose(x, list(reversed(range(x.rank))) if perm is None else perm)


@lowers("Concat")
def concat(loops: Loops, node: Node) -> Tensor:
    """Inputs side by side."""
    parts = node.tensors()
    return loops.concat(parts, node.axis(parts[0].rank))


@lowers("Split")
def split(loops: Loops, node: Node) -> Sequence[Tensor | None]:
    """Pieces along an axis; the sizes are those of the outputs."""
    x = node.tensor(0)
    axis = node.axis(x.rank)
    pieces: list[Tensor | None] = []
    at = 0
    for i, output in enumerate(node.op.outputs):
        if output is None:
            raise node.error(f"output {i} must be named, its size is not known otherwise")
        starts = [at if a == axis else 0 for a in range(x.rank)]
        pieces.append(loops.slice(x, starts, node.shape(i)))
        at += node.shape(i)[axis]
    return pieces


@lowers("Slice")
def slice_(loops: Loops, node: Node) -> Tensor:
    """Every `step`th element from `start` to `end`, both clamped to the axis as numpy does."""
    x = node.tensor(0)
    starts, ends = node.ints(1), node.ints(2)
    assert starts is not None
    assert ends is not None
    axes = node.ints(3) or list(range(len(starts)))
    steps = node.ints(4) or [1] * len(starts)
    first, by = [0] * x.rank, [1] * x.rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise node.error("a step is 0")
        low, _, by[axis] = slice(start, end, step).indices(x.shape[axis])
        first[axis] = low
    return loops.slice(x, first, node.shape(), by)


@lowers("Expand")
def expand(loops: Loops, node: Node) -> Tensor:
    """Repeated to the broadcast of both shapes."""
    return loops.broadcast(node.tensor(0), node.shape())


@lowers("Tile")
def tile(loops: Loops, node: Node) -> Tensor:
    """Repeated `repeats` times along each axis: a broadcast between reshapes."""
    x = node.tensor(0)
    shape = node.shape()
    if not x.size:
        return loops.empty(shape, x.element)
    pairs = [(full // size, size) for full, size in zip(shape, x.shape, strict=True)]
    split = loops.reshape(x, [n for _, size in pairs for n in (1, size)])
    return loops.reshape(loops.broadcast(split, [n for pair in pairs for n in pair]), shape)


@lowers("DepthToSpace")
def depth_to_space(loops: Loops, node: Node) -> Tensor:
    """Channels become blocks of pixels."""
    x, size = node.tensor(0), int(node.attr("blocksize"))
    n, c, h, w = x.shape
    if node.attr("mode") == "DCR":
        split, order = (n, size, size, c // size**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3)
    return loops.reshape(loops.transpose(loops.reshape(x, split), order), node.shape())


@lowers("SpaceToDepth")
def space_to_depth(loops: Loops, node: Node) -> Tensor:
    """Blocks of pixels become channels, position in the block first (`DCR`) or last (`CRD`)."""
    x, size = node.tensor(0), int(node.attr("blocksize"))
    n, c, h, w = x.shape
    split = loops.reshape(x, (n, c, h // size, size, w // size, size))
    order = (0, 3, 5, 1, 2, 4) if node.attr("mode") == "DCR" else (0, 1, 3, 5, 2, 4)
    return loops.reshape(loops.transpose(split, order), node.shape())


@lowers("Shape")
def shape(loops: Loops, node: Node) -> Tensor:
    """A constant: all shapes are known."""
    rank = node.tensor(0).rank
    start, end = int(node.attr("start")), node.attr("end")
    part = node.tensor(0).shape[start : rank if end is None else int(end)]
    return loops.constant(np.array(part, np.int64))


@lowers("Size")
def size(loops: Loops, node: Node) -> Tensor:
    """A constant: all shapes are known."""
    return loops.constant(np.array(node.tensor(0).size, np.int64))
