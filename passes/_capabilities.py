"""What backends can do, by name, for passes to ask: passes know no backends."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Operation

from mxc.errors import unknown

Supports = Callable[[Operation], str | None]
"""None if a backend can emit the operation, else why it cannot."""

_SUPPORT: dict[str, Supports] = {}


def register_support(backend: str, supports: Supports) -> None:
    """Makes the capabilities of `backend` known; a new answer replaces the old one."""
    _SUPPORT[backend] = supports


def support_of(backend: str) -> Supports:
    """The capabilities of `backend`; of "", everything.

    Raises:
        BadInput: if no backend of that name has been loaded.
    """
    if not backend:
        return _everything
    if backend not in _SUPPORT:
        raise unknown("backend", backend, _SUPPORT)
    return _SUPPORT[backend]


def _everything(_: Operation) -> None:
    return None
