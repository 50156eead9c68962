"""The activation functions that recurrent operators name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.ir import SSAValue

from mxc.dialects.onnx import OnnxOp
from mxc.dialects.onnx.build import Graph
from mxc.errors import CannotLower

DEFAULTS = {
    "LSTM": ["Sigmoid", "Tanh", "Tanh"],
    "GRU": ["Sigmoid", "Tanh"],
    "RNN": ["Tanh"],
}
_PLAIN = ("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus")
_WITH_ALPHA = {"LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "Elu": 1.0}
_WITH_BOTH = {"HardSigmoid": (0.2, 0.5), "Affine": (1.0, 0.0), "ScaledTanh": (1.0, 1.0)}
_NAMES = {name.lower(): name for name in (*_PLAIN, *_WITH_ALPHA, *_WITH_BOTH)}


@dataclass(frozen=True)
class Activation:
    """A named function with its parameters."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def __call__(self, g: Graph, x: SSAValue) -> SSAValue:
        """The function of every element of `x`."""
        if self.name in _PLAIN:
            return g.unary(self.name, x)
        if self.name in _WITH_ALPHA:
            return g.unary(self.name, x, alpha=self.alpha)
        return _BOTH[self.name](g, x, self.alpha, self.beta)


_BOTH: dict[str, Callable[[Graph, SSAValue, float, float], SSAValue]] = {
    "HardSigmoid": lambda g, x, a, b: g.unary("HardSigmoid", x, alpha=a, beta=b),
    "Affine": lambda g, x, a, b: g.add(g.mul(x, a), b),
    "ScaledTanh": lambda g, x, a, b: g.mul(g.unary("Tanh", g.mul(x, b)), a),
}


def activations(op: OnnxOp, direction: int) -> list[Activation]:
    """The functions f, g, h of one direction of `op`.

    Parameters are listed in the order of the functions that take them.
    """
    defaults = DEFAULTS[op.op_type]
    names: list[str] = op.attr("activations") or []
    if len(names) <= len(defaults):
        names, direction = names or defaults, 0
    alphas, betas = list(op.attr("activation_alpha") or []), list(op.attr("activation_beta") or [])
    result = [_activation(name, alphas, betas) for name in names]
    count = len(defaults)
    if len(result) < (direction + 1) * count:
        raise CannotLower(f"activations {names} are fewer than {(direction + 1) * count}")
    return result[direction * count : (direction + 1) * count]


def _activation(text: str, alphas: list[float], betas: list[float]) -> Activation:
    name = _NAMES.get(text.lower())
    if name is None:
        raise CannotLower(
            f"activation '{text}' is not known", hint=f"use {', '.join(_NAMES.values())}"
        )
    if name in _WITH_ALPHA:
        return Activation(name, alphas.pop(0) if alphas else _WITH_ALPHA[name])
    if name in _WITH_BOTH:
        alpha, beta = _WITH_BOTH[name]
        return Activation(name, alphas.pop(0) if alphas else alpha, betas.pop(0) if betas else beta)
    return Activation(name)
