"""Where blocks go when a tensor is viewed: each view as a partial map on axes.

A map is a tuple of pairs (axis of the source, axis of the result). A pair says: quantising the
source in blocks along the first axis and then viewing gives, code for code and scale for scale,
what viewing first and then quantising along the second axis gives. An axis that has no pair does
not survive; its blocks would mix, split, or keep a scale computed from elements that are gone.

A square tile survives where both its axes have pairs. Quantisation treats the elements of one
block alike, whatever their order, so only *which* elements share a block matters.
"""

from collections.abc import Iterator, Sequence

AxisMap = tuple[tuple[int, int], ...]

BLOCK = 32


def identity(rank: int) -> AxisMap:
    """Neg, Abs, multiplication by a power of two: every block stays where it is."""
    return tuple((axis, axis) for axis in range(rank))


def transpose(permutation: Sequence[int]) -> AxisMap:
    """Axis `permutation[j]` of the source becomes axis j."""
    return tuple(sorted((source, target) for target, source in enumerate(permutation)))


def reshape(source: Sequence[int], target: Sequence[int], block: int = BLOCK) -> AxisMap:
    """Row-major reshape: axes of equal stride whose blocks lie on the same grid.

    Let two axes have the same element stride. Their blocks coincide if the axes have the same
    size, or if both sizes are multiples of `block` (then no block crosses from one row to the
    next). Axes of size 1 are only mapped where their position is unambiguous, never to a longer
    axis.
    """
    return tuple(
        (i, j)
        for i, (n, stride) in enumerate(_strides(source))
        for j, (m, other) in enumerate(_strides(target))
        if stride == other and (1 not in (n, m)) and (n == m or n % block == m % block == 0)
    )


def _strides(shape: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(size, stride) of each axis of a dense row-major tensor."""
    stride = 1
    out: list[tuple[int, int]] = []
    for size in reversed(shape):
        out.append((size, stride))
        stride *= size
    return reversed(out)


def slice_(
    shape: Sequence[int],
    starts: Sequence[int],
    sizes: Sequence[int],
    steps: Sequence[int],
    block: int = BLOCK,
) -> AxisMap:
    """A strided part: an axis survives if it is whole, or cut out on the grid of its blocks.

    On the grid: step 1, start a multiple of `block`, end a multiple of `block` or the axis's end.
    A cut inside a block would keep a scale that depends on elements outside the part.
    """
    kept: list[tuple[int, int]] = []
    for axis, (n, start, size, step) in enumerate(zip(shape, starts, sizes, steps, strict=True)):
        end = start + size
        on_grid = step == 1 and start % block == 0 and (end == n or end % block == 0)
        if on_grid:
            kept.append((axis, axis))
    return tuple(kept)


def concat(sizes: Sequence[int], rank: int, axis: int, block: int = BLOCK) -> AxisMap:
    """Inputs of `sizes` along `axis`, one after the other; the same map holds for every input.

    `axis` survives if every seam lies on the grid; the other axes always do.
    """
    seams_on_grid = all(size % block == 0 for size in sizes[:-1])
    return tuple((i, i) for i in range(rank) if i != axis or seams_on_grid)


def gather(rank: int, axis: int, indices_rank: int) -> AxisMap:
    """Whole slices chosen by indices along `axis`: the other axes survive, `axis` does not."""
    shift = indices_rank - 1
    return tuple((i, i if i < axis else i + shift) for i in range(rank) if i != axis)


def unsqueeze(rank: int, inserted: Sequence[int]) -> AxisMap:
    """Axes of size 1 at positions `inserted` of the result."""
    kept = (j for j in range(rank + len(inserted)) if j not in inserted)
    return tuple(enumerate(kept))


def squeeze(rank: int, removed: Sequence[int]) -> AxisMap:
    """Axes of size 1 at positions `removed` of the source go away."""
    kept = (i for i in range(rank) if i not in removed)
    return tuple((i, j) for j, i in enumerate(kept))


def expand(source: Sequence[int], target: Sequence[int]) -> AxisMap:
    """Numpy broadcasting: an axis that is repeated does not survive, the others do."""
    shift = len(target) - len(source)
    return tuple((i, i + shift) for i, n in enumerate(source) if n == target[i + shift])
