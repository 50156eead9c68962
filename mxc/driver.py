"""The compiler as functions on values: no arguments parsed, nothing printed.

    options = Options(target="npu", format="mxfp8")
    compiled = compile_model(Path("model.onnx"), Path("out"), options)

The pipeline is data, `mxc.passes.pipelines`; the driver runs it, verifies the module at the end of
each stage and calls a hook after each pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation
from xdsl.utils.hints import isa

from mxc.artifact import atomic_folder, check_destination
from mxc.errors import BadInput, unknown
from mxc.inputs import Array, Port
from mxc.passes.pipelines import STAGES, Stage, Step, steps
from mxc.targets import Target, load_target

if TYPE_CHECKING:
    from mxc.backends.base import Backend

FLOAT_TYPES = ("f32",)
"""What `--float` can be: the type of everything that is not block-scaled."""


@dataclass(frozen=True)
class Options:
    """What a compilation is asked for; the command line has one option for each."""

    target: str = "npu"
    """A shipped target, or a `.toml` file."""

    format: str = "mxfp8"
    """Format of weights and activations; `f32` quantises nothing."""

    weights: str | None = None
    """Format of weights, if not `format`."""

    activations: str | None = None
    """Format of activations, if not `format`."""

    scale_rule: str | None = None
    """How scales are chosen, if not the default of the format."""

    float_type: str = "f32"
    layout: str = "greedy"
    config: Path | None = None
    """A file of rules that override formats for single nodes."""

    dims: Mapping[str, int] = field(default_factory=dict[str, int])
    """Sizes of symbolic dimensions."""

    values: Mapping[str, str] = field(default_factory=dict[str, str])
    """Inputs bound to constants."""

    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Shapes of inputs whose dimensions are not pinned: those of the arrays given."""


@dataclass
class Model:
    """A model somewhere in the pipeline: the module and what surrounds it."""

    name: str
    ctx: Context
    module: ModuleOp
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    """The interface, in the types of the ONNX model, whatever the level of the module."""


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


def import_model(path: Path, options: Options) -> Model:
    """Reads the ONNX model at `path`.

    Raises:
        ImportFailed, BadInput: see `mxc.importer.import_model`.
    """
    from mxc import importer

    imported = importer.import_model(
        path,
        dims=options.dims,
        values=options.values,
        input_shapes=options.input_shapes,
        has_lowering=supported_operators().__contains__,
    )
    module: ModuleOp = imported.module
    module.verify()
    inputs, outputs = ports(module)
    return Model(imported.name, imported.ctx, module, inputs, outputs)


CONTRACTIONS = ("Conv", "Gemm", "MatMul")
"""Operators that `mx-quantize` turns into operations of the `mx` dialect."""


@cache
def supported_operators() -> tuple[str, ...]:
    """The ONNX operators that can be lowered as they are; others need a function body to expand."""
    from mxc.passes.lowering import load_rules

    return tuple(sorted({*load_rules(), *CONTRACTIONS}))


def pipeline_stages() -> dict[str, str]:
    """Pass -> the stage of the pipeline that runs it."""
    return {step.name: stage.name for stage, step in steps()}


def main_function(module: ModuleOp) -> FuncOp:
    """The function `main` of `module`."""
    return next(op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data == "main")


def ports(module: ModuleOp) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The inputs and outputs of `main`, named as the module's attributes say."""
    kind = main_function(module).function_type
    return (
        _ports(module, "mxc.input_names", kind.inputs.data),
        _ports(module, "mxc.output_names", kind.outputs.data),
    )


def _ports(module: ModuleOp, key: str, types: Sequence[Any]) -> tuple[Port, ...]:
    from mxc.dialects.types import numpy_dtype

    names = module.attributes[key]
    assert isa(names, ArrayAttr[StringAttr])
    texts = [name.data for name in names.data]
    return tuple(
        Port(name, numpy_dtype(kind.element_type), kind.get_shape())
        for name, kind in zip(texts, types, strict=True)
    )


def pipeline(options: Options) -> tuple[Stage, ...]:
    """The stages for `options`, with every pass option filled in.

    Raises:
        BadInput: if an option names a format, rule, policy or target that does not exist.
    """
    target = load_target(options.target)
    filled = _pass_options(options, target)
    return tuple(
        Stage(stage.name, stage.level, tuple(s.filled(filled) for s in stage.steps), stage.slot)
        for stage in STAGES
    )


def _pass_options(options: Options, target: Target) -> dict[str, str]:
    if options.float_type not in FLOAT_TYPES:
        raise unknown("float type", options.float_type, FLOAT_TYPES)
    return {
        "weights": _format(options.weights or options.format, target),
        "activations": _format(options.activations or options.format, target),
        "scale_rule": options.scale_rule or "default",
        "config": str(options.config or ""),
        "layout": options.layout,
    }


def _format(name: str, target: Target) -> str:
    """The full name of the format `name`, which `target` must have; all have f32."""
    from mxc.numerics import format_of

    full: str = format_of(name).name
    if full != "f32" and full not in target.numerics.formats:
        hint = f"it has f32, {', '.join(target.numerics.formats)}"
        raise BadInput(f"target {target.name!r} has no format {full!r}", hint=hint)
    return full


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
    for stage in stages:
        for step in stage.steps:
            progress(step.name)
            _run(step, model)
            if after_pass is not None:
                after_pass(stage, step, model)
        _verify(stage, model)


def _run(step: Step, model: Model) -> None:
    from mxc.errors import MxcError
    from mxc.opt import parse_passes

    try:
        for one in parse_passes(step.spec):
            one.apply(model.ctx, model.module)
    except MxcError:
        raise
    except Exception as error:
        raise PassFailed(step, model.module) from error


def _verify(stage: Stage, model: Model) -> None:
    try:
        model.module.verify()
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
    target, stages = load_target(options.target), pipeline(options)
    backend = backend_of(target)
    check_destination(folder)
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
    """Emits `model`, at the machine level, into `folder`; gives the names of the files."""
    progress("emit")
    with atomic_folder(folder) as beside:
        backend.emit(model.ctx, model.module, beside)
        return tuple(
            sorted(p.relative_to(beside).as_posix() for p in beside.rglob("*") if p.is_file())
        )


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
    model.module.verify()
    return model


def interpret(
    model: Model,
    inputs: Sequence[Array],
    watch: Callable[[Operation, Sequence[Any]], None] | None = None,
) -> tuple[Array, ...]:
    """The outputs of `model`, at whatever level it is, by the interpreter.

    `watch` sees every operation of the function and its results.
    """
    from mxc.backends import ref

    outputs = ref.run(model.module, model.ctx, inputs, watch)
    return tuple(as_port(port, array) for port, array in zip(model.outputs, outputs, strict=True))


def as_port(port: Port, array: Array) -> Array:
    """`array`, the same bits, in the type and shape of `port`: `ui8` is `i8` further down."""
    return array.view(port.dtype).reshape(port.shape)


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
    target = load_target(options.target)
    backend = backend_of(target)
    with TemporaryDirectory(prefix="mxc-") as temporary:
        folder = Path(temporary) / "artifact"
        write_artifact(model, backend, target, folder, progress)
        progress("build")
        return backend.load(folder)(*inputs)
