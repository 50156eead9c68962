"""Runs the kit: each sheet and model through the target, results against the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from mxc.compare import differences
from mxc.driver import Model, Options, PassFailed, build_and_run, import_model, interpret, lower
from mxc.errors import BadInput, CannotLower, MxcError
from mxc.inputs import Array, Port, random_inputs
from mxc.kit.models import Graph, loop_inputs, loop_models, network_models
from mxc.kit.operations import other_formats, sheets
from mxc.kit.report import KitReport
from mxc.kit.sheet import Sheet
from mxc.options import pipeline
from mxc.passes.pipelines import EXACT, Stage, Step
from mxc.targets import Target
from mxc.vendors import find_target

ALL = "none of this group ran: "

FIRST = "lower"
"""The stage that sheets enter the pipeline at: they are at the mx level."""


Results = tuple[Sequence[Array], Sequence[Array]]
"""What the target computed, and what the interpreter did."""


@dataclass(frozen=True)
class Check:
    """One module: its labelled results are compared."""

    name: str
    labels: Sequence[str]
    execute: Callable[[], Results]
    """Gives what the target computed and what the interpreter did."""


def run_kit(
    target: str,
    names: Sequence[str] | None = None,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> KitReport:
    """Runs the checks of `target` whose names begin with one of `names` (default: all).

    A check is named `group/what`; the groups are quantize, dequantize, requantize, matmul, conv,
    views, contractions, loops and models.

    Raises:
        BadInput: if there is no such target, or no check of that name.
        BackendError: if the backend of the target is broken.
    """
    machine = find_target(target)
    report = KitReport(target, machine.summary)
    wanted = [*names] if names is not None else [""]
    met: set[str] = set()
    for check in checks(target, machine):
        labels = [f"{check.name}/{label}" for label in check.labels]
        used = [one for one in wanted if any(label.startswith(one) for label in labels)]
        met.update(used)
        if used:
            progress(check.name)
            _judge(check, [x.startswith(tuple(used)) for x in labels], report)
    if unmet := [one for one in wanted if one not in met]:
        raise BadInput(f"the kit has no check {unmet[0]!r} for target {target!r}")
    for name in other_formats(machine):
        report.skipped.append(
            (f"formats/{name}", "scales are no powers of two: checked in models only")
        )
    return report


def checks(target: str, machine: Target) -> Iterator[Check]:
    """Every check for the target: operations, loops, models. Nothing runs before `execute`."""
    floats = Options(target=target, format="f32")
    for sheet in sheets(machine):
        group, _, rest = sheet.name.partition(" ")
        yield Check(f"{group}/{rest}", sheet.labels, partial(_run_sheet, sheet, floats))
    for graph in loop_models():
        run = partial(_run_graph, graph, floats, loop_inputs)
        yield Check(f"loops/{graph.name}", graph.output_names, run)
    for graph in network_models():
        for format in ("f32", *machine.numerics.formats):
            run = partial(_run_graph, graph, Options(target=target, format=format), random_inputs)
            yield Check(f"models/{graph.name} {format}", graph.output_names, run)


def _run_sheet(sheet: Sheet, options: Options) -> Results:
    stages = pipeline(options)
    first = [stage.name for stage in stages].index(FIRST)
    return _run(sheet.model(options), options, sheet.arrays, stages[first:])


def _run_graph(
    graph: Graph, options: Options, data: Callable[[Sequence[Port]], Sequence[Array]]
) -> Results:
    with TemporaryDirectory(prefix="mxc-kit-") as folder:
        model = import_model(graph.save(Path(folder)), options)
    return _run(model, options, data(model.inputs), pipeline(options))


def _run(
    model: Model, options: Options, inputs: Sequence[Array], stages: Sequence[Stage]
) -> Results:
    """Lowers `model` through `stages` and runs it both ways."""
    last = _last_inexact(stages)
    expected: list[Array] = []

    def watch(_: Stage, step: Step, lowered: Model) -> None:
        if step is last:
            expected.extend(interpret(lowered, inputs))

    lower(model, stages, after_pass=watch)
    return build_and_run(model, options, inputs), expected


def _last_inexact(stages: Sequence[Stage]) -> Step:
    """The last step that may change a bit: what comes after it, vendors' passes too, must not."""
    return [step for stage in stages for step in stage.steps if step.changes != EXACT][-1]


def _judge(check: Check, wanted: Sequence[bool], report: KitReport) -> None:
    """Runs a check and notes each of its labels that is wanted."""
    labels = [f"{check.name}/{x}" for x, use in zip(check.labels, wanted, strict=True) if use]
    try:
        got, expected = check.execute()
    except CannotLower as error:
        report.skipped += [(label, str(error)) for label in labels]
        return
    except MxcError as error:
        report.failed += [(label, f"{ALL}{error}") for label in labels]
        return
    except PassFailed as error:
        report.failed += [(label, f"{ALL}{error}: {error.__cause__!r}") for label in labels]
        return
    for label, have, want, use in zip(check.labels, got, expected, wanted, strict=True):
        if use:
            _compare(f"{check.name}/{label}", have, want, report)


def _compare(name: str, have: Array, want: Array, report: KitReport) -> None:
    count = differences(have, want)
    if count == 0:
        report.passed.append(name)
        return
    unlike = [
        i for i in range(want.size) if differences(have.flat[i : i + 1], want.flat[i : i + 1])
    ]
    where = f"first at element {unlike[0]}: {have.flat[unlike[0]]}, not {want.flat[unlike[0]]}"
    report.failed.append((name, f"{count} of {want.size} elements differ, {where}"))
