"""Partial evaluation, shapes, constants, and the form of the module."""

import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper
from xdsl.dialects.builtin import StringAttr, TensorType, f32

from mxc.constants import ConstantTable
from mxc.dialects.location import node_names
from mxc.dialects.mx import ConstantOp
from mxc.importer import import_model
from mxc.importer.pins import evaluate
from tests.importer.helpers import (
    Import,
    info,
    main_of,
    model_of,
    names_of,
    nodes_of,
    ops_of,
    run,
)

NODE = helper.make_node


def arrays_of(imported: Any) -> list[NDArray[Any]]:
    """The constants of the module, in order of appearance."""
    table = ConstantTable.of(imported.ctx)
    return [
        table[op.value.string_value()]
        for op in main_of(imported).body.block.ops
        if isinstance(op, ConstantOp)
    ]


def shape_chain() -> onnx.ModelProto:
    """The usual export of `x.reshape(x.shape[0], -1)`."""
    nodes = [
        NODE("Shape", ["x"], ["s"]),
        NODE("Gather", ["s", "zero"], ["n"]),
        NODE("Unsqueeze", ["n", "axes"], ["n1"]),
        NODE("Concat", ["n1", "rest"], ["target"], axis=0),
        NODE("Reshape", ["x", "target"], ["y"], name="flatten"),
    ]
    weights = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    return model_of(nodes, [info("x", ["n", 3, "w"])], ["y"], weights)


def test_shape_chains_vanish(load: Import) -> None:
    imported = load(shape_chain(), dims={"n": 2, "w": 5})
    assert ops_of(imported) == ["Reshape"]
    assert nodes_of(imported)[0].results[0].type == TensorType(f32, [2, 15])
    assert [a.tolist() for a in arrays_of(imported)] == [[2, -1]]


def test_the_module(load: Import) -> None:
    imported = load(shape_chain(), dims={"n": 2, "w": 5})
    assert names_of(imported, "input") == ["x"]
    assert names_of(imported, "output") == ["y"]
    assert imported.module.attributes["mxc.model"] == StringAttr("model")
    assert imported.name == "model"
    assert node_names(nodes_of(imported)[0]) == ("flatten",)
    text = str(imported.module)
    assert "func.func @main(%x: tensor<2x3x5xf32>) -> tensor<2x15xf32>" in text


def test_unnamed_nodes_are_called_by_operator_and_position(load: Import) -> None:
    nodes = [NODE("Neg", ["x"], ["a"]), NODE("Relu", ["a"], ["y"])]
    imported = load(model_of(nodes, [info("x", [2])], ["y"]))
    assert [node_names(op) for op in nodes_of(imported)] == [("Neg_0",), ("Relu_1",)]


def test_dead_nodes_are_gone_and_dead_outputs_too(load: Import) -> None:
    nodes = [
        NODE("Exp", ["x"], ["unused"]),
        NODE("TopK", ["x", "k"], ["best", "where"]),
        NODE("LSTM", ["s", "w", "r"], ["all", "last"]),
        NODE("Unsqueeze", ["best", "k"], ["s"]),
    ]
    weights = {
        "k": np.array([1]),
        "w": np.ones((1, 4, 1), np.float32),
        "r": np.ones((1, 4, 1), np.float32),
    }
    imported = load(model_of(nodes, [info("x", [3, 2])], ["last"], weights))
    assert ops_of(imported) == ["TopK", "Unsqueeze", "LSTM"]
    assert nodes_of(imported)[-1].outputs[0] is None


def test_equal_constants_are_one(load: Import) -> None:
    tied = np.ones((2, 2), np.float32)
    nodes = [NODE("MatMul", ["x", "a"], ["u"]), NODE("MatMul", ["u", "b"], ["y"])]
    imported = load(model_of(nodes, [info("x", [2, 2])], ["y"], {"a": tied, "b": tied.copy()}))
    assert len(arrays_of(imported)) == 1


def test_weights_behind_moves_and_casts_are_folded(load: Import) -> None:
    nodes = [
        NODE("Cast", ["h"], ["f"], to=1),
        NODE("Transpose", ["f"], ["t"], perm=[1, 0]),
        NODE("Identity", ["t"], ["w"]),
        NODE("MatMul", ["x", "w"], ["y"]),
    ]
    half = np.arange(6, dtype=np.float16).reshape(3, 2)
    imported = load(model_of(nodes, [info("x", [1, 2])], ["y"], {"h": half}))
    assert ops_of(imported) == ["MatMul"]
    assert (arrays_of(imported)[0] == half.T).all()


def test_dequantised_weights_keep_their_codes(load: Import) -> None:
    nodes = [NODE("DequantizeLinear", ["q", "s"], ["w"]), NODE("MatMul", ["x", "w"], ["y"])]
    weights = {"q": np.ones((2, 2), np.int8), "s": np.array(0.5, np.float32)}
    imported = load(model_of(nodes, [info("x", [1, 2])], ["y"], weights))
    assert ops_of(imported) == ["DequantizeLinear", "MatMul"]


