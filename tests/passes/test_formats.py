"""Every format that operands can be compiled to: what the graph says, and C against it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mxc import numerics
from mxc.cli import main
from mxc.driver import Options, import_model, interpret
from mxc.errors import BadInput
from mxc.inputs import random_inputs
from mxc.numerics import FORMATS, BlockArray
from mxc.options import pipeline
from mxc.passes._formats import LIBRARY_ONLY, compiled_format
from mxc.targets import load_target
from mxc.verify import verify_model

COMPILED = [*load_target("npu").numerics.float_formats, *load_target("npu").numerics.formats]


def save(path: Path, dtype: int = TensorProto.FLOAT, scale: float = 1.0) -> Path:
    """Y = x @ w + b, then a convolution of x that has 16 channels; rows of 200, no multiple."""
    random = np.random.default_rng(5)
    narrow = helper.tensor_dtype_to_np_dtype(dtype)
    w = (scale * random.standard_normal((200, 24))).astype(narrow)
    k = random.standard_normal((8, 16, 3)).astype(narrow)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], name="fc"),
        helper.make_node("Conv", ["x", "k"], ["z"], name="conv", pads=[1, 1]),
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["s"], name="gram"),
    ]
    outputs = [
        helper.make_tensor_value_info(name, dtype, shape)
        for name, shape in (("y", (2, 16, 24)), ("z", (2, 8, 200)), ("s", (2, 16, 16)))
    ]
    x = helper.make_tensor_value_info("x", dtype, (2, 16, 200))
    constants = [numpy_helper.from_array(w, "w"), numpy_helper.from_array(k, "k")]
    graph = helper.make_graph(nodes, "g", [x], outputs, constants)
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
    return path


QUICK = ("nvfp4", "mxfp8_e4m3fnuz", "deepseek_1x128", "bf16")
"""Those that other tests do not compile."""


@pytest.mark.parametrize(
    "format", [f if f in QUICK else pytest.param(f, marks=pytest.mark.slow) for f in COMPILED]
)
def test_c_is_the_interpreter_in_every_format(format: str, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx")
    model = import_model(path, Options(format=format))
    verdict = verify_model(path, model, Options(format=format), random_inputs(model.inputs, 0))
    assert verdict.bit_exact
    worst = min(output.sqnr_db or 0 for output in verdict.outputs)
    assert worst > {"f32": 100, "f16": 60, "bf16": 40, "mxint8": 35}.get(format, 14)


@pytest.mark.parametrize("pair", [("nvfp4", "mxfp8"), ("mxfp4", "bf16"), ("f32", "nvfp4")])
def test_formats_mix(pair: tuple[str, str], tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx")
    options = Options(weights=pair[0], activations=pair[1])
    model = import_model(path, options)
    assert verify_model(path, model, options, random_inputs(model.inputs, 1)).bit_exact


def test_the_compiler_has_every_format_but_those_of_the_library() -> None:
    assert {*COMPILED, *LIBRARY_ONLY} == set(FORMATS)


@pytest.mark.parametrize("format", LIBRARY_ONLY)
def test_formats_of_the_library_are_refused_by_name(
    format: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput, match=f"format '{format}' cannot be compiled"):
        compiled_format(format)
    assert main(["verify", str(save(tmp_path / "m.onnx")), "--format", format]) == 2
    error = capfd.readouterr().err
    assert LIBRARY_ONLY[format] in error
    assert len(error.splitlines()) == 1


def lowered(path: Path, options: Options, last: str):
    """The model after the pass `last`."""
    from mxc import driver

    model = import_model(path, options)
    stages = pipeline(options)
    for stage in stages:
        for step in stage.steps:
            driver.lower(model, (type(stage)(stage.name, stage.level, (step,), ""),))
            if step.name == last:
                return model
    raise AssertionError(last)


@pytest.mark.parametrize("scale", [1.0, 1e-40, 0.0, 1e30])
def test_nvfp4_is_scaled_in_the_graph(scale: float, tmp_path: Path) -> None:
    """What the library's contraction does, with its own tensor scales."""
    path = save(tmp_path / "m.onnx", scale=scale)
    model = lowered(path, Options(format="nvfp4"), "mx-layout")
    (x,) = random_inputs(model.inputs, 2)
    y = interpret(model, [x])[0]
    w = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    top = np.float32(2688)
    scales = [max(np.abs(v).max() / top, np.float32(2.0**-126)) for v in (x, w)]
    a = numerics.quantize(x / scales[0], "nvfp4", tensor_scale=1.0)
    b = numerics.quantize(w / scales[1], "nvfp4", 0, tensor_scale=1.0)
    with np.errstate(under="ignore"):
        want = numerics.matmul(a, b) * (scales[0] * scales[1])
    assert np.array_equal(y, want)
    text = str(model.module)
    assert text.count("onnx.ReduceMax") == 2  # x, and its transpose; weights are done
    assert "scale = f8E4M3FN" in text


def test_nvfp4_of_nonfinite_values_is_nan(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx")
    model = lowered(path, Options(format="nvfp4"), "mx-layout")
    (x,) = random_inputs(model.inputs, 3)
    x[0, 0, 0] = np.inf
    assert np.isnan(interpret(model, [x])[0]).all()


def test_deepseek_is_mxfp8_in_blocks_of_128(tmp_path: Path) -> None:
    """The floor under amax is one under the scale byte, which changes no value."""
    random = np.random.default_rng(6)
    x = random.standard_normal((4, 512)) * 2.0 ** random.integers(-40, 4, (4, 512))
    x = np.repeat(2.0 ** np.arange(-30, 10, 10), 512).reshape(4, 512) * x
    x[:, :128] = 0
    own = numerics.quantize(x.astype(np.float32), "deepseek_1x128")
    model = lowered(save(tmp_path / "m.onnx"), Options(format="deepseek_1x128"), "mx-quantize")
    assert "min_scale_byte = 105" in str(model.module)
    recipe = numerics.Recipe("rceil", min_scale_byte=105)
    other = numerics.quantize(x.astype(np.float32), "mxfp8", block=(1, 128), recipe=recipe)
    assert isinstance(other, BlockArray)
    assert np.array_equal(own.dequantize(), other.dequantize())
    assert np.array_equal(own.codes, other.codes)
    blocks = lowered(save(tmp_path / "m.onnx"), Options(format="deepseek_1x128"), "mx-layout")
    assert "<f8E4M3FN, 128x1>" in str(blocks.module)


@pytest.mark.parametrize("format", ["nvfp4", "bf16", "mxfp8"])
def test_models_of_f16(format: str, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", TensorProto.FLOAT16)
    options = Options(format=format)
    model = import_model(path, options)
    assert verify_model(path, model, options, random_inputs(model.inputs, 4)).bit_exact
