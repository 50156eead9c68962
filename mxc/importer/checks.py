"""Whether a node is a valid use of its operator."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import GraphProto, defs

from mxc.importer.load import OLDEST
from mxc.importer.values import Call


def check(call: Call, opset: int) -> None:
    """`call` is a valid use of its operator as `opset` defines it; notes the version meant."""
    try:
        known = defs.get_schema(call.op_type, opset, "")
    except defs.SchemaError:
        raise call.fail(
            f"operator {call.op_type} is not known in opset {opset}", "is its domain missing?"
        ) from None
    call.since = known.since_version
    if opset < OLDEST:
        _check_old(call)
    while call.inputs and call.inputs[-1] is None:
        call.inputs.pop()
    if not known.min_input <= len(call.inputs) <= known.max_input:
        raise call.fail(f"it has {len(call.inputs)} inputs, not {known.min_input} or more")
    if not known.min_output <= len(call.outputs) <= known.max_output:
        raise call.fail(f"it has {len(call.outputs)} outputs, not {known.max_output} or fewer")
    _check_attributes(call, known, opset)


def _check_attributes(call: Call, known: defs.OpSchema, opset: int) -> None:
    for name, attribute in known.attributes.items():
        if attribute.required and name not in call.attrs:
            raise call.fail(f"attribute '{name}' is missing")
    for name, value in call.attrs.items():
        if name not in known.attributes:
            raise call.fail(f"attribute '{name}' is not known in opset {opset}")
        kind: Any = known.attributes[name].type
        if not _fits(kind.name, value):
            raise call.fail(f"attribute '{name}' is not of type {kind.name}")


def _check_old(call: Call) -> None:
    """Before opset 7 an operator is supported if its version is still the one of opset 7."""
    try:
        meant = defs.get_schema(call.op_type, OLDEST, "").since_version
    except defs.SchemaError:
        meant = 0
    if meant != call.since:
        raise call.fail(
            f"{call.op_type} of an opset older than {OLDEST} is not supported",
            "convert the model with onnx.version_converter.convert_version(model, 13)",
        )


_PYTHON_TYPES: dict[str, Any] = {
    "INT": int,
    "FLOAT": float,
    "STRING": str,
    "INTS": list,
    "FLOATS": list,
    "STRINGS": list,
    "TENSOR": np.ndarray,
    "GRAPH": GraphProto,
}
_ELEMENTS: dict[str, Any] = {"INTS": int, "FLOATS": float, "STRINGS": str}


def _fits(kind: str, value: Any) -> bool:
    if not isinstance(value, _PYTHON_TYPES.get(kind, object)):
        return False
    element = _ELEMENTS.get(kind)
    return element is None or all(isinstance(v, element) for v in value)
