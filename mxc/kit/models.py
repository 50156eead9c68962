"""ONNX models of the kit: loops of the vector unit one by one, and small networks."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mxc.inputs import Array, Port, random_inputs

OPSET = 20
WIDTH = 21
"""Of the rows that loops run on: no multiple of any vector."""

_ELEMENTWISE = ("Exp", "Sqrt", "Erf", "Tanh", "Sigmoid", "Softplus", "Reciprocal", "Abs", "Neg",
                "Floor", "Round", "Relu", "HardSwish", "Log", "Sin")  # fmt: skip
_BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")
_REDUCTIONS = ("ReduceSum", "ReduceMax", "ReduceMean", "ReduceL2", "ReduceLogSumExp")


class Graph:
    """An ONNX graph under construction, with seeded weights."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.random = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, *shape: int, kind: int = TensorProto.FLOAT) -> str:
        """An input of the model."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """An initializer."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape: int) -> str:
        """A random weight."""
        fan = prod(shape[1:] if len(shape) > 2 else shape[:1])
        values = self.random.standard_normal(shape) / np.sqrt(fan)
        return self.constant(values.astype(np.float32))

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node of one output, called after its operator."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def give(self, value: str, kind: int = TensorProto.FLOAT) -> None:
        """Makes `value` an output, whose shape is inferred."""
        self.outputs.append(helper.make_tensor_value_info(value, kind, None))

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs, in order."""
        return [info.name for info in self.outputs]

    def save(self, folder: Path) -> Path:
        """Writes the model."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        path = folder / f"{self.name}.onnx"
        path.write_bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())
        return path


def loop_models() -> tuple[Graph, ...]:
    """Models of loops, one output per check."""
    return _elementwise(), _reductions(), _movement()


def loop_inputs(ports: Sequence[Port]) -> tuple[Array, ...]:
    """Random data with edge values in front: zeros, subnormals, large ones, infinities, NaN."""
    values = np.array(
        [0, -0.0, 1e-45, -1e-39, 3.4e38, -1e30, np.inf, -np.inf, np.nan, 88.5, -104], np.float32
    )
    arrays = [array.copy() for array in random_inputs(ports, 3)]
    for array in arrays:
        if array.dtype == np.float32:
            array.reshape(-1)[: len(values)] = values
    return tuple(arrays)


def _elementwise() -> Graph:
    g = Graph("elementwise")
    x, y = g.input("x", 3, WIDTH), g.input("y", 3, WIDTH)
    for kind in _ELEMENTWISE:
        g.give(g.node(kind, x))
    for kind in _BINARY:
        g.give(g.node(kind, x, y))
    for kind in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        g.give(g.node("Cast", g.node("Cast", x, to=kind), to=TensorProto.FLOAT))
    g.give(g.node("Div", x, g.constant(np.array(8.0, np.float32))))
    g.give(g.node("Where", g.node("Less", x, y), x, y))
    return g


def _reductions() -> Graph:
    g = Graph("reductions")
    x = g.input("x", 4, 5, WIDTH)
    for kind in _REDUCTIONS:
        for axis in (1, 2):
            g.give(g.node(kind, x, g.constant(np.array([axis], np.int64)), keepdims=1))
    for axis in (0, -1):
        g.give(g.node("Softmax", x, axis=axis))
    scale, shift = (g.constant(np.full(WIDTH, v, np.float32)) for v in (1.5, 0.25))
    g.give(g.node("LayerNormalization", x, scale, shift, axis=-1))
    g.give(g.node("ArgMax", x, axis=-1), TensorProto.INT64)
    g.give(g.node("CumSum", x, g.constant(np.array(2, np.int64))))
    return g


def _movement() -> Graph:
    g = Graph("movement")
    x = g.input("x", 1, 4, 6, WIDTH)
    g.give(g.node("Transpose", x, perm=[0, 3, 1, 2]))
    g.give(g.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]))
    g.give(g.node("AveragePool", x, kernel_shape=[2, 3], strides=[1, 2]))
    pads = g.constant(np.array([0, 0, 1, 2, 0, 0, 0, 3], np.int64))
    g.give(g.node("Pad", x, pads))
    g.give(g.node("Gather", x, g.constant(np.array([3, 0, 0], np.int64)), axis=1))
    g.give(g.node("Concat", x, x, axis=2))
    return g


def network_models() -> tuple[Graph, ...]:
    """Small networks."""
    return _perceptron(), _convolutional(), _attention()


def _linear(g: Graph, x: str, inputs: int, outputs: int) -> str:
    return g.node("Add", g.node("MatMul", x, g.weight(inputs, outputs)), g.weight(outputs))


def _perceptron() -> Graph:
    g = Graph("perceptron")
    h = g.node("Relu", _linear(g, g.input("x", 3, 72), 72, 100))
    g.give(g.node("Softmax", _linear(g, h, 100, 10), axis=-1))
    return g


def _convolutional() -> Graph:
    g = Graph("convolutional")
    h = g.node("Conv", g.input("image", 1, 3, 12, 12), g.weight(32, 3, 3, 3), pads=[1, 1, 1, 1])
    h = g.node("MaxPool", g.node("Relu", h), kernel_shape=[2, 2], strides=[2, 2])
    kept = h
    h = g.node("Relu", g.node("Conv", h, g.weight(32, 32, 3, 3), pads=[1, 1, 1, 1]))
    h = g.node("Conv", h, g.weight(32, 1, 3, 3), pads=[1, 1, 1, 1], group=32)
    h = g.node("Add", g.node("Conv", h, g.weight(32, 16, 1, 1), group=2), kept)
    h = g.node("Flatten", g.node("GlobalAveragePool", h))
    g.give(_linear(g, h, 32, 10))
    return g


def _attention() -> Graph:
    g = Graph("attention")
    tokens, heads, width = 9, 2, 64
    x = g.input("x", 1, tokens, width)
    ones, zeros = (g.constant(np.full(width, v, np.float32)) for v in (1.0, 0.0))
    h = g.node("LayerNormalization", x, ones, zeros, axis=-1)
    split = g.constant(np.array([1, tokens, heads, width // heads], np.int64))
    q, k, v = (g.node("Reshape", _linear(g, h, width, width), split) for _ in range(3))
    q, v = (g.node("Transpose", one, perm=[0, 2, 1, 3]) for one in (q, v))
    scores = g.node("MatMul", q, g.node("Transpose", k, perm=[0, 2, 3, 1]))
    scores = g.node("Mul", scores, g.constant(np.array((width // heads) ** -0.5, np.float32)))
    mixed = g.node("MatMul", g.node("Softmax", scores, axis=-1), v)
    mixed = g.node("Transpose", mixed, perm=[0, 2, 1, 3])
    merged = g.node("Reshape", mixed, g.constant(np.array([1, tokens, width], np.int64)))
    h = g.node("Add", x, _linear(g, merged, width, width))
    g.give(g.node("Add", h, _linear(g, g.node("Gelu", _linear(g, h, width, 96)), 96, width)))
    return g
