"""Placing buffers with known sizes and lifetimes into one memory (offline, static)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUNDS = 30
"""How often a plan above the peak is tried again."""


@dataclass(frozen=True)
class Span:
    """A buffer: `size` bytes, needed from operation `first` to operation `last`, inclusive."""

    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """Where each buffer lies, how much memory that takes, and how much any plan must take."""

    offsets: tuple[int, ...]
    total: int
    peak: int
    """The largest sum of sizes needed at one operation: no plan can take less."""


def allocate(spans: Sequence[Span], alignment: int) -> Plan:
    """A plan for `spans` in which buffers needed at the same time do not overlap.

    Sizes are rounded up to `alignment`. Buffers are placed one by one into the smallest gap that
    fits, in three greedy orders. While that takes more than the peak, the buffers at the very end
    of the best plan move to the front of its order, and all are placed again. The best plan wins,
    the first among equals.
    """
    sizes = [-(-span.size // alignment) * alignment for span in spans]
    peak = _peak(spans, sizes)
    indices = range(len(spans))
    orders = [
        sorted(indices, key=lambda i: (-sizes[i], spans[i].first, i)),
        sorted(indices, key=lambda i: (spans[i].first - spans[i].last, -sizes[i], i)),
        sorted(indices, key=lambda i: (spans[i].first, -sizes[i], i)),
    ]
    plans = [(order, _place(spans, sizes, order)) for order in orders]
    order, best = min(plans, key=lambda plan: _total(plan[1], sizes))
    offsets = best
    for _ in range(ROUNDS):
        if _total(best, sizes) == peak:
            break
        end = _total(offsets, sizes)
        last = [i for i in order if offsets[i] + sizes[i] == end]
        order = [*last, *(i for i in order if i not in last)]
        offsets = _place(spans, sizes, order)
        if _total(offsets, sizes) < _total(best, sizes):
            best = offsets
    return Plan(tuple(best), _total(best, sizes), peak)


def _total(offsets: Sequence[int], sizes: Sequence[int]) -> int:
    return max((o + s for o, s in zip(offsets, sizes, strict=True)), default=0)


def _peak(spans: Sequence[Span], sizes: Sequence[int]) -> int:
    changes: dict[int, int] = {}
    for span, size in zip(spans, sizes, strict=True):
        changes[span.first] = changes.get(span.first, 0) + size
        changes[span.last + 1] = changes.get(span.last + 1, 0) - size
    live, peak = 0, 0
    for position in sorted(changes):
        live += changes[position]
        peak = max(peak, live)
    return peak


def _place(spans: Sequence[Span], sizes: Sequence[int], order: Sequence[int]) -> list[int]:
    """Offsets when buffers are placed in `order`, each into the smallest gap among its peers."""
    first = np.array([spans[i].first for i in order])
    last = np.array([spans[i].last for i in order])
    size = np.array([sizes[i] for i in order])
    offset = np.zeros(len(order), np.int64)
    result = [0] * len(order)
    for n, index in enumerate(order):
        peers = np.flatnonzero((first[:n] <= last[n]) & (last[:n] >= first[n]))
        begins = offset[peers]
        by_place = np.argsort(begins, kind="stable")
        pairs = zip(begins[by_place].tolist(), size[peers][by_place].tolist(), strict=True)
        offset[n] = result[index] = _gap(list(pairs), sizes[index])
    return result


def _gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    """The start of the smallest gap of `size` bytes between (begin, size) pairs, else their end."""
    end, best, slack = 0, -1, -1
    for begin, length in taken:
        room = begin - end
        if room >= size and (best < 0 or room < slack):
            best, slack = end, room
        end = max(end, begin + length)
    return end if best < 0 else best
