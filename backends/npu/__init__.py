"""The `npu` backend: C99 that calls the HAL, and the HAL for hosts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from mxc.backends.base import API_VERSION, Backend
from mxc.backends.npu import artifact, build

__all__ = ["NpuBackend"]


class NpuBackend(Backend):
    """Writes `model.c`, `model.h`, `weights.bin`, `manifest.json`, the HAL and a Makefile."""

    api_version: ClassVar[int] = API_VERSION
    name: ClassVar[str] = "npu"

    def __init__(self, weights: str = "bin") -> None:
        self.weights = weights

    def emit(self, ctx: Context, module: ModuleOp, folder: Path) -> None:
        artifact.write(ctx, module, folder, self.weights)

    def load(self, folder: Path) -> Callable[..., tuple[NDArray[Any], ...]]:
        return build.Program(folder)
