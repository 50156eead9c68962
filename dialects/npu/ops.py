"""Arithmetic of the `npu` dialect: what the matrix unit and its converters do, on memrefs.

A blocked tensor is a pair of memrefs of i8: codes, one byte per element, and scales, one byte per
block over the grid of blocks. Every attribute is spelled out: nothing is implied by a format name.
Constraints carry labels, (C1), (C2), ...; the verifier quotes the label and a test names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import (
    AnyFloat,
    BFloat16Type,
    DenseArrayBase,
    Float16Type,
    Float32Type,
    IntegerAttr,
    IntegerType,
    MemRefType,
    StringAttr,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
)

from mxc.dialects.mx import RecipeAttr, broadcast, conv_shape, grid_shape, require
from mxc.dialects.mx.types import FORMAT_ELEMENTS
from mxc.dialects.npu.memory import AnyMemRef, memref_of
from mxc.numerics import known_contracts, takes_floats

FORMATS = (*FORMAT_ELEMENTS, "nvfp4")

Bytes = MemRefType[IntegerType]
Floats = MemRefType[AnyFloat]
Singles = MemRefType[Float32Type]


def _shape(value: SSAValue) -> tuple[int, ...]:
    return memref_of(value).get_shape()


def _require_blocks(
    op: Operation,
    codes: SSAValue,
    scales: SSAValue,
    format: StringAttr,
    block: DenseArrayBase[IntegerType],
) -> None:
    """(C1) the format is known; (C2) codes and scales are bytes, scales over the block grid."""
    require(op, "C1", format.data in FORMATS, f"format {format.data!r} is unknown")
    shape, sizes = _shape(codes), block.get_values()
    fits = len(sizes) == len(shape) and all(size >= 1 for size in sizes)
    fits = fits and _shape(scales) == grid_shape(shape, sizes)
    fits = fits and all(memref_of(v).element_type == IntegerType(8) for v in (codes, scales))
    require(op, "C2", fits, f"{codes.type} and {scales.type} are no blocks of {sizes}")


@irdl_op_definition
class QuantizeOp(IRDLOperation):
    """codes, scales := `source` rounded into blocks by `recipe`, as `mx.quantize` says.

    (C1) the format is known;
    (C2) codes and scales are bytes, scales over the grid of blocks;
    (C3) source and codes have the same shape.

        npu.quantize %x into %c, %s {format = "mxfp8_e4m3", block = array<i64: 1, 32>,
          recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>}
          : memref<4x64xf32> into memref<4x64xi8>, memref<4x2xi8>
    """

    name = "npu.quantize"
    source = operand_def(Singles)
    codes = operand_def(Bytes)
    scales = operand_def(Bytes)
    format = prop_def(StringAttr)
    block = prop_def(DenseArrayBase.constr(i64))
    recipe = prop_def(RecipeAttr)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = (
        "$source `into` $codes `,` $scales attr-dict "
        "`:` type($source) `into` type($codes) `,` type($scales)"
    )

    def __init__(
        self,
        source: SSAValue,
        target: Sequence[SSAValue],
        format: str,
        block: Sequence[int],
        recipe: RecipeAttr,
    ) -> None:
        super().__init__(
            operands=[source, *target],
            properties={
                "format": StringAttr(format),
                "block": DenseArrayBase.from_list(i64, block),
                "recipe": recipe,
            },
        )

    def verify_(self) -> None:
        _require_blocks(self, self.codes, self.scales, self.format, self.block)
        same = _shape(self.source) == _shape(self.codes)
        require(self, "C3", same, f"shapes of {self.source.type} and {self.codes.type} differ")


@irdl_op_definition
class DequantizeOp(IRDLOperation):
    """`target` := code times scale of each element, exactly, as `mx.dequantize` says.

    (C1) the format is known;
    (C2) codes and scales are bytes, scales over the grid of blocks;
    (C3) target and codes have the same shape; target is f32.

        npu.dequantize %c, %s into %y {format = "mxfp8_e4m3", block = array<i64: 1, 32>}
          : memref<4x64xi8>, memref<4x2xi8> into memref<4x64xf32>
    """

    name = "npu.dequantize"
    codes = operand_def(Bytes)
    scales = operand_def(Bytes)
    target = operand_def(Floats)
    format = prop_def(StringAttr)
    block = prop_def(DenseArrayBase.constr(i64))
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = (
        "$codes `,` $scales `into` $target attr-dict "
        "`:` type($codes) `,` type($scales) `into` type($target)"
    )

    def __init__(
        self, source: Sequence[SSAValue], target: SSAValue, format: str, block: Sequence[int]
    ) -> None:
        super().__init__(
            operands=[*source, target],
            properties={
                "format": StringAttr(format),
                "block": DenseArrayBase.from_list(i64, block),
            },
        )

    def verify_(self) -> None:
        _require_blocks(self, self.codes, self.scales, self.format, self.block)
        same = _shape(self.target) == _shape(self.codes)
        same = same and isinstance(memref_of(self.target).element_type, Float32Type)
        require(self, "C3", same, f"{self.target.type} cannot hold the values of {self.codes.type}")


@irdl_op_definition
class RequantizeOp(IRDLOperation):
    """target := quantize(dequantize(source)), without a float tensor, as `mx.requantize` says.

    (C1) both formats are known;
    (C2) codes and scales are bytes, scales over the grid of blocks, on both sides;
    (C3) both sides have the same shape.

        npu.requantize %c, %s into %d, %t {source_format = "mxfp8_e4m3",
          source_block = array<i64: 1, 32>, format = "mxfp8_e4m3", block = array<i64: 32, 1>,
          recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>}
          : memref<32x32xi8>, memref<32x1xi8> into memref<32x32xi8>, memref<1x32xi8>
    """

    name = "npu.requantize"
    source_codes = operand_def(Bytes)
    source_scales = operand_def(Bytes)
    codes = operand_def(Bytes)
    scales = operand_def(Bytes)
    source_format = prop_def(StringAttr)
    source_block = prop_def(DenseArrayBase.constr(i64))
    format = prop_def(StringAttr)
    block = prop_def(DenseArrayBase.constr(i64))
    recipe = prop_def(RecipeAttr)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = (
        "$source_codes `,` $source_scales `into` $codes `,` $scales attr-dict `:` "
        "type($source_codes) `,` type($source_scales) `into` type($codes) `,` type($scales)"
    )

    def __init__(
        self,
        source: Sequence[SSAValue],
        target: Sequence[SSAValue],
        formats: tuple[str, str],
        blocks: tuple[Sequence[int], Sequence[int]],
        recipe: RecipeAttr,
    ) -> None:
        super().__init__(
            operands=[*source, *target],
            properties={
                "source_format": StringAttr(formats[0]),
                "source_block": DenseArrayBase.from_list(i64, blocks[0]),
                "format": StringAttr(formats[1]),
                "block": DenseArrayBase.from_list(i64, blocks[1]),
                "recipe": recipe,
            },
        )

    def verify_(self) -> None:
        source = (self.source_codes, self.source_scales, self.source_format, self.source_block)
        _require_blocks(self, *source)
        _require_blocks(self, self.codes, self.scales, self.format, self.block)
        same = _shape(self.source_codes) == _shape(self.codes)
        require(self, "C3", same, "the two sides have different shapes")


class Contraction(IRDLOperation):
    """What `npu.matmul` and `npu.conv` share: two operands, each float or blocked, a contract.

    A blocked operand is its codes, its scales, a format and a block shape; a float one (f32, bf16
    or f16) has none of the last three.
    """

    lhs = operand_def(AnyMemRef)
    lhs_scales = opt_operand_def(Bytes)
    rhs = operand_def(AnyMemRef)
    rhs_scales = opt_operand_def(Bytes)
    output = operand_def(MemRefType[Float32Type])
    lhs_format = opt_prop_def(StringAttr)
    lhs_block = opt_prop_def(DenseArrayBase.constr(i64))
    rhs_format = opt_prop_def(StringAttr)
    rhs_block = opt_prop_def(DenseArrayBase.constr(i64))
    contract = prop_def(StringAttr)
    irdl_options = (AttrSizedOperandSegments(as_property=True), ParsePropInAttrDict())
    assembly_format: ClassVar = (
        "$lhs (`scaled` $lhs_scales^)? `,` $rhs (`scaled` $rhs_scales^)? `into` $output attr-dict "
        "`:` type($lhs) (`scaled` type($lhs_scales)^)? `,` type($rhs) "
        "(`scaled` type($rhs_scales)^)? `into` type($output)"
    )

    @property
    def blocks(self) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        """The block shapes of lhs and rhs; None for a float operand."""
        pair = (self.lhs_block, self.rhs_block)
        lhs, rhs = (None if b is None else tuple(b.get_values()) for b in pair)
        return lhs, rhs

    def verify_operands(self) -> None:
        """(C1) to (C3): see the operations."""
        sides = (
            (self.lhs, self.lhs_scales, self.lhs_format, self.lhs_block),
            (self.rhs, self.rhs_scales, self.rhs_format, self.rhs_block),
        )
        for codes, scales, format, block in sides:
            given = [scales is not None, format is not None, block is not None]
            floats = (Float32Type, BFloat16Type, Float16Type)
            plain = isinstance(memref_of(codes).element_type, floats)
            require(self, "C1", all(given) or (not any(given) and plain), f"operand {codes.type}")
            if scales is not None and format is not None and block is not None:
                _require_blocks(self, codes, scales, format, block)
        contract = self.contract.data
        require(self, "C3", contract in known_contracts(), f"contract {contract!r} is unknown")
        both = None not in self.blocks
        require(self, "C3", both or takes_floats(contract), f"{contract} needs blocks")


def operand_properties(
    format: tuple[str | None, str | None],
    block: tuple[Sequence[int] | None, Sequence[int] | None],
) -> dict[str, Attribute | None]:
    """The properties that describe both operands of a contraction."""
    result: dict[str, Attribute | None] = {}
    for side, f, b in zip(("lhs", "rhs"), format, block, strict=True):
        result[f"{side}_format"] = None if f is None else StringAttr(f)
        result[f"{side}_block"] = None if b is None else DenseArrayBase.from_list(i64, b)
    return result


def _operands(sides: Sequence[Sequence[SSAValue]], output: SSAValue) -> list[Sequence[SSAValue]]:
    lhs, rhs = sides
    return [lhs[:1], lhs[1:], rhs[:1], rhs[1:], [output]]


@irdl_op_definition
class MatMulOp(Contraction):
    """output[..., m, n] := sum over k of lhs[..., m, k] * rhs[..., k, n], as `mx.matmul` says.

    (C1) each operand is f32, bf16 or f16, or blocked with scales, a known format and a block shape;
    (C2) codes and scales of a blocked operand are bytes, scales over the grid of blocks;
    (C3) the contract is known; block-exact has blocks on both sides;
    (C4) lhs is [..., M, K], rhs [..., K, N], batch dimensions broadcast, output [..., M, N].

        npu.matmul %a scaled %s, %b scaled %t into %y {lhs_format = "mxfp8_e4m3",
          lhs_block = array<i64: 1, 32>, rhs_format = "mxfp8_e4m3",
          rhs_block = array<i64: 32, 1>, contract = "block-exact"}
          : memref<4x64xi8> scaled memref<4x2xi8>, memref<64x8xi8> scaled memref<2x8xi8>
          into memref<4x8xf32>
    """

    name = "npu.matmul"

    def __init__(
        self,
        sides: Sequence[Sequence[SSAValue]],
        output: SSAValue,
        contract: str,
        properties: dict[str, Attribute | None],
    ) -> None:
        super().__init__(
            operands=_operands(sides, output),
            properties={"contract": StringAttr(contract), **properties},
        )

    def verify_(self) -> None:
        a, b, y = _shape(self.lhs), _shape(self.rhs), _shape(self.output)
        fits = min(len(a), len(b)) >= 2 and a[-1] == b[-2]
        batch = broadcast(a[:-2], b[:-2]) if fits else None
        fits = batch is not None and y == (*batch, a[-2], b[-1])
        require(self, "C4", fits, f"cannot multiply {a} by {b} into {y}")
        self.verify_operands()


@irdl_op_definition
class ConvOp(Contraction):
    """output := convolution of lhs [N, C, *S] with rhs [O, C / groups, *K], as `mx.conv` says.

    (C1) each operand is f32, bf16 or f16, or blocked with scales, a known format and a block shape;
    (C2) codes and scales of a blocked operand are bytes, scales over the grid of blocks;
    (C3) the contract is known; block-exact has blocks on both sides, and with more than one group
         the channels of a group are whole blocks;
    (C4) strides and dilations have one entry per spatial axis, pads two: all begins, all ends;
    (C5) channels divide into groups, and the output has the shape that follows.

        npu.conv %x, %w into %y {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>,
          dilations = array<i64: 1, 1>, groups = 1 : i64, contract = "sequential"}
          : memref<1x3x8x8xf32>, memref<4x3x3x3xf32> into memref<1x4x6x6xf32>
    """

    name = "npu.conv"
    strides = prop_def(DenseArrayBase.constr(i64))
    pads = prop_def(DenseArrayBase.constr(i64))
    dilations = prop_def(DenseArrayBase.constr(i64))
    groups = prop_def(IntegerAttr)

    def __init__(
        self,
        sides: Sequence[Sequence[SSAValue]],
        output: SSAValue,
        contract: str,
        properties: dict[str, Attribute | None],
    ) -> None:
        super().__init__(
            operands=_operands(sides, output),
            properties={"contract": StringAttr(contract), **properties},
        )

    def verify_(self) -> None:
        x, w, groups = _shape(self.lhs), _shape(self.rhs), self.groups.value.data
        rank = len(x) - 2
        lists = [self.strides.get_values(), self.dilations.get_values(), self.pads.get_values()]
        fits = [len(v) for v in lists] == [rank, rank, 2 * rank] and len(w) == len(x)
        require(self, "C4", fits, f"strides, dilations, pads {lists} do not fit rank {rank}")
        fits = groups >= 1 and x[1] == w[1] * groups and w[0] % groups == 0
        fits = fits and _shape(self.output) == conv_shape(x, w, lists[0], lists[2], lists[1])
        require(self, "C5", fits, f"{x} by {w} in {groups} groups is not {_shape(self.output)}")
        self.verify_operands()
        block = self.blocks[0]
        whole = groups == 1 or block is None or w[1] % min(32, block[1]) == 0
        exact = not takes_floats(self.contract.data)
        require(self, "C3", whole or not exact, f"groups of {w[1]} channels cut blocks of {block}")
