"""Quantisation of every type and granularity, and integer contractions: to the last bit."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from mxc.errors import MxcError
from tests.passes.lowering.nodes import check, run_node
from tests.passes.lowering.peer import close

RNG = np.random.default_rng(31)
INTEGERS = [np.int8, np.uint8, np.int16, np.uint16]
SMALL = [ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2]
FLOATS = [
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e4m3fnuz,
    ml_dtypes.float8_e5m2fnuz,
    ml_dtypes.float4_e2m1fn,
]


def data(*shape: int, scale: float = 3.0, dtype: Any = np.float32) -> Any:
    return (RNG.standard_normal(shape) * scale).astype(dtype)


def code(dtype: Any) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


@pytest.mark.parametrize("dtype", [*INTEGERS, *SMALL, *FLOATS])
def test_a_tensor_is_quantised_and_restored(dtype: Any) -> None:
    x = data(6, 40, scale=100.0)
    x[0, :4] = [np.inf, -np.inf, 0.0, -0.0]
    scale = np.array(0.25, np.float32)
    (q,) = run_node("QuantizeLinear", [x, scale], output_dtype=code(dtype))
    assert q.dtype == dtype
    if dtype in FLOATS:
        top = float(ml_dtypes.finfo(dtype).max)
        want = np.clip(x / scale, -top, top).astype(dtype)
    else:
        low, high = (int(v) for v in (ml_dtypes.iinfo(dtype).min, ml_dtypes.iinfo(dtype).max))
        want = np.clip(np.rint(x / scale), low, high).astype(dtype)
    np.testing.assert_array_equal(q.view(np.uint8), want.view(np.uint8))
    (back,) = run_node("DequantizeLinear", [q, scale])
    np.testing.assert_array_equal(back, want.astype(np.float32) * scale)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_zero_points_per_axis(dtype: Any) -> None:
    x, scale = data(3, 4, 5, scale=40.0), np.abs(data(4)) + np.float32(0.1)
    zero = RNG.integers(0, 100, 4).astype(dtype)
    close("QuantizeLinear", [x, scale, zero], axis=1, tolerance=0)
    (q,) = run_node("QuantizeLinear", [x, scale, zero], axis=1)
    close("DequantizeLinear", [q, scale, zero], axis=1, tolerance=0)


@pytest.mark.parametrize("axis", [0, 1])
def test_blocks(axis: int) -> None:
    x = data(6, 10, scale=20.0)
    shape = [6, 10]
    shape[axis] = -(-shape[axis] // 4)
    scale, zero = np.abs(data(*shape)) + np.float32(0.5), RNG.integers(-5, 5, shape).astype(np.int8)
    attrs = {"axis": axis, "block_size": 4}
    (q,) = run_node("QuantizeLinear", [x, scale, zero], **attrs)
    spread = [np.repeat(t, 4, axis)[:6, :10] for t in (scale, zero)]
    want = np.clip(np.rint(x / spread[0]) + spread[1], -128, 127).astype(np.int8)
    np.testing.assert_array_equal(q, want)
    (back,) = run_node("DequantizeLinear", [q, scale, zero], **attrs)
    exact = (want.astype(np.float32) - spread[1]).astype(np.float32) * spread[0]
    np.testing.assert_array_equal(back, exact)


def test_powers_of_two_as_scales() -> None:
    codes = data(4, 64).astype(ml_dtypes.float8_e4m3fn)
    scales = np.array(RNG.integers(110, 140, (4, 2)), np.uint8).view(ml_dtypes.float8_e8m0fnu)
    attrs = {"axis": 1, "block_size": 32, "output_dtype": code(np.float32)}
    (y,) = run_node("DequantizeLinear", [codes, scales], **attrs)
    want = codes.astype(np.float32) * np.repeat(scales.astype(np.float32), 32, 1)
    np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_without_saturation_overflow_is_no_number(dtype: Any) -> None:
    x, one = np.array([1e6, -1e6, np.nan], np.float32), np.array(1, np.float32)
    (q,) = run_node("QuantizeLinear", [x, one], output_dtype=code(dtype), saturate=0)
    np.testing.assert_array_equal(q.view(np.uint8), x.astype(dtype).view(np.uint8))


def test_half_precision_divides_in_half_precision() -> None:
    x, scale = data(500, scale=9.0, dtype=np.float16), np.array(0.3, np.float16)
    (q,) = run_node("QuantizeLinear", [x, scale], output_dtype=code(np.int8))
    np.testing.assert_array_equal(q, np.clip(np.rint(x / scale), -128, 127).astype(np.int8))


def test_ranges_are_found_at_run_time() -> None:
    for x in (data(30), np.abs(data(30)), -np.abs(data(30)), np.zeros(4, np.float32)):
        close("DynamicQuantizeLinear", [x], 3, tolerance=0)


def test_a_scale_of_the_wrong_shape_is_an_error() -> None:
    with pytest.raises(MxcError, match="QuantizeLinear"):
        run_node("QuantizeLinear", [data(2, 4), np.ones(3, np.float32)], axis=1)


def integers(*shape: int, dtype: Any) -> Any:
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max + 1, shape).astype(dtype)


@pytest.mark.parametrize("a", [np.int8, np.uint8])
@pytest.mark.parametrize("b", [np.int8, np.uint8])
def test_integer_products(a: Any, b: Any) -> None:
    x, w = integers(2, 3, 8, dtype=a), integers(8, 5, dtype=b)
    zeros = [np.array(7, a), integers(5, dtype=b)]
    (y,) = run_node("MatMulInteger", [x, w, *zeros])
    want = (x.astype(int) - int(zeros[0])) @ (w.astype(int) - zeros[1].astype(int))
    np.testing.assert_array_equal(y, want)
    rows = integers(3, dtype=a)
    (y,) = run_node("MatMulInteger", [x[0].copy(), w, rows])
    np.testing.assert_array_equal(y, (x[0].astype(int) - rows[:, None].astype(int)) @ w.astype(int))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2), st.integers(0, 2))
def test_integer_convolutions(groups: int, stride: int, dilation: int, pad: int) -> None:
    x, w = (
        integers(2, 2 * groups, 7, 6, dtype=np.uint8),
        integers(3 * groups, 2, 3, 2, dtype=np.uint8),
    )
    zeros = [np.array(9, np.uint8), np.array(200, np.uint8)]
    attrs = {
        "strides": [stride, 1],
        "dilations": [1, dilation],
        "pads": [pad, 0, 1, pad],
        "group": groups,
    }
    close("ConvInteger", [x, w, *zeros], tolerance=0, **attrs)


def test_quantised_layers() -> None:
    one = [np.array(v, np.float32) for v in (0.03, 0.02, 0.5)]
    x, w = integers(1, 4, 6, 6, dtype=np.uint8), integers(5, 4, 3, 3, dtype=np.uint8)
    zeros = [np.array(v, np.uint8) for v in (120, 130, 110)]
    per_channel = np.abs(data(5, scale=0.02)) + np.float32(0.01)
    many = np.full(5, 130, np.uint8)
    bias = RNG.integers(-3000, 3000, 5).astype(np.int32)
    inputs = [x, one[0], zeros[0], w, per_channel, many, one[2], zeros[2], bias]
    close("QLinearConv", inputs, tolerance=0, pads=[1, 1, 1, 1])
    a, b = integers(4, 6, dtype=np.int8), integers(6, 3, dtype=np.int8)
    zero = np.array(3, np.int8)
    check("QLinearMatMul", [a, one[0], zero, b, one[1], zero, one[2], zero])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64, np.float64])
def test_products_that_are_not_the_matrix_units(dtype: Any) -> None:
    a, b, c = (integers(*s, dtype=np.int8).astype(dtype) for s in ((3, 4), (5, 4), (5,)))
    (y,) = run_node("MatMul", [a, b.T.copy()])
    np.testing.assert_array_equal(y, a @ b.T)
    (y,) = run_node("Gemm", [a, b, c], transB=1, alpha=2.0, beta=3.0)
    np.testing.assert_array_equal(y, 2 * (a @ b.T) + 3 * c)
    if dtype != np.float64:
        with pytest.raises(MxcError, match=r"alpha=0\.5 does not multiply integers exactly"):
            run_node("Gemm", [a, b], transB=1, alpha=0.5)
