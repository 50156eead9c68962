"""The tables say what the standards say; a new format is one row."""

import ml_dtypes
import numpy as np
import pytest
from xdsl.dialects import builtin

from mxc.errors import BadInput
from mxc.numerics import (
    ELEMENTS,
    FORMATS,
    Element,
    Format,
    explain,
    format_of,
    formats_table,
    quantize,
)
from mxc.numerics.c_source import header_text

ML_DTYPES = {
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
    "e2m3": ml_dtypes.float6_e2m3fn,
    "e3m2": ml_dtypes.float6_e3m2fn,
    "e2m1": ml_dtypes.float4_e2m1fn,
    "e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
}

XDSL = {
    "e4m3": builtin.Float8E4M3FNType(),
    "e5m2": builtin.Float8E5M2Type(),
    "e2m3": builtin.Float6E2M3FNType(),
    "e3m2": builtin.Float6E3M2FNType(),
    "e2m1": builtin.Float4E2M1FNType(),
    "e4m3fnuz": builtin.Float8E4M3FNUZType(),
    "e5m2fnuz": builtin.Float8E5M2FNUZType(),
}

# max, emax, smallest normal, smallest: OCP MX v1.0 table 1, OFP8 v1.0, and AMD's FNUZ types
FACTS = {
    "e4m3": (448, 8, 2**-6, 2**-9),
    "e5m2": (57344, 15, 2**-14, 2**-16),
    "e3m2": (28, 4, 0.25, 0.0625),
    "e2m3": (7.5, 2, 1, 0.125),
    "e2m1": (6, 2, 1, 0.5),
    "int8": (127 / 64, 0, 2**-6, 2**-6),
    "e4m3fnuz": (240, 7, 2**-7, 2**-10),
    "e5m2fnuz": (57344, 15, 2**-15, 2**-17),
    "hif8": (2**15, 15, 2**-15 * 2**16, 2**-22),
}


@pytest.mark.parametrize("name", ML_DTYPES)
def test_every_code_has_the_value_of_ml_dtypes(name):
    element = ELEMENTS[name]
    codes = np.arange(1 << element.bits, dtype=np.uint8)
    want = codes.view(ML_DTYPES[name]).astype(np.float64)
    got = element.values[codes]
    assert np.array_equal(got, want, equal_nan=True)
    assert np.array_equal(np.signbit(got[got == 0]), np.signbit(want[want == 0]))


@pytest.mark.parametrize("name", XDSL)
def test_every_code_has_the_value_of_xdsl(name):
    element = ELEMENTS[name]
    for code in range(1 << element.bits):
        (want,) = XDSL[name].unpack(bytes([code]), 1)
        assert np.array_equal(element.values[code], want, equal_nan=True), code


@pytest.mark.parametrize("name", ELEMENTS)
def test_ranges(name):
    element = ELEMENTS[name]
    top, emax, normal, smallest = FACTS[name]
    assert (element.max, element.emax, element.min_subnormal) == (top, emax, smallest)
    if element.kind != "hif8":
        assert element.min_normal == normal


def test_int8_never_uses_minus_two():
    values = ELEMENTS["int8"].values
    assert values[0x80] == -2
    assert (
        quantize(np.full(32, -1.999, np.float32), "mxint8", scale_rule="floor").codes == -127
    ).all()


def test_hif8_has_the_published_shape():
    values = ELEMENTS["hif8"].values
    finite = np.sort(values[:0x80][np.isfinite(values[:0x80]) & (values[:0x80] > 0)])
    assert len(finite) == 126
    assert (finite[0], finite[-1]) == (2.0**-22, 2.0**15)
    assert len(set(np.frexp(finite)[1])) == 38
    assert np.isnan(values[0x80])
    assert (values[0x6F], values[0xEF], values[0x6E]) == (np.inf, -np.inf, 2.0**15)


