"""Nodes, names and initializers of the ONNX graph that is being written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute
from xdsl.utils.hints import isa

from mxc.dialects.types import numpy_dtype

FLOAT = int(TensorProto.FLOAT)


def onnx_type(element: Attribute) -> int:
    """The TensorProto type of elements of the IR type `element`."""
    return int(helper.np_dtype_to_tensor_dtype(numpy_dtype(element)))


class Writer:
    """Collects what makes a GraphProto; names are those of the nodes, made unique."""

    def __init__(self, reserved: Sequence[str]) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._taken = set(reserved)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.scope = ""
        """The name of the node that is being written; what it needs is named after it."""

    def fresh(self, stem: str) -> str:
        """A name that nothing has yet."""
        name, count = stem, 1
        while name in self._taken:
            name, count = f"{stem}_{count}", count + 1
        self._taken.add(name)
        return name

    def node(self, op_type: str, inputs: Sequence[str], output: str = "", **attrs: Any) -> str:
        """One node with one output, whose name is given or made."""
        return self.nodes_with(
            op_type, inputs, [output or self.fresh(f"{self.scope}/{op_type}")], attrs
        )

    def nodes_with(
        self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], attrs: dict[str, Any]
    ) -> str:
        """One node with the outputs named; gives the first."""
        name = self.fresh(f"{self.scope}/{op_type}:node")
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=name, **attrs))
        return outputs[0]

    def constant(self, array: NDArray[Any], stem: str = "constant") -> str:
        """An initializer; equal arrays share one."""
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = name = self.fresh(stem)
            self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return self._constants[key]

    def ints(self, *values: int) -> str:
        """An int64 vector."""
        return self.constant(np.array(values, np.int64), "ints")

    def f32(self, value: float) -> str:
        """An f32 scalar."""
        return self.constant(np.array(value, np.float32), "f32")


def value_info(name: str, kind: Attribute) -> Any:
    """The declaration of `name` with the type of a tensor."""
    assert isa(kind, TensorType), kind
    return helper.make_tensor_value_info(name, onnx_type(kind.element_type), kind.get_shape())
