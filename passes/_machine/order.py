"""Which operations must come before which: those that touch the same bytes, one of them writing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import Operation

from mxc.dialects.npu import ConstantOp
from mxc.passes._machine.regions import Region, accesses, region_of


def dependences(ops: Sequence[Operation]) -> list[list[int]]:
    """For each of `ops`, the earlier ones that it must come after.

    An operation comes after those that wrote what it touches and, if it writes, those that read it;
    one whose bytes have been written anew since is left out, the later one stands for it.
    """
    log = _Log()
    return [_before(number, op, log) for number, op in enumerate(ops)]


def _before(number: int, op: Operation, log: _Log) -> list[int]:
    found: set[int] = set()
    mine: list[tuple[Region, bool]] = []
    for value, writes in accesses(op):
        region = region_of(value)
        if isinstance(getattr(region.space, "owner", None), ConstantOp):
            continue
        if region.end > region.begin:
            mine.append((region, writes))
    for region, writes in mine:
        found |= log.conflicts(region, writes)
    for region, writes in mine:
        log.add(number, region, writes)
    return sorted(found)


class _Log:
    """What was touched so far, by memory."""

    def __init__(self) -> None:
        self._spaces: dict[object, _Space] = {}

    def conflicts(self, region: Region, writes: bool) -> set[int]:
        """Operations that touched bytes of `region`, and read or wrote them in conflict."""
        space = self._spaces.get(region.space)
        return set() if space is None else space.conflicts(region, writes)

    def add(self, number: int, region: Region, writes: bool) -> None:
        """Notes that operation `number` touches `region`."""
        self._spaces.setdefault(region.space, _Space()).add(number, region, writes)


class _Space:
    def __init__(self) -> None:
        self._size = 0
        self._ends = np.zeros((2, 256), np.int64)  # begin, end
        self._rows: list[tuple[int, Region, bool]] = []

    def conflicts(self, region: Region, writes: bool) -> set[int]:
        begin, end = self._ends[:, : self._size]
        near = np.flatnonzero((begin < region.end) & (end > region.begin))
        found: set[int] = set()
        for index in near.tolist():
            number, other, wrote = self._rows[index]
            if (writes or wrote) and number not in found and region.meets(other):
                found.add(number)
        return found

    def add(self, number: int, region: Region, writes: bool) -> None:
        if writes:
            self._forget(region)
        if self._size == self._ends.shape[1]:
            self._ends = np.concatenate([self._ends, np.zeros_like(self._ends)], axis=1)
        self._ends[:, self._size] = region.begin, region.end
        self._rows.append((number, region, writes))
        self._size += 1

    def _forget(self, region: Region) -> None:
        """Drops what lies wholly in `region`, which is written anew without gaps."""
        if not _is_solid(region):
            return
        begin, end = self._ends[:, : self._size]
        keep = np.flatnonzero((begin < region.begin) | (end > region.end))
        if len(keep) < self._size:
            self._ends[:, : len(keep)] = self._ends[:, keep]
            self._rows = [self._rows[i] for i in keep.tolist()]
            self._size = len(keep)


def _is_solid(region: Region) -> bool:
    """Whether the region is one run of bytes."""
    runs = sorted((s, n) for n, s in zip(region.shape, region.strides, strict=True) if n > 1)
    total = region.end - region.begin
    covered = 1
    for stride, size in runs:
        if covered == 1:
            covered = stride
        if stride != covered:
            return False
        covered *= size
    return not runs or covered == total
