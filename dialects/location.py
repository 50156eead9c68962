"""The names of the ONNX nodes an operation came from, kept in its location.

One name is a `NameLoc`, `loc("encoder/MatMul_3")`; an operation that came from several nodes has a
`FusedLoc` of them in order of first appearance. xDSL's rewriter gives new operations no location:
wrap patterns in `CarryLocations`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    ArrayAttr,
    CallSiteLoc,
    FusedLoc,
    LocationAttr,
    NameLoc,
    NoneAttr,
    StringAttr,
    UnknownLoc,
)
from xdsl.ir import Attribute, Operation
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern


def node_names(op: Operation) -> tuple[str, ...]:
    """The ONNX nodes `op` came from, each once, in order; empty if none is known."""
    return tuple(dict.fromkeys(_names(op.location)))


def _names(location: Attribute) -> Iterator[str]:
    match location:
        case NameLoc():
            yield location.desc.data
            yield from _names(location.location)
        case FusedLoc(locations=ArrayAttr() as parts):
            for part in parts:
                yield from _names(part)
        case CallSiteLoc():
            yield from _names(location.callee)
            yield from _names(location.caller)
        case _:
            pass


def locate(names: Iterable[str]) -> LocationAttr:
    """The location that states `names`; the inverse of `node_names`."""
    parts = tuple(NameLoc(StringAttr(name), NoneAttr()) for name in dict.fromkeys(names))
    if not parts:
        return UNKNOWN_LOC
    return parts[0] if len(parts) == 1 else FusedLoc(parts, NoneAttr())


class CarryLocations(RewritePattern):
    """A pattern whose new operations, nested ones too, get the location of the one it matched.

    Operations that the pattern located itself keep their location.
    """

    def __init__(self, pattern: RewritePattern) -> None:
        self.pattern = pattern

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter, /) -> None:
        location = op.location  # `op` may be gone afterwards
        inserted: list[Operation] = []
        rewriter.operation_insertion_handler.append(inserted.append)
        try:
            self.pattern.match_and_rewrite(op, rewriter)
        finally:
            rewriter.operation_insertion_handler.remove(inserted.append)
        for new in inserted:
            for nested in new.walk():
                if isinstance(nested.location, UnknownLoc):
                    nested.location = location
