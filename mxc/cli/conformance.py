"""`mxc conformance`: the vendor kit, or tests in ONNX's format, on a target."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any, cast

from mxc.artifact import write_file
from mxc.cli.terminal import progress, show
from mxc.errors import BadInput
from mxc.vendors import find_target


def run(args: Namespace) -> int:
    """`mxc conformance` with parsed arguments: 0, or 1 if a check failed."""
    if args.target != "ref" and not find_target(args.target).has_machine:
        raise BadInput(f"target {args.target!r} has no code to check")
    if args.jobs < 1:
        raise BadInput(f"--jobs {args.jobs}: at least one process")
    names = None if args.names is None else read_names(args.names)
    if args.suite == "vendor":
        return _vendor(args, names)
    return _onnx(args, names)


def _vendor(args: Namespace, names: list[str] | None) -> int:
    from mxc.kit import run_kit

    with progress() as tell:
        report = run_kit(args.target, names, progress=tell)
    if args.report is not None:
        write_file(args.report, report.markdown().encode())
    show(args.json, report.as_json(), report.lines())
    return 1 if report.failed else 0


def _onnx(args: Namespace, names: list[str] | None) -> int:
    from mxc.conformance import run_suite

    if args.report is not None:
        raise BadInput("--report is for the vendor suite", hint="use --json")
    with progress() as tell:
        report = run_suite(args.suite, args.target, names, jobs=args.jobs, progress=tell)
    lines = [f"FAILED {name}: {reason}" for name, reason in report.failed]
    lines += [f"skipped {name}: {reason}" for name, reason in report.skipped]
    counts = f"{len(report.passed)} passed, {len(report.failed)} failed"
    lines.append(f"{args.target}: {counts}, {len(report.skipped)} skipped")
    show(args.json, {"target": args.target, **report.as_json()}, lines)
    return 1 if report.failed else 0


def read_names(path: Path) -> list[str]:
    """The names in a file: a JSON list of strings, or one a line.

    Raises:
        BadInput: if the file cannot be read or names nothing.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the names: {error}", at=str(path)) from error
    names = _json_names(text, path) if text.lstrip().startswith("[") else text.split("\n")
    names = [name.strip() for name in names if name.strip()]
    if not names:
        raise BadInput("there is no name in the file", at=str(path))
    return names


def _json_names(text: str, path: Path) -> list[str]:
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        raise BadInput(f"not JSON: {error}", at=str(path)) from error
    if not all(isinstance(name, str) for name in found):
        raise BadInput("not a list of names", at=str(path))
    return cast("list[str]", found)
