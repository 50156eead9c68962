"""Activation functions, computed in the compute type (f32 for narrower floats)."""

from __future__ import annotations

from math import pi, sqrt

from xdsl.dialects.builtin import f32

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type
from mxc.passes.lowering.elementwise import Unary, sigmoid, unary
from mxc.passes.lowering.registry import Node, lowers


def relu(k: Body, x: Scalar) -> Scalar:
    """max(x, 0); NaN stays NaN, -0 becomes +0."""
    return k.where(x <= 0, 0, x)


def softplus(k: Body, x: Scalar) -> Scalar:
    """log(1 + exp(x)) without overflow: max(x, 0) + log1p(exp(-|x|))."""
    return relu(k, x) + k.math("log1p", k.math("exp", -k.abs(x)))


def gelu_erf(k: Body, x: Scalar) -> Scalar:
    """Half of x * (1 + erf(x / sqrt(2)))."""
    return x * 0.5 * (k.math("erf", x * (1 / sqrt(2))) + 1.0)


def gelu_tanh(k: Body, x: Scalar) -> Scalar:
    """Half of x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))."""
    inner = (x + x * x * x * 0.044715) * sqrt(2 / pi)
    return x * 0.5 * (k.math("tanh", inner) + 1.0)


def hard_sigmoid(k: Body, x: Scalar, alpha: float, beta: float) -> Scalar:
    """The line alpha * x + beta, clamped to [0, 1]."""
    return k.clamp(x * alpha + beta, 0.0, 1.0)


def elu(k: Body, x: Scalar, alpha: float) -> Scalar:
    """x, or alpha * (exp(x) - 1) below 0."""
    return k.where(x < 0, k.math("expm1", x) * alpha, x)


_BARE: dict[str, Unary] = {
    "Relu": relu,
    "Softplus": softplus,
    "Softsign": lambda k, x: x / (k.abs(x) + 1.0),
    "Mish": lambda k, x: x * k.math("tanh", softplus(k, x)),
    "HardSwish": lambda k, x: x * hard_sigmoid(k, x, 1 / 6, 0.5),
}
for _name, _function in _BARE.items():
    unary(_name, _function)


@lowers("Gelu")
def gelu(loops: Loops, node: Node) -> Tensor:
    """Through erf, or through tanh if `approximate` says so."""
    approximate = node.attr("approximate")
    if approximate not in ("none", "tanh"):
        raise node.error(f"approximate={approximate} is not known", "use none or tanh")
    return loops.map(gelu_tanh if approximate == "tanh" else gelu_erf, node.tensor(0))


@lowers("Elu")
def elu_(loops: Loops, node: Node) -> Tensor:
    """Exponential below 0."""
    alpha = float(node.attr("alpha"))
    return loops.map(lambda k, x: elu(k, x, alpha), node.tensor(0))


@lowers("Selu")
def selu(loops: Loops, node: Node) -> Tensor:
    """Elu times gamma."""
    alpha, gamma = float(node.attr("alpha")), float(node.attr("gamma"))
    return loops.map(lambda k, x: elu(k, x, alpha) * gamma, node.tensor(0))


@lowers("Celu")
def celu(loops: Loops, node: Node) -> Tensor:
    """x, or alpha * (exp(x / alpha) - 1) below 0."""
    alpha = float(node.attr("alpha"))
    return loops.map(
        lambda k, x: k.where(x < 0, k.math("expm1", x / alpha) * alpha, x), node.tensor(0)
    )


@lowers("HardSigmoid")
def hard_sigmoid_(loops: Loops, node: Node) -> Tensor:
    """A line, clamped to [0, 1]."""
    alpha, beta = float(node.attr("alpha")), float(node.attr("beta"))
    return loops.map(lambda k, x: hard_sigmoid(k, x, alpha, beta), node.tensor(0))


@lowers("LeakyRelu")
def leaky_relu(loops: Loops, node: Node) -> Tensor:
    """x, or alpha * x below 0."""
    alpha = float(node.attr("alpha"))
    return loops.map(lambda k, x: k.where(x < 0, x * alpha, x), node.tensor(0))


@lowers("ThresholdedRelu")
def thresholded_relu(loops: Loops, node: Node) -> Tensor:
    """The value above alpha, else 0."""
    alpha = float(node.attr("alpha"))
    return loops.map(lambda k, x: k.where(x > alpha, x, 0), node.tensor(0))


@lowers("Swish")
def swish(loops: Loops, node: Node) -> Tensor:
    """The value times sigmoid(alpha * x)."""
    alpha = float(node.attr("alpha"))
    return loops.map(lambda k, x: x * sigmoid(k, x * alpha), node.tensor(0))


@lowers("Shrink")
def shrink(loops: Loops, node: Node) -> Tensor:
    """Moved by bias towards 0 outside [-lambd, lambd], 0 inside; integers through f32."""
    bias, lambd = float(node.attr("bias")), float(node.attr("lambd"))
    x = node.tensor(0)

    def body(k: Body, v: Scalar) -> Scalar:
        wide = v if v.is_float else k.cast(v, f32)
        outside = k.where(wide > lambd, wide - bias, 0.0)
        return k.cast(k.where(wide < -lambd, wide + bias, outside), compute_type(x.element))

    return loops.map(body, x)
