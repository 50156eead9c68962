"""The support table: every operator of ONNX's default domain, and what becomes of it.

It is made from the tables that the compiler works by, so it cannot differ from them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from onnx import defs

LOWERED = "lowered"
DECOMPOSED = "decomposed"
CONTRACTION = "contraction"
BODY = "function body"
IMPORTED = "resolved at import"
REPLACED = "replaced at import"
FOLDED = "folded"
REFUSED = "refused"

MEANINGS = {
    CONTRACTION: "becomes `mx.matmul` or `mx.conv`, which formats apply to",
    LOWERED: "has loops of its own",
    DECOMPOSED: "becomes simpler operators, so that its contractions show",
    BODY: "is replaced by the function body in its schema",
    IMPORTED: "is gone after the import: control flow, sequences, optionals",
    REPLACED: "is deprecated; the import writes its successor",
    FOLDED: "is computed while importing; its inputs must be constants",
    REFUSED: "is an error that names the node",
}
"""What becomes of an operator, and what that means."""

_RANDOM = "its results are random"
_REASONS = {
    "Bernoulli": _RANDOM,
    "ImageDecoder": "it decodes image files",
    "Multinomial": _RANDOM,
    "RandomNormal": _RANDOM,
    "RandomNormalLike": _RANDOM,
    "RandomUniform": _RANDOM,
    "RandomUniformLike": _RANDOM,
}
_SIZED_BY_DATA = "the data decide the size of its result"
_CONSTANT = {
    "NonMaxSuppression": _SIZED_BY_DATA,
    "NonZero": _SIZED_BY_DATA,
    "RegexFullMatch": "of strings",
    "StringConcat": "of strings",
    "StringNormalizer": "of strings",
    "StringSplit": "of strings",
    "Unique": _SIZED_BY_DATA,
}
_NOTES = {
    "Compress": "the condition must be a constant",
    "If": "a condition known at import; else both branches must give the same types",
    "Loop": "a trip count that is known at import or bounded",
    "Scatter": "ScatterElements",
    "Upsample": "Resize",
}


@dataclass(frozen=True)
class Operator:
    """An operator of the default domain."""

    name: str
    since: int
    """The opset that brought it."""

    newest: int
    """The opset that changed it last, which the importer brings every node to."""

    support: str
    """A key of `MEANINGS`."""

    note: str = ""
    """Conditions, or why it is refused."""

    @property
    def supported(self) -> bool:
        """Whether a model with this operator can be compiled."""
        return self.support != REFUSED

    def as_json(self) -> dict[str, Any]:
        """The row, as `mxc ops --json` has it."""
        return {**asdict(self), "supported": self.supported}


def operators() -> tuple[Operator, ...]:
    """All operators of the default domain of the installed onnx package, by name."""
    versions: dict[str, list[defs.OpSchema]] = {}
    for schema in defs.get_all_schemas_with_history():
        if not schema.domain:
            versions.setdefault(schema.name, []).append(schema)
    return tuple(_operator(name, versions[name]) for name in sorted(versions))


def _operator(name: str, versions: list[defs.OpSchema]) -> Operator:
    ordered = sorted(versions, key=lambda schema: schema.since_version)
    support = _support(name, ordered[-1])
    note = _REASONS.get(name) or _CONSTANT.get(name) or _NOTES.get(name, "")
    if support == REFUSED and not note:
        note = "it has no lowering"
    return Operator(name, ordered[0].since_version, ordered[-1].since_version, support, note)


def _support(name: str, newest: defs.OpSchema) -> str:
    from mxc.importer.control import SPECIAL
    from mxc.passes.decompose import RULES
    from mxc.passes.lowering import load_rules
    from mxc.passes.mx_quantize import REWRITES

    tables = {
        REFUSED: _REASONS,
        FOLDED: _CONSTANT,
        CONTRACTION: REWRITES,
        DECOMPOSED: RULES,
        LOWERED: load_rules(),
        IMPORTED: SPECIAL,
    }
    for support, names in tables.items():
        if name in names:
            return support
    if newest.deprecated:
        return REPLACED
    known: Any = newest
    has_body = known.has_function or known.has_context_dependent_function
    return BODY if has_body else REFUSED
