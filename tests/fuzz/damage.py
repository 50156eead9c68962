"""Damaged model files: bytes changed, and fields of an otherwise valid model changed."""

from __future__ import annotations

import random
from collections.abc import Callable

from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

ODD = (-(2**63), -(2**31) - 1, -129, -7, -2, -1, 0, 1, 2, 3, 9, 257, 2**31, 2**62, 2**63 - 1)
"""Integers that programs do not expect."""

Change = Callable[[ModelProto, random.Random], object]


def _node(model: ModelProto, rng: random.Random) -> NodeProto:
    return rng.choice(model.graph.node)


def _attribute(model: ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if not node.attribute:
        return
    attribute = rng.choice(node.attribute)
    match attribute.type:
        case AttributeProto.INT:
            attribute.i = rng.choice(ODD)
        case AttributeProto.INTS:
            values = list(attribute.ints)
            del attribute.ints[:]
            if values and rng.random() < 0.7:
                values[rng.randrange(len(values))] = rng.choice(ODD)
            else:
                values = values * 2 if rng.random() < 0.5 else values[1:]
            attribute.ints.extend(values)
        case AttributeProto.FLOAT:
            attribute.f = rng.choice([float("nan"), float("inf"), -1.0, 0.0, 1e30])
        case AttributeProto.STRING:
            attribute.s = rng.choice([b"", b"\xff\xfe", b"linear", b"SAME_UPPER", b"none"])
        case _:
            attribute.type = rng.choice([AttributeProto.INT, AttributeProto.STRING])


def _drop_attribute(model: ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if node.attribute:
        del node.attribute[rng.randrange(len(node.attribute))]


def _operator(model: ModelProto, rng: random.Random) -> None:
    _node(model, rng).op_type = _node(model, rng).op_type


def _inputs(model: ModelProto, rng: random.Random) -> None:
    node, other = _node(model, rng), _node(model, rng)
    names = [*other.input, *other.output, "", "nowhere"]
    if node.input and rng.random() < 0.7:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif rng.random() < 0.5:
        node.input.append(rng.choice(names))
    elif node.input:
        del node.input[-1]


def _dimension(model: ModelProto, rng: random.Random) -> None:
    dims = rng.choice(model.graph.input).type.tensor_type.shape.dim
    if dims and rng.random() < 0.8:
        rng.choice(dims).dim_value = rng.choice(ODD)
    else:
        dims.add().dim_value = rng.choice([1, 2, 3])


def _type(model: ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.input).type.tensor_type.elem_type = rng.randrange(30)


def _tensor(model: ModelProto, rng: random.Random) -> None:
    if not model.graph.initializer:
        return
    tensor: TensorProto = rng.choice(model.graph.initializer)
    kind = rng.randrange(3)
    if kind == 0:
        tensor.data_type = rng.randrange(30)
    elif kind == 1 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(ODD)
    else:
        raw = bytearray(tensor.raw_data)
        for _ in range(min(len(raw), 3)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        tensor.raw_data = bytes(raw)


def _opset(model: ModelProto, rng: random.Random) -> None:
    model.opset_import[0].version = rng.choice([-1, 0, 1, 6, *range(7, 29), 99])


CHANGES: list[Change] = [
    _attribute, _attribute, _attribute, _drop_attribute, _operator, _inputs, _inputs, _dimension,
    _type, _tensor, _tensor, _opset,
]  # fmt: skip


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A model with one to three of its fields changed; it may still be valid."""
    model = ModelProto.FromString(data)
    for _ in range(rng.randint(1, 3)):
        rng.choice(CHANGES)(model, rng)
    return model.SerializeToString()
