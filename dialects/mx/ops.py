"""Operations of the `mx` dialect: constants, conversions and contractions.

Constraints carry labels, (C1), (C2), ...; the verifier quotes the label and a test names it.
Views that keep codes untouched are in `views.py`. `T` is any tensor, `B` a tensor of blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from xdsl.dialects.builtin import (
    AnyFloat,
    DenseArrayBase,
    Float32Type,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    TensorType,
    f32,
    i8,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from mxc.dialects.mx.types import BlockType, RecipeAttr, block_of
from mxc.dialects.types import element_of, shape_of, signless
from mxc.numerics import known_contracts, takes_floats

AnyTensor = TensorType[Attribute]
FloatTensor = TensorType[AnyFloat]
BlockTensor = TensorType[BlockType]


def require(op: Operation, label: str, condition: bool, message: str) -> None:
    """Fails verification of `op`, quoting constraint `label`, unless `condition` holds."""
    if not condition:
        raise VerifyException(f"{op.name} ({label}): {message}")


def _require_block_rank(op: Operation, label: str, value: SSAValue) -> None:
    block, shape = block_of(value.type), shape_of(value)
    require(
        op,
        label,
        block is None or len(block.shape) == len(shape),
        f"the block shape {block.shape if block else ()} has not the rank of {shape}",
    )


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """The array, or block array, called `value` in the module's table of constants.

    %w = mx.constant @c_5f0c8e21aa907d3b : tensor<64x32xf32>
    """

    name = "mx.constant"
    value = prop_def(SymbolRefAttr)
    output = result_def(AnyTensor)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = "$value attr-dict `:` type($output)"

    def __init__(self, value: str, type: Attribute) -> None:
        super().__init__(properties={"value": SymbolRefAttr(value)}, result_types=[type])

    @property
    def key(self) -> str:
        """The name in the table of constants."""
        return self.value.root_reference.data


@irdl_op_definition
class QuantizeOp(IRDLOperation):
    """Rounds a float tensor into blocks by `recipe`.

    For each block: the scale byte follows from the largest magnitude by the recipe's rule, with
    integer operations on its bits; an element's code is value / scale, clipped to the largest
    element, then rounded by the recipe's tie rule. See `mxc.numerics.quantize`.

    (C1) input and output have the same shape;
    (C2) the block shape has the rank of the tensor.

        %q = mx.quantize %x
             {recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>}
             : tensor<4x64xf32> -> tensor<4x64x!mx.block<f8E4M3FN, 1x32>>
    """

    name = "mx.quantize"
    input = operand_def(FloatTensor)
    recipe = prop_def(RecipeAttr)
    output = result_def(BlockTensor)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, input: SSAValue, block: BlockType, recipe: RecipeAttr) -> None:
        super().__init__(
            operands=[input],
            properties={"recipe": recipe},
            result_types=[TensorType(block, shape_of(input))],
        )

    def verify_(self) -> None:
        source, target = shape_of(self.input), shape_of(self.output)
        require(self, "C1", source == target, f"shapes {source} and {target} differ")
        _require_block_rank(self, "C2", self.output)


@irdl_op_definition
class DequantizeOp(IRDLOperation):
    """The value of each element, code times scale, exactly, in f32.

    (C1) input and output have the same shape;
    (C2) the block shape has the rank of the tensor.

        %x = mx.dequantize %q : tensor<4x64x!mx.block<f8E4M3FN, 1x32>> -> tensor<4x64xf32>
    """

    name = "mx.dequantize"
    input = operand_def(BlockTensor)
    output = result_def(TensorType[Float32Type])
    traits = traits_def(Pure())
    assembly_format: ClassVar = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, input: SSAValue) -> None:
        super().__init__(operands=[input], result_types=[TensorType(f32, shape_of(input))])

    def verify_(self) -> None:
        source, target = shape_of(self.input), shape_of(self.output)
        require(self, "C1", source == target, f"shapes {source} and {target} differ")
        _require_block_rank(self, "C2", self.input)


@irdl_op_definition
class RequantizeOp(IRDLOperation):
    """quantize(dequantize(input)) into other blocks or another format, without a float tensor.

    (C1) input and output have the same shape;
    (C2) both block shapes have the rank of the tensor;
    (C3) the block type changes.
    """

    name = "mx.requantize"
    input = operand_def(BlockTensor)
    recipe = prop_def(RecipeAttr)
    output = result_def(BlockTensor)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, input: SSAValue, block: BlockType, recipe: RecipeAttr) -> None:
        super().__init__(
            operands=[input],
            properties={"recipe": recipe},
            result_types=[TensorType(block, shape_of(input))],
        )

    def verify_(self) -> None:
        source, target = shape_of(self.input), shape_of(self.output)
        require(self, "C1", source == target, f"shapes {source} and {target} differ")
        for value in (self.input, self.output):
            _require_block_rank(self, "C2", value)
        require(self, "C3", self.input.type != self.output.type, "the block type is unchanged")


@irdl_op_definition
class PackOp(IRDLOperation):
    """The block tensor whose codes and scales are given as tensors of their bits.

    (C1) codes have the output's shape, and 8 bits or the output's element type;
    (C2) scales have one entry per block, and 8 bits or the output's scale type.

        %q = mx.pack %codes, %scales : tensor<4x64xf8E4M3FN>, tensor<4x2xf8E8M0FNU>
             -> tensor<4x64x!mx.block<f8E4M3FN, 1x32>>
    """

    name = "mx.pack"
    codes = operand_def(AnyTensor)
    scales = operand_def(AnyTensor)
    output = result_def(BlockTensor)
    traits = traits_def(Pure())
    assembly_format: ClassVar = (
        "$codes `,` $scales attr-dict `:` type($codes) `,` type($scales) `->` type($output)"
    )

    def __init__(self, codes: SSAValue, scales: SSAValue, block: BlockType) -> None:
        super().__init__(
            operands=[codes, scales], result_types=[TensorType(block, shape_of(codes))]
        )

    def verify_(self) -> None:
        _require_parts(self, self.codes, self.scales, self.output)


@irdl_op_definition
class UnpackOp(IRDLOperation):
    """The codes and the scales of a block tensor, as tensors of their bits.

    (C1) codes have the input's shape, and 8 bits or the input's element type;
    (C2) scales have one entry per block, and 8 bits or the input's scale type.
    """

    name = "mx.unpack"
    input = operand_def(BlockTensor)
    codes = result_def(AnyTensor)
    scales = result_def(AnyTensor)
    traits = traits_def(Pure())
    assembly_format: ClassVar = (
        "$input attr-dict `:` type($input) `->` type($codes) `,` type($scales)"
    )

    def __init__(self, input: SSAValue) -> None:
        block, shape = block_of(input.type), shape_of(input)
        assert block is not None
        super().__init__(
            operands=[input],
            result_types=[
                TensorType(block.element, shape),
                TensorType(block.scale, grid_shape(shape, block.shape)),
            ],
        )

    def verify_(self) -> None:
        _require_parts(self, self.codes, self.scales, self.input)


def grid_shape(shape: Sequence[int], block: Sequence[int]) -> tuple[int, ...]:
    """How many blocks a tensor of `shape` has along each axis; the last one may be partial."""
    return tuple(-(-n // b) for n, b in zip(shape, block, strict=True))


def _require_parts(op: Operation, codes: SSAValue, scales: SSAValue, whole: SSAValue) -> None:
    block, shape = block_of(whole.type), shape_of(whole)
    assert block is not None
    for label, part, wanted, kind in (
        ("C1", codes, shape, block.element),
        ("C2", scales, grid_shape(shape, block.shape), block.scale),
    ):
        fits = shape_of(part) == wanted and signless(element_of(part)) in (i8, kind)
        require(op, label, fits, f"{part.type} is no {'x'.join(map(str, wanted))} of {kind}")


class Contraction(IRDLOperation):
    """What `mx.matmul` and `mx.conv` share: two operands, a contract, and requested formats.

    `lhs_as` and `rhs_as` name the formats that `mx-quantize` wants the operands in; `mx-layout`
    chooses the blocks, quantises the operands and drops the marks.
    """

    lhs = operand_def(AnyTensor)
    rhs = operand_def(AnyTensor)
    contract = prop_def(StringAttr)
    lhs_as = opt_prop_def(StringAttr)
    rhs_as = opt_prop_def(StringAttr)
    lhs_recipe = opt_prop_def(RecipeAttr)
    rhs_recipe = opt_prop_def(RecipeAttr)
    output = result_def(TensorType[Float32Type])
    traits = traits_def(Pure())

    @property
    def lhs_axis(self) -> int:
        """The axis of `lhs` that is contracted, and so may carry blocks."""
        raise NotImplementedError

    @property
    def rhs_axis(self) -> int:
        """The axis of `rhs` that is contracted."""
        raise NotImplementedError

    def verify_contract(self) -> None:
        """Checks the constraints (C1), (C2) and (C3) that the contractions share."""
        require(
            self,
            "C1",
            self.contract.data in known_contracts(),
            f"contract {self.contract.data!r} is not one of {', '.join(known_contracts())}",
        )
        blocks = [block_of(self.lhs.type), block_of(self.rhs.type)]
        for value, block, axis in zip(
            (self.lhs, self.rhs), blocks, (self.lhs_axis, self.rhs_axis), strict=True
        ):
            if block is not None:
                _require_block_rank(self, "C2", value)
                require(
                    self,
                    "C2",
                    block.shape[axis] > 1,
                    f"blocks {block.shape} do not lie along the contracted axis {axis}",
                )
        require(
            self,
            "C3",
            takes_floats(self.contract.data) or None not in blocks,
            f"{self.contract.data} needs blocks on both sides",
        )


def broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...] | None:
    """The numpy broadcast of two shapes, or None where they do not fit."""
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b)
    if any(x != y and 1 not in (x, y) for x, y in zip(a, b, strict=True)):
        return None
    return tuple(y if x == 1 else x for x, y in zip(a, b, strict=True))


@irdl_op_definition
class MatMulOp(Contraction):
    """output[..., m, n] = sum over k of lhs[..., m, k] * rhs[..., k, n], added up by `contract`.

    Batch dimensions broadcast as in numpy. `sequential`: acc = f32(acc + f32(a * b)) in ascending
    k from +0. `block-exact`: per block along k, in ascending order, the exact sum of the products
    of the elements' values, rounded once to f32, is added to an f32 accumulator.

    (C1) the contract is known;
    (C2) blocks of an operand lie along k;
    (C3) block-exact needs blocks on both sides;
    (C4) lhs is [..., M, K] and rhs [..., K, N], with batch dimensions that broadcast;
    (C5) the output is [..., M, N].

        %y = mx.matmul %a, %b {contract = "block-exact"}
             : tensor<4x64x!mx.block<f8E4M3FN, 1x32>>, tensor<64x8x!mx.block<f8E4M3FN, 32x1>>
             -> tensor<4x8xf32>
    """

    name = "mx.matmul"
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = (
        "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($output)"
    )

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        contract: str = "sequential",
        marks: Mapping[str, Attribute] | None = None,
    ) -> None:
        a, b = shape_of(lhs), shape_of(rhs)
        batch = broadcast(a[:-2], b[:-2])
        assert batch is not None, (a, b)
        super().__init__(
            operands=[lhs, rhs],
            properties={"contract": StringAttr(contract), **(marks or {})},
            result_types=[TensorType(f32, (*batch, a[-2], b[-1]))],
        )

    @property
    def lhs_axis(self) -> int:
        return len(shape_of(self.lhs)) - 1

    @property
    def rhs_axis(self) -> int:
        return len(shape_of(self.rhs)) - 2

    def verify_(self) -> None:
        a, b = shape_of(self.lhs), shape_of(self.rhs)
        fits = min(len(a), len(b)) >= 2 and a[-1] == b[-2]
        batch = broadcast(a[:-2], b[:-2])
        require(self, "C4", fits and batch is not None, f"cannot multiply {a} by {b}")
        y = shape_of(self.output)
        require(self, "C5", y == (*(batch or ()), a[-2], b[-1]), f"the output is {y}")
        self.verify_contract()


@irdl_op_definition
class ConvOp(Contraction):
    """Convolution of lhs [N, C, *S] with rhs [O, C / groups, *K], as ONNX Conv without its bias.

    output[n, o, *p] adds up lhs[n, c, p * stride - pad + k * dilation] * rhs[o, c, *k] over the
    kernel positions k in row-major order and, within one, the channels c of o's group in ascending
    order (`sequential`) or in ascending blocks (`block-exact`). Positions outside lhs are +0.

    (C1) the contract is known;
    (C2) blocks of an operand lie along the channels (axis 1);
    (C3) block-exact needs blocks on both sides;
    (C4) strides and dilations have one entry per spatial axis, pads two: all begins, all ends;
    (C5) channels and output channels divide into groups;
    (C6) the output has the shape that follows.
    """

    name = "mx.conv"
    strides = prop_def(DenseArrayBase.constr(i64))
    pads = prop_def(DenseArrayBase.constr(i64))
    dilations = prop_def(DenseArrayBase.constr(i64))
    groups = prop_def(IntegerAttr)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = (
        "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($output)"
    )

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        *,
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int],
        groups: int = 1,
        contract: str = "sequential",
        marks: Mapping[str, Attribute] | None = None,
    ) -> None:
        shape = conv_shape(shape_of(lhs), shape_of(rhs), strides, pads, dilations)
        super().__init__(
            operands=[lhs, rhs],
            properties={
                "contract": StringAttr(contract),
                "strides": DenseArrayBase.from_list(i64, strides),
                "pads": DenseArrayBase.from_list(i64, pads),
                "dilations": DenseArrayBase.from_list(i64, dilations),
                "groups": IntegerAttr(groups, i64),
                **(marks or {}),
            },
            result_types=[TensorType(f32, shape)],
        )

    @property
    def lhs_axis(self) -> int:
        return 1

    @property
    def rhs_axis(self) -> int:
        return 1

    def verify_(self) -> None:
        x, w, groups = shape_of(self.lhs), shape_of(self.rhs), self.groups.value.data
        rank = len(x) - 2
        lists = [self.strides.get_values(), self.dilations.get_values(), self.pads.get_values()]
        fits = [len(v) for v in lists] == [rank, rank, 2 * rank] and len(w) == len(x)
        require(self, "C4", fits, f"strides, dilations, pads {lists} do not fit rank {rank}")
        fits = x[1] == w[1] * groups and w[0] % groups == 0
        require(self, "C5", fits, f"{x[1]} channels and {w} weights are not {groups} groups")
        y = conv_shape(x, w, lists[0], lists[2], lists[1])
        require(self, "C6", shape_of(self.output) == y, f"the output is not {y}")
        self.verify_contract()


def conv_shape(
    x: Sequence[int],
    w: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
) -> tuple[int, ...]:
    """The output shape of a convolution of `x` [N, C, *S] with `w` [O, C / groups, *K]."""
    rank = len(x) - 2
    spatial = [
        (x[2 + i] + pads[i] + pads[rank + i] - dilations[i] * (w[2 + i] - 1) - 1) // strides[i] + 1
        for i in range(rank)
    ]
    return (x[0], w[0], *spatial)
