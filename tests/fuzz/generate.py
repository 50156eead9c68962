"""Random models: `generate(seed)`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from tests.fuzz import arithmetic, movement, networks
from tests.fuzz.graph import Graph, Tensor, Unfit, session

FAMILIES = (arithmetic.BUILDS, movement.BUILDS, networks.BUILDS)

OPSETS = range(7, 27)


@dataclass(frozen=True)
class Fuzzed:
    """A random model with inputs, and what onnxruntime makes of them."""

    seed: int
    model: ModelProto
    inputs: dict[str, NDArray[Any]]
    outputs: list[Tensor]
    operators: Counter[str]


def generate(seed: int) -> Fuzzed:
    """The model number `seed`: the same at each call, with 1 to 12 nodes and at least one input."""
    rng = np.random.default_rng(seed)
    while True:
        g = Graph(rng, opset=int(rng.choice(OPSETS)))
        wanted = g.integer(1, 12)
        for _ in range(8 * wanted):
            if len(g.nodes) >= wanted:
                break
            before = (list(g.values), dict(g.inputs), dict(g.weights), len(g.nodes))
            try:
                g.choice(g.choice(FAMILIES))(g)
            except Unfit:
                if len(g.nodes) == before[3]:
                    g.values, g.inputs, g.weights = before[:3]
        fuzzed = _finished(seed, g)
        if fuzzed is not None:
            return fuzzed


def _finished(seed: int, g: Graph) -> Fuzzed | None:
    """The model with onnxruntime's outputs; None if nothing came of it."""
    if not g.nodes or not g.inputs:
        return None
    model, outputs = g.model()
    whole = session(_for_ort(model)).run(None, g.inputs)
    results = [
        Tensor(out.name, array, out.tolerance) for out, array in zip(outputs, whole, strict=True)
    ]
    return Fuzzed(seed, model, g.inputs, results, Counter(node.op_type for node in g.nodes))


def _for_ort(model: ModelProto) -> ModelProto:
    """The model in an opset that onnxruntime has; what is generated means the same in it."""
    from tests.fuzz.graph import NEWEST_ORT

    copy = ModelProto()
    copy.CopyFrom(model)
    copy.opset_import[0].version = min(copy.opset_import[0].version, NEWEST_ORT)
    return copy
