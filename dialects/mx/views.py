"""Views of the `mx` dialect: they move or negate codes and never round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, i64
from xdsl.ir import SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure

from mxc.dialects.mx.ops import BlockTensor, require
from mxc.dialects.mx.types import BlockType, block_of
from mxc.dialects.types import shape_of


def _blocks(value: SSAValue) -> BlockType:
    block = block_of(value.type)
    assert block is not None, value.type
    return block


def _transposed(input: SSAValue, permutation: Sequence[int]) -> TensorType[BlockType]:
    shape, block = shape_of(input), _blocks(input)
    permuted = BlockType(block.element, [block.shape[p] for p in permutation], block.scale)
    return TensorType(permuted, [shape[p] for p in permutation])


@irdl_op_definition
class TransposeOp(IRDLOperation):
    """output[i_perm[0], i_perm[1], ...] = input[i_0, i_1, ...]; the block shape permutes along.

    (C1) permutation is one of the input's axes;
    (C2) the output is the input's shape and block shape, permuted.

        %t = mx.transpose %q {permutation = array<i64: 1, 0>}
             : tensor<4x64x!mx.block<f8E4M3FN, 1x32>> -> tensor<64x4x!mx.block<f8E4M3FN, 32x1>>
    """

    name = "mx.transpose"
    input = operand_def(BlockTensor)
    permutation = prop_def(DenseArrayBase.constr(i64))
    output = result_def(BlockTensor)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, input: SSAValue, permutation: Sequence[int]) -> None:
        super().__init__(
            operands=[input],
            properties={"permutation": DenseArrayBase.from_list(i64, permutation)},
            result_types=[_transposed(input, permutation)],
        )

    def verify_(self) -> None:
        permutation = self.permutation.get_values()
        shape = shape_of(self.input)
        require(self, "C1", sorted(permutation) == list(range(len(shape))), f"axes {permutation}")
        expected = _transposed(self.input, permutation)
        require(self, "C2", expected == self.output.type, f"the output is not {expected}")


@irdl_op_definition
class ReshapeOp(IRDLOperation):
    """The same elements in row-major order under another shape, where every block stays whole.

    (C1) the number of elements is kept;
    (C2) element and scale type are kept;
    (C3) the blocks are the same sets of elements in the same order: after merging dimensions of
         block 1 that touch, both sides have the same (size, block) list.
    """

    name = "mx.reshape"
    input = operand_def(BlockTensor)
    output = result_def(BlockTensor)
    traits = traits_def(Pure())
    assembly_format: ClassVar = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, input: SSAValue, shape: Sequence[int], block: Sequence[int]) -> None:
        old = _blocks(input)
        super().__init__(
            operands=[input],
            result_types=[TensorType(BlockType(old.element, block, old.scale), shape)],
        )

    def verify_(self) -> None:
        source, target = shape_of(self.input), shape_of(self.output)
        old, new = _blocks(self.input), _blocks(self.output)
        count = [_product(source), _product(target)]
        require(self, "C1", count[0] == count[1], f"{source} has not the elements of {target}")
        require(self, "C2", (old.element, old.scale) == (new.element, new.scale), "types differ")
        same = grid(source, old.shape) == grid(target, new.shape)
        require(self, "C3", same, f"{source} in {old.shape} and {target} in {new.shape} differ")


def _product(shape: Sequence[int]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result


def grid(shape: Sequence[int], block: Sequence[int]) -> list[tuple[int, int]]:
    """The row-major (size, block) runs of a blocked tensor, with touching block-1 runs merged.

    A dimension that is a whole number of blocks is (number of blocks, 1), (block, block), so the
    outer part merges with what lies before it.
    """
    runs: list[tuple[int, int]] = []
    for size, b in zip(shape, block, strict=True):
        parts = (
            [(size, 1)] if b == 1 else [(size // b, 1), (b, b)] if size % b == 0 else [(size, b)]
        )
        for part in parts:
            if part == (1, 1):
                continue
            if runs and runs[-1][1] == 1 and part[1] == 1:
                runs[-1] = (runs[-1][0] * part[0], 1)
            else:
                runs.append(part)
    return runs


@irdl_op_definition
class SliceOp(IRDLOperation):
    """output[i, j, ...] = input[offset_0 + i, offset_1 + j, ...] on whole blocks.

    (C1) offsets has one entry per axis and the slice lies inside the input;
    (C2) offsets are multiples of the block; the slice ends on a block or at the input's end;
    (C3) the block type is kept.
    """

    name = "mx.slice"
    input = operand_def(BlockTensor)
    offsets = prop_def(DenseArrayBase.constr(i64))
    output = result_def(BlockTensor)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, input: SSAValue, offsets: Sequence[int], sizes: Sequence[int]) -> None:
        super().__init__(
            operands=[input],
            properties={"offsets": DenseArrayBase.from_list(i64, offsets)},
            result_types=[TensorType(_blocks(input), sizes)],
        )

    def verify_(self) -> None:
        offsets, block = self.offsets.get_values(), _blocks(self.input).shape
        source, target = shape_of(self.input), shape_of(self.output)
        inside = len(offsets) == len(source) == len(target) and all(
            o >= 0 and o + n <= s for o, n, s in zip(offsets, target, source, strict=True)
        )
        require(self, "C1", inside, f"{target} at {offsets} is not inside {source}")
        whole = all(
            o % b == 0 and ((o + n) % b == 0 or o + n == s)
            for o, n, s, b in zip(offsets, target, source, block, strict=True)
        )
        require(self, "C2", whole, f"{target} at {offsets} cuts blocks of {block}")
        require(self, "C3", _blocks(self.input) == _blocks(self.output), "block types differ")


@irdl_op_definition
class ConcatOp(IRDLOperation):
    """The inputs side by side along `axis`, blocks untouched.

    (C1) there is an input, and shapes agree except along `axis`;
    (C2) every input but the last is a whole number of blocks along `axis`;
    (C3) all block types are the same.
    """

    name = "mx.concat"
    inputs = var_operand_def(BlockTensor)
    axis = prop_def(IntegerAttr)
    output = result_def(BlockTensor)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = "$inputs attr-dict `:` type($inputs) `->` type($output)"

    def __init__(self, inputs: Sequence[SSAValue], axis: int) -> None:
        shape = list(shape_of(inputs[0]))
        shape[axis] = sum(shape_of(value)[axis] for value in inputs)
        super().__init__(
            operands=[inputs],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[TensorType(_blocks(inputs[0]), shape)],
        )

    def verify_(self) -> None:
        axis, target = self.axis.value.data, shape_of(self.output)
        shapes = [shape_of(value) for value in self.inputs]
        fits = bool(shapes) and 0 <= axis < len(target)
        fits = fits and all(
            s[:axis] + s[axis + 1 :] == target[:axis] + target[axis + 1 :] for s in shapes
        )
        fits = fits and sum(s[axis] for s in shapes) == target[axis]
        require(self, "C1", fits, f"{shapes} do not make {target} along axis {axis}")
        block = _blocks(self.output)
        whole = all(s[axis] % block.shape[axis] == 0 for s in shapes[:-1])
        require(self, "C2", whole, f"{shapes} cut blocks of {block.shape}")
        require(self, "C3", all(_blocks(v) == block for v in self.inputs), "block types differ")


@irdl_op_definition
class GatherOp(IRDLOperation):
    """output[..., i, ...] = input[..., indices[i], ...] along `axis`, which carries no blocks.

    (C1) the block along `axis` is 1;
    (C2) indices lie inside the axis, and the output has one row per index.
    """

    name = "mx.gather"
    input = operand_def(BlockTensor)
    axis = prop_def(IntegerAttr)
    indices = prop_def(DenseArrayBase.constr(i64))
    output = result_def(BlockTensor)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, input: SSAValue, axis: int, indices: Sequence[int]) -> None:
        shape = list(shape_of(input))
        shape[axis] = len(indices)
        super().__init__(
            operands=[input],
            properties={
                "axis": IntegerAttr(axis, i64),
                "indices": DenseArrayBase.from_list(i64, indices),
            },
            result_types=[TensorType(_blocks(input), shape)],
        )

    def verify_(self) -> None:
        axis, indices = self.axis.value.data, self.indices.get_values()
        source, target = shape_of(self.input), shape_of(self.output)
        require(self, "C1", _blocks(self.input).shape[axis] == 1, f"axis {axis} carries blocks")
        fits = target == (*source[:axis], len(indices), *source[axis + 1 :])
        fits = fits and all(0 <= i < source[axis] for i in indices)
        require(self, "C2", fits, f"indices of {source} along {axis} do not make {target}")


class _Elementwise(IRDLOperation):
    input = operand_def(BlockTensor)
    output = result_def(BlockTensor)
    traits = traits_def(Pure())
    assembly_format: ClassVar = "$input attr-dict `:` type($input) `->` type($output)"

    def verify_(self) -> None:
        require(self, "C1", self.input.type == self.output.type, "the type changes")


@irdl_op_definition
class NegOp(_Elementwise):
    """The negated elements: the sign of each code flips, scales stay. (C1) the type is kept."""

    name = "mx.neg"

    def __init__(self, input: SSAValue) -> None:
        super().__init__(operands=[input], result_types=[input.type])


@irdl_op_definition
class AbsOp(_Elementwise):
    """The magnitudes: the sign of each code is dropped, scales stay. (C1) the type is kept."""

    name = "mx.abs"

    def __init__(self, input: SSAValue) -> None:
        super().__init__(operands=[input], result_types=[input.type])


@irdl_op_definition
class ScaleByPowerOfTwoOp(_Elementwise):
    """Every element times 2**exponent: scale bytes move, codes stay.

    A scale byte that would leave 0..254 becomes NaN (0xFF): the result is then not representable.

    (C1) the type is kept;
    (C2) the scale is f8E8M0FNU.
    """

    name = "mx.scale_by_power_of_two"
    irdl_options = (ParsePropInAttrDict(),)
    exponent = prop_def(IntegerAttr)

    def __init__(self, input: SSAValue, exponent: int) -> None:
        super().__init__(
            operands=[input],
            properties={"exponent": IntegerAttr(exponent, i64)},
            result_types=[input.type],
        )

    def verify_(self) -> None:
        super().verify_()
        block = _blocks(self.input)
        require(self, "C2", block.format != "nvfp4", "NVFP4 scales are not powers of two")
