"""The loops of a `linalg.generic`: their order, which merge, and where sums are kept.

The IR says: for each point of the parallel loops on its own, fold the reduction points in
lexicographic order. Any order of loops that keeps the reductions in order among themselves does
that. So the parallel loop along which memory is contiguous goes innermost, inside the reductions,
where the compiler can vectorise it: each lane is another element of the result, no sum is split.
Where no parallel loop is contiguous, the reductions go innermost and the sums stay in variables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mxc.backends.npu.access import Access

MIN_LANES = 4
"""A parallel loop shorter than this is not worth going inside the reductions."""


@dataclass(frozen=True)
class Loop:
    """One loop: `dim` of the operation, or the merger of neighbouring dims that ends in `dim`."""

    dim: int
    extent: int
    reduction: bool


@dataclass(frozen=True)
class Nest:
    """Loops, outermost first; `sums_outside` of them lie outside of the variables for sums.

    Without reductions, or with the reductions not innermost, that is all of them: results are read
    and written in memory at every point.
    """

    loops: tuple[Loop, ...]
    sums_outside: int


def plan(
    extents: Sequence[int],
    reductions: Sequence[bool],
    reads: Sequence[Access],
    writes: Sequence[Access],
    fixed: Sequence[int],
) -> Nest:
    """The nest for loops of `extents`; dims in `fixed` are named by the body and do not merge."""
    loops = [
        Loop(d, n, r) for d, (n, r) in enumerate(zip(extents, reductions, strict=True)) if n != 1
    ]
    loops = _merged(loops, [*reads, *writes], fixed)
    parallel = [loop for loop in loops if not loop.reduction]
    folds = [loop for loop in loops if loop.reduction]
    parallel = _ordered(parallel, reads, writes)
    if not folds:
        return Nest(tuple(parallel), len(parallel))
    if parallel and parallel[-1].extent >= MIN_LANES and _contiguous(parallel[-1], reads, writes):
        order = (*parallel[:-1], *folds, parallel[-1])
        return Nest(order, len(order))
    return Nest((*parallel, *folds), len(parallel))


def _ordered(
    parallel: Sequence[Loop], reads: Sequence[Access], writes: Sequence[Access]
) -> list[Loop]:
    """The cheapest loop innermost, the others in the order in which results lie in memory."""
    if not parallel:
        return []
    last = min(parallel, key=lambda loop: _cost(loop, reads, writes))
    rest = [loop for loop in parallel if loop is not last]
    return [*sorted(rest, key=lambda loop: -abs(writes[0].step(loop.dim) or 0)), last]


def _merged(loops: list[Loop], accesses: Sequence[Access], fixed: Sequence[int]) -> list[Loop]:
    """Loops whose points lie as one loop's would, in every access, become one."""
    result: list[Loop] = []
    for loop in loops:
        outer = result[-1] if result else None
        if outer is not None and _mergeable(outer, loop, accesses, fixed):
            result[-1] = replace(loop, extent=outer.extent * loop.extent)
        else:
            result.append(loop)
    return result


def _mergeable(a: Loop, b: Loop, accesses: Sequence[Access], fixed: Sequence[int]) -> bool:
    if a.reduction != b.reduction or a.dim in fixed or b.dim in fixed:
        return False
    steps = [(access.step(a.dim), access.step(b.dim)) for access in accesses]
    return all(x is not None and y is not None and x == y * b.extent for x, y in steps)


def _cost(loop: Loop, reads: Sequence[Access], writes: Sequence[Access]) -> tuple[int, int, int]:
    """How bad `loop` is as the innermost: accesses that jump, then the order of the results."""
    jumps = sum(access.step(loop.dim) not in (0, 1) for access in reads)
    jumps += sum(2 * (access.step(loop.dim) != 1) for access in writes)
    short = int(loop.extent < MIN_LANES)
    step = writes[0].step(loop.dim) if writes else 0
    return short * 8 + jumps, abs(step or 0), -loop.dim


def _contiguous(loop: Loop, reads: Sequence[Access], writes: Sequence[Access]) -> bool:
    steps = [access.step(loop.dim) for access in reads]
    far = sum(step not in (0, 1) for step in steps)
    return all(access.step(loop.dim) == 1 for access in writes) and 2 * far <= len(steps)
