"""`mx-fuse-scales`: conversions that change nothing go; what moves codes exactly moves codes.

A rule fires only where the result is the same to the bit for every input, and says here why.

*Folded at compile time*: quantise, requantise and dequantise-quantise of constant blocks.

*Exact requantisations.* Let blocks B be parts of blocks A of the same element, A made by a
`mx.quantize` or `mx.requantize` (seen through `mx.transpose/reshape/slice/gather`, which keep
blocks whole), NaN poisoning its block. Every value of A is a code times 2**s; in B it is
representable if the scale of B is at most s and nothing saturates. That holds

    rceil  because 2**s saturates nothing of A, so the least such scale of a part is no larger
    ceil   if A is by ceil too: its codes are at most 2**emax
    floor, even   if the largest code has all mantissa bits set (not so E4M3, where 480 becomes 448)

with equal `min_scale_byte`. Codes may still differ: a scale may be smaller, and a part that holds
only zeros loses their signs. No contraction sees either: its sums are exact in each block, and
start at +0. So where nothing but contractions reads the result,

    requantize(requantize(x, B), C)  becomes  requantize(x, C)
    requantize(x, B)                 becomes  x, if both have the same blocks along k

*Dequantise-quantise pairs.* `quantize(dequantize(x), B)` is `requantize(x, B)` if f32 holds every
value of x: if x is by floor, whose values stay below 2**128. By the other rules an amax near 2**128
rounds up to it: infinity in f32, and NaN after quantisation. If B are the blocks of x and the
recipe is that of x, the pair is x itself: floor finds the same scale again.

*Onto the codes.* Transpose, Reshape and the like, Neg and Abs (elements with a -0: an integer code
has none) and Mul by 2**k of a dequantised tensor are done to its codes; for Mul,

    constant blocks             if no scale leaves 0..254 and no product is rounded, by the data
    blocks quantised from f32   if 1 <= k < emax: scale bytes are at most 255 - emax; k < 0 would
                                make the scale 0 of a block of zeros NaN

Products of float tensors with 2**k stay: they may overflow or round where scales do not.

*Next to the producer.* Conversions move up to the op that makes their operand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import frexp

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import Float32Type, ModuleOp, TensorType
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from mxc import numerics
from mxc.constants import ConstantTable
from mxc.dialects.mx import (
    AbsOp,
    BlockType,
    ConstantOp,
    Contraction,
    ConvOp,
    DequantizeOp,
    GatherOp,
    MatMulOp,
    NegOp,
    QuantizeOp,
    RecipeAttr,
    RequantizeOp,
    ReshapeOp,
    ScaleByPowerOfTwoOp,
    SliceOp,
    TransposeOp,
    block_of,
)
from mxc.dialects.mx.recipes import recipe_of
from mxc.dialects.mx.views import grid
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.types import element_of, shape_of
from mxc.numerics import FORMATS
from mxc.passes.layout import transport

MOVES = (TransposeOp, ReshapeOp, SliceOp, GatherOp)
"""Views that keep blocks whole and codes as they are."""

RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")

Conversion = QuantizeOp | RequantizeOp


def blocks(value: SSAValue) -> BlockType:
    """The block type of a block tensor."""
    found = block_of(value.type)
    assert found is not None, value.type
    return found


def maker(value: SSAValue) -> Conversion | None:
    """The conversion that made the blocks of `value`, through moves; None if that is unknown."""
    while isinstance(value.owner, MOVES):
        value = value.owner.input
    return value.owner if isinstance(value.owner, Conversion) else None


def within(part: Sequence[int], whole: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether every block of shape `part` lies inside one of shape `whole`."""
    return all(p == w or w % p == 0 or w >= n for p, w, n in zip(part, whole, shape, strict=True))


def keeps_values(op: RequantizeOp) -> bool:
    """Whether requantising changes no value, apart from signs of zeros; see above."""
    before, after = blocks(op.input), blocks(op.output)
    made = maker(op.input)
    if made is None or (before.element, before.scale) != (after.element, after.scale):
        return False
    if before.format == "nvfp4" or not within(after.shape, before.shape, shape_of(op.input)):
        return False
    first, second = made.recipe, op.recipe
    if first.special.data != "nan" or second.special.data != "nan":
        return False
    if first.min_scale_byte != second.min_scale_byte:
        return False
    return _fits(first, second, after.format)


