"""`dce`: operations whose results nothing uses are removed.

    %u = onnx.Exp(%x) : (tensor<4xf32>) -> tensor<4xf32>     // no use of %u
    func.return %x : tensor<4xf32>

becomes `func.return %x`. Operations of `onnx` and `mx` have no effects but their results; neither
have structured operations of `linalg` on tensors, though xDSL does not say so of them. One sweep
from the last operation to the first is enough, since a use comes after its definition.
"""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from mxc.passes._effects import erase_dead


class DcePass(ModulePass):
    """Removes operations whose results nothing uses."""

    name = "dce"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        erase_dead(op)
