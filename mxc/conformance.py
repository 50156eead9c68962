"""Runs ONNX-format test folders, or the onnx package's own node tests, through a target.

    report = run_suite("onnx", "ref", names=["test_relu"])
    report.as_json()  # {"passed": 1, "failed": [], "skipped": []}

A suite is a folder `DIR/**/model.onnx` with `test_data_set_*/{input,output}_N.pb` beside each
model, or `onnx`, the tests the onnx package makes in memory. Results are compared as onnx's own
runner does: equal type and shape, `|got - expected| <= atol + rtol * |expected|`, NaN where NaN is
expected.

Tests feed at run time what models state as constants (the shape of a Reshape). So a test that is
refused is tried again with its small inputs bound as constants: integers first, then all.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from onnx import ModelProto, ValueInfoProto, numpy_helper

from mxc.compare import differences
from mxc.driver import (
    Model,
    Options,
    PassFailed,
    StopPipeline,
    backend_of,
    import_model,
    interpret,
    lower,
    pipeline,
    silent,
    write_artifact,
)
from mxc.errors import MxcError
from mxc.inputs import Array
from mxc.model import in_ports
from mxc.passes.pipelines import Stage, Step
from mxc.suites import Case, Values, load_suite, unfit
from mxc.vendors import find_target

__all__ = ["Case", "Report", "load_suite", "run_case", "run_suite"]

BF16_RTOL = 2.0**-6
"""Of bfloat16 at least, as in onnx's runner: two units of the last place."""

LAST = "expand-math"
"""The pass after which the interpreter runs: the last one that may change a result."""

SMALL = 64
"""Inputs of rank 0 and 1 with so many elements at most may be bound as constants."""

BATCH = 32
"""Tests whose C is built together."""


@dataclass
class Report:
    """What a suite has shown."""

    passed: list[str] = field(default_factory=list[str])
    failed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Names and reasons."""

    skipped: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def as_json(self) -> dict[str, Any]:
        """`{"passed": n, "failed": [{"name", "reason"}], "skipped": [...]}`."""
        return {
            "passed": len(self.passed),
            "failed": [{"name": name, "reason": reason} for name, reason in self.failed],
            "skipped": [{"name": name, "reason": reason} for name, reason in self.skipped],
        }


def run_suite(
    suite: str,
    target: str = "ref",
    names: Sequence[str] | None = None,
    *,
    jobs: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Runs the tests `names` (default: all) of `suite` on `target`, in so many processes.

    `target` is `ref`, the interpreter at the loops level, or a target whose C is built and run; its
    results must also be those of the interpreter, to the bit.
    `progress(name)` is told each test, in the order of the suite.

    Raises:
        BadInput: if there is no such suite or target, or the suite lacks a test of that name.
    """
    if target != "ref":
        find_target(target)
    report = Report()
    fit = _fit(load_suite(suite, names), report, progress)
    batches = iter(lambda: list(islice(fit, 1 if target == "ref" and jobs == 1 else BATCH)), [])
    for cases, reasons in _outcomes(batches, target, jobs):
        for case, reason in zip(cases, reasons, strict=True):
            if reason:
                report.failed.append((case.name, reason))
            else:
                report.passed.append(case.name)
    return report


def _fit(cases: Iterator[Case], report: Report, progress: Callable[[str], None]) -> Iterator[Case]:
    """The cases that can be tried; the others are reported as skipped."""
    for case in cases:
        progress(case.name)
        if reason := unfit(case):
            report.skipped.append((case.name, reason))
        else:
            yield case


def _outcomes(
    batches: Iterator[list[Case]], target: str, jobs: int
) -> Iterator[tuple[list[Case], list[str]]]:
    """Each batch with the reasons for which its cases fail."""
    if jobs == 1:
        yield from ((batch, run_batch(batch, target)) for batch in batches)
        return
    all_batches = list(batches)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        reasons = pool.map(partial(run_batch, target=target), all_batches)
        yield from zip(all_batches, reasons, strict=True)


