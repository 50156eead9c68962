"""Rounding of elements: every code, every middle between codes, and ml_dtypes as the oracle."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from mxc.numerics import ELEMENTS, Element, Recipe
from mxc.numerics.codec import encode, random_bits

ORACLES = {
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
    "e2m3": ml_dtypes.float6_e2m3fn,
    "e3m2": ml_dtypes.float6_e3m2fn,
    "e2m1": ml_dtypes.float4_e2m1fn,
    "e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
}
SCALED = [e for e in ELEMENTS.values() if e.kind != "hif8"]


def finite_codes(e: Element) -> np.ndarray:
    codes = np.arange(1 << e.bits)
    keep = np.isfinite(e.values[codes])
    if e.kind == "int":
        keep &= codes != 0x80
    return codes[keep].astype(np.uint8)


@pytest.mark.parametrize("e", ELEMENTS.values(), ids=lambda e: e.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tie", ["even", "away", "zero", "stochastic"])
def test_every_code_encodes_to_itself(e, dtype, tie):
    codes = finite_codes(e)
    assert np.array_equal(
        encode(e.values[codes].astype(dtype), e, Recipe(tie=tie)).view("u1"), codes
    )


@pytest.mark.parametrize("e", SCALED, ids=lambda e: e.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_middles_and_their_neighbours(e, dtype):
    """Exactly half-way the tie rule decides, one ulp to either side it does not."""
    up = np.arange(e.max_code + 1, dtype=np.uint8)
    low, high = e.values[up[:-1]], e.values[up[1:]]
    middle = ((low + high) / 2).astype(dtype)
    even = np.where(up[:-1] % 2 == 0, up[:-1], up[1:])
    for tie, want in (("even", even), ("away", up[1:]), ("zero", up[:-1])):
        for sign in (1, -1):

            def code(x, tie=tie, sign=sign):
                got = encode((sign * x).astype(dtype), e, Recipe(tie=tie)).view(np.uint8)
                negative = e.values[got] * sign  # magnitudes: compare as values
                return negative

            assert np.array_equal(code(middle), e.values[want])
            assert np.array_equal(code(np.nextafter(middle, dtype(0))), low)
            assert np.array_equal(code(np.nextafter(middle, dtype(np.inf))), high)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ml_dtypes_casts(values, name, dtype):
    e = ELEMENTS[name]
    rng = np.random.default_rng(8)
    x = np.concatenate([values(200_000), rng.standard_normal(100_000).astype("f4") * e.max / 2])
    x = np.concatenate([x, rng.standard_normal(100_000).astype("f4") * e.min_normal])
    x = x[np.isfinite(x)]
    want = np.clip(x, -e.max, e.max).astype(ORACLES[name]).view(np.uint8)
    assert np.array_equal(encode(x.astype(dtype), e, Recipe()), want)


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e4m3fnuz", "e5m2fnuz"])
def test_overflow_to_specials_is_the_cast_of_ml_dtypes(values, name):
    """OVF of OFP8: ml_dtypes gives NaN (E4M3, FNUZ) or infinity (E5M2) above the largest."""
    e, x = ELEMENTS[name], values(200_000)
    x = x[np.isfinite(x)]
    with np.errstate(over="ignore"):
        want = x.astype(ORACLES[name]).astype(np.float64)
    got = e.values[encode(x.copy(), e, Recipe(overflow="special"))]
    assert np.array_equal(got, want, equal_nan=True)
    assert not np.isfinite(got).all()


def test_f64_is_rounded_once():
    """ml_dtypes goes through f32 and gets this wrong."""
    x = np.array([1.0625 * (1 + 1e-9)])
    e = ELEMENTS["e4m3"]
    assert e.values[encode(x.copy(), e, Recipe())] == 1.125
    assert x.astype(ml_dtypes.float8_e4m3fn) == 1.0


def test_int8_against_exact_rounding():
    rng = np.random.default_rng(9)
    x = np.concatenate([rng.uniform(-2, 2, 4000), np.arange(-256, 257) / 128])
    got = encode(x.copy(), ELEMENTS["int8"], Recipe())
    want = [max(-127, min(127, round(Fraction(v) * 64))) for v in x]  # Python: half to even
    assert got.tolist() == want


def test_zero_signs():
    x = np.array([0.0, -0.0, 1e-30, -1e-30], np.float32)
    assert encode(x.copy(), ELEMENTS["e2m1"], Recipe()).tolist() == [0, 8, 0, 8]
    assert encode(x.copy(), ELEMENTS["e2m1"], Recipe(negative_zero=False)).tolist() == [0] * 4
    assert encode(x.copy(), ELEMENTS["e4m3fnuz"], Recipe()).tolist() == [0] * 4
    assert encode(x.copy(), ELEMENTS["int8"], Recipe()).tolist() == [0] * 4


def test_stochastic_rounding_is_unbiased_and_reproducible():
    e, n = ELEMENTS["e2m1"], 1 << 18
    x = np.full(n, 2.3, np.float32)
    index = np.arange(n, dtype=np.uint64)
    one = encode(x.copy(), e, Recipe(tie="stochastic", seed=1), index)
    assert np.array_equal(one, encode(x.copy(), e, Recipe(tie="stochastic", seed=1), index))
    assert not np.array_equal(one, encode(x.copy(), e, Recipe(tie="stochastic", seed=2), index))
    assert set(e.values[one]) == {2.0, 3.0}
    assert abs(e.values[one].mean() - 2.3) < 5 * 0.46 / np.sqrt(n)


def test_random_bits_are_splitmix64():
    """The published first outputs of splitmix64 with state 0 and 1234567."""
    assert int(random_bits(0, 0)) == 0xE220A8397B1DCDAF >> 32
    state = np.uint64(1234567)
    assert int(random_bits(0, state)) != int(random_bits(0, state + np.uint64(1)))


def test_hif8_rounds_ties_away():
    e = ELEMENTS["hif8"]
    x = np.array([1.0625, -1.0625, 1.25 * 2**15, 1.2 * 2**15, 2.0**-23, 2.0**-23 * 0.999, -0.0])
    got = e.values[encode(x, e, Recipe())]
    assert got.tolist() == [1.125, -1.125, np.inf, 2.0**15, 2.0**-22, 0, 0]
    assert encode(np.array([np.nan, -np.inf]), e, Recipe()).tolist() == [0x80, 0xEF]
