"""Input dimensions that the model itself fixes, though it declares them open.

An input `x: [n, k]` that is multiplied by a weight of 64 rows has k = 64. Only nodes that read an
input directly, or through operators that keep its shape, are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from mxc.importer.load import DEFAULT_DOMAINS
from mxc.importer.pins import dim_keys

_KEEP_SHAPE = frozenset(
    [
        "Abs",
        "Cast",
        "Clip",
        "DequantizeLinear",
        "Dropout",
        "Identity",
        "Neg",
        "QuantizeLinear",
        "Relu",
        "Sigmoid",
        "Tanh",
    ]
)
_MAX_TARGET = 16

Fixed = Iterator[tuple[int, int]]
"""(axis, size) pairs."""


def sizes_fixed_by(graph: GraphProto) -> dict[str, int]:
    """Dimension (its first name in `dim_keys`) -> the size that the nodes reading it require."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    inputs = {value.name: value for value in graph.input if value.name not in weights}
    source = {name: name for name in inputs}
    sizes: dict[str, int] = {}
    for node in graph.node:
        if node.domain not in DEFAULT_DOMAINS:
            continue
        if node.op_type in _KEEP_SHAPE and len(node.output) and node.input[:1]:
            source.setdefault(node.output[0], source.get(node.input[0], ""))
        for position, name in enumerate(node.input):
            value = inputs.get(source.get(name, ""))
            if value is not None:
                _collect(sizes, value, _fixed(node, position, value, weights))
    return sizes


def _collect(sizes: dict[str, int], value: ValueInfoProto, fixed: Fixed) -> None:
    keys = dim_keys(value)
    for axis, size in fixed:
        if -len(keys) <= axis < len(keys) and size > 0:
            dim = value.type.tensor_type.shape.dim[axis]
            if not dim.HasField("dim_value"):
                sizes.setdefault(keys[axis][0], size)


def _fixed(
    node: NodeProto, position: int, value: ValueInfoProto, weights: dict[str, TensorProto]
) -> Fixed:
    rule = _RULES.get(node.op_type)
    if rule is not None and value.type.tensor_type.HasField("shape"):
        yield from rule(node, position, value, weights)


def _dims(node: NodeProto, position: int, weights: dict[str, TensorProto]) -> list[int]:
    """The shape of the weight at input `position`, empty if it is none."""
    tensor = weights.get(node.input[position]) if position < len(node.input) else None
    return [] if tensor is None else list(tensor.dims)


def _attr(node: NodeProto, name: str, default: int) -> int:
    return next((a.i for a in node.attribute if a.name == name), default)


def _matmul(node: NodeProto, position: int, value: ValueInfoProto, weights: Any) -> Fixed:
    other = _dims(node, 1 - position, weights)
    if len(other) >= 2:
        yield (-1, other[-2]) if position == 0 else (-2, other[-1])


def _gemm(node: NodeProto, position: int, value: ValueInfoProto, weights: Any) -> Fixed:
    other = _dims(node, 1 - position, weights) if position < 2 else []
    if len(other) != 2:
        return
    transposed = [_attr(node, "transA", 0), _attr(node, "transB", 0)]
    inner = other[1 if bool(transposed[1 - position]) == (position == 0) else 0]
    yield (0 if bool(transposed[position]) == (position == 0) else 1), inner


def _conv(node: NodeProto, position: int, value: ValueInfoProto, weights: Any) -> Fixed:
    weight = _dims(node, 1, weights)
    if position == 0 and len(weight) >= 3:
        groups = _attr(node, "group", 1)
        yield 1, weight[0] if node.op_type == "ConvTranspose" else weight[1] * groups


def _recurrent(node: NodeProto, position: int, value: ValueInfoProto, weights: Any) -> Fixed:
    taken, recurrence = _dims(node, 1, weights), _dims(node, 2, weights)
    if position == 0 and len(taken) == 3:
        yield 2, taken[2]
    if position in (5, 6) and len(recurrence) == 3:
        yield 2, recurrence[2]
        yield (1 if _attr(node, "layout", 0) else 0), recurrence[0]


def _per_channel(node: NodeProto, position: int, value: ValueInfoProto, weights: Any) -> Fixed:
    scale = _dims(node, 1, weights)
    if position == 0 and len(scale) == 1:
        yield 1, scale[0]


def _reshape(node: NodeProto, position: int, value: ValueInfoProto, weights: Any) -> Fixed:
    """A target without -1 fixes the number of elements."""
    target = weights.get(node.input[1]) if position == 0 and len(node.input) > 1 else None
    if target is None or target.data_type != TensorProto.INT64 or not _is_small(target):
        return
    sizes = [int(size) for size in numpy_helper.to_array(target).reshape(-1)]
    dims = value.type.tensor_type.shape.dim
    open_axes = [i for i, dim in enumerate(dims) if not dim.HasField("dim_value")]
    rest = math.prod(dim.dim_value for dim in dims if dim.HasField("dim_value"))
    if len(open_axes) == 1 and min(sizes, default=0) > 0 and rest > 0:
        yield open_axes[0], math.prod(sizes) // rest


def _is_small(tensor: TensorProto) -> bool:
    if len(tensor.dims) != 1 or tensor.data_location == TensorProto.EXTERNAL:
        return False
    return tensor.dims[0] in (len(tensor.int64_data), len(tensor.raw_data) / 8) and (
        tensor.dims[0] <= _MAX_TARGET
    )


_RULES: dict[str, Callable[[NodeProto, int, ValueInfoProto, Any], Fixed]] = {
    "BatchNormalization": _per_channel,
    "Conv": _conv,
    "ConvTranspose": _conv,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "InstanceNormalization": _per_channel,
    "LSTM": _recurrent,
    "MatMul": _matmul,
    "RNN": _recurrent,
    "Reshape": _reshape,
}
