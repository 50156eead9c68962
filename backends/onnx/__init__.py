"""The `onnx` backend: the quantised model as standard ONNX, so that others consume mxc's decisions.

Takes the module at the mx level and writes `model.onnx` and `manifest.json`. With opset 28 (the
default) block tensors are blocked QuantizeLinear/DequantizeLinear with E8M0 scales; with opset 24
they take a form that onnxruntime runs, see `mxc.backends.onnx.blocks`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

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

    def emit(self, ctx: Context, module: ModuleOp, folder: Path) -> None:
        model = export(ctx, module, self.opset)
        (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
        manifest = {
            "backend": self.name,
            "opset": self.opset,
            "inputs": [value.name for value in model.graph.input],
            "outputs": [value.name for value in model.graph.output],
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
