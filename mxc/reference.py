"""The float model as it was written, run by onnxruntime: what quantised results are measured by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from mxc.inputs import Array
from mxc.model import Model


def float_model(
    path: Path, model: Model, inputs: Sequence[Array]
) -> tuple[str | None, list[Array]]:
    """What could run the ONNX model at `path`, and its outputs for `inputs`.

    onnxruntime; onnx's own reference evaluator where onnxruntime refuses the model (it knows
    opsets up to 26); None and no outputs where both refuse.
    """
    feeds = {port.name: array for port, array in zip(model.inputs, inputs, strict=True)}
    feeds |= model.bound
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
