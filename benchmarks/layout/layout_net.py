"""Builds layout problems by hand: values, ops and contractions in program order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mxc.passes.layout import transport
from mxc.passes.layout.problem import Contraction, Kind, Operand, Problem, Read, Use, Value, View

Axis = int | tuple[int, ...]
"""A contracted axis, or the axes an op may block on."""


@dataclass
class Net:
    """A problem in the making; `phase` is 0 in the forward and 1 in the backward pass."""

    name: str
    weights: Kind = "constant"
    """How weights are held: constant for inference and frozen ones, parameter for training."""
    phase: int = 0
    values: dict[str, Value] = field(default_factory=lambda: {})
    views: list[View] = field(default_factory=lambda: [])
    uses: list[Use] = field(default_factory=lambda: [])

    def problem(self) -> Problem:
        """The finished problem."""
        return Problem(
            tuple(self.values.values()), tuple(self.views), tuple(self.uses), name=self.name
        )

    def make(
        self, name: str, shape: Sequence[int], *, on_chip: bool = False, hp_bytes: int = 2,
        symmetric: bool = False,
    ) -> str:  # fmt: skip
        """A value that some op outside the problem makes."""
        pairs = ((0, 1),) if symmetric else ()
        self.values[name] = Value(
            name, tuple(shape), "activation", self.phase, hp_bytes, on_chip, pairs
        )
        return name

    def weight(self, name: str, shape: Sequence[int]) -> str:
        """A weight."""
        self.values[name] = Value(name, tuple(shape), self.weights)
        return name

    def op(
        self, inputs: Sequence[str], name: str, shape: Sequence[int], *, on_chip: bool = False
    ) -> str:
        """An op that reads its inputs in HP and makes one value."""
        for value in inputs:
            self.uses.append(Read(name, value, self.phase))
        return self.make(name, shape, on_chip=on_chip)

    def contract(
        self, left: tuple[str, Axis], right: tuple[str, Axis], name: str, shape: Sequence[int],
        *, on_chip: bool = False, symmetric: bool = False, op: str = "",
    ) -> str:  # fmt: skip
        """A contraction of two values along one axis, or one of several; makes one value."""
        operands = tuple(
            Operand(value, axes if isinstance(axes, tuple) else (axes,))
            for value, axes in (left, right)
        )
        self.uses.append(Contraction(op or name, operands, self.phase))
        return self.make(name, shape, on_chip=on_chip, symmetric=symmetric)

    def gradient(self, left: tuple[str, Axis], right: tuple[str, Axis], weight: str) -> None:
        """The gradient of a weight: made by a contraction, handed to the optimiser."""
        self.output(self.contract(left, right, f"d{weight}", self.values[weight].shape))

    def output(self, value: str, *, any_version: bool = False) -> None:
        """The rest of the world reads `value`."""
        self.uses.append(Read("output", value, self.phase, any_version))

    def reshape(self, source: str, name: str, shape: Sequence[int]) -> str:
        """The same bytes in another shape."""
        value = self.values[source]
        self.make(name, shape, on_chip=value.on_chip, hp_bytes=value.hp_bytes)
        axes = transport.reshape(value.shape, tuple(shape))
        self.views.append(View(name, (source,), (axes,)))
        return name

    def gather(self, source: str, name: str, shape: Sequence[int], axis: int = 0) -> str:
        """Slices of `source` along `axis`, chosen by indices of the remaining leading rank."""
        rank = len(self.values[source].shape)
        self.make(name, shape)
        axes = transport.gather(rank, axis, len(shape) - rank + 1)
        self.views.append(View(name, (source,), (axes,), "copy"))
        return name
