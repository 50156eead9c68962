"""Contractions as loops over tiles of their output; the depth stays whole, so sums stay.

A contraction has operands, each of which a tile of the output needs a part of. The search tries
tile sizes and orders of the loops; for each it adds up what the target's numbers say:

    max(matrix cycles, DRAM cycles) + first tiles in + last tile out

and takes the least. A tile of an operand stays in place while the loops go over what it does not
depend on: weights stationary if the columns are the outer loop, outputs' rows stationary if the
rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, i64
from xdsl.ir import Attribute, Operation, SSAValue

from mxc.dialects import npu
from mxc.dialects.npu.memory import VECTOR, memref_of
from mxc.dialects.npu.ops import Contraction
from mxc.passes._machine.machine import Machine, up
from mxc.passes._machine.ring import RingFull
from mxc.passes._machine.tiling import MAX_TILES, Ranges, Tiling, chunks
from mxc.passes._machine.vector import Written
from mxc.passes._machine.views import Part
from mxc.passes._machine.work import purpose_of

PER_TILE = 8
"""Cycles that the search counts for a tile itself: of two equal choices, the one with fewer."""


@dataclass(frozen=True)
class Operand:
    """A memref of a contraction and what of it a tile of the output needs."""

    part: Part
    purpose: str
    depends: frozenset[int]
    """The loops that it depends on."""

    cut: Callable[[Ranges], Ranges]
    """Ranges of the loops to ranges of its axes."""


@dataclass(frozen=True)
class Choice:
    """Tile sizes by loop, the order of the loops, and the cycles that are expected."""

    sizes: tuple[int, ...]
    order: tuple[int, ...]
    matrix: int
    dram: int
    total: int


class Nest:
    """A contraction as loops over its output."""

    def __init__(self, op: Contraction, machine: Machine) -> None:
        self.op, self.machine = op, machine
        self.extents: tuple[int, ...] = ()
        self.operands: list[Operand] = []
        """Operands with their scales, in the order of the operation; the output is the last."""

    def candidates(self) -> Iterator[tuple[int, ...]]:
        """Tile sizes to try."""
        raise NotImplementedError

    def orders(self) -> Sequence[tuple[int, ...]]:
        """Orders of the loops to try, outermost first."""
        raise NotImplementedError

    def matrix(self, sizes: Sequence[int]) -> int:
        """Cycles of the unit for all tiles."""
        raise NotImplementedError

    def make(self, values: list[SSAValue], ranges: Ranges) -> Operation:
        """The operation on one tile."""
        raise NotImplementedError

    # -- the search

    def choices(self, room: int) -> list[Choice]:
        """Every choice whose tiles, twice, fit into `room` bytes; the best first."""
        found: list[Choice] = []
        for sizes in self.candidates():
            if prod(ceil(n / s) for s, n in self._pairs(sizes)) > MAX_TILES:
                continue
            first = {axis: (0, min(s, n)) for axis, (s, n) in enumerate(self._pairs(sizes))}
            tiles = [(x, x.part.cut(x.cut(first))) for x in self.operands]
            moved = [(x, tile) for x, tile in tiles if not x.part.in_scratchpad]
            if 2 * sum(up(tile.size, 64) for _, tile in moved) > room:
                continue
            for order in self.orders():
                found.append(self._choice(sizes, order, moved))
        return sorted(found, key=lambda choice: choice.total)

    def _pairs(self, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
        return zip(sizes, self.extents, strict=True)

    def _choice(
        self, sizes: tuple[int, ...], order: tuple[int, ...], moved: list[tuple[Operand, Part]]
    ) -> Choice:
        machine, counts = self.machine, [ceil(n / s) for s, n in self._pairs(sizes)]
        bytes = transfers = first = 0
        for operand, tile in moved:
            times = 1
            for place, axis in enumerate(order):
                if any(inner in operand.depends for inner in order[place:]):
                    times *= counts[axis]
            one = machine.on_bus(*tile.runs())
            bytes, transfers, first = bytes + times * one, transfers + times, first + one
        dram = machine.transfer(bytes)
        dram = max(dram, ceil((dram + transfers * machine.latency) / machine.channels))
        matrix, tiles = self.matrix(sizes), prod(counts)
        begin = machine.latency + machine.transfer(first) if moved else 0
        total = max(matrix, dram) + begin + matrix // tiles + PER_TILE * tiles
        return Choice(sizes, order, matrix, dram, total)

    def write(self, choice: Choice, tiling: Tiling) -> None:
        """Writes the loops, unrolled.

        Raises:
            RingFull: if the tiles do not fit where there is room.
        """
        steps = [chunks(n, s) for s, n in self._pairs(choice.sizes)]
        held: list[tuple[Part, Part] | None] = [None] * (len(self.operands) - 1)
        for combination in product(*(steps[axis] for axis in choice.order)):
            ranges = dict(zip(choice.order, combination, strict=True))
            values: list[SSAValue] = []
            for index, operand in enumerate(self.operands[:-1]):
                values.append(tiling.view(self._held(held, index, operand, ranges, tiling)))
            output = self.operands[-1]
            part = output.part.cut(output.cut(ranges))
            tile = part if part.in_scratchpad else tiling.tile(part)
            tiling.add(self.make([*values, tiling.view(tile)], ranges))
            if not part.in_scratchpad:
                tiling.store(tile, part, output.purpose)
                tiling.release(tile)
        tiling.release(*(pair[1] for pair in held if pair is not None))

    @staticmethod
    def _held(
        held: list[tuple[Part, Part] | None],
        index: int,
        operand: Operand,
        ranges: Ranges,
        tiling: Tiling,
    ) -> Part:
        """The tile of an operand: the one that is there, or a new one."""
        part, old = operand.part.cut(operand.cut(ranges)), held[index]
        if old is None or old[0] != part:
            if old is not None:
                tiling.release(old[1])
            held[index] = part, tiling.load(part, operand.purpose)
        now = held[index]
        assert now is not None
        return now[1]


def sizes_for(extent: int, unit: int, multiple: int) -> list[int]:
    """Sizes to try along a loop: all, multiples of the unit, and fractions of it."""
    sizes = {extent}
    size = unit
    while size < extent:
        sizes.add(size)
        size *= 2
    size = unit // 2
    while size >= 1:
        sizes.add(min(size, extent))
        size //= 2
    return sorted((s for s in sizes if s == extent or s % multiple == 0), reverse=True)


def _batches(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Tile sizes of batch axes: one of the outer ones, some of one, all of the inner ones."""
    found = [tuple(shape)]
    for axis in reversed(range(len(shape))):
        size = 1
        while size < shape[axis]:
            found.append((*([1] * axis), size, *shape[axis + 1 :]))
            size *= 2
    return list(dict.fromkeys(found))


