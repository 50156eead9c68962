"""Operators the importer resolves itself: constants, shapes, identities, casts like another."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mxc.importer.values import Call, Item, Value, elem_type_of

Handler = Callable[[Any, Call], "list[Item | None] | None"]
"""Takes the tracer and the call; gives the outputs, or None to go on as with any operator."""

_CONSTANT_DTYPES: dict[str, Any] = {
    "value": None,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_string": object,
    "value_strings": object,
}


def constant(tracer: Any, call: Call) -> list[Item | None]:
    """Constant: one of its attributes is the value."""
    if len(call.attrs) != 1:
        raise call.fail("it must have exactly one value")
    [(name, value)] = call.attrs.items()
    if name not in _CONSTANT_DTYPES:
        raise call.fail(f"{name} is not supported", "store the constant densely")
    return [tracer.constant(np.asarray(value, _CONSTANT_DTYPES[name]))]


def identity(tracer: Any, call: Call) -> list[Item | None]:
    """Identity: the same value, sequences and optionals too."""
    return [call.inputs[0]]


def shape(tracer: Any, call: Call) -> list[Item | None] | None:
    """Shape of a tensor whose shape is known."""
    known = call.tensor(0).static_shape
    if known is None:
        return None
    part = known[call.attrs.get("start", 0) : call.attrs.get("end", len(known))]
    return [tracer.constant(np.array(part, np.int64))]


def size(tracer: Any, call: Call) -> list[Item | None] | None:
    """Size of a tensor whose shape is known."""
    known = call.tensor(0).static_shape
    return None if known is None else [tracer.constant(np.array(math.prod(known), np.int64))]


def dropout(tracer: Any, call: Call) -> list[Item | None]:
    """Dropout at inference: the data, and a mask of ones. In training, see `_seeded_dropout`."""
    training = call.constant(2, "training_mode")
    if training is not None and bool(training):
        given = call.constant(1, "the ratio")
        ratio = 0.5 if given is None else float(given)
        if ratio != 0:
            return _seeded_dropout(tracer, call, ratio)
    if len(call.outputs) == 1 or not call.outputs[1]:
        return [call.inputs[0]]
    shape = np.array(call.static(0), np.int64)
    return [call.inputs[0], tracer.op1(call, "Expand", [np.array(True), shape])]


def _seeded_dropout(tracer: Any, call: Call, ratio: float) -> list[Item | None]:
    """With a seed the mask is a constant: the numbers that numpy draws for it, as in onnx's tests.

    Every run uses the same mask. Without a seed the result is random, which is refused.
    """
    if "seed" not in call.attrs or not 0 < ratio < 1:
        raise call.fail("Dropout in training mode is random", "export the model in inference mode")
    draw = np.random.RandomState(call.attrs["seed"]).uniform(0, 1.0, call.static(0))
    mask = draw >= ratio
    factors = (mask / (1.0 - ratio)).astype(call.tensor(0).dtype)
    return [tracer.op1(call, "Mul", [call.inputs[0], factors]), tracer.constant(mask)]


def cast_like(tracer: Any, call: Call) -> list[Item | None]:
    """CastLike: a Cast to the type of input 1."""
    dtype = call.tensor(1).dtype
    if dtype is None:
        raise call.fail("the type of input 1 is not known")
    attrs = call.attrs | {"to": elem_type_of(dtype)}
    return tracer.op(call, "Cast", call.inputs[:1], attrs)


def reshape(tracer: Any, call: Call) -> list[Item | None] | None:
    """Reshape to a shape known in part: one unknown dimension follows from the others."""
    data, target = call.tensor(0), call.tensor(1)
    if target.known is None or data.static_shape is None or call.attrs.get("allowzero", 0):
        return None
    dims = list(target.known)
    for i, dim in enumerate(dims):
        if dim == 0 and i < len(data.static_shape):
            dims[i] = data.static_shape[i]
    if sum(dim is None or dim == -1 for dim in dims) > 1:
        return None
    target = np.array([-1 if dim is None else dim for dim in dims], np.int64)
    return tracer.op(call, "Reshape", [data, target])


def concat(tracer: Any, call: Call) -> list[Item | None] | None:
    """Concat: empty parts are left out; a single part is the result."""
    parts = [v for v in call.inputs if not (isinstance(v, Value) and _is_empty(v))]
    if not parts:
        return None
    axis = call.attrs["axis"]
    empties = [v for v in call.inputs if isinstance(v, Value) and _is_empty(v)]
    for part in empties:  # only emptiness along the axis makes a part vanish
        assert part.static_shape is not None
        rank = len(part.static_shape)
        if not -rank <= axis < rank or part.static_shape[axis] != 0:
            return None
    if len(parts) == 1 and len(call.inputs) > 1:
        return [parts[0]]
    call.inputs = parts
    return None


def range_(tracer: Any, call: Call) -> list[Item | None] | None:
    """Range: vectors of one element are taken for scalars, as onnx's own functions do."""
    for i, value in enumerate(call.inputs):
        if isinstance(value, Value) and value.const is not None and value.const.ndim == 1:
            if value.const.size != 1:
                raise call.fail("its bounds are not scalars")
            call.inputs[i] = tracer.constant(value.const.reshape(()))
    return None


def recurrent(tracer: Any, call: Call) -> list[Item | None] | None:
    """RNN, GRU, LSTM: the size of the state, if it is not stated, is that of the weights."""
    shape = call.tensor(2).static_shape
    if shape and "hidden_size" not in call.attrs:
        call.attrs["hidden_size"] = shape[-1]
    return None


def _is_empty(value: Value) -> bool:
    return value.static_shape is not None and 0 in value.static_shape


HANDLERS: dict[str, Handler] = {
    "CastLike": cast_like,
    "Concat": concat,
    "Constant": constant,
    "Dropout": dropout,
    "GRU": recurrent,
    "Identity": identity,
    "LSTM": recurrent,
    "RNN": recurrent,
    "Range": range_,
    "Reshape": reshape,
    "Shape": shape,
    "Size": size,
}
