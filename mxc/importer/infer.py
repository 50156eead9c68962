"""The types of a node's outputs, through onnx's own inference fed with the known constants."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import checker, numpy_helper, shape_inference

from mxc.dialects.onnx import attributes, schema
from mxc.importer.values import Call, Shape, Value, dtype_of, elem_type_of

Type = tuple["np.dtype[Any] | None", "Shape | None"]
UNKNOWN: Type = (None, None)

MAX_DATA = 4096
"""Constants of more elements are not shown to type inference: no operator's type needs them."""

_INVALID = (shape_inference.InferenceError, checker.ValidationError, RuntimeError, ValueError)

_NEWEST = [onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version())]


def node_proto(call: Call) -> onnx.NodeProto:
    """`call` as a node of the newest opset, with inputs i0, i1, ... and outputs o0, o1, ..."""
    node = onnx.NodeProto(
        op_type=call.op_type,
        input=["" if v is None else f"i{i}" for i, v in enumerate(call.inputs)],
        output=[f"o{i}" if name else "" for i, name in enumerate(call.outputs)],
    )
    known = schema.newest(call.op_type).attributes
    for name, value in call.attrs.items():
        node.attribute.append(attributes.to_proto(name, known[name].type, value))
    return node


def type_proto(value: Value) -> onnx.TypeProto:
    """The ONNX type of `value`, as far as it is known."""
    proto = onnx.TypeProto()
    if value.dtype is not None:
        proto.tensor_type.elem_type = elem_type_of(value.dtype)
    if value.shape is not None:
        proto.tensor_type.shape.SetInParent()
        for dim in value.shape:
            entry = proto.tensor_type.shape.dim.add()
            if dim is not None:
                entry.dim_value = dim
    return proto


def output_types(call: Call) -> list[Type]:
    """The type of each output of `call`, with None for what is not known."""
    types = {f"i{i}": type_proto(v) for i, v in enumerate(call.inputs) if v is not None}
    try:
        found = shape_inference.infer_node_outputs(
            schema.newest(call.op_type), node_proto(call), types, _data(call), None, _NEWEST
        )
    except _INVALID as error:
        raise call.fail(_brief(error), "the model is invalid here") from error
    inferred = [_type_of(found.get(f"o{i}")) for i in range(len(call.outputs))]
    return _with_gaps_filled(call, inferred)


def _data(call: Call) -> dict[str, onnx.TensorProto]:
    return {
        f"i{i}": numpy_helper.from_array(v.const)
        for i, v in enumerate(call.inputs)
        if v is not None
        and v.const is not None
        and v.const.size <= MAX_DATA
        and v.const.ndim <= 1
        and v.const.dtype.kind not in "OUS"
    }


def _type_of(proto: onnx.TypeProto | None) -> Type:
    if proto is None or not proto.HasField("tensor_type"):
        return UNKNOWN
    tensor = proto.tensor_type
    dtype = dtype_of(tensor.elem_type) if tensor.elem_type else None
    if not tensor.HasField("shape"):
        return dtype, None
    dims = tensor.shape.dim
    return dtype, tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)


def _brief(error: Exception) -> str:
    """The reason in an error of onnx's inference, without its prefixes."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text.rpartition("] ")[2] or text


def _same_as_first(call: Call) -> Type:
    value = call.tensor(0)
    return value.dtype, value.shape


def _range(call: Call) -> Type:
    """Range of any number type; onnx knows only f32, f64, i16, i32 and i64."""
    dtype = call.tensor(0).dtype
    bounds = [call.tensor(i).const for i in range(3)]
    if any(bound is None for bound in bounds):
        return dtype, (None,)
    start, limit, delta = (float(bound.reshape(())) for bound in bounds if bound is not None)
    if delta == 0:
        raise call.fail("its step is 0")
    return dtype, (max(0, math.ceil((limit - start) / delta)),)


def _max_unpool(call: Call) -> Type:
    shape = call.tensor(2).const if call.input(2) is not None else None
    dims = None if shape is None else tuple(int(dim) for dim in shape)
    return call.tensor(0).dtype, dims


def _compress(call: Call) -> Type:
    """Compress by a constant condition; what the condition does not reach is dropped."""
    dtype, dims = call.tensor(0).dtype, call.tensor(0).static_shape
    condition = call.tensor(1).const
    if dims is None or condition is None:
        return dtype, None
    if "axis" not in call.attrs:
        return dtype, (int(np.count_nonzero(condition[: math.prod(dims)])),)
    axis = call.attrs["axis"] % len(dims)
    count = int(np.count_nonzero(condition[: dims[axis]]))
    return dtype, (*dims[:axis], count, *dims[axis + 1 :])


def _present(index: int) -> Callable[[Call], Type]:
    """The key or value (input `index`) that an Attention without a past gives back."""

    def rule(call: Call) -> Type:
        value = call.tensor(index)
        dims, heads = value.shape, call.attrs.get("kv_num_heads")
        if dims is None or len(dims) != 3 or not heads:
            return value.dtype, dims
        hidden = dims[2]
        return value.dtype, (dims[0], heads, dims[1], None if hidden is None else hidden // heads)

    return rule


_GAPS: dict[tuple[str, int], Callable[[Call], Type]] = {
    ("Compress", 0): _compress,
    ("Attention", 1): _present(1),
    ("Attention", 2): _present(2),
    ("GroupNormalization", 0): _same_as_first,
    ("MaxUnpool", 0): _max_unpool,
    ("MeanVarianceNormalization", 0): _same_as_first,
    ("Range", 0): _range,
}
"""(operator, output) -> its type, where onnx's inference does not know it."""


def _stft(call: Call, inferred: Type) -> Type:
    """STFT: the inference of onnx forgets that one-sided is the default."""
    dtype, shape = inferred
    window, length = call.input(2), call.input(3)
    bins: int | None = None
    if length is not None and length.const is not None:
        bins = int(length.const.reshape(()))
    elif window is not None and window.shape is not None:
        bins = window.shape[0]
    if shape is None or len(shape) != 4 or bins is None:
        return inferred
    if call.attrs.get("onesided", 1):
        bins = bins // 2 + 1
    return dtype, (shape[0], shape[1], bins, shape[3])


def _resize(call: Call, inferred: Type) -> Type:
    """Resize by scales: sizes times scales in f32, as onnxruntime has it; 10 * 0.7 is 7."""
    dtype, dims = inferred
    source: Shape | None = call.tensor(0).shape
    scales = call.input(2)
    if dims is None or source is None or scales is None or scales.const is None:
        return inferred
    factors = scales.const.astype(np.float32)
    axes: list[int] = list(call.attrs.get("axes", range(len(source))))
    if len(factors) != len(axes):
        return inferred
    sizes = list(dims)
    for axis, factor in zip(axes, factors, strict=True):
        size = source[axis]
        sizes[axis] = None if size is None else int(np.float32(size) * factor)
    return dtype, tuple(sizes)


_CORRECTED: dict[tuple[str, int], Callable[[Call, Type], Type]] = {
    ("Resize", 0): _resize,
    ("STFT", 0): _stft,
}
"""(operator, output) -> its type, where onnx's inference is wrong."""


def _with_gaps_filled(call: Call, types: list[Type]) -> list[Type]:
    """`types` completed by our own rules where onnx's inference says nothing, or is wrong."""
    for i, (dtype, shape) in enumerate(types):
        key = (call.op_type, i)
        if key in _CORRECTED:
            types[i] = _CORRECTED[key](call, types[i])
        if key in _GAPS and (dtype is None or shape is None or None in shape):
            types[i] = _GAPS[key](call)
    return types
