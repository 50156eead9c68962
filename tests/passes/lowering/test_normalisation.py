"""Normalisations and losses against onnxruntime, onnx's reference and numpy."""

from typing import Any

import numpy as np
import pytest

from mxc.errors import CannotLower
from tests.passes.lowering.nodes import Const, body_operations, check, lower_node, run_node
from tests.passes.lowering.peer import close

RNG = np.random.default_rng(29)


def data(*shape: int, dtype: Any = np.float32) -> Any:
    return RNG.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 4, 5)])
def test_batch(shape: tuple[int, ...]) -> None:
    inputs = [data(*shape), data(3), data(3), data(3), np.abs(data(3))]
    close("BatchNormalization", inputs, epsilon=1e-3)
    check("BatchNormalization", inputs, 3, rtol=1e-5, training_mode=1, momentum=0.7)


@pytest.mark.parametrize("axis", [-1, 1, 0])
def test_layer_with_its_mean_and_deviation(axis: int) -> None:
    x = data(3, 4, 40) * 3 + 5
    inner = x.shape[axis:] if axis >= 0 else x.shape[-1:]
    close("LayerNormalization", [x, data(*inner), data(*inner)], 3, tolerance=1e-4, axis=axis)
    check("LayerNormalization", [x, data(*inner)], rtol=1e-4, axis=axis)
    check("RMSNormalization", [x, data(*inner)], rtol=1e-5, axis=axis)


def test_a_scale_that_broadcasts() -> None:
    x = data(2, 3, 4)
    (y,) = run_node("LayerNormalization", [x, data(1) * 0 + 2, data(4)], axis=1)
    (full,) = run_node("LayerNormalization", [x, np.full((3, 4), 2, np.float32)], axis=1)
    assert np.ptp(y - full, axis=(0, 1)).max() < 1e-6


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_narrow_floats_are_normalised_in_f32(dtype: Any) -> None:
    x = (RNG.standard_normal((2, 300)) + 100).astype(dtype)
    one = np.ones(300, dtype)
    (y,) = run_node("LayerNormalization", [x, one])
    wide = x.astype(np.float64)
    want = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.astype(float), want, atol=2e-3 if dtype == np.float16 else 1e-12)


def test_instances_groups_and_moments() -> None:
    x = data(2, 6, 5, 4) * 2 - 3
    close("InstanceNormalization", [x, data(6), data(6)], tolerance=1e-4)
    for groups in (1, 2, 6):
        check("GroupNormalization", [x, data(6), data(6)], rtol=1e-4, num_groups=groups)
    (y,) = run_node("MeanVarianceNormalization", [x], axes=[0, 2, 3])
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 2, 3)), 1, atol=1e-4)
    with pytest.raises(CannotLower, match="6 channels do not divide into num_groups=4"):
        run_node("GroupNormalization", [x, data(6), data(6)], num_groups=4)


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_local_response(size: int) -> None:
    x = data(2, 7, 3, 3) * 4
    squares = np.zeros_like(x)
    for c in range(7):
        low, high = max(0, c - (size - 1) // 2), min(7, c + size // 2 + 1)
        squares[:, c] = (x[:, low:high] ** 2).sum(1)
    (y,) = run_node("LRN", [x], size=size, alpha=0.3, beta=0.6, bias=1.5)
    np.testing.assert_allclose(y, x / (1.5 + 0.3 / size * squares) ** 0.6, rtol=1e-5)


@pytest.mark.parametrize("p", [1, 2])
def test_norms_of_zero_rows(p: int) -> None:
    x = data(3, 4)
    x[1] = 0
    (y,) = run_node("LpNormalization", [x], p=p, axis=1)
    norms = np.linalg.norm(x, p, 1, keepdims=True)
    np.testing.assert_allclose(y, x / np.where(norms == 0, 1, norms), rtol=1e-6)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(reduction: str, weighted: bool) -> None:
    x, target = data(3, 5, 4), RNG.integers(0, 5, (3, 4))
    weight = [np.abs(data(5))] if weighted else []
    attrs: dict[str, Any] = {"reduction": reduction}
    for ignored in (None, 2):
        attrs |= {} if ignored is None else {"ignore_index": ignored}
        close("NegativeLogLikelihoodLoss", [x, target, *weight], **attrs)
        close("SoftmaxCrossEntropyLoss", [x, target, *weight], 2, **attrs)


def test_an_ignored_class_may_lie_outside() -> None:
    x, target = data(4, 3), np.array([0, -7, 2, -7])
    attrs = {"reduction": "none", "ignore_index": -7}
    (loss,) = run_node("NegativeLogLikelihoodLoss", [x, target], **attrs)
    np.testing.assert_array_equal(loss, [-x[0, 0], 0, -x[2, 2], 0])


def test_constant_parameters_are_folded_to_the_same_bits() -> None:
    x = data(2, 3, 5)
    parameters = [data(3), data(3), data(3), np.abs(data(3))]
    (y,) = run_node("BatchNormalization", [x, *parameters])
    constant = [x, *(Const(value) for value in parameters)]
    (folded,) = run_node("BatchNormalization", constant)
    np.testing.assert_array_equal(folded, y)
    names = body_operations(lower_node("BatchNormalization", constant))
    assert names.count("linalg.generic") == 1
