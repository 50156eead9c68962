"""The contract between mxc and a backend. Vendors implement `Backend` in their own distribution.

A distribution offers it by an entry point in the group `mxc.backends`:

    [project.entry-points."mxc.backends"]
    acme = "acme_backend:AcmeBackend"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

API_VERSION = 1
"""The version of this contract. A backend made for another is listed with an error, never run."""

Program = Callable[..., tuple[NDArray[Any], ...]]
"""A loaded model: arrays in, in the order of the model's inputs; arrays out."""


class Backend(ABC):
    """Turns modules of the machine level into files, and runs those files.

    Only `name` and `emit` must be given.
    """

    api_version: ClassVar[int] = API_VERSION
    """The version of the contract the backend was written for."""

    name: ClassVar[str]

    @property
    def target_description(self) -> Path | None:
        """A target description of the backend's own, as a TOML file; None if it serves ours."""
        return None

    @property
    def passes(self) -> Mapping[str, tuple[str, ...]]:
        """Passes to run in named slots of the pipeline, e.g. {"after-layout": ("acme-swizzle",)}.

        The slots are `after-import`, `after-quantize`, `after-layout`, `after-lowering` and
        `after-tiling`.
        """
        return {}

    def supports(self, op: Operation) -> str | None:
        """None if the backend can emit `op`, of the machine level; else why it cannot."""
        return None

    @abstractmethod
    def emit(self, ctx: Context, module: ModuleOp, folder: Path) -> None:
        """Writes the files of `module`, of the machine level, into `folder`, which is empty.

        The module verifies and stays as it is. The files depend on nothing else: same module, same
        bytes. `manifest.json` is one of them, see `docs/design.md`.

        Raises:
            CannotLower: on an operation this backend has no rule for.
        """

    def load(self, folder: Path) -> Program:
        """The model that `emit` wrote to `folder`, ready to be called in this process.

        Raises:
            BackendError: if it cannot be built or run here.
        """
        from mxc.errors import BackendError

        raise BackendError(f"backend {self.name!r} has no way to run its artifacts on this host")
