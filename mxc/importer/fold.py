"""Partial evaluation: nodes whose inputs are constant, and small shape vectors known in part."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mxc.dialects.onnx import reference
from mxc.dialects.onnx.schema import IMPURE
from mxc.errors import CannotLower
from mxc.importer.infer import Type
from mxc.importer.values import Array, Call, Value

KEPT = IMPURE | {
    "AveragePool",
    "Conv",
    "ConvTranspose",
    "DeformConv",
    "DequantizeLinear",
    "GridSample",
    "GRU",
    "LpPool",
    "LSTM",
    "MaxPool",
    "RNN",
    "RoiAlign",
}
"""Never evaluated: random operators; dequantised weights, whose codes are worth keeping; operators
whose work the size of the result does not bound."""

MAX_GROWTH = 1 << 20
"""Bytes that a result may have beyond the bytes of its arguments: a ConstantOfShape of 4 GB is
left to the target."""

MAX_WORK = 1 << 31
"""Results of more bytes than this are not computed while importing."""

_DATA_SIZED = frozenset(["Compress", "NonMaxSuppression", "NonZero", "Unique"])
"""The data decide the size of the result, which the size of the arguments bounds."""

_STRINGS = frozenset(
    ["RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"]
)


def evaluate(call: Call, types: list[Type]) -> list[Array | None] | None:
    """The outputs of `call` if all its inputs are constant and evaluation is sensible."""
    if call.op_type in KEPT or any(v is not None and v.const is None for v in call.inputs):
        return None
    args = [None if v is None else v.const for v in call.inputs]
    if not _affordable(call, types, args):
        return None
    wanted: list[np.dtype[Any] | None] = []
    for name, (dtype, _) in zip(call.outputs, types, strict=True):
        wanted.append((dtype or np.dtype(object)) if name else None)
    try:
        return reference.run(call.op_type, call.attrs, args, wanted)
    except CannotLower as error:
        raise call.fail(error.message, "the model is invalid here") from error


def _affordable(call: Call, types: list[Type], args: list[Array | None]) -> bool:
    if call.op_type in _DATA_SIZED or call.op_type in _STRINGS:
        return True
    size = 0
    for dtype, shape in types:
        if dtype is None or shape is None or None in shape:
            return False
        size += math.prod(d for d in shape if d is not None) * dtype.itemsize
    have = sum(arg.nbytes for arg in args if arg is not None)
    return size <= min(MAX_WORK, MAX_GROWTH + have)


_MOVES = frozenset(
    [
        "Cast",
        "Concat",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    ]
)
"""Operators through which elements travel unchanged: known elements stay known."""

MAX_KNOWN = 1024


def propagate(call: Call, types: list[Type]) -> Array | None:
    """The elements of output 0 that are known although the node is not constant."""
    if call.op_type == "Shape":
        return _known_shape(call)
    if call.op_type not in _MOVES:
        return None
    data = call.inputs if call.op_type == "Concat" else call.inputs[:1]
    if not any(v is not None and (v.known is not None or v.const is not None) for v in data):
        return None
    dtype, shape = types[0]
    if dtype is None or dtype.kind != "i" or shape is None or None in shape or len(shape) > 1:
        return None
    if any(v is None or v.const is None for v in call.inputs[len(data) :]):
        return None
    return _moved(call, types, data)


def _known_shape(call: Call) -> Array | None:
    shape = call.tensor(0).shape
    if shape is None:
        return None
    known = np.array(shape, object)[call.attrs.get("start", 0) : call.attrs.get("end", len(shape))]
    return known


def _moved(call: Call, types: list[Type], data: list[Any]) -> Array | None:
    """Moves the elements, and beside them the flags that say which are known."""
    values, flags = list(call.inputs), list(call.inputs)
    for i, value in enumerate(data):
        if value.const is None and value.known is None:
            if value.static_shape is None or math.prod(value.static_shape) > MAX_KNOWN:
                return None
            values[i] = flags[i] = np.zeros(value.static_shape, np.int64)
        elif value.const is not None:
            values[i], flags[i] = value.const, np.ones(value.const.shape, np.int64)
        else:
            flags[i] = (value.known != None).astype(np.int64)  # noqa: E711  (elementwise)
            values[i] = np.where(flags[i], value.known, 0).astype(np.int64)
    moved = _run(call, values)
    mask = _run(call, flags)
    known = moved.astype(object)
    known[mask == 0] = None
    return known


def _run(call: Call, values: list[Any]) -> Array:
    args = [v.const if isinstance(v, Value) else v for v in values]
    attrs = {} if call.op_type == "Cast" else call.attrs
    op_type = "Identity" if call.op_type == "Cast" else call.op_type
    result = reference.run(op_type, attrs, args, [np.dtype(np.int64)])[0]
    assert result is not None
    return result
