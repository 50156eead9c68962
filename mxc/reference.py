"""The float model as it was written, run by onnxruntime: what quantised results are measured by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from mxc.driver import Model, Options
from mxc.inputs import Array


def float_model(
    path: Path, model: Model, options: Options, inputs: Sequence[Array]
) -> tuple[str | None, list[Array]]:
    """What could run the ONNX model at `path`, and its outputs for `inputs`.

    onnxruntime; onnx's own reference evaluator where onnxruntime refuses the model (it knows
    opsets up to 26); None and no outputs where both refuse.
    """
    feeds = {port.name: array for port, array in zip(model.inputs, inputs, strict=True)}
    feeds |= _bound(path, options.values)
    names = [port.name for port in model.outputs]
    for run, by in ((_onnxruntime, onnxruntime), (_onnx, onnx)):
        try:
            return f"{by.__name__} {by.__version__}", run(path, feeds, names)
        except _REFUSALS:
            continue
    return None, []


def _refusals() -> tuple[type[Exception], ...]:
    """What onnxruntime and onnx raise for a model that they cannot run."""
    state = vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
    own = [one for one in state if isinstance(one, type) and issubclass(one, Exception)]
    known = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)
    return (*own, *known)


_REFUSALS = _refusals()


def _onnxruntime(path: Path, feeds: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [np.asarray(one) for one in session.run(list(names), dict(feeds))]


def _onnx(path: Path, feeds: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
    from onnx.reference import ReferenceEvaluator

    evaluator: Any = ReferenceEvaluator(str(path))
    outputs = evaluator.run(list(names), dict(feeds))
    return [np.asarray(one) for one in outputs]


def _bound(path: Path, values: Mapping[str, str]) -> dict[str, Array]:
    """The arrays of the inputs that `--input-value` binds."""
    if not values:
        return {}
    graph = onnx.ModelProto.FromString(path.read_bytes()).graph
    kinds = {one.name: one.type.tensor_type for one in graph.input}
    return {name: _array(text, kinds[name]) for name, text in values.items()}


def _array(text: str, kind: Any) -> Array:
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    shape = [dim.dim_value for dim in kind.shape.dim]
    if kind.elem_type == TensorProto.BOOL:
        return np.full(shape, text.lower() in ("true", "1"))
    numbers = np.array([float(part) for part in text.split(",")])
    return np.broadcast_to(numbers, shape).astype(dtype)
