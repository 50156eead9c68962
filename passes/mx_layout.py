"""`mx-layout`: which blocks each value has; materialises quantise, requantise and views.

    %m = mx.matmul %x, %w {contract = "sequential", lhs_as = "mxfp8_e4m3", rhs_as = "mxfp8_e4m3"}

becomes

    %q = mx.quantize %x : tensor<4x64xf32> -> tensor<4x64x!mx.block<f8E4M3FN, 1x32>>
    %v = mx.constant @c_... : tensor<64x8x!mx.block<f8E4M3FN, 32x1>>
    %m = mx.matmul %q, %v {contract = "block-exact"}

A contraction fixes the axis along which each operand must be blocked. What is left to choose is
where a value is quantised, and what is derived from what. Transposes between producer and
contraction are looked through: codes move, nothing is rounded again.

* `greedy`: each value is quantised once per axis that some consumer contracts, from its float form.
* `naive`: each value is quantised once, by its producer, along its last axis; a consumer that
  contracts another axis gets a requantised copy. (Constants: along their first use's axis.)

Constants are quantised here, at compile time, once per layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from mxc import numerics
from mxc.constants import ConstantTable
from mxc.dialects.mx import (
    BlockType,
    ConstantOp,
    Contraction,
    QuantizeOp,
    RecipeAttr,
    RequantizeOp,
    TransposeOp,
    block_of,
    block_type,
)
from mxc.dialects.mx.recipes import recipe_of
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.types import shape_of, tensor_type
from mxc.errors import BadInput
from mxc.numerics import FORMATS

POLICIES = ("greedy", "naive")


@dataclass(frozen=True)
class _Demand:
    """Operand `value` is wanted in `format`, blocked along `axis`."""

    value: SSAValue
    axis: int
    format: str
    recipe: RecipeAttr


class _Layout:
    """Quantised versions of the values of one function, made where the value is defined."""

    def __init__(self, constants: ConstantTable, policy: str) -> None:
        self.constants = constants
        self.policy = policy
        self.versions: dict[tuple[SSAValue, BlockType, RecipeAttr], SSAValue] = {}
        self.first: dict[tuple[SSAValue, str, RecipeAttr], SSAValue] = {}
        """The version that each value was first quantised to, for `naive`."""

    def satisfy(self, demand: _Demand, user: Operation) -> SSAValue:
        """The block-typed value that `user` reads in place of its float operand."""
        root, path = _through_transposes(demand.value)
        axis = demand.axis
        for permutation in path:
            axis = permutation[axis]
        version = self._version(root, axis, demand)
        for permutation in reversed(path):
            op = TransposeOp(version, permutation)
            op.location = user.location
            Rewriter.insert_op(op, InsertPoint.before(user))
            version = op.output
        return version

    def _version(self, root: SSAValue, axis: int, demand: _Demand) -> SSAValue:
        block = blocks_along(root, axis, demand.format)
        key = (root, block, demand.recipe)
        if key in self.versions:
            return self.versions[key]
        source = (root, demand.format, demand.recipe)
        if self.policy == "naive" and source in self.first:
            op: Operation = RequantizeOp(self.first[source], block, demand.recipe)
            version = self._insert(op, self.first[source])
        elif isinstance(root.owner, ConstantOp):
            version = self._constant(root.owner, block, demand.recipe)
        elif self.policy == "naive" and axis != len(shape_of(root)) - 1:
            last = blocks_along(root, len(shape_of(root)) - 1, demand.format)
            first = self._insert(QuantizeOp(root, last, demand.recipe), root)
            self.versions[(root, last, demand.recipe)] = first
            self.first[source] = first
            return self._version(root, axis, demand)
        else:
            version = self._insert(QuantizeOp(root, block, demand.recipe), root)
        self.first.setdefault(source, version)
        self.versions[key] = version
        return version

    def _insert(self, op: Operation, after: SSAValue) -> SSAValue:
        """Puts `op` right behind the definition of `after`, with its location."""
        owner = after.owner
        if isinstance(owner, Operation):
            op.location = owner.location
            Rewriter.insert_op(op, InsertPoint.after(owner))
        else:
            Rewriter.insert_op(op, InsertPoint.at_start(owner))
        return op.results[0]

    def _constant(self, op: ConstantOp, block: BlockType, recipe: RecipeAttr) -> SSAValue:
        value = self.constants[op.key]
        quantised = numerics.quantize(
            value, block.format, block=block.shape, recipe=recipe_of(recipe, block.format)
        )
        kind = type(tensor_type(value))(block, value.shape)
        return self._insert(ConstantOp(self.constants.add(quantised), kind), op.output)


def blocks_along(value: SSAValue, axis: int, format: str) -> BlockType:
    """The block type of `format` for `value`, with blocks along `axis`."""
    size = FORMATS[format].block[-1]
    return block_type(format, [size if i == axis else 1 for i in range(len(shape_of(value)))])


def _through_transposes(value: SSAValue) -> tuple[SSAValue, list[Sequence[int]]]:
    """The value behind the transposes that make `value`, and their permutations, last one first."""
    path: list[Sequence[int]] = []
    while isinstance(value.owner, OnnxOp) and value.owner.op_type == "Transpose":
        source = value.owner.inputs[0]
        assert source is not None
        rank = len(shape_of(source))
        path.append(value.owner.attr("perm") or list(reversed(range(rank))))
        value = source
    return value, path


def _demands(op: Contraction) -> list[tuple[int, _Demand]]:
    sides = (
        (0, op.lhs, op.lhs_axis, op.lhs_as, op.lhs_recipe),
        (1, op.rhs, op.rhs_axis, op.rhs_as, op.rhs_recipe),
    )
    return [
        (i, _Demand(value, axis, format.data, recipe))
        for i, value, axis, format, recipe in sides
        if format is not None and recipe is not None
    ]


@dataclass(frozen=True)
class MxLayoutPass(ModulePass):
    """Chooses the blocks of every marked operand and materialises them by a policy."""

    name = "mx-layout"
    policy: str = "greedy"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.policy not in POLICIES:
            raise BadInput(
                f"unknown layout policy '{self.policy}'", hint=f"known are {', '.join(POLICIES)}"
            )
        for function in op.ops:
            if isinstance(function, FuncOp):
                layout = _Layout(ConstantTable.of(ctx), self.policy)
                for inner in [*function.body.walk()]:
                    if isinstance(inner, Contraction):
                        _realise(inner, layout)


def _realise(op: Contraction, layout: _Layout) -> None:
    for index, demand in _demands(op):
        op.operands[index] = layout.satisfy(demand, op)
    for mark in ("lhs_as", "rhs_as", "lhs_recipe", "rhs_recipe"):
        op.properties.pop(mark, None)
    if block_of(op.lhs.type) is not None and block_of(op.rhs.type) is not None:
        op.properties["contract"] = StringAttr("block-exact")
