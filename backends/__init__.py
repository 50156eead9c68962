"""Backends: what mxc can turn a module into. They import dialects and passes, never the driver."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from mxc.backends.base import API_VERSION, Backend
from mxc.errors import BackendError, BadInput, MxcError, unknown
from mxc.numerics import register_contract
from mxc.passes import PASSES, register_pass
from mxc.passes._capabilities import register_support
from mxc.passes.pipelines import SLOTS

__all__ = ["Listing", "backend_names", "list_backends", "load_backend"]

GROUP = "mxc.backends"
"""A vendor adds a backend by an entry point `name = "package:BackendClass"` in this group."""

BUILT_IN = (
    EntryPoint("npu", "mxc.backends.npu:NpuBackend", GROUP),
    EntryPoint("onnx", "mxc.backends.onnx:OnnxBackend", GROUP),
)
"""Listed here, not in the metadata, so that a checkout works before it is installed."""


@dataclass(frozen=True)
class Listing:
    """A backend that is installed, and whether it works."""

    name: str
    origin: str
    """The entry point's value, `package:Class`."""

    error: str | None
    """Why it cannot be used; None if it can."""


def list_backends() -> tuple[Listing, ...]:
    """Every backend, ours first, then vendors' by name; a broken one has its error."""
    ours = [entry for entry in _entries() if entry in BUILT_IN]
    theirs = sorted((e for e in _entries() if e not in BUILT_IN), key=lambda e: (e.name, e.value))
    return tuple(Listing(e.name, e.value, _error(e)) for e in [*ours, *theirs])


def backend_names() -> tuple[str, ...]:
    """The names of all backends, ours first; nothing is imported."""
    return tuple(dict.fromkeys(entry.name for entry in _entries()))


def load_backend(name: str) -> Backend:
    """The backend called `name`, ours or a vendor's; no other is imported.

    Raises:
        BadInput: if there is no such backend.
        BackendError: if it is broken, or there are two of that name.
    """
    match [entry for entry in _entries() if entry.name == name]:
        case []:
            known = ", ".join(sorted({entry.name for entry in _entries()}))
            raise BadInput(f"no backend named {name!r}", hint=f"installed: {known}")
        case [entry]:
            return _load(entry)
        case several:
            owners = " and ".join(sorted(entry.value for entry in several))
            raise BackendError(f"backend {name!r} is offered twice, by {owners}")


def _entries() -> list[EntryPoint]:
    return [*BUILT_IN, *entry_points(group=GROUP)]


def _load(entry: EntryPoint) -> Backend:
    at = f"backend {entry.name!r} ({entry.value})"
    try:
        kind = entry.load()
    except Exception as error:  # whatever a plugin raises while it is imported is its own fault
        raise BackendError(f"cannot be imported: {type(error).__name__}: {error}", at=at) from error
    if not (isinstance(kind, type) and issubclass(kind, Backend)):
        raise BackendError("is no subclass of mxc.backends.base.Backend", at=at)
    if kind.api_version != API_VERSION:
        raise BackendError(f"was made for API {kind.api_version}, this is {API_VERSION}", at=at)
    try:
        backend = kind()
        _register(entry.name, backend)
    except MxcError as error:
        raise BackendError(str(error), at=at) from error
    except Exception as error:
        raise BackendError(f"cannot be made: {type(error).__name__}: {error}", at=at) from error
    return backend


def _register(name: str, backend: Backend) -> None:
    """Makes the passes, contracts and capabilities of `backend` known by name.

    Raises:
        BadInput: if a name is taken, or a slot or a pass in one does not exist.
    """
    for contract in backend.contracts:
        register_contract(contract)
    for kind in backend.pass_classes:
        register_pass(kind)
    for slot, steps in backend.passes.items():
        if slot not in SLOTS:
            raise unknown("slot", slot, SLOTS)
        for step in steps:
            if step.name not in PASSES:
                raise unknown(f"pass in slot {slot}:", step.name, PASSES)
    register_support(name, backend.supports)


def _error(entry: EntryPoint) -> str | None:
    try:
        _load(entry)
    except BackendError as error:
        return str(error)
    return None
