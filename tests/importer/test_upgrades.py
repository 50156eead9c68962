"""Nodes of old opsets mean what they meant: compared with onnxruntime running the old model."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper

from mxc.errors import ImportFailed
from mxc.importer.upgrades.rules import RULES
from tests.importer.helpers import Import, info, model_of, ops_of, run

RNG = np.random.default_rng(7)
IMAGE = RNG.standard_normal((2, 4, 6, 5)).astype(np.float32)
MATRIX = RNG.standard_normal((3, 4)).astype(np.float32)
VECTOR = RNG.standard_normal(7).astype(np.float32)
PER_CHANNEL = {name: (RNG.random(4) + 0.5).astype(np.float32) for name in ("s", "b", "m", "v")}


def by_onnxruntime(model: onnx.ModelProto, x: NDArray[Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    data, providers = model.SerializeToString(), ["CPUExecutionProvider"]
    make: Any = onnxruntime.InferenceSession
    session = make(data, options, providers)
    return session.run(None, {"x": x})


def int64s(*values: int) -> NDArray[Any]:
    return np.array(values, np.int64)


def floats(*values: float) -> NDArray[Any]:
    return np.array(values, np.float32)


CASES: list[tuple[str, int, NDArray[Any], dict[str, Any], dict[str, NDArray[Any]], int]] = [
    # operator, opset, input, attributes, further inputs (all weights), number of outputs
    *[
        (op, opset, x, attrs, {}, 1)
        for op in ("Softmax", "LogSoftmax", "Hardmax")
        for opset in (7, 11)
        for x, attrs in ((IMAGE, {}), (IMAGE, {"axis": 3}), (IMAGE, {"axis": 0}), (MATRIX, {}))
    ],
    ("Softmax", 11, IMAGE, {"axis": -2}, {}, 1),
    ("Softmax", 13, IMAGE, {}, {}, 1),
    ("BatchNormalization", 7, IMAGE, {"epsilon": 0.1}, PER_CHANNEL, 1),
    ("BatchNormalization", 9, IMAGE, {"momentum": 0.5}, PER_CHANNEL, 1),
    ("Clip", 7, IMAGE, {"min": -0.5, "max": 0.25}, {}, 1),
    ("Clip", 10, IMAGE, {"max": 0.25}, {}, 1),
    ("Pad", 7, MATRIX, {"pads": [1, 0, 2, 1], "value": 3.0}, {}, 1),
    ("Pad", 10, MATRIX, {"pads": [1, 0, 2, 1], "mode": "reflect"}, {}, 1),
    ("Pad", 13, MATRIX, {"mode": "edge"}, {"p": int64s(1, 0, 2, 1)}, 1),
    ("Slice", 9, IMAGE, {"starts": [1, -3], "ends": [100, -1], "axes": [1, 2]}, {}, 1),
    ("Slice", 7, MATRIX, {"starts": [1], "ends": [2]}, {}, 1),
    ("Squeeze", 11, IMAGE[:1], {"axes": [0]}, {}, 1),
    ("Squeeze", 12, IMAGE[:1, :, :1], {}, {}, 1),
    ("Unsqueeze", 11, MATRIX, {"axes": [0, -1]}, {}, 1),
    ("Split", 11, IMAGE, {"axis": 1, "split": [1, 3]}, {}, 2),
    ("Split", 12, IMAGE, {"axis": 1}, {}, 2),
    ("Split", 13, IMAGE, {"axis": 2}, {}, 3),
    ("TopK", 9, MATRIX, {"k": 2}, {}, 2),
    ("TopK", 10, MATRIX, {}, {"k": int64s(2)}, 2),
    *[
        (f"Reduce{name}", opset, np.abs(IMAGE) + 1, {"axes": [1, -1], "keepdims": 0}, {}, 1)
        for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
        for opset in (11, 13)
    ],
    ("ReduceSum", 11, IMAGE, {"axes": [2]}, {}, 1),
    ("ReduceMean", 7, IMAGE, {}, {}, 1),
    ("Dropout", 7, MATRIX, {"ratio": 0.75}, {}, 1),
    ("Dropout", 10, MATRIX, {}, {}, 1),
    ("Upsample", 7, IMAGE, {"scales": [1.0, 1.0, 2.0, 3.0]}, {}, 1),
    ("Upsample", 9, IMAGE, {"mode": "linear"}, {"s": floats(1, 1, 2, 2)}, 1),
    ("Resize", 10, IMAGE, {}, {"s": floats(1, 1, 2, 1.5)}, 1),
    ("Resize", 10, IMAGE, {}, {"s": floats(1, 1, 0.5, 0.6)}, 1),
    ("Resize", 10, IMAGE, {}, {"s": floats(1, 1, 0.5, 2)}, 1),
    ("Resize", 10, IMAGE, {"mode": "linear"}, {"s": floats(1, 1, 2, 0.6)}, 1),
    ("Resize", 11, IMAGE, {}, {"r": floats(), "s": floats(1, 1, 2, 1)}, 1),
    ("Resize", 11, IMAGE, {"mode": "linear"},
     {"r": floats(), "s": floats(), "z": int64s(2, 4, 9, 9)}, 1),
    ("Resize", 11, IMAGE,
     {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"},
     {"r": floats(), "s": floats(1, 1, 2, 0.4)}, 1),
    ("AveragePool", 7, IMAGE, {"kernel_shape": [3, 2], "pads": [1, 0, 1, 0]}, {}, 1),
    ("AveragePool", 10, IMAGE,
     {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": 1,
      "pads": [1, 0, 1, 0]}, {}, 1),
    ("MaxPool", 7, IMAGE, {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, {}, 1),
    ("MaxPool", 8, IMAGE, {"kernel_shape": [2, 2], "strides": [2, 1]}, {}, 2),
    ("MaxPool", 10, IMAGE, {"kernel_shape": [2, 2], "dilations": [2, 2], "ceil_mode": 1,
                            "strides": [2, 2]}, {}, 1),
    ("GridSample", 16, IMAGE, {"mode": "bilinear", "align_corners": 1},
     {"g": (RNG.random((2, 3, 3, 2)) * 2 - 1).astype(np.float32)}, 1),
    ("RoiAlign", 10, IMAGE, {"output_height": 2, "output_width": 2, "sampling_ratio": 2},
     {"r": floats(0, 0, 3, 3, 1, 1, 4, 4).reshape(2, 4), "i": int64s(0, 1)}, 1),
    ("Scatter", 9, MATRIX, {"axis": 1},
     {"i": int64s(1).reshape(1, 1), "u": floats(9).reshape(1, 1)}, 1),
    ("GroupNormalization", 18, IMAGE, {"num_groups": 2}, {"s": floats(2, 3), "b": floats(0, 1)}, 1),
    ("Gemm", 7, MATRIX, {"transB": 1}, {"w": MATRIX[:2], "c": floats(1, 2)}, 1),
    ("Flatten", 7, IMAGE, {"axis": 2}, {}, 1),
    ("DFT", 17, VECTOR.reshape(1, 7, 1), {}, {}, 1),
    ("ArgMax", 7, MATRIX, {"axis": 1}, {}, 1),
    ("PRelu", 7, IMAGE, {}, {"a": np.full((4, 1, 1), 0.3, np.float32)}, 1),
    ("Equal", 7, MATRIX.astype(np.int32), {}, {"y": MATRIX.astype(np.int32)}, 1),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}")
def test_old_semantics(case: Any, load: Import) -> None:
    op, opset, x, attrs, weights, count = case
    outputs = [f"y{i}" for i in range(count)]
    node = helper.make_node(op, ["x", *weights], outputs, **attrs)
    model = model_of([node], [info("x", x.shape, x.dtype)], outputs, weights, opset)
    wanted = by_onnxruntime(model, x)
    got = run(load(model), {"x": x})
    for name, want in zip(outputs, wanted, strict=True):
        assert got[name].dtype == want.dtype
        np.testing.assert_allclose(got[name], want, rtol=2e-5, atol=2e-6)


def test_every_rule_is_tried_here_or_below() -> None:
    below = {"Cast", "Hardmax"}
    rare = {"LpPool"}  # only drops empty attribute lists
    assert set(RULES) - {case[0] for case in CASES} - below <= rare


def test_per_activation_batch_normalization(load: Import) -> None:
    """spatial=0, which onnxruntime does not run."""
    stats = {n: RNG.random((4, 6, 5)).astype(np.float32) + 1 for n in ("s", "b", "m", "v")}
    node = helper.make_node("BatchNormalization", ["x", *stats], ["y"], spatial=0, epsilon=0.5)
    imported = load(model_of([node], [info("x", IMAGE.shape)], ["y"], stats, 7))
    want = (IMAGE - stats["m"]) / np.sqrt(stats["v"] + 0.5) * stats["s"] + stats["b"]
    np.testing.assert_allclose(run(imported, {"x": IMAGE})["y"], want, rtol=1e-5)
    assert "BatchNormalization" not in ops_of(imported)


def test_batch_normalization_that_trained_by_having_outputs(load: Import) -> None:
    node = helper.make_node("BatchNormalization", ["x", *PER_CHANNEL], ["y", "mean", "var"])
    model = model_of([node], [info("x", IMAGE.shape)], ["y", "mean"], PER_CHANNEL, 9)
    got = run(load(model), {"x": IMAGE})
    mean = PER_CHANNEL["m"] * 0.9 + IMAGE.mean((0, 2, 3)) * 0.1
    np.testing.assert_allclose(got["mean"], mean, rtol=1e-4)
    want = by_batch_statistics(IMAGE)
    np.testing.assert_allclose(got["y"], want, rtol=1e-4, atol=1e-5)


def by_batch_statistics(x: NDArray[Any]) -> NDArray[Any]:
    column = (slice(None), None, None)
    centred = x - x.mean((0, 2, 3), keepdims=True)
    scaled = centred / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)
    return scaled * PER_CHANNEL["s"][column] + PER_CHANNEL["b"][column]


def test_the_mask_of_an_old_dropout_is_all_ones(load: Import) -> None:
    """As the newer versions say; onnxruntime gives zeros for version 10."""
    node = helper.make_node("Dropout", ["x"], ["y", "mask"])
    for opset, dtype in ((7, np.float32), (10, np.bool_), (13, np.bool_)):
        got = run(
            load(model_of([node], [info("x", [2])], ["y", "mask"], opset=opset)), {"x": VECTOR[:2]}
        )
        assert got["mask"].dtype == dtype
        assert got["mask"].all()


def test_operators_changed_by_opset_7_are_refused_in_older_models(load: Import) -> None:
    node = helper.make_node("Add", ["x", "x"], ["y"], name="sum", broadcast=1)
    with pytest.raises(ImportFailed, match=r"'sum'.*Add of an opset older than 7"):
        load(model_of([node], [info("x", [2])], ["y"], opset=6))


def test_operators_that_opset_7_left_alone_are_taken(load: Import) -> None:
    imported = load(
        model_of([helper.make_node("Relu", ["x"], ["y"])], [info("x", [2])], ["y"], opset=6)
    )
    assert ops_of(imported) == ["Relu"]


@pytest.mark.parametrize("opset", [0, 99])
def test_opsets_that_do_not_exist(opset: int, load: Import) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(ImportFailed, match=f"opset {opset} "):
        load(model_of([node], [info("x", [2])], ["y"], opset=opset))
