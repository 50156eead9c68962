"""Operators that treat every element on its own, with numpy broadcasting."""

from __future__ import annotations

from collections.abc import Callable

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.passes.lowering.registry import RULES, Node, lowers

Unary = Callable[[Body, Scalar], Scalar]


def _unary(op_type: str, function: Unary) -> None:
    RULES[op_type] = lambda loops, node: loops.map(function, node.tensor(0))


def _math(name: str) -> Unary:
    return lambda k, x: k.math(name, x)


def relu(k: Body, x: Scalar) -> Scalar:
    """max(x, 0); NaN stays NaN, -0 becomes +0."""
    return k.where(x <= 0, 0, x)


def sigmoid(k: Body, x: Scalar) -> Scalar:
    """1 / (1 + exp(-x))."""
    return 1.0 / (k.math("exp", -x) + 1.0)


for _name, _function in {
    "Abs": lambda k, x: k.abs(x),
    "Neg": lambda k, x: -x,
    "Relu": relu,
    "Sigmoid": sigmoid,
    "Reciprocal": lambda k, x: 1.0 / x,
    "Not": lambda k, x: ~x,
    "Identity": lambda k, x: x,
}.items():
    _unary(_name, _function)

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
    _unary(_name, _math(_math_name))


def _binary(op_type: str, function: Callable[[Body, Scalar, Scalar], Scalar]) -> None:
    def rule(loops: Loops, node: Node) -> Tensor:
        return loops.map(function, node.tensor(0), node.tensor(1), element=node.element())

    RULES[op_type] = rule


for _name, _binary_function in {
    "Add": lambda k, a, b: a + b,
    "Sub": lambda k, a, b: a - b,
    "Mul": lambda k, a, b: a * b,
    "Div": lambda k, a, b: a / (b if b.is_float else k.safe_divisor(b)),
    "And": lambda k, a, b: a & b,
    "Or": lambda k, a, b: a | b,
    "Xor": lambda k, a, b: a ^ b,
    "Equal": lambda k, a, b: a.eq(b),
    "Less": lambda k, a, b: a < b,
    "LessOrEqual": lambda k, a, b: a <= b,
    "Greater": lambda k, a, b: a > b,
    "GreaterOrEqual": lambda k, a, b: a >= b,
}.items():
    _binary(_name, _binary_function)


@lowers("Where")
def where(loops: Loops, node: Node) -> Tensor:
    """The second input where the first holds, else the third."""
    condition, a, b = (node.tensor(i) for i in range(3))
    return loops.map(lambda k, c, x, y: k.where(c, x, y), condition, a, b, element=a.element)


@lowers("Cast")
def cast(loops: Loops, node: Node) -> Tensor:
    """Another element type, by the rules of `Body.cast`."""
    return loops.cast(node.tensor(0), node.element())
