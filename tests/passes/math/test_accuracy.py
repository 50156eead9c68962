"""How far the expansions of `mxc.passes.math` are from the true values, in units in the last place.

Dense sweeps compare with numpy in the next wider type, which errs by less than 1e-3 ulp of the
narrower one; a few thousand points, the hard ones among them, are compared with mpmath.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from mxc.passes.math import EXPANSIONS
from mxc.passes.math.evaluate import evaluate, operation_count

Array = NDArray[Any]

NUMPY: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": special.erf,
    "cbrt": np.cbrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
}
LIMIT_F32 = {"exp": 1.0, "tanh": 2.0, "erf": 1.5, "log": 0.9, "expm1": 1.8, "rsqrt": 1.5}
"""Where f32 is computed in f32; the others compute in f64 and round once."""

OPERATIONS = {"exp": 32, "tanh": 33, "erf": 42, "log": 43, "expm1": 32, "rsqrt": 2}
"""What the hot functions cost in f32; a rise shows in every model."""

MPMATH = {
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "expm1": mpmath.expm1,
    "log1p": mpmath.log1p,
    "erf": mpmath.erf,
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "log2": lambda x: mpmath.log(x, 2),
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
}


def errors(y: Array, exact: Array) -> Array:
    """The distance of `y` from `exact`, of a wider type, in units in the last place of y's type."""
    rounded = exact.astype(y.dtype)
    finite = np.where(np.isfinite(rounded), rounded, np.finfo(y.dtype).max).astype(y.dtype)
    distance = np.abs(y.astype(exact.dtype) - exact) / np.abs(np.spacing(finite))
    same = (np.isnan(y) & np.isnan(exact)) | (y == rounded) & np.isinf(rounded) | (y == exact)
    distance = np.where(same, 0, distance)
    return np.where(np.isnan(distance), np.inf, distance)


def every_exponent_f32(count: int) -> Array:
    """Numbers spread over all bit patterns of f32, so over all exponents, infinities and NaNs."""
    bits = np.linspace(0, 2**32 - 1, count).astype(np.uint64).astype(np.uint32)
    return np.concatenate([bits.view(np.float32), SPECIAL.astype(np.float32)])


SPECIAL = np.array(
    [
        *(0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, np.inf, -np.inf, np.nan),
        *(88.72283, 88.72284, -103.97, -87.33655, -103.972, 1e-45, -1e-45),
        *(1.1754944e-38, 3.4028235e38, 0.99999994, 1.0000001),
    ]
)


