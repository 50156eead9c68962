"""`--target onnx`: the pipeline ends at the mx level and the model is written as ONNX."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mxc.backends import load_backend
from mxc.backends.ref import run
from mxc.cli import main
from mxc.dialects.mx import QuantizeOp
from mxc.driver import Options, compile_model, import_model, lowered, pipeline
from mxc.errors import BackendError, BadInput
from mxc.targets import load_target

FORMATS = ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4", "mxint8"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A product with a bias; the 80 columns are no multiple of 32."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_t(3, (80, 24)), "b": rng.standard_t(3, 24)}
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="fc")],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [16, 80])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [16, 24])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in weights.items()],
    )
    path = tmp_path / "product.onnx"
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def x() -> NDArray[Any]:
    values = np.random.default_rng(1).standard_t(2, (16, 80)).astype(np.float32)
    values[0] = 0
    values[1, ::3] = 2.0 ** np.arange(-40, -13)
    return values


def test_the_command_writes_onnx(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = model.parent / "out"
    assert main(["compile", str(model), "--target", "onnx", "-o", str(folder), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["files"] == ["manifest.json", "model.onnx"]
    written = onnx.load(folder / "model.onnx")
    assert written.opset_import[0].version == 28
    kinds = {TensorProto.DataType.Name(one.data_type) for one in written.graph.initializer}
    assert {"FLOAT8E8M0", "FLOAT8E4M3FN"} <= kinds
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["target"], manifest["opset"], manifest["model"]) == ("onnx", 28, "product")
    assert manifest["inputs"] == [{"name": "x", "dtype": "float32", "shape": [16, 80]}]
    assert main(["compile", str(model), "--target", "onnx", "-o", str(folder)]) == 0  # again


def test_an_older_opset(model: Path) -> None:
    compile_model(model, model.parent / "out", Options(target="onnx", opset=24))
    assert onnx.load(model.parent / "out" / "model.onnx").opset_import[0].version == 24


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "onnx", "--opset", "25"], "opset 25 cannot be written; 24 and 28 can"),
        (["--target", "npu", "--opset", "24"], "writes no ONNX; --opset is for onnx"),
        (["--target", "npu", "--opset", "24", "--stop-after", "cse"], "writes no ONNX"),
        (["--target", "onnx", "--format", "nvfp4"], "target 'onnx' has no format 'nvfp4'"),
        (["--target", "onnx", "--stop-after", "tile"], "unknown pass of the pipeline 'tile'"),
    ],
)
def test_refused(
    model: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    folder = model.parent / "out"
    assert main(["compile", str(model), "-o", str(folder), *arguments]) == 2
    assert message in capfd.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run", "backend 'onnx' has no way to run its artifacts"),
        ("verify", "the target has no code to verify; choose one that compiles to C"),
    ],
)
def test_onnx_does_not_run_here(
    model: Path, capfd: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    assert main([command, str(model), "--target", "onnx"]) == 2
    assert message in capfd.readouterr().err


def test_targets_lists_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capfd.readouterr().out)["targets"]}
    assert rows["onnx"]["backend"] == "onnx"
    assert rows["onnx"]["error"] is None


def test_the_pipeline_ends_at_the_level_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pipeline(Options(target="onnx"))[-1].name == "layout"
    assert pipeline(Options(target="npu"))[-1].name == "machine"
    monkeypatch.setattr(type(load_backend("onnx")), "level", "none")
    with pytest.raises(BackendError, match="no level of the IR: 'none'"):
        pipeline(Options(target="onnx"))


def test_code_needs_a_machine(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent.parent / "mxc/targets/onnx.toml").read_text()
    path = tmp_path / "acme.toml"
    path.write_text(text.replace('backend = "onnx"', 'backend = "npu"'))
    assert not load_target(str(path)).has_machine
    with pytest.raises(BadInput, match="target 'onnx' describes no machine"):
        pipeline(Options(target=str(path)))
    path = tmp_path / "half.toml"
    path.write_text(text.replace("[numerics]", "[vector]\nlanes = 8\n\n[numerics]"))
    with pytest.raises(BadInput, match="key 'clock_mhz' is missing; the clock"):
        load_target(str(path))


@pytest.mark.parametrize("rule", ["floor", "rceil", "even", "ceil"])
@pytest.mark.parametrize("format", FORMATS)
def test_onnxruntime_has_the_bits_of_the_quantisation(model: Path, format: str, rule: str) -> None:
    """With optimisations disabled, the operands of the product are to the bit those of mxc."""
    options = Options(target="onnx", format=format, scale_rule=rule, opset=24)
    compile_model(model, model.parent / "out", options)
    proto = onnx.load(model.parent / "out" / "model.onnx")
    (product,) = [node for node in proto.graph.node if node.op_type == "MatMul"]
    shapes = ([16, 80], [80, 24])
    initializers = {one.name for one in proto.graph.initializer}
    for name, shape in zip(product.input, shapes, strict=True):
        if name not in initializers:
            info = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            proto.graph.output.append(info)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), unoptimised())
    names = [one.name for one in session.get_outputs()]
    got = dict(zip(names, session.run(None, {"x": x()}), strict=True))
    for one in proto.graph.initializer:
        got[one.name] = numpy_helper.to_array(one)
    for name, want in zip(product.input, operands(model, options), strict=True):
        np.testing.assert_array_equal(got[name].view(np.uint32), want.view(np.uint32))


def unoptimised() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def operands(path: Path, options: Options) -> list[NDArray[Any]]:
    """The operands of the one product in f32, as the interpreter has them."""
    model = lowered(path, options, "mx-fuse-scales")
    seen: list[NDArray[Any]] = []

    def watch(op: Any, results: Any) -> None:
        if op.name == "mx.matmul":
            seen.extend(values[operand] for operand in (op.lhs, op.rhs))
        for value, result in zip(op.results, results, strict=True):
            values[value] = result.dequantize() if hasattr(result, "dequantize") else result

    values: dict[Any, Any] = {}
    run(model.module, model.ctx, [x()], watch)
    assert any(isinstance(op, QuantizeOp) for op in model.module.walk())
    return seen


def test_the_same_model_again(model: Path) -> None:
    """What is written can be imported and compiled in turn; its blocks are taken as they are."""
    compile_model(model, model.parent / "out", Options(target="onnx"))
    written = model.parent / "out" / "model.onnx"
    again = lowered(written, Options(format="f32"), "mx-fuse-scales")
    once = lowered(model, Options(), "mx-fuse-scales")
    (got,) = run(again.module, again.ctx, [x()])
    (want,) = run(once.module, once.ctx, [x()])
    np.testing.assert_array_equal(got, want)
    assert import_model(written, Options()).outputs[0].name == "y"


def test_conformance_needs_code(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--target", "onnx"]) == 2
    assert "target 'onnx' has no code to check" in capfd.readouterr().err
    assert main(["conformance", "--suite", "onnx", "--jobs", "0"]) == 2
    assert "at least one process" in capfd.readouterr().err
