"""Differences in bits, and error figures."""

import math

import ml_dtypes
import numpy as np
import pytest

from mxc.compare import differences, output_error, relative_change

F = np.float32


def test_any_nan_is_any_nan() -> None:
    quiet, payload = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(F)
    assert differences(np.array([quiet]), np.array([payload])) == 0
    assert differences(np.array([quiet]), np.array([F(1)])) == 1


def test_the_sign_of_zero_counts() -> None:
    assert differences(np.array([0.0], F), np.array([-0.0], F)) == 1


def test_types_and_shapes_must_agree() -> None:
    assert differences(np.zeros(3, F), np.zeros(3, np.float64)) == 3
    assert differences(np.zeros(3, F), np.zeros(4, F)) == 4


@pytest.mark.parametrize("kind", [np.int8, np.bool_, ml_dtypes.bfloat16, np.float64])
def test_bits_of_every_type_are_compared(kind: type) -> None:
    a = np.array([0, 1, 1]).astype(kind)
    assert differences(a, a) == 0
    assert differences(a, a[::-1].copy()) == 2


def test_figures() -> None:
    wanted = np.array([3.0, 4.0], F)
    error = output_error("y", np.array([3.0, np.nextafter(F(4), F(5))], F), wanted)
    assert error.max_ulp == 1
    assert error.max_abs_err == pytest.approx(2.0**-21)
    assert error.sqnr_db == pytest.approx(10 * math.log10(25 / 2.0**-42))
    assert error.cosine == pytest.approx(1)


def test_figures_of_equal_arrays() -> None:
    x = np.array([1.0, np.nan, np.inf, -0.0], F)
    error = output_error("y", x, x)
    assert (error.sqnr_db, error.max_abs_err, error.max_ulp) == (None, 0, 0)


def test_nan_against_a_number_has_no_figures() -> None:
    error = output_error("y", np.array([np.nan], F), np.array([1.0], F))
    assert (error.sqnr_db, error.cosine, error.max_abs_err, error.max_ulp) == (None,) * 4


def test_ulps_across_zero_and_of_large_integers() -> None:
    tiny = np.finfo(F).smallest_subnormal
    assert output_error("y", np.array([tiny], F), np.array([-tiny], F)).max_ulp == 2
    ends = np.iinfo(np.int64)
    error = output_error("y", np.array([ends.min]), np.array([ends.max]))
    assert error.max_ulp == 2**64 - 1


def test_relative_change() -> None:
    assert relative_change(np.array([1.0, 4.0]), np.array([1.0, 3.0])) == 0.25
    assert relative_change(np.array([np.nan, np.inf]), np.array([np.nan, np.inf])) == 0
    assert relative_change(np.array([1.0]), np.array([np.nan])) == math.inf