def points_f32(count: int = 1_000_000) -> Array:
    rng = np.random.default_rng(7)
    near = [rng.uniform(-w, w, count // 8) for w in (110, 10, 2, 1)]
    return np.concatenate([every_exponent_f32(count // 2), *near]).astype(np.float32)


def points_f64(count: int) -> Array:
    rng = np.random.default_rng(8)
    wide = rng.standard_normal(count) * 10.0 ** rng.uniform(-307, 307, count)
    near = [rng.uniform(-w, w, count) for w in (750, 30, 2, 1)]
    return np.concatenate([wide, *near, 1 + rng.uniform(-1e-3, 1e-3, count), SPECIAL])


@pytest.fixture(autouse=True)
def _quiet():  # pyright: ignore[reportUnusedFunction]
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("name", NUMPY)
def test_f32(name: str) -> None:
    x = points_f32()
    error = errors(evaluate(EXPANSIONS[f"math.{name}"], x), NUMPY[name](x.astype(np.float64)))
    worst = int(error.argmax())
    assert error[worst] <= LIMIT_F32.get(name, 0.51), (x[worst], error[worst])


@pytest.mark.parametrize("name", [name for name in NUMPY if name != "erf"])
def test_f64(name: str) -> None:
    if np.finfo(np.longdouble).nmant < 63:
        pytest.skip("numpy has no type wider than f64 here")
    x = points_f64(20_000)
    error = errors(evaluate(EXPANSIONS[f"math.{name}"], x), NUMPY[name](x.astype(np.longdouble)))
    worst = int(error.argmax())
    assert error[worst] <= 3.5, (x[worst], error[worst])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NUMPY)
def test_against_mpmath(name: str, dtype: type[np.floating]) -> None:
    x = (every_exponent_f32(300) if dtype is np.float32 else points_f64(50)).astype(dtype)
    y = evaluate(EXPANSIONS[f"math.{name}"], x)
    limit = 3.5 if dtype is np.float64 else LIMIT_F32.get(name, 0.51)
    for point, value in zip(x, y, strict=True):
        if np.isfinite(point) and np.isfinite(value):
            assert mpmath_error(name, point, value) <= limit, (point, value)


def mpmath_error(name: str, x: Any, y: Any) -> float:
    with mpmath.workprec(1300):
        exact = MPMATH.get(name, getattr(mpmath, name, None))(mpmath.mpf(float(x)))
        near = abs(y) if mpmath.isfinite(exact) else np.inf
        unit = mpmath.mpf(float(np.spacing(near)))
        return float(abs(mpmath.mpf(float(y)) - exact) / unit)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_hard_arguments(name: str) -> None:
    """Numbers next to a multiple of pi/2: of all f32 and f64, those that cancel most bits."""
    hard = [16367173 * 2.0**72, 6381956970095103 * 2.0**797, 5319372648326541 * 2.0**255]
    for x in [*hard, 1.5707963267948966, 3.141592653589793, 1e22, 2.0**1023, 1048576.5]:
        y = evaluate(EXPANSIONS[f"math.{name}"], np.array([x]))[0]
        assert mpmath_error(name, x, y) <= 3.5, x
        with np.errstate(over="ignore"):
            single = np.float32(x)
        if np.isfinite(single):
            y = evaluate(EXPANSIONS[f"math.{name}"], np.array([single]))[0]
            assert mpmath_error(name, single, y) <= 0.51, single


@pytest.mark.parametrize("name", OPERATIONS)
def test_cost(name: str) -> None:
    assert operation_count(EXPANSIONS[f"math.{name}"], "f32") <= OPERATIONS[name]


def test_signs_of_zero_are_kept() -> None:
    zeros = np.array([0.0, -0.0], np.float32)
    odd = ["expm1", "log1p", "sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "erf"]
    for name in [*odd, "cbrt"]:
        y = evaluate(EXPANSIONS[f"math.{name}"], zeros)
        assert (y == 0).all(), name
        assert np.signbit(y).tolist() == [False, True], name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["powf", "atan2"])
def test_special_cases_of_two_arguments(name: str, dtype: type[np.floating]) -> None:
    one = [1 + float(np.finfo(dtype).eps), 1 - float(np.finfo(dtype).epsneg)]
    large = [2.0**23 + 1, 2.0**24, -(2.0**24 - 1), 2.0**60, 2.5, -2.5, 1e-10, 3, -3, -1e-30]
    s = np.concatenate([SPECIAL, one, large]).astype(dtype)
    a, b = (v.ravel() for v in np.meshgrid(s, s))
    function = {"powf": np.power, "atan2": np.arctan2}[name]
    exact = function(a.astype(np.longdouble), b.astype(np.longdouble)).astype(dtype)
    y = evaluate(EXPANSIONS[f"math.{name}"], a, b)
    both_nan = np.isnan(y) & np.isnan(exact)
    assert (both_nan | (np.signbit(y) == np.signbit(exact))).all()
    assert (errors(y, exact.astype(np.longdouble)) <= 2).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_power(dtype: type[np.floating]) -> None:
    rng, n = np.random.default_rng(3), 100_000 if dtype is np.float32 else 20_000
    a = [rng.uniform(0, 3, n), 10.0 ** rng.uniform(-38, 38, n), rng.uniform(0.9, 1.1, n)]
    b = [rng.uniform(-80, 80, n), rng.uniform(-3, 3, n), rng.uniform(-7000, 7000, n)]
    x, y = np.concatenate(a).astype(dtype), np.concatenate(b).astype(dtype)
    exact = np.power(x.astype(np.longdouble), y.astype(np.longdouble))
    error = errors(evaluate(EXPANSIONS["math.powf"], x, y), exact)
    assert error.max() <= (0.51 if dtype is np.float32 else 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_atan2(dtype: type[np.floating]) -> None:
    rng, n = np.random.default_rng(4), 100_000
    y = rng.standard_normal(n) * 10.0 ** rng.uniform(-30, 30, n)
    x = y * 10.0 ** rng.uniform(-3, 3, n) * rng.choice([-1, 1], n)
    y, x = y.astype(dtype), x.astype(dtype)
    exact = np.arctan2(y.astype(np.longdouble), x.astype(np.longdouble))
    error = errors(evaluate(EXPANSIONS["math.atan2"], y, x), exact)
    assert error.max() <= (0.51 if dtype is np.float32 else 3)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integer_power(dtype: type[np.integer]) -> None:
    x = np.array([0, 0, 1, -1, -1, 2, 2, 3, -3, 7, 2, -2, 1, 10], dtype)
    n = np.array([0, 3, -5, -5, -4, 10, -1, 5, 3, 40, 31, 31, 100, 0], dtype)
    bits = np.iinfo(dtype).bits
    want: list[int] = []
    for a, b in zip(x.tolist(), n.tolist(), strict=True):
        exact = a**b if b >= 0 else int(1 / a ** (-b)) if a else 0
        want.append((exact + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1))
    assert evaluate(EXPANSIONS["math.ipowi"], x, n).tolist() == want


def test_float_to_an_integer_power() -> None:
    x = np.array([2, -2, 0, -0.0, 1.5, np.inf, np.nan], np.float32)
    n = np.array([3, 3, -1, -3, -2, 2, 0], np.int32)
    y = evaluate(EXPANSIONS["math.fpowi"], x, n)
    np.testing.assert_array_equal(y, np.float32([8, -8, np.inf, -np.inf, 1 / 2.25, np.inf, 1]))


def test_rounding() -> None:
    x = np.float32([0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997, 8388609, -0.0, np.inf, np.nan])
    y = evaluate(EXPANSIONS["math.round"], x)
    want = np.float32([1, -1, 2, 3, -3, 0, 8388609, -0.0, np.inf, np.nan])
    np.testing.assert_array_equal(y, want)
    assert np.signbit(y[7])


def test_minimum_and_maximum() -> None:
    a = np.float32([0.0, -0.0, 1, np.nan, 2, np.inf])
    b = np.float32([-0.0, 0.0, 2, 1, np.nan, -np.inf])
    results = {name: evaluate(EXPANSIONS[f"arith.{name}"], a, b) for name in MIN_MAX}
    for name, want in MIN_MAX.items():
        np.testing.assert_array_equal(results[name], np.float32(want))
        assert np.signbit(results[name][:2]).tolist() == [name.startswith("min")] * 2


MIN_MAX = {
    "maximumf": [0, 0, 2, np.nan, np.nan, np.inf],
    "minimumf": [0, 0, 1, np.nan, np.nan, -np.inf],
    "maxnumf": [0, 0, 2, 1, 2, np.inf],
    "minnumf": [0, 0, 1, 1, 2, -np.inf],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMIT_F32)
def test_every_f32(name: str) -> None:
    """All 2**32 numbers, for the functions whose f32 error is more than a rounding."""
    for start in range(0, 2**32, 2**22):
        x = np.arange(start, start + 2**22, dtype=np.uint64).astype(np.uint32).view(np.float32)
        error = errors(evaluate(EXPANSIONS[f"math.{name}"], x), NUMPY[name](x.astype(np.float64)))
        worst = int(error.argmax())
        assert error[worst] <= LIMIT_F32[name], (x[worst], error[worst])
