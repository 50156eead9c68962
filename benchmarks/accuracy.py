"""Accuracy of the trained models in float and in MX, computed by the emitted C.

    python benchmarks/accuracy.py [--models ../shared/models/trained] [--format mxfp8 ...]

The digits models are scored by accuracy on `digits_test.npz` (x, y), the character language model
by perplexity on `charlm_eval.npz` (ids: 64 characters in, the next of each out).
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.driver import Options, compile_model, load_artifact

Array = NDArray[Any]
Program = Callable[[Array], Array]

BATCH = {"digits": 180, "charlm": 64}


def program(model: Path, number_format: str, batch: int, folder: Path) -> Program:
    """The model compiled to C, built and loaded, as a function of a batch."""
    options = Options(format=number_format, dims={"batch": batch})
    compile_model(model, folder, options)
    run = load_artifact(folder)
    return lambda x: run(x)[0]


def in_batches(run: Program, x: Array, batch: int) -> Array:
    """The outputs for all of `x`, whose length is a multiple of `batch`."""
    return np.concatenate([run(x[i : i + batch]) for i in range(0, len(x), batch)])


def accuracy(run: Program, data: dict[str, Array]) -> float:
    """Per cent of the digits that are recognised."""
    logits = in_batches(run, data["x"], BATCH["digits"])
    return 100 * float(np.mean(logits.argmax(-1) == data["y"]))


def perplexity(run: Program, data: dict[str, Array]) -> float:
    """The exponential of the mean surprise at the next character."""
    ids = data["ids"]
    logits = in_batches(run, ids[:, :-1], BATCH["charlm"]).astype(np.float64)
    top = logits.max(-1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
    chosen = np.take_along_axis(logits, ids[:, 1:, None], -1)[..., 0]
    return float(np.exp(np.mean(total - chosen)))


TASKS = (
    ("digits_mlp", "digits", "digits_test", accuracy),
    ("digits_cnn", "digits", "digits_test", accuracy),
    ("digits_vit", "digits", "digits_test", accuracy),
    ("charlm", "charlm", "charlm_eval", perplexity),
)


def main() -> None:
    """Prints the table: a row per model, a column per format."""
    default = Path(__file__).parent.parent.parent / "shared" / "models" / "trained"
    parser = argparse.ArgumentParser(description="Score the trained models through emitted C.")
    parser.add_argument("--models", type=Path, default=default)
    parser.add_argument("--format", nargs="+", default=["f32", "mxfp8"])
    args = parser.parse_args()
    print(f"{'model':12} {'score':12}" + "".join(f"{name:>12}" for name in args.format))
    for name, family, file, score in TASKS:
        data = dict(np.load(args.models / f"{file}.npz"))
        row = f"{name:12} {score.__name__:12}"
        for number_format in args.format:
            with TemporaryDirectory() as temporary:
                model = args.models / f"{name}.onnx"
                run = program(model, number_format, BATCH[family], Path(temporary) / "c")
                row += f"{score(run, data):12.3f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
