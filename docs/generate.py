"""Writes the pages of docs/ that are made from the code: `python docs/generate.py`.

`tests/test_docs.py` holds the committed pages to what this makes.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onnx import TensorProto
from xdsl.ir import Dialect

from mxc.dialects.mx import MX
from mxc.dialects.npu import NPU
from mxc.importer.microsoft import HANDLERS
from mxc.importer.trace import ALIASES
from mxc.operators import MEANINGS, operators
from mxc.suites import load_suite
from mxc.targets.schema import Target, keys

DOCS = Path(__file__).parent
NOTE = "<!-- Made by docs/generate.py from the docstrings; edit those, then run `make docs`. -->"


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    makers = {"dialects.md": _dialects, "ops.md": _ops, "targets.md": _targets}
    return {name: "\n".join(make()) for name, make in makers.items()}


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


def _ops() -> Iterator[str]:
    yield from ("# ONNX operators", "", NOTE.replace("the docstrings", "mxc/operators.py"), "")
    yield "All operators of the default domain: the opset that brought each, the one that"
    yield "changed it last, to which the importer brings older nodes, and what becomes of it. Types"
    yield "are those of the first input in the onnx package's node tests; others that the schema"
    yield "allows compile too, or are refused by name."
    yield ""
    rows = operators()
    for support, meaning in MEANINGS.items():
        count = sum(row.support == support for row in rows)
        yield f"- {support} ({count}): {meaning}"
    yield from (
        "",
        "| operator | opsets | support | types in tests | notes |",
        "|---|---|---|---|---|",
    )
    types = _tested_types()
    for row in rows:
        kinds = ", ".join(types.get(row.name, []))
        yield f"| {row.name} | {row.since}..{row.newest} | {row.support} | {kinds} | {row.note} |"
    others = sorted({f"`{domain}.{name}`" for domain, name in (*HANDLERS, *ALIASES)})
    yield from ("", f"Of other domains: {', '.join(others)}.", "")


def _tested_types() -> dict[str, list[str]]:
    """Operator -> element types of the first input of nodes in the onnx package's tests."""
    found: dict[str, set[str]] = {}
    for case in load_suite("onnx"):
        kinds = {info.name: info.type.tensor_type.elem_type for info in case.model.graph.input}
        for node in case.model.graph.node:
            kind = kinds.get(node.input[0], 0) if node.input and not node.domain else 0
            if kind:
                found.setdefault(node.op_type, set()).add(TensorProto.DataType.Name(kind).lower())
    return {name: sorted(kinds) for name, kinds in found.items()}


def main() -> None:
    """Writes the pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text)


if __name__ == "__main__":
    main()
