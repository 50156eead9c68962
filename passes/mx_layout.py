"""`mx-layout`: which blocks each value has; materialises quantise, requantise and views.

    %m = mx.matmul %x, %w {contract = "sequential", lhs_as = "mxfp8_e4m3", rhs_as = "mxfp8_e4m3"}

becomes

    %q = mx.quantize %x : tensor<4x64xf32> -> tensor<4x64x!mx.block<f8E4M3FN, 1x32>>
    %v = mx.constant @c_... : tensor<64x8x!mx.block<f8E4M3FN, 32x1>>
    %m = mx.matmul %q, %v {contract = "block-exact"}

A contraction fixes the axis along which each operand must be blocked. What is left to choose is
which quantised versions of a value exist, where they are made, and what is derived from what: a
policy answers that for the whole graph at once (`mxc.passes.layout`, docs/layout.md). Views between
producer and contraction are looked through: codes move, nothing is rounded again, which is exact
(`tests/passes/layout/test_realise.py::test_dual_is_quantising_every_operand`).

Constants are quantised here, at compile time, once per layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from mxc.constants import ConstantTable
from mxc.errors import BadInput
from mxc.passes.layout.extract import extract
from mxc.passes.layout.policies import policy
from mxc.passes.layout.problem import Emission, Prices, formats_in_blocks
from mxc.passes.layout.realise import realise

EMISSIONS: dict[str, Emission] = {"all": "all", "last": "last", "none": "none"}


@dataclass(frozen=True)
class MxLayoutPass(ModulePass):
    """Chooses the blocks of every marked operand and materialises them by a policy."""

    name = "mx-layout"
    policy: str = "exact"
    emit: str = "all"
    """What the target's producers can write besides HP: all, last, none."""
    noise_price: str = "1"
    """Bytes that a unit of excess noise is worth, per element and read; a fraction."""

    block: int = 32
    """Elements that share a scale, in formats whose scales are powers of two; 32 at most."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        solve = policy(self.policy)
        constants = ConstantTable.of(ctx)
        found = extract(op, constants, self.prices())
        realise(found, solve(found.problem), constants)

    def prices(self) -> Prices:
        """What the options say about the target.

        Raises:
            BadInput: if an option has a value that it cannot have.
        """
        if self.emit not in EMISSIONS:
            raise BadInput(f"a producer cannot emit '{self.emit}'", hint="all, last or none")
        try:
            noise = Fraction(self.noise_price)
        except (ValueError, ZeroDivisionError):
            raise BadInput(f"the noise price '{self.noise_price}' is no fraction") from None
        if self.block not in (2, 4, 8, 16, 32):
            raise BadInput(f"blocks of {self.block} are unknown", hint="2, 4, 8, 16 or 32")
        formats = formats_in_blocks(self.block)
        return Prices(emit=EMISSIONS[self.emit], noise=noise, formats=formats)
