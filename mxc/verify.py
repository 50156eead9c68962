"""Verification: emitted C against the interpreter, bit for bit; and both against the float model.

Law 1 makes `==` the test between the interpreter and C: every operation below `lower-to-linalg` has
one result. How far a quantised model strays from the float model is not judged but measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mxc import driver
from mxc.compare import OutputError, differences, output_error, relative_change
from mxc.driver import Model, Options, Progress, silent
from mxc.errors import BadInput
from mxc.inputs import Array
from mxc.layers import Recorder, layer_errors
from mxc.passes.pipelines import EXACT, QUANTISING, Stage, Step
from mxc.reference import float_model

ROUNDING_TOLERANCE = 1e-3
"""How much a pass that rounds anew may change a float output, relative to its largest value."""


@dataclass(frozen=True)
class PassResult:
    """What the interpreter saw change when a pass had run."""

    name: str
    allowed: str
    """What the pass may change, as the pipeline says: exact, rounding or quantising."""

    changed: int
    """Output elements whose bits changed."""

    max_rel_err: float
    """Largest change, relative to the largest value of its output."""

    ok: bool


@dataclass(frozen=True)
class Verdict:
    """The outcome of `mxc verify`."""

    model: str
    target: str
    format: str
    bit_exact: bool
    """Whether the emitted C and the interpreter agree to the last bit, any NaN equal to any."""

    mismatches: int
    """Output elements in which they differ."""

    outputs: list[OutputError]
    reference: str | None
    """What ran the float model, or None if nothing could."""

    layers: list[OutputError] = field(default_factory=list[OutputError])
    """The same figures for every ONNX node whose value can be compared."""

    passes: list[PassResult] = field(default_factory=list[PassResult])

    @property
    def first_wrong_pass(self) -> str | None:
        """The first pass that changed what it must not."""
        return next((one.name for one in self.passes if not one.ok), None)

    @property
    def passed(self) -> bool:
        """Whether all that is judged is right."""
        return self.bit_exact and self.first_wrong_pass is None

    def as_json(self) -> dict[str, Any]:
        """The object that `mxc verify --json` prints; `passes` only with `--each-pass`."""
        result = asdict(self)
        if self.passes:
            result["first_wrong_pass"] = self.first_wrong_pass
        else:
            del result["passes"]
        return result

    def lines(self) -> list[str]:
        """The same for people."""
        agreement = "equal" if self.bit_exact else f"DIFFER in {self.mismatches} elements"
        lines = [f"{self.model} ({self.format}, {self.target}): C and interpreter {agreement}"]
        for one in self.passes:
            mark = "ok" if one.ok else "WRONG"
            change = f"{one.changed} changed, {one.max_rel_err:.3g} relative"
            lines.append(f"  {one.name}: {mark} ({one.allowed}; {change})")
        for out in self.outputs:
            figures = f"SQNR {_text(out.sqnr_db)} dB, max error {_text(out.max_abs_err)}"
            lines.append(f"  {out.name} {out.shape}: {figures} against {self.reference}")
        return lines


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


@dataclass(frozen=True)
class Execution:
    """One compilation, run by the interpreter on its way down and as C at its end."""

    compiled: tuple[Array, ...]
    """What the emitted C gave."""

    interpreted: tuple[Array, ...]
    """What the interpreter gave at the end of the loops level."""

    layers: list[OutputError]
    passes: list[PassResult]

    @property
    def mismatches(self) -> int:
        """Elements in which the two differ by a bit; any NaN is any NaN."""
        pairs = zip(self.compiled, self.interpreted, strict=True)
        return sum(differences(a, b) for a, b in pairs)


def execute(
    model: Model,
    options: Options,
    inputs: Sequence[Array],
    *,
    each_pass: bool = False,
    progress: Progress = silent,
) -> Execution:
    """Compiles `model`, just imported, and runs it on `inputs` in both ways.

    Raises:
        MxcError: if the model cannot be compiled, built or run.
    """
    stages = driver.pipeline(options)
    watch = _Watch(stages, inputs, each_pass)
    watch.begin(model)
    driver.lower(model, stages, progress=progress, after_pass=watch)
    compiled = driver.build_and_run(model, options, inputs, progress=progress)
    layers = layer_errors(watch.floats, watch.compiled)
    return Execution(compiled, watch.expected, layers, watch.results)


def verify_model(
    path: Path,
    model: Model,
    options: Options,
    inputs: Sequence[Array],
    *,
    each_pass: bool = False,
    progress: Progress = silent,
) -> Verdict:
    """Runs `model`, just imported from `path`, and the float model on `inputs`, and compares.

    Raises:
        MxcError: if the model cannot be compiled, built or run.
    """
    done = execute(model, options, inputs, each_pass=each_pass, progress=progress)
    progress("reference")
    reference, floats = float_model(path, model, inputs)
    outputs = [
        output_error(port.name, array, wanted)
        for port, array, wanted in zip(model.outputs, done.compiled, floats, strict=False)
    ]
    return Verdict(
        model=model.name,
        target=options.target,
        format=options.format,
        bit_exact=done.mismatches == 0,
        mismatches=done.mismatches,
        outputs=outputs,
        reference=reference,
        layers=done.layers,
        passes=done.passes,
    )


class _Watch:
    """Runs the interpreter where results are wanted.

    That is before all passes, at the end of the loops level and, if asked, after each pass.
    """

    def __init__(self, stages: Sequence[Stage], inputs: Sequence[Array], each: bool) -> None:
        self.inputs, self.each = inputs, each
        ends = [stage.steps[-1] for stage in stages if stage.level == "loops"]
        if not ends:
            raise BadInput("the target has no code to verify", hint="choose one that compiles to C")
        self.last_of_loops = ends[-1]
        self.floats, self.compiled = Recorder(), Recorder()
        self.latest: tuple[Array, ...] = ()
        self.expected: tuple[Array, ...] = ()
        self.results: list[PassResult] = []

    def begin(self, model: Model) -> None:
        """Runs the imported module."""
        self.latest = driver.interpret(model, self.inputs, self.floats)

    def __call__(self, stage: Stage, step: Step, model: Model) -> None:
        last = step is self.last_of_loops
        if not self.each and not last:
            return
        before, self.latest = (
            self.latest,
            driver.interpret(model, self.inputs, self.compiled if last else None),
        )
        if last:
            self.expected = self.latest
        if self.each:
            self.results.append(_compare(step, before, self.latest))


def _compare(step: Step, before: Sequence[Array], after: Sequence[Array]) -> PassResult:
    pairs = list(zip(before, after, strict=True))
    changed = sum(differences(a, b) for a, b in pairs)
    error = max((relative_change(a, b) for a, b in pairs), default=0.0)
    if step.changes == QUANTISING:
        ok = True
    else:
        ok = changed == 0 or (step.changes != EXACT and error <= ROUNDING_TOLERANCE)
    return PassResult(step.name, step.changes, changed, min(error, 1e308), ok)
