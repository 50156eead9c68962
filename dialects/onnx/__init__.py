"""The `onnx` dialect: one operation per operator of ONNX's default domain, built from its schema.

Always the semantics of the newest opset of the installed onnx package; the importer upgrades the
nodes of older models.
"""

from mxc.dialects.onnx.ops import OnnxOp
from mxc.dialects.onnx.schema import ONNX, op_class, op_types

__all__ = ["ONNX", "OnnxOp", "op_class", "op_types"]
