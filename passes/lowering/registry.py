"""The table of lowering rules, and what a rule is given: a `Node`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute
from xdsl.utils.hints import isa

from mxc.constants import ConstantTable
from mxc.dialects.location import node_names
from mxc.dialects.loops import Loops, Tensor
from mxc.dialects.mx import ConstantOp
from mxc.dialects.onnx import OnnxOp
from mxc.errors import CannotLower

Lowered = Tensor | Sequence[Tensor | None]
LoweringRule = Callable[[Loops, "Node"], Lowered]

RULES: dict[str, LoweringRule] = {}
"""Operator type -> rule, filled by `load_rules`."""

HELPERS = {"registry"}


def lowers(*op_types: str) -> Callable[[LoweringRule], LoweringRule]:
    """Registers a function as the lowering of ONNX operators `op_types`."""

    def register(rule: LoweringRule) -> LoweringRule:
        for op_type in op_types:
            assert op_type not in RULES, op_type
            RULES[op_type] = rule
        return rule

    return register


def load_rules() -> dict[str, LoweringRule]:
    """`RULES`, after importing every family of this folder."""
    package = import_module("mxc.passes.lowering")
    for module in iter_modules(package.__path__):
        if module.name not in HELPERS and not module.name.startswith("_"):
            import_module(f"mxc.passes.lowering.{module.name}")
    return RULES


class Node:
    """One ONNX node as a rule sees it: its tensors, attributes, and constant inputs' values."""

    def __init__(
        self, op: OnnxOp, inputs: Sequence[Tensor | None], constants: ConstantTable
    ) -> None:
        self.op = op
        self.inputs = list(inputs)
        """One entry per input of the NodeProto; None where it is omitted."""
        self._constants = constants

    @property
    def op_type(self) -> str:
        """The operator, `Conv`."""
        return self.op.op_type

    @property
    def where(self) -> str:
        """The node for error messages: `node 'a/b' (Conv)`."""
        names = ", ".join(node_names(self.op)) or "?"
        return f"node '{names}' ({self.op_type})"

    def attr(self, name: str) -> Any:
        """The attribute's value, with the schema's default; None if it has neither."""
        return self.op.attr(name)

    def has(self, index: int) -> bool:
        """Whether input `index` is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def tensor(self, index: int) -> Tensor:
        """Input `index`, which must be given."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise self.error(f"input {index} is missing")
        return value

    def tensors(self) -> list[Tensor]:
        """All inputs that are given."""
        return [t for t in self.inputs if t is not None]

    def const(self, index: int) -> NDArray[Any] | None:
        """The value of input `index`, which must be a constant; None if it is omitted.

        Raises:
            CannotLower: if the input is computed at run time.
        """
        if not self.has(index):
            return None
        source = self.op.inputs[index]
        owner = source.owner if source is not None else None
        if not isinstance(owner, ConstantOp):
            name = self.op.schema.inputs[min(index, len(self.op.schema.inputs) - 1)].name
            raise self.error(
                f"input '{name}' must be a constant but is computed at run time",
                "bind it with --input-value or fold it before export",
            )
        return np.asarray(self._constants[owner.key])

    def is_const(self, index: int) -> bool:
        """Whether input `index` is given and a constant."""
        source = self.op.inputs[index] if self.has(index) else None
        return source is not None and isinstance(source.owner, ConstantOp)

    def ints(self, index: int) -> list[int] | None:
        """The constant input `index` as Python integers; None if it is omitted."""
        value = self.const(index)
        return None if value is None else [int(v) for v in value.reshape(-1)]

    def axis(self, rank: int, name: str = "axis") -> int:
        """The attribute `axis`, counted from the front."""
        axis = int(self.attr(name))
        if not -rank <= axis < max(rank, 1):
            raise self.error(f"{name}={axis} is outside rank {rank}")
        return axis % rank if rank else 0

    def _type(self, index: int) -> TensorType[Attribute]:
        output = self.op.outputs[index]
        kind = None if output is None else output.type
        assert isa(kind, TensorType), kind
        return kind

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of output `index`."""
        return self._type(index).get_shape()

    def element(self, index: int = 0) -> Attribute:
        """The element type of output `index`."""
        return self._type(index).element_type

    def wants(self, index: int) -> bool:
        """Whether output `index` is asked for."""
        outputs = self.op.outputs
        return index < len(outputs) and outputs[index] is not None

    def error(self, message: str, hint: str = "") -> CannotLower:
        """An error that names this node."""
        return CannotLower(message, at=self.where, hint=hint)
