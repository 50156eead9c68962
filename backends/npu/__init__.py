"""The `npu` backend: C99 that calls the HAL, and the HAL for hosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from mxc.backends.base import API_VERSION, Backend, Program
from mxc.backends.npu import artifact, batch, build
from mxc.errors import BackendError

__all__ = ["NpuBackend"]


class NpuBackend(Backend):
    """Writes `model.c`, `model.h`, `weights.bin`, `manifest.json`, the HAL and a Makefile.

    A vendor whose NPU runs this C subclasses it and gives `hal`, a folder of `*.c` and `*.h` files
    that implement `mxnpu.h`; default: the HAL for hosts.
    """

    api_version: ClassVar[int] = API_VERSION
    name: ClassVar[str] = "npu"
    hal: ClassVar[Path | None] = None

    def __init__(self, weights: str = "bin") -> None:
        self.weights = weights

    def emit(self, ctx: Context, module: ModuleOp, folder: Path) -> None:
        artifact.write(ctx, module, folder, self.weights, self._hal_texts())

    def _hal_texts(self) -> dict[str, str] | None:
        """The vendor's files by name; None for the host's."""
        if self.hal is None:
            return None
        found = sorted(path for path in self.hal.iterdir() if path.suffix in (".c", ".h"))
        if not any(path.suffix == ".c" for path in found):
            raise BackendError("there is no C file of the HAL in this folder", at=str(self.hal))
        return {path.name: path.read_text() for path in found}

    def load(self, folder: Path) -> Callable[..., tuple[NDArray[Any], ...]]:
        return build.Program(folder)

    def load_all(self, folders: Sequence[Path]) -> Sequence[Program | BackendError]:
        if type(self).load is not NpuBackend.load:  # a vendor's own way
            return super().load_all(folders)
        return batch.load_all(folders)
