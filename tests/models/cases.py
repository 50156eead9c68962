"""Running a real model: interpreter, C, and what is known of its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mxc.driver import Model, Options, import_model
from mxc.inputs import spelling
from mxc.verify import Execution, execute

Array = NDArray[Any]


@dataclass(frozen=True)
class Outcome:
    """A model's run in one format."""

    model: Model
    done: Execution

    def outputs(self) -> dict[str, Array]:
        """What the C gave, by name."""
        return {p.name: a for p, a in zip(self.model.outputs, self.done.compiled, strict=True)}


def stored(path: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs and outputs beside a model, by their names as keys of the file."""
    with np.load(path.with_suffix(".npz")) as file:
        arrays = {key: file[key] for key in file.files}
    sides = ({k[len(s) :]: v for k, v in arrays.items() if k.startswith(s)} for s in _SIDES)
    inputs, outputs = sides
    return inputs, outputs


_SIDES = ("in_", "out_")


def run(path: Path, inputs: Mapping[str, Array], format: str) -> Outcome:
    """Compiles the model at `path` for the shapes of `inputs` and runs it on them."""
    names = [port.name for port in onnxruntime_session(path).get_inputs()]
    shapes = {name: inputs[spelling(name)].shape for name in names}
    options = Options(format=format, input_shapes=shapes)
    model = import_model(path, options)
    arrays = [inputs[spelling(p.name)].astype(p.dtype) for p in model.inputs]
    return Outcome(model, execute(model, options, arrays))


def onnxruntime_session(path: Path) -> Any:
    """An onnxruntime session that computes what the model says, one node after the other."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def onnxruntime_outputs(path: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What onnxruntime makes of `inputs`, whose keys are spelt as in a file."""
    session = onnxruntime_session(path)
    feeds = {port.name: inputs[spelling(port.name)] for port in session.get_inputs()}
    names = [port.name for port in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def error(have: Array, want: Array, floor: float = 0.0) -> float:
    """The largest difference, relative to the largest wanted value or to `floor`."""
    if have.shape != want.shape or have.dtype != want.dtype:
        return float("inf")
    a, b = have.astype(np.float64), want.astype(np.float64)
    top = max(float(np.max(np.abs(b), initial=0.0)), floor)
    return float(np.max(np.abs(a - b), initial=0.0)) / (top or 1.0)
