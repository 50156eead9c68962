"""The table of upgrade rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mxc.importer.values import Array, Call

Rule = Callable[[Any, Call], "list[Any] | None"]

RULES: dict[str, list[tuple[int, Rule]]] = {}
"""Operator -> (opset that changed it, rule for older versions), oldest first."""


def upgrades(*op_types: str, before: int) -> Callable[[Rule], Rule]:
    """Registers a rule for the versions of the operators older than opset `before`.

    The rule gets the tracer and the call; it changes the call in place, or returns the outputs.
    """

    def register(rule: Rule) -> Rule:
        for op_type in op_types:
            rules = RULES.setdefault(op_type, [])
            rules.append((before, rule))
            rules.sort(key=lambda entry: entry[0])
        return rule

    return register


def int64s(values: Any) -> Array:
    """A list of integers as ONNX takes it."""
    return np.array(values, np.int64)


def attr_to_input(tracer: Any, call: Call, name: str, index: int, dtype: Any = np.int64) -> None:
    """Moves attribute `name`, if given, to input `index`."""
    value = call.attrs.pop(name, None)
    if value is None:
        return
    call.inputs += [None] * (index + 1 - len(call.inputs))
    call.inputs[index] = tracer.constant(np.array(value, dtype))
