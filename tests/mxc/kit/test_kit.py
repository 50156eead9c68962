"""The conformance kit on our own targets, its reports, and the command."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mxc.cli import main
from mxc.errors import BadInput
from mxc.kit import KitReport, run_kit
from mxc.kit.data import codes, edges, scale_bytes
from mxc.numerics import FORMATS, quantize


def test_some_of_it_on_npu() -> None:
    report = run_kit("npu", ["views/mxint8", "matmul/mxint8 by mxint8"])
    assert report.failed == []
    assert len(report.passed) > 25


@pytest.mark.slow
@pytest.mark.parametrize("target", ["npu", "npu-shift", "npu-edge"])
def test_all_of_it(target: str) -> None:
    report = run_kit(target)
    assert report.failed == []
    assert len(report.passed) > 500


def test_a_name_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(BadInput, match="the kit has no check 'matmull' for target 'npu'"):
        run_kit("npu", ["matmull"])


def test_edge_values_have_every_trouble() -> None:
    for name in ("mxfp8_e4m3", "mxfp4", "mxint8"):
        x = edges((6, 8 * 16 - 5), FORMATS[name], 16)
        q = quantize(x, name, block=(1, 16), scale_rule="floor")
        assert {0, 255} <= set(q.scales.ravel().tolist())
        assert np.isnan(x).any()
        assert np.isinf(x).any()
        assert ((x != 0) & (np.abs(x) < 1.1e-38)).any()
        assert (np.signbit(x) & (x == 0)).any()


def test_packed_inputs_have_every_code() -> None:
    assert len(set(codes((12, 47), FORMATS["mxfp8_e4m3"]).ravel().tolist())) == 256
    assert {0, -1, 127} <= set(scale_bytes((12, 3)).ravel().tolist())


def test_reports() -> None:
    report = KitReport("zeta", "a machine", ["a/x", "a/y"], [("a/z", "3 differ")], [("b/w", "no")])
    assert report.as_json() == {
        "target": "zeta",
        "passed": 2,
        "failed": [{"name": "a/z", "reason": "3 differ"}],
        "skipped": [{"name": "b/w", "reason": "no"}],
    }
    page = report.markdown()
    assert "| a | 2 | 1 | 0 |" in page
    assert "- `a/z`: 3 differ" in page
    assert report.lines()[-1] == "zeta: 2 passed, 1 failed, 1 skipped"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = tmp_path / "names"
    names.write_text("dequantize/mxfp4\n")
    page = tmp_path / "page.md"
    arguments = ["conformance", "--target", "npu-edge", "--json"]
    assert main([*arguments, "--names", str(names), "--report", str(page)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["target"], result["passed"], result["failed"]) == ("npu-edge", 2, [])
    assert page.read_text().startswith("# Conformance of `npu-edge`")


def test_the_command_on_a_folder_of_onnx_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy"]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:])
    data = tmp_path / "suite" / "test_relu" / "test_data_set_0"
    data.mkdir(parents=True)
    onnx.save(helper.make_model(graph, ir_version=10), data.parent / "model.onnx")
    x = np.float32([-1, 0, 2])
    for name, array in (("input_0", x), ("output_0", np.maximum(x, 0))):
        tensor = numpy_helper.from_array(array)
        (data / f"{name}.pb").write_bytes(tensor.SerializeToString())
    arguments = ["conformance", "--suite", str(tmp_path / "suite"), "--json", "--target"]
    for target in ("ref", "npu"):
        assert main([*arguments, target]) == 0
        assert json.loads(capsys.readouterr().out) == {
            "target": target, "passed": 1, "failed": [], "skipped": []
        }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"), [("", "no name"), ("[1]", "not a list of names"), ("[", "not JSON")]
)
def test_names_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "names").write_text(text)
    assert main(["conformance", "--names", str(tmp_path / "names")]) == 2
    assert message in capsys.readouterr().err
