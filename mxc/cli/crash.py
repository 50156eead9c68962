"""When mxc itself fails: a traceback, and a folder from which the failure can be repeated."""

from __future__ import annotations

import platform
import shlex
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from mxc import __version__

LARGEST_COPY = 64 << 20
"""Bytes of input files that a reproducer carries at most."""


def report(error: Exception, arguments: Sequence[str]) -> str:
    """The text for stderr; makes the reproducer folder."""
    trace = "".join(traceback.format_exception(error))
    folder = Path(tempfile.mkdtemp(prefix="mxc-crash-"))
    (folder / "traceback.txt").write_text(trace)
    (folder / "command.txt").write_text(f"mxc {shlex.join(arguments)}\n{_versions()}\n")
    _copy_inputs(arguments, folder)
    _write_ir(error, folder)
    summary = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"{trace}mxc: internal error: {summary[:300]}; please report it with {folder}\n"


def _versions() -> str:
    packages = " ".join(f"{name} {version(name)}" for name in ("xdsl", "numpy", "onnx"))
    return f"mxc {__version__}, python {platform.python_version()}, {packages}, {sys.platform}"


def _copy_inputs(arguments: Sequence[str], folder: Path) -> None:
    for argument in arguments:
        path = Path(argument)
        if path.suffix and path.is_file() and path.stat().st_size <= LARGEST_COPY:
            shutil.copy(path, folder / path.name)


def _write_ir(error: Exception, folder: Path) -> None:
    """The module as the failing pass left it, if a pass failed."""
    from mxc.driver import PassFailed
    from mxc.opt import print_module

    if isinstance(error, PassFailed):
        (folder / f"{error.step.name}.mlir").write_text(print_module(error.module))
