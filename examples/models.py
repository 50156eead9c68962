"""Small ONNX models, built by script: `python examples/models.py mlp mlp.onnx`.

Weights are seeded, so a model is the same file every time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18


class Builder:
    """An ONNX graph under construction: each method adds one node and gives its output's name."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, array: np.ndarray, name: str = "") -> str:
        """An initializer with the value `array`."""
        name = name or f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        """A random weight, scaled by the square root of its inputs."""
        fan_in = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
        values = self.random.standard_normal(shape) / np.sqrt(fan_in)
        return self.constant(values.astype(np.float32), name)

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: object) -> str:
        """A node of one output."""
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def linear(self, x: str, name: str, inputs: int, outputs: int) -> str:
        """A product with a weight, and a bias: `x @ weight + bias`."""
        product = self.node("MatMul", x, self.weight(f"{name}.weight", inputs, outputs), name=name)
        return self.node("Add", product, self.weight(f"{name}.bias", outputs))

    def norm(self, x: str, name: str, width: int) -> str:
        """Layer normalisation of the last axis."""
        scale = self.constant(np.ones(width, np.float32), f"{name}.scale")
        shift = self.constant(np.zeros(width, np.float32), f"{name}.shift")
        return self.node("LayerNormalization", x, scale, shift, name=name, axis=-1)

    def gelu(self, x: str) -> str:
        """GELU in its tanh form."""
        cube = self.node("Mul", x, self.node("Mul", x, x))
        inner = self.node("Add", x, self.node("Mul", cube, self.scalar(0.044715)))
        bent = self.node("Tanh", self.node("Mul", inner, self.scalar(0.7978845608)))
        half = self.node("Mul", x, self.scalar(0.5))
        return self.node("Mul", half, self.node("Add", bent, self.scalar(1.0)))

    def scalar(self, value: float) -> str:
        """A constant of rank 0."""
        return self.constant(np.array(value, np.float32))

    def shape(self, *sizes: int) -> str:
        """A constant shape."""
        return self.constant(np.array(sizes, np.int64))

    def model(
        self, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """The finished model, checked."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return model


def value(name: str, *shape: int, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """A graph input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def mlp() -> onnx.ModelProto:
    """Three linear layers with ReLU: 64 -> 128 -> 128 -> 10."""
    b = Builder()
    h = b.node("Relu", b.linear("x", "fc1", 64, 128))
    h = b.node("Relu", b.linear(h, "fc2", 128, 128))
    b.node("Identity", b.linear(h, "fc3", 128, 10), name="logits")
    return b.model("mlp", [value("x", 4, 64)], [value("logits", 4, 10)])


def cnn() -> onnx.ModelProto:
    """Two convolutions, pooling and a classifier on 1 x 16 x 16 images."""
    b = Builder()
    h = b.node("Conv", "image", b.weight("conv1", 32, 1, 3, 3), pads=[1, 1, 1, 1])
    h = b.node("MaxPool", b.node("Relu", h), kernel_shape=[2, 2], strides=[2, 2])
    h = b.node("Conv", h, b.weight("conv2", 64, 32, 3, 3), pads=[1, 1, 1, 1])
    h = b.node("GlobalAveragePool", b.node("Relu", h))
    h = b.node("Reshape", h, b.shape(1, 64))
    b.node("Softmax", b.linear(h, "classes", 64, 10), name="probabilities", axis=-1)
    return b.model("cnn", [value("image", 1, 1, 16, 16)], [value("probabilities", 1, 10)])


def attention(b: Builder, x: str, name: str, heads: int, tokens: int, width: int) -> str:
    """Causal self-attention on [1, tokens, width]."""
    split = b.shape(1, tokens, heads, width // heads)
    query, key, content = (
        b.node("Reshape", b.linear(x, f"{name}.{part}", width, width), split)
        for part in ("query", "key", "value")
    )
    query = b.node("Transpose", query, perm=[0, 2, 1, 3])
    content = b.node("Transpose", content, perm=[0, 2, 1, 3])
    scores = b.node("MatMul", query, b.node("Transpose", key, perm=[0, 2, 3, 1]))
    scores = b.node("Mul", scores, b.scalar((width // heads) ** -0.5))
    mask = np.triu(np.full((tokens, tokens), -1e9, np.float32), 1)
    scores = b.node("Softmax", b.node("Add", scores, b.constant(mask)), axis=-1)
    mixed = b.node("Transpose", b.node("MatMul", scores, content), perm=[0, 2, 1, 3])
    merged = b.node("Reshape", mixed, b.shape(1, tokens, width))
    return b.linear(merged, f"{name}.output", width, width)


def gpt(layers: int, tokens: int = 16, width: int = 64, vocabulary: int = 128) -> onnx.ModelProto:
    """A decoder shaped like GPT-2: `layers` blocks of attention and MLP, tied to no weights."""
    b = Builder()
    h = b.node("Gather", b.weight("tokens", vocabulary, width), "ids")
    h = b.node("Add", h, b.weight("positions", tokens, width))
    for layer in range(layers):
        name = f"block{layer}"
        inner = b.norm(h, f"{name}.norm1", width)
        h = b.node("Add", h, attention(b, inner, name, 4, tokens, width))
        inner = b.linear(b.norm(h, f"{name}.norm2", width), f"{name}.up", width, 4 * width)
        h = b.node("Add", h, b.linear(b.gelu(inner), f"{name}.down", 4 * width, width))
    h = b.norm(h, "norm", width)
    b.node("MatMul", h, b.weight("head", width, vocabulary), name="logits")
    ids = value("ids", 1, tokens, kind=TensorProto.INT64)
    return b.model(f"gpt{layers}", [ids], [value("logits", 1, tokens, vocabulary)])


def transformer() -> onnx.ModelProto:
    """A decoder of two layers."""
    return gpt(2)


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "mlp": mlp,
    "cnn": cnn,
    "transformer": transformer,
}


def main() -> None:
    """Writes the model that the command line names."""
    parser = argparse.ArgumentParser(description="Write a small ONNX model.")
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("file", type=Path)
    args = parser.parse_args()
    onnx.save(MODELS[args.name](), args.file)


if __name__ == "__main__":
    main()
