"""What people see: results on stdout, progress on stderr when it is a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress() -> Generator[Callable[[str], None]]:
    """A function to be told each step; a terminal shows the present one."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield lambda step: status.update(step)


def show(as_json: bool, result: Mapping[str, Any], lines: Iterable[str]) -> None:
    """Prints `result` as one JSON object, or `lines` for people."""
    if as_json:
        sys.stdout.write(json.dumps(result, allow_nan=False) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """`rows` as lines with aligned columns."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
