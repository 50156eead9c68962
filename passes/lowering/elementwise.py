"""Operators that treat every element on its own, with numpy broadcasting: arithmetic and logic.

An operand that is a constant scalar becomes a constant of the loop's body.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from xdsl.dialects.builtin import i1

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type
from mxc.dialects.types import integer_width
from mxc.passes.lowering.registry import RULES, Node, lowers

Unary = Callable[[Body, Scalar], Scalar]
Binary = Callable[[Body, Scalar, Scalar], Scalar]


def unary(op_type: str, function: Unary) -> None:
    """Registers `op_type` as `function` of every element."""
    RULES[op_type] = lambda loops, node: loops.map(function, node.tensor(0))


def _math(name: str) -> Unary:
    def body(k: Body, x: Scalar) -> Scalar:
        return k.math(name, x) if x.is_float else x

    return body


def sigmoid(k: Body, x: Scalar) -> Scalar:
    """1 / (1 + exp(-x))."""
    return 1.0 / (k.math("exp", -x) + 1.0)


def sign(k: Body, x: Scalar) -> Scalar:
    """-1, 0 or 1; NaN stays NaN."""
    positive = k.where(x > 0, k.like(1, x), 0)
    if x.unsigned:
        return positive
    value = k.where(x < 0, -1, positive)
    return k.where(x.is_nan(), x, value) if x.is_float else value


_UNARY: dict[str, Unary] = {
    "Abs": lambda k, x: k.abs(x),
    "Neg": lambda k, x: -x,
    "Sigmoid": sigmoid,
    "Sign": sign,
    "Reciprocal": lambda k, x: 1.0 / x,
    "Not": lambda k, x: ~x,
    "BitwiseNot": lambda k, x: ~x,
}
for _name, _function in _UNARY.items():
    unary(_name, _function)

for _name, _math_name in {
    "Acos": "acos",
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "Log": "log",
    "Round": "roundeven",
    "Sin": "sin",
    "Sinh": "sinh",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}.items():
    unary(_name, _math(_math_name))


def constant_scalar(node: Node, index: int) -> Any:
    """The Python number that input `index` is; None if it is no constant of one element."""
    if node.tensor(index).size != 1 or not node.is_const(index):
        return None
    value = node.const(index)
    return None if value is None else value.reshape(-1)[0].item()


def mapped(loops: Loops, node: Node, function: Callable[..., Scalar]) -> Tensor:
    """`function(k, *inputs)` on every element of the broadcast inputs."""
    tensors = node.tensors()
    numbers = [constant_scalar(node, i) for i in range(len(node.inputs)) if node.has(i)]
    if all(number is not None for number in numbers):
        numbers[0] = None
    given = [t for t, number in zip(tensors, numbers, strict=True) if number is None]

    types = [compute_type(t.element) for t in tensors]

    def body(k: Body, *scalars: Scalar) -> Scalar:
        values = iter(scalars)
        operands = [
            next(values) if number is None else k.const(number, kind)
            for number, kind in zip(numbers, types, strict=True)
        ]
        return function(k, *operands)

    return loops.map(body, *given, element=node.element(), shape=node.shape())


def _mapped(op_type: str, function: Callable[..., Scalar]) -> None:
    RULES[op_type] = lambda loops, node: mapped(loops, node, function)


_BINARY: dict[str, Binary] = {
    "Add": lambda k, a, b: a + b,
    "Sub": lambda k, a, b: a - b,
    "Mul": lambda k, a, b: a * b,
    "Div": lambda k, a, b: a / (b if b.is_float else k.safe_divisor(b)),
    "And": lambda k, a, b: a & b,
    "Or": lambda k, a, b: a | b,
    "Xor": lambda k, a, b: a ^ b,
    "BitwiseAnd": lambda k, a, b: a & b,
    "BitwiseOr": lambda k, a, b: a | b,
    "BitwiseXor": lambda k, a, b: a ^ b,
    "Equal": lambda k, a, b: a.eq(b),
    "Less": lambda k, a, b: a < b,
    "LessOrEqual": lambda k, a, b: a <= b,
    "Greater": lambda k, a, b: a > b,
    "GreaterOrEqual": lambda k, a, b: a >= b,
    "PRelu": lambda k, x, slope: k.where(x < 0, x * slope, x),
}
for _name, _binary in _BINARY.items():
    _mapped(_name, _binary)


def _where(k: Body, condition: Scalar, a: Scalar, b: Scalar) -> Scalar:
    return k.where(condition, a, b)


_mapped("Where", _where)

_FOLDED: dict[str, Binary] = {
    "Max": lambda k, a, b: k.maximum(a, b),
    "Min": lambda k, a, b: k.minimum(a, b),
    "Sum": lambda k, a, b: a + b,
}


def _folded(op_type: str, fold: Binary) -> None:
    def body(k: Body, *values: Scalar) -> Scalar:
        return reduce(lambda a, b: fold(k, a, b), values)

    _mapped(op_type, body)


for _name, _fold in _FOLDED.items():
    _folded(_name, _fold)


@lowers("Mean")
def mean(loops: Loops, node: Node) -> Tensor:
    """The sum, in order, over the number of inputs."""

    def body(k: Body, *values: Scalar) -> Scalar:
        return reduce(lambda a, b: a + b, values) / float(len(values))

    return mapped(loops, node, body)


@lowers("Identity")
def identity(loops: Loops, node: Node) -> Tensor:
    """The tensor itself."""
    return node.tensor(0)


@lowers("Clip")
def clip(loops: Loops, node: Node) -> Tensor:
    """At least `min`, then at most `max`, each optional; NaN stays NaN."""
    low, high = node.has(1), node.has(2)

    def body(k: Body, x: Scalar, *bounds: Scalar) -> Scalar:
        if low:
            x = k.where(x < bounds[0], bounds[0], x)
        if high:
            x = k.where(x > bounds[-1], bounds[-1], x)
        return x

    return mapped(loops, node, body)


@lowers("IsNaN")
def is_nan(loops: Loops, node: Node) -> Tensor:
    """Whether elements are NaN."""
    return loops.map(lambda k, x: x.is_nan(), node.tensor(0), element=i1)


@lowers("IsInf")
def is_inf(loops: Loops, node: Node) -> Tensor:
    """Whether elements are one of the infinities that are asked for."""
    infinities = [
        value
        for value, name in ((float("inf"), "detect_positive"), (float("-inf"), "detect_negative"))
        if node.attr(name)
    ]

    def body(k: Body, x: Scalar) -> Scalar:
        found = [x.eq(value) for value in infinities]
        return reduce(lambda a, b: a | b, found) if found else k.const(0, i1)

    return loops.map(body, node.tensor(0), element=i1)


@lowers("BitShift")
def bit_shift(loops: Loops, node: Node) -> Tensor:
    """Bits shifted; by the width or more, or by a negative amount, only sign bits remain."""
    left = node.attr("direction") == "LEFT"

    def body(k: Body, x: Scalar, amount: Scalar) -> Scalar:
        width = integer_width(x.type)
        inside = amount < width
        if not amount.unsigned:
            inside = inside & (amount >= 0)
        safe = k.where(inside, amount, width - 1)
        if left:
            return k.where(inside, x << safe, 0)
        return k.where(inside, x >> safe, 0) if x.unsigned else x >> safe

    return mapped(loops, node, body)


@lowers("Dropout")
def dropout(loops: Loops, node: Node) -> list[Tensor | None]:
    """Inference: the tensor itself, and a mask that keeps everything."""
    x = node.tensor(0)
    training = node.const(2)
    ratio = node.const(1)
    if training is not None and bool(training) and (ratio is None or float(ratio) != 0):
        raise node.error("training mode is random", "export the model in inference mode")
    return [x, loops.fill(x.shape, i1, 1) if node.wants(1) else None]