# Some tests.


@dataclass
class _Run:
    """A test with one of its sets of inputs, compiled."""

    model: Model
    inputs: list[Array]
    interpreted: list[Array]
    wanted: Values
    folder: Path
    """The artifact; none if the target is `ref`."""


def run_case(case: Case, target: str) -> str:
    """Why the test fails on `target`; empty if it passes."""
    return run_batch([case], target)[0]


def run_batch(cases: Sequence[Case], target: str) -> list[str]:
    """Why each of the tests fails on `target`, empty if it passes; their C is built at once."""
    with TemporaryDirectory(prefix="mxc-") as temporary:
        tried = [_compiled(case, target, Path(temporary) / str(i)) for i, case in enumerate(cases)]
        runs = [run for one in tried if not isinstance(one, str) for run in one]
        if target == "ref":
            results: list[Any] = [run.interpreted for run in runs]
        else:
            loaded = backend_of(find_target(target)).load_all([run.folder for run in runs])
            results = [_result(program, run) for program, run in zip(loaded, runs, strict=True)]
    by_run = iter(results)
    return [
        one if isinstance(one, str) else _verdict(case, one, list(islice(by_run, len(one))))
        for case, one in zip(cases, tried, strict=True)
    ]


def _result(program: Any, run: _Run) -> list[Array] | str:
    """The outputs of a program, or why there are none."""
    if isinstance(program, MxcError):
        return str(program)
    try:
        return list(in_ports(run.model.outputs, program(*run.inputs)))
    except Exception as error:  # a crash fails this test, not the suite
        return str(error) if isinstance(error, MxcError) else f"crash: {error!r}"


def _verdict(case: Case, runs: Sequence[_Run], results: Sequence[list[Array] | str]) -> str:
    for run, got in zip(runs, results, strict=True):
        if isinstance(got, str):
            return got
        for port, have, want in zip(run.model.outputs, got, run.interpreted, strict=True):
            if count := differences(have, want):
                return f"output '{port.name}': {count} elements differ from the interpreter"
        for info, have, want in zip(case.model.graph.output, got, run.wanted, strict=False):
            if reason := _difference(have, np.asarray(want), case):
                return f"output '{info.name}': {reason}"
    return ""


# One test.


def _compiled(case: Case, target: str, folder: Path) -> list[_Run] | str:
    """The test on each of its sets of inputs, or why it is refused."""
    reason = ""
    for count, bound in enumerate(_bindings(case)):
        try:
            return _attempt(case, bound, target, folder / str(count))
        except MxcError as error:
            reason = re.sub(r"^\S*model\.onnx: ", "", str(error))
        except PassFailed as error:
            reason = f"{error}: {error.__cause__!r}"
        except Exception as error:  # a crash fails this test, not the suite
            reason = f"crash: {error!r}"
    return reason


def _bindings(case: Case) -> Iterator[tuple[int, ...]]:
    """Sets of inputs to bind as constants, the smallest first."""
    values = [np.asarray(value) for value in case.data[0][0]]
    empty = [i for i, v in enumerate(values) if not v.size]  # a constant whatever it is fed
    small = [i for i, v in enumerate(values) if v.ndim <= 1 and v.size <= SMALL]
    integers = [i for i in small if values[i].dtype.kind in "iu"]
    tried: set[tuple[int, ...]] = set()
    for some in ([], [i for i in integers if i], [i for i in small if i], integers, small):
        bound = tuple(sorted({*empty, *some}))
        if bound not in tried:
            tried.add(bound)
            yield bound


def _attempt(case: Case, bound: Sequence[int], target: str, folder: Path) -> list[_Run]:
    runs: list[_Run] = []
    for number, (inputs, outputs) in enumerate(case.data[: 1 if bound else None]):
        within = folder / str(number)
        within.mkdir(parents=True)
        path = within / "model.onnx"
        path.write_bytes(_bound(case.model, inputs, bound).SerializeToString())
        feeds = {
            info.name: np.asarray(value)
            for info, value in zip(case.model.graph.input, inputs, strict=False)
        }
        runs.append(_run(path, feeds, outputs, target))
    return runs


