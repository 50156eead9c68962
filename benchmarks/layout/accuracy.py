"""Accuracy beside bytes: what a layout saves, and what it costs a trained model.

    python benchmarks/layout/accuracy.py [--models ../shared/models/trained] [--emit all last]
        [--format mxfp8 mxint8 ...] [--policy naive dual ...] [--html FOLDER] [--json FILE]

Compiles digits_vit and charlm for every policy, format and emission setting, runs the emitted C on
the test data, and prints accuracy (per cent) or perplexity beside the bytes that quantising and
requantising makes in one run of a batch, as the plan predicts them. Plans that are the same are run
once. `--html` writes the reports with a plot of score against bytes and its Pareto front.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mxc.driver import Options, compile_model, load_artifact
from mxc.layout import Terms, problem_of
from mxc.passes.layout.policies import POLICIES, policy
from mxc.passes.layout.report import compare
from mxc.passes.layout.svg import Point, scatter
from mxc.passes.layout.views import html_report
from mxc.targets import load_target

sys.path.insert(0, str(Path(__file__).parents[1]))
from accuracy import BATCH, accuracy, perplexity

FORMATS = ("mxfp8", "mxfp6_e2m3", "mxfp4", "mxint8")
NPU = Path(__file__).parents[2] / "mxc" / "targets" / "npu.toml"


@dataclass(frozen=True)
class Task:
    """A trained model, its test data, and what is measured."""

    model: str
    family: str
    data: str
    score: Callable[..., float]
    more_is_better: bool


TASKS = (
    Task("digits_vit", "digits", "digits_test", accuracy, True),
    Task("charlm", "charlm", "charlm_eval", perplexity, False),
)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    model: str
    format: str
    emit: str
    policy: str
    score: float
    quantize_ops: int
    requantize_ops: int
    made_bytes: float
    traffic_bytes: float


def target_emitting(emit: str, folder: Path) -> str:
    """The target `npu`, with another emission setting."""
    if emit == load_target("npu").layout.emit:
        return "npu"
    text = NPU.read_text().replace('emit = "all"', f'emit = "{emit}"')
    path = folder / f"npu-{emit}.toml"
    path.write_text(text.replace('name = "npu"', f'name = "npu-{emit}"'))
    return str(path)


def measure(
    task: Task, options: Options, emit: str, policies: Sequence[str], models: Path
) -> Iterator[Row]:
    """The rows of one model in one format under one emission setting."""
    path = models / f"{task.model}.onnx"
    data = dict(np.load(models / f"{task.data}.npz"))
    problem = problem_of(path, options, Terms())
    scores: dict[str, float] = {}
    for name in policies:
        plan = policy(name)(problem)
        stored = plan.to_json()
        key = json.dumps([stored["versions"], stored["uses"]])
        if key not in scores:
            with TemporaryDirectory() as temporary:
                folder = Path(temporary) / "c"
                compile_model(path, folder, replace(options, layout=name))
                program = load_artifact(folder)
                scores[key] = task.score(lambda x, run=program: run(x)[0], data)
        made = plan.made
        yield Row(
            task.model, options.format, emit, name, scores[key], made.quantize_ops,
            made.requantize_ops, made.quantize_bytes + made.requantize_bytes,
            plan.costs.to_json()["traffic_bytes"],
        )  # fmt: skip


def line(row: Row) -> str:
    """A row as text."""
    ops = f"{row.quantize_ops}+{row.requantize_ops}"
    return (
        f"| {row.model} | {row.format} | {row.emit} | {row.policy} | {row.score:.3f} "
        f"| {ops} | {row.made_bytes:,.0f} | {row.traffic_bytes:,.0f} |"
    )


def plot(task: Task, rows: Sequence[Row]) -> str:
    """Score against bytes; a series per format."""
    points = [
        Point(row.made_bytes / 1e3, row.score, row.format, f"{row.policy}, emit {row.emit}")
        for row in rows
    ]
    return scatter(
        points, title=f"{task.model}: {task.score.__name__} and converted bytes of a batch",
        x="kB made by quantising and requantising", y=task.score.__name__,
        more_is_better=task.more_is_better,
    )  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """Prints the table."""
    default = Path(__file__).parents[3] / "shared" / "models" / "trained"
    parser = argparse.ArgumentParser(description="Accuracy of layouts beside their bytes.")
    parser.add_argument("--models", type=Path, default=default)
    parser.add_argument("--format", nargs="+", default=FORMATS)
    parser.add_argument("--emit", nargs="+", default=["all"])
    parser.add_argument("--policy", nargs="+", default=list(POLICIES))
    parser.add_argument("--task", nargs="+", default=[task.model for task in TASKS])
    parser.add_argument("--html", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    print("| model | format | emit | policy | score | ops | bytes made | traffic |")
    print("|---|---|---|---|---|---|---|---|")
    found: list[dict[str, Any]] = []
    for task in (task for task in TASKS if task.model in args.task):
        rows: list[Row] = []
        with TemporaryDirectory() as temporary:
            for emit in args.emit:
                target = target_emitting(emit, Path(temporary))
                for name in args.format:
                    options = Options(
                        target=target, format=name, dims={"batch": BATCH[task.family]}
                    )
                    for row in measure(task, options, emit, args.policy, args.models):
                        print(line(row), flush=True)
                        rows.append(row)
        found += [asdict(row) for row in rows]
        if args.html is not None:
            options = Options(format=args.format[0], dims={"batch": BATCH[task.family]})
            problem = problem_of(args.models / f"{task.model}.onnx", options, Terms())
            page = html_report(compare(problem, args.policy), figures=[plot(task, rows)])
            (args.html / f"{task.model}.html").write_text(page)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
