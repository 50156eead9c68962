"""Views: exact moves of codes and scales."""

import numpy as np
import pytest

from mxc.errors import BadInput
from mxc.numerics import (
    FORMATS,
    abs_,
    block_values,
    concat,
    gather,
    neg,
    quantize,
    refine,
    reshape,
    scale_by_power_of_two,
    slice_blocks,
    to_fnuz,
    transpose,
)

SCALED = [n for n, f in FORMATS.items() if f.scale == "e8m0" and len(f.block) == 1]


def array(format="mxfp8", shape=(6, 64), seed=0):
    return quantize(np.random.default_rng(seed).standard_normal(shape), format)


@pytest.mark.parametrize("format", [*SCALED, "nvfp4", "hifloat8"])
def test_signs(equal, format):
    x = np.random.default_rng(1).standard_normal((2, 64))
    x[0, :3] = 0, -0.0, 1e-30
    a = quantize(x, format)
    assert equal(block_values(neg(a)) + 0.0, -block_values(a) + 0.0)
    assert equal(block_values(abs_(a)), np.abs(block_values(a)))
    assert not np.isnan(block_values(neg(a))).any()


def test_moves(equal):
    a = array(shape=(4, 6, 64))
    v = block_values(a)
    assert equal(block_values(transpose(a, (2, 0, 1))), v.transpose(2, 0, 1))
    assert equal(block_values(transpose(a)), v.T)
    assert equal(block_values(reshape(a, (24, 64), (1, 32))), v.reshape(24, 64))
    assert equal(block_values(slice_blocks(a, (1, 2, 32), (2, 3, 32))), v[1:3, 2:5, 32:])
    assert equal(block_values(concat([a, a], 1)), np.concatenate([v, v], 1))
    assert equal(block_values(gather(a, 0, [3, 0, 3])), v[[3, 0, 3]])
    with pytest.raises(BadInput, match="does not hold"):
        reshape(a, (24, 64), (1, 16))


def test_powers_of_two(equal):
    a = array()
    assert equal(block_values(scale_by_power_of_two(a, -3)), block_values(a) / 8)
    assert np.isnan(block_values(scale_by_power_of_two(a, 200))).all()
    with pytest.raises(BadInput, match="no powers of two"):
        scale_by_power_of_two(array("nvfp4"), 1)


def test_refine(equal):
    a = quantize(np.random.default_rng(2).standard_normal((130, 200)), "deepseek_128x128")
    for block in ((1, 32), (32, 32), (128, 128), (1, 1)):
        b = refine(a, block)
        assert b.block == block
        assert equal(block_values(b), block_values(a))
    with pytest.raises(BadInput, match="not made of"):
        refine(a, (3, 32))


@pytest.mark.parametrize("format", ["mxfp8_e4m3", "mxfp8_e5m2"])
def test_all_bytes_to_fnuz(equal, format):
    codes = np.arange(256, dtype=np.uint8)
    a = quantize(np.ones(256), format)
    a = type(a)(codes, np.full(8, 100, np.uint8), a.format, (32,))
    b = to_fnuz(a)
    assert b.format.name == f"{format}fnuz"
    v = block_values(a)
    v[~np.isfinite(v)] = np.nan  # FNUZ has no infinity
    assert equal(block_values(b), v + 0.0)  # nor -0
    assert (b.codes[[0x00, 0x80]] == 0).all()
    nan_scale = type(a)(codes[:32], np.full(1, 255, np.uint8), a.format, (32,))
    assert to_fnuz(nan_scale).scales.tolist() == [255]
    with pytest.raises(BadInput, match="254"):
        to_fnuz(type(a)(codes[:32], np.full(1, 254, np.uint8), a.format, (32,)))
    with pytest.raises(BadInput, match="no FNUZ"):
        to_fnuz(array("mxfp4"))
