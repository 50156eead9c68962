"""Rules on ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IntegerType,
    TensorType,
)
from xdsl.ir import Attribute, Operation, SSAValue

from mxc.constants import ConstantTable
from mxc.dialects.location import locate, node_names
from mxc.dialects.mx import ConstantOp
from mxc.dialects.onnx import OnnxOp, op_class

SPLAT_LIMIT = 4096
"""Larger constants are not searched for being all one value."""

Rule = Callable[[Operation, ConstantTable], SSAValue | None]


def _inputs(op: Operation) -> list[SSAValue | None]:
    return cast("OnnxOp", op).inputs


def _first(op: Operation) -> SSAValue:
    value = _inputs(op)[0]
    assert value is not None
    return value


def _input(op: Operation, index: int) -> SSAValue | None:
    inputs = _inputs(op)
    return inputs[index] if index < len(inputs) else None


def _array(value: SSAValue | None, table: ConstantTable) -> NDArray[Any] | None:
    """The array of a constant operand; None for anything else."""
    if value is None or not isinstance(value.owner, ConstantOp) or value.owner.key not in table:
        return None
    array = table[value.owner.key]
    return cast("NDArray[Any]", array) if isinstance(array, np.ndarray) else None


def _keeps_type(op: Operation) -> SSAValue | None:
    """The operand, if it has the type of the result."""
    value = _first(op)
    return value if value.type == op.results[0].type else None


def same_type(op: Operation, table: ConstantTable) -> SSAValue | None:
    """A view or cast to the type that the operand has."""
    return _keeps_type(op)


def only_input(op: Operation, table: ConstantTable) -> SSAValue | None:
    """Concat, Sum, Max ... of one tensor."""
    return _keeps_type(op) if len(_inputs(op)) == 1 else None


def twice(op: Operation, table: ConstantTable) -> SSAValue | None:
    """f(f(x)) = x: Neg, Not."""
    inner = _first(op).owner
    return _first(inner) if isinstance(inner, OnnxOp) and inner.name == op.name else None


def idempotent(op: Operation, table: ConstantTable) -> SSAValue | None:
    """f(f(x)) = f(x): Abs, Relu, Floor, Ceil, Round."""
    inner = _first(op).owner
    return _first(op) if isinstance(inner, OnnxOp) and inner.name == op.name else None


def dropout(op: Operation, table: ConstantTable) -> SSAValue | None:
    """Dropout at inference, its mask unused, is its input."""
    training = _array(_input(op, 2), table)
    off = _input(op, 2) is None or (training is not None and not training.any())
    return _first(op) if off and not any(mask.uses for mask in op.results[1:]) else None


def clip(op: Operation, table: ConstantTable) -> SSAValue | None:
    """Clip without bounds."""
    return _first(op) if _input(op, 1) is None and _input(op, 2) is None else None


def pad(op: Operation, table: ConstantTable) -> SSAValue | None:
    """Pad by nothing."""
    amounts = _array(_input(op, 1), table)
    return _first(op) if amounts is not None and not amounts.any() else None


def take_all(op: Operation, table: ConstantTable) -> SSAValue | None:
    """Slice of everything, forwards."""
    steps = _array(_input(op, 4), table)
    forwards = _input(op, 4) is None or (steps is not None and bool((steps > 0).all()))
    return _keeps_type(op) if forwards else None


def cast_there_and_back(op: Operation, table: ConstantTable) -> SSAValue | None:
    """Cast to the same type, or back from a type that holds all its values."""
    if (same := _keeps_type(op)) is not None:
        return same
    inner = _first(op).owner
    if not isinstance(inner, OnnxOp) or inner.name != op.name:
        return None
    source = _first(inner)
    lossless = _widens(_element(source), _element(inner.results[0]))
    return source if lossless and source.type == op.results[0].type else None


def _element(value: SSAValue) -> Attribute:
    return cast("TensorType[Attribute]", value.type).element_type


def _widens(narrow: Attribute, wide: Attribute) -> bool:
    match narrow, wide:
        case (Float16Type() | BFloat16Type(), Float32Type() | Float64Type()):
            return True
        case (Float32Type(), Float64Type()):
            return True
        case (IntegerType(), IntegerType()):
            same = narrow.signedness == wide.signedness
            return same and 1 < narrow.width.data < wide.width.data
        case _:
            return False


def transpose(op: Operation, table: ConstantTable) -> SSAValue | None:
    """Transpose by the identity, and Transpose of Transpose."""
    perm, source = _permutation(op), _first(op)
    inner = source.owner
    if isinstance(inner, OnnxOp) and inner.op_type == "Transpose":
        before = _permutation(inner)
        perm, source = [before[i] for i in perm], _first(inner)
    if perm == sorted(perm):
        return source
    if source is _first(op):
        return None
    merged = op_class("Transpose").create_node([source], [op.results[0].type], {"perm": perm})
    return _inserted(merged, before=op, absorbing=cast("Operation", inner))


def _permutation(op: Operation) -> list[int]:
    perm = cast("OnnxOp", op).attr("perm")
    rank = len(cast("TensorType[Attribute]", _first(op).type).get_shape())
    return list(reversed(range(rank))) if perm is None else [int(p) for p in perm]


def _inserted(new: Operation, before: Operation, absorbing: Operation) -> SSAValue:
    new.location = locate((*node_names(absorbing), *node_names(before)))
    assert before.parent is not None
    before.parent.insert_op_before(new, before)
    return new.results[0]


VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})


def reshape(op: Operation, table: ConstantTable) -> SSAValue | None:
    """A reshape to the same shape, and a reshape of a reshape: row-major order is kept by both."""
    source = _first(op)
    inner = source.owner
    while isinstance(inner, OnnxOp) and inner.op_type in VIEWS:
        source = _first(inner)
        inner = source.owner
    if source.type == op.results[0].type:
        return source
    if source is _first(op):
        return None
    shape = cast("TensorType[Attribute]", op.results[0].type).get_shape()
    array = np.array(shape, np.int64)
    if not array.all():  # a 0 in the shape operand would copy a dimension
        return None
    target = ConstantOp(table.add(array), TensorType(IntegerType(64), [len(shape)]))
    absorbed = cast("Operation", _first(op).owner)
    _inserted(target, before=op, absorbing=absorbed)
    merged = op_class("Reshape").create_node([source, target.results[0]], [op.results[0].type])
    return _inserted(merged, before=op, absorbing=absorbed)


def _neutral(position: int, wanted: Callable[[NDArray[Any]], bool]) -> Rule:
    """The other operand, if operand `position` is a constant for which `wanted` holds."""

    def rule(op: Operation, table: ConstantTable) -> SSAValue | None:
        constant = _array(_input(op, position), table)
        if constant is None or constant.size > SPLAT_LIMIT or not wanted(constant):
            return None
        other = _input(op, 1 - position)
        return other if other is not None and other.type == op.results[0].type else None

    return rule


def _either(*rules: Rule) -> Rule:
    def rule(op: Operation, table: ConstantTable) -> SSAValue | None:
        found = (rule(op, table) for rule in rules)
        return next((value for value in found if value is not None), None)

    return rule


def _is_one(array: NDArray[Any]) -> bool:
    return bool((array == 1).all())


def _is_zero(array: NDArray[Any]) -> bool:
    """All +0: what can be subtracted."""
    return bool((array == 0).all()) and (_is_integer(array) or not np.signbit(array).any())


def _is_neutral_in_sums(array: NDArray[Any]) -> bool:
    """All -0, the only float that leaves every x alone when added; any zero for integers."""
    return bool((array == 0).all()) and (_is_integer(array) or bool(np.signbit(array).all()))


def _is_integer(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "iub"


_UNIT = {
    "Mul": _either(_neutral(0, _is_one), _neutral(1, _is_one)),
    "Div": _neutral(1, _is_one),
    "Pow": _neutral(1, _is_one),
    "Sub": _neutral(1, _is_zero),
    "Add": _either(_neutral(0, _is_neutral_in_sums), _neutral(1, _is_neutral_in_sums)),
}
_BY_NAME: dict[str, Rule] = {
    **dict.fromkeys(("Identity", "Expand", "Tile"), same_type),
    **dict.fromkeys(("Concat", "Sum", "Max", "Min", "Mean"), only_input),
    **dict.fromkeys(("Neg", "Not"), twice),
    **dict.fromkeys(("Abs", "Relu", "Floor", "Ceil", "Round"), idempotent),
    **dict.fromkeys(sorted(VIEWS), reshape),
    "Transpose": transpose,
    "Cast": cast_there_and_back,
    "Dropout": dropout,
    "Clip": clip,
    "Pad": pad,
    "Slice": take_all,
    **_UNIT,
}
RULES = {f"onnx.{op_type}": rule for op_type, rule in _BY_NAME.items()}
