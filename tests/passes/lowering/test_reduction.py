"""Reductions, softmax, extremes, the k best and running sums."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxc.errors import MxcError
from tests.passes.lowering.nodes import Const, body_operations, check, const, lower_node, run_node

RNG = np.random.default_rng(13)
REDUCTIONS = (
    "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceSumSquare"
)


@pytest.mark.parametrize("op_type", REDUCTIONS.split())
def test_reductions(op_type: str) -> None:
    x = RNG.random((3, 4, 37)).astype(np.float32) + 0.5
    for axes in ([-1], [0], [0, 2], [1]):
        check(op_type, [x, const(*axes)], rtol=2e-5, keepdims=0)
    check(op_type, [x], rtol=5e-4)


@pytest.mark.parametrize("op_type", ["ReduceSum", "ReduceProd", "ReduceL1"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
def test_integers_wrap(op_type: str, dtype: Any) -> None:
    x = RNG.integers(0, np.iinfo(dtype).max, (3, 40)).astype(dtype)
    with np.errstate(all="ignore"):
        check(op_type, [x, const(1)])


def test_extremes_of_every_type() -> None:
    for dtype in (np.int8, np.uint8, np.int32, np.uint64, np.float16, np.float64):
        x = RNG.integers(0, 100, (4, 40)).astype(dtype)
        check("ReduceMax", [x, const(1)])
        check("ReduceMin", [x, const(0)])
    truth = np.array([[True, False], [False, False]])
    assert run_node("ReduceMax", [truth, const(1)], keepdims=0)[0].tolist() == [True, False]
    assert run_node("ReduceMin", [truth, const(1)], keepdims=0)[0].tolist() == [False, False]


def test_no_axes_is_all_axes_or_none() -> None:
    x = RNG.random((2, 3)).astype(np.float32)
    check("ReduceSumSquare", [x], rtol=1e-6)
    check("ReduceSumSquare", [x], noop_with_empty_axes=1)


def test_infinities_do_not_become_nan() -> None:
    x = np.array([[np.inf, 1], [-np.inf, -np.inf], [1000, 1000]], np.float32)
    (y,) = run_node("ReduceLogSumExp", [x, const(1)], keepdims=0)
    np.testing.assert_allclose(y, [np.inf, -np.inf, 1000 + np.log(2)], rtol=1e-6)


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(op_type: str, axis: int) -> None:
    x = (RNG.standard_normal((3, 5, 20)) * 10).astype(np.float32)
    check(op_type, [x], rtol=1e-5, axis=axis)


def test_softmax_of_large_numbers() -> None:
    x = np.array([[1e30, 1e30, 0], [1e4, -1e4, 1e4]], np.float32)
    (y,) = run_node("Softmax", [x])
    np.testing.assert_array_equal(y, [[0.5, 0.5, 0], [0.5, 0, 0.5]])


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
def test_the_first_or_the_last_extreme(op_type: str, last: int) -> None:
    for dtype in (np.float32, np.int8, np.uint8, np.float16):
        x = RNG.integers(0, 3, (2, 9, 3)).astype(dtype)
        check(op_type, [x], axis=1, keepdims=0, select_last_index=last)


def test_hardmax_takes_the_first() -> None:
    (y,) = run_node("Hardmax", [np.array([[2, 5, 5, 1]], np.float32)])
    np.testing.assert_array_equal(y, [[0, 1, 0, 0]])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(-3, 3), min_size=6, max_size=6), st.integers(1, 6), st.sampled_from([0, 1])
)
def test_the_k_best_in_stable_order(values: list[int], count: int, largest: int) -> None:
    x = np.array(values, np.float32)
    best, at = run_node("TopK", [x, const(count)], outputs=2, largest=largest)
    order = sorted(range(6), key=lambda i: (-values[i] if largest else values[i], i))[:count]
    assert at.tolist() == order
    np.testing.assert_array_equal(best, x[order])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.uint64])
@pytest.mark.parametrize("largest", [0, 1])
def test_the_k_best_of_many(dtype: Any, largest: int) -> None:
    x = RNG.integers(0, 60, (2, 100, 3)).astype(dtype)
    if dtype == np.uint64:
        x = x << np.uint64(58)
    inputs = [x, const(7)]
    options: dict[str, Any] = {"axis": 1, "largest": largest}
    assert "scf.for" in body_operations(lower_node("TopK", inputs, outputs=2, **options))
    best, at = run_node("TopK", inputs, outputs=2, **options)
    key = x.astype(np.float64) * (-1 if largest else 1)
    order = np.argsort(key, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(at, order)
    np.testing.assert_array_equal(best, np.take_along_axis(x, order, 1))


def test_nan_is_the_largest_and_zeros_are_equal() -> None:
    x = np.array([1, np.nan, -0.0, 0.0, -np.inf], np.float32)
    _, at = run_node("TopK", [x, const(5)], outputs=2)
    assert at.tolist() == [1, 0, 2, 3, 4]


@pytest.mark.parametrize("op_type", ["CumSum", "CumProd"])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_running_sums(op_type: str, exclusive: int, reverse: int) -> None:
    x = RNG.integers(-3, 4, (2, 6, 3)).astype(np.float32)
    for axis in (0, 1, -1):
        inputs = [x, Const(np.array(axis))]
        check(op_type, inputs, exclusive=exclusive, reverse=reverse)


def test_refusals() -> None:
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(MxcError):
        run_node("ReduceSum", [x, const(5)])
    with pytest.raises(MxcError, match="constant"):
        run_node("CumSum", [x, np.array(1)])
