"""One ONNX node run by onnxruntime, without optimisation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from tests.passes.lowering.nodes import Input, model_of, run_node

OPSET = 22


def peer(
    op_type: str, inputs: Sequence[Input], outputs: int = 1, opset: int = OPSET, **attrs: Any
) -> list[Any]:
    """The node's outputs, by onnxruntime, which lags behind in the opsets of some operators."""
    model = model_of(op_type, inputs, attrs, outputs)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", opset))
    model.ir_version = 10
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    feeds = {f"x{i}": value for i, value in enumerate(inputs) if isinstance(value, np.ndarray)}
    return list(session.run(None, feeds))


def close(
    op_type: str,
    inputs: Sequence[Input],
    outputs: int = 1,
    tolerance: float = 1e-5,
    opset: int = OPSET,
    **attrs: Any,
) -> list[NDArray[Any]]:
    """Our outputs, which must be close to those of onnxruntime."""
    have = run_node(op_type, inputs, outputs, **attrs)
    want = peer(op_type, inputs, outputs, opset, **attrs)
    for mine, theirs in zip(have, want, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)
    return have
