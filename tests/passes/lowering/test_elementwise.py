"""Elementwise operators: against onnx's reference, and the corners that it leaves open."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxc.errors import MxcError
from tests.passes.lowering.nodes import Const, body_operations, check, lower_node, run_node

RNG = np.random.default_rng(11)
X = np.concatenate([RNG.standard_normal(40) * 3, [0.0, -0.0, 1.0, -1.0, 50.0, -50.0]])
BARE = (
    "Abs Ceil Erf Exp Floor Gelu HardSwish Mish Neg Reciprocal Relu Round Sigmoid Sign Sinh "
    "Softplus Softsign Tanh Cos Identity Atan Asinh"
)
SHAPED = [
    ("Elu", {"alpha": 1.5}),
    ("Selu", {}),
    ("Celu", {"alpha": 0.7}),
    ("Gelu", {"approximate": "tanh"}),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
    ("LeakyRelu", {"alpha": 0.2}),
    ("ThresholdedRelu", {"alpha": 0.5}),
    ("Swish", {"alpha": 1.3}),
    ("Shrink", {"bias": 0.5, "lambd": 1.0}),
]


@pytest.mark.parametrize("op_type", BARE.split())
def test_functions(op_type: str) -> None:
    check(op_type, [X.astype(np.float32)], rtol=2e-6)


@pytest.mark.parametrize(("op_type", "attrs"), SHAPED, ids=lambda v: str(v))
def test_activations(op_type: str, attrs: dict[str, Any]) -> None:
    check(op_type, [X.astype(np.float32)], rtol=2e-6, **attrs)
    check(op_type, [X.astype(np.float16)], rtol=2e-3, **attrs)


def test_nothing_overflows_where_the_result_is_small() -> None:
    x = np.array([-200.0, 200.0, -1e-8, np.inf, -np.inf, np.nan], np.float32)
    (y,) = run_node("Softplus", [x])
    np.testing.assert_allclose(y, [0, 200, math.log(2), np.inf, 0, np.nan], rtol=1e-6)
    (y,) = run_node("Elu", [x])
    np.testing.assert_allclose(y, [-1, 200, -1e-8, np.inf, -1, np.nan], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64])
def test_integers_wrap(dtype: Any) -> None:
    limits = np.iinfo(dtype)
    a = np.array([limits.min, limits.max, limits.max, 7, 100], dtype)
    b = np.array([limits.max, limits.max, 2, 3, 9], dtype)
    for op_type in ("Add", "Sub", "Mul", "Max", "Min", "Less", "GreaterOrEqual", "BitwiseXor"):
        with np.errstate(all="ignore"):
            check(op_type, [a, b])
    check("Div", [a[2:], b[2:]])
    check("Mod", [a[1:], b[1:]])


def test_integer_division_truncates_and_survives_zero() -> None:
    a, b = np.array([-7, 7, -7, 5], np.int32), np.array([2, -2, -2, 0], np.int32)
    (y,) = run_node("Div", [a, b])
    assert y[:3].tolist() == [-3, -3, 3]


@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint16])
def test_integer_remainders(fmod: int, dtype: Any) -> None:
    a = RNG.integers(0, 100, 30).astype(dtype)
    b = RNG.integers(1, 9, 30).astype(dtype)
    if np.iinfo(dtype).min < 0:
        a, b = a - dtype(50), b * RNG.choice([-1, 1], 30).astype(dtype)
    check("Mod", [a, b], fmod=fmod)


def floats(width: Any) -> st.SearchStrategy[list[tuple[float, float]]]:
    finite = st.floats(allow_nan=False, allow_infinity=False, width=width)
    return st.lists(st.tuples(finite, finite), min_size=20, max_size=20)


@settings(max_examples=10, deadline=None)
@given(st.one_of(floats(32).map(np.float32), floats(64).map(np.float64)))
def test_the_remainder_of_floats_is_exact(pairs: np.ndarray[Any, Any]) -> None:
    x, y = pairs.T.copy()
    (got,) = run_node("Mod", [x, y], fmod=1)
    with np.errstate(all="ignore"):
        want = np.fmod(x, y)
    np.testing.assert_array_equal(got, want)


def test_remainders_at_the_corners() -> None:
    inf, nan = np.inf, np.nan
    a = np.array([0.0, -0.0, inf, 1, 3, -3, nan, 5.5, -5.5, 1e300], np.float64)
    b = np.array([-2.0, 2.0, 2, 0, inf, inf, 1, -2, 2, 3e-300], np.float64)
    most = np.finfo(np.float64).max
    a, b = np.append(a, [most, most, -most]), np.append(b, [1.0, most / 3, 5e-324])
    for fmod, want in ((1, np.fmod), (0, np.mod)):
        (got,) = run_node("Mod", [a, b], fmod=fmod)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(got, want(a, b))
    assert np.signbit(run_node("Mod", [a, b])[0][0])


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integer_powers(dtype: Any) -> None:
    base = np.array([3, 2, 5, 1, 0, 10], dtype)
    exponent = np.array([5, 31, 0, 100, 3, 2], np.int32)
    (y,) = run_node("Pow", [base, exponent])
    want = [int(p) ** int(e) for p, e in zip(base, exponent, strict=True)]
    width = np.dtype(dtype).itemsize * 8
    assert [int(v) % 2**width for v in y] == [w % 2**width for w in want]


def test_negative_integer_powers() -> None:
    (y,) = run_node("Pow", [np.array([1, -1, -1, 3]), np.array([-5, -3, -2, -1])])
    assert y.tolist() == [1, -1, 1, 0]


def test_a_constant_square_is_one_product() -> None:
    x = np.array([1.5, -3.0], np.float32)
    two = Const(np.array(2.0, np.float32))
    names = body_operations(lower_node("Pow", [x, two]))
    assert names.count("arith.mulf") == 1
    assert "arith.divf" not in names
    np.testing.assert_array_equal(run_node("Pow", [x, two])[0], x * x)


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_shifts(direction: str) -> None:
    amounts = np.array([0, 1, 7, 8, 200], np.uint8)
    x = np.full(5, 0xA5, np.uint8)
    (y,) = run_node("BitShift", [x, amounts], direction=direction)
    moved = [0xA5 << int(n) if direction == "LEFT" else 0xA5 >> int(n) for n in amounts]
    assert y.tolist() == [m & 0xFF for m in moved]
    signed, by = np.array([-5, -5, -5, 5], np.int8), np.array([1, -1, 9, -1], np.int8)
    (y,) = run_node("BitShift", [signed, by], direction=direction)
    assert y.tolist() == ([-10, 0, 0, 0] if direction == "LEFT" else [-3, -1, -1, 0])


def test_bounds_may_be_missing_or_come_at_run_time() -> None:
    x = np.array([-2.0, 0.5, 3.0, np.nan], np.float32)
    low, high = np.array(0.0, np.float32), np.array(1.0, np.float32)
    np.testing.assert_array_equal(run_node("Clip", [x, low, high])[0], [0, 0.5, 1, np.nan])
    np.testing.assert_array_equal(run_node("Clip", [x, None, Const(high)])[0], [-2, 0.5, 1, np.nan])
    np.testing.assert_array_equal(run_node("Clip", [x, Const(low)])[0], [0, 0.5, 3, np.nan])


def test_many_operands() -> None:
    parts = [RNG.standard_normal((3, 4)).astype(np.float32) for _ in range(3)] + [np.float32([[2]])]
    for op_type in ("Max", "Min", "Sum", "Mean"):
        check(op_type, parts, rtol=1e-6)
    (y,) = run_node("Max", [np.float32([np.nan, 1]), np.float32([0, np.nan])])
    assert np.isnan(y).all()


def test_infinities() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 1], np.float16)
    assert run_node("IsInf", [x])[0].tolist() == [True, True, False, False]
    assert run_node("IsInf", [x], detect_negative=0)[0].tolist() == [True, False, False, False]
    assert run_node("IsNaN", [x])[0].tolist() == [False, False, True, False]


def test_refusals() -> None:
    x = np.zeros(3, np.float32)
    with pytest.raises(MxcError, match="approximate=half"):
        run_node("Gelu", [x], approximate="half")
    with pytest.raises(MxcError, match="inference"):
        run_node("Dropout", [x, Const(np.float32(0.5)), Const(np.array(True))])
