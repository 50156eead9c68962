"""The reference: runs a module of any level on numpy arrays. It is the bit-exact definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import MemRefType, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import BlockArgument, Operation

from mxc.backends.ref import loops, memref, mx, npu, onnx, scalar, tensor
from mxc.backends.ref.interpreter import Machine, Values, runs
from mxc.constants import ConstantTable
from mxc.dialects.types import as_signless, numpy_dtype
from mxc.errors import BadInput
from mxc.passes.expand_math import ExpandMathPass
from mxc.passes.math import EXPANSIONS

__all__ = ["Machine", "run", "runs"]
_TABLES = (loops, memref, mx, npu, onnx, scalar, tensor)


def run(
    module: ModuleOp,
    ctx: Context,
    inputs: Sequence[NDArray[Any]],
    watch: Callable[[Operation, Values], None] | None = None,
) -> tuple[NDArray[Any], ...]:
    """Calls `main` of `module` with `inputs`, in the order of its arguments.

    Arrays have the dtypes of the graph level at any level: where the module has a signless type,
    `uint8` arrays are reinterpreted on the way in, and results are as the module declares them.
    At the machine level the function's last arguments are the buffers of its results.
    `watch(op, results)` sees every operation of the function's body.

    Raises:
        BadInput: if an array does not fit its argument's type.
        CannotLower: on an operation the interpreter has no rule for.
    """
    module = _expanded(module, ctx)
    function = next(op for op in module.ops if isinstance(op, FuncOp))
    parameters = function.body.block.args
    outputs = [memref.poisoned(p.type) for p in _output_buffers(function, len(inputs))]
    args = [
        _fit(np.asarray(array), arg.type, i)
        for i, (array, arg) in enumerate(
            zip(inputs, parameters[: len(parameters) - len(outputs)], strict=True)
        )
    ]
    with np.errstate(all="ignore"):
        results = Machine(module, ConstantTable.of(ctx), watch).call([*args, *outputs])
    return tuple(outputs) if outputs else results


def _output_buffers(function: FuncOp, inputs: int) -> Sequence[BlockArgument]:
    """The arguments of the machine level that results are written to, after the inputs."""
    arguments = function.body.block.args
    at_machine_level = any(isinstance(argument.type, MemRefType) for argument in arguments)
    return arguments[inputs:] if at_machine_level else ()


def _expanded(module: ModuleOp, ctx: Context) -> ModuleOp:
    """`module`, or a copy in which `math.exp` and the like are expanded, to have values."""
    if not any(op.name in EXPANSIONS for op in module.walk()):
        return module
    copy = module.clone()
    ExpandMathPass().apply(ctx, copy)
    return copy


def _fit(array: NDArray[Any], type: Any, index: int) -> NDArray[Any]:
    dtype, shape = numpy_dtype(type.element_type), type.get_shape()
    if array.dtype != dtype:
        array = as_signless(array)
    if array.dtype != dtype or array.shape != shape:
        raise BadInput(
            f"input {index} is {array.dtype}{list(array.shape)}, not {dtype}{list(shape)}"
        )
    return array
