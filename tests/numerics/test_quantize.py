"""Quantisation of whole tensors: policies, blocks, tails, dtypes, recipes, errors."""

import ml_dtypes
import numpy as np
import pytest

from mxc.errors import BadInput
from mxc.numerics import (
    FORMATS,
    PRESETS,
    BlockArray,
    Recipe,
    block_values,
    preset,
    quantize,
    requantize,
)
from mxc.numerics.dense import is_dense
from mxc.numerics.quantize import round_to_odd

SCALED = [name for name, f in FORMATS.items() if f.scale == "e8m0"]


@pytest.mark.parametrize("format", SCALED)
def test_values_are_the_nearest_of_the_grid(values, format):
    """Against a search over all codes, in f64: no formula of the library is used."""
    x = values(4000, seed=11).reshape(-1, 32)
    x = x[np.isfinite(x).all(1)]
    a = quantize(x, format, block=(1, 32))
    element = FORMATS[format].element
    codes = np.arange(1 << element.bits)
    grid = element.values[codes]
    grid = np.unique(grid[np.isfinite(grid) & (np.abs(grid) <= element.max)])
    scaled = x.astype(np.float64) / 2.0 ** (a.scales.astype(np.float64) - 127)
    best = np.abs(np.clip(scaled, grid[0], grid[-1])[..., None] - grid).min(-1)
    got = element.values[a.codes.view(np.uint8)]
    assert np.array_equal(np.abs(np.clip(scaled, grid[0], grid[-1]) - got), best)


def test_default_recipes():
    x = np.full(32, 7.9, np.float32)
    assert quantize(x, "mxfp8").dequantize()[0] == 8
    assert (
        quantize(x, "mxfp4").scales[0] == quantize(x, "mxfp4", scale_rule="even").scales[0] == 128
    )
    assert quantize(x, "mxfp4", scale_rule="floor").dequantize()[0] == 6  # saturates


def test_special_values_make_their_block_nan():
    x = np.arange(96, dtype=np.float32)
    x[40], x[70] = np.inf, np.nan
    a = quantize(x, "mxfp8")
    assert a.scales.tolist()[1:] == [255, 255]
    assert (a.codes[32:] == 0).all()
    assert np.isnan(a.dequantize()[32:]).all()
    assert np.isfinite(a.dequantize()[:32]).all()


def test_infinity_can_saturate_instead():
    x = np.ones(64, np.float32)
    x[3], x[40] = -np.inf, np.nan
    a = quantize(x, "mxfp8", recipe="nvidia")
    assert a.scales.tolist() == [254, 255]
    assert a.codes[:5].tolist() == [0, 0, 0, 0xFE, 0]


def test_zero_blocks_are_positive_and_other_zeros_keep_their_sign():
    x = np.full((2, 32), -0.0, np.float32)
    x[1, 0] = 1
    a = quantize(x, "mxfp4")
    assert a.scales.ravel().tolist()[0] == 0
    assert (a.codes[0] == 0).all()
    assert (a.codes[1, 1:] == 8).all()
    assert np.signbit(a.dequantize()[1, 1:]).all()