def _fits(first: RecipeAttr, second: RecipeAttr, format: str) -> bool:
    """Whether codes by recipe `first` fit the scale that `second` gives a part of their block."""
    rule = second.rule.data
    if rule == "rceil":
        return True
    if rule == "ceil":
        return first.rule.data == "ceil"
    element = FORMATS[format].element
    assert element is not None
    return element.max_significand == 2 - 2.0**-element.mantissa_bits


def only_contracted(value: SSAValue) -> bool:
    """Whether nothing but contractions and requantisations for them reads `value`."""
    return all(
        isinstance(use.operation, Contraction)
        or (isinstance(use.operation, RequantizeOp) and only_contracted(use.operation.output))
        for use in value.uses
    )


def contracted_axis(op: Contraction, operand: int) -> int:
    """The axis of an operand that the contraction sums over."""
    return op.lhs_axis if operand == 0 else op.rhs_axis


@dataclass(frozen=True)
class MxFuseScalesPass(ModulePass):
    """Removes conversions of blocks that change nothing and does exact operations on codes.

    See the module for the rules and why they are exact.
    """

    name = "mx-fuse-scales"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        fuse = _Fuse(ConstantTable.of(ctx))
        while any([fuse.one(inner) for inner in [*op.walk()] if inner.parent is not None]):
            pass
        for inner in [*op.walk()]:
            if isinstance(inner, Conversion):
                _next_to_producer(inner)


def _next_to_producer(op: Conversion) -> None:
    """Moves a conversion up, behind what makes its operand and the conversions of the same."""
    source = op.operands[0].owner
    if not isinstance(source, Operation) or source.parent is not op.parent:
        return
    last = source
    while last.next_op is not op:
        following = last.next_op
        if not isinstance(following, Conversion) or following.operands[0] != op.operands[0]:
            op.detach()
            Rewriter.insert_op(op, InsertPoint.after(last))
            return
        last = following


