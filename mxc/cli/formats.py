"""`mxc formats`: the table of formats, and the journey of one value."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from mxc.cli.terminal import show, table
from mxc.errors import BadInput
from mxc.numerics import explain, formats_table
from mxc.passes._formats import LIBRARY_ONLY

_COLUMNS = {
    "name": "name",
    "bits": "bits_per_element",
    "block": "block",
    "scale": "scale",
    "max": "max",
    "normal": "min_normal",
    "min": "min",
    "rules": "scale_rules",
    "recipe": "recipe",
    "compiled": "compiled",
}
"""The heads of the table, and what they show."""


def run(args: Namespace) -> int:
    """The table; or with `--explain`, the steps of a value.

    Raises:
        BadInput: if the value is no number, or the format has no such journey.
    """
    if args.explain is None:
        if args.format is not None or args.scale_rule is not None:
            raise BadInput("--format and --scale-rule are for --explain VALUE")
        rows = [{**row, "compiled": row["name"] not in LIBRARY_ONLY} for row in formats_table()]
        cells = [[_cell(key, row[key]) for key in _COLUMNS.values()] for row in rows]
        show(args.json, {"formats": rows}, table([list(_COLUMNS), *cells]))
        return 0
    journey = explain(_number(args.explain), args.format or "mxfp8", args.scale_rule)
    show(args.json, journey, [f"{journey['format']}, {journey['scale_rule']}", *journey["steps"]])
    return 0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"--explain {text!r} is no number") from None


def _cell(key: str, value: Any) -> str:
    match key:
        case "block":
            return "x".join(map(str, value)) or "tensor"
        case "scale_rules":
            return ",".join(value) or "-"
        case "compiled":
            return "yes" if value else "no"
        case _:
            return "-" if value is None else value if isinstance(value, str) else f"{value:.6g}"