def test_huge_results_are_left_to_the_target(load: Import) -> None:
    """4 GB of zeros are neither made nor multiplied."""
    nodes = [NODE("ConstantOfShape", ["s"], ["z"]), NODE("Add", ["z", "x"], ["y"])]
    start = time.perf_counter()
    imported = load(model_of(nodes, [info("x", [1])], ["y"], {"s": np.array([1 << 30])}))
    assert time.perf_counter() - start < 1
    assert ops_of(imported) == ["ConstantOfShape", "Add"]


def test_small_shape_vectors_are_followed_although_partly_unknown(load: Import) -> None:
    """The batch comes from data, the rest of the target is known."""
    nodes = [
        NODE("Unsqueeze", ["k", "axes"], ["k1"]),
        NODE("Concat", ["k1", "six"], ["target"], axis=0),
        NODE("Reshape", ["x", "target"], ["y"]),
    ]
    weights = {"axes": np.array([0]), "six": np.array([6])}
    inputs = [info("x", [2, 3, 4]), info("k", [], np.int64)]
    # k is not a constant: its element is unknown, and the size of x decides it
    known = [NODE("Shape", ["x"], ["s"]), NODE("Cast", ["s"], ["s32"], to=6)]
    imported = load(model_of([*known, *nodes], inputs, ["y"], weights))
    assert nodes_of(imported)[-1].results[0].type == TensorType(f32, [4, 6])


def test_empty_parts_of_concat_vanish(load: Import) -> None:
    nodes = [NODE("Concat", ["past", "x"], ["y"], axis=1)]
    past = np.empty((1, 0, 3), np.float32)
    imported = load(model_of(nodes, [info("x", [1, 2, 3])], ["y"], {"past": past}))
    assert ops_of(imported) == []


def test_outputs_may_be_inputs_or_constants(load: Import) -> None:
    imported = load(
        model_of([NODE("Identity", ["x"], ["y"])], [info("x", [2])], ["y", "w"], {"w": np.ones(2)})
    )
    got = run(imported, {"x": np.zeros(2, np.float32)})
    assert got["y"].tolist() == [0, 0]
    assert got["w"].tolist() == [1, 1]


def test_weights_that_are_listed_as_inputs_are_constants(load: Import) -> None:
    model = model_of(
        [NODE("Add", ["x", "w"], ["y"])],
        [info("x", [2]), info("w", [2])],
        ["y"],
        {"w": np.ones(2, np.float32)},
    )
    model.ir_version = 3
    assert names_of(load(model), "input") == ["x"]


@pytest.mark.parametrize(
    "dtype",
    [
        np.uint8, np.int16, np.bool_, np.float64, np.float16, ml_dtypes.bfloat16,
        ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float8_e8m0fnu,
        ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.float4_e2m1fn,
    ],
)  # fmt: skip
def test_weights_of_every_type(dtype: Any, load: Import) -> None:
    weight = np.array([1, 1, 0, 1, 1]).astype(dtype)
    model = model_of([NODE("Identity", ["w"], ["y"])], [info("x", [1])], ["y"], {"w": weight})
    [array] = arrays_of(load(model))
    assert array.dtype == weight.dtype
    assert np.array_equal(array.astype(np.float32), weight.astype(np.float32), equal_nan=True)


def test_weights_in_typed_fields(load: Import) -> None:
    model = model_of([NODE("Identity", ["w"], ["y"])], [info("x", [1])], ["y"])
    model.graph.initializer.append(helper.make_tensor("w", 16, [3], [1.0, 2.0, -0.5]))
    [array] = arrays_of(load(model))
    assert array.astype(np.float32).tolist() == [1, 2, -0.5]


# Dimensions.


def test_dimensions_by_name_by_place_and_by_array(load: Import) -> None:
    model = model_of([NODE("Neg", ["x"], ["y"])], [info("x", ["n", None])], ["y"])
    for options in (
        {"dims": {"n": 2, "x.1": 3}},
        {"dims": {"x.0": 2, "x.1": 3}},
        {"input_shapes": {"x": (2, 3)}},
        {"dims": {"n": 2}, "input_shapes": {"x": (2, 3)}},
    ):
        imported = load(model, **options)
        assert nodes_of(imported)[0].results[0].type == TensorType(f32, [2, 3])


def test_dimensions_computed_from_others(load: Import) -> None:
    inputs = [info("x", ["past"]), info("m", ["past + 1"])]
    model = model_of([NODE("Concat", ["x", "m"], ["y"], axis=0)], inputs, ["y"])
    imported = load(model, dims={"past": 4})
    assert nodes_of(imported)[0].results[0].type == TensorType(f32, [9])
    assert evaluate("2*(a - 1) // b", {"a": 8, "b": 3}) == 4
    assert evaluate("__import__('os')", {}) is None
    assert evaluate("a // b", {"a": 1, "b": 0}) is None


