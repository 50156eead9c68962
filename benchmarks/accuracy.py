"""Accuracy of the trained models in float and in MX, computed by the emitted C.

    python benchmarks/accuracy.py [--models FOLDER] [--only charlm ...] [--format mxfp8 ...]

`--format all` is every format that the target `npu` has. The digits models are scored by accuracy
on `digits_test.npz` (x, y), the character language model by perplexity on `charlm_eval.npz` (ids:
64 characters in, the next of each out).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.driver import Options, compile_model, load_artifact
from mxc.targets import load_target

Array = NDArray[Any]
Program = Callable[[Array], Array]
Task = tuple[str, str, str, Callable[[Program, dict[str, Array]], float]]
"""Model, family, file of data, measure."""

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


TASKS: tuple[Task, ...] = (
    ("digits_mlp", "digits", "digits_test", accuracy),
    ("digits_cnn", "digits", "digits_test", accuracy),
    ("digits_vit", "digits", "digits_test", accuracy),
    ("charlm", "charlm", "charlm_eval", perplexity),
)


def score(task: Task, models: Path, number_format: str) -> float:
    """The score of one model in one format."""
    name, family, file, measure = task
    data = dict(np.load(models / f"{file}.npz"))
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "c"
        return measure(program(models / f"{name}.onnx", number_format, BATCH[family], folder), data)


def formats(names: Sequence[str]) -> list[str]:
    """The formats that `names` asks for, `all` written out."""
    numerics = load_target("npu").numerics
    return [*numerics.float_formats, *numerics.formats] if list(names) == ["all"] else list(names)


def main() -> None:
    """Prints the table: a row per format, a column per model."""
    default = Path(__file__).parent.parent.parent / "shared" / "models" / "trained"
    parser = argparse.ArgumentParser(description="Score the trained models through emitted C.")
    parser.add_argument("--models", type=Path, default=default)
    parser.add_argument("--only", nargs="+", default=[task[0] for task in TASKS], metavar="MODEL")
    parser.add_argument("--format", nargs="+", default=["f32", "mxfp8"])
    args = parser.parse_args()
    tasks = [task for task in TASKS if task[0] in args.only]
    write = sys.stdout.write
    write("| format |" + "".join(f" {t[0]}, {t[3].__name__} |" for t in tasks) + "\n")
    write("|---|" + "---|" * len(tasks) + "\n")
    for name in formats(args.format):
        scores = (f" {score(task, args.models, name):.2f} |" for task in tasks)
        write(f"| `{name}` |" + "".join(scores) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
