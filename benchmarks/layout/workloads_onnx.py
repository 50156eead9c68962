"""The workloads of the bench as ONNX models, at small sizes, and the plans of what is extracted.

    python benchmarks/layout/workloads_onnx.py [--out FOLDER] [--format mxfp8] [--emit all]

Prints, per workload, quantised + requantised versions under every policy: first for the problem
that the compiler extracts from the ONNX file, then for the problem that the bench builds by hand
at real sizes. Sizes are multiples of 32 and large enough for all axes to have blocks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mxc.driver import Options
from mxc.layout import Terms, problem_of
from mxc.passes.layout.policies import POLICIES, policy
from mxc.passes.layout.problem import Problem

OPSET = 18


@dataclass
class Model:
    """An ONNX model in the making; methods give names of values."""

    name: str
    nodes: list[onnx.NodeProto] = field(default_factory=lambda: [])
    inputs: list[onnx.ValueInfoProto] = field(default_factory=lambda: [])
    weights: list[onnx.TensorProto] = field(default_factory=lambda: [])
    outputs: list[str] = field(default_factory=lambda: [])

    def input(self, name: str, *shape: int, kind: int = TensorProto.FLOAT) -> str:
        """An input of the model."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, array: np.ndarray, name: str = "") -> str:
        """An initializer."""
        name = name or f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        """A weight of seeded random numbers, which are small."""
        random = np.random.default_rng(len(self.weights))
        return self.constant((random.standard_normal(shape) * 0.05).astype(np.float32), name)

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """A node with one output, which has its name."""
        name = name or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def matmul(self, a: str, b: str, name: str = "") -> str:
        """A product."""
        return self.op("MatMul", a, b, name=name)

    def transpose(self, x: str, *permutation: int) -> str:
        """Axes exchanged."""
        return self.op("Transpose", x, perm=permutation)

    def reshape(self, x: str, *shape: int) -> str:
        """Another shape."""
        return self.op("Reshape", x, self.constant(np.array(shape, np.int64)))

    def number(self, value: float) -> str:
        """A scalar."""
        return self.constant(np.array(value, np.float32))

    def norm(self, x: str, width: int) -> str:
        """A layer normalisation along the last axis."""
        return self.op("LayerNormalization", x, self.constant(np.ones(width, np.float32)))

    def proto(self, *outputs: str) -> onnx.ModelProto:
        """The finished model; the shapes of its outputs are inferred."""
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, infos, self.weights)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def _attention(m: Model, q: str, k: str, v: str, p: str = "") -> str:
    """Softmax(q kᵀ) v of [heads, rows, head] each; returns the same shape."""
    scores = m.matmul(q, m.transpose(k, 0, 2, 1), name=f"{p}scores")
    probs = m.op("Softmax", scores, axis=-1, name=f"{p}probs")
    return m.matmul(probs, v, name=f"{p}attended")


