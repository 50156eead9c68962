"""Models that once failed: each is small, and names what was wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, helper, numpy_helper

from tests.fuzz.check import check
from tests.fuzz.generate import Fuzzed
from tests.fuzz.graph import Tensor, session

NODE = helper.make_node
RNG = np.random.default_rng(7)


def floats(*shape: int, dtype: str = "float32") -> np.ndarray:
    """Numbers in [-2, 2]."""
    return RNG.uniform(-2, 2, shape).astype(dtype)


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, np.ndarray],
    weights: Mapping[str, Any],
    outputs: Mapping[str, np.dtype[Any]],
    *,
    opset: int = 17,
    tolerance: float = 1e-5,
) -> Fuzzed:
    """A model of `nodes`, run by onnxruntime."""
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in inputs.items()
        ],
        [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(np.dtype(v)), None)
            for k, v in outputs.items()
        ],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=8)
    wanted = session(proto).run(None, dict(inputs))
    results = [Tensor(k, v, tolerance) for k, v in zip(outputs, wanted, strict=True)]
    return Fuzzed(0, proto, dict(inputs), results, Counter())


def half_matmul() -> Fuzzed:
    """The quantiser of the host read f16 as f32."""
    x, w = floats(3, 5, dtype="float16"), floats(5, 7, dtype="float16")
    y = {"y": np.dtype("float16")}
    return model([NODE("MatMul", ["x", "w"], ["y"])], {"x": x}, {"w": w}, y, tolerance=0.02)


def loop_carried() -> Fuzzed:
    """mx-layout did not know the values that a loop over time carries."""
    weights = {"w": floats(1, 12, 5), "r": floats(1, 12, 4)}
    node = NODE("GRU", ["x", "w", "r"], ["y", "h"], hidden_size=4)
    kinds = {name: np.dtype("float32") for name in ("y", "h")}
    return model([node], {"x": floats(4, 3, 5)}, weights, kinds)


def slice_backwards() -> Fuzzed:
    """A prefix of one axis beside a negative step on another ran over the whole axis."""
    weights = {"s": [0, -1], "e": [2, -4], "a": [0, 1], "by": [1, -2]}
    node = NODE("Slice", ["x", "s", "e", "a", "by"], ["y"])
    y = {"y": np.dtype("float32")}
    return model([node], {"x": floats(5, 3)}, weights, y, tolerance=0)


def of_constants(node: NodeProto, weights: Mapping[str, Any], tolerance: float) -> Fuzzed:
    """A node that is evaluated while compiling, beside one that is not."""
    kinds = {"y": np.dtype("float32"), "z": np.dtype("float32")}
    nodes = [node, NODE("Neg", ["x"], ["z"])]
    return model(nodes, {"x": floats(2)}, weights, kinds, tolerance=tolerance)


def short_indices() -> Fuzzed:
    """Indices that do not reach the end of the other axes could not be evaluated."""
    node = NODE("GatherElements", ["w", "i"], ["y"], axis=1)
    return of_constants(node, {"w": floats(5, 3), "i": np.array([[0, -1], [2, 1]])}, 0)


def lrn_of_batches() -> Fuzzed:
    """The evaluator of onnx counts the batch where it means the channels."""
    return of_constants(NODE("LRN", ["w"], ["y"], size=3), {"w": floats(3, 1, 2, 2)}, 1e-5)


def scalar_of_codes() -> Fuzzed:
    """A folded constant without dimensions was given one."""
    nodes = [
        NODE("DequantizeLinear", ["q", "s"], ["d"]),
        NODE("ReduceSum", ["d"], ["y"], keepdims=0),
        NODE("Neg", ["x"], ["z"]),
    ]
    weights = {"q": np.arange(6, dtype=np.int8), "s": np.float32(0.5)}
    kinds = {"y": np.dtype("float32"), "z": np.dtype("float32")}
    return model(nodes, {"x": floats(2)}, weights, kinds)


def mean_of_the_smaller() -> Fuzzed:
    """The first term was not broadcast."""
    weights = {"a": floats(2, 1), "b": floats(1, 3)}
    return of_constants(NODE("Mean", ["a", "b"], ["y"]), weights, 1e-5)


def unit_axes() -> Fuzzed:
    """A tile and its source were copied with an axis of size 1 in different places."""
    nodes = [
        NODE("Transpose", ["x"], ["t"], perm=[1, 3, 2, 0]),
        NODE("Add", ["t", "t"], ["y"]),
        NODE("Reshape", ["y", "s"], ["z"]),
    ]
    kinds = {"y": np.dtype("float32"), "z": np.dtype("float32")}
    return model(nodes, {"x": floats(2, 6, 6, 2)}, {"s": [3, 1, 6, 8]}, kinds, tolerance=0)


MODELS = [
    half_matmul,
    loop_carried,
    lrn_of_batches,
    mean_of_the_smaller,
    scalar_of_codes,
    short_indices,
    slice_backwards,
    unit_axes,
]


@pytest.mark.parametrize("format", ["f32", "mxfp8"])
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_no_more(make: Any, format: str) -> None:
    assert check(make(), format) == ""
