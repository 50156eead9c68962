"""Rules for `mx`: a tensor of blocks is two buffers, codes and scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.builder import ImplicitBuilder
from xdsl.dialects.arith import (
    AddiOp,
    AndIOp,
    BitcastOp,
    CmpiOp,
    ConstantOp,
    ExtUIOp,
    SelectOp,
    SubiOp,
    TruncIOp,
    XOrIOp,
)
from xdsl.dialects.builtin import (
    AffineMapAttr,
    IntegerAttr,
    MemRefType,
    TensorType,
    i8,
    i32,
)
from xdsl.dialects.linalg.attrs import IteratorTypeAttr
from xdsl.dialects.linalg.ops import GenericOp, YieldOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineMap
from xdsl.utils.hints import isa

from mxc.dialects import mx, npu
from mxc.dialects.mx import BlockType, block_of, grid_shape
from mxc.dialects.npu.ops import operand_properties
from mxc.dialects.types import element_of, numeric_bits, shape_of
from mxc.errors import CannotLower
from mxc.passes._bufferize.builder import Bufferizer, lowers
from mxc.passes._bufferize.views import View


def _block(value: SSAValue) -> BlockType:
    block = block_of(value.type)
    assert block is not None, value.type
    return block


@lowers(mx.ConstantOp)
def _constant(to: Bufferizer, op: mx.ConstantOp) -> None:
    assert isa(op.output.type, TensorType)
    shape, block = op.output.type.get_shape(), block_of(op.output.type)
    parts = [("data", MemRefType(op.output.type.element_type, shape))]
    if block is not None:
        grid = grid_shape(shape, block.shape)
        parts = [("codes", MemRefType(i8, shape)), ("scales", MemRefType(i8, grid))]
    new = [to.add(npu.ConstantOp(op.key, part, type)).results[0] for part, type in parts]
    to.bind(op.output, tuple(View.whole(value) for value in new))


@lowers(mx.QuantizeOp)
def _quantize(to: Bufferizer, op: mx.QuantizeOp) -> None:
    (source,), block = to.read(op.input), _block(op.output)
    target = to.target(op.output)
    memrefs = [to.memref(view) for view in target]
    to.add(npu.QuantizeOp(source, memrefs, block.format, block.shape, op.recipe))
    to.bind(op.output, target)


def _dense(to: Bufferizer, value: SSAValue) -> list[SSAValue]:
    """Codes and scales of a blocked tensor, row-major, as the converters want them."""
    found: list[SSAValue] = []
    for view in to.views(value):
        if not view.is_dense:
            (copy,) = to.allocate(TensorType(view.element, view.shape))
            to.copy(view, copy)
            view = copy
        found.append(to.memref(view))
    return found


@lowers(mx.DequantizeOp)
def _dequantize(to: Bufferizer, op: mx.DequantizeOp) -> None:
    source, block = _dense(to, op.input), _block(op.input)
    (target,) = to.target(op.output)
    to.add(npu.DequantizeOp(source, to.memref(target), block.format, block.shape))
    to.bind(op.output, (target,))


@lowers(mx.RequantizeOp)
def _requantize(to: Bufferizer, op: mx.RequantizeOp) -> None:
    source, target = _dense(to, op.input), to.target(op.output)
    old, new = _block(op.input), _block(op.output)
    memrefs = [to.memref(view) for view in target]
    formats, blocks = (old.format, new.format), (old.shape, new.shape)
    to.add(npu.RequantizeOp(source, memrefs, formats, blocks, op.recipe))
    to.bind(op.output, target)


@lowers(mx.MatMulOp)
def _matmul(to: Bufferizer, op: mx.MatMulOp) -> None:
    _contract(to, op, npu.MatMulOp, {})


@lowers(mx.ConvOp)
def _conv(to: Bufferizer, op: mx.ConvOp) -> None:
    kept = {name: op.properties[name] for name in ("strides", "pads", "dilations", "groups")}
    _contract(to, op, npu.ConvOp, kept)


def _contract(
    to: Bufferizer,
    op: mx.Contraction,
    kind: type[npu.MatMulOp] | type[npu.ConvOp],
    kept: dict[str, Attribute],
) -> None:
    sides = [to.read(op.lhs), to.read(op.rhs)]
    blocks = [block_of(op.lhs.type), block_of(op.rhs.type)]
    formats, shapes = ([b and b.format for b in blocks], [b and b.shape for b in blocks])
    properties = operand_properties((formats[0], formats[1]), (shapes[0], shapes[1]))
    (target,) = to.target(op.output)
    to.add(kind(sides, to.memref(target), op.contract.data, {**properties, **kept}))
    to.bind(op.output, (target,))


@lowers(mx.PackOp)
def _pack(to: Bufferizer, op: mx.PackOp) -> None:
    to.bind(op.output, (_as_bytes(to, op.codes), _as_bytes(to, op.scales)))


def _as_bytes(to: Bufferizer, value: SSAValue) -> View:
    """The bits of a tensor of 8-bit elements, as i8: itself, or a copy of a float tensor."""
    (view,) = to.views(value)
    if view.element == i8:
        return view
    if numeric_bits(view.element) != 8:
        raise CannotLower(f"{value.type} cannot become codes at run time; pack tensors of i8")
    (target,) = to.allocate(TensorType(i8, view.shape))
    _bytewise(to, view, target, lambda code: BitcastOp(code, i8))
    return target


@lowers(mx.UnpackOp)
def _unpack(to: Bufferizer, op: mx.UnpackOp) -> None:
    for view, result in zip(to.views(op.input), op.results, strict=True):
        to.bind(result, (_of_bytes(to, view, element_of(result)),))


def _of_bytes(to: Bufferizer, view: View, element: Attribute) -> View:
    """Bytes as elements of 8 bits: themselves, or a copy as floats."""
    if element == i8:
        return view
    if numeric_bits(element) != 8:
        raise CannotLower(f"codes cannot become {element} at run time; unpack to tensors of i8")
    (target,) = to.allocate(TensorType(element, view.shape))
    _bytewise(to, view, target, lambda code: BitcastOp(code, element))
    return target


# -- views


@lowers(mx.TransposeOp)
def _transpose(to: Bufferizer, op: mx.TransposeOp) -> None:
    permutation = op.permutation.get_values()
    to.bind(op.output, tuple(view.transposed(permutation) for view in to.views(op.input)))


@lowers(mx.ReshapeOp)
def _reshape(to: Bufferizer, op: mx.ReshapeOp) -> None:
    shape = shape_of(op.output)
    shapes = (shape, grid_shape(shape, _block(op.output).shape))
    old = to.views(op.input)
    views = [view.reshaped(s) for view, s in zip(old, shapes, strict=True)]
    kept = [view for view in views if view is not None]
    if len(kept) < 2:
        kept = list(to.allocate(op.output.type))
        for source, target in zip(old, kept, strict=True):
            flat = target.reshaped(source.shape)
            assert flat is not None, "a new buffer is contiguous"
            to.copy(source, flat)
    to.bind(op.output, tuple(kept))


def _part(views: Sequence[View], offsets: Sequence[int], sizes: Sequence[int], block: BlockType):
    """The codes and scales of a slice on whole blocks."""
    ones = [1] * len(sizes)
    start = [o // b for o, b in zip(offsets, block.shape, strict=True)]
    codes = views[0].sliced(offsets, sizes, ones)
    return codes, views[1].sliced(start, grid_shape(sizes, block.shape), ones)


@lowers(mx.SliceOp)
def _slice(to: Bufferizer, op: mx.SliceOp) -> None:
    offsets = op.offsets.get_values()
    views = _part(to.views(op.input), offsets, shape_of(op.output), _block(op.input))
    to.bind(op.output, views)


@lowers(mx.ConcatOp)
def _concat(to: Bufferizer, op: mx.ConcatOp) -> None:
    target, axis, block = to.target(op.output), op.axis.value.data, _block(op.output)
    offsets = [0] * len(shape_of(op.output))
    for value in op.inputs:
        part = _part(target, offsets, shape_of(value), block)
        for source, place in zip(to.views(value), part, strict=True):
            to.copy(source, place)
        offsets[axis] += shape_of(value)[axis]
    to.bind(op.output, target)


@lowers(mx.GatherOp)
def _gather(to: Bufferizer, op: mx.GatherOp) -> None:
    source, target = to.views(op.input), to.target(op.output)
    axis, block = op.axis.value.data, _block(op.output)
    offsets, sizes = [0] * len(shape_of(op.output)), list(shape_of(op.output))
    sizes[axis] = 1
    for row, index in enumerate(op.indices.get_values()):
        there, here = list(offsets), list(offsets)
        there[axis], here[axis] = index, row
        parts = zip(
            _part(source, there, sizes, block), _part(target, here, sizes, block), strict=True
        )
        for old, new in parts:
            to.copy(old, new)
    to.bind(op.output, target)


# -- bits of codes and scales


def _bytewise(to: Bufferizer, source: View, target: View, rule: Callable[[SSAValue], Operation]):
    """Sets target to rule(source), byte by byte; the rule builds operations and gives the last."""
    rank = len(source.shape)
    body = Block(arg_types=[source.element, target.element])
    with ImplicitBuilder(body):
        YieldOp(rule(body.args[0]))
    maps = [AffineMapAttr(AffineMap.identity(rank))] * 2
    iterators = [IteratorTypeAttr.parallel()] * rank
    memrefs = to.memref(source), to.memref(target)
    to.add(GenericOp([memrefs[0]], [memrefs[1]], Region(body), maps, iterators))


def _byte(value: int) -> ConstantOp:
    return ConstantOp(IntegerAttr(value if value < 128 else value - 256, i8))


SIGN_BITS = {"mxfp6_e2m3": 0x20, "mxfp6_e3m2": 0x20, "mxfp4": 0x08, "nvfp4": 0x08}


def _negated(code: SSAValue, format: str, always: bool) -> Operation:
    """-code, or |code| unless `always`; formats without a -0 keep their zero and their NaN."""
    if format == "mxint8":
        flipped: Operation = SubiOp(_byte(0), code)
        return flipped if always else SelectOp(CmpiOp(code, _byte(0), "slt"), flipped, code)
    sign = _byte(SIGN_BITS.get(format, 0x80)).result
    flipped = XOrIOp(code, sign)
    if format.endswith("fnuz"):
        number = CmpiOp(AndIOp(code, _byte(0x7F)), _byte(0), "ne")
        flipped = SelectOp(number, flipped, code)
    if always:
        return flipped
    return SelectOp(CmpiOp(AndIOp(code, sign), _byte(0), "ne"), flipped, code)


def _sign_rule(to: Bufferizer, op: mx.NegOp | mx.AbsOp, always: bool) -> None:
    source, target = to.views(op.input), to.target(op.output)
    format = _block(op.input).format
    _bytewise(to, source[0], target[0], lambda code: _negated(code, format, always))
    to.copy(source[1], target[1])
    to.bind(op.output, target)


@lowers(mx.NegOp)
def _neg(to: Bufferizer, op: mx.NegOp) -> None:
    _sign_rule(to, op, always=True)


@lowers(mx.AbsOp)
def _abs(to: Bufferizer, op: mx.AbsOp) -> None:
    _sign_rule(to, op, always=False)


def _moved(scale: SSAValue, exponent: int) -> Operation:
    """The scale byte plus `exponent`; 0xFF, NaN, if it was that or leaves 0..254."""
    wide = ExtUIOp(scale, i32)
    sum = AddiOp(wide, ConstantOp(IntegerAttr(exponent, i32)))
    last = ConstantOp(IntegerAttr(254, i32))
    bad = CmpiOp(sum, last, "ugt")
    was_bad = CmpiOp(wide, last, "ugt")
    kept = SelectOp(bad, _byte(0xFF), TruncIOp(sum, i8))
    return SelectOp(was_bad, _byte(0xFF), kept)


@lowers(mx.ScaleByPowerOfTwoOp)
def _scale(to: Bufferizer, op: mx.ScaleByPowerOfTwoOp) -> None:
    (codes, scales), exponent = to.views(op.input), op.exponent.value.data
    target = to.allocate(op.output.type)
    _bytewise(to, scales, target[1], lambda scale: _moved(scale, exponent))
    to.bind(op.output, (codes, target[1]))
