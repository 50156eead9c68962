"""Function bodies: those of the model and those in the operator schemas."""

from __future__ import annotations

from typing import Any

from onnx import FunctionProto, NodeProto, TypeProto

from mxc.dialects.onnx import schema
from mxc.importer import infer
from mxc.importer.values import Call, Scope


def without_omitted(function: FunctionProto, scope: Scope) -> list[NodeProto]:
    """The function's nodes, with inputs that the caller omitted written as omitted."""
    omitted = {name for name in function.input if name not in scope.values}
    if not omitted:
        return list(function.node)
    nodes: list[NodeProto] = []
    for node in function.node:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = ["" if name in omitted else name for name in node.input]
        nodes.append(copy)
    return nodes


def schema_function(call: Call) -> FunctionProto | None:
    """The function body that the schema of an operator gives, None if it gives none."""
    known: Any = schema.newest(call.op_type)
    if known.has_function:
        version = max(known.function_opset_versions)
        return FunctionProto.FromString(known.get_function_with_opset_version(version))
    if not known.has_context_dependent_function:
        return None
    node = infer.node_proto(call)
    types = [
        (TypeProto() if v is None else infer.type_proto(v)).SerializeToString() for v in call.inputs
    ]
    version = max(known.context_dependent_function_opset_versions)
    body = known.get_context_dependent_function_with_opset_version(
        version, node.SerializeToString(), types
    )
    return FunctionProto.FromString(body) if body else None
