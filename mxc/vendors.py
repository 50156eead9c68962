"""Targets by name, ours and vendors'; and what their backends add to the pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from mxc.backends import backend_names, list_backends, load_backend
from mxc.errors import BackendError, BadInput, MxcError, unknown
from mxc.passes.pipelines import Stage, Step, with_slots
from mxc.targets import Target, load_target, shipped_targets


@dataclass(frozen=True)
class TargetListing:
    """A target that `--target` finds, or a backend that is broken."""

    name: str
    backend: str
    summary: str
    error: str | None = None
    """Why it cannot be used; None if it can."""


def find_target(name: str) -> Target:
    """The target called `name`: a shipped one, a `.toml` file, or one that a vendor's backend has.

    No other vendor's code is loaded.

    Raises:
        BadInput: if there is no such target, or its description breaks the schema.
        BackendError: if the vendor's backend is broken.
    """
    if name.endswith(".toml") or name in shipped_targets():
        return load_target(name)
    if name not in backend_names():
        raise unknown("target", name, {*shipped_targets(), *backend_names()})
    description = load_backend(name).target_description
    if description is None:
        hint = "give a .toml file that names it as its backend"
        raise BadInput(f"backend {name!r} has no target description", hint=hint)
    target = load_target(str(description))
    if target.name != name:
        wanted = f"the entry point is {name!r}, the description is of {target.name!r}"
        raise BackendError(f"{wanted}; they must be the same", at=str(description))
    return target


def description_of(name: str) -> str:
    """What `load_target` finds the target called `name` by: itself, or a vendor's file.

    Raises:
        BadInput: if there is no such target.
    """
    if name.endswith(".toml") or name in shipped_targets():
        return name
    return str(load_backend(name).target_description)


def list_targets() -> tuple[TargetListing, ...]:
    """Every target: the shipped ones, then vendors'; a broken one has its error."""
    shipped = [load_target(name) for name in shipped_targets()]
    listed = [TargetListing(one.name, one.backend, one.summary) for one in shipped]
    vendors = [one for one in list_backends() if one.name not in {t.backend for t in shipped}]
    for one in vendors:
        try:
            if one.error is not None:
                raise BackendError(one.error)
            target = find_target(one.name)
            listed.append(TargetListing(target.name, target.backend, target.summary))
        except MxcError as error:
            listed.append(TargetListing(one.name, one.origin, "", str(error)))
    return tuple(listed)


def with_vendor_passes(stages: tuple[Stage, ...], target: Target) -> tuple[Stage, ...]:
    """`stages` with the passes that the backend of `target` has for the slots between them."""
    return with_slots(stages, load_backend(target.backend).passes)


def vendor_steps() -> dict[str, tuple[str, Step]]:
    """Vendors' passes in slots: (slot, step) by the name of the pass, of the backends that work."""
    working = [load_backend(one.name) for one in list_backends() if one.error is None]
    return {
        step.name: (slot, step)
        for backend in working
        for slot, steps in backend.passes.items()
        for step in steps
    }
