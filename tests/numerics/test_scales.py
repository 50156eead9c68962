"""Scale bytes: the golden table, and the rules in exact arithmetic over all mantissas."""

from fractions import Fraction

import numpy as np
import pytest

from mxc.numerics import ELEMENTS, Recipe
from mxc.numerics.scales import SCALE_VALUES, scale_bytes

RULES = ("floor", "even", "rceil", "ceil")
COLUMNS = ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1")
ULP = 2.0**-23

# amax: floor/even/rceil/ceil for E4M3, E5M2, E3M2, E2M3, E2M1, as torchao 0.18 computes them
GOLDEN = {
    1.0: "119/119/119/119 112/112/112/112 123/123/123/123 125/125/125/125 125/125/125/125",
    1.5: "119/119/119/120 112/112/112/113 123/123/123/124 125/125/125/126 125/125/125/126",
    1.5 + ULP: "119/119/119/120 112/112/112/113 123/123/123/124 125/125/125/126 125/125/126/126",
    1.75: "119/119/119/120 112/112/112/113 123/123/123/124 125/125/125/126 125/126/126/126",
    1.75 + ULP: "119/119/120/120 112/112/113/113 123/123/124/124 125/125/125/126 125/126/126/126",
    1.875: "119/119/120/120 112/113/113/113 123/124/124/124 125/125/125/126 125/126/126/126",
    1.875 + ULP: "119/119/120/120 112/113/113/113 123/124/124/124 125/125/126/126 125/126/126/126",
    1.9375: "119/120/120/120 112/113/113/113 123/124/124/124 125/126/126/126 125/126/126/126",
    2 - ULP: "119/120/120/120 112/113/113/113 123/124/124/124 125/126/126/126 125/126/126/126",
    2.0: "120/120/120/120 113/113/113/113 124/124/124/124 126/126/126/126 126/126/126/126",
}


def byte_of(amax: float, element: str, rule: str, dtype: type = np.float32, **kwargs) -> int:
    bits = np.array([amax], dtype).view(f"u{np.dtype(dtype).itemsize}")
    return int(scale_bytes(bits, ELEMENTS[element], Recipe(rule, **kwargs))[0])


@pytest.mark.parametrize("amax", GOLDEN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_golden_table(amax, dtype):
    for element, column in zip(COLUMNS, GOLDEN[amax].split(), strict=True):
        got = "/".join(str(byte_of(amax, element, rule, dtype)) for rule in RULES)
        assert got == column, element


def exact_bytes(amax: np.ndarray, element: str, rule: str) -> np.ndarray:
    """The rules in words, on f64 values of f32 numbers: exact, and nothing of the bits."""
    e = ELEMENTS[element]
    fraction, exponent = np.frexp(amax.astype(np.float64))
    significand, floor = 2 * fraction, exponent - 1
    step = 2.0**-e.mantissa_bits
    rounded = np.floor(significand / step + 0.5) * step  # half away: a carry happens either way
    bump = {
        "floor": significand < 0,
        "ceil": significand > 1,
        "rceil": significand > e.max_significand,
        "even": rounded >= 2,
    }[rule]
    return np.clip(floor + bump - e.emax, -127, 127) + 127


ELEMENTS_WITH_SCALES = [*COLUMNS, "int8", "e4m3fnuz", "e5m2fnuz"]


@pytest.mark.parametrize("element", ELEMENTS_WITH_SCALES)
@pytest.mark.parametrize("rule", RULES)
def test_many_mantissas(element, rule):
    """Of a normal binade, the subnormals, the binades at the clamp, the top."""
    check_mantissas(element, rule, 61)


@pytest.mark.slow
@pytest.mark.parametrize("element", ELEMENTS_WITH_SCALES)
@pytest.mark.parametrize("rule", RULES)
def test_all_mantissas(element, rule):
    check_mantissas(element, rule, 1)


def check_mantissas(element: str, rule: str, step: int) -> None:
    e = ELEMENTS[element]
    steps = np.arange(0, 1 << 23, step, dtype=np.uint32)
    eighths = np.arange(0, 1 << 23, 1 << 18, dtype=np.uint32)  # where every threshold lies
    around = (eighths[:, None] + np.arange(-2, 3, dtype=np.int64)).ravel() % (1 << 23)
    mantissas = np.concatenate([steps, around.astype(np.uint32)])
    for field in (0, 1, max(e.emax - 1, 0), e.emax, e.emax + 1, 127, 254):
        bits = mantissas + np.uint32(field << 23)
        bits = bits[bits > 0]
        for part in np.array_split(bits, 4):
            got = scale_bytes(part, e, Recipe(rule))
            assert np.array_equal(got, exact_bytes(part.view(np.float32), element, rule)), field


@pytest.mark.parametrize("element", COLUMNS)
def test_rceil_is_a_division_rounded_up(element):
    """The closed form without a division is ceil(log2(amax / max)), in exact arithmetic."""
    e = ELEMENTS[element]
    for amax in np.float32(1) + np.arange(0, 1 << 23, 99_991, dtype=np.float32) * np.float32(ULP):
        quotient = Fraction(float(amax)) / Fraction(e.max)
        exponent = byte_of(amax, element, "rceil") - 127
        assert Fraction(2) ** (exponent - 1) < quotient <= Fraction(2) ** exponent


@pytest.mark.parametrize(
    ("element", "bits"),
    [("e4m3", 0x04600001), ("e5m2", 0x07E00001), ("e3m2", 0x02600001), ("e2m3", 0x01700001),
     ("e2m1", 0x01400001)],
)  # fmt: skip
def test_the_one_amax_where_hardware_differs(element, bits):
    """f32(amax * f32(1 / max)) rounds to 2**-127 there, so the hardware's byte is 0; exact: 1."""
    amax = np.array([bits], np.uint32)
    assert scale_bytes(amax, ELEMENTS[element], Recipe("rceil")).tolist() == [1]
    product = amax.view(np.float32) * np.float32(1 / ELEMENTS[element].max)
    assert product.view(np.uint32).tolist() == [0x00400000]


def test_scale_values():
    for byte in range(255):
        assert Fraction(float(SCALE_VALUES[byte])) == Fraction(2) ** (byte - 127)
    assert np.isnan(SCALE_VALUES[255])


def test_zero_nan_infinity_and_floors():
    assert byte_of(0.0, "e4m3", "rceil") == 0
    assert byte_of(0.0, "e4m3", "rceil", min_scale_byte=3) == 0
    assert byte_of(1e-44, "e4m3", "rceil") == 0
    assert byte_of(1e-44, "e4m3", "rceil", min_scale_byte=3) == 3
    assert byte_of(0.0, "e4m3", "rceil", min_amax=1e-4) == 127 - 22
    assert byte_of(np.inf, "e4m3", "rceil") == byte_of(np.nan, "e4m3", "rceil") == 255
    assert byte_of(np.inf, "e4m3", "rceil", special="saturate") == 254
    assert byte_of(np.nan, "e4m3", "rceil", special="saturate") == 255
    assert byte_of(1e300, "e4m3", "rceil", np.float64) == 254
    assert byte_of(1e-300, "int8", "rceil", np.float64) == 0
