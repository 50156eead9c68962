"""Vector operations in chunks along one of their parallel loops.

Chunks let what is in DRAM stream through the scratchpad, and let the vector unit begin on part of a
result while the matrix unit works on the rest. The loop is the one along which the chunks of the
operand that was written last were made, where that can be; else the outermost of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from xdsl.dialects.linalg.attrs import IteratorType
from xdsl.dialects.linalg.ops import FillOp, GenericOp, IndexOp
from xdsl.dialects.memref import CopyOp
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr

from mxc.dialects import npu
from mxc.dialects.npu import DmaOp
from mxc.dialects.npu.memory import memref_of
from mxc.passes._machine.loops import extents, is_memref, maps_of
from mxc.passes._machine.machine import up
from mxc.passes._machine.ring import RingFull
from mxc.passes._machine.tiling import MAX_CHUNKS, Tiling, chunks
from mxc.passes._machine.views import Part
from mxc.passes._machine.work import purpose_of

CYCLES = 256
"""A chunk of fewer cycles of the vector unit is not worth a command of its own."""

MOST = 16
"""Chunks of an operation that all fits."""


@dataclass(frozen=True)
class Access:
    """An operand of a vector operation and how its axes follow the loops."""

    index: int
    """Its place among the operands of the operation."""

    part: Part
    purpose: str
    axes: Mapping[int, int]
    """Loop -> axis."""

    block: tuple[int, ...]
    """Elements of a loop's axis per element of the operand's: more than 1 for scales."""

    reads: bool
    writes: bool


@dataclass
class Loops:
    """A vector operation as parallel loops that may be cut."""

    op: Operation
    extents: Sequence[int]
    accesses: list[Access]
    free: list[int]
    """Loops that may be cut."""

    multiples: Mapping[int, int] = field(default_factory=dict[int, int])
    """Loop -> what its chunks are multiples of."""


Written = dict[SSAValue, tuple[int, int]]
"""Buffer -> (stride of the axis along which it was written in chunks, elements of a chunk)."""


def loops_of(op: Operation) -> Loops | None:
    """The loops of a vector operation; None if they cannot be cut."""
    match op:
        case GenericOp():
            return _of_generic(op)
        case FillOp() | CopyOp():
            return _of_plain(op)
        case npu.QuantizeOp():
            return _of_conversion(op, (op.source, op.codes, op.scales), op.block.get_values())
        case npu.DequantizeOp():
            return _of_conversion(op, (op.codes, op.scales, op.target), op.block.get_values())
        case _:
            return None


def _access(
    index: int,
    value: SSAValue,
    axes: Mapping[int, int],
    reads: bool,
    writes: bool,
    block: Sequence[int] = (),
    purpose: str | None = None,
) -> Access | None:
    part = Part.of(value)
    if part is None:
        return None
    full = tuple(block) or (1,) * len(part.shape)
    return Access(index, part, purpose or purpose_of(value), axes, full, reads, writes)


def _of_plain(op: FillOp | CopyOp) -> Loops | None:
    shape = memref_of(op.operands[-1]).get_shape()
    axes = {axis: axis for axis in range(len(shape))}
    found: list[Access] = []
    for index, value in enumerate(op.operands):
        if not is_memref(value):
            continue
        last = index == len(op.operands) - 1
        access = _access(index, value, axes, not last, last)
        if access is None:
            return None
        found.append(access)
    return Loops(op, shape, found, list(axes))


def _of_generic(op: GenericOp) -> Loops | None:
    kinds = [kind.data for kind in op.get_iterator_types()]
    free = {loop for loop, kind in enumerate(kinds) if kind == IteratorType.PARALLEL}
    body = op.body.block
    free -= {inner.dim.value.data for inner in body.ops if isinstance(inner, IndexOp)}
    found: list[Access] = []
    count = len(op.inputs)
    for index, (value, map) in enumerate(zip(op.operands, maps_of(op), strict=True)):
        if not is_memref(value):
            continue
        used = body.args[index].uses.get_length() > 0
        axes: dict[int, int] = {}
        for axis, expr in enumerate(map.results):
            if isinstance(expr, AffineDimExpr) and expr.position not in axes:
                axes[expr.position] = axis
            else:
                free -= set(expr.used_dims())
        if index >= count:
            free &= set(axes)
        access = _access(index, value, axes, used, index >= count)
        if access is None:
            return None
        found.append(access)
    return Loops(op, extents(op), found, sorted(free))


def _of_conversion(
    op: npu.QuantizeOp | npu.DequantizeOp, values: Sequence[SSAValue], block: Sequence[int]
) -> Loops | None:
    shape = memref_of(op.codes).get_shape()
    axes = {axis: axis for axis in range(len(shape))}
    found: list[Access] = []
    for index, value in enumerate(values):
        scales = value is op.scales
        writes = value in (
            (op.codes, op.scales) if isinstance(op, npu.QuantizeOp) else (op.target,)
        )
        access = _access(
            index,
            value,
            axes,
            not writes,
            writes,
            block if scales else (),
            "scales" if scales else None,
        )
        if access is None:
            return None
        found.append(access)
    free = [axis for axis in axes if _stays_dense(op, shape, block, axis)]
    multiples = {axis: block[axis] for axis in axes}
    return Loops(op, shape, found, free, multiples)


def _stays_dense(
    op: npu.QuantizeOp | npu.DequantizeOp, shape: Sequence[int], block: Sequence[int], axis: int
) -> bool:
    """Whether a chunk along `axis` is still what the converter takes: see mxnpu_quantize."""
    before = range(axis)
    if isinstance(op, npu.QuantizeOp):
        return all(block[i] == 1 for i in before)
    return all(shape[i] == 1 for i in before)


# -- choosing


def _cut(access: Access, loop: int, low: int, high: int) -> Part:
    if loop not in access.axes:
        return access.part
    axis = access.axes[loop]
    block = access.block[axis]
    return access.part.cut({axis: (low // block, -(-high // block))})


def _room(loops: Loops, loop: int, step: int) -> int:
    """Bytes of the ring for one chunk of `step`."""
    parts = [_cut(a, loop, 0, step) for a in loops.accesses if not a.part.in_scratchpad]
    return sum(up(part.size, 64) for part in parts)


def _stride(access: Access, loop: int) -> int:
    return access.part.strides[access.axes[loop]] if loop in access.axes else 0


def _preferred(loops: Loops, written: Written) -> tuple[int, int] | None:
    """(loop, step) along which an operand was made in chunks, the one read last."""
    for access in reversed(loops.accesses):
        made = written.get(access.part.base)
        if made is None or not access.reads:
            continue
        for loop in loops.free:
            same = loop in access.axes and _stride(access, loop) == made[0]
            if same and loops.extents[loop] > made[1] > 0:
                return loop, made[1]
    return None


def choose(loops: Loops, written: Written, tiling: Tiling) -> tuple[int, int] | None:
    """(loop, size of a chunk); None if nothing is to be cut, or nothing helps."""
    busy = tiling.machine.busy(loops.op)
    room = tiling.ring.size // 2
    wanted = max(1, min(MOST, busy // CYCLES))
    best = _preferred(loops, written)
    output = next(a for a in loops.accesses if a.writes)
    order = sorted(loops.free, key=lambda loop: -_stride(output, loop))
    tried = [] if best is None else [best[0]]
    for loop in (*tried, *order):
        n, multiple = loops.extents[loop], loops.multiples.get(loop, 1)
        if n < 2:
            continue
        step = up(ceil(n / wanted), multiple)
        if best is not None and loop == best[0]:
            step = up(max(step // best[1], 1) * best[1], multiple)
        while step > multiple and _room(loops, loop, step) > room:
            step = up(step // 2, multiple)
        if _room(loops, loop, min(step, n)) <= room:
            return (loop, step) if step < n else None
    return None


# -- writing


def tile_vector(op: Operation, tiling: Tiling, written: Written) -> bool:
    """Writes `op` in chunks; False if it stays as it is."""
    loops = loops_of(op)
    if loops is None or not loops.accesses:
        return False
    moved = any(not access.part.in_scratchpad for access in loops.accesses)
    chosen = choose(loops, written, tiling)
    if chosen is None:
        whole = _room(loops, -1, 0)
        if not moved or 2 * whole > tiling.ring.size:
            return False
        chosen = (-1, 1)
    loop, step = chosen
    if loop >= 0 and ceil(loops.extents[loop] / step) > MAX_CHUNKS:
        return False
    try:
        _write(loops, chosen, tiling)
    except RingFull:
        tiling.discard()
        return False
    _note(loops, chosen, written)
    return True


def _note(loops: Loops, chosen: tuple[int, int], written: Written) -> None:
    """Remembers along which axis results were made in chunks."""
    loop, step = chosen
    for access in loops.accesses:
        if access.writes:
            written.pop(access.part.base, None)
            if loop in access.axes:
                block = access.block[access.axes[loop]]
                written[access.part.base] = (_stride(access, loop), -(-step // block))


def _write(loops: Loops, chosen: tuple[int, int], tiling: Tiling) -> None:
    loop, step = chosen
    size = loops.extents[loop] if loop >= 0 else 1
    held: dict[int, Part] = {}
    for low, high in chunks(size, step):
        _write_chunk(loops, loop, (low, high), held, tiling)
    tiling.release(*held.values())


def _write_chunk(
    loops: Loops, loop: int, chunk: tuple[int, int], held: dict[int, Part], tiling: Tiling
) -> None:
    values = list(loops.op.operands)
    passing: list[Part] = []
    stores: list[Callable[[], None]] = []
    for access in loops.accesses:
        part = _cut(access, loop, *chunk)
        if part.in_scratchpad:
            values[access.index] = tiling.view(part)
            continue
        if loop not in access.axes and not access.writes:
            if access.index not in held:
                held[access.index] = _fetch(access, part, tiling)
            values[access.index] = tiling.view(held[access.index])
            continue
        tile = _fetch(access, part, tiling)
        passing.append(tile)
        values[access.index] = tiling.view(tile)
        if access.writes:
            stores.append(_storing(tiling, tile, part, access.purpose))
    _emit(loops.op, values, tiling)
    for store in stores:
        store()
    tiling.release(*passing)


def _storing(tiling: Tiling, tile: Part, part: Part, purpose: str) -> Callable[[], None]:
    return lambda: tiling.store(tile, part, purpose)


def _fetch(access: Access, part: Part, tiling: Tiling) -> Part:
    """A tile for `part`, filled if the operation reads it."""
    return tiling.load(part, access.purpose) if access.reads else tiling.tile(part)


def _emit(op: Operation, values: list[SSAValue], tiling: Tiling) -> None:
    new = op.clone()
    for index, value in enumerate(values):
        new.operands[index] = value
    tiling.add(new)


def tile_copy(op: CopyOp, tiling: Tiling) -> bool:
    """Writes a copy from or to DRAM as transfers; False if it is none or does not fit."""
    source, target = Part.of(op.source), Part.of(op.destination)
    if source is None or target is None or (source.in_scratchpad and target.in_scratchpad):
        return False
    purpose = purpose_of(op.source)
    if source.in_scratchpad or target.in_scratchpad:
        tiling.add(DmaOp(op.source, op.destination, purpose))
        return True
    axis = next((a for a in target.order if target.shape[a] > 1), None)
    size = target.shape[axis] if axis is not None else 1
    step = size
    while step > 1 and target.size // size * step * 4 > tiling.ring.size:
        step = -(-step // 2)
    if target.size // max(size, 1) * step * 2 > tiling.ring.size:
        return False
    if ceil(size / max(step, 1)) > MAX_CHUNKS:
        return False
    for low, high in chunks(size, step):
        ranges = {} if axis is None else {axis: (low, high)}
        try:
            tile = tiling.load(source.cut(ranges), purpose)
        except RingFull:
            tiling.discard()
            return False
        tiling.store(tile, target.cut(ranges), purpose)
        tiling.release(tile)
    return True
