"""The layout problem of a module whose contractions `mx-quantize` has marked.

Every float tensor is a value. A marked operand is a demand for blocks along the contracted axis; an
operand without a mark, and every other op, reads high precision. ONNX ops that move elements
without arithmetic are views, if the `mx` dialect has an op that does the same to codes:

    alias  Transpose, Reshape, Flatten, Squeeze, Unsqueeze   mx.transpose, mx.reshape
    free   Identity, Slice with steps of 1, Split            mx.slice
    copy   Concat, Expand, Gather and Slice by constants,    mx.concat, mx.gather,
           Neg, Abs                                          mx.neg, mx.abs

In a training step, an output called `loss` divides the phases: what follows its producer is the
backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import lcm, prod
from typing import Literal

import numpy as np
from xdsl.dialects.builtin import (
    ArrayAttr,
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    ModuleOp,
    StringAttr,
    TensorType,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.utils.hints import isa

from mxc.constants import ConstantTable
from mxc.dialects.location import node_names
from mxc.dialects.mx import ConstantOp, RecipeAttr
from mxc.dialects.mx import Contraction as ContractionOp
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.types import element_of, numpy_dtype, shape_of
from mxc.numerics import FORMATS
from mxc.passes.layout import transport
from mxc.passes.layout.problem import (
    Contraction,
    Kind,
    Operand,
    Prices,
    Problem,
    Read,
    Use,
    Value,
    View,
)
from mxc.passes.layout.transport import AxisMap

FLOATS = (Float64Type, Float32Type, Float16Type, BFloat16Type)


@dataclass(frozen=True)
class Extraction:
    """A problem, and what its names stand for."""

    problem: Problem
    values: Mapping[str, SSAValue]
    contractions: Mapping[str, ContractionOp]
    """All of them, with marked operands or without."""
    views: Mapping[str, Operation]
    """The op that makes each view, by the name of its output."""
    recipes: Mapping[str, RecipeAttr]
    """How to quantise to each `format` or `format/variant` of the problem."""


@dataclass(frozen=True)
class _Viewed:
    """One output of a view op."""

    inputs: Sequence[SSAValue]
    output: SSAValue
    maps: Sequence[AxisMap]
    kind: Literal["alias", "free", "copy"]


def extract(module: ModuleOp, constants: ConstantTable, prices: Prices) -> Extraction:
    """The layout problem of the functions of `module`."""
    walk = _Walk(constants, _loss(module), _grid(module))
    for function in module.ops:
        if isinstance(function, FuncOp):
            walk.arguments(function, _input_names(module))
            for op in function.body.walk():
                walk.op(op)
    problem = Problem(
        tuple(walk.problem_values.values()), tuple(walk.views), tuple(walk.uses), prices,
        name=_text(module, "mxc.model"),
    )  # fmt: skip
    return Extraction(problem, walk.values, walk.contractions, walk.view_ops, walk.recipes)


def _grid(module: ModuleOp) -> int:
    """What the sizes of all blocks that are asked for divide."""
    contractions = [op for op in module.walk() if isinstance(op, ContractionOp)]
    marks = {
        mark.data for op in contractions for mark in (op.lhs_as, op.rhs_as) if mark is not None
    }
    return lcm(transport.BLOCK, *(FORMATS[mark].block[-1] for mark in marks))


def _text(module: ModuleOp, key: str) -> str:
    attribute = module.attributes.get(key)
    return attribute.data if isinstance(attribute, StringAttr) else ""


def _strings(module: ModuleOp, key: str) -> list[str]:
    attribute = module.attributes.get(key)
    return [a.data for a in attribute] if isa(attribute, ArrayAttr[StringAttr]) else []


def _input_names(module: ModuleOp) -> list[str]:
    return _strings(module, "mxc.input_names")


def _loss(module: ModuleOp) -> SSAValue | None:
    """The value that divides forward and backward pass."""
    outputs = _strings(module, "mxc.output_names")
    if "loss" not in outputs:
        return None
    for op in module.walk():
        if isinstance(op, ReturnOp) and len(op.operands) == len(outputs):
            return op.operands[outputs.index("loss")]
    return None


def is_float(value: SSAValue) -> bool:
    """Whether the value is a tensor of floats, not of blocks."""
    return isinstance(value.type, TensorType) and isinstance(element_of(value), FLOATS)


@dataclass
class _Walk:
    """Collects values, views and uses in program order."""

    constants: ConstantTable
    loss: SSAValue | None
    block: int
    """Views keep blocks whole whose size divides this."""
    phase: int = 0
    names: dict[SSAValue, str] = field(default_factory=lambda: {})
    values: dict[str, SSAValue] = field(default_factory=lambda: {})
    problem_values: dict[str, Value] = field(default_factory=lambda: {})
    views: list[View] = field(default_factory=lambda: [])
    view_ops: dict[str, Operation] = field(default_factory=lambda: {})
    uses: list[Use] = field(default_factory=lambda: [])
    contractions: dict[str, ContractionOp] = field(default_factory=lambda: {})
    recipes: dict[str, RecipeAttr] = field(default_factory=lambda: {})

    def arguments(self, function: FuncOp, names: Sequence[str]) -> None:
        """The inputs of the model."""
        for index, argument in enumerate(function.body.block.args):
            name = names[index] if index < len(names) else f"argument {index}"
            self._value(argument, name, "input")

    def op(self, op: Operation) -> None:
        """One operation."""
        if isinstance(op, ConstantOp):
            self._value(op.output, op.key, "constant")
            return
        if isinstance(op, ContractionOp):
            self._contraction(op)
        elif isinstance(op, OnnxOp) and (found := views_of(op, self.constants, self.block)):
            self._views(op, found)
        else:
            self._reads(op, op.operands)
        name = _name(op)
        for index, result in enumerate(op.results):
            self._value(result, name if index == 0 else f"{name}#{index}", "activation")
        for block in (block for region in op.regions for block in region.blocks):
            for index, argument in enumerate(block.args):  # what a loop carries
                self._value(argument, f"{name}@{index}", "activation")
        if any(result is self.loss for result in op.results):
            self.phase = 1

    def _value(self, value: SSAValue, name: str, kind: Kind) -> None:
        if not is_float(value) or value in self.names:
            return
        unique, count = name, 1
        while unique in self.values:
            count += 1
            unique = f"{name}~{count}"
        self.names[value] = unique
        self.values[unique] = value
        size = numpy_dtype(element_of(value)).itemsize
        phase = self.phase if kind == "activation" else 0
        self.problem_values[unique] = Value(unique, shape_of(value), kind, phase, size)

    def _reads(self, op: Operation, values: Sequence[SSAValue]) -> None:
        name = "output" if isinstance(op, ReturnOp) else _name(op)
        for value in dict.fromkeys(values):
            if value in self.names:
                self.uses.append(Read(name, self.names[value], self.phase))

    def _contraction(self, op: ContractionOp) -> None:
        sides = (
            (op.lhs, op.lhs_axis, op.lhs_as, op.lhs_recipe),
            (op.rhs, op.rhs_axis, op.rhs_as, op.rhs_recipe),
        )
        operands = [
            Operand(self.names[value], (axis,), self._format(mark.data, recipe))
            for value, axis, mark, recipe in sides
            if mark is not None and recipe is not None
        ]
        self._reads(op, [value for value, _, mark, _ in sides if mark is None])
        name, count = _name(op), 1
        while name in self.contractions:
            count += 1
            name = f"{_name(op)}~{count}"
        self.contractions[name] = op
        if operands:
            self.uses.append(Contraction(name, tuple(operands), self.phase))

    def _format(self, format: str, recipe: RecipeAttr) -> str:
        """The name of a format under a recipe: further recipes of a format are variants."""
        name, count = format, 1
        while self.recipes.setdefault(name, recipe) != recipe:
            count += 1
            name = f"{format}/{count}"
        return name

    def _views(self, op: Operation, found: Sequence[_Viewed]) -> None:
        name = _name(op)
        for index, view in enumerate(found):
            self._value(view.output, name if index == 0 else f"{name}#{index}", "activation")
            output = self.names[view.output]
            inputs = tuple(self.names[value] for value in view.inputs)
            self.views.append(View(output, inputs, tuple(view.maps), view.kind))
            self.view_ops[output] = op


def _name(op: Operation) -> str:
    """The names of the ONNX nodes it came from, or else what it is."""
    return "+".join(node_names(op)) or op.name


def views_of(op: OnnxOp, constants: ConstantTable, block: int) -> list[_Viewed]:
    """The outputs of a view op; none if the op is no view, or not of floats.

    Sizes of blocks divide `block`.
    """
    maker = _VIEWS.get(op.op_type)
    floats = [value for value in op.operands if is_float(value)]
    if maker is None or not floats or not all(is_float(result) for result in op.results):
        return []
    if any(isinstance(value.owner, ConstantOp) and not prod(shape_of(value)) for value in floats):
        return []
    return list(maker(op, constants, block))


def known(value: SSAValue | None, constants: ConstantTable) -> list[int] | None:
    """The numbers of a constant, or None."""
    if value is None or not isinstance(value.owner, ConstantOp):
        return None
    array = np.asarray(constants[value.owner.key])
    return [int(number) for number in array.reshape(-1)]


def _one(op: OnnxOp, axes: AxisMap, kind: Literal["alias", "free", "copy"]) -> Iterator[_Viewed]:
    yield _Viewed([op.operands[0]], op.results[0], [axes], kind)


def _transpose(op: OnnxOp, _: ConstantTable, block: int) -> Iterator[_Viewed]:
    rank = len(shape_of(op.operands[0]))
    return _one(op, transport.transpose(op.attr("perm") or list(reversed(range(rank)))), "alias")


def _reshape(op: OnnxOp, _: ConstantTable, block: int) -> Iterator[_Viewed]:
    source, target = shape_of(op.operands[0]), shape_of(op.results[0])
    return _one(op, transport.reshape(source, target, block), "alias")


def _elementwise(op: OnnxOp, _: ConstantTable, block: int) -> Iterator[_Viewed]:
    return _one(op, transport.identity(len(shape_of(op.results[0]))), "copy")


def _identity(op: OnnxOp, _: ConstantTable, block: int) -> Iterator[_Viewed]:
    return _one(op, transport.identity(len(shape_of(op.results[0]))), "alias")


def slice_of(op: OnnxOp, constants: ConstantTable) -> list[tuple[int, int]] | None:
    """(start, step) of a Slice for every axis, normalised; None if they are not constant."""
    shape = shape_of(op.operands[0])
    inputs = [*op.inputs, None, None]
    starts = known(inputs[1], constants)
    axes = known(inputs[3], constants) if inputs[3] is not None else None
    steps = known(inputs[4], constants) if inputs[4] is not None else None
    if starts is None or (inputs[3] is not None and axes is None):
        return None
    if inputs[4] is not None and steps is None:
        return None
    spans = [(0, 1)] * len(shape)
    for index, start in enumerate(starts):
        axis = (axes[index] if axes is not None else index) % len(shape)
        step = steps[index] if steps is not None else 1
        size = shape[axis]
        start = max(0, start + size) if start < 0 else start
        spans[axis] = (min(start, size - 1 if step < 0 else size), step)
    return spans


def _slice(op: OnnxOp, constants: ConstantTable, block: int) -> Iterator[_Viewed]:
    spans = slice_of(op, constants)
    source, target = shape_of(op.operands[0]), shape_of(op.results[0])
    if spans is None or not prod(target):
        return
    starts, steps = zip(*spans, strict=True)
    axes = transport.slice_(source, starts, target, steps, block)
    simple = all(step == 1 for step in steps)
    yield from _one(op, axes, "free" if simple else "copy")


def _split(op: OnnxOp, _: ConstantTable, block: int) -> Iterator[_Viewed]:
    source = shape_of(op.operands[0])
    axis = int(op.attr("axis")) % len(source)
    start = 0
    for result in op.results:
        target, starts = shape_of(result), [0] * len(source)
        starts[axis] = start
        axes = transport.slice_(source, starts, target, [1] * len(source), block)
        yield _Viewed([op.operands[0]], result, [axes], "free")
        start += target[axis]


def _concat(op: OnnxOp, _: ConstantTable, block: int) -> Iterator[_Viewed]:
    rank = len(shape_of(op.results[0]))
    axis = int(op.attr("axis")) % rank
    axes = transport.concat([shape_of(value)[axis] for value in op.operands], rank, axis, block)
    yield _Viewed(list(op.operands), op.results[0], [axes] * len(op.operands), "copy")


def _gather(op: OnnxOp, constants: ConstantTable, block: int) -> Iterator[_Viewed]:
    source, indices = shape_of(op.operands[0]), shape_of(op.operands[1])
    if known(op.operands[1], constants) is None or len(indices) != 1:
        return
    axis = int(op.attr("axis")) % len(source)
    yield from _one(op, transport.gather(len(source), axis, 1), "copy")


def _expand(op: OnnxOp, _: ConstantTable, block: int) -> Iterator[_Viewed]:
    source, target = shape_of(op.operands[0]), shape_of(op.results[0])
    if len(source) == len(target):
        yield from _one(op, transport.expand(source, target), "copy")


_VIEWS: Mapping[str, Callable[[OnnxOp, ConstantTable, int], Iterator[_Viewed]]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Identity": _identity,
    "Slice": _slice,
    "Split": _split,
    "Concat": _concat,
    "Gather": _gather,
    "Expand": _expand,
    "Neg": _elementwise,
    "Abs": _elementwise,
}
