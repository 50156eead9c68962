"""Packed layouts: bytes by hand, and round trips of everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxc.errors import BadInput
from mxc.numerics import FORMATS, LAYOUTS, BlockArray, from_packed, pack, quantize
from mxc.numerics.layouts import pack_bits, swizzle_128x4, unpack_bits, unswizzle_128x4

CODED = [name for name, f in FORMATS.items() if f.element is not None]


def test_nibbles_and_sextets():
    assert pack_bits(np.array([1, 2, 3], np.uint8), 4).tolist() == [0x21, 0x03]
    # 000001 000010 000011 000100, from the least significant bit on
    assert pack_bits(np.array([1, 2, 3, 4], np.uint8), 6).tolist() == [0x81, 0x30, 0x10]
    assert len(pack_bits(np.zeros(5, np.uint8), 6)) == 4
    assert pack_bits(np.array([0x12], np.uint8), 4).tolist() == [2]  # upper bits are not code


@given(st.sampled_from([4, 6, 8]), st.lists(st.integers(0, 255), max_size=70))
def test_streams_unpack(bits, numbers):
    codes = np.array(numbers, np.uint8) & np.uint8((1 << bits) - 1)
    stream = pack_bits(codes, bits)
    assert len(stream) == -(-len(codes) * bits // 8)
    assert np.array_equal(unpack_bits(stream, bits, len(codes)), codes)


def test_onnx_packs_alike():
    """numpy_helper.from_array of fp4, and the fp6 stream of its TensorProto."""
    onnx = pytest.importorskip("onnx")
    import ml_dtypes

    for dtype, bits in ((ml_dtypes.float4_e2m1fn, 4), (ml_dtypes.float6_e2m3fn, 6)):
        codes = np.random.default_rng(1).integers(0, 1 << bits, 37, dtype=np.uint8)
        tensor = onnx.numpy_helper.from_array(codes.view(dtype))
        assert pack_bits(codes, bits).tobytes() == tensor.raw_data


def test_ggml_halves():
    a = quantize(np.arange(32, dtype=np.float32) / 4, "mxfp4", recipe="ggml")
    packed = pack(a, "ggml").elements
    assert len(packed) == 17
    assert packed[0] == a.scales[0]
    assert packed[1] == a.codes[0] | a.codes[16] << 4
    assert packed[16] == a.codes[15] | a.codes[31] << 4


def test_interleaved_blocks():
    a = quantize(np.arange(40, dtype=np.float32), "mxfp8")
    packed = pack(a, "ocp-interleaved").elements
    assert len(packed) == 2 * 33
    assert [packed[0], packed[33]] == a.scales.tolist()
    assert np.array_equal(packed[1:33], a.codes[:32])
    assert packed[34 + 8 :].tolist() == [0] * 24


def test_npu_pads_rows_with_code_0():
    a = quantize(np.ones((2, 40), np.float32), "mxfp4")
    packed = pack(a, "npu")
    assert packed.elements.shape == (2 * 64 // 2,)
    assert packed.elements.reshape(2, 32)[:, 20:].max() == 0


def test_swizzle_by_the_formula():
    scales = np.random.default_rng(2).integers(0, 255, (200, 7), dtype=np.uint8)
    stream = swizzle_128x4(scales)
    assert stream.size == 2 * 2 * 512
    for i, j in np.ndindex(*scales.shape):
        offset = ((i // 128) * 2 + j // 4) * 512 + (i % 32) * 16 + ((i // 32) % 4) * 4 + j % 4
        assert stream[offset] == scales[i, j]
    assert stream.astype(int).sum() == scales.astype(int).sum()  # padding is written, as 0
    assert np.array_equal(unswizzle_128x4(stream, 200, 7), scales)


def test_deepgemm_words():
    scales = np.arange(1, 31, dtype=np.uint8).reshape(5, 6)
    a = BlockArray(np.zeros((5, 6 * 128), np.uint8), scales, FORMATS["deepseek_1x128"], (1, 128))
    words = pack(a, "deepgemm").scales
    assert words.shape == (2, 8)  # [words along k, rows filled to a multiple of 4]
    assert words[0, 1] == 7 | 8 << 8 | 9 << 16 | 10 << 24
    assert words[1, 4] == 29 | 30 << 8


def test_onnx_int8_scales_count_ones():
    x = np.full((1, 32), 1.0, np.float32)
    a = quantize(x, "mxint8")
    packed = pack(a, "onnx")
    onnx_value = packed.elements.view(np.int8)[0] * 2.0 ** (int(packed.scales[0, 0]) - 127)
    assert onnx_value == a.dequantize()[0, 0] == 1
    with pytest.raises(BadInput, match="bytes below 6"):
        pack(quantize(x * 2.0**-124, "mxint8"), "onnx")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CODED),
    st.sampled_from(LAYOUTS),
    st.lists(st.integers(0, 70), min_size=1, max_size=3),
    st.integers(0, 3),
)
def test_every_layout_unpacks(format, layout, shape, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(np.float32)
    block = FORMATS[format].block
    if len(block) > len(shape) or (not block and 0 in shape):
        return
    a = quantize(x, format)
    try:
        packed = a.pack(layout)
    except BadInput:
        matrix = len(shape) == 2 and all(b == 1 for b in a.block[:-1])
        takes = {
            "ggml": format == "mxfp4" and shape[-1] % 32 == 0,
            "cublas": matrix,
            "deepgemm": matrix,
            "ocp-interleaved": np.prod(a.block) * a.format.bits % 8 == 0,
        }
        assert not takes.get(layout, False)
        return
    b = BlockArray.from_packed(packed)
    assert np.array_equal(a.codes, b.codes)
    assert np.array_equal(a.scales, b.scales)
    assert (a.codes.dtype, a.block, a.format, a.tensor_scale) == (
        b.codes.dtype, b.block, b.format, b.tensor_scale,
    )  # fmt: skip


def test_bad_layouts():
    a = quantize(np.ones((2, 40), np.float32), "mxfp4")
    column = quantize(np.ones((32, 2), np.float32), "mxfp4", 0)
    for array, layout, message in [
        (a, "zip", "unknown layout 'zip'.*onnx, ocp-interleaved, npu, ggml, cublas, deepgemm"),
        (a, "ggml", "rows are whole blocks"),
        (column, "ggml", "ggml has no mxfp4 in blocks of"),
        (column, "cublas", "blocks along the last axis"),
        (quantize(np.ones(4, np.float32), "bf16"), "onnx", "no packed layouts"),
        (
            quantize(np.ones(3, np.float32), "mxfp4", block=(1,)),
            "ocp-interleaved",
            "no whole bytes",
        ),
    ]:
        with pytest.raises(BadInput, match=message):
            pack(array, layout)
    with pytest.raises(BadInput, match="hold fewer than"):
        unpack_bits(np.zeros(2, np.uint8), 6, 3)
    packed = pack(a, "onnx")
    assert from_packed(packed).shape == (2, 40)
