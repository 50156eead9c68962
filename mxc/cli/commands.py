"""What each command does: options to the driver, its results to the terminal."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from mxc import driver
from mxc.artifact import write_file
from mxc.cli.terminal import progress, show, table
from mxc.driver import Options
from mxc.errors import BadInput
from mxc.inputs import Array, Port, Shapes, match, random_inputs, read_npz, write_npz

_TEXT_OPTIONS = ("format", "weights", "activations", "scale_rule", "float_type", "layout", "config")


def options_of(args: Namespace, arrays: Mapping[str, Array] | None = None) -> Options:
    """The options of a compilation; the shapes of `arrays`, if given, size what is not pinned.

    Raises:
        BadInput: if a NAME=VALUE is not one.
    """
    found = {name: getattr(args, name, None) for name in _TEXT_OPTIONS}
    given = {name: text for name, text in found.items() if text is not None}
    return Options(
        target=args.target,
        dims={name: _size(name, text) for name, text in _pairs("--input-dim", args.input_dim)},
        values=dict(_pairs("--input-value", args.input_value)),
        input_shapes=Shapes(arrays or {}),
        opset=getattr(args, "opset", None),
        **given,
    )


def _pairs(option: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, value) in zip(texts, pairs, strict=True):
        if not (name and equals and value):
            raise BadInput(f"{option} {text!r} is not NAME=VALUE")
    names = [name for name, _, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadInput(f"{option} {twice[0]!r} is given twice")
    return [(name, value) for name, _, value in pairs]


def _size(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise BadInput(f"--input-dim {name}={text}: a size is a positive integer")
    return int(text)


def compile_command(args: Namespace) -> int:
    """`mxc compile`."""
    if args.stop_after is not None:
        return _compile_until(args)
    options = options_of(args)
    folder = args.output or Path(f"{args.model.stem}-{Path(args.target).stem}")
    with progress() as tell:
        done = driver.compile_model(args.model, folder, options, progress=tell)
    result = {
        "model": done.model,
        "target": done.target,
        "output": str(done.folder),
        "files": list(done.files),
        "seconds": round(done.seconds, 3),
    }
    show(args.json, result, [f"{done.folder}: {', '.join(done.files)} ({done.seconds:.1f} s)"])
    return 0


def _compile_until(args: Namespace) -> int:
    options = options_of(args)
    with progress() as tell:
        model = driver.lowered(args.model, options, args.stop_after, progress=tell)
    _show_module(args, {"stop_after": args.stop_after}, model.ctx, model.module)
    return 0


def run_command(args: Namespace) -> int:
    """`mxc run`."""
    arrays = None if args.inputs is None else read_npz(args.inputs)
    with progress() as tell:
        if args.model.is_dir():
            tell("build")
            model = driver.load_artifact(args.model)
            outputs = model(*_arrays(args, arrays, model.inputs))
        else:
            options = options_of(args, arrays)
            model = driver.import_model(args.model, options)
            inputs = _arrays(args, arrays, model.inputs)
            outputs = driver.run_model(model, options, inputs, progress=tell)
    named = {port.name: array for port, array in zip(model.outputs, outputs, strict=True)}
    if args.outputs is not None:
        write_npz(args.outputs, named)
    summaries = [_summary(*one) for one in named.items()]
    rows = [(one["name"], f"{one['dtype']}{one['shape']}", _extent(one)) for one in summaries]
    show(args.json, {"model": model.name, "outputs": summaries}, table(rows))
    return 0


def _arrays(
    args: Namespace, arrays: Mapping[str, Array] | None, ports: Sequence[Port]
) -> tuple[Array, ...]:
    """The inputs: those of the file, checked, or seeded random ones."""
    if arrays is None:
        return random_inputs(ports, args.seed)
    try:
        return match(ports, arrays)
    except BadInput as error:
        raise error.within(str(args.inputs)) from None


def _summary(name: str, array: Array) -> dict[str, Any]:
    numbers = array.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    return {
        "name": name,
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "min": float(finite.min()) if finite.size else None,
        "max": float(finite.max()) if finite.size else None,
        "nonfinite": int(numbers.size - finite.size),
    }


def _extent(summary: Mapping[str, Any]) -> str:
    extent = f"{_cell(summary['min'])} .. {_cell(summary['max'])}"
    return f"{extent}, {summary['nonfinite']} not finite" if summary["nonfinite"] else extent


def verify_command(args: Namespace) -> int:
    """`mxc verify`: 0 if all bits agree, else 1."""
    from mxc.verify import verify_model

    arrays = None if args.inputs is None else read_npz(args.inputs)
    options = options_of(args, arrays)
    with progress() as tell:
        model = driver.import_model(args.model, options)
        inputs = _arrays(args, arrays, model.inputs)
        verdict = verify_model(
            args.model, model, options, inputs, each_pass=args.each_pass, progress=tell
        )
    show(args.json, verdict.as_json(), verdict.lines())
    return 0 if verdict.passed else 1


def conformance_command(args: Namespace) -> int:
    """`mxc conformance`: 0, or 1 if a check failed."""
    from mxc.cli import conformance

    return conformance.run(args)


def layout_command(args: Namespace) -> int:
    """`mxc layout`: 0, or 1 if a stored plan is wrong."""
    from mxc.cli import layout

    return layout.run(args, options_of(args))


def opt_command(args: Namespace) -> int:
    """`mxc opt`."""
    from mxc import opt
    from mxc.constant_files import load_constants
    from mxc.dialects import new_context

    ctx = new_context()
    text = _read_text(args.file)
    if args.constants is not None:
        load_constants(args.constants, ctx)
    module = opt.parse_input(text, str(args.file), ctx)
    opt.apply_passes(ctx, module, args.passes)
    _show_module(args, {"passes": args.passes}, ctx, module)
    return 0


def _show_module(args: Namespace, result: dict[str, Any], ctx: Context, module: ModuleOp) -> None:
    """Prints IR, or writes it to `args.output` and its constants beside it, as `.npz`."""
    from mxc.constant_files import save_constants
    from mxc.opt import print_module

    text = print_module(module)
    if args.output is None:
        show(args.json, {**result, "ir": text}, [text.rstrip("\n")])
        return
    save_constants(args.output.with_suffix(".npz"), ctx, module)
    write_file(args.output, text.encode())
    show(args.json, {**result, "output": str(args.output)}, [])


def _read_text(path: Path) -> str:
    if str(path) == "-":
        return sys.stdin.read()
    try:
        return path.read_text()
    except OSError as error:
        raise BadInput(f"cannot read: {error.strerror}", at=str(path)) from error
    except UnicodeDecodeError as error:
        raise BadInput("not text", at=str(path)) from error


def targets_command(args: Namespace) -> int:
    """`mxc targets`."""
    from mxc.vendors import list_targets

    targets = list_targets()
    result = {"targets": [asdict(one) for one in targets]}
    rows = [(t.name, t.summary if t.error is None else f"BROKEN: {t.error}") for t in targets]
    show(args.json, result, table(rows))
    return 0


def formats_command(args: Namespace) -> int:
    """`mxc formats`."""
    from mxc.cli import formats

    return formats.run(args)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def ops_command(args: Namespace) -> int:
    """`mxc ops`."""
    from mxc.operators import operators

    found = operators()
    rows = [(one.name, f"{one.since}..{one.newest}", one.support, one.note) for one in found]
    show(args.json, {"ops": [one.as_json() for one in found]}, table(rows))
    return 0


def passes_command(args: Namespace) -> int:
    """`mxc passes`."""
    from mxc.passes import describe

    stages = driver.pipeline_stages()
    passes = [{**one, "stage": stages.get(one["name"])} for one in describe()]
    rows = [(one["name"], stages.get(one["name"], "-"), one["summary"]) for one in describe()]
    show(args.json, {"passes": passes}, table(rows))
    return 0
