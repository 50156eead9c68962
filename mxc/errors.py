"""Every error mxc raises on purpose. Anything else that escapes is a bug in mxc.

An error is one line that says where, what is wrong, and what to do about it:

    model.onnx: node 'features.0/Conv' (Conv): auto_pad=FOO is not known; export with explicit pads
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MxcError(Exception):
    """A failure the user can act on: the command line prints it on one line and exits with 2."""

    def __init__(self, message: str, *, at: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        """Where: a file, then a node or value, e.g. `model.onnx: node 'a/b' (Conv)`."""
        self.hint = hint
        """What the user can do about it."""

    def __str__(self) -> str:
        text = f"{self.at}: {self.message}" if self.at else self.message
        text = f"{text}; {self.hint}" if self.hint else text
        return " ".join(text.split())

    def within(self, place: str) -> MxcError:
        """The same error with `place` (usually a file) put in front of `at`."""
        self.at = f"{place}: {self.at}" if self.at else place
        return self


class ImportFailed(MxcError):
    """The ONNX model is invalid, or uses something the importer does not know."""


class CannotLower(MxcError):
    """A pass or backend met an operation, type or attribute that it has no rule for."""


class BadInput(MxcError):
    """A file, option or array given by the user is not what was expected."""


class BackendError(MxcError):
    """A backend, a vendor's plugin or the C compiler failed."""


def unknown(kind: str, name: str, known: Iterable[str]) -> BadInput:
    """The error for a `name` that is not among the `known` ones: it suggests the nearest."""
    choices = sorted(known)
    near = get_close_matches(name, choices, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(choices)}"
    return BadInput(f"unknown {kind} {name!r}", hint=hint)
