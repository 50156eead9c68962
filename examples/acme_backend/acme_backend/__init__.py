"""The backend of the example vendor: what mxc finds through the entry point `acme`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from xdsl.ir import Operation
from xdsl.passes import ModulePass

from acme_backend.contract import PAIRWISE
from acme_backend.passes import AcmeReciprocalPass
from mxc.backends.base import API_VERSION
from mxc.backends.npu import NpuBackend
from mxc.dialects import mx
from mxc.numerics import DotContract
from mxc.passes.pipelines import EXACT, Step

HERE = Path(__file__).parent


class AcmeBackend(NpuBackend):
    """Emits the C of mxc for a HAL of its own."""

    api_version: ClassVar[int] = API_VERSION
    name: ClassVar[str] = "acme"
    hal: ClassVar[Path | None] = HERE / "hal"

    @property
    def target_description(self) -> Path:
        return HERE / "acme.toml"

    @property
    def contracts(self) -> tuple[DotContract, ...]:
        return (PAIRWISE,)

    @property
    def pass_classes(self) -> tuple[type[ModulePass], ...]:
        return (AcmeReciprocalPass,)

    @property
    def passes(self) -> Mapping[str, tuple[Step, ...]]:
        why = "math is expanded, so every division shows; the vector unit has no divider"
        return {"after-lowering": (Step("acme-reciprocal", why, EXACT),)}

    def supports(self, op: Operation) -> str | None:
        """The matrix unit lacks block convolutions in groups, and nothing requantises."""
        match op:
            case mx.ConvOp() if op.contract.data == PAIRWISE.name and op.groups.value.data > 1:
                return "the matrix unit has no groups of blocks"
            case mx.RequantizeOp():
                return "the quantiser reads floats only"
            case _:
                return None
