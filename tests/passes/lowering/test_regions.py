"""Regions, deformed kernels, spectra, determinants and rotations."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxc.errors import CannotLower
from tests.passes.lowering.nodes import Const, body_operations, check, lower_node, run_node
from tests.passes.lowering.peer import close

RNG = np.random.default_rng(37)


def scalar(value: int) -> Const:
    return Const(np.array(value))


def data(*shape: int, dtype: Any = np.float32) -> Any:
    return RNG.standard_normal(shape).astype(dtype)


ROIS = np.array([[0, 0, 5, 5], [1.3, 2.1, 9, 8.4], [6, 6, 6.2, 6.1], [-2, 3, 14, 11]], np.float32)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("ratio", [0, 2])
def test_aligned_regions(mode: str, coordinates: str, ratio: int) -> None:
    rois: Any = ROIS if ratio else Const(ROIS)
    attrs = {"coordinate_transformation_mode": coordinates, "sampling_ratio": ratio}
    attrs |= {"output_height": 3, "output_width": 2, "spatial_scale": 0.8, "mode": mode}
    inputs = [data(2, 3, 9, 10), rois, np.array([0, 1, 1, 0])]
    close("RoiAlign", inputs, tolerance=1e-4, opset=16, **attrs)


def test_a_grid_that_depends_on_the_data_is_an_error() -> None:
    with pytest.raises(CannotLower, match=r"RoiAlign.*run-time regions"):
        run_node("RoiAlign", [data(1, 1, 4, 4), ROIS, np.zeros(4, np.int64)])


def test_regions_of_whole_pixels() -> None:
    rois = np.concatenate([np.array([[0], [1], [1], [0]], np.float32), ROIS.round()], 1)
    rois[3] = [0, 1, 3, 9, 8]
    attrs = {"pooled_shape": [2, 3], "spatial_scale": 0.75}
    close("MaxRoiPool", [data(2, 3, 9, 10), rois], tolerance=0, opset=16, **attrs)


@settings(max_examples=4, deadline=None)
@given(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
def test_moved_kernels(stride: int, dilation: int, groups: int) -> None:
    x, w = data(1, 4, 7, 6), data(4, 4 // groups, 3, 2)
    attrs = {"strides": [stride, 1], "dilations": [1, dilation], "pads": [1, 0, 1, 0]}
    attrs |= {"group": groups, "offset_group": 2, "kernel_shape": [3, 2]}
    height, width = (7 + 2 - 3) // stride + 1, 6 - dilation
    offset, mask = data(1, 24, height, width), data(1, 12, height, width)
    check("DeformConv", [x, w, offset, data(4), mask], rtol=1e-4, **attrs)


def test_a_kernel_that_does_not_move_is_a_convolution() -> None:
    x, w = data(1, 3, 6, 6), data(4, 3, 3, 3)
    offset = np.zeros((1, 18, 4, 4), np.float32)
    (y,) = run_node("DeformConv", [x, w, offset])
    (plain,) = run_node("Conv", [x, w])
    np.testing.assert_allclose(y, plain, atol=1e-5)


@pytest.mark.parametrize("points", [1, 2, 7, 32, 33, 37, 60, 400, 512])
def test_spectra(points: int) -> None:
    real = data(3, points, 1)
    (y,) = run_node("DFT", [real])
    want = np.fft.fft(real[..., 0].astype(float))
    np.testing.assert_allclose(y[..., 0] + 1j * y[..., 1], want, atol=3e-6 * points)
    (back,) = run_node("DFT", [y], inverse=1)
    np.testing.assert_allclose(back[..., :1], real, atol=1e-5)


def test_half_spectra_lengths_and_axes() -> None:
    x = data(2, 10, 3, 1)
    (half,) = run_node("DFT", [x, None, scalar(1)], onesided=1)
    want = np.fft.rfft(x[..., 0].astype(float), axis=1)
    np.testing.assert_allclose(half[..., 0] + 1j * half[..., 1], want, atol=1e-5)
    (back,) = run_node("DFT", [half, scalar(10), scalar(1)], onesided=1, inverse=1)
    np.testing.assert_allclose(back, x, atol=1e-5)
    for length in (6, 16):
        (y,) = run_node("DFT", [x, scalar(length), scalar(1)])
        want = np.fft.fft(x[..., 0].astype(float), length, axis=1)
        np.testing.assert_allclose(y[..., 0] + 1j * y[..., 1], want, atol=1e-5)


def test_long_transforms_cost_less_than_the_square() -> None:
    model = lower_node("DFT", [data(1, 1024, 1)])
    sums = [
        op for op in model.module.walk() if op.name == "linalg.generic" and len(op.operands) > 3
    ]
    assert len(sums) > 2
    assert all(max(op.operands[0].type.get_shape()) <= 1024 for op in sums)  # pyright: ignore


@pytest.mark.parametrize("onesided", [0, 1])
def test_frames(onesided: int) -> None:
    x, window = data(2, 40, 1), np.hanning(16).astype(np.float32)
    close("STFT", [x, scalar(6), window, scalar(16)], tolerance=1e-4, onesided=onesided)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_determinants(size: int) -> None:
    x = data(2, 3, size, size)
    x[0, 0, 0] = 0
    x[0, 1, 0, 0] = 0
    (y,) = run_node("Det", [x])
    np.testing.assert_allclose(y, np.linalg.det(x.astype(float)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("size", [0, 4])
def test_rotations(interleaved: int, size: int) -> None:
    half = (size or 8) // 2
    cache = [data(10, half), data(10, half)]
    positions = RNG.integers(0, 10, (2, 5))
    attrs = {"interleaved": interleaved, "rotary_embedding_dim": size}
    check("RotaryEmbedding", [data(2, 3, 5, 8), *cache, positions], rtol=1e-6, **attrs)
    packed = [data(2, 5, 24), *(data(2, 5, half) for _ in range(2))]
    check("RotaryEmbedding", packed, rtol=1e-6, num_heads=3, **attrs)


def test_an_angle_is_looked_up_only_once() -> None:
    inputs = [data(1, 4, 6, 8), data(9, 4), data(9, 4), np.arange(6).reshape(1, 6)]
    assert body_operations(lower_node("RotaryEmbedding", inputs)).count("tensor.extract") == 2
