"""The tensor scale of NVFP4 operands, as values of the graph.

    %m = mx.matmul %x, %w {lhs_as = "nvfp4", rhs_as = "mxfp4", ...}

becomes

    %a = onnx.ReduceMax(onnx.Abs(%x))
    %s = onnx.Max(onnx.Div(%a, 2688), 2^-126)
    %m = mx.matmul onnx.Div(%x, %s), %w {lhs_as = "nvfp4", rhs_as = "mxfp4", ...}
    %y = onnx.Mul(%m, %s)

2688 is the largest element times the largest scale. What is quantised has its largest magnitude
there, so blocks need no scale but their own: in IR, a tensor of NVFP4 blocks has none. The scale of
a constant is computed here. A tensor with a NaN or an infinity makes the result NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import TensorType, f32
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from mxc.constants import ConstantTable
from mxc.dialects.mx import ConstantOp, Contraction
from mxc.dialects.onnx import op_class
from mxc.dialects.types import element_of, shape_of, tensor_type
from mxc.numerics import ELEMENTS, FORMATS

FLOAT = 1
"""ONNX's number of f32."""

SMALLEST = np.float32(2.0**-126)
"""Tensor scales are normal numbers, so that a division by one is as exact as any."""


def is_scaled(format: str) -> bool:
    """Whether tensors in `format` have a scale besides those of their blocks."""
    return FORMATS[format].scale == "e4m3"


def largest(format: str) -> np.float32:
    """The largest magnitude under a tensor scale of 1."""
    element = FORMATS[format].element
    assert element is not None
    return np.float32(element.max * ELEMENTS["e4m3"].max)


class TensorScales:
    """Scales operands; each value once, where it is defined."""

    def __init__(self, constants: ConstantTable) -> None:
        self.constants = constants
        self.known: dict[SSAValue, tuple[SSAValue, SSAValue]] = {}

    def apply(self, op: Contraction) -> None:
        """Scales the operands of `op` that are marked with a format that needs it."""
        scales: list[SSAValue] = []
        for index, mark in enumerate((op.lhs_as, op.rhs_as)):
            if mark is not None and is_scaled(mark.data):
                op.operands[index], scale = self._scaled(op.operands[index], mark.data)
                scales.append(scale)
        if not scales:
            return
        at = _Builder(InsertPoint.after(op), op, self.constants)
        scale = at.node("Mul", scales, scales[0].type) if len(scales) == 2 else scales[0]
        uses = list(op.output.uses)
        result = at.node("Mul", [op.output, scale], op.output.type)
        for use in uses:
            use.operation.operands[use.index] = result

    def _scaled(self, x: SSAValue, format: str) -> tuple[SSAValue, SSAValue]:
        if x not in self.known:
            at = _Builder(_behind(x), x.owner, self.constants)
            make = self._of_constant if isinstance(x.owner, ConstantOp) else self._of_value
            self.known[x] = make(at, x, largest(format))
        return self.known[x]

    def _of_constant(self, at: _Builder, x: SSAValue, top: np.float32) -> tuple[SSAValue, SSAValue]:
        assert isinstance(x.owner, ConstantOp)
        value = np.asarray(self.constants[x.owner.key]).astype(np.float32)
        with np.errstate(all="ignore"):
            amax = np.max(np.abs(value), initial=0)
            scale = np.maximum(np.float32(amax / top), SMALLEST)
            return at.constant(value / scale), at.constant(np.asarray(scale))

    def _of_value(self, at: _Builder, x: SSAValue, top: np.float32) -> tuple[SSAValue, SSAValue]:
        scalar = TensorType(f32, [])
        if element_of(x) != f32:
            x = at.node("Cast", [x], TensorType(f32, shape_of(x)), to=FLOAT)
        amax = at.node("ReduceMax", [at.node("Abs", [x], x.type)], scalar, keepdims=0)
        ratio = at.node("Div", [amax, at.constant(np.asarray(top))], scalar)
        scale = at.node("Max", [ratio, at.constant(np.asarray(SMALLEST))], scalar)
        return at.node("Div", [x, scale], x.type), scale


class _Builder:
    """Inserts nodes one after the other, with the location of an operation."""

    def __init__(self, point: InsertPoint, like: object, constants: ConstantTable) -> None:
        self.point = point
        self.like = like
        self.constants = constants

    def _insert(self, op: Operation) -> SSAValue:
        if isinstance(self.like, Operation):
            op.location = self.like.location
        Rewriter.insert_op(op, self.point)
        self.point = InsertPoint.after(op)
        return op.results[0]

    def node(self, kind: str, inputs: list[SSAValue], type: Attribute, **attrs: Any) -> SSAValue:
        """An ONNX node with one result."""
        return self._insert(op_class(kind).create_node(inputs, [type], attrs))

    def constant(self, array: NDArray[np.float32]) -> SSAValue:
        """An array as a constant."""
        return self._insert(ConstantOp(self.constants.add(array), tensor_type(array)))


def _behind(x: SSAValue) -> InsertPoint:
    """The place behind the definition of `x`."""
    if isinstance(x.owner, Operation):
        return InsertPoint.after(x.owner)
    return InsertPoint.at_start(x.owner)
