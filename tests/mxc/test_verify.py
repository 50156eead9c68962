"""Verification sees what is wrong: a wrong bit in C, a pass that changes results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.rewriter import InsertPoint, Rewriter

from mxc import driver
from mxc.cli import main
from mxc.constants import ConstantTable
from mxc.dialects.mx import ConstantOp
from mxc.driver import Options, import_model
from mxc.inputs import Array, random_inputs
from mxc.passes.dce import DcePass
from mxc.reference import float_model
from mxc.verify import verify_model

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """Y = relu(x @ w) * s, with s an input of rank 0."""
    weight = np.random.default_rng(0).standard_normal((32, 8)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="fc"),
        helper.make_node("Relu", ["h"], ["r"], name="act"),
        helper.make_node("Mul", ["r", "s"], ["y"], name="scale"),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (4, 32)),
        helper.make_tensor_value_info("s", TensorProto.FLOAT, ()),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, (4, 8))
    graph = helper.make_graph(nodes, "g", inputs, [output], [numpy_helper.from_array(weight, "w")])
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_a_wrong_bit_is_found(
    linear: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = driver.build_and_run

    def flipped(*args: Any, **kwargs: Any) -> tuple[Array, ...]:
        (y,) = honest(*args, **kwargs)
        y.view(np.uint32)[1, 2] ^= 1
        return (y,)

    monkeypatch.setattr(driver, "build_and_run", flipped)
    assert main(["verify", str(linear), "--json"]) == 1
    result = json.loads(capfd.readouterr().out)
    assert result["bit_exact"] is False
    assert result["mismatches"] == 1


def test_the_pass_that_changes_results_is_named(
    linear: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(_: DcePass, ctx: Context, module: ModuleOp) -> None:
        table = ConstantTable.of(ctx)
        for op in module.walk():
            if isinstance(op, ConstantOp):
                key = table.add(np.nextafter(table[op.key], np.float32(9)))
                new = ConstantOp(key, op.results[0].type)
                Rewriter.insert_op(new, InsertPoint.before(op))
                op.results[0].replace_all_uses_with(new.results[0])

    monkeypatch.setattr(DcePass, "apply", wrong)
    assert main(["verify", str(linear), "--each-pass", "--json"]) == 1
    result = json.loads(capfd.readouterr().out)
    assert result["bit_exact"] is True
    assert result["first_wrong_pass"] == "dce"
    assert [one["name"] for one in result["passes"] if not one["ok"]] == ["dce"]


def verdict(path: Path, options: Options) -> Any:
    model = import_model(path, options)
    return verify_model(path, model, options, random_inputs(model.inputs))


def test_layers_are_those_of_the_model(linear: Path) -> None:
    layers = {layer.name: layer for layer in verdict(linear, Options()).layers}
    assert set(layers) <= {"fc", "act", "scale"}
    assert "scale" in layers
    assert layers["scale"].shape == [4, 8]
    assert 15 < layers["scale"].sqnr_db < 60


def test_bound_inputs_reach_the_float_model(linear: Path) -> None:
    found = verdict(linear, Options(format="f32", values={"s": "2.5"}))
    assert found.bit_exact
    (output,) = found.outputs
    assert output.sqnr_db > 100


def refuse(*_: object) -> Sequence[Array]:
    raise RuntimeError("no")


def test_what_ran_the_float_model_is_told(linear: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(format="f32")
    model = import_model(linear, options)
    inputs = random_inputs(model.inputs)
    first, runtime = float_model(linear, model, inputs)
    monkeypatch.setattr("mxc.reference._onnxruntime", refuse)
    second, reference = float_model(linear, model, inputs)
    assert (first or "").startswith("onnxruntime ")
    assert (second or "").startswith("onnx ")
    np.testing.assert_allclose(runtime[0], reference[0], rtol=1e-5)
    monkeypatch.setattr("mxc.reference._onnx", refuse)
    assert float_model(linear, model, inputs) == (None, [])