def _bound(model: ModelProto, inputs: Values, bound: Sequence[int]) -> ModelProto:
    """`model` with the inputs `bound` made initializers; the others have the shapes of `inputs`."""
    copy = ModelProto()
    copy.CopyFrom(model)
    infos = list(copy.graph.input)
    del copy.graph.input[:]
    for i, info in enumerate(infos):
        if i in bound:
            copy.graph.initializer.append(numpy_helper.from_array(np.asarray(inputs[i]), info.name))
            continue
        if i < len(inputs):
            _set_shape(info, np.shape(inputs[i]))
        copy.graph.input.append(info)
    return copy


def _set_shape(info: ValueInfoProto, shape: Sequence[int]) -> None:
    info.type.tensor_type.shape.Clear()
    info.type.tensor_type.shape.SetInParent()
    for size in shape:
        info.type.tensor_type.shape.dim.add().dim_value = size


def _run(path: Path, feeds: dict[str, Array], wanted: Values, target: str) -> _Run:
    """The model at `path`, interpreted, and compiled unless the target is `ref`."""
    options = Options(target="npu" if target == "ref" else target, format="f32")
    model = import_model(path, options)
    inputs = [feeds[port.name] for port in model.inputs]
    interpreted: list[Array] = []

    def after(_: Stage, step: Step, lowered: Model) -> None:
        if step.name == LAST:
            interpreted.extend(interpret(lowered, inputs))
            if target == "ref":
                raise StopPipeline

    with suppress(StopPipeline):
        lower(model, pipeline(options), after_pass=after)
    run = _Run(model, inputs, interpreted, wanted, path.parent / "artifact")
    if target != "ref":
        found = find_target(target)
        write_artifact(model, backend_of(found), found, run.folder, silent)
    return run


def _difference(have: Array, want: Array, case: Case) -> str:
    if have.dtype != want.dtype:
        return f"type {have.dtype}, not {want.dtype}"
    if have.shape != want.shape:
        return f"shape {list(have.shape)}, not {list(want.shape)}"
    wide = have.dtype if have.dtype.kind in "iu" or have.dtype == np.float64 else np.float32
    a, b = have.astype(wide), want.astype(wide)
    rtol = max(case.rtol, BF16_RTOL) if have.dtype.name == "bfloat16" else case.rtol
    good = np.isclose(a, b, rtol=rtol, atol=case.atol, equal_nan=True)
    if np.all(good):
        return ""
    first = np.unravel_index(int(np.argmin(good)), good.shape)
    count = int(np.count_nonzero(~good))
    at = ", ".join(str(int(i)) for i in first)
    return f"{count} of {good.size} differ, first at [{at}]: {have[first]}, not {want[first]}"


def _main(arguments: Sequence[str]) -> int:
    """`python -m mxc.conformance`: the report of a suite as JSON; status 1 if a test failed."""
    parser = argparse.ArgumentParser(prog="python -m mxc.conformance", description=__doc__)
    parser.add_argument("--suite", default="onnx")
    parser.add_argument("--target", default="ref")
    parser.add_argument("--names-from", type=Path, help="a JSON list of names of tests")
    parser.add_argument("-k", dest="pattern", default="", help="only names that contain this")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    given = parser.parse_args(arguments)
    names: list[str] | None = None
    if given.names_from is not None:
        names = json.loads(given.names_from.read_text())
    if given.pattern:
        known = names if names is not None else [case.name for case in load_suite(given.suite)]
        names = [name for name in known if given.pattern in name]
    report = run_suite(given.suite, given.target, names, jobs=given.jobs)
    sys.stdout.write(json.dumps(report.as_json(), indent=1) + "\n")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
