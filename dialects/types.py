"""Element types of the IR and the numpy dtypes that hold them."""

from __future__ import annotations

from typing import Any, cast

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    AnyFloat,
    BFloat16Type,
    Float4E2M1FNType,
    Float6E2M3FNType,
    Float6E3M2FNType,
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E5M2FNUZType,
    Float8E5M2Type,
    Float8E8M0FNUType,
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
    MemRefType,
    Signedness,
    TensorType,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.hints import isa

from mxc.errors import CannotLower

_FLOATS: list[tuple[Attribute, Any]] = [
    (Float64Type(), np.float64),
    (Float32Type(), np.float32),
    (Float16Type(), np.float16),
    (BFloat16Type(), ml_dtypes.bfloat16),
    (Float8E4M3FNType(), ml_dtypes.float8_e4m3fn),
    (Float8E4M3FNUZType(), ml_dtypes.float8_e4m3fnuz),
    (Float8E5M2Type(), ml_dtypes.float8_e5m2),
    (Float8E5M2FNUZType(), ml_dtypes.float8_e5m2fnuz),
    (Float8E8M0FNUType(), ml_dtypes.float8_e8m0fnu),
    (Float6E2M3FNType(), ml_dtypes.float6_e2m3fn),
    (Float6E3M2FNType(), ml_dtypes.float6_e3m2fn),
    (Float4E2M1FNType(), ml_dtypes.float4_e2m1fn),
]
_SMALL_INTS: list[tuple[Attribute, Any]] = [
    (IntegerType(4), ml_dtypes.int4),
    (IntegerType(4, Signedness.UNSIGNED), ml_dtypes.uint4),
    (IntegerType(2), ml_dtypes.int2),
    (IntegerType(2, Signedness.UNSIGNED), ml_dtypes.uint2),
    (IntegerType(1), np.bool_),
    (IndexType(), np.int64),
]
_INTS: list[tuple[Attribute, Any]] = [
    (IntegerType(bits, sign), np.dtype(f"{letter}{bits // 8}"))
    for bits in (8, 16, 32, 64)
    for sign, letter in ((Signedness.SIGNLESS, "i"), (Signedness.UNSIGNED, "u"))
]
_PAIRS = [(kind, np.dtype(dtype)) for kind, dtype in [*_FLOATS, *_SMALL_INTS, *_INTS]]
_TO_NUMPY: dict[Attribute, np.dtype[Any]] = dict(_PAIRS)
_TO_TYPE: dict[np.dtype[Any], Attribute] = {
    dtype: kind for kind, dtype in reversed(_PAIRS) if not isinstance(kind, IndexType)
}


def numpy_dtype(element: Attribute) -> np.dtype[Any]:
    """The dtype of arrays whose elements have the IR type `element`; `i1` is bool.

    Raises:
        CannotLower: if no numpy dtype holds the type.
    """
    try:
        return _TO_NUMPY[element]
    except KeyError:
        raise CannotLower(f"element type {element} has no numpy dtype") from None


def element_type(dtype: Any) -> Attribute:
    """The IR type of the elements of arrays of `dtype`: signed integers are signless in the IR.

    Raises:
        CannotLower: if the IR has no such type (strings, objects, complex numbers).
    """
    try:
        return _TO_TYPE[np.dtype(dtype)]
    except KeyError:
        raise CannotLower(f"arrays of dtype {dtype} have no IR type") from None


def tensor_type(array: NDArray[Any]) -> TensorType[Attribute]:
    """The tensor type of `array`."""
    return TensorType(element_type(array.dtype), array.shape)


def is_unsigned(element: Attribute) -> bool:
    """Whether `element` is `ui8`, `ui16`, ...: a graph-level unsigned integer."""
    if not isinstance(element, IntegerType):
        return False
    return cast(IntegerType, element).signedness.data == Signedness.UNSIGNED


def signless(element: Attribute) -> Attribute:
    """`element` as the loops level has it: unsigned integers lose their sign, `ui8` -> `i8`."""
    if not isinstance(element, IntegerType):
        return element
    return IntegerType(cast(IntegerType, element).width.data)


def integer_width(element: Attribute) -> int:
    """The width in bits of an integer type."""
    assert isinstance(element, IntegerType), element
    return cast(IntegerType, element).width.data


def numeric_bits(element: Attribute) -> int:
    """The width in bits of an integer or float type."""
    if isinstance(element, IntegerType):
        return integer_width(cast(IntegerType, element))
    return cast(AnyFloat, element).bitwidth


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """The static shape of a tensor or memref; the importer admits no other shapes."""
    assert isa(value.type, TensorType) or isa(value.type, MemRefType), value.type
    return value.type.get_shape()


def element_of(value: SSAValue) -> Attribute:
    """The element type of a tensor or memref."""
    assert isa(value.type, TensorType) or isa(value.type, MemRefType), value.type
    return value.type.element_type


def as_signless(array: NDArray[Any]) -> NDArray[Any]:
    """The bits of an unsigned array as the loops level holds them: uint8 as int8, uint4 as int4."""
    found = _TO_TYPE.get(array.dtype)
    if found is None or not is_unsigned(found):
        return array
    return array.view(numpy_dtype(signless(found)))