class _Fuse:
    """The rules; each says whether it has changed something."""

    def __init__(self, constants: ConstantTable) -> None:
        self.constants = constants

    def one(self, op: Operation) -> bool:
        """Applies the first rule that fits `op`."""
        rules: Sequence[Callable[[Operation], SSAValue | None]] = (
            self._constant, self._chain, self._identity, self._pair, self._onto_codes,
        )  # fmt: skip
        if isinstance(op, DequantizeOp | Conversion) and not list(op.results[0].uses):
            Rewriter.erase_op(op)
            return True
        for rule in rules:
            value = rule(op)
            if value is not None:
                Rewriter.replace_op(op, [], [value])
                return True
        return False

    def _insert(self, op: Operation, before: Operation) -> SSAValue:
        op.location = before.location
        Rewriter.insert_op(op, InsertPoint.before(before))
        return op.results[0]

    def _blocks_of_constant(self, value: SSAValue) -> numerics.BlockArray | None:
        """The data of constant blocks."""
        if not isinstance(value.owner, ConstantOp) or block_of(value.type) is None:
            return None
        data = self.constants[value.owner.key]
        return data if isinstance(data, numerics.BlockArray) else None

    def _constant(self, op: Operation) -> SSAValue | None:
        """A conversion of constant blocks, as a constant."""
        if not isinstance(op, Conversion):
            return None
        source = op.operands[0]
        pair = isinstance(op, QuantizeOp) and isinstance(source.owner, DequantizeOp)
        data = self._blocks_of_constant(source.owner.operands[0] if pair else source)  # pyright: ignore
        if data is None:
            return None
        block = blocks(op.output)
        recipe = recipe_of(op.recipe, block.format)
        if pair:
            floats = data.dequantize()
            made = numerics.quantize(floats, block.format, block=block.shape, recipe=recipe)
        else:
            made = numerics.requantize(data, block.format, block=block.shape, recipe=recipe)
        constant = ConstantOp(self.constants.add(made), TensorType(block, shape_of(op.output)))
        return self._insert(constant, op)

    def _chain(self, op: Operation) -> SSAValue | None:
        """A requantisation of a requantisation that changed no value."""
        if not isinstance(op, RequantizeOp) or not isinstance(op.input.owner, RequantizeOp):
            return None
        middle = op.input.owner
        if not (keeps_values(middle) and only_contracted(op.output)):
            return None
        if blocks(middle.input) == blocks(op.output):  # no operation for that
            return None
        return self._insert(RequantizeOp(middle.input, blocks(op.output), op.recipe), op)

    def _identity(self, op: Operation) -> SSAValue | None:
        """A requantisation that changes no value, for contractions only."""
        if not isinstance(op, RequantizeOp) or not keeps_values(op):
            return None
        before, after = blocks(op.input).shape, blocks(op.output).shape
        for use in op.output.uses:
            if not isinstance(use.operation, MatMulOp | ConvOp):
                return None
            axis = contracted_axis(use.operation, use.index)
            if before[axis] != after[axis]:
                return None
        return op.input

    def _pair(self, op: Operation) -> SSAValue | None:
        """A quantisation of what was just dequantised."""
        if not isinstance(op, QuantizeOp) or not isinstance(op.input.owner, DequantizeOp):
            return None
        source = op.input.owner.input
        made = maker(source)
        if made is None or made.recipe.rule.data != "floor" or made.recipe.special.data != "nan":
            return None
        if blocks(source) == blocks(op.output):
            return source if made.recipe == op.recipe else None
        return self._insert(RequantizeOp(source, blocks(op.output), op.recipe), op)

    def _onto_codes(self, op: Operation) -> SSAValue | None:
        """An operation on a dequantised tensor that nothing else reads."""
        if not isinstance(op, OnnxOp):
            return None
        for operand in op.operands:
            owner = operand.owner
            if isinstance(owner, DequantizeOp) and len(list(operand.uses)) == 1:
                moved = next(self._moved(op, owner.input), None)
                if moved is not None:
                    codes = self._insert(moved, op)
                    return self._insert(DequantizeOp(codes), op)
        return None

    def _moved(self, op: OnnxOp, codes: SSAValue) -> Iterator[Operation]:
        """What does to `codes` what `op` does to their values, if anything."""
        element = FORMATS[blocks(codes).format].element
        assert element is not None
        shape, target = shape_of(codes), shape_of(op.results[0])
        if op.op_type == "Transpose":
            yield TransposeOp(codes, op.attr("perm") or [*reversed(range(len(shape)))])
        elif op.op_type in RESHAPES:
            block = reshaped_block(shape, blocks(codes).shape, target)
            if block is not None:
                yield ReshapeOp(codes, target, block)
        elif op.op_type in ("Neg", "Abs") and element.negative_zero:
            yield (NegOp if op.op_type == "Neg" else AbsOp)(codes)
        elif op.op_type == "Mul" and shape == target:
            exponent = self._power_of_two(op)
            if exponent is not None and self._scales_exactly(codes, exponent):
                yield ScaleByPowerOfTwoOp(codes, exponent)

    def _power_of_two(self, op: OnnxOp) -> int | None:
        """k, if one factor is the constant 2**k."""
        for operand in op.operands:
            if isinstance(operand.owner, ConstantOp) and element_of(operand) == Float32Type():
                data = np.asarray(self.constants[operand.owner.key])
                if data.size == 1:
                    significand, exponent = frexp(float(data.reshape(-1)[0]))
                    return exponent - 1 if significand == 0.5 else None
        return None

    def _scales_exactly(self, codes: SSAValue, exponent: int) -> bool:
        """Whether moving the scales is multiplying the f32 values by 2**exponent."""
        format = FORMATS[blocks(codes).format]
        if format.scale != "e8m0" or format.element is None:
            return False
        data = self._blocks_of_constant(codes)
        if data is not None:
            with np.errstate(all="ignore"):
                floats = data.dequantize() * np.float32(2.0**exponent)
            moved = numerics.scale_by_power_of_two(data, exponent).dequantize()
            return np.array_equal(floats.view(np.uint32), moved.view(np.uint32))
        made = maker(codes)
        return (
            isinstance(made, QuantizeOp)
            and element_of(made.input) == Float32Type()
            and made.recipe.special.data == "nan"
            and made.recipe.min_scale_byte.data == 0
            and 1 <= exponent < format.element.emax
        )


def reshaped_block(
    shape: Sequence[int], block: Sequence[int], target: Sequence[int]
) -> tuple[int, ...] | None:
    """The blocks of shape `target` that are the same elements in the same order; None if cut."""
    size = max(block)
    where = dict(transport.reshape(shape, target, size)) if size > 1 else {}
    found = [1] * len(target)
    for axis, length in enumerate(block):
        if length > 1:
            if axis not in where or length != size:
                return None
            found[where[axis]] = length
    return tuple(found) if grid(shape, block) == grid(target, found) else None
