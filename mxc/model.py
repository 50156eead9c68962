"""A model inside the compiler: imported, interpreted at any level, known by its ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation
from xdsl.utils.hints import isa

from mxc.inputs import Array, Port
from mxc.options import Options


@dataclass
class Model:
    """A model somewhere in the pipeline: the module and what surrounds it."""

    name: str
    ctx: Context
    module: ModuleOp
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    """The interface, in the types of the ONNX model, whatever the level of the module."""

    bound: Mapping[str, Array] = field(default_factory=dict[str, Array])
    """Inputs of the ONNX model that have become constants, and their values."""


@cache
def supported_operators() -> tuple[str, ...]:
    """The ONNX operators that passes know; of others the importer needs a function body."""
    from mxc.passes.decompose import RULES
    from mxc.passes.lowering import load_rules

    return tuple(sorted({*RULES, *load_rules()}))


def import_model(path: Path, options: Options) -> Model:
    """Reads the ONNX model at `path`.

    Raises:
        ImportFailed, BadInput: see `mxc.importer.import_model`.
    """
    from mxc import importer

    imported = importer.import_model(
        path,
        dims=options.dims,
        values=options.values,
        input_shapes=options.input_shapes,
        has_lowering=supported_operators().__contains__,
    )
    return model_of(imported.name, imported.ctx, imported.module, options, imported.bound)


def model_of(
    name: str,
    ctx: Context,
    module: ModuleOp,
    options: Options,
    bound: Mapping[str, Array] | None = None,
) -> Model:
    """The model of a module that has just been made, with its interface noted in it."""
    module.verify()
    inputs, outputs = ports(module)
    _keep_interface(module, options)
    return Model(name, ctx, module, inputs, outputs, bound or {})


def _keep_interface(module: ModuleOp, options: Options) -> None:
    """Notes in the module what lowering would lose: the types of its interface, and the target."""
    kind = main_function(module).function_type
    for key, types in (("mxc.input_types", kind.inputs), ("mxc.output_types", kind.outputs)):
        tensors = [kind for kind in types if isa(kind, TensorType)]
        module.attributes[key] = ArrayAttr([tensor.element_type for tensor in tensors])
    module.attributes["mxc.target"] = StringAttr(options.target)


def main_function(module: ModuleOp) -> FuncOp:
    """The function `main` of `module`."""
    return next(op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data == "main")


def ports(module: ModuleOp) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The inputs and outputs of `main`, named as the module's attributes say."""
    kind = main_function(module).function_type
    return (
        _ports(module, "mxc.input_names", kind.inputs.data),
        _ports(module, "mxc.output_names", kind.outputs.data),
    )


def _ports(module: ModuleOp, key: str, types: Sequence[Any]) -> tuple[Port, ...]:
    from mxc.dialects.types import numpy_dtype

    names = module.attributes[key]
    assert isa(names, ArrayAttr[StringAttr])
    texts = [name.data for name in names.data]
    return tuple(
        Port(name, numpy_dtype(kind.element_type), kind.get_shape())
        for name, kind in zip(texts, types, strict=True)
    )


def interpret(
    model: Model,
    inputs: Sequence[Array],
    watch: Callable[[Operation, Sequence[Any]], None] | None = None,
) -> tuple[Array, ...]:
    """The outputs of `model`, at whatever level it is, by the interpreter.

    `watch` sees every operation of the function and its results.
    """
    from mxc.backends import ref

    outputs = ref.run(model.module, model.ctx, inputs, watch)
    return tuple(as_port(port, array) for port, array in zip(model.outputs, outputs, strict=True))


def as_port(port: Port, array: Array) -> Array:
    """`array`, the same bits, in the type and shape of `port`: `ui8` is `i8` further down."""
    return array.view(port.dtype).reshape(port.shape)


def in_ports(ports: Sequence[Port], arrays: Sequence[Array]) -> tuple[Array, ...]:
    """`arrays`, the same bits, in the types and shapes of `ports`; see `as_port`."""
    return tuple(as_port(port, array) for port, array in zip(ports, arrays, strict=True))
