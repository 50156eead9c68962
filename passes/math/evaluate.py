"""Runs definitions of `Scalar` functions on numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.passes.math.scalars import Kind, Machine, Scalar

Array = NDArray[Any]

DTYPES: dict[Kind, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "i1": np.dtype(np.bool_),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
}
KINDS: dict[np.dtype[Any], Kind] = {dtype: kind for kind, dtype in DTYPES.items()}


def _unsigned_shift(x: Array, n: Array) -> Array:
    wide = np.dtype(f"u{x.dtype.itemsize}")
    return (x.view(wide) >> n.astype(wide)).view(x.dtype)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "arith.addf": np.add,
    "arith.subf": np.subtract,
    "arith.mulf": np.multiply,
    "arith.divf": np.divide,
    "arith.negf": np.negative,
    "arith.addi": np.add,
    "arith.subi": np.subtract,
    "arith.muli": np.multiply,
    "arith.andi": np.bitwise_and,
    "arith.ori": np.bitwise_or,
    "arith.xori": np.bitwise_xor,
    "arith.shli": np.left_shift,
    "arith.shrsi": np.right_shift,
    "arith.shrui": _unsigned_shift,
    "arith.select": np.where,
    "math.sqrt": np.sqrt,
    "math.absf": np.abs,
    "math.trunc": np.trunc,
    "math.copysign": np.copysign,
}
_PREDICATES: dict[str, Callable[..., Any]] = {
    "oeq": np.equal,
    "eq": np.equal,
    "une": np.not_equal,
    "ne": np.not_equal,
    "olt": np.less,
    "slt": np.less,
    "ole": np.less_equal,
    "sle": np.less_equal,
    "ogt": np.greater,
    "sgt": np.greater,
    "oge": np.greater_equal,
    "sge": np.greater_equal,
}


class NumpyMachine(Machine):
    """Computes on arrays of one shape; `count` is the number of operations applied so far."""

    def __init__(self) -> None:
        self.count = 0

    def constant(self, value: float | int, kind: Kind) -> Scalar:
        return Scalar(self, np.asarray(value, DTYPES[kind]), kind)

    def apply(self, name: str, kind: Kind, args: Sequence[Scalar], predicate: str = "") -> Scalar:
        self.count += 1
        arrays = [arg.raw for arg in args]
        if name == "arith.bitcast":
            return Scalar(self, arrays[0].view(DTYPES[kind]), kind)
        operation = _PREDICATES[predicate] if predicate else _OPERATIONS.get(name)
        result = operation(*arrays) if operation else arrays[0].astype(DTYPES[kind])
        return Scalar(self, result, kind)


def evaluate(function: Callable[..., Scalar], *arrays: Array) -> Array:
    """`function` of `arrays`, of f32 or f64: the bits that its expansion in the IR computes."""
    machine = NumpyMachine()
    with np.errstate(all="ignore"):
        args = [Scalar(machine, array, KINDS[array.dtype]) for array in arrays]
        return np.asarray(function(*args).raw)


def operation_count(function: Callable[..., Scalar], kind: Kind, arity: int = 1) -> int:
    """How many operations, constants aside, the expansion of `function` on `kind` has."""
    machine = NumpyMachine()
    with np.errstate(all="ignore"):
        function(*(Scalar(machine, np.ones(1, DTYPES[kind]), kind) for _ in range(arity)))
    return machine.count
