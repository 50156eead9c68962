"""The passes of mxc, one file each, loaded when they are used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TypedDict, cast

from xdsl.passes import ModulePass, get_pass_option_infos

from mxc.errors import BadInput

_CLASSES = {
    "canonicalize": "CanonicalizePass",
    "fold-constants": "FoldConstantsPass",
    "cse": "CsePass",
    "dce": "DcePass",
    "decompose": "DecomposePass",
    "raise-mx": "RaiseMxPass",
    "mx-quantize": "MxQuantizePass",
    "mx-layout": "MxLayoutPass",
    "mx-fuse-scales": "MxFuseScalesPass",
    "lower-to-linalg": "LowerToLinalgPass",
    "mx-legalize": "MxLegalizePass",
    "fuse-elementwise": "FuseElementwisePass",
    "expand-math": "ExpandMathPass",
    "bufferize": "BufferizePass",
    "place": "PlacePass",
    "tile": "TilePass",
    "plan-memory": "PlanMemoryPass",
    "schedule": "SchedulePass",
}
"""Pass -> its class, in the file named after the pass; in the order of the pipeline."""


class Description(TypedDict):
    """What `mxc passes` tells about a pass."""

    name: str
    summary: str
    options: list[str]


def _loader(name: str) -> Callable[[], type[ModulePass]]:
    def load() -> type[ModulePass]:
        module = import_module(f"mxc.passes.{name.replace('-', '_')}")
        return cast("type[ModulePass]", getattr(module, _CLASSES[name]))

    return load


PASSES: dict[str, Callable[[], type[ModulePass]]] = {name: _loader(name) for name in _CLASSES}
"""Pass -> a function that imports and gives its class."""


def register_pass(kind: type[ModulePass]) -> None:
    """Makes a vendor's pass known by its name; the same one again changes nothing.

    Raises:
        BadInput: if another pass has that name.
    """
    known = PASSES.setdefault(kind.name, lambda: kind)
    if kind.name in _CLASSES or known() is not kind:
        raise BadInput(f"pass {kind.name!r} of {kind.__module__} has the name of another pass")


def describe() -> list[Description]:
    """Every pass with the first sentence of its docstring and its options, in pipeline order."""
    return [_described(name, load()) for name, load in PASSES.items()]


def _described(name: str, kind: type[ModulePass]) -> Description:
    summary = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
    options = [option.name.replace("_", "-") for option in get_pass_option_infos(kind)]
    return {"name": name, "summary": summary, "options": options}