@pytest.mark.parametrize("format", ["mxfp8", "mxfp4", "mxint8", "nvfp4"])
@pytest.mark.parametrize("n", [1, 31, 33, 100])
def test_tails_are_blocks_of_their_own(equal, format, n):
    x = np.random.default_rng(n).standard_normal((3, n)).astype(np.float32)
    a = quantize(x, format)
    block = a.format.block[0]
    padded = np.zeros((3, -(-n // block) * block), np.float32)
    padded[:, :n] = x
    b = quantize(padded, format)
    assert equal(a.scales, b.scales)
    assert equal(a.codes, b.codes[:, :n].copy())
    assert equal(a.dequantize(), b.dequantize()[:, :n].copy())


@pytest.mark.parametrize("axis", [0, 1, 2, -2])
def test_axes(equal, axis):
    x = np.random.default_rng(1).standard_normal((40, 70, 33)).astype(np.float32)
    a = quantize(x, "mxfp8", axis)
    moved = quantize(np.ascontiguousarray(np.moveaxis(x, axis, -1)), "mxfp8")
    assert a.block[axis] == 32
    assert sorted(a.block) == [1, 1, 32]
    assert equal(np.ascontiguousarray(np.moveaxis(a.codes, axis, -1)), moved.codes)
    assert equal(np.ascontiguousarray(np.moveaxis(a.scales, axis, -1)), moved.scales)


def test_square_tiles_commute_with_transposition(equal):
    x = np.random.default_rng(2).standard_normal((70, 100)).astype(np.float32)
    a, b = quantize(x, "mxfp4", block=(32, 32)), quantize(x.T, "mxfp4", block=(32, 32))
    assert a.scales.shape == (3, 4)
    assert equal(a.codes, np.ascontiguousarray(b.codes.T))


def test_large_tensors_are_worked_on_in_parts(equal):
    """Longer than a chunk in every axis order; parts must not show."""
    rng = np.random.default_rng(3)
    for shape, block in [
        ((3, 70_000), (1, 32)),
        ((70_000, 3), (32, 1)),
        ((300, 300, 3), (32, 32, 1)),
    ]:
        x = rng.standard_normal(shape).astype(np.float32)
        a = quantize(x, "mxfp8", block=block)
        cut = tuple(slice(0, min(2 * b, n)) for b, n in zip(block, shape, strict=True))
        last = tuple(slice((n - 1) // b * b, n) for b, n in zip(block, shape, strict=True))
        for part in (cut, last):
            small = quantize(x[part].copy(), "mxfp8", block=block)
            assert equal(np.ascontiguousarray(a.codes[part]), small.codes)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_narrow_inputs_are_their_values(equal, dtype):
    x = np.random.default_rng(4).standard_normal((4, 64)).astype(dtype)
    assert equal(quantize(x, "mxfp8"), quantize(x.astype(np.float32), "mxfp8"))


def test_f64_is_not_rounded_twice():
    x = np.full(32, 1.0625 * (1 + 1e-9))
    x[0] = 256
    assert quantize(x, "mxfp8").dequantize()[1] == 1.125
    assert quantize(x.astype(np.float32), "mxfp8").dequantize()[1] == 1.0


def test_f64_out_of_f32_range():
    a = quantize(np.array([1e300, 1e-300, 1.0]), "mxfp8", block=(1,))
    assert a.scales.tolist() == [254, 0, 127 - 8]
    assert a.codes.tolist() == [0x7E, 0, 0x78]


def test_plain_floats(equal):
    x = np.random.default_rng(5).standard_normal((4, 8))
    for name, dtype in (("f32", np.float32), ("f16", np.float16), ("bf16", ml_dtypes.bfloat16)):
        a = quantize(x, name)
        assert a.scales.ravel().tolist() == [127]
        assert equal(a.dequantize(), x.astype(np.float64).astype(dtype).astype(np.float32))


def test_bf16_is_rounded_once():
    """Just above the middle of two bf16 in f64, on it in f32."""
    x = np.array([1 + 2.0**-8 + 2.0**-40])
    assert quantize(x, "bf16").dequantize()[0] == 1 + 2.0**-7
    assert x.astype(np.float32).astype(ml_dtypes.bfloat16)[0] == 1


def test_round_to_odd():
    x = np.array([1 + 2.0**-40, 1.0, -1 - 2.0**-40, 1e300, np.inf, -1e-300, 0.0, 2.0**-149])
    with np.errstate(over="ignore"):
        got = round_to_odd(x)
    assert got.view(np.uint32).tolist()[:3] == [0x3F800001, 0x3F800000, 0xBF800001]
    assert got[3] == np.finfo(np.float32).max
    assert got[4] == np.inf
    assert got.view(np.uint32)[5] == 0x80000001
    assert got[6:].tolist() == [0, 2.0**-149]


def test_nvfp4_by_the_paper(equal):
    x = (np.random.default_rng(6).standard_normal((5, 48)) * 3).astype(np.float32)
    a = quantize(x, "nvfp4")
    enc = np.float32(2688) / np.abs(x).max()
    dec = np.float32(1) / enc
    blocks = x.reshape(5, 3, 16)
    s = (np.abs(blocks).max(-1) / np.float32(6) * enc).astype(ml_dtypes.float8_e4m3fn)
    q = blocks * (np.float32(1) / (s.astype(np.float32) * dec))[..., None]
    q = np.clip(q, -6, 6).astype(ml_dtypes.float4_e2m1fn)
    assert equal(a.scales, s.view(np.uint8))
    assert equal(a.codes, q.reshape(5, 48).view(np.uint8))
    assert a.tensor_scale == dec
    want = q.astype(np.float64) * s.astype(np.float64)[..., None] * np.float64(dec)
    assert equal(block_values(a), want.reshape(5, 48))


def test_nvfp4_special_blocks():
    x = np.ones(64, np.float32)
    x[0], x[17], x[32:48] = np.nan, np.inf, -0.0
    a = quantize(x, "nvfp4")
    assert a.scales.tolist() == [0x7F, 0x7F, 0, 0x7E]
    assert np.isnan(a.dequantize()[:32]).all()
    assert (a.codes[32:48] == 0).all()
    tiny = quantize(np.array([1.0] * 16 + [1e-30] * 16, np.float32), "nvfp4")
    assert tiny.scales.tolist() == [0x7E, 1]  # never 0 in a block with values
    assert quantize(np.zeros(16, np.float32), "nvfp4").dequantize().tolist() == [0] * 16


def test_deepseek_tiles():
    x = np.random.default_rng(7).standard_normal((200, 300)).astype(np.float32)
    assert quantize(x, "deepseek_1x128").scales.shape == (200, 3)
    assert quantize(x, "deepseek_128x128").scales.shape == (2, 3)
    zero = quantize(np.zeros((1, 128), np.float32), "deepseek_1x128")
    assert zero.scales.tolist() == [[127 - 22]]


def test_requantize_goes_through_exact_values(equal):
    x = np.random.default_rng(8).standard_normal((64, 64)).astype(np.float32)
    a = quantize(x, "mxint8")
    assert equal(requantize(a, "mxfp4", 0), quantize(a.dequantize(np.float64), "mxfp4", 0))


@pytest.mark.parametrize("format", SCALED)
def test_quantising_again_changes_no_value(values, equal, format):
    """With rules that do not saturate: a value of the grid is its own nearest."""
    x = values(20_000, seed=12)
    rule = "rceil" if format != "mxint8" else "ceil"
    a = quantize(x, format, scale_rule=rule, block=(32,))
    b = requantize(a, format, scale_rule=rule, block=(32,))
    keep = ~np.isnan(block_values(a))
    assert np.array_equal(block_values(a)[keep], block_values(b)[keep])


def test_dequantize_to_other_floats():
    a = quantize(np.full(32, 3.3e38, np.float32), "mxfp8")
    assert np.isinf(a.dequantize()[0])
    assert a.dequantize(np.float64)[0] == 2.0**128
    assert np.isinf(a.dequantize(np.float16)[0])
    assert a.dequantize(ml_dtypes.bfloat16).dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 128)])
def test_empty(format, shape):
    if len(FORMATS[format].block) > len(shape):
        pytest.skip("a 2-D block needs two axes")
    a = quantize(np.empty(shape, np.float32), format)
    assert a.codes.shape == a.dequantize().shape == shape


def test_presets():
    x = np.random.default_rng(9).standard_normal(640).astype(np.float32)
    for name, one in PRESETS.items():
        assert one.source
        assert one.differs
        a = quantize(x, "mxfp4", recipe=name)
        b = quantize(x, "mxfp4", recipe=one.recipe)
        assert np.array_equal(a.codes, b.codes)
    ties = np.array([4.0, 2.5, -2.5, 0.25, -0.25], np.float32)
    assert quantize(ties, "mxfp4", recipe="ocp").dequantize().tolist() == [4, 2, -2, 0, 0]
    assert quantize(ties, "mxfp4", recipe="microxcaling").dequantize().tolist() == [
        4,
        3,
        -3,
        0.5,
        -0.5,
    ]
    assert quantize(ties, "mxfp4", recipe="ggml").codes.tolist() == [6, 4, 12, 0, 0]
    assert quantize(np.zeros(32, np.float32), "mxfp8", recipe="deepgemm").scales[0] == 105
    with pytest.raises(BadInput, match=r"unknown preset 'amd'.*microxcaling"):
        preset("amd")


def test_scale_rule_overrides_the_recipe():
    x = np.full(32, 7.9, np.float32)
    a = quantize(x, "mxfp4", recipe=Recipe("floor", tie="away"), scale_rule="ceil")
    assert a.scales[0] == 128


@pytest.mark.parametrize(
    ("error", "kwargs"),
    [
        ("cannot quantise int32.*f16, bf16", {"x": np.ones(32, np.int32)}),
        ("0-d array", {"x": np.float32(1).reshape(())}),
        ("axis 2 is out of range", {"axis": 2}),
        ("unknown format 'mx9'", {"format": "mx9"}),
        ("unknown scale rule 'up'.*floor, rceil, even, ceil", {"scale_rule": "up"}),
        ("block .* does not fit", {"block": (1, 1, 32)}),
        ("block .* does not fit", {"block": (0,)}),
        ("blocks of deepseek_128x128 need 2 axes", {"format": "deepseek_128x128", "axis": 0}),
    ],
)  # fmt: skip
def test_bad_input(error, kwargs):
    arguments = {"x": np.ones((4, 32), np.float32), "format": "mxfp8", **kwargs}
    with pytest.raises(BadInput, match=error):
        quantize(**arguments)


@pytest.mark.parametrize(
    ("error", "kwargs"),
    [
        ("tie rule 'up'", {"tie": "up"}),
        ("special-value policy 'x'", {"special": "x"}),
        ("overflow behaviour 'x'", {"overflow": "x"}),
        ("min_scale_byte is 255", {"min_scale_byte": 255}),
        ("min_amax is -1", {"min_amax": -1.0}),
        ("seed is -1", {"seed": -1}),
    ],
)
def test_bad_recipes(error, kwargs):
    with pytest.raises(BadInput, match=error):
        Recipe(**kwargs)


def test_block_arrays_check_themselves():
    codes, scales, f = (
        np.zeros((2, 64), np.uint8),
        np.zeros((2, 2), np.uint8),
        FORMATS["mxfp8_e4m3"],
    )
    BlockArray(codes, scales, f, (1, 32))
    for bad in [
        (codes, scales, f, (32,)),
        (codes, scales[:1], f, (1, 32)),
        (codes.astype(np.int8), scales, f, (1, 32)),
        (codes, scales.astype(np.int16), f, (1, 32)),
        (codes, scales, FORMATS["mxint8"], (1, 32)),
    ]:
        with pytest.raises(BadInput):
            BlockArray(*bad)


def test_repr():
    assert repr(quantize(np.ones((2, 64), np.float32), "mxfp8")) == (
        "BlockArray(2x64, mxfp8_e4m3, blocks of 1x32)"
    )
    assert str(Recipe("even", tie="away")) == "even, tie=away"


# SQNR in dB over Gaussian data, blocks of 32: floor/even/rceil/ceil, measured with torchao
GAUSS = {
    "mxfp8_e4m3": (30.58, 31.17, 31.52, 31.52),
    "mxfp8_e5m2": (25.34, 25.55, 25.55, 25.55),
    "mxfp6_e3m2": (25.34, 25.55, 25.55, 25.54),
    "mxfp6_e2m3": (30.93, 30.98, 30.95, 28.76),
    "mxfp4": (18.77, 19.02, 18.73, 16.83),
    "mxint8": (41.64, None, None, None),
}


@pytest.mark.parametrize("format", GAUSS)
def test_signal_to_noise(format):
    x = np.random.default_rng(10).standard_normal(1 << 17)
    for rule, want in zip(("floor", "even", "rceil", "ceil"), GAUSS[format], strict=True):
        error = quantize(x, format, scale_rule=rule).dequantize(np.float64) - x
        got = 10 * np.log10((x**2).mean() / (error**2).mean())
        assert want is None or abs(got - want) < 0.1


@pytest.mark.parametrize(
    "format", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4"]
)
@pytest.mark.parametrize("rule", ["floor", "rceil", "even", "ceil"])
def test_dense_is_the_general_way(values, equal, format, rule):
    """Strides keep the fast way out. Chunks with and without NaNs, and a short one at the end."""
    x = values(5 << 16, seed=11)
    x = x[: x.size // 160 * 160]
    finite = np.where(np.isfinite(x), x, np.float32(1))
    finite[1 << 17] = np.nan
    for array, block in ((x, (32,)), (finite, (32,)), (finite.reshape(-1, 160), (1, 16))):
        element, recipe = FORMATS[format].element, Recipe(rule)
        strided = np.repeat(array, 2, axis=0)[::2]
        assert is_dense(array, element, recipe, block)
        assert not is_dense(strided, element, recipe, block)
        fast, slow = (quantize(a, format, recipe=recipe, block=block) for a in (array, strided))
        assert equal(fast, slow)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan, 1e-60])
def test_tensor_scales_are_positive_and_finite(scale):
    with pytest.raises(BadInput, match="the tensor scale is"):
        quantize(np.ones(16, np.float32), "nvfp4", tensor_scale=scale)


def test_other_formats_have_no_tensor_scale(equal):
    x = np.arange(-32, 32, dtype=np.float32)
    assert equal(quantize(x, "mxfp8", tensor_scale=1.0), quantize(x, "mxfp8"))
    with pytest.raises(BadInput, match="mxfp8_e4m3 has no tensor scale"):
        quantize(x, "mxfp8", tensor_scale=2.0)


def test_a_given_tensor_scale():
    x = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
    whole = quantize(x, "nvfp4")
    again = quantize(x / np.float32(0.25), "nvfp4", tensor_scale=1.0)
    scaled = quantize(x, "nvfp4", tensor_scale=0.25)
    assert np.array_equal(scaled.codes, again.codes)
    assert np.array_equal(scaled.scales, again.scales)
    assert np.array_equal(scaled.dequantize(), again.dequantize() / 4)
    assert np.abs(scaled.dequantize() - x).max() < 2 * np.abs(whole.dequantize() - x).max()
