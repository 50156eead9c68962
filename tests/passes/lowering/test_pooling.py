"""Pooling against onnxruntime and plain loops."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.passes.lowering.nodes import body_operations, const, lower_node, run_node
from tests.passes.lowering.peer import close

RNG = np.random.default_rng(23)


def data(*shape: int, dtype: Any = np.float32) -> Any:
    return (RNG.standard_normal(shape) * 10).astype(dtype)


def windows(draw: st.DataObject) -> tuple[list[int], dict[str, Any]]:
    """A spatial shape, and the attributes of windows over it."""

    def pick(low: int, high: int, count: int) -> list[int]:
        return [draw.draw(st.integers(low, high)) for _ in range(count)]

    rank = draw.draw(st.integers(1, 3))
    size, kernel = pick(2, 7, rank), pick(1, 4, rank)
    strides, dilations = pick(1, 3, rank), pick(1, 2, rank)
    pads = [draw.draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    rows = zip(size, kernel, dilations, pads, pads[rank:], strict=False)
    assume(all(n + b + a >= (k - 1) * d + 1 for n, k, d, b, a in rows))
    names = ("kernel_shape", "strides", "dilations", "pads")
    attrs = dict(zip(names, (kernel, strides, dilations, pads), strict=True))
    return size, {**attrs, "ceil_mode": draw.draw(st.integers(0, 1))}


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_maxima_and_where_they_are(draw: st.DataObject) -> None:
    size, attrs = windows(draw)
    close("MaxPool", [data(2, 3, *size)], 2, tolerance=0, **attrs)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(0, 1))
def test_averages(draw: st.DataObject, include: int) -> None:
    size, attrs = windows(draw)
    attrs["count_include_pad"] = include
    close("AveragePool", [data(2, 3, *size)], **attrs)


@settings(max_examples=15, deadline=None)
@given(st.data(), st.integers(1, 3))
def test_norms(draw: st.DataObject, p: int) -> None:
    size, attrs = windows(draw)
    attrs["ceil_mode"] = 0
    close("LpPool", [data(1, 2, *size)], p=p, tolerance=1e-4, **attrs)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(mode: str) -> None:
    attrs = {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": mode}
    close("MaxPool", [data(1, 2, 7, 6)], **attrs)
    close("AveragePool", [data(1, 2, 7, 6)], **attrs)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint8])
def test_types(dtype: Any) -> None:
    x = data(1, 2, 6, 6, dtype=np.int8).astype(dtype)
    (y,) = run_node("MaxPool", [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    assert y.dtype == dtype
    padded = np.pad(x.astype(float), [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    np.testing.assert_array_equal(y, view.max((-1, -2)))


def test_nan_is_the_largest() -> None:
    x = data(1, 1, 6, 6)
    x[0, 0, 2, 2] = np.nan
    (y,) = run_node("MaxPool", [x], kernel_shape=[3, 3])
    assert np.isnan(y[0, 0, :3, :3]).all()
    assert not np.isnan(y[0, 0, 3:, 3:]).any()


def test_indices_in_column_major_order() -> None:
    attrs = {"kernel_shape": [2, 2], "storage_order": 1}
    close("MaxPool", [data(2, 2, 5, 4)], 2, tolerance=0, **attrs)


def test_whole_channels() -> None:
    x = data(2, 3, 9, 5)
    close("GlobalMaxPool", [x], tolerance=0)
    close("GlobalAveragePool", [x])
    (y,) = run_node("GlobalLpPool", [x], p=3)
    want = (np.abs(x.astype(float)) ** 3).sum((2, 3), keepdims=True) ** (1 / 3)
    np.testing.assert_allclose(y, want, rtol=1e-5)


def test_large_windows_are_folded_axis_by_axis() -> None:
    names = body_operations(lower_node("MaxPool", [data(1, 2, 9, 9)], kernel_shape=[5, 5]))
    assert names.count("linalg.generic") == 2
    names = body_operations(lower_node("MaxPool", [data(1, 2, 9, 9)], kernel_shape=[2, 2]))
    assert names.count("linalg.generic") == 1


def test_unpooling_undoes_pooling() -> None:
    x = np.abs(data(2, 2, 6, 8))
    attrs = {"kernel_shape": [2, 2], "strides": [2, 2]}
    y, where = run_node("MaxPool", [x], 2, **attrs)
    (back,) = run_node("MaxUnpool", [y, where], **attrs)
    want = np.zeros_like(x)
    want.reshape(-1)[where.reshape(-1)] = y.reshape(-1)
    np.testing.assert_array_equal(back, want)
    (larger,) = run_node("MaxUnpool", [y, where, const(2, 2, 7, 9)], **attrs)
    np.testing.assert_array_equal(larger[:, :, :6, :8], want)


def test_many_values_are_unpooled_one_by_one() -> None:
    x = data(1, 1, 150, 150)
    y, where = run_node("MaxPool", [x], 2, kernel_shape=[2, 2], strides=[2, 2])
    attrs = {"kernel_shape": [2, 2], "strides": [2, 2]}
    model = lower_node("MaxUnpool", [y, where], **attrs)
    assert "scf.for" in body_operations(model)
    (back,) = run_node("MaxUnpool", [y, where], **attrs)
    want = np.zeros(x.size, np.float32)
    want[where.reshape(-1)] = y.reshape(-1)
    np.testing.assert_array_equal(back.reshape(-1), want)
