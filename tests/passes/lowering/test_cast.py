"""Casts between all element types."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.passes.lowering.nodes import run_node

FLOAT8 = [
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e4m3fnuz,
    ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e5m2fnuz,
]
WIDE = np.array([0, -0.0, 1, -1.5, 0.3, 447, 449, 465, 1e5, -1e5, np.inf, -np.inf, np.nan, 1e-9])


def cast(x: np.ndarray[Any, Any], dtype: Any, **attrs: Any) -> np.ndarray[Any, Any]:
    return run_node("Cast", [x], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), **attrs)[0]


def same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> None:
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a.astype(np.float64), b.astype(np.float64))


@pytest.mark.parametrize("dtype", FLOAT8)
def test_float8_saturates_or_overflows(dtype: Any) -> None:
    x = WIDE.astype(np.float32)
    with np.errstate(all="ignore"):
        same(cast(x, dtype), numpy_helper.saturate_cast(x, np.dtype(dtype)))
        same(cast(x, dtype, saturate=0), x.astype(dtype))


@pytest.mark.parametrize("dtype", [*FLOAT8, ml_dtypes.float4_e2m1fn])
def test_every_code_of_a_small_float_widens(dtype: Any) -> None:
    count = 2 ** (4 if dtype == ml_dtypes.float4_e2m1fn else 8)
    codes = np.arange(count, dtype=np.uint8).view(dtype)
    same(cast(codes, np.float32), codes.astype(np.float32))
    same(cast(codes, np.float16), codes.astype(np.float16))


@pytest.mark.parametrize("mode", ["up", "down", "nearest"])
@pytest.mark.parametrize("saturate", [0, 1])
def test_scales(mode: str, saturate: int) -> None:
    x = np.array([0, 1, 1.1, 1.5, 1.6, 2e-45, 1e-38, 0.75, 3e38, 1.7e38], np.float32)
    want = numpy_helper.to_float8e8m0(x, bool(saturate), mode)
    same(cast(x, ml_dtypes.float8_e8m0fnu, round_mode=mode, saturate=saturate), want)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64])
def test_floats_become_integers(dtype: Any) -> None:
    limits = np.iinfo(dtype)
    x = np.array([1.9, -1.9 if limits.min else 1.5, np.nan, np.inf, -np.inf, 1e30], np.float32)
    y = cast(x, dtype)
    assert [int(v) for v in y] == [
        *(int(v) for v in x[:2]),
        0,
        limits.max,
        limits.min,
        limits.max,
    ]


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2])
def test_small_integers(dtype: Any) -> None:
    x = np.array([-9, -1, 0, 1.7, 7, 8, 15, 16], np.float32)
    small = cast(x, dtype)
    same(small, x.astype(dtype))
    same(cast(small, np.float32), small.astype(np.float32))
    same(cast(small, np.int8), small.astype(np.int8))


def test_integers_wrap_and_booleans_are_truth() -> None:
    x = np.array([200, -1, 256, 0], np.int16)
    same(cast(x, np.int8), x.astype(np.int8))
    same(cast(x, np.uint64), x.astype(np.uint64))
    same(cast(x, np.bool_), x.astype(np.bool_))
    same(cast(np.array([0.0, 0.5, np.nan]), np.bool_), np.array([False, True, True]))
    same(cast(np.array([2**64 - 1], np.uint64), np.float32), np.array([2.0**64], np.float32))


def test_bits_stay() -> None:
    x = np.array([1.5, -0.0, np.inf], np.float16)
    (y,) = run_node("BitCast", [x], to=helper.np_dtype_to_tensor_dtype(np.dtype(np.uint16)))
    np.testing.assert_array_equal(y, x.view(np.uint16))
    back = helper.np_dtype_to_tensor_dtype(np.dtype(ml_dtypes.bfloat16))
    np.testing.assert_array_equal(
        run_node("BitCast", [y], to=back)[0].view(np.uint16), x.view(np.uint16)
    )
