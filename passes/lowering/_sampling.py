"""Which source elements a resized axis reads, and with which weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = Callable[[float], Sequence[float]]
"""The weights of the source elements around a position, for its fraction in (0, 1]."""


@dataclass(frozen=True)
class Axis:
    """One axis that is resized."""

    size: int
    """Of the source."""

    output: int
    scale: float
    coordinates: str
    """The mode of the coordinates, as ONNX names it."""

    region: tuple[float, float] = (0.0, 1.0)
    """The part of the axis that `tf_crop_and_resize` takes."""

    def positions(self) -> Array:
        """For every element of the output its position in the source, worked out in f32.

        In f32 as onnxruntime does: a scale of 0.6 is that of f32, and halves and whole numbers, at
        which the rounding turns, come out as such.

        Raises:
            ValueError: if the mode of the coordinates is not known.
        """
        x = np.arange(self.output, dtype=np.float32)
        return self._positions(x, np.float32(self.scale)).astype(np.float64)

    def _positions(self, x: Array, scale: np.float32) -> Array:
        length = float(self.scale * self.size)
        match self.coordinates:
            case "align_corners":
                return x * (self.size - 1) / (length - 1) if length != 1 else x * 0.0
            case "asymmetric":
                return x / scale
            case "half_pixel":
                return (x + np.float32(0.5)) / scale - np.float32(0.5)
            case "half_pixel_symmetric":
                shift = self.size / 2 * (1 - self.output / length)
                return np.float32(shift) + (x + np.float32(0.5)) / scale - np.float32(0.5)
            case "pytorch_half_pixel":
                if self.output == 1:
                    return x
                return (x + np.float32(0.5)) / scale - np.float32(0.5)
            case "tf_crop_and_resize":
                return self._cropped(x, length)
            case _:
                raise ValueError(self.coordinates)

    def _cropped(self, x: Array, length: float) -> Array:
        start, end = self.region
        last = self.size - 1
        if length == 1:
            return x * 0.0 + (end - start) * last / 2 + start * last
        return x * (end - start) * last / (length - 1) + start * last

    def outside(self) -> Array:
        """Which elements of the output lie outside the source."""
        if self.coordinates != "tf_crop_and_resize":
            return np.zeros(self.output, bool)
        x = self.positions()
        return (x < 0) | (x > self.size - 1)

    def nearest(self, rounding: str) -> list[int]:
        """For every element of the output the source element that `nearest_mode` picks.

        Raises:
            ValueError: if the rounding is not known.
        """
        x = self.positions()
        low = np.floor(x)
        fraction = x - low
        up: dict[str, Array] = {
            "round_prefer_floor": fraction > 0.5,
            "round_prefer_ceil": fraction >= 0.5,
            "floor": fraction < 0,
            "ceil": fraction > 0,
        }
        if rounding not in up:
            raise ValueError(rounding)
        return [int(i) for i in np.clip(low + up[rounding], 0, self.size - 1)]

    def taps(self, weights: Weights, exclude_outside: bool) -> tuple[Array, Array]:
        """Source elements [output, taps] and their weights; what is outside repeats the edge."""
        x = self.positions()
        low = np.floor(x)
        fraction = np.where(x == low, 1.0, x - low)
        table = np.array([weights(float(f)) for f in fraction])
        count = table.shape[1]
        first: Array = _first_tap(x, count)
        steps: Array = np.arange(count, dtype=np.int64)
        indices: Array = np.add(first.reshape(-1, 1), steps)
        if exclude_outside:
            table = np.where((indices < 0) | (indices >= self.size), 0.0, table)
            total = table.sum(axis=1, keepdims=True)
            table = table / np.where(total == 0, 1.0, total)
        return np.clip(indices, 0, self.size - 1), table


def _first_tap(x: Array, count: int) -> Array:
    """The first of the `count` elements nearest to `x`; of two at one distance the smaller."""
    low = np.floor(x).astype(np.int64)
    if count % 2 == 0:
        return low - count // 2 + np.where(x == low, 0, 1)
    return low - (count - 1) // 2 + np.where(x - low <= 0.5, 0, 1)


def linear(fraction: float) -> list[float]:
    """The two neighbours."""
    return [1 - fraction, fraction]


def cubic(fraction: float, a: float) -> list[float]:
    """The four neighbours, by cubic convolution."""
    return [_cubic_kernel(fraction - i, a) for i in range(-1, 3)]


def _cubic_kernel(x: float, a: float) -> float:
    x = abs(x)
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a if x < 2 else 0.0


def linear_antialias(fraction: float, scale: float) -> list[float]:
    """The neighbours under a triangle as wide as an element of the output."""
    scale = min(scale, 1.0)
    start = floor(-1 / scale) + 1
    raw = [max(0.0, 1 - abs((i - fraction) * scale)) for i in range(start, 2 - start)]
    return [w / sum(raw) for w in raw]


def cubic_antialias(fraction: float, scale: float, a: float) -> list[float]:
    """The neighbours under a cubic kernel that is widened in the same way."""
    scale = min(scale, 1.0)
    start = floor(-2 / scale) + 1
    raw = [_cubic_kernel(scale * (i - fraction), a) for i in range(start, 2 - start)]
    return [w / sum(raw) for w in raw]
