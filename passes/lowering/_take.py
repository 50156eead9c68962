"""Reading along one axis at positions that are known while compiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.types import is_unsigned

MAX_RUNS = 8
"""So many slices at most are put together; more positions are read from a table."""

Run = tuple[int, int, int]
"""Where positions begin, by how much they grow, how many they are."""


def runs(positions: Sequence[int]) -> list[Run]:
    """`positions` cut into arithmetic progressions, greedily."""
    found: list[Run] = []
    at = 0
    while at < len(positions):
        step = positions[at + 1] - positions[at] if at + 1 < len(positions) else 1
        end = at + 1
        while end < len(positions) and positions[end] - positions[end - 1] == step:
            end += 1
        found.append((positions[at], step, end - at))
        at = end
    return found


def box(tuples: NDArray[Any]) -> list[Run] | None:
    """The runs, one per axis, whose product in row-major order are the index `tuples` [n, axes].

    None if there are none, or if one runs backwards.
    """
    found: list[Run] = []
    for column in tuples.T:
        values = np.unique(column)
        parts = runs([int(v) for v in values])
        if len(parts) != 1:
            return None
        found.append(parts[0])
    axes = [start + step * np.arange(count) for start, step, count in found]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
    return found if np.array_equal(grid, tuples) else None


def take(loops: Loops, x: Tensor, axis: int, positions: Sequence[int]) -> Tensor:
    """result[.., i, ..] = x[.., positions[i], ..], for positions inside the axis.

    A progression is a slice, a value repeated evenly a division of the loop index; a few
    progressions are slices put together, and anything else is read through a constant table.
    """
    shape = [len(positions) if a == axis else n for a, n in enumerate(x.shape)]
    if _repeats(positions):
        exprs = [AffineExpr.dimension(a) for a in range(x.rank)]
        exprs[axis] = affine_position(positions, exprs[axis]) or exprs[axis]
        return loops.gather_view(x, exprs, shape)
    found = runs(positions)
    if len(found) > MAX_RUNS:
        return _from_table(loops, x, axis, positions, shape)
    parts: list[Tensor] = []
    for start, step, count in found:
        starts = [start if a == axis else 0 for a in range(x.rank)]
        sizes = [count if a == axis else n for a, n in enumerate(shape)]
        steps = [step if a == axis else 1 for a in range(x.rank)]
        parts.append(loops.slice(x, starts, sizes, steps))
    return loops.concat(parts, axis) if parts else loops.empty(shape, x.element)


def affine_position(positions: Sequence[int], at: AffineExpr) -> AffineExpr | None:
    """`positions[at]` as an expression of `at` that is not `at` alone; None if there is none."""
    repeats = _repeats(positions)
    if repeats:
        return at // repeats + positions[0]
    found = runs(positions)
    if len(found) == 1 and (found[0][0] or found[0][1] != 1):
        return at * found[0][1] + found[0][0]
    return None


def _repeats(positions: Sequence[int]) -> int:
    """The r > 1 for which the positions are s, s, .. (r times), s+1, s+1, ..; else 0."""
    count = next((i for i, p in enumerate(positions) if p != positions[0]), 0)
    even = all(p == positions[0] + i // count for i, p in enumerate(positions)) if count else False
    return count if even and count > 1 else 0


def _from_table(
    loops: Loops, x: Tensor, axis: int, positions: Sequence[int], shape: Sequence[int]
) -> Tensor:
    table = loops.constant(np.array(positions, np.int32))

    def body(k: Body, position: Scalar) -> Scalar:
        at = [position if a == axis else k.index(a) for a in range(x.rank)]
        return k.load(x.value, at, is_unsigned(x.element))

    return loops.generic(body, [(table, [AffineExpr.dimension(axis)])], shape, x.element)