def fixed(op: str, shape: list[Any], weights: dict[str, Any], **attrs: Any) -> onnx.ModelProto:
    nodes = [NODE("Cast", ["x"], ["c"], to=1), NODE(op, ["c", *weights], ["y"], **attrs)]
    arrays = {k: np.asarray(v, np.int64 if k == "t" else np.float32) for k, v in weights.items()}
    return model_of(nodes, [info("x", shape)], ["y"], arrays)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (fixed("MatMul", [2, "k"], {"w": np.ones((5, 3))}), (2, 5)),
        (fixed("Gemm", [2, "k"], {"w": np.ones((3, 5))}, transB=1), (2, 5)),
        (fixed("Gemm", ["k", 2], {"w": np.ones((5, 3))}, transA=1), (5, 2)),
        (fixed("Conv", [1, "c", 8], {"w": np.ones((4, 2, 3))}, group=2), (1, 4, 8)),
        (fixed("ConvTranspose", [1, "c", 8], {"w": np.ones((4, 2, 3))}), (1, 4, 8)),
        (fixed("Reshape", ["n", 4], {"t": [2, 2, 6]}), (6, 4)),
        (fixed("InstanceNormalization", [1, "c", 3], {"s": [1, 1], "b": [1, 1]}), (1, 2, 3)),
        (fixed("RNN", [3, 1, "k"], {"w": np.ones((1, 2, 7)), "r": np.ones((1, 2, 2))}), (3, 1, 7)),
    ],
    ids=lambda v: v.graph.node[1].op_type if isinstance(v, onnx.ModelProto) else None,
)
def test_dimensions_that_the_model_fixes(model: Any, shape: tuple[int, ...], load: Import) -> None:
    assert main_of(load(model)).body.block.args[0].type == TensorType(f32, shape)


def test_the_user_overrides_what_the_model_seems_to_fix(load: Import) -> None:
    model = fixed("MatMul", ["k", 5], {"w": np.ones((5, 3))})
    assert main_of(load(model, dims={"k": 9})).body.block.args[0].type == TensorType(f32, [9, 5])


@pytest.mark.parametrize(
    ("text", "dtype", "shape", "want"),
    [
        ("16000", np.int64, [], 16000),
        ("0x10", np.int32, [1], [16]),
        ("1, 2,3", np.float32, ["n"], [1, 2, 3]),
        ("true", np.bool_, [], True),
        ("-1e-3", np.float64, [1, 1], [[-0.001]]),
    ],
)
def test_values_bind_inputs(text: str, dtype: Any, shape: Any, want: Any, load: Import) -> None:
    inputs = [info("x", [1]), info("k", shape, dtype)]
    imported = load(model_of([NODE("Identity", ["k"], ["y"])], inputs, ["y"]), values={"k": text})
    assert names_of(imported, "input") == ["x"]
    [array] = arrays_of(imported)
    assert array.dtype == dtype
    assert array.tolist() == want


def test_empty_inputs_on_request(load: Import) -> None:
    model = model_of([NODE("ReduceSum", ["x"], ["y"], keepdims=0)], [info("x", [2, 0])], ["y"])
    got = run(load(model, allow_empty=True), {"x": np.empty((2, 0), np.float32)})
    assert got["y"] == 0


def test_importing_is_linear_in_the_nodes(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        nodes = [NODE("Add", [f"v{i}", "w"], [f"v{i + 1}"]) for i in range(count)]
        weights = {"w": np.ones(3, np.float32)}
        model = model_of(nodes, [info("v0", [3])], [f"v{count}"], weights)
        path = tmp_path / f"{count}.onnx"
        path.write_bytes(model.SerializeToString())
        best = 1e9
        for _ in range(3):
            start = time.perf_counter()
            import_model(path)
            best = min(best, time.perf_counter() - start)
        return best

    assert seconds(2000) < 4 * 2 * max(seconds(500), 0.02)


def test_training_dropout_with_a_seed_has_a_constant_mask(load: Import) -> None:
    node = NODE("Dropout", ["x", "r", "t"], ["y", "mask"], seed=3)
    constants = {"r": np.array(0.25, np.float32), "t": np.array(True)}
    imported = load(model_of([node], [info("x", [4, 5])], ["y", "mask"], constants))
    assert ops_of(imported) == ["Mul"]
    results = run(imported, {"x": np.ones((4, 5), np.float32)})
    y, mask = results["y"], results["mask"]
    np.testing.assert_array_equal(mask, np.random.RandomState(3).uniform(size=(4, 5)) >= 0.25)
    np.testing.assert_allclose(y, np.where(mask, 1 / 0.75, 0), rtol=1e-6)
