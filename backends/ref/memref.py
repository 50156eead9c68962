"""How the reference runs `memref`: numpy views of memory.

A buffer at a planned address is a view of one array of bytes per memory, full of 0xA5 at first: two
buffers that wrongly share bytes, or a read of what was never written, show as wrong results.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from xdsl.dialects import memref
from xdsl.dialects.builtin import IntAttr, StridedLayoutAttr

from mxc.backends.ref.interpreter import Machine, Values, runs
from mxc.dialects.types import numpy_dtype

Array = NDArray[Any]

POISON = 0xA5
"""What every byte of memory holds before it is written."""


def poisoned(type: Any) -> Array:
    """A new array for a memref of `type`, full of poison."""
    dtype, shape = numpy_dtype(type.element_type), type.get_shape()
    count = int(np.prod(shape, dtype=np.int64))
    array: Array = np.full(count * dtype.itemsize, POISON, np.uint8).view(dtype)
    return array.reshape(shape)


@runs(memref.AllocOp)
def alloc(machine: Machine, op: memref.AllocOp, args: Values) -> Values:
    """Memory of its own, full of poison."""
    return (poisoned(op.memref.type),)


@runs(memref.ReinterpretCastOp)
def reinterpret_cast(machine: Machine, op: memref.ReinterpretCastOp, args: Values) -> Values:
    """A strided view of a whole buffer."""
    kind: Any = op.result.type
    layout = kind.layout
    offset, strides = 0, kind.get_strides()
    if isinstance(layout, StridedLayoutAttr):
        offset = layout.offset.data if isinstance(layout.offset, IntAttr) else int(args[1])
    flat = args[0].reshape(-1)
    size = flat.itemsize
    if 0 in kind.get_shape():
        return (np.empty(kind.get_shape(), flat.dtype),)
    return (as_strided(flat[offset:], kind.get_shape(), [s * size for s in strides]),)


@runs(memref.CopyOp)
def copy(machine: Machine, op: memref.CopyOp, args: Values) -> Values:
    """All elements, in order: the two do not overlap, or are the same."""
    args[1][...] = args[0]
    return ()


@runs(memref.LoadOp)
def load(machine: Machine, op: memref.LoadOp, args: Values) -> Values:
    """One element; in a loop body, one per point."""
    return (args[0][tuple(args[1:])],)
