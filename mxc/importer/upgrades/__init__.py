"""Nodes of older opsets in the newest opset's terms.

A rule is registered for operators and the opset whose version changed the meaning; it is applied
to nodes of older versions, oldest change first. Operators without a rule mean the same in every
opset since 7, apart from the types they accept and attributes whose default is the old behaviour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mxc.importer.upgrades import inputs, normalization, resize
from mxc.importer.upgrades.rules import RULES
from mxc.importer.values import Call, Item

if TYPE_CHECKING:
    from mxc.importer.trace import Tracer

__all__ = ["inputs", "normalization", "resize", "upgrade"]


def upgrade(tracer: Tracer, call: Call) -> list[Item | None] | None:
    """Rewrites `call` in place to the newest opset, or gives its outputs."""
    for before, rule in RULES.get(call.op_type, ()):
        if call.since < before:
            done: Any = rule(tracer, call)
            if done is not None:
                return done
    return None
