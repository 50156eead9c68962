"""The compiler as functions on values: no arguments parsed, nothing printed.

    options = Options(target="npu", format="mxfp8")
    compiled = compile_model(Path("model.onnx"), Path("out"), options)

The pipeline is data, `mxc.passes.pipelines`; the driver runs it, verifies the module at the end of
each stage and calls a hook after each pass.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import ModuleOp

from mxc.artifact import atomic_folder, check_destination, read_manifest
from mxc.dialects.location import node_names
from mxc.errors import CannotLower, MxcError, unknown
from mxc.inputs import Array, Port
from mxc.model import Model, import_model, in_ports, interpret, supported_operators
from mxc.opt import parse_passes, verify
from mxc.options import Options, pipeline
from mxc.passes.pipelines import Stage, Step, steps
from mxc.targets import Target
from mxc.vendors import find_target, vendor_steps

if TYPE_CHECKING:
    from mxc.backends.base import Backend, Program

__all__ = [
    "AfterPass",
    "Artifact",
    "Compiled",
    "Model",
    "Options",
    "PassFailed",
    "Progress",
    "StopPipeline",
    "backend_of",
    "build_and_run",
    "compile_model",
    "import_model",
    "interpret",
    "load_artifact",
    "lower",
    "lowered",
    "pipeline",
    "pipeline_stages",
    "run_model",
    "silent",
    "supported_operators",
    "write_artifact",
]

Progress = Callable[[str], None]
"""Told the name of each step as it begins."""

AfterPass = Callable[[Stage, Step, Model], None]
"""Called when a pass has run."""


def silent(_: str) -> None:
    """The progress that nobody watches."""


class StopPipeline(Exception):
    """Raised by an `AfterPass` hook: what was to be seen has been seen."""


class PassFailed(Exception):
    """A pass raised what it never should, or left a module that does not verify: our fault."""

    def __init__(self, step: Step, module: ModuleOp) -> None:
        super().__init__(f"pass {step.name} failed")
        self.step = step
        self.module = module


def pipeline_stages() -> dict[str, str]:
    """Pass -> the stage of the pipeline that runs it; of a vendor's pass, the slot."""
    ours = {step.name: stage.name for stage, step in steps()}
    return {**{name: slot for name, (slot, _) in vendor_steps().items()}, **ours}


def lower(
    model: Model,
    stages: Sequence[Stage],
    *,
    progress: Progress = silent,
    after_pass: AfterPass | None = None,
) -> None:
    """Runs `stages` on the module of `model`, in place; verifies it at the end of each.

    Raises:
        MxcError: what the model or the options did wrong.
        PassFailed: what mxc did wrong.
    """
    with collector_paused():
        for stage in stages:
            for step in stage.steps:
                progress(step.name)
                _run(step, model)
                if after_pass is not None:
                    after_pass(stage, step, model)
            _verify(stage, model)


