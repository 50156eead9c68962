"""Bit-exactness and errors of real models, against stored inputs and outputs.

    python benchmarks/models.py ../shared/models/*/*.onnx [--format f32]

Each `name.onnx` has its data beside it in `name.npz`: `in_<input>` and `out_<output>`, '/' as '__'.
Dimensions that are not pinned take their size from the arrays. `error` is the largest difference
from a stored float output, relative to the largest value of that output.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.compare import relative_change
from mxc.driver import Options, import_model
from mxc.errors import MxcError
from mxc.inputs import Shapes, match, spelling
from mxc.verify import execute

Arrays = dict[str, NDArray[Any]]


def stored(path: Path) -> tuple[Arrays, Arrays]:
    """The inputs and the outputs in the file at `path`, by the spelling of their names."""
    inputs: Arrays = {}
    outputs: Arrays = {}
    with np.load(path) as file:
        for key in file.files:
            kind, _, name = key.partition("_")
            {"in": inputs, "out": outputs}[kind][name] = file[key]
    return inputs, outputs


def check(path: Path, number_format: str) -> str:
    """One line on the model at `path`."""
    start = time.perf_counter()
    arrays, wanted = stored(path.with_suffix(".npz"))
    options = Options(format=number_format, input_shapes=Shapes(arrays))
    model = import_model(path, options)
    done = execute(model, options, match(model.inputs, arrays))
    exact = "exact" if done.mismatches == 0 else f"{done.mismatches} DIFFER"
    errors = [
        relative_change(wanted[spelling(port.name)], array)
        for port, array in zip(model.outputs, done.compiled, strict=True)
        if array.dtype.kind == "f"
    ]
    seconds = time.perf_counter() - start
    return f"{exact:12} error {max(errors, default=0):9.2e}  {seconds:6.1f} s"


def main() -> None:
    """Prints a line per model."""
    parser = argparse.ArgumentParser(description="Verify models on stored data.")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--format", default="f32")
    args = parser.parse_args()
    for path in args.models:
        try:
            line = check(path, args.format)
        except MxcError as error:
            line = f"FAILED: {error}"
        print(f"{path.stem:32} {line}", flush=True)


if __name__ == "__main__":
    main()
