"""The C header and the Python library give the same bits."""

import ctypes
from itertools import product

import numpy as np
import pytest

from mxc.errors import BadInput
from mxc.numerics import ELEMENTS, BlockArray, Recipe, default_recipe, matmul, quantize, requantize
from mxc.numerics import FORMATS as FORMAT_TABLE
from mxc.numerics.c_source import c_format, c_recipe, header_text
from mxc.numerics.scales import scale_bytes

FORMATS = ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4", "mxint8"]
FNUZ = ["mxfp8_e4m3fnuz", "mxfp8_e5m2fnuz"]
RULES = ["floor", "rceil", "even", "ceil"]


def pointer(a: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(a.ctypes.data)


def test_codes_and_scales_have_the_same_values(c, equal):
    for index, element in enumerate(ELEMENTS.values()):
        got = np.array([c.lib.t_decode(index, code) for code in range(256)], np.float32)
        assert equal(got, element.values32), element.name
    got = np.array([c.lib.t_scale_value(b) for b in range(256)])
    assert np.array_equal(got[:255], 2.0 ** np.arange(-127, 128))
    assert np.isnan(got[255])


def test_all_codes_encode_to_themselves(c):
    for index, element in enumerate(ELEMENTS.values()):
        for code in range(1 << element.bits):
            value = element.values[code]
            if np.isfinite(value) and not (element.kind == "int" and code == 0x80):
                for tie in range(3):
                    assert c.lib.t_encode(index, value, tie) == code, (element.name, code)


@pytest.mark.parametrize("format", [*FORMATS, *FNUZ, "hifloat8"])
@pytest.mark.parametrize("rule", RULES)
def test_quantize(c, values, equal, format, rule):
    x = values(200_000, seed=1).reshape(-1, 160)
    for recipe in (
        Recipe(scale_rule=rule),
        Recipe(
            scale_rule=rule,
            special="saturate",
            min_scale_byte=1,
            min_amax=1e-4,
            negative_zero=False,
        ),
    ):
        assert equal(c.quantize(x, format, (1, 32), recipe), _quantize(x, format, (1, 32), recipe))


def _quantize(x, format, block, recipe):
    if format == "hifloat8":
        a = quantize(x, format, recipe=recipe)
        grid = [-(-n // b) for n, b in zip(x.shape, block, strict=True)]
        return BlockArray(a.codes, np.full(grid, 127, "u1"), a.format, block)
    return quantize(x, format, block=block, recipe=recipe)


@pytest.mark.slow
@pytest.mark.parametrize("format", [*FORMATS, *FNUZ])
@pytest.mark.parametrize("rule", RULES)
def test_quantize_ten_million(c, values, equal, format, rule):
    for seed in range(10):
        x = values(1 << 20, seed=seed)
        recipe = Recipe(scale_rule=rule)
        assert equal(c.quantize(x, format, (32,), recipe), quantize(x, format, recipe=recipe))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["nvfp4", "hifloat8"])
def test_quantize_ten_million_without_rules(c, values, equal, format):
    for seed in range(10):
        x = values(1 << 20, seed=seed)
        a = _quantize(x, format, (16,), Recipe("even"))
        assert equal(c.quantize(x, format, (16,), Recipe("even")), a)


@pytest.mark.parametrize("format", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp4", "mxint8", *FNUZ])
@pytest.mark.parametrize("tie", ["away", "zero", "stochastic"])
@pytest.mark.parametrize("overflow", ["saturate", "special"])
def test_other_roundings(c, values, equal, format, tie, overflow):
    x = values(40_000, seed=2).reshape(-1, 80)
    recipe = Recipe(scale_rule="floor", tie=tie, overflow=overflow, seed=7)
    assert equal(
        c.quantize(x, format, (1, 32), recipe), quantize(x, format, block=(1, 32), recipe=recipe)
    )


BLOCKS = [(1, 1, 32), (1, 32, 1), (32, 1, 1), (1, 16, 16), (1, 32, 32), (2, 3, 5), (1, 1, 128)]


@pytest.mark.parametrize("block", [*BLOCKS, (40, 37, 211)])
@pytest.mark.parametrize("format", ["mxfp8_e4m3", "mxint8"])
def test_blocks_tails_and_strides(c, values, equal, block, format):
    recipe = Recipe()
    x = values(400_000, seed=3)[: 40 * 37 * 211].reshape(40, 37, 211)
    small = x[:5, :, :70]
    strided = x.transpose(1, 0, 2)[::2, ::-1, 3::3]
    for array in (x, small, strided):
        fits = tuple(min(b, n) for b, n in zip(block, array.shape, strict=True))
        want = quantize(array, format, block=fits, recipe=recipe)
        assert equal(c.quantize(array, format, fits, recipe), want)
        assert equal(c.dequantize(want), want.dequantize())


@pytest.mark.parametrize("block", [(1, 16), (16, 1), (16, 16)])
def test_nvfp4(c, values, equal, block):
    every = values(40_000, seed=8).reshape(-1, 80)
    normal = np.random.default_rng(9).standard_normal((70, 80)).astype("f4")
    for x in (normal, normal * np.float32(1e-42), every, np.zeros((3, 16), np.float32)):
        a = quantize(x, "nvfp4", block=block)
        b = c.quantize(x, "nvfp4", block, Recipe("even"))
        assert equal(a, b)
        assert a.tensor_scale == b.tensor_scale
        assert equal(c.dequantize(a), a.dequantize())


def test_empty(c, equal):
    x = np.empty((3, 0), np.float32)
    assert c.quantize(x, "mxfp8", (1, 32), Recipe()).codes.shape == (3, 0)


@pytest.mark.parametrize("source", ["mxfp8_e4m3", "mxfp8_e5m2", "mxint8", "mxfp4"])
@pytest.mark.parametrize("target", ["mxfp8_e4m3", "mxfp6_e3m2", "mxint8", "mxfp8_e5m2fnuz"])
def test_requantize(c, values, equal, source, target):
    x = values(12_000, seed=4).reshape(-1, 75)
    a = quantize(x, source, recipe=Recipe("even"))
    for block, recipe in [((32, 1), Recipe()), ((1, 16), Recipe("floor", tie="zero"))]:
        got = c.requantize(a, target, block, recipe)
        assert equal(got, requantize(a, target, block=block, recipe=recipe))


def test_requantize_codes_beyond_f32(c, equal):
    a = quantize(np.full((2, 32), 3.4e38, np.float32), "mxfp8")
    assert np.isinf(a.dequantize()).all()
    recipe = Recipe()
    got = c.requantize(a, "mxfp4", (1, 32), recipe)
    assert equal(got, requantize(a, "mxfp4", recipe=recipe))
    assert (got.scales == 253).all()  # 2**128, which f32 does not have


@pytest.mark.parametrize("fa", [*FORMATS, "mxfp8_e5m2fnuz"])
@pytest.mark.parametrize("fb", [*FORMATS, "mxfp8_e5m2fnuz"])
def test_contracts(c, equal, fa, fb):
    rng = np.random.default_rng(5)
    for spread in (0, 6):
        x = rng.standard_normal((9, 70)) * np.exp(spread * rng.standard_normal((9, 70)))
        y = rng.standard_normal((70, 8)) * np.exp(spread * rng.standard_normal((70, 8)))
        a, b = quantize(x, fa), quantize(y, fb, 0)
        for contract in ("block-exact", "sequential", "sequential-fma"):
            assert equal(c.matmul(a, b, contract), matmul(a, b, contract)), contract


def test_contracts_with_specials(c, equal):
    rng = np.random.default_rng(6)
    recipe = Recipe("floor", overflow="special")
    x = (rng.standard_normal((9, 64)) * np.exp(3 * rng.standard_normal((9, 64)))).astype("f4")
    x[3, 5] = np.inf
    y = x.T.copy()
    y[40, 3] = np.nan
    for fa, fb in product(("mxfp8_e5m2", "mxfp8_e4m3"), repeat=2):
        a, b = quantize(x, fa, recipe=recipe), quantize(y, fb, 0, recipe=recipe)
        assert not np.isfinite(a.dequantize()).all()
        assert equal(c.matmul(a, b, "block-exact"), matmul(a, b))


def test_rounding_of_wide_integers(c):
    """mx_round_f32 against Python's exact integers, at every exponent."""
    rng = np.random.default_rng(7)
    for exponent in range(-300, 130, 3):
        for _ in range(40):
            m = int(rng.integers(-(2**62), 2**62)) >> int(rng.integers(0, 62))
            got = np.float32(c.lib.t_round(m, exponent))
            with np.errstate(all="ignore"):
                # 62 bits to f64 to f32 may round twice: to odd first, by hand
                want = np.float32(_odd(m) * 2.0**exponent if exponent > -1000 else 0)
            assert got.view(np.uint32) == want.view(np.uint32) or (m == 0 and got == 0), (
                m,
                exponent,
            )


def _odd(m: int) -> float:
    drop = max(abs(m).bit_length() - 53, 0)
    whole = abs(m) >> drop
    whole |= (whole << drop) != abs(m)
    return float(np.ldexp(float(whole), drop)) * (-1 if m < 0 else 1)


@pytest.mark.parametrize("rule", range(4))
def test_scale_bytes_over_all_thresholds(c, rule):
    mantissas = np.arange(0, 1 << 23, 61, dtype=np.uint32)
    for index, element in enumerate(ELEMENTS.values()):
        if element.kind == "hif8":
            continue
        for field in (0, 1, 2, 9, 17, 127, 253, 254, 255):
            bits = mantissas + np.uint32(field << 23)
            got = np.empty(bits.size, np.uint8)
            size = ctypes.c_size_t(bits.size)
            c.lib.t_scale_bytes(index, rule, pointer(bits), size, pointer(got))
            assert np.array_equal(got, scale_bytes(bits, element, Recipe(RULES[rule])))


def test_names_of_the_enums():
    assert c_format("mxfp8") == "MX_E4M3"
    assert c_format("deepseek_1x128") == "MX_E4M3"
    assert c_recipe(Recipe("even"))["rule"] == "MX_RULE_EVEN"
    with pytest.raises(BadInput, match="bf16"):
        c_format("bf16")


def test_text_is_deterministic_and_narrow():
    text = header_text()
    assert text == header_text()
    assert max(map(len, text.splitlines())) <= 120
    assert "@" not in text


@pytest.mark.parametrize("block", [(1, 16), (16, 1), (16, 16)])
def test_nvfp4_under_a_tensor_scale_of_one(c, values, equal, block):
    x = values(40_000, seed=10).reshape(-1, 80)
    for array in (x, np.random.default_rng(9).standard_normal((70, 80)).astype("f4") * 900):
        a = quantize(array, "nvfp4", block=block, tensor_scale=1.0)
        assert a.tensor_scale == 1
        assert equal(c.quantize(array, "nvfp4", block, Recipe("even"), tensor_scale=1.0), a)
        assert equal(c.dequantize_plain(a), a.dequantize())


@pytest.mark.parametrize("other", ["nvfp4", *FORMATS])
def test_requantize_and_contract_nvfp4(c, equal, other):
    rng = np.random.default_rng(11)
    x = (rng.standard_normal((64, 64)) * np.exp(2 * rng.standard_normal((64, 64)))).astype("f4")
    a = quantize(x, "nvfp4", tensor_scale=1.0)
    wide = FORMAT_TABLE[other].block[-1]
    b = quantize(x, other, 0, tensor_scale=1.0)
    for source, target, block in ((a, other, (wide, 1)), (b, "nvfp4", (1, 16))):
        want = requantize(source, target, block=block, tensor_scale=1.0)
        assert equal(c.requantize(source, target, block, default_recipe(want.format)), want)
    for contract in ("block-exact", "sequential", "sequential-fma"):
        assert equal(c.matmul(a, b, contract), matmul(a, b, contract)), contract
