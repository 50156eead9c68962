"""Dot contracts that vendors register: their name, and what they mean in numpy.

    def pairwise(lhs, rhs, scale, acc):
        products = lhs[..., :, :, None] * rhs[..., None, :, :]      # [B, M, S, N], f32
        ...
        return acc + (total * scale).astype(np.float32)

    register_contract(DotContract("acme-pairwise", pairwise, step=16))

The interpreter then runs contractions with `contract = "acme-pairwise"`, and verifiers accept it.
The C side is the vendor's implementation of the HAL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.errors import BadInput

Array = NDArray[Any]

Step = Callable[[Array, Array, Array, Array], Array]
"""(lhs, rhs, scale, acc) -> the new acc, for one step along k."""

BUILT_IN: tuple[str, ...] = ("block-exact", "sequential", "sequential-fma")
"""The contracts of mxc itself; see `mxc.numerics.contract`."""

FLOAT: tuple[str, ...] = ("sequential", "sequential-fma")
"""Those that take float operands."""

SLOTS = 4
"""How many contracts of vendors the HAL can name."""


@dataclass(frozen=True)
class DotContract:
    """How a vendor's matrix unit adds up products of two block operands.

    The accumulator is f32 and starts at +0. For each step along `k`, in ascending order, it becomes
    `add(lhs, rhs, scale, acc)`, where for S products of the step

    * lhs [B, M, S] and rhs [B, S, N] are the values of the elements, without scales, in f32;
    * scale [B, M, N] is the product of both scales, in f64 (exact; NaN if a scale is NaN);
    * acc [B, M, N] is f32, and so is the result.

    Each element of the result must depend on its own row, column, scale and acc only: the
    interpreter cuts operands into tiles as it likes. A step has at most `step` products, fewer
    where a block is shorter or `k` ends; both scales are constant within it.

    (C1) the name is lower case with dashes and none of mxc's own;
    (C2) `step` is a power of two of at most 32;
    (C3) `slot` is below 4: the HAL is told `MX_VENDOR_<slot>`.
    """

    name: str
    add: Step
    step: int = 32
    slot: int = 0

    def __post_init__(self) -> None:
        at = f"dot contract {self.name!r}"
        plain = self.name.replace("-", "").isalnum() and self.name == self.name.lower()
        if not plain or self.name in BUILT_IN:
            raise BadInput("is no name for a vendor's contract (C1)", at=at)
        if not (0 < self.step <= 32 and self.step & (self.step - 1) == 0):
            raise BadInput(f"step {self.step} is no power of two up to 32 (C2)", at=at)
        if not 0 <= self.slot < SLOTS:
            raise BadInput(f"slot {self.slot} is not one of 0 to {SLOTS - 1} (C3)", at=at)


_REGISTERED: dict[str, DotContract] = {}


def register_contract(contract: DotContract) -> None:
    """Makes `contract` known by its name; the same one again changes nothing.

    Raises:
        BadInput: if another one has that name.
    """
    if _REGISTERED.setdefault(contract.name, contract) != contract:
        raise BadInput(f"dot contract {contract.name!r} is registered twice, differently")


def registered_contract(name: str) -> DotContract | None:
    """The vendor's contract of that name, or None."""
    return _REGISTERED.get(name)


def known_contracts() -> tuple[str, ...]:
    """The names of all contracts: those of mxc, then vendors'."""
    return (*BUILT_IN, *sorted(_REGISTERED))


def takes_floats(name: str) -> bool:
    """Whether a contract takes float operands; the others need blocks on both sides."""
    return name in FLOAT


PAIR = np.dtype([("value", np.float32), ("scale", np.float32)])
"""An element's value beside the scale of its block, so that both move together."""


def run_steps(contract: DotContract, lhs: Array, rhs: Array, bounds: list[int]) -> Array:
    """The contraction of `PAIR`s [B, M, K] and [B, K, N]; steps begin at `bounds`, the end last."""
    acc = np.zeros((lhs.shape[0], lhs.shape[1], rhs.shape[2]), np.float32)
    for start, stop in pairwise(bounds):
        a, b = lhs[..., start:stop], rhs[:, start:stop]
        scale = a["scale"][..., :1].astype(np.float64) * b["scale"][:, :1].astype(np.float64)
        acc = contract.add(a["value"], b["value"], scale, acc)
        if acc.dtype != np.float32:
            raise BadInput(f"dot contract {contract.name!r} gives {acc.dtype}, not float32")
    return acc
