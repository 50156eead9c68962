"""How arrays differ: in bits, in units of the last place, in signal to error power."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mxc.inputs import Array


@dataclass(frozen=True)
class OutputError:
    """How far an output is from that of the float model; None where a figure has no value."""

    name: str
    shape: list[int]
    sqnr_db: float | None
    """Signal to error power, in dB; None if there is no error, or no signal."""

    cosine: float | None
    max_abs_err: float | None
    max_ulp: int | None
    """In units of the last place of the output's type; None if NaN or infinity do not agree."""


def differences(a: Array, b: Array) -> int:
    """Elements in which `a` and `b`, of one type and shape, differ by a bit; any NaN is any NaN.

    Arrays of different type or shape differ in every element.
    """
    if a.dtype != b.dtype or a.shape != b.shape:
        return max(a.size, b.size, 1)
    bits = f"u{a.itemsize}"
    unequal = np.ascontiguousarray(a).view(bits) != np.ascontiguousarray(b).view(bits)
    if not _is_integer(a):
        unequal &= ~((a != a) & (b != b))
    return int(np.count_nonzero(unequal))


def _is_integer(array: Array) -> bool:
    return array.dtype.kind in "iub" or "int" in array.dtype.name


def output_error(name: str, actual: Array, wanted: Array) -> OutputError:
    """The error figures of `actual` against `wanted`; NaN and infinity must agree, and count 0."""
    a, w = _wide(actual), _wide(wanted)
    finite = np.isfinite(w)
    if not ((a == w) | (np.isnan(a) & np.isnan(w)) | (finite & np.isfinite(a))).all():
        return OutputError(name, list(actual.shape), None, None, None, None)
    a, w = np.where(finite, a, 0), np.where(finite, w, 0)
    signal, noise, power = (float(np.sum(x * x)) for x in (w, a - w, a))
    return OutputError(
        name,
        list(actual.shape),
        sqnr_db=10 * float(np.log10(signal / noise)) if signal and noise else None,
        cosine=float(np.sum(a * w) / np.sqrt(power * signal)) if power and signal else None,
        max_abs_err=float(np.max(np.abs(a - w), initial=0.0)),
        max_ulp=_ulps(actual, wanted),
    )


def _ulps(actual: Array, wanted: Array) -> int | None:
    """The largest distance in representable values of the type; of differing types, None."""
    if actual.dtype != wanted.dtype:
        return None
    a, w = _ordinal(actual), _ordinal(wanted)
    distance = np.where(a > w, a - w, w - a)
    return int(np.max(distance, initial=0, where=(actual == actual) | (wanted == wanted)))


def _ordinal(array: Array) -> NDArray[np.uint64]:
    """Integers in the order of the values, one apart where the values are neighbours."""
    if _is_integer(array):
        return array.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63)
    bits = np.ascontiguousarray(array).view(f"u{array.itemsize}").astype(np.uint64)
    sign = np.uint64(1 << (8 * array.itemsize - 1))
    return np.where(bits >= sign, sign + sign - bits, sign + bits)


def relative_change(before: Array, after: Array) -> float:
    """The largest change from `before` to `after` over the largest value; NaN agrees with NaN."""
    a, b = _wide(before), _wide(after)
    with np.errstate(invalid="ignore"):
        change = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    top = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
    change = np.nan_to_num(change, nan=np.inf, posinf=np.inf)
    return float(np.max(change, initial=0.0)) / (top or 1.0)


def _wide(array: Array) -> NDArray[np.float64]:
    return array.astype(np.float64)