@contextmanager
def collector_paused() -> Generator[None]:
    """Keeps Python's cycle collector from running inside.

    IR is one large web of cycles that stays alive; scanning it over and over is what would make
    compile time grow faster than the model (a fifth of it at 32 layers of GPT-2).
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _run(step: Step, model: Model) -> None:
    try:
        for one in parse_passes(step.spec):
            one.apply(model.ctx, model.module)
    except MxcError:
        raise
    except Exception as error:
        raise PassFailed(step, model.module) from error


def _verify(stage: Stage, model: Model) -> None:
    try:
        verify(model.module)
    except Exception as error:
        raise PassFailed(stage.steps[-1], model.module) from error


@dataclass(frozen=True)
class Compiled:
    """What `compile_model` wrote."""

    folder: Path
    model: str
    target: str
    files: tuple[str, ...]
    seconds: float


def compile_model(
    path: Path, folder: Path, options: Options, *, progress: Progress = silent
) -> Compiled:
    """Compiles the ONNX model at `path` and writes the artifact to `folder`, as a whole.

    Raises:
        MxcError: nothing is written then, and what was there is untouched.
    """
    start = time.perf_counter()
    target, stages = find_target(options.target), pipeline(options)
    backend = backend_of(target)
    if options.opset is not None:
        backend = backend.with_opset(options.opset)
    check_destination(folder)
    with collector_paused():
        progress("import")
        model = import_model(path, options)
        lower(model, stages, progress=progress)
        files = write_artifact(model, backend, target, folder, progress)
    return Compiled(folder, model.name, target.name, files, time.perf_counter() - start)


def backend_of(target: Target) -> Backend:
    """The backend that emits for `target`."""
    from mxc.backends import load_backend

    return load_backend(target.backend)


def write_artifact(
    model: Model, backend: Backend, target: Target, folder: Path, progress: Progress
) -> tuple[str, ...]:
    """Emits `model`, at the level of `backend`, into `folder`; gives the names of the files."""
    progress("emit")
    _check_support(model.module, backend)
    with atomic_folder(folder) as beside:
        backend.emit(model.ctx, model.module, beside)
        return tuple(
            sorted(p.relative_to(beside).as_posix() for p in beside.rglob("*") if p.is_file())
        )


def _check_support(module: ModuleOp, backend: Backend) -> None:
    """Asks the backend about every operation of its level.

    Raises:
        CannotLower: on the first that it does not support.
    """
    for op in module.walk():
        reason = None if isinstance(op, ModuleOp) else backend.supports(op)
        if reason is not None:
            nodes = ", ".join(node_names(op))
            what = f"backend {backend.name!r} cannot emit {op.name}: {reason}"
            raise CannotLower(what, at=f"node '{nodes}'" if nodes else "")


def lowered(path: Path, options: Options, last: str, *, progress: Progress = silent) -> Model:
    """The ONNX model at `path`, taken through the pipeline up to and with the pass `last`.

    Raises:
        MxcError: on a bad model or option, or if the pipeline has no such pass.
    """
    stages = pipeline(options)
    if last not in (names := [step.name for _, step in steps(stages)]):
        raise unknown("pass of the pipeline", last, names)
    progress("import")
    model = import_model(path, options)

    def stop(_: Stage, step: Step, __: Model) -> None:
        if step.name == last:
            raise StopPipeline

    with suppress(StopPipeline):
        lower(model, stages, progress=progress, after_pass=stop)
    verify(model.module)
    return model


def run_model(
    model: Model, options: Options, inputs: Sequence[Array], *, progress: Progress = silent
) -> tuple[Array, ...]:
    """Compiles `model`, just imported, builds the C and runs it on `inputs`."""
    lower(model, pipeline(options), progress=progress)
    return build_and_run(model, options, inputs, progress=progress)


def build_and_run(
    model: Model, options: Options, inputs: Sequence[Array], *, progress: Progress = silent
) -> tuple[Array, ...]:
    """Emits `model`, at the machine level, into a temporary folder, builds it and runs it."""
    target = find_target(options.target)
    backend = backend_of(target)
    with TemporaryDirectory(prefix="mxc-") as temporary:
        folder = Path(temporary) / "artifact"
        write_artifact(model, backend, target, folder, progress)
        progress("build")
        return in_ports(model.outputs, backend.load(folder)(*inputs))


@dataclass(frozen=True)
class Artifact:
    """A folder that `compile_model` wrote, built and ready to be called."""

    name: str
    target: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    program: Program

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """The outputs for `inputs`, in the order of the ports."""
        return in_ports(self.outputs, self.program(*inputs))


def load_artifact(folder: Path) -> Artifact:
    """Builds the artifact in `folder`, outside of it.

    Raises:
        BadInput: if it is none.
        BackendError: if its backend cannot build or run it here.
    """
    manifest = read_manifest(folder)
    target = str(manifest["target"])
    backend = backend_of(find_target(target))
    inputs, outputs = (_manifest_ports(manifest[key]) for key in ("inputs", "outputs"))
    return Artifact(str(manifest["model"]), target, inputs, outputs, backend.load(folder))


def _manifest_ports(rows: Sequence[Mapping[str, Any]]) -> tuple[Port, ...]:
    return tuple(Port(row["name"], _dtype(row["dtype"]), tuple(row["shape"])) for row in rows)


def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, None) or name)
