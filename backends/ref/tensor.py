"""How the reference runs `tensor` and `scf`."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects import scf, tensor

from mxc.backends.ref.interpreter import Machine, Values, runs
from mxc.dialects.types import numpy_dtype

DYNAMIC = -(2**63)


@runs(tensor.EmptyOp)
def empty(machine: Machine, op: tensor.EmptyOp, args: Values) -> Values:
    """An array with recognisable garbage, 0xA5, so that a read of it shows."""
    kind: Any = op.tensor.type
    dtype = numpy_dtype(kind.element_type)
    shape: tuple[int, ...] = kind.get_shape()
    if dtype == np.bool_:
        return (np.ones(shape, bool),)
    raw = np.full((*shape, dtype.itemsize), 0xA5, np.uint8)
    return (raw.view(dtype).reshape(shape),)


@runs(tensor.CollapseShapeOp, tensor.ExpandShapeOp)
def reshape(machine: Machine, op: tensor.CollapseShapeOp, args: Values) -> Values:
    """The same elements under the result's shape."""
    return (args[0].reshape(op.result.type.get_shape()),)


def _window(op: Any, rank: int, dynamic: Values) -> tuple[slice, ...]:
    """The slices that an extract_slice or insert_slice takes; dynamic values fill the gaps."""
    values = iter(dynamic)

    def fill(static: Any) -> list[int]:
        return [int(next(values)) if v == DYNAMIC else v for v in static.get_values()]

    offsets, sizes, steps = map(fill, (op.static_offsets, op.static_sizes, op.static_strides))
    return tuple(
        slice(o, o + (n - 1) * s + 1 if n else o, s)
        for o, n, s in zip(offsets, sizes, steps, strict=True)
    )


@runs(tensor.ExtractSliceOp)
def extract_slice(machine: Machine, op: tensor.ExtractSliceOp, args: Values) -> Values:
    """A copy of the window."""
    source = args[0]
    window = source[_window(op, source.ndim, args[1:])]
    return (window.reshape(op.result.type.get_shape()).copy(),)


@runs(tensor.InsertSliceOp)
def insert_slice(machine: Machine, op: tensor.InsertSliceOp, args: Values) -> Values:
    """A copy of the destination with the window replaced."""
    source, result = args[0], args[1].copy()
    window = _window(op, result.ndim, args[2:])
    result[window] = source.reshape(result[window].shape)
    return (result,)


@runs(tensor.ExtractOp)
def extract(machine: Machine, op: tensor.ExtractOp, args: Values) -> Values:
    """One element."""
    return (args[0][tuple(args[1:])],)


@runs(scf.ForOp)
def for_loop(machine: Machine, op: scf.ForOp, args: Values) -> Values:
    """The body from lower to upper bound, carrying the iteration arguments."""
    lower, upper, step, *carried = args
    for i in range(int(lower), int(upper), int(step)):
        carried = machine.run_block(op.body.block, [np.asarray(i, np.int64), *carried])
    return carried


@runs(scf.IfOp)
def if_else(machine: Machine, op: scf.IfOp, args: Values) -> Values:
    """One of the two regions."""
    region = op.true_region if bool(args[0]) else op.false_region
    return machine.run_block(region.block, []) if region.blocks else []
