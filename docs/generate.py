"""Writes the pages of docs/ that are made from the code: `python docs/generate.py`.

`tests/test_docs.py` holds the committed pages to what this makes.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xdsl.ir import Dialect

from mxc.dialects.mx import MX
from mxc.dialects.npu import NPU
from mxc.targets.schema import Target, keys

DOCS = Path(__file__).parent
NOTE = "<!-- Made by docs/generate.py from the docstrings; edit those, then run `make docs`. -->"


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    return {"dialects.md": "\n".join(_dialects()), "targets.md": "\n".join(_targets())}


def _dialects() -> Iterator[str]:
    yield from ("# The dialects of mxc", "", NOTE, "")
    yield "Besides these two, mxc uses xDSL's `func`, `linalg`, `tensor`, `arith`, `math`, `scf`"
    yield "and `memref`, and `onnx`, whose operations are made from the operator schemas of the"
    yield "installed onnx package, one class per operator."
    for dialect in (MX, NPU):
        yield from _dialect(dialect)


def _dialect(dialect: Dialect) -> Iterator[str]:
    yield from ("", f"## `{dialect.name}`")
    for kind in (*dialect.attributes, *dialect.operations):
        yield from ("", f"### `{kind.name}`", "", *_markdown(_documentation(kind)))


def _documentation(kind: type[Any]) -> str:
    text = kind.__doc__ or ""
    assert text, f"{kind.name} has no docstring"
    return "\n".join(line.removeprefix("    ") for line in text.splitlines()).strip()


def _markdown(text: str) -> Iterator[str]:
    """A docstring as Markdown: constraints `(C1) ...` become a list."""
    for line in text.splitlines():
        yield f"- {line}" if line.startswith("(C") else line


def _targets() -> Iterator[str]:
    yield from ("# Target descriptions", "", NOTE, "")
    yield from (inspect.cleandoc(inspect.getmodule(Target).__doc__ or "").splitlines())
    yield from ("", "| key | meaning |", "|---|---|")
    for key, meaning in keys():
        yield f"| `{key}` | {meaning} |"
    yield ""


def main() -> None:
    """Writes the pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text)


if __name__ == "__main__":
    main()