class MatMul(Nest):
    """Loops over the batch, the rows and the columns."""

    op: npu.MatMulOp

    def __init__(self, op: npu.MatMulOp, machine: Machine) -> None:
        super().__init__(op, machine)
        self.extents = memref_of(op.output).get_shape()
        self.depth = memref_of(op.lhs).get_shape()[-1]
        rank = len(self.extents)
        self.rows, self.columns = rank - 2, rank - 1
        sides = (
            (op.lhs, op.lhs_scales, op.blocks[0], self.rows, None),
            (op.rhs, op.rhs_scales, op.blocks[1], None, self.columns),
        )
        self.multiples = [1] * rank
        for data, scales, block, row, column in sides:
            shape = memref_of(data).get_shape()
            axes = _matmul_axes(rank, shape, row, column)
            self._add(data, purpose_of(data), axes, [1] * len(shape))
            if scales is not None and block is not None:
                self._add(scales, "scales", axes, block)
                for axis, loop in axes.items():
                    self.multiples[loop] = max(self.multiples[loop], block[axis])
        self._add(op.output, purpose_of(op.output), {i: i for i in range(rank)}, [1] * rank)

    def _add(
        self, value: SSAValue, purpose: str, axes: dict[int, int], block: Sequence[int]
    ) -> None:
        part = Part.of(value)
        assert part is not None, "it has a fixed place"

        def cut(ranges: Ranges) -> Ranges:
            return {
                axis: (ranges[loop][0] // block[axis], -(-ranges[loop][1] // block[axis]))
                for axis, loop in axes.items()
            }

        self.operands.append(Operand(part, purpose, frozenset(axes.values()), cut))

    def candidates(self) -> Iterator[tuple[int, ...]]:
        unit = self.machine.target.matrix
        rows = sizes_for(self.extents[-2], unit.m, self.multiples[-2])
        columns = sizes_for(self.extents[-1], unit.n, self.multiples[-1])
        for batch in _batches(self.extents[:-2]):
            fits = zip(batch, self.extents, self.multiples, strict=False)
            if all(size == n or size % multiple == 0 for size, n, multiple in fits):
                for sizes in product(rows, columns):
                    yield (*batch, *sizes)

    def orders(self) -> Sequence[tuple[int, ...]]:
        batch = tuple(range(self.rows))
        return [(*batch, self.columns, self.rows), (*batch, self.rows, self.columns)]

    def matrix(self, sizes: Sequence[int]) -> int:
        unit, batch = self.machine.target.matrix, prod(self.extents[:-2])
        padded = [
            sum(up(high - low, step) for low, high in chunks(n, size))
            for n, size, step in zip(self.extents[-2:], sizes[-2:], (unit.m, unit.n), strict=True)
        ]
        tiles = [ceil(n / s) for n, s in zip(self.extents[-2:], sizes[-2:], strict=True)]
        elements = [n * self.depth * batch for n in self.extents[-2:]]
        macs = batch * prod(padded) * up(self.depth, unit.k)
        return self.machine.matrix(self.op, macs, elements[0] * tiles[1], elements[1] * tiles[0])

    def make(self, values: list[SSAValue], ranges: Ranges) -> Operation:
        op, values = self.op, list(values)
        sides = _sides(op, values)
        kept: dict[str, Attribute | None] = {
            k: v for k, v in op.properties.items() if k[:4] in ("lhs_", "rhs_")
        }
        return npu.MatMulOp(sides, values[-1], op.contract.data, kept)


def _matmul_axes(
    rank: int, shape: Sequence[int], row: int | None, column: int | None
) -> dict[int, int]:
    """Axis -> loop of an operand; axes that broadcast follow none."""
    lead = rank - len(shape)
    axes = {axis: axis + lead for axis in range(len(shape) - 2) if shape[axis] > 1}
    if row is not None:
        axes[len(shape) - 2] = row
    if column is not None:
        axes[len(shape) - 1] = column
    return axes


def _sides(op: Contraction, values: list[SSAValue]) -> list[list[SSAValue]]:
    """The operands of each side, with scales where it has some."""
    count = 1 if op.lhs_scales is None else 2
    return [values[:count], values[count:-1]]


class Conv(Nest):
    """Loops over the images, the output channels and the rows of the output."""

    op: npu.ConvOp

    def __init__(self, op: npu.ConvOp, machine: Machine) -> None:
        super().__init__(op, machine)
        x, w, y = (memref_of(v).get_shape() for v in (op.lhs, op.rhs, op.output))
        self.extents = y[0], y[1], y[2]
        self.groups, self.inner = op.groups.value.data, w[1]
        self.per_group = w[0] // self.groups
        self.height, self.kernel = x[2], w[2]
        self.stride, self.dilation = op.strides.get_values()[0], op.dilations.get_values()[0]
        self.pads = op.pads.get_values()
        self.x, self.w, self.y = x, w, y
        blocks = [block or [1] * len(x) for block in op.blocks]
        self.blocks = blocks
        self._add(op.lhs, op.lhs_scales, blocks[0], frozenset({0, 1, 2}), self._input)
        self._add(op.rhs, op.rhs_scales, blocks[1], frozenset({1}), lambda r: {0: r[1]})
        self._add(op.output, None, [], frozenset({0, 1, 2}), lambda r: {0: r[0], 1: r[1], 2: r[2]})
        if self.groups == 1:
            for index in range(2 if op.lhs_scales is not None else 1):
                old = self.operands[index]
                self.operands[index] = Operand(old.part, old.purpose, frozenset({0, 2}), old.cut)

    def _add(
        self,
        data: SSAValue,
        scales: SSAValue | None,
        block: Sequence[int],
        depends: frozenset[int],
        cut: Callable[[Ranges], Ranges],
    ) -> None:
        part = Part.of(data)
        assert part is not None, "it has a fixed place"
        self.operands.append(Operand(part, purpose_of(data), depends, cut))
        if scales is not None:
            grid = Part.of(scales)
            assert grid is not None, "it has a fixed place"

            def cut_grid(ranges: Ranges) -> Ranges:
                return {
                    axis: (low // block[axis], -(-high // block[axis]))
                    for axis, (low, high) in cut(ranges).items()
                }

            self.operands.append(Operand(grid, "scales", depends, cut_grid))

    def _rows(self, low: int, high: int) -> tuple[int, int, int, int]:
        """The rows of the input that rows of the output need: (low, high, pad before, after)."""
        first = low * self.stride - self.pads[0]
        last = (high - 1) * self.stride - self.pads[0] + (self.kernel - 1) * self.dilation + 1
        begin, end = max(first, 0), min(last, self.height)
        return begin, end, begin - first, last - end

    def _input(self, ranges: Ranges) -> Ranges:
        result = {0: ranges[0], 2: self._rows(*ranges[2])[:2]}
        if self.groups > 1:
            low, high = ranges[1]
            result[1] = (
                low // self.per_group * self.inner,
                -(-high // self.per_group) * self.inner,
            )
        return result

    def candidates(self) -> Iterator[tuple[int, ...]]:
        unit = self.machine.target.matrix
        for images in dict.fromkeys((self.extents[0], 1)):
            for channels in self._channel_sizes(unit.m):
                for rows in self._row_sizes():
                    yield images, channels, rows

    def _channel_sizes(self, unit: int) -> list[int]:
        total = self.extents[1]
        sizes = sizes_for(total, unit, self.blocks[1][0])
        if self.groups == 1:
            return sizes
        block = self.blocks[0][1]
        whole = [g * self.per_group for g in sizes_for(self.groups, 1, 1)]
        aligned = [s for s in whole if s // self.per_group * self.inner % block == 0]
        return list(dict.fromkeys([total, *(s for s in aligned if s % self.blocks[1][0] == 0)]))

    def _row_sizes(self) -> list[int]:
        total = self.extents[2]
        if self.blocks[0][0] > 1 or self.blocks[0][2] > 1:
            return [total]
        sizes = [total]
        while sizes[-1] > 1:
            sizes.append(-(-sizes[-1] // 2))
        few = [s for s in sizes if ceil(total / s) <= MAX_TILES]
        return [s for s in few if s == total or self._has_rows(s)]

    def _has_rows(self, size: int) -> bool:
        """Whether each tile of `size` rows needs some row of the input and no pad is negative."""
        for low, high in chunks(self.extents[2], size):
            first = low * self.stride - self.pads[0]
            last = (high - 1) * self.stride - self.pads[0] + (self.kernel - 1) * self.dilation + 1
            if last <= 0 or first >= self.height:
                return False
        return True

    def orders(self) -> Sequence[tuple[int, ...]]:
        return [(0, 1, 2), (0, 2, 1)]

    def matrix(self, sizes: Sequence[int]) -> int:
        machine, unit = self.machine, self.machine.target.matrix
        taps, plane = prod(self.w[2:]), prod(self.y[3:])
        if npu.queue_of(self.op) == VECTOR:
            return ceil(prod(self.y) * self.inner * taps / machine.target.vector.lanes)
        exact = self.op.contract.data == "block-exact"
        depth = up(self.inner, unit.k) * taps if exact else up(self.inner * taps, unit.k)
        columns = sum(
            up((end - start) * plane, unit.n) for start, end in chunks(self.extents[2], sizes[2])
        )
        if self.groups == 1:
            rows = sum(up(end - start, unit.m) for start, end in chunks(self.extents[1], sizes[1]))
        else:
            rows = self.groups * up(self.per_group, unit.m)
        macs = self.extents[0] * rows * columns * depth
        times = ceil(self.extents[1] / sizes[1]) if self.groups == 1 else 1
        weights = prod(self.w) * ceil(self.extents[2] / sizes[2]) * ceil(self.extents[0] / sizes[0])
        return machine.matrix(self.op, macs, prod(self.x) * times, weights)

    def make(self, values: list[SSAValue], ranges: Ranges) -> Operation:
        op = self.op
        _, _, before, after = self._rows(*ranges[2])
        rank = len(self.pads) // 2
        pads = [before, *self.pads[1:rank], after, *self.pads[rank + 1 :]]
        low, high = ranges[1]
        groups = 1 if self.groups == 1 else (high - low) // self.per_group
        kept: dict[str, Attribute | None] = {
            k: v for k, v in op.properties.items() if k[:4] in ("lhs_", "rhs_")
        }
        kept |= {k: op.properties[k] for k in ("strides", "dilations")}
        kept["pads"] = DenseArrayBase.from_list(i64, pads)
        kept["groups"] = IntegerAttr(groups, i64)
        return npu.ConvOp(_sides(op, values), values[-1], op.contract.data, kept)


def tile_contraction(op: Contraction, tiling: Tiling, written: Written) -> str | None:
    """Writes `op` in tiles; says which and why, or None if no tiles fit.

    `written` is told along which axis the tiles of the output follow each other.
    """
    if any(Part.of(value) is None for value in op.operands):
        return None
    kind = MatMul if isinstance(op, npu.MatMulOp) else Conv
    nest = kind(op, tiling.machine)  # pyright: ignore
    for choice in nest.choices(tiling.ring.size)[:8]:
        try:
            nest.write(choice, tiling)
        except RingFull:
            tiling.discard()
            continue
        _note(nest, choice, written)
        return _reason(nest, choice)
    return None


def _note(nest: Nest, choice: Choice, written: Written) -> None:
    output = nest.operands[-1].part
    written.pop(output.base, None)
    for axis in choice.order:
        if choice.sizes[axis] < nest.extents[axis]:
            written[output.base] = output.strides[axis], choice.sizes[axis]
            return


def _reason(nest: Nest, choice: Choice) -> str:
    sizes, extents = ("x".join(map(str, x)) for x in (choice.sizes, nest.extents))
    bound = "matrix" if choice.matrix >= choice.dram else "DRAM"
    outer, inner = choice.order[-2:]
    held = "weights" if (outer < inner) == isinstance(nest, Conv) else "rows"
    return (
        f"tiles {sizes} of {extents}, {held} stationary: {bound} bound, matrix {choice.matrix}, "
        f"DRAM {choice.dram}, {choice.total} cycles expected"
    )
