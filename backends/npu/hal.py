"""Calls of the HAL: descriptors hold addresses, shapes and strides; nothing is implied."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import BFloat16Type, Float16Type
from xdsl.ir import Attribute, Operation, SSAValue

from mxc.backends.npu.access import memref_of, strides_of
from mxc.backends.npu.function import Function, Place
from mxc.dialects import npu
from mxc.dialects.mx.recipes import recipe_of
from mxc.dialects.npu.memory import DMA
from mxc.dialects.types import numpy_dtype
from mxc.errors import CannotLower
from mxc.numerics.c_source import c_contract, c_format, c_recipe
from mxc.passes._machine.regions import unique_accesses
from mxc.passes._machine.work import purpose_of, work_of

MAX_RANK = 8
"""MXNPU_MAX_RANK of the header."""


def _list(values: Sequence[object]) -> str:
    """An initializer; C99 has no empty ones, so of rank 0 it is a zero that nobody reads."""
    return "{" + (", ".join(map(str, values)) or "0") + "}"


def _struct(fields: Sequence[tuple[str, object]]) -> str:
    return "{" + ", ".join(f".{name} = {value}" for name, value in fields) + "}"


def _check_rank(rank: int) -> None:
    if rank > MAX_RANK:
        raise CannotLower(f"the HAL has at most {MAX_RANK} dimensions, not {rank}")


def _float_kind(type: Attribute) -> str:
    if isinstance(type, BFloat16Type):
        return "MXNPU_BF16"
    return "MXNPU_F16" if isinstance(type, Float16Type) else "MXNPU_F32"


def purpose(value: SSAValue) -> str:
    """What the bytes of a memref are, for profiles."""
    return f"MXNPU_{purpose_of(value).upper()}"


def _tensor(out: Function, data: SSAValue, rank: int | None = None) -> list[tuple[str, object]]:
    """A float operand: kind, data and strides, with strides of 0 in front up to `rank`."""
    strides = _strides(data, rank)
    kind = _float_kind(memref_of(data).element_type)
    return [
        ("kind", kind),
        ("purpose", purpose(data)),
        ("data", out.pointer(data)),
        ("stride", _list(strides)),
    ]


def _blocks(
    out: Function,
    codes: SSAValue,
    scales: SSAValue,
    format: str,
    block: Sequence[int],
    rank: int | None = None,
) -> list[tuple[str, object]]:
    """A blocked operand."""
    lead = 0 if rank is None else rank - len(block)
    return [
        ("kind", "MXNPU_BLOCKS"),
        ("purpose", purpose(codes)),
        ("format", c_format(format)),
        ("data", out.pointer(codes)),
        ("scales", out.pointer(scales)),
        ("stride", _list(_strides(codes, rank))),
        ("scale_stride", _list(_strides(scales, rank))),
        ("block", _list([1] * lead + list(block))),
    ]


def _strides(value: SSAValue, rank: int | None) -> list[int]:
    """Strides, 0 along axes of size 1, which broadcast; with zeros in front up to `rank`."""
    shape, strides = memref_of(value).get_shape(), strides_of(value)
    shown = [0 if n == 1 else s for n, s in zip(shape, strides, strict=True)]
    return [0] * ((rank or len(shown)) - len(shown)) + shown


def _operand(
    out: Function, data: SSAValue, scales: SSAValue | None, format: object, block: object, rank: int
) -> str:
    if scales is None:
        return _struct(_tensor(out, data, rank))
    return _struct(_blocks(out, data, scales, format.data, block.get_values(), rank))  # type: ignore


def _describe(out: Function, kind: str, fields: Sequence[tuple[str, object]]) -> None:
    """Declares the descriptor `d`, one field a line."""
    out.line(f"const {kind} d = {{")
    for name, value in fields:
        out.line(f"  .{name} = {value},")
    out.line("};")


def _sides(out: Function, op: npu.MatMulOp | npu.ConvOp, rank: int) -> list[tuple[str, object]]:
    lhs = _operand(out, op.lhs, op.lhs_scales, op.lhs_format, op.lhs_block, rank)
    rhs = _operand(out, op.rhs, op.rhs_scales, op.rhs_format, op.rhs_block, rank)
    output = out.pointer(op.output)
    return [
        ("contract", c_contract(op.contract.data)),
        ("lhs", lhs),
        ("rhs", rhs),
        ("output", output),
        ("output_stride", _list(strides_of(op.output))),
    ]


def matmul(out: Function, op: npu.MatMulOp) -> None:
    """`mxnpu_matmul`."""
    shape = memref_of(op.output).get_shape()
    _check_rank(rank := len(shape))
    depth = memref_of(op.lhs).get_shape()[-1]
    fields = [("rank", rank), ("shape", _list(shape)), ("depth", depth)]
    _describe(out, "mxnpu_matmul_desc", [*fields, *_sides(out, op, rank)])
    out.line(f"mxnpu_matmul({out.device()}, &d);")


def conv(out: Function, op: npu.ConvOp) -> None:
    """`mxnpu_conv`."""
    x, w, y = (memref_of(v).get_shape() for v in (op.lhs, op.rhs, op.output))
    _check_rank(rank := len(y))
    fields: list[tuple[str, object]] = [
        ("rank", rank - 2),
        ("batch", x[0]),
        ("channels", x[1]),
        ("output_channels", y[1]),
        ("groups", op.groups.value.data),
        ("input_shape", _list(x[2:])),
        ("kernel_shape", _list(w[2:])),
        ("output_shape", _list(y[2:])),
        ("strides", _list(op.strides.get_values())),
        ("pads", _list(op.pads.get_values()[: rank - 2])),
        ("dilations", _list(op.dilations.get_values())),
    ]
    _describe(out, "mxnpu_conv_desc", [*fields, *_sides(out, op, rank)])
    out.line(f"mxnpu_conv({out.device()}, &d);")


def quantize(out: Function, op: npu.QuantizeOp) -> None:
    """`mxnpu_quantize`."""
    source = _struct(_tensor(out, op.source))
    _quantize(out, op, op.source, source)


def requantize(out: Function, op: npu.RequantizeOp) -> None:
    """`mxnpu_quantize` of a blocked source."""
    old = (op.source_codes, op.source_scales, op.source_format.data, op.source_block.get_values())
    _quantize(out, op, op.source_codes, _struct(_blocks(out, *old)))


def _quantize(
    out: Function, op: npu.QuantizeOp | npu.RequantizeOp, tensor: SSAValue, source: str
) -> None:
    shape = memref_of(tensor).get_shape()
    _check_rank(len(shape))
    how: list[tuple[str, object]] = [
        ("rank", len(shape)),
        ("shape", _list(shape)),
        ("strides", _list(strides_of(tensor))),
        ("block", _list(op.block.get_values())),
        ("format", c_format(op.format.data)),
        *c_recipe(recipe_of(op.recipe, op.format.data)).items(),
    ]
    fields: list[tuple[str, object]] = [
        ("how", _struct(how)),
        ("source", source),
        ("dense", dense_from(op.codes, op.scales)),
        ("purpose", purpose(op.codes)),
        ("codes", out.pointer(op.codes)),
        ("code_stride", _list(strides_of(op.codes))),
        ("scales", out.pointer(op.scales)),
        ("scale_stride", _list(strides_of(op.scales))),
    ]
    _describe(out, "mxnpu_quantize_desc", fields)
    out.line(f"mxnpu_quantize({out.device()}, &d);")


def dense_from(*values: SSAValue) -> int:
    """The first axis from which on all `values`, of one rank, lie densely."""
    axis = len(memref_of(values[0]).get_shape())
    while axis > 0 and all(_dense_at(value, axis - 1) for value in values):
        axis -= 1
    return axis


def _dense_at(value: SSAValue, axis: int) -> bool:
    shape = memref_of(value).get_shape()
    return shape[axis] == 1 or strides_of(value)[axis] == prod(shape[axis + 1 :])


def dequantize(out: Function, op: npu.DequantizeOp) -> None:
    """`mxnpu_dequantize`."""
    shape = memref_of(op.codes).get_shape()
    _check_rank(len(shape))
    source = _blocks(out, op.codes, op.scales, op.format.data, op.block.get_values())
    fields: list[tuple[str, object]] = [
        ("rank", len(shape)),
        ("shape", _list(shape)),
        ("source", _struct(source)),
        ("target", out.pointer(op.target)),
        ("target_stride", _list(strides_of(op.target))),
    ]
    _describe(out, "mxnpu_dequantize_desc", fields)
    out.line(f"mxnpu_dequantize({out.device()}, &d);")


def dma(out: Function, op: npu.DmaOp) -> None:
    """`mxnpu_dma`."""
    shape = memref_of(op.source).get_shape()
    _check_rank(len(shape))
    fields: list[tuple[str, object]] = [
        ("channel", op.channel.value.data),
        ("purpose", f"MXNPU_{op.purpose.data.upper()}"),
        ("rank", len(shape)),
        ("shape", _list(shape)),
        ("element_bytes", numpy_dtype(memref_of(op.source).element_type).itemsize),
        ("source", out.pointer(op.source)),
        ("source_stride", _list(strides_of(op.source))),
        ("target", out.pointer(op.target)),
        ("target_stride", _list(strides_of(op.target))),
    ]
    _describe(out, "mxnpu_dma_desc", fields)
    out.line(f"mxnpu_dma({out.device()}, &d);")


def queue(name: str) -> str:
    """The number of a queue."""
    if name.startswith(DMA):
        return f"MXNPU_DMA + {name[len(DMA) :]}"
    return f"MXNPU_{name.upper()}"


def kernel(name: str, loops_name: str, loops: Function) -> list[str]:
    """The function `name`, of type mxnpu_kernel, that calls `loops`, called `loops_name`."""
    given = [
        f"({kind.replace(' *restrict', ' *')})memory[{i}]"
        for i, kind in enumerate(loops.pointer_types())
    ]
    scalars = [f"scalars[{i}].{_member(kind)}" for i, kind in enumerate(loops.scalar_types())]
    return [
        f"static void {name}(void *const *memory, const mxnpu_scalar *scalars)",
        "{",
        *([] if given else ["  (void)memory;"]),
        *([] if scalars else ["  (void)scalars;"]),
        f"  {loops_name}({', '.join([*given, *scalars])});",
        "}",
        "",
    ]


def _member(kind: str) -> str:
    """The member of mxnpu_scalar that holds a value of C type `kind`."""
    return {"float": "f", "double": "d", "int64_t": "i"}.get(kind, "u")


def launch(
    out: Function,
    op: Operation,
    loops: Function,
    name: str,
    reads: Sequence[SSAValue],
) -> None:
    """`mxnpu_vector` of the kernel `name`, which calls `loops`.

    `reads` are read as a whole; what else is read is read at most once per point.
    """
    memory = [f"(void *){out.parameter(place)}" for place in loops.places]
    scalars = [
        f"{{.{_member(kind)} = {out.scalar(value)}}}"
        for kind, value in zip(loops.scalar_types(), loops.passed, strict=True)
    ]
    work = work_of(op)
    regions = [
        _region(out, value, writes, 0 if writes or value in reads else work.points)
        for value, writes in unique_accesses(op)
    ]
    fields: list[tuple[str, object]] = [("kernel", name)]
    for count, field, kind, rows in (
        ("memories", "memory", "void *const", memory),
        ("scalar_count", "scalars", "const mxnpu_scalar", scalars),
        ("region_count", "regions", "const mxnpu_region", regions),
    ):
        fields += [(count, len(rows)), (field, field if rows else "NULL")]
        if rows:
            out.line(f"{kind} {field}[] = {{")
            for row in rows:
                out.line(f"  {row},")
            out.line("};")
    fields += [("points", work.points), ("fast", work.fast), ("slow", work.slow)]
    _describe(out, "mxnpu_vector_desc", fields)
    out.line(f"mxnpu_vector({out.device()}, &d);")


def _region(out: Function, value: SSAValue, writes: bool, elements: int) -> str:
    shape = memref_of(value).get_shape()
    _check_rank(len(shape))
    fields: list[tuple[str, object]] = [
        ("data", out.parameter(Place.of(value))),
        ("writes", int(writes)),
        ("elements", elements),
        ("purpose", purpose(value)),
        ("element_bytes", numpy_dtype(memref_of(value).element_type).itemsize),
        ("rank", len(shape)),
    ]
    if shape:
        fields += [("shape", _list(shape)), ("stride", _list(strides_of(value)))]
    return _struct(fields)
