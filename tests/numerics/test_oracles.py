"""Independent implementations: zero differences, and their known deviations asserted as such.

torch, torchao and en_dtypes are optional: `pytest -m oracle` in an environment that has them.
"""

import numpy as np
import pytest

from mxc.numerics import ELEMENTS, Element, Recipe, block_values, quantize
from mxc.numerics.codec import encode

FORMATS = ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4"]
RULES = ["floor", "rceil", "even", "ceil"]


def normal_blocks(x: np.ndarray) -> np.ndarray:
    """Finite blocks whose scale byte is not 0, and not all zeros."""
    blocks = x.reshape(-1, 32)
    top = np.abs(blocks).max(1)
    return blocks[np.isfinite(blocks).all(1) & (top > 2.0**-109)]


def torchao_mx(x: np.ndarray, format: str, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Scale bytes and element values of torchao's to_mx."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("torchao", reason="torchao is not installed")
    from torchao.prototype.mx_formats import mx_tensor

    element = {
        "mxfp8_e4m3": torch.float8_e4m3fn,
        "mxfp8_e5m2": torch.float8_e5m2,
        "mxfp6_e2m3": "fp6_e2m3",
        "mxfp6_e3m2": "fp6_e3m2",
        "mxfp4": torch.float4_e2m1fn_x2,
    }[format]
    mode = mx_tensor.ScaleCalculationMode[rule.upper()]
    scales, data = mx_tensor.to_mx(torch.from_numpy(x), element, 32, mode)
    codes = data.view(torch.uint8).numpy()
    if format == "mxfp4":
        codes = np.stack([codes & 15, codes >> 4], -1).reshape(*codes.shape[:-1], -1)
    return scales.view(torch.uint8).numpy(), codes.reshape(x.shape)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rule", RULES)
def test_torchao(values, format, rule):
    """10 million values per format and rule; see `rceil_by_log2` for the one exception."""
    for seed in range(10):
        x = normal_blocks(values(1 << 21, seed=seed))
        assert x.size > 1_000_000
        scales, codes = torchao_mx(x, format, rule)
        a = quantize(x, format, scale_rule=rule, block=(1, 32))
        same = scales.reshape(-1) == a.scales[:, 0]
        if rule == "rceil":
            assert rceil_by_log2(np.abs(x[~same]).max(1), a.format.element).all()
            assert (scales.reshape(-1)[~same] == a.scales[~same, 0] - 1).all()
            assert (~same).mean() < 1e-2
        else:
            assert same.all()
        wrong = codes[same] != a.codes[same]
        assert not wrong.any(), (x[same][wrong][:5], codes[same][wrong][:5])


def rceil_by_log2(amax: np.ndarray, element: Element) -> np.ndarray:
    """Where torchao's ceil(log2(amax / max)) on CPU may be wrong: at most 64 ulp above M * 2**k.

    The logarithm of a number just above a power of two rounds to an integer in f32, so the scale is
    one too small and the block saturates; the conversion in hardware, and ours, is exact.
    """
    above = amax.view(np.uint32) & 0x7FFFFF
    threshold = int((element.max_significand - 1) * 2**23)
    return (above > threshold) & (above <= threshold + 64)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_where_torchao_0_18_deviates():
    """Infinity does not make its scale NaN; elements under scale byte 0 are half as large."""
    x = np.ones((1, 32), np.float32)
    x[0, 0] = np.inf
    assert torchao_mx(x, "mxfp8_e4m3", "floor")[0].ravel().tolist() == [0xF7]
    assert torchao_mx(x, "mxfp8_e4m3", "rceil")[0].ravel().tolist() == [0xFE]
    assert quantize(x, "mxfp8_e4m3", recipe="torchao-floor").scales[0, 0] == 0xFF
    tiny = np.full((1, 32), 2.0**-120, np.float32)
    scales, codes = torchao_mx(tiny, "mxfp8_e4m3", "floor")
    ours = quantize(tiny, "mxfp8_e4m3", recipe="torchao-floor")
    assert scales.ravel().tolist() == ours.scales.ravel().tolist() == [0]
    values = ELEMENTS["e4m3"].values
    assert values[codes[0, 0]] == values[ours.codes[0, 0]] / 2
    zeros = np.full((1, 32), -0.0, np.float32)
    assert torchao_mx(zeros, "mxfp8_e4m3", "floor")[1][0, 0] == 0x80
    assert quantize(zeros, "mxfp8_e4m3").codes[0, 0] == 0


@pytest.mark.oracle
def test_hifloat8_of_huawei(values):
    en_dtypes = pytest.importorskip("en_dtypes", reason="en_dtypes is not installed")
    table = np.arange(256, dtype=np.uint8).view(en_dtypes.hifloat8).astype(np.float32)
    assert np.array_equal(ELEMENTS["hif8"].values32, table, equal_nan=True)
    x = values(1 << 20)
    with np.errstate(all="ignore"):
        want = x.astype(en_dtypes.hifloat8).view(np.uint8)
    got = encode(x.copy(), ELEMENTS["hif8"], Recipe())
    wrong = got != want
    assert not wrong.any(), (x[wrong][:5], want[wrong][:5], got[wrong][:5])


@pytest.mark.parametrize(
    ("format", "code"), [("mxfp8_e4m3", 17), ("mxfp8_e5m2", 19), ("mxfp4", 23)]
)
def test_onnx_reference(values, format, code):
    """QuantizeLinear with E8M0 scales given, and DequantizeLinear back."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnx.reference")

    x = normal_blocks(values(20_000, seed=3))[:200]
    a = quantize(x, format, scale_rule="rceil", block=(1, 32))
    keep = (a.scales[:, 0] > 2) & (a.scales[:, 0] < 250)
    x, scales, codes = x[keep], a.scales[keep], a.codes[keep]
    helper, types = onnx.helper, onnx.TensorProto
    scale = (2.0 ** (scales.astype(np.float64) - 127)).astype(np.float32)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], axis=1, block_size=32,
                         output_dtype=code, saturate=1),
        helper.make_node("DequantizeLinear", ["q", "s"], ["y"], axis=1, block_size=32),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", types.FLOAT, x.shape),
         helper.make_tensor_value_info("s", types.FLOAT, scale.shape)],
        [helper.make_tensor_value_info("q", code, x.shape),
         helper.make_tensor_value_info("y", types.FLOAT, x.shape)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)])
    q, y = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x, "s": scale})
    assert np.array_equal(q.view(np.uint8), codes)
    part = type(a)(codes, scales, a.format, a.block)
    assert np.array_equal(y, block_values(part, np.float32))
