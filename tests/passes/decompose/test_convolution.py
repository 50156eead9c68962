"""Transposed convolutions against onnxruntime."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mxc.passes._decompose.convolution import phases
from tests.passes.lowering.nodes import Const, body_operations, lower_node, run_node
from tests.passes.lowering.peer import close

RNG = np.random.default_rng(3)


def data(*shape: int, dtype: Any = np.float32) -> Any:
    return RNG.standard_normal(shape).astype(dtype)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_strides_dilations_pads_and_groups(draw: st.DataObject) -> None:
    def pick(low: int, high: int, count: int) -> list[int]:
        return [draw.draw(st.integers(low, high)) for _ in range(count)]

    rank = draw.draw(st.integers(1, 2))
    size, kernel, strides = pick(1, 4, rank), pick(1, 4, rank), pick(1, 3, rank)
    dilations, pads = pick(1, 2, rank), pick(0, 2, 2 * rank)
    extra = [draw.draw(st.integers(0, s - 1)) for s in strides]
    groups = draw.draw(st.integers(1, 2))
    rows = zip(size, kernel, strides, dilations, pads, pads[rank:], extra, strict=False)
    output = [(n - 1) * s + e + (k - 1) * d + 1 - b - a for n, k, s, d, b, a, e in rows]
    assume(min(output) > 0)
    x, w = data(2, 2 * groups, *size), data(2 * groups, 3, *kernel)
    attrs = {
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "output_padding": extra,
        "group": groups,
    }
    close("ConvTranspose", [x, Const(w), data(3 * groups)], **attrs)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.data())
def test_every_tap_of_an_axis_is_in_one_phase(
    size: int, kernel: int, stride: int, dilation: int, draw: st.DataObject
) -> None:
    full = (size - 1) * stride + (kernel - 1) * dilation + 1
    pad = draw.draw(st.integers(0, full - 1))
    rows = phases(size, kernel, stride, dilation, pad, full - pad)
    taps = [row.first + i * row.step for row in rows for i in range(row.taps)]
    assert sorted(taps) == list(range(kernel))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(mode: str) -> None:
    attrs = {"auto_pad": mode, "strides": [2, 3]}
    close("ConvTranspose", [data(1, 2, 4, 3), data(2, 3, 3, 4)], **attrs)


def test_a_wanted_output_shape() -> None:
    attrs = {"output_shape": [10, 8], "strides": [3, 2], "output_padding": [1, 1]}
    close("ConvTranspose", [data(1, 1, 3, 3), data(1, 2, 3, 3)], **attrs)


def test_weights_computed_at_run_time_and_f64() -> None:
    x, w = data(1, 2, 4, 4), data(2, 3, 3, 3)
    attrs = {"strides": [2, 2], "pads": [1, 1, 0, 0]}
    (y,) = close("ConvTranspose", [x, w], **attrs)
    (exact,) = run_node("ConvTranspose", [x.astype(float), w.astype(float)], **attrs)
    assert exact.dtype == np.float64
    np.testing.assert_allclose(y, exact, atol=1e-5)


def test_no_product_with_an_inserted_zero() -> None:
    inputs = [data(1, 16, 8, 8), Const(data(16, 16, 4, 4))]
    attrs = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    model = lower_node("ConvTranspose", inputs, **attrs)
    convolutions = [op for op in model.module.walk() if op.name == "mx.conv"]
    kernels = [op.operands[1].type.get_shape()[2:] for op in convolutions]  # pyright: ignore
    assert kernels == [(2, 2)] * 4


def test_a_causal_convolution_carries_its_state() -> None:
    x, w, bias = data(2, 3, 9), data(3, 1, 4), data(3)
    whole, end = run_node("CausalConvWithState", [x, w, bias], 2, activation="silu")
    first, state = run_node(
        "CausalConvWithState", [x[..., :5].copy(), w, bias], 2, activation="silu"
    )
    rest = [x[..., 5:].copy(), w, bias, state]
    second, last = run_node("CausalConvWithState", rest, 2, activation="silu")
    np.testing.assert_allclose(np.concatenate([first, second], 2), whole, atol=1e-6)
    np.testing.assert_array_equal(last, end)
    assert body_operations(lower_node("CausalConvWithState", [x, w], 2)).count("mx.conv") == 1
