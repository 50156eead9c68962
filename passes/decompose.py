"""`decompose`: composite operators become simpler ones, so that their contractions show.

    %y = onnx.Attention(%q, %k, %v)

becomes MatMul, Softmax and MatMul with what lies between; Einsum becomes Transpose, Reshape and
MatMul; LSTM, GRU and RNN become one MatMul for the inputs of all time steps and a loop over time
with the recurrent one; ConvTranspose becomes one Conv per phase of its stride. `mx-quantize` then
treats these contractions like all others.

Precondition: the graph level, all shapes static.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from mxc.constants import ConstantTable
from mxc.dialects.location import node_names
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.onnx.build import Graph
from mxc.errors import CannotLower
from mxc.passes._decompose.attention import attention
from mxc.passes._decompose.convolution import causal_conv_with_state, conv_transpose
from mxc.passes._decompose.einsum import einsum
from mxc.passes._decompose.linear_attention import linear_attention
from mxc.passes._decompose.recurrent import recurrent

Rule = Callable[[Graph, OnnxOp], Sequence[SSAValue | None]]

RULES: dict[str, Rule] = {
    "Attention": attention,
    "CausalConvWithState": causal_conv_with_state,
    "ConvTranspose": conv_transpose,
    "Einsum": einsum,
    "GRU": recurrent,
    "LSTM": recurrent,
    "LinearAttention": linear_attention,
    "RNN": recurrent,
}
"""Operator -> its decomposition: (builder, node) -> one value per output, None if not wanted."""


@dataclass(frozen=True)
class DecomposePass(ModulePass):
    """Replaces composite operators, so that their contractions show.

    Attention, Einsum, LSTM, GRU, RNN, ConvTranspose and their kin.
    """

    name = "decompose"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        constants = ConstantTable.of(ctx)
        for inner in list(op.walk()):
            if isinstance(inner, OnnxOp) and inner.op_type in RULES:
                _replace(inner, constants)


def _replace(op: OnnxOp, constants: ConstantTable) -> None:
    graph = Graph(InsertPoint.before(op), constants, op.location)
    try:
        results = RULES[op.op_type](graph, op)
    except CannotLower as error:
        error.at = f"node '{', '.join(node_names(op)) or '?'}' ({op.op_type})"
        raise
    for output, result in zip(op.outputs, results, strict=False):
        if output is not None:
            assert result is not None, op
            assert result.type == output.type, (str(result.type), str(output.type))
            output.replace_all_uses_with(result)
    Rewriter.erase_op(op)
