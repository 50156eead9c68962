"""Numbers to try: ordinary ones, and those where implementations go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.numerics import Format

Array = NDArray[Any]


def _f32(values: Sequence[Any]) -> Array:
    return np.array(values, np.float32)


def normal(shape: Sequence[int], seed: int = 0) -> Array:
    """N(0, 1)."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def wide(shape: Sequence[int], seed: int = 0) -> Array:
    """Values over 80 binades: the products of two stay finite, their sums cancel."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape) * np.exp2(random.integers(-40, 40, shape))
    return x.astype(np.float32)


def edges(shape: Sequence[int], format: Format, block: int, seed: int = 0) -> Array:
    """Blocks along the last axis, one per kind of trouble, again and again.

    Zeros of both signs; subnormals; halves of the element grid, which are ties; magnitudes beside
    the largest element, where scale rules differ; the largest and smallest f32; infinities; NaN.
    """
    assert format.element is not None
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape).astype(np.float32)
    flat = x.reshape(-1, shape[-1]) if x.size else x.reshape(0, max(shape[-1], 1))
    grid = np.sort(format.element.values[np.isfinite(format.element.values)])
    ties = ((grid[1:] + grid[:-1]) / 2).astype(np.float32)
    top = np.float32(format.element.max)
    near = [np.nextafter(top, np.float32(0)), top, np.nextafter(top, np.float32(np.inf))]
    troubles = [
        np.zeros(block, np.float32),
        np.full(block, -0.0, np.float32),
        np.resize(_f32([1e-45, -1e-40, 1e-38, 5.9e-39]), block),
        np.resize(random.permutation(ties), block),
        np.resize(_f32([*near, -top * 1.5, top / 3]), block),
        np.resize(_f32([3.4028235e38, -1.7e38, 1e-3]), block),
        np.resize(_f32([1.0, -0.0, 1e-30, np.inf]), block),
        np.resize(_f32([1.0, np.nan, -2.0]), block),
        np.resize(_f32([-np.inf, 2.0]), block),
        np.resize(np.float32(2.0) ** np.arange(-block // 2, block // 2), block),
    ]
    count = 0
    for row in flat:
        for start in range(0, shape[-1], block):
            part = row[start : start + block]
            if count % 2 == 0 or len(row) <= block:
                part[:] = troubles[(count // 2 if len(row) > block else count) % len(troubles)][
                    : len(part)
                ]
            count += 1
    return x


def codes(shape: Sequence[int], format: Format) -> Array:
    """Every code of the format in turn, as int8."""
    count = 1 << format.bits
    values = np.arange(int(np.prod(shape))) * 7 % count
    return values.astype(np.uint8).reshape(shape).view(np.int8)


def scale_bytes(shape: Sequence[int]) -> Array:
    """Scale bytes from the smallest to the largest, and NaN, as int8."""
    some = np.array([127, 0, 1, 126, 140, 100, 253, 254, 255, 64, 190], np.uint8)
    return np.resize(some, shape).view(np.int8)
