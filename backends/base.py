"""The contract between mxc and a backend. Vendors implement `Backend` in their own distribution.

A distribution offers it by an entry point in the group `mxc.backends`:

    [project.entry-points."mxc.backends"]
    acme = "acme_backend:AcmeBackend"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from mxc.errors import BackendError, BadInput
from mxc.numerics import DotContract
from mxc.passes.pipelines import Step

API_VERSION = 1
"""The version of this contract. A backend made for another is listed with an error, never run."""

Program = Callable[..., tuple[NDArray[Any], ...]]
"""A loaded model: arrays in, in the order of the model's inputs; arrays out."""


class Backend(ABC):
    """Turns modules of one level, by default the machine level, into files, and runs those files.

    Only `name` and `emit` must be given.
    """

    api_version: ClassVar[int] = API_VERSION
    """The version of the contract the backend was written for."""

    name: ClassVar[str]

    level: ClassVar[str] = "machine"
    """The level of the IR that `emit` takes: machine, or one above it; the pipeline ends there."""

    def with_opset(self, opset: int) -> Backend:
        """The same backend, but writing ONNX of `opset`.

        Raises:
            BadInput: if it cannot, as all but those that write ONNX.
        """
        raise BadInput(f"backend {self.name!r} writes no ONNX", hint="--opset is for onnx")

    @property
    def target_description(self) -> Path | None:
        """A target description of the backend's own, as a TOML file; None if it serves ours.

        `--target NAME` finds it if NAME is the backend's entry point and the description's name.
        """
        return None

    @property
    def pass_classes(self) -> tuple[type[ModulePass], ...]:
        """The backend's own passes. Their names are free of those of mxc and other vendors."""
        return ()

    @property
    def passes(self) -> Mapping[str, tuple[Step, ...]]:
        """What runs in named slots of the pipeline, for targets whose backend this is.

            {"after-layout": (Step("acme-swizzle", "why here", EXACT),)}

        The slots are `after-import`, `after-quantize`, `after-layout`, `after-lowering` and
        `after-tiling`; passes are the backend's own or ours. A step says what it may change; `mxc
        verify --each-pass` holds it to that.
        """
        return {}

    @property
    def contracts(self) -> tuple[DotContract, ...]:
        """Dot contracts of the matrix unit that mxc does not have.

        The target description chooses one by name, `matrix.block_contract`.
        """
        return ()

    def supports(self, op: Operation) -> str | None:
        """None if the backend can emit `op`; else why it cannot, in words that end an error.

        It is asked twice. `mx-legalize` asks about `mx.matmul`, `mx.conv`, `mx.requantize` and
        `mx.dequantize` with the contracts and blocks that the target would run; what it refuses is
        rewritten to plain loops. Before `emit`, it is asked about every operation of the machine
        level; what it refuses then is an error that names the node.
        """
        return None

    @abstractmethod
    def emit(self, ctx: Context, module: ModuleOp, folder: Path) -> None:
        """Writes the files of `module`, of the backend's level, into `folder`, which is empty.

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
        raise BackendError(f"backend {self.name!r} has no way to run its artifacts on this host")

    def load_all(self, folders: Sequence[Path]) -> Sequence[Program | BackendError]:
        """`load` of each of `folders`, or its error; override it if many at once are faster."""
        programs: list[Program | BackendError] = []
        for folder in folders:
            try:
                programs.append(self.load(folder))
            except BackendError as error:
                programs.append(error)
        return programs
