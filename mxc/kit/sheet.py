"""A sheet: one module with many checks of the same kind, each a result of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr, TensorType, i8
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from mxc.dialects import new_context
from mxc.dialects.mx import (
    PackOp,
    QuantizeOp,
    RecipeAttr,
    UnpackOp,
    block_of,
    block_type,
    grid_shape,
)
from mxc.dialects.types import element_type, shape_of
from mxc.model import Model, model_of
from mxc.numerics import default_recipe, format_of
from mxc.options import Options

Array = NDArray[Any]


def recipe(format: str, rule: str) -> RecipeAttr:
    """The recipe of `format` by the scale rule `rule`."""
    found = default_recipe(format_of(format), rule)
    return RecipeAttr(found.scale_rule, found.special, found.tie, found.min_scale_byte)


class Sheet:
    """Builds a function at the mx level: inputs are arrays, results have labels."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.arrays: list[Array] = []
        self.labels: list[str] = []
        self._block = Block()
        self._results: list[SSAValue] = []

    def input(self, array: Array) -> SSAValue:
        """`array` as an input of the module."""
        kind = TensorType(element_type(array.dtype), array.shape)
        self.arrays.append(array)
        return self._block.insert_arg(kind, len(self._block.args))

    def add(self, op: Operation) -> SSAValue:
        """Appends `op`; its first result."""
        self._block.add_op(op)
        return op.results[0]

    def quantize(self, x: SSAValue, format: str, block: Sequence[int], rule: str) -> SSAValue:
        """`mx.quantize`."""
        return self.add(QuantizeOp(x, block_type(format, block), recipe(format, rule)))

    def pack(
        self, codes: SSAValue, scales: SSAValue, format: str, block: Sequence[int]
    ) -> SSAValue:
        """`mx.pack`."""
        return self.add(PackOp(codes, scales, block_type(format, block)))

    def give(self, label: str, value: SSAValue) -> None:
        """Makes `value` a result; of blocks, codes and scales."""
        block = block_of(value.type)
        if block is None:
            self._give(label, value)
            return
        shape = shape_of(value)
        types = [TensorType(i8, shape), TensorType(i8, grid_shape(shape, block.shape))]
        op = UnpackOp.build(operands=[value], result_types=types)
        self._block.add_op(op)
        for part, result in zip(("codes", "scales"), op.results, strict=True):
            self._give(f"{label} {part}", result)

    def _give(self, label: str, value: SSAValue) -> None:
        self.labels.append(label)
        self._results.append(value)

    def model(self, options: Options) -> Model:
        """The sheet as a model, to be lowered from the mx level on; to be called once."""
        self._block.add_op(ReturnOp(*self._results))
        types = [argument.type for argument in self._block.args]
        results = [value.type for value in self._results]
        function = FuncOp("main", (types, results), Region(self._block))
        names = [[f"x{i}" for i in range(len(types))], [f"y{i}" for i in range(len(results))]]
        attributes: dict[str, Attribute] = {
            f"mxc.{side}_names": ArrayAttr([StringAttr(name) for name in some])
            for side, some in zip(("input", "output"), names, strict=True)
        }
        attributes["mxc.model"] = StringAttr(self.name)
        return model_of(self.name, new_context(), ModuleOp([function], attributes), options)
