"""How the reference runs the graph level: node by node through `onnx.reference`."""

from __future__ import annotations

from mxc.backends.ref.interpreter import Machine, Values, runs
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.onnx.reference import evaluate


@runs(OnnxOp)
def node(machine: Machine, op: OnnxOp, args: Values) -> Values:
    """The node's results, by the reference evaluator of the onnx package."""
    values = iter(args)
    inputs = [None if value is None else next(values) for value in op.inputs]
    return evaluate(op, inputs)
