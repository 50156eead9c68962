"""ONNX attribute values as attributes of the IR, and back.

| ONNX     | Python           | IR                                      |
|----------|------------------|-----------------------------------------|
| INT      | int              | `IntegerAttr`, `3 : i64`                |
| FLOAT    | float            | `FloatAttr`, `0.5 : f32`                |
| STRING   | str              | `StringAttr`                            |
| INTS     | list[int]        | `DenseArrayBase`, `array<i64: 1, 2>`    |
| FLOATS   | list[float]      | `ArrayAttr` of `FloatAttr` (1)          |
| STRINGS  | list[str]        | `ArrayAttr` of `StringAttr`             |
| TENSOR   | ndarray (small)  | `DenseIntOrFPElementsAttr`              |

(1) xDSL prints infinities in dense arrays in a form that it does not parse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, helper, numpy_helper
from onnx.defs import OpSchema
from xdsl.dialects.builtin import (
    ArrayAttr,
    BytesAttr,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    f32,
    i64,
)
from xdsl.ir import Attribute
from xdsl.irdl import AnyAttr, AttrConstraint, BaseAttr

from mxc.dialects.types import numpy_dtype, tensor_type

Kind = OpSchema.AttrType


def _dense(value: Any) -> Attribute:
    array = np.ascontiguousarray(value)
    return DenseIntOrFPElementsAttr(tensor_type(array), BytesAttr(array.tobytes()))  # pyright: ignore


_TO_IR: dict[Any, Callable[[Any], Attribute]] = {
    Kind.INT: lambda value: IntegerAttr(int(value), i64),
    Kind.FLOAT: lambda value: FloatAttr(float(np.float32(value)), f32),
    Kind.STRING: lambda value: StringAttr(str(value)),
    Kind.INTS: lambda value: DenseArrayBase.from_list(i64, [int(v) for v in value]),
    Kind.FLOATS: lambda value: ArrayAttr([FloatAttr(float(v), f32) for v in value]),
    Kind.STRINGS: lambda value: ArrayAttr([StringAttr(str(v)) for v in value]),
    Kind.TENSOR: _dense,
}

_CONSTRAINTS: dict[Any, AttrConstraint] = {
    Kind.INT: IntegerAttr.constr(i64),
    Kind.FLOAT: FloatAttr.constr(f32),
    Kind.STRING: BaseAttr(StringAttr),
    Kind.INTS: DenseArrayBase.constr(i64),
    Kind.FLOATS: ArrayAttr.constr(FloatAttr.constr(f32)),
    Kind.STRINGS: ArrayAttr.constr(BaseAttr(StringAttr)),
    Kind.TENSOR: BaseAttr(DenseIntOrFPElementsAttr),
}


def constraint(kind: Any) -> AttrConstraint:
    """What an attribute of the schema type `kind` may be in the IR."""
    return _CONSTRAINTS.get(kind, AnyAttr())


def to_ir(kind: Any, value: Any) -> Attribute:
    """The Python `value` of an ONNX attribute of type `kind`, as an attribute of the IR."""
    if isinstance(value, Attribute):
        return value
    return _TO_IR[kind](value)


def to_python(attribute: Attribute) -> Any:
    """The inverse of `to_ir`; attributes of other kinds are given back unchanged."""
    match attribute:
        case IntegerAttr():
            return attribute.value.data
        case FloatAttr():
            return attribute.value.data
        case StringAttr():
            return attribute.data
        case DenseArrayBase():
            return list(cast("DenseArrayBase[IntegerType]", attribute).get_values())
        case ArrayAttr():
            return [to_python(element) for element in attribute]
        case DenseIntOrFPElementsAttr():
            dtype = numpy_dtype(attribute.get_element_type())
            return np.frombuffer(attribute.data.data, dtype).reshape(attribute.get_shape())
        case _:
            return attribute


def proto_value(attribute: AttributeProto) -> Any:
    """The Python value of an attribute of a NodeProto; graphs stay protos."""
    value = helper.get_attribute_value(attribute)
    if attribute.type == AttributeProto.STRING:
        return value.decode("utf-8", "replace")
    if attribute.type == AttributeProto.STRINGS:
        return [v.decode("utf-8", "replace") for v in value]
    if attribute.type == AttributeProto.TENSOR:
        return numpy_helper.to_array(value)
    if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS):
        return list(value)
    return value


_PROTO_TYPES: dict[Any, Any] = {kind: getattr(AttributeProto, kind.name) for kind in _CONSTRAINTS}


def to_proto(name: str, kind: Any, value: Any) -> AttributeProto:
    """The AttributeProto of the Python `value` of an attribute of type `kind`."""
    if isinstance(value, np.ndarray):
        value = numpy_helper.from_array(cast("NDArray[Any]", value))
    return helper.make_attribute(name, value, attr_type=_PROTO_TYPES.get(kind))
