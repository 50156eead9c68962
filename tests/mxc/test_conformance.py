"""The conformance runner: what passes, what fails and why, what is skipped."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from mxc.conformance import run_suite
from mxc.errors import BadInput


def write_test(
    folder: Path,
    node: Any,
    inputs: dict[str, np.ndarray[Any, Any]],
    outputs: dict[str, np.ndarray[Any, Any]],
) -> None:
    """A test folder of one node in ONNX's format."""
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    infos: list[list[Any]] = [[], []]
    for side, values, kind in ((0, inputs, "input"), (1, outputs, "output")):
        for i, (name, value) in enumerate(values.items()):
            element = helper.np_dtype_to_tensor_dtype(value.dtype)
            infos[side].append(helper.make_tensor_value_info(name, element, value.shape))
            tensor = numpy_helper.from_array(value, name)
            (data / f"{kind}_{i}.pb").write_bytes(tensor.SerializeToString())
    graph = helper.make_graph([node], "test", *infos)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    (folder / "model.onnx").write_bytes(model.SerializeToString())


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    x = np.array([[-1.0, 2.0, 3.0]], np.float32)
    relu = helper.make_node("Relu", ["x"], ["y"])
    write_test(tmp_path / "a" / "right", relu, {"x": x}, {"y": np.maximum(x, 0)})
    write_test(tmp_path / "a" / "wrong", relu, {"x": x}, {"y": np.abs(x)})
    write_test(tmp_path / "narrow", relu, {"x": x}, {"y": np.maximum(x, 0).astype(np.float64)})
    reshape = helper.make_node("Reshape", ["x", "shape"], ["y"])
    shape = np.array([3, 1])
    write_test(tmp_path / "shaped", reshape, {"x": x, "shape": shape}, {"y": x.reshape(3, 1)})
    unique = helper.make_node("Unique", ["x"], ["y"])
    write_test(tmp_path / "unique", unique, {"x": x}, {"y": x[0]})
    return tmp_path


def test_a_folder_of_tests(suite: Path) -> None:
    seen: list[str] = []
    report = run_suite(str(suite), progress=seen.append)
    assert report.passed == ["right", "shaped"]
    reasons = dict(report.failed)
    assert reasons["wrong"].startswith("output 'y': 1 of 3 differ, first at [0, 0]")
    assert reasons["narrow"] == "output 'y': type float32, not float64"
    assert "depends on" in reasons["unique"]
    assert seen == ["right", "wrong", "narrow", "shaped", "unique"]
    as_json = json.loads(json.dumps(report.as_json()))
    assert as_json["passed"] == 2
    assert [sorted(entry) for entry in as_json["failed"]] == [["name", "reason"]] * 3
    assert as_json["skipped"] == []


def test_reasons_have_no_paths(suite: Path) -> None:
    report = run_suite(str(suite), names=["unique"])
    assert "/" not in report.failed[0][1]


def test_named_tests_only(suite: Path) -> None:
    assert run_suite(str(suite), names=["shaped"]).passed == ["shaped"]
    with pytest.raises(BadInput, match="no test 'other'"):
        run_suite(str(suite), names=["other"])


def test_no_suite(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no model\.onnx"):
        run_suite(str(tmp_path))


def test_strings_are_skipped(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    words = np.array(["a"], object)
    data = tmp_path / "words" / "test_data_set_0"
    data.mkdir(parents=True)
    info = [helper.make_tensor_value_info(name, TensorProto.STRING, [1]) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "test", info[:1], info[1:]))
    (tmp_path / "words" / "model.onnx").write_bytes(model.SerializeToString())
    for kind in ("input", "output"):
        tensor = numpy_helper.from_array(words)
        (data / f"{kind}_0.pb").write_bytes(tensor.SerializeToString())
    report = run_suite(str(tmp_path))
    assert [name for name, _ in report.skipped] == ["words"]


OUTSIDE = [
    "test_adagrad",
    "test_adam",
    "test_ai_onnx_ml_",
    "test_bernoulli",
    "test_flexattention",
    "test_image_decoder_",
    "test_momentum",
    "test_nesterov_",
    "test_nonmaxsuppression_",
    "test_nonzero_",
    "test_unique_",
]
"""Other domains, random numbers, images, and results whose size depends on data."""

NOISE = {
    "test_attention_4d_causal_fp16_expanded",  # the reference rounds every step to f16
    "test_dft_inverse",  # 0, where the reference has rounding errors above the tolerance
    "test_dft_inverse_opset19",
}


@pytest.mark.slow
def test_the_nodes_of_the_onnx_package() -> None:
    report = run_suite("onnx")
    failed = {name for name, _ in report.failed}
    assert {name for name in failed if not name.startswith(tuple(OUTSIDE))} <= NOISE
    assert len(report.passed) >= 1770


def test_the_c_of_a_target_is_held_to_the_interpreter(suite: Path) -> None:
    report = run_suite(str(suite), "npu", names=["right", "wrong"])
    assert report.passed == ["right"], report.failed
    assert "differ, first at" in report.failed[0][1]


def test_processes_share_the_work(suite: Path) -> None:
    report = run_suite(str(suite), jobs=2)
    assert report.passed == ["right", "shaped"]
    assert len(report.failed) == 3
