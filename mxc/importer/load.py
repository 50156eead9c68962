"""Reads a model file and checks what can be checked before its nodes are walked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import FunctionProto, GraphProto, ModelProto, OperatorSetIdProto

from mxc.errors import ImportFailed

OLDEST = 7
"""Operators that opset 7 changed (broadcasting, `consumed_inputs`, ...) are not supported in the
version before it."""

DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Model:
    """A model file: its main graph, functions and opset of the default domain."""

    graph: GraphProto
    opset: int
    functions: dict[tuple[str, str], FunctionProto]
    folder: Path


def read_model(path: Path) -> Model:
    """The model at `path`.

    Raises:
        ImportFailed: if it is missing, not ONNX, damaged, or of an opset that is not supported.
    """
    proto = _parse(path)
    if not proto.HasField("graph") or not (proto.opset_import or proto.ir_version):
        raise ImportFailed("this is not an ONNX model", hint="expected a file made by onnx.save")
    if not proto.opset_import:
        raise ImportFailed("the model states no opset", hint="its opset_import is empty")
    _check_text(proto)
    functions = {(f.domain, f.name): f for f in proto.functions}
    if len(functions) != len(proto.functions):
        raise ImportFailed("two functions of the model have the same name and domain")
    return Model(proto.graph, default_opset(proto.opset_import), functions, path.parent)


def _parse(path: Path) -> ModelProto:
    if not path.exists():
        raise ImportFailed("there is no such file")
    if not path.is_file():
        raise ImportFailed("this is not a file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImportFailed(f"it cannot be read: {error.strerror}") from error
    if not data:
        raise ImportFailed("the file is empty")
    try:
        return ModelProto.FromString(data)
    except (DecodeError, RecursionError, MemoryError) as error:
        raise ImportFailed(
            "this is not an ONNX model, or it is truncated", hint="export or download it again"
        ) from error


def _check_text(proto: ModelProto) -> None:
    """Every name is text; protobuf gives bytes where a damaged file holds no valid UTF-8."""
    bodies = [proto.graph.node, *(function.node for function in proto.functions)]
    names: list[Any] = [value.name for value in (*proto.graph.input, *proto.graph.output)]
    names += [tensor.name for tensor in proto.graph.initializer]
    names += [name for f in proto.functions for name in (f.domain, f.name, *f.input, *f.output)]
    for nodes in bodies:  # grows while it is walked
        for node in nodes:
            names += (node.name, node.op_type, node.domain, *node.input, *node.output)
            for attribute in node.attribute:
                names += (attribute.name, attribute.ref_attr_name)
                if attribute.HasField("g"):
                    names += [v.name for v in (*attribute.g.input, *attribute.g.output)]
                    names += [tensor.name for tensor in attribute.g.initializer]
                    bodies.append(attribute.g.node)
    if not all(isinstance(name, str) for name in names):
        raise ImportFailed("a name in the model is not text", hint="the file is damaged")


def default_opset(imports: Iterable[OperatorSetIdProto]) -> int:
    """The version of the default domain among `opset_import` entries, checked."""
    versions = {o.version for o in imports if o.domain in DEFAULT_DOMAINS}
    newest = onnx.defs.onnx_opset_version()
    if len(versions) > 1:
        raise ImportFailed(f"the default domain is imported twice, as {sorted(versions)}")
    version = versions.pop() if versions else newest
    if version > newest:
        raise ImportFailed(
            f"opset {version} is newer than {newest}, the newest that is supported",
            hint="export the model with an older opset, or install a newer onnx package",
        )
    if version < 1:
        raise ImportFailed(f"opset {version} does not exist", hint="is the file damaged?")
    return version
