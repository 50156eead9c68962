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


def short_indices() -> Fuzzed:
    """Indices that do not reach the end of the other axes could not be evaluated."""
    node = NODE("GatherElements", ["x", "i"], ["y"], axis=1)
    i = np.array([[0, -1], [2, 1]])
    y = {"y": np.dtype("float32")}
    return model([node], {"x": floats(5, 3)}, {"i": i}, y, tolerance=0)


def lrn_of_batches() -> Fuzzed:
    """The evaluator of onnx counts the batch where it means the channels."""
    y = {"y": np.dtype("float32")}
    return model([NODE("LRN", ["x"], ["y"], size=3)], {"x": floats(3, 1, 2, 2)}, {}, y)


MODELS = [lrn_of_batches, half_matmul, loop_carried, slice_backwards, short_indices]


@pytest.mark.parametrize("format", ["f32", "mxfp8"])
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_no_more(make: Any, format: str) -> None:
    assert check(make(), format) == ""
