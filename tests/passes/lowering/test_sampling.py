"""Resize, GridSample, AffineGrid and Col2Im, against onnx's reference."""

from typing import Any

import numpy as np
import pytest

from mxc.errors import MxcError
from tests.passes.lowering.nodes import (
    body_operations,
    check,
    check_onnxruntime,
    const,
    lower_node,
    run_node,
)

RNG = np.random.default_rng(17)
X = RNG.standard_normal((1, 2, 4, 5)).astype(np.float32)
COORDINATES = [
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
]


def scales(*values: float) -> Any:
    return const(*values, dtype=np.float32)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize(mode: str, coordinates: str) -> None:
    options = {"mode": mode, "coordinate_transformation_mode": coordinates}
    for factors in ((1, 1, 2, 3), (1, 1, 0.6, 0.75), (1, 1, 1.3, 0.4)):
        check("Resize", [X, None, scales(*factors)], rtol=1e-5, **options)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_as_onnxruntime_where_the_reference_differs(mode: str) -> None:
    options = {"mode": mode, "coordinate_transformation_mode": "pytorch_half_pixel"}
    check_onnxruntime("Resize", [X, None, None, const(1, 2, 3, 1)], rtol=1e-5, **options)
    x = RNG.standard_normal((1, 1, 8, 3)).astype(np.float32)
    inputs = [x, None, scales(1, 1, 0.6, 1)]  # a position that is whole in f32 only
    tenths = RNG.standard_normal((1, 1, 1, 10)).astype(np.float32)
    check_onnxruntime("Resize", [tenths, None, scales(1, 1, 1, 0.7)], rtol=1e-5, mode=mode)
    rounding = "floor" if mode == "nearest" else "round_prefer_floor"
    check_onnxruntime("Resize", inputs, rtol=1e-5, mode=mode, nearest_mode=rounding)


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_nearest(rounding: str) -> None:
    options = {"nearest_mode": rounding, "axes": [2, 3]}
    check("Resize", [X, None, None, const(7, 3)], **options)
    check("Resize", [X, None, scales(0.5, 2)], **options)


def test_doubling_is_one_loop_with_a_division() -> None:
    model = lower_node("Resize", [X, None, scales(1, 1, 2, 2)], mode="nearest")
    assert body_operations(model).count("linalg.generic") == 1
    assert "floordiv 2" in str(model.module)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_antialias_and_outside(mode: str) -> None:
    check("Resize", [X, None, scales(1, 1, 0.4, 0.7)], rtol=2e-6, mode=mode, antialias=1)
    check("Resize", [X, None, scales(1, 1, 2, 0.8)], rtol=2e-6, mode=mode, exclude_outside=1)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_the_aspect_ratio_is_kept(policy: str) -> None:
    inputs = [X, None, None, const(7, 8)]
    options = {"axes": [2, 3], "keep_aspect_ratio_policy": policy, "mode": "linear"}
    check("Resize", inputs, rtol=2e-6, **options)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_a_region_is_cropped(mode: str) -> None:
    roi = const(0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7, dtype=np.float32)
    options = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    check("Resize", [X, roi, None, const(1, 2, 3, 4)], rtol=2e-6, mode=mode, **options)


def test_integers_are_rounded_and_saturate() -> None:
    x = RNG.integers(0, 255, (1, 1, 4, 4)).astype(np.uint8)
    (y,) = run_node("Resize", [x, None, scales(1, 1, 2, 2)], mode="cubic")
    (wide,) = run_node("Resize", [x.astype(np.float32), None, scales(1, 1, 2, 2)], mode="cubic")
    np.testing.assert_array_equal(y, np.clip(np.rint(wide), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("corners", [0, 1])
def test_grid_sample(mode: str, padding: str, corners: int) -> None:
    grid = (RNG.random((1, 3, 4, 2)).astype(np.float32) - 0.5) * 4
    options: dict[str, Any] = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    check_onnxruntime("GridSample", [X, grid], rtol=1e-4, **options)
    if mode != "cubic":
        volume = RNG.standard_normal((1, 1, 2, 3, 4)).astype(np.float32)
        places = (RNG.random((1, 2, 2, 2, 3)).astype(np.float32) - 0.5) * 3
        check("GridSample", [volume, places], rtol=2e-5, **options)


def test_places_that_are_no_numbers_read_inside() -> None:
    grid = np.full((1, 1, 2, 2), np.nan, np.float32)
    grid[0, 0, 1] = np.inf
    for padding in ("zeros", "border", "reflection"):
        assert run_node("GridSample", [X, grid], padding_mode=padding)[0].shape == (1, 2, 1, 2)


@pytest.mark.parametrize("corners", [0, 1])
def test_affine_grid(corners: int) -> None:
    flat = RNG.standard_normal((2, 2, 3)).astype(np.float32)
    check("AffineGrid", [flat, const(2, 1, 3, 4)], rtol=1e-5, align_corners=corners)
    solid = RNG.standard_normal((1, 3, 4)).astype(np.float32)
    check("AffineGrid", [solid, const(1, 1, 2, 3, 4)], rtol=1e-5, align_corners=corners)


def test_col2im() -> None:
    x = RNG.standard_normal((2, 2 * 4, 9)).astype(np.float32)
    options = {"pads": [0, 1, 0, 1], "strides": [2, 2], "dilations": [1, 3]}
    check("Col2Im", [x, const(6, 6), const(2, 2)], rtol=1e-6, **options)


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"mode": "sinc"}, "mode=sinc"),
        ({"nearest_mode": "up"}, "nearest_mode=up"),
        ({"coordinate_transformation_mode": "polar"}, "polar"),
        ({"coordinate_transformation_mode": "tf_crop_and_resize"}, "roi"),
        ({"antialias": 1}, "antialias"),
    ],
)
def test_refusals(attrs: dict[str, Any], message: str) -> None:
    with pytest.raises(MxcError, match="the/node") as caught:
        run_node("Resize", [X, None, scales(1, 1, 2, 2)], **attrs)
    assert message in str(caught.value)
