"""A builder for `onnx` operations that reads like numpy, for passes on the graph level."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from xdsl.dialects.builtin import LocationAttr, TensorType, i1
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from mxc.constants import ConstantTable
from mxc.dialects.mx import ConstantOp
from mxc.dialects.onnx.schema import op_class
from mxc.dialects.types import element_of, numpy_dtype, shape_of, tensor_type

Array = NDArray[Any]
Operand = SSAValue | float | int
COMPARISONS = frozenset(["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"])


class Graph:
    """Appends operations at an insertion point, all with one location.

    What only moves elements of a constant is done on the constant; results that would repeat their
    operand are the operand.
    """

    def __init__(
        self, at: InsertPoint, constants: ConstantTable, location: LocationAttr | None = None
    ) -> None:
        self.at = at
        self.constants = constants
        self.location = location

    def insert(self, op: Operation) -> SSAValue:
        """Inserts `op` with this builder's location and gives its first result."""
        if self.location is not None:
            op.location = self.location
        Rewriter.insert_op(op, self.at)
        return op.results[0]

    def node(
        self,
        op_type: str,
        inputs: Sequence[SSAValue | None],
        element: Attribute,
        shape: Sequence[int],
        **attrs: Any,
    ) -> SSAValue:
        """A node with one result of the given type."""
        kind = TensorType(element, shape)
        return self.insert(op_class(op_type).create_node(inputs, [kind], attrs))

    def constant(self, array: Array) -> SSAValue:
        """`array` as a constant of the module's table."""
        array = np.ascontiguousarray(array).reshape(array.shape)
        return self.insert(ConstantOp(self.constants.add(array), tensor_type(array)))

    def value(self, x: SSAValue) -> Array | None:
        """The array of `x` if it is a constant."""
        if not isinstance(x.owner, ConstantOp):
            return None
        return np.asarray(self.constants[x.owner.key])

    def full(self, shape: Sequence[int], element: Attribute, number: float) -> SSAValue:
        """A constant full of `number`."""
        return self.constant(np.full(tuple(shape), number, numpy_dtype(element)))

    def _operand(self, x: Operand, like: SSAValue) -> SSAValue:
        return x if isinstance(x, SSAValue) else self.full((), element_of(like), x)

    # Elementwise.

    def unary(self, op_type: str, x: SSAValue, **attrs: Any) -> SSAValue:
        """An operator whose result has the type of `x`."""
        return self.node(op_type, [x], element_of(x), shape_of(x), **attrs)

    def binary(self, op_type: str, a: Operand, b: Operand) -> SSAValue:
        """An operator that broadcasts; comparisons give i1. Numbers take the other's type."""
        model = a if isinstance(a, SSAValue) else b
        assert isinstance(model, SSAValue)
        left, right = self._operand(a, model), self._operand(b, model)
        shape = np.broadcast_shapes(shape_of(left), shape_of(right))
        element = i1 if op_type in COMPARISONS else element_of(left)
        return self.node(op_type, [left, right], element, shape)

    def add(self, a: Operand, b: Operand) -> SSAValue:
        """The sum; of two constants, a constant."""
        if isinstance(a, SSAValue) and isinstance(b, SSAValue):
            left, right = self.value(a), self.value(b)
            if left is not None and right is not None:
                return self.constant((left + right).astype(left.dtype))
        return self.binary("Add", a, b)

    def sub(self, a: Operand, b: Operand) -> SSAValue:
        """The difference."""
        return self.binary("Sub", a, b)

    def mul(self, a: Operand, b: Operand) -> SSAValue:
        """The product; `a` itself where `b` is the number 1."""
        if isinstance(a, SSAValue) and not isinstance(b, SSAValue) and b == 1:
            return a
        return self.binary("Mul", a, b)

    def where(self, condition: SSAValue, a: Operand, b: Operand) -> SSAValue:
        """`a` where the condition holds, else `b`."""
        model = a if isinstance(a, SSAValue) else b
        assert isinstance(model, SSAValue)
        left, right = self._operand(a, model), self._operand(b, model)
        shapes = [shape_of(v) for v in (condition, left, right)]
        inputs = [condition, left, right]
        return self.node("Where", inputs, element_of(left), np.broadcast_shapes(*shapes))

    def cast(self, x: SSAValue, element: Attribute) -> SSAValue:
        """`x` as `element`."""
        if element_of(x) == element:
            return x
        dtype = numpy_dtype(element)
        array = self.value(x)
        if array is not None:
            return self.constant(array.astype(dtype))
        code = helper.np_dtype_to_tensor_dtype(dtype)
        return self.node("Cast", [x], element, shape_of(x), to=code)

    # Moving elements.

    def reshape(self, x: SSAValue, shape: Sequence[int]) -> SSAValue:
        """The same elements under another shape."""
        if shape_of(x) == tuple(shape):
            return x
        array = self.value(x)
        if array is not None:
            return self.constant(array.reshape(tuple(shape)))
        target = self.constant(np.array(shape, np.int64))
        return self.node("Reshape", [x, target], element_of(x), shape, allowzero=1)

    def transpose(self, x: SSAValue, permutation: Sequence[int]) -> SSAValue:
        """The axes of `x` in another order."""
        if list(permutation) == sorted(permutation):
            return x
        array = self.value(x)
        if array is not None:
            return self.constant(array.transpose(permutation))
        shape = [shape_of(x)[p] for p in permutation]
        return self.node("Transpose", [x], element_of(x), shape, perm=list(permutation))

    def swap(self, x: SSAValue) -> SSAValue:
        """The last two axes exchanged."""
        rank = len(shape_of(x))
        return self.transpose(x, [*range(rank - 2), rank - 1, rank - 2])

    def slice(self, x: SSAValue, axis: int, start: int, stop: int, step: int = 1) -> SSAValue:
        """x[start:stop:step] along `axis`; bounds and step are positive."""
        shape = list(shape_of(x))
        if (start, stop, step) == (0, shape[axis], 1):
            return x
        array = self.value(x)
        if array is not None:
            window = [slice(None)] * array.ndim
            window[axis] = slice(start, stop, step)
            return self.constant(array[tuple(window)])
        bounds = [self.constant(np.array([v], np.int64)) for v in (start, stop, axis, step)]
        shape[axis] = len(range(start, stop, step))
        return self.node("Slice", [x, *bounds], element_of(x), shape)

    def split(self, x: SSAValue, axis: int, count: int) -> list[SSAValue]:
        """`count` equal parts along `axis`."""
        size = shape_of(x)[axis] // count
        return [self.slice(x, axis, i * size, (i + 1) * size) for i in range(count)]

    def concat(self, parts: Sequence[SSAValue], axis: int) -> SSAValue:
        """`parts` side by side along `axis`; empty ones are left out."""
        parts = [p for p in parts if prod(shape_of(p))] or list(parts[:1])
        if len(parts) == 1:
            return parts[0]
        shape = list(shape_of(parts[0]))
        shape[axis] = sum(shape_of(p)[axis] for p in parts)
        arrays = [a for p in parts if (a := self.value(p)) is not None]
        if len(arrays) == len(parts):
            return self.constant(np.concatenate(arrays, axis))
        return self.node("Concat", parts, element_of(parts[0]), shape, axis=axis)

    # Sums.

    def matmul(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """The product of stacks of matrices, of rank 2 or more."""
        left, right = shape_of(a), shape_of(b)
        batch = np.broadcast_shapes(left[:-2], right[:-2])
        return self.node("MatMul", [a, b], element_of(a), (*batch, left[-2], right[-1]))

    def reduce(self, op_type: str, x: SSAValue, axes: Sequence[int], keep: bool) -> SSAValue:
        """ReduceSum, ReduceMax, ... over `axes`."""
        if not axes:
            return x
        shape = shape_of(x)
        kept = [1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes]
        where = self.constant(np.array(axes, np.int64))
        return self.node(op_type, [x, where], element_of(x), kept, keepdims=int(keep))
