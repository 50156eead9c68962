"""Errors layer by layer: what every ONNX node gave in the float model and in the compiled one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import Operation

from mxc.compare import OutputError, output_error
from mxc.dialects.location import node_names
from mxc.inputs import Array


class Recorder:
    """A watcher of the interpreter that keeps the last float array each ONNX node has given."""

    def __init__(self) -> None:
        self.values: dict[str, Array] = {}

    def __call__(self, op: Operation, results: Sequence[Any]) -> None:
        """Keeps the first result of `op` under each of its names."""
        first: Any = results[0] if results else None
        if getattr(first, "dtype", None) == np.float32:
            self.values |= {name: first for name in node_names(op)}


def layer_errors(floats: Recorder, compiled: Recorder) -> list[OutputError]:
    """The error figures of every node whose value exists, with one shape, in both runs.

    A value that fusion has dissolved into its consumer has no figures of its own.
    """
    return [
        output_error(name, compiled.values[name], wanted)
        for name, wanted in floats.values.items()
        if name in compiled.values and compiled.values[name].shape == wanted.shape
    ]