def test_bits_per_element():
    bits = {name: FORMATS[name].bits_per_element for name in FORMATS}
    assert bits["mxfp8_e4m3"] == bits["mxint8"] == 8.25
    assert bits["mxfp6_e2m3"] == 6.25
    assert bits["mxfp4"] == 4.25
    assert bits["nvfp4"] == 4.5
    assert bits["deepseek_128x128"] == 8 + 8 / 128**2
    assert (bits["bf16"], bits["hifloat8"], bits["f32"]) == (16, 8, 32)


def test_names():
    assert format_of("mxfp8") is FORMATS["mxfp8_e4m3"]
    assert format_of(FORMATS["mxfp4"]) is FORMATS["mxfp4"]
    with pytest.raises(BadInput, match=r"unknown format 'mxfp5'.*mxfp8_e4m3, mxfp8_e5m2"):
        format_of("mxfp5")


def test_a_new_format_is_one_row(monkeypatch, equal):
    """E3M3 in blocks of 8, which no standard has: Python, tables and C follow from its row."""
    row = Format("mxfp7", Element("e3m3", "", 3, 3, 3, 0x3F), block=(8,), rule="even")
    monkeypatch.setitem(FORMATS, row.name, row)
    monkeypatch.setitem(ELEMENTS, "e3m3", row.element)
    x = np.arange(-16, 16, dtype=np.float32) / 4
    a = quantize(x, "mxfp7")
    assert a.scales.shape == (4,)
    assert equal(a.dequantize(), x)  # 3 mantissa bits hold integers up to 16
    assert row.bits_per_element == 8
    assert "MX_E3M3" in header_text()
    assert any(r["name"] == "mxfp7" and r["max"] == 30 for r in formats_table())


def test_table_rows():
    rows = {row["name"]: row for row in formats_table()}
    assert list(rows) == list(FORMATS)
    assert rows["mxfp8_e4m3"]["recipe"] == "rceil"
    assert rows["mxfp4"]["recipe"] == "even"
    assert rows["deepseek_1x128"]["recipe"] == "rceil, min_amax=0.0001"
    assert rows["bf16"]["max"] is None
    assert rows["mxfp4"]["scale_rules"] == ["floor", "rceil", "even", "ceil"]


@pytest.mark.parametrize("format", [n for n, f in FORMATS.items() if f.scale == "e8m0"])
@pytest.mark.parametrize("x", [3.7, -3.7, 1e-40, 1e30, 0.0])
def test_explain_agrees_with_quantize(format, x):
    for rule in ("floor", "rceil", "even", "ceil"):
        told = explain(x, format, rule)
        a = quantize(np.array([x]), format, scale_rule=rule, block=(1,))
        assert told["scale_byte"] == a.scales[0]
        assert told["code"] == a.codes.view(np.uint8)[0]
        assert told["result"] == a.dequantize(np.float64)[0]
        if x and 0 < told["scale_byte"] < 254 and abs(x) > FORMATS[format].min_amax:
            e = told["exponent"] - FORMATS[format].element.emax + told["bump"]
            assert e == told["scale_byte"] - 127


def test_explain_in_words():
    told = explain(3.7, "mxfp4")
    assert told["steps"] == [
        "3.7 = 1.85 * 2**1 in magnitude",
        "scale exponent 1 - 2 + 1 = 0: even raises it if rounding to 1 mantissa bits reaches 2",
        "scale byte 127 (0x7F) = 1",
        "3.7 / 1 = 3.7",
        "the nearest element is 4: code 0x06 = 0 11 0",
        "4 * 1 = 4, an error of 0.3",
    ]
    assert "saturates at 6" in explain(7.9, "mxfp4", "floor")["steps"][4]
    assert "996 - 2 = 994, which E8M0 has as 127: even" in explain(1e300, "mxfp4")["steps"][1]


@pytest.mark.parametrize("format", ["bf16", "nvfp4", "hifloat8"])
def test_explain_needs_a_block_scale(format):
    with pytest.raises(BadInput, match="no block scale"):
        explain(1.0, format)


def test_explain_needs_a_number():
    with pytest.raises(BadInput, match="nan makes the scale"):
        explain(float("nan"), "mxfp4")
