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
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, numpy_helper

from mxc.compare import differences
from mxc.driver import (
    Model,
    Options,
    PassFailed,
    StopPipeline,
    build_and_run,
    import_model,
    interpret,
    lower,
    pipeline,
)
from mxc.errors import BackendError, BadInput, MxcError
from mxc.inputs import Array
from mxc.passes.pipelines import Stage, Step

RTOL, ATOL = 1e-3, 1e-7
"""The tolerance of folders, which state none: that of onnx's runner."""

BF16_RTOL = 2.0**-6
"""Of bfloat16 at least, as in onnx's runner: two units of the last place."""

LAST = "expand-math"
"""The pass after which the interpreter runs: the last one that may change a result."""

SMALL = 64
"""Inputs of rank 0 and 1 with so many elements at most may be bound as constants."""

Values = Sequence[Any]
Run = Callable[[Sequence[Array]], Sequence[Array]]


@dataclass(frozen=True)
class Case:
    """One test: a model, and sets of inputs with the outputs they must give."""

    name: str
    model: ModelProto
    data: Sequence[tuple[Values, Values]]
    rtol: float = RTOL
    atol: float = ATOL


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
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Runs the tests `names` (default: all) of `suite` on `target`.

    `target` is `ref`, the interpreter at the loops level, or a target whose C is built and run; its
    results must also be those of the interpreter, to the bit.
    `progress(name)` is told each test as it begins.

    Raises:
        BadInput: if there is no such suite, or it lacks a test of that name.
    """
    report = Report()
    for case in load_suite(suite, names):
        progress(case.name)
        unfit = _unfit(case)
        if unfit:
            report.skipped.append((case.name, unfit))
            continue
        reason = run_case(case, target)
        if reason:
            report.failed.append((case.name, reason))
        else:
            report.passed.append(case.name)
    return report


# Suites.


def load_suite(suite: str, names: Sequence[str] | None = None) -> Iterator[Case]:
    """The tests of `suite`, those called `names` or all, in the suite's order."""
    cases = _package_cases() if suite == "onnx" else _folder_cases(Path(suite))
    wanted = None if names is None else set(names)
    for case in cases:
        if wanted is None or case.name in wanted:
            yield case
        if wanted is not None:
            wanted.discard(case.name)
    if wanted:
        raise BadInput(f"suite {suite!r} has no test {sorted(wanted)[0]!r}")


def _package_cases() -> Iterator[Case]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    for test in tests:
        if test.model is not None and test.data_sets is not None:
            data = [(_values(inputs), _values(outputs)) for inputs, outputs in test.data_sets]
            yield Case(test.name, test.model, data, test.rtol, test.atol)


def _values(given: Values) -> list[Any]:
    """Tensors as arrays; anything else as it is."""
    return [numpy_helper.to_array(v) if isinstance(v, TensorProto) else v for v in given]


def _folder_cases(folder: Path) -> Iterator[Case]:
    models = sorted(folder.rglob("model.onnx"))
    if not models:
        raise BadInput("there is no test: no model.onnx below this folder", at=str(folder))
    for path in models:
        model = ModelProto.FromString(path.read_bytes())
        sets = sorted(path.parent.glob("test_data_set_*"))
        data = [
            (_arrays(one, "input", model.graph.input), _arrays(one, "output", model.graph.output))
            for one in sets
        ]
        yield Case(path.parent.name, model, data)


def _arrays(folder: Path, kind: str, infos: Sequence[ValueInfoProto]) -> list[Any]:
    """The values of `folder`; None for what is no tensor."""
    count = len(list(folder.glob(f"{kind}_*.pb")))
    return [_array(folder / f"{kind}_{i}.pb", infos[i]) for i in range(count)]


def _array(path: Path, info: ValueInfoProto) -> Any:
    if info.type.WhichOneof("value") != "tensor_type":
        return None
    return numpy_helper.to_array(TensorProto.FromString(path.read_bytes()))


def _unfit(case: Case) -> str:
    """Why the test cannot be tried: it passes values that are no numeric tensors."""
    for values in (part for pair in case.data for part in pair):
        for value in values:
            if not isinstance(value, np.ndarray | np.generic | int | float | bool):
                return "a value is a sequence or an optional"
            if np.asarray(value).dtype.kind in "OUSc":
                return "a value is of strings or complex numbers"
    return ""


# One test.


def run_case(case: Case, target: str) -> str:
    """Why the test fails on `target`; empty if it passes."""
    reason = ""
    for bound in _bindings(case):
        try:
            return _attempt(case, bound, target)
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


def _attempt(case: Case, bound: Sequence[int], target: str) -> str:
    for inputs, outputs in case.data[: 1 if bound else None]:
        with TemporaryDirectory(prefix="mxc-") as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(_bound(case.model, inputs, bound).SerializeToString())
            feeds = {
                info.name: np.asarray(value)
                for info, value in zip(case.model.graph.input, inputs, strict=False)
            }
            got = _execute(path, feeds, target)
        for info, have, want in zip(case.model.graph.output, got, outputs, strict=False):
            reason = _difference(have, np.asarray(want), case)
            if reason:
                return f"output '{info.name}': {reason}"
    return ""


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


def _execute(path: Path, feeds: dict[str, Array], target: str) -> Sequence[Array]:
    options = Options(target="npu" if target == "ref" else target, format="f32")

    model = import_model(path, options)
    inputs = [feeds[port.name] for port in model.inputs]
    expected: list[Array] = []

    def interpreted(_: Stage, step: Step, lowered: Model) -> None:
        if step.name == LAST:
            expected.extend(interpret(lowered, inputs))
            if target == "ref":
                raise StopPipeline

    with suppress(StopPipeline):
        lower(model, pipeline(options), after_pass=interpreted)
    if target == "ref":
        return expected
    got = build_and_run(model, options, inputs)
    for port, have, want in zip(model.outputs, got, expected, strict=True):
        count = differences(have, want)
        if count:
            raise BackendError(
                f"output '{port.name}': {count} elements differ from the interpreter"
            )
    return got


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
    given = parser.parse_args(arguments)
    names: list[str] | None = None
    if given.names_from is not None:
        names = json.loads(given.names_from.read_text())
    if given.pattern:
        known = names if names is not None else [case.name for case in load_suite(given.suite)]
        names = [name for name in known if given.pattern in name]
    report = run_suite(given.suite, given.target, names)
    sys.stdout.write(json.dumps(report.as_json(), indent=1) + "\n")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
