"""The inner loops of the contractions: tiles that fit the cache, vectorised over their elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.numerics.dots import registered_contract, run_steps, takes_floats
from mxc.numerics.exact import round_sum, to_odd

Array = NDArray[Any]

TILE = 1 << 15
"""Accumulators per tile: three f32 buffers of that many fit a level 2 cache."""


@dataclass(frozen=True)
class Terms:
    """The operands of a contraction over `k`, as [B, M, K] and [B, K, N] of equal dtype."""

    lhs: list[Array]
    """Parts that add up to the left operand: one, unless f64 needs more to be exact."""
    rhs: Array
    bounds: Sequence[int]
    """Where the steps of an exact sum begin, and the end; unused by the others."""
    mode: str
    """The contract."""


def accumulate(terms: Terms) -> NDArray[np.float32]:
    """The contraction, [B, M, N]."""
    batch, rows, _ = terms.lhs[0].shape
    columns = terms.rhs.shape[-1]
    if takes_floats(terms.mode) and columns < 32 and columns < rows:
        lhs, rhs = terms.rhs.swapaxes(1, 2), terms.lhs[0].swapaxes(1, 2)
        return accumulate(Terms([lhs], rhs, terms.bounds, terms.mode)).swapaxes(1, 2)
    result = np.empty((batch, rows, columns), np.float32)
    run = _RUN.get(_fused_is_plain(terms), _vendors)
    for b, m, n in _tiles(batch, rows, columns):
        lhs = [part[b, m] for part in terms.lhs]
        result[b, m, n] = run(Terms(lhs, terms.rhs[b, :, n], terms.bounds, terms.mode))
    return result


def _tiles(batch: int, rows: int, columns: int) -> Iterator[tuple[slice, slice, slice]]:
    n = max(1, min(columns, 2048))
    m = max(1, min(rows, TILE // n))
    b = max(1, min(batch, TILE // (n * m)))
    for i in range(0, batch, b):
        for j in range(0, rows, m):
            for k in range(0, columns, n):
                yield slice(i, i + b), slice(j, j + m), slice(k, k + n)


def _fused_is_plain(terms: Terms) -> str:
    """The loop to run: `sequential` in place of `sequential-fma` if every product is exact."""
    if terms.mode == "sequential-fma" and _exact_products(terms.lhs[0], terms.rhs):
        return "sequential"
    return terms.mode


def _exact_products(a: Array, b: Array) -> bool:
    """True if 12 significant bits hold every value, and no product is near an end of f32."""
    lows, highs = 1.0, 1.0
    for x in (a, b):
        bits = np.ascontiguousarray(x).view(np.uint32)
        if (bits & np.uint32(0xFFF)).any():
            return False
        magnitude = bits & np.uint32(0x7FFFFFFF)
        highs *= float(magnitude.max(initial=0).view(np.float32))
        nonzero = magnitude.min(initial=0x3F800000, where=magnitude > 0)
        lows *= float(nonzero.view(np.float32))
    return highs < 2.0**120 and lows > 2.0**-120


def _sequential(terms: Terms) -> NDArray[np.float32]:
    """`acc = acc + a * b`, both rounded."""
    lhs, rhs = _by_depth(terms)
    acc = np.zeros((lhs.shape[1], lhs.shape[2], rhs.shape[3]), np.float32)
    product = np.empty_like(acc)
    for a, b in zip(lhs, rhs, strict=True):
        np.multiply(a, b, out=product)
        np.add(acc, product, out=acc)
    return acc


def _by_depth(terms: Terms) -> tuple[Array, Array]:
    """The operands with `k` first: [K, B, M, 1] and [K, B, 1, N]."""
    lhs = np.ascontiguousarray(terms.lhs[0].transpose(2, 0, 1))[..., None]
    rhs = np.ascontiguousarray(terms.rhs.transpose(1, 0, 2))[:, :, None, :]
    return lhs, rhs


def _fused(terms: Terms) -> NDArray[np.float32]:
    """`acc = fma(a, b, acc)`."""
    lhs, rhs = _by_depth(terms)
    acc = np.zeros((lhs.shape[1], lhs.shape[2], rhs.shape[3]), np.float32)
    for a, b in zip(lhs, rhs, strict=True):
        acc = fma(a, b, acc)
    return acc


def fma(a: Array, b: Array, c: NDArray[np.float32]) -> NDArray[np.float32]:
    """`a * b + c` of f32 values, rounded once to f32.

    The product is exact in f64. The sum is rounded to f64 first, and rounding that to f32 is wrong
    only if it lies half-way between two f32, or if the result is subnormal: these few are
    computed again, rounding to odd.
    """
    product = np.multiply(a, b, dtype=np.float64)
    wide = np.asarray(c, np.float64)
    total = np.asarray(product + wide)
    result = total.astype(np.float32)
    bits = total.view(np.int64)
    doubtful = (bits & 0x1FFFFFFF) == 0x10000000
    doubtful |= np.abs(total) < 2.0**-125
    if doubtful.any():
        s = total[doubtful]
        p, w = (np.broadcast_to(x, total.shape)[doubtful] for x in (product, wide))
        back = s - p
        error = (p - (s - back)) + (w - back)
        result[doubtful] = to_odd(s, error).astype(np.float32)
    return result


def _block_exact(terms: Terms) -> NDArray[np.float32]:
    """The exact sum of each step, rounded once, added to the accumulator."""
    (batch, rows, _), columns = terms.lhs[0].shape, terms.rhs.shape[-1]
    acc = np.zeros((batch, rows, columns), np.float32)
    sums = [np.empty(acc.shape, np.float64) for _ in terms.lhs]
    rounded = np.empty_like(acc)
    for start, stop in pairwise(terms.bounds):
        k = slice(start, stop)
        for part, out in zip(terms.lhs, sums, strict=True):
            np.matmul(part[..., k], terms.rhs[:, k], out=out)
        if len(sums) == 1:
            np.copyto(rounded, sums[0], casting="same_kind")
        else:
            rounded = _round_parts(terms, k, sums)
        np.add(acc, rounded, out=acc)
    return acc


def _round_parts(terms: Terms, k: slice, sums: list[Array]) -> NDArray[np.float32]:
    """The sum of the parts; where infinities or NaNs take part, what IEEE says of the whole."""
    rounded = round_sum(sums)
    if not all(np.isfinite(s).all() for s in sums):
        whole = np.matmul(np.sum([part[..., k] for part in terms.lhs], axis=0), terms.rhs[:, k])
        odd = ~np.isfinite(whole)
        rounded[odd] = whole[odd].astype(np.float32)
        # A zero of a part meets an infinity of the other side only where the whole is not finite.
    return rounded


def _vendors(terms: Terms) -> NDArray[np.float32]:
    """What a vendor's contract says, step by step."""
    contract = registered_contract(terms.mode)
    assert contract is not None
    return run_steps(contract, terms.lhs[0], terms.rhs, [*terms.bounds])


_RUN = {"sequential": _sequential, "sequential-fma": _fused, "block-exact": _block_exact}
