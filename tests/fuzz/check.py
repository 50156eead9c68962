"""Whether the compiler agrees with onnxruntime, and its C with its interpreter, on a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mxc.backends.npu.build import Program
from mxc.compare import differences
from mxc.driver import (
    Model,
    Options,
    backend_of,
    import_model,
    interpret,
    lower,
    pipeline,
    write_artifact,
)
from mxc.model import in_ports
from mxc.passes.pipelines import Stage, Step
from mxc.targets import load_target
from tests.fuzz.generate import Fuzzed
from tests.fuzz.graph import Tensor

Array = NDArray[Any]

LAST = "fuse-elementwise"
"""The pass after which the interpreter runs: the last one above the machine level."""

FLAGS = ("-O1",)
"""The bits do not depend on it, and it saves a third of the time."""


def check(fuzzed: Fuzzed, format: str) -> str:
    """What is wrong with `fuzzed` in `format`; empty if nothing is."""
    with TemporaryDirectory(prefix="mxc-fuzz-") as temporary:
        path = Path(temporary) / "model.onnx"
        onnx.save(fuzzed.model, str(path))
        options = Options(target="npu", format=format)
        model = import_model(path, options)
        inputs = [fuzzed.inputs[port.name] for port in model.inputs]
        expected = _lowered(model, options, inputs)
        if format == "f32":
            for have, want in zip(expected, fuzzed.outputs, strict=True):
                reason = disagreement(have, want)
                if reason:
                    return f"interpreter against onnxruntime: {reason}"
        have = _run_c(model, options, inputs, Path(temporary) / "artifact")
    for port, a, b in zip(model.outputs, have, expected, strict=True):
        count = differences(a, b)
        if count:
            return f"C against interpreter: output {port.name}: {count} elements differ"
    return ""


def _lowered(model: Model, options: Options, inputs: Sequence[Array]) -> Sequence[Array]:
    """Lowers `model` to the machine level; what the interpreter made of it on the way."""
    results: list[Array] = []

    def watch(_: Stage, step: Step, lowered: Model) -> None:
        if step.name == LAST:
            results.extend(interpret(lowered, inputs))

    lower(model, pipeline(options), after_pass=watch)
    return results


def _run_c(
    model: Model, options: Options, inputs: Sequence[Array], folder: Path
) -> Sequence[Array]:
    target = load_target(options.target)
    write_artifact(model, backend_of(target), target, folder, lambda _: None)
    return in_ports(model.outputs, Program(folder, FLAGS)(*inputs))


def disagreement(have: Array, want: Tensor) -> str:
    """Why `have` is not `want` within its tolerance; empty if it is."""
    if (have.dtype, have.shape) != (want.array.dtype, want.shape):
        return f"{want.name} is {have.dtype}{have.shape}, not {want.array.dtype}{want.shape}"
    a, b = have.astype(np.float64), want.array.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = float(np.max(np.abs(a - b), initial=0.0))
    if apart <= want.tolerance:
        return ""
    return f"{want.name} {want.dtype}{want.shape}: {apart:.3g} apart, not {want.tolerance:.3g}"
