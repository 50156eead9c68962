"""The importer's entry: a model file in, a module out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ValueInfoProto
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from mxc.dialects import new_context
from mxc.errors import ImportFailed, MxcError
from mxc.importer.build import build
from mxc.importer.consistency import MAX_ELEMENTS
from mxc.importer.fixed import sizes_fixed_by
from mxc.importer.load import Model, read_model
from mxc.importer.pins import Pins, unpinned
from mxc.importer.trace import Tracer, default_has_lowering
from mxc.importer.values import Array, Scope, Value, dtype_of


@dataclass(frozen=True)
class Imported:
    """An imported model."""

    ctx: Context
    """Owns the module's constants: `ConstantTable.of(ctx)`."""
    module: ModuleOp
    name: str
    bound: Mapping[str, Array]
    """The inputs that `values` made constants, in the type and shape of the model."""


def import_model(
    path: Path | str,
    *,
    dims: Mapping[str, int] | None = None,
    values: Mapping[str, str | Array] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    has_lowering: Callable[[str], bool] = default_has_lowering,
    allow_empty: bool = False,
) -> Imported:
    """The model at `path` as a module of `onnx` operations with static shapes.

    * `dims`: sizes of input dimensions, by name or as `INPUT.AXIS`.
    * `values`: contents of inputs, which then are no inputs: text (`16000`, `1,2,3`) or arrays.
    * `input_shapes`: shapes of arrays that will be given for inputs; they pin dimensions too.
    * `has_lowering`: whether an operator is wanted as it is; others are replaced by the function
      body in their schema where there is one.
    * `allow_empty`: whether inputs may have dimensions of size 0.

    Raises:
        ImportFailed: if the model is invalid or cannot be imported; it names the file and node.
    """
    path = Path(path)
    try:
        model = read_model(path)
        pins = Pins(_inputs(model), dims or {}, input_shapes or {}, allow_empty=allow_empty)
        for name, size in sizes_fixed_by(model.graph).items():
            pins.pin(name, size)
        tracer = Tracer(model, has_lowering)
        scope = Scope(opset=model.opset)
        inputs = _bind_inputs(tracer, scope, pins, values or {}, input_shapes or {})
        bound = {name: _content(scope, name) for name in values or {}}
        tracer.graph(model.graph, scope)
        ctx = new_context()
        outputs = _outputs(model, scope)
        module = build(ctx, path.stem, inputs, outputs, tracer.nodes)
    except MxcError as error:
        raise error.within(str(path)) from error.__cause__
    except RecursionError as error:
        raise ImportFailed("the model is nested too deeply", at=str(path)) from error
    return Imported(ctx, module, path.stem, bound)


def _content(scope: Scope, name: str) -> Array:
    """The content of the constant `name`."""
    value = scope.values[name]
    assert isinstance(value, Value)
    assert value.const is not None
    return value.const


def _inputs(model: Model) -> list[ValueInfoProto]:
    """The inputs of the graph that are not constants: old models list their weights too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _bind_inputs(
    tracer: Tracer,
    scope: Scope,
    pins: Pins,
    values: Mapping[str, str | Array],
    input_shapes: Mapping[str, Sequence[int]],
) -> list[Value]:
    """Puts the graph's inputs into `scope` and gives those that stay inputs."""
    declared = {value.name: value for value in tracer.model.graph.input}
    if len(declared) != len(tracer.model.graph.input):
        raise ImportFailed("two inputs of the model have the same name")
    for name in values:
        if name not in declared:
            known = ", ".join(f"'{known}'" for known in declared)
            raise ImportFailed(f"there is no input '{name}' to bind", hint=f"there are {known}")
    shapes = {value.name: _shape(value, pins, input_shapes) for value in _inputs(tracer.model)}
    inputs: list[Value] = []
    for name, info in declared.items():
        if name in values:
            scope.values[name] = tracer.constant(_bound(info, pins, values[name]), name)
        elif name in shapes:
            inputs.append(Value(name, _dtype(info), tuple(shapes[name])))  # pyright: ignore
            scope.values[name] = inputs[-1]
    for value in inputs:
        _check_size(value)
    open_shapes = {v.name: shapes[v.name] for v in inputs if _is_open(shapes[v.name])}
    if open_shapes:
        raise unpinned(open_shapes)
    return inputs


def _check_size(value: Value) -> None:
    count = math.prod(dim for dim in value.shape or () if isinstance(dim, int))
    if count > MAX_ELEMENTS:
        raise ImportFailed(f"input '{value.name}' would have {count} elements")


def _is_open(shape: Sequence[int | str]) -> bool:
    return any(isinstance(dim, str) for dim in shape)


def _shape(
    info: ValueInfoProto, pins: Pins, input_shapes: Mapping[str, Sequence[int]]
) -> list[int | str]:
    if not info.type.HasField("tensor_type"):
        raise ImportFailed(f"input '{info.name}' is not a tensor")
    if info.type.tensor_type.HasField("shape"):
        return pins.shape(info)
    if info.name not in input_shapes:
        raise ImportFailed(
            f"the model does not say how many dimensions input '{info.name}' has",
            hint="give an array for it with --inputs",
        )
    return list(input_shapes[info.name])


def _dtype(info: ValueInfoProto) -> np.dtype[Any]:
    try:
        return dtype_of(info.type.tensor_type.elem_type)
    except MxcError as error:
        raise error.within(f"input '{info.name}'") from None


def _bound(info: ValueInfoProto, pins: Pins, value: str | Array) -> Array:
    """The content given for an input, in its type and shape."""
    dtype, shape = _dtype(info), pins.shape(info)
    if isinstance(value, str):
        array = _parsed(info.name, value, dtype)
        if array.size == 1 and all(dim == 1 or isinstance(dim, str) for dim in shape):
            array = array.reshape((1,) * len(shape))
    else:
        array = np.asarray(value).astype(dtype)
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ImportFailed(f"the value for input '{info.name}' is not of shape {shape}")
    return array


def _parsed(name: str, text: str, dtype: np.dtype[Any]) -> Array:
    """`16000`, `true`, `0.5` or `1,2,3` as an array."""
    words = [word.strip() for word in text.split(",")]
    try:
        if dtype == np.bool_:
            numbers: list[Any] = [{"true": 1, "false": 0, "1": 1, "0": 0}[w.lower()] for w in words]
        elif dtype.kind in "iu":
            numbers = [int(word, 0) for word in words]
        else:
            numbers = [float(word) for word in words]
        array = np.array(numbers).astype(dtype)
    except (ValueError, KeyError, OverflowError, TypeError):
        raise ImportFailed(f"'{text}' is no value of type {dtype} for input '{name}'") from None
    return array if len(words) > 1 else array.reshape(())


def _outputs(model: Model, scope: Scope) -> dict[str, Value]:
    """The outputs of the graph, by name in order."""
    outputs: dict[str, Value] = {}
    for info in model.graph.output:
        value = scope.values.get(info.name)
        if info.name in outputs:
            raise ImportFailed(f"two outputs of the model are called '{info.name}'")
        if value is None:
            raise ImportFailed(f"output '{info.name}' is not defined by any node")
        if not isinstance(value, Value):
            raise ImportFailed(f"output '{info.name}' is a sequence or optional, not a tensor")
        outputs[info.name] = value
    if not outputs:
        raise ImportFailed("the model has no outputs")
    return outputs
