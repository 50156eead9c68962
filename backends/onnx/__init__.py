"""The `onnx` backend: the quantised model as standard ONNX, so that others consume mxc's decisions.

Takes the module at the mx level and writes `model.onnx` and `manifest.json`. With opset 28 (the
default) block tensors are blocked QuantizeLinear/DequantizeLinear with E8M0 scales; with opset 24
they take a form that onnxruntime runs, see `mxc.backends.onnx.blocks`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from onnx import ValueInfoProto, helper
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from mxc import __version__
from mxc.backends.base import Backend
from mxc.backends.onnx.export import OPSETS, export
from mxc.errors import BadInput

__all__ = ["OPSETS", "OnnxBackend", "export"]


class OnnxBackend(Backend):
    """Writes `model.onnx` and `manifest.json`."""

    name: ClassVar[str] = "onnx"
    level: ClassVar[str] = "mx"

    def __init__(self, opset: int = 28) -> None:
        if opset not in OPSETS:
            known = " and ".join(map(str, OPSETS))
            raise BadInput(f"opset {opset} cannot be written", hint=f"{known} can")
        self.opset = opset

    def with_opset(self, opset: int) -> OnnxBackend:
        return OnnxBackend(opset)

    def emit(self, ctx: Context, module: ModuleOp, folder: Path) -> None:
        model = export(ctx, module, self.opset)
        (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
        manifest = {
            "mxc": __version__,
            "model": model.graph.name,
            "target": self.name,
            "opset": self.opset,
            "inputs": [_port(value) for value in model.graph.input],
            "outputs": [_port(value) for value in model.graph.output],
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def _port(value: ValueInfoProto) -> dict[str, Any]:
    kind = value.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    shape = [dim.dim_value for dim in kind.shape.dim]
    return {"name": value.name, "dtype": dtype.name, "shape": shape}