def _rope(m: Model, x: str, tokens: int, head: int) -> str:
    """Rotary positions: x cos + rotate(x) sin."""
    ints = [m.constant(np.array([n], np.int64)) for n in (0, head // 2, head, 2)]
    low = m.op("Slice", x, ints[0], ints[1], ints[3])
    high = m.op("Slice", x, ints[1], ints[2], ints[3])
    turned = m.op("Concat", m.op("Neg", high), low, axis=-1)
    cos, sin = m.weight(f"{x}_cos", tokens, head), m.weight(f"{x}_sin", tokens, head)
    return m.op("Add", m.op("Mul", x, cos), m.op("Mul", turned, sin), name=f"{x}_rope")


def llama(blocks: int = 1) -> onnx.ModelProto:
    """Decoder blocks: grouped-query attention with RoPE, SwiGLU."""
    m = Model("llama")
    x = m.input("x", 64, 256)
    for index in range(blocks):
        x = _decoder(m, x, f"b{index}." if blocks > 1 else "")
    return m.proto(x)


def _decoder(m: Model, x: str, p: str) -> str:
    """One decoder block; `p` begins the names of its values."""
    t, w, kv, group, d, hidden = 64, 256, 2, 4, 32, 512
    normed = m.norm(x, w)
    flat = {
        name: m.matmul(normed, m.weight(f"{p}w{name}", w, size), name=f"{p}{name}_flat")
        for name, size in (("q", w), ("k", kv * d), ("v", kv * d))
    }
    q = m.transpose(m.reshape(flat["q"], t, kv * group, d), 1, 0, 2)
    q = m.reshape(_rope(m, q, t, d), kv, group * t, d)
    k = _rope(m, m.transpose(m.reshape(flat["k"], t, kv, d), 1, 0, 2), t, d)
    v = m.transpose(m.reshape(flat["v"], t, kv, d), 1, 0, 2)
    attended = m.reshape(_attention(m, q, k, v, p), kv * group, t, d)
    attended = m.reshape(m.transpose(attended, 1, 0, 2), t, w)
    middle = m.op("Add", x, m.matmul(attended, m.weight(f"{p}wo", w, w), name=f"{p}projected"))
    normed = m.norm(middle, w)
    gate, up = (
        m.matmul(normed, m.weight(f"{p}w{n}", w, hidden), name=f"{p}{n}") for n in ("gate", "up")
    )
    active = m.op("Mul", m.op("Mul", gate, m.op("Sigmoid", gate)), up, name=f"{p}active")
    down = m.matmul(active, m.weight(f"{p}wdown", hidden, w), name=f"{p}down")
    return m.op("Add", middle, down, name=f"{p}out")


def attention() -> onnx.ModelProto:
    """Multi-head attention alone."""
    heads, tokens, head = 2, 64, 32
    m = Model("attention")
    q, k = (m.op("Relu", m.input(f"{n}_raw", heads, tokens, head), name=n) for n in "qk")
    flat = m.op("Relu", m.input("v_raw", tokens, heads * head), name="v")
    v = m.transpose(m.reshape(flat, tokens, heads, head), 1, 0, 2)
    return m.proto(_attention(m, q, k, v))


def mixer() -> onnx.ModelProto:
    """An MLP-Mixer block."""
    b, s, c, hs, hc = 2, 64, 96, 128, 160
    m = Model("mixer")
    x = m.input("x", b, s, c)
    turned = m.transpose(m.norm(x, c), 0, 2, 1)
    hidden = m.op("Relu", m.matmul(turned, m.weight("wt1", s, hs)))
    mixed = m.transpose(m.matmul(hidden, m.weight("wt2", hs, s)), 0, 2, 1)
    middle = m.op("Add", x, mixed)
    hidden = m.op("Relu", m.matmul(m.norm(middle, c), m.weight("wc1", c, hc)))
    return m.proto(m.op("Add", middle, m.matmul(hidden, m.weight("wc2", hc, c)), name="out"))


def linear_attention() -> onnx.ModelProto:
    """Non-causal linear attention: q (kᵀ v)."""
    heads, tokens, head = 2, 96, 64
    m = Model("linear-attention")
    q, k, v = (m.op("Relu", m.input(f"{n}_raw", heads, tokens, head), name=n) for n in "qkv")
    return m.proto(m.matmul(q, m.matmul(m.transpose(k, 0, 2, 1), v, name="kv"), name="out"))


def chunked_attention() -> onnx.ModelProto:
    """Linear attention in chunks: a part within chunks, and states between them."""
    chunks, heads, chunk, head = 3, 2, 64, 96
    m = Model("chunked-attention")
    shape = (chunks, heads, chunk, head)
    q, k, v = (m.op("Relu", m.input(f"{n}_raw", *shape), name=n) for n in "qkv")
    turned = m.transpose(k, 0, 1, 3, 2)
    scores = m.matmul(q, turned, name="scores")
    mask = m.constant(np.tril(np.ones((chunk, chunk), np.float32)))
    inside = m.matmul(m.op("Mul", scores, mask, name="masked"), v, name="inside")
    local = m.matmul(turned, v, name="local")
    first = m.constant(np.array(0, np.int64))
    state = m.op("CumSum", local, first, exclusive=1, name="state")
    return m.proto(m.op("Add", inside, m.matmul(q, state, name="between"), name="out"))


def monarch() -> onnx.ModelProto:
    """Four stages that contract one axis each, of three in turn."""
    size = 32
    m = Model("monarch")
    x = m.op("Relu", m.input("x_raw", 2, size, size, size), name="x")
    for index, axis in enumerate((1, 2, 3, 1)):
        order = [0, *(a for a in (1, 2, 3) if a != axis), axis]
        x = m.matmul(m.transpose(x, *order), m.weight(f"w{index}", size, size))
        x = m.transpose(x, *(order.index(a) for a in range(4)))
    return m.proto(x)


def tied_embeddings() -> onnx.ModelProto:
    """The table is gathered by row at the bottom and multiplied with at the top."""
    tokens, width, words = 32, 96, 320
    m = Model("tied")
    ids = m.input("ids", tokens, kind=TensorProto.INT64)
    table = m.weight("table", words, width)
    rows = m.op("Gather", table, ids, name="rows")
    normed = m.norm(m.op("Relu", rows), width)
    return m.proto(m.matmul(normed, m.transpose(table, 1, 0), name="logits"))


def gram_pair() -> onnx.ModelProto:
    """Both Gram matrices of one gradient."""
    m = Model("gram")
    x = m.op("Relu", m.input("grad", 64, 96), name="x")
    turned = m.transpose(x, 1, 0)
    return m.proto(m.matmul(x, turned, name="left"), m.matmul(turned, x, name="right"))


def muon() -> onnx.ModelProto:
    """Five Newton-Schulz steps."""
    rows, columns = 64, 160
    m = Model("muon")
    x = m.op("Mul", m.input("grad", rows, columns), m.number(0.01), name="x0")
    for index in range(5):
        gram = m.matmul(x, m.transpose(x, 1, 0), name=f"a{index}")
        square = m.matmul(gram, gram, name=f"aa{index}")
        weighted = (m.op("Mul", gram, m.number(-4.775)), m.op("Mul", square, m.number(2.0315)))
        moved = m.matmul(m.op("Add", *weighted, name=f"b{index}"), x, name=f"bx{index}")
        kept = m.op("Mul", x, m.number(3.4445))
        x = m.op("Add", kept, moved, name=f"x{index + 1}")
    return m.proto(x)


def mlp_training(rows: int = 128, width: int = 96, layers: int = 4) -> onnx.ModelProto:
    """A training step of a plain MLP: the loss, and the gradients of weights and input."""
    m = Model("mlp-train")
    x = m.op("Mul", m.input("x", rows, width), m.number(0.5), name="x0")
    hidden: list[tuple[str, str, str]] = []
    for index in range(layers):
        weight = m.input(f"w{index}", width, width)
        z = m.matmul(x, weight, name=f"z{index}")
        hidden.append((x, z, weight))
        x = m.op("Relu", z, name=f"x{index + 1}")
    m.op("ReduceSumSquare", x, keepdims=0, name="loss")
    grad = m.op("Mul", x, m.number(2.0), name="dout")
    outputs = ["loss"]
    for index, (x, z, weight) in reversed(list(enumerate(hidden))):
        mask = m.op("Cast", m.op("Greater", z, m.number(0.0)), to=TensorProto.FLOAT)
        dz = m.op("Mul", grad, mask, name=f"dz{index}")
        outputs.append(m.matmul(m.transpose(x, 1, 0), dz, name=f"dw{index}"))
        grad = m.matmul(dz, m.transpose(weight, 1, 0), name=f"dx{index}")
    return m.proto(*outputs, grad)


MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "llama": llama,
    "attention": attention,
    "mixer": mixer,
    "linear-attention": linear_attention,
    "chunked-attention": chunked_attention,
    "monarch": monarch,
    "tied": tied_embeddings,
    "gram": gram_pair,
    "muon": muon,
    "mlp-train": mlp_training,
}
"""By the names that the bench has for the same workloads."""


def write(folder: Path) -> list[Path]:
    """Writes all models as `<name>.onnx`."""
    paths: list[Path] = []
    for name, make in MODELS.items():
        paths.append(folder / f"{name}.onnx")
        onnx.save(make(), paths[-1])
    return paths


def extracted(path: Path, format: str = "mxfp8", emit: str = "all") -> Problem:
    """The problem that the compiler sees in an ONNX file."""
    return problem_of(path, Options(format=format), Terms(emit))


def ops(problem: Problem) -> dict[str, tuple[int, int]]:
    """Quantised and requantised versions under every policy."""
    costs = {name: policy(name)(problem).costs for name in POLICIES}
    return {name: (c.quantize_ops, c.requantize_ops) for name, c in costs.items()}


def main(arguments: Sequence[str]) -> None:
    """Prints the comparison."""
    from layout_workloads import ALL

    parser = argparse.ArgumentParser(description="Plans of the workloads as ONNX models.")
    parser.add_argument("--out", type=Path, help="keep the models there")
    parser.add_argument("--format", default="mxfp8")
    parser.add_argument("--emit", default="all")
    args = parser.parse_args(arguments)
    print(f"| workload | from | {' | '.join(POLICIES)} |")
    print("|---|---|" + "---|" * len(POLICIES))
    with TemporaryDirectory() as temporary:
        for path in write(args.out or Path(temporary)):
            by_hand = ALL[path.stem]().with_prices(emit=args.emit)
            for kind, problem in (
                ("ONNX", extracted(path, args.format, args.emit)),
                ("bench", by_hand),
            ):
                cells = " | ".join(f"{a}+{b}" for a, b in ops(problem).values())
                print(f"| {path.stem} | {kind} | {cells} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
