"""MatMulNBits against onnxruntime, which runs it itself; and what is refused."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from mxc.errors import ImportFailed
from mxc.importer import import_model
from tests.fuzz.check import check
from tests.fuzz.generate import Fuzzed
from tests.fuzz.graph import Tensor, session

RNG = np.random.default_rng(11)


def n_bits(
    bits: int, k: int, n: int, block: int, *, zeros: str = "", order: bool = False, **extra: Any
) -> Any:
    """A model of one MatMulNBits with random weights."""
    blocks = -(-k // block)
    row = -(-blocks * bits // 8)
    weights: dict[str, Any] = {
        "B": RNG.integers(0, 256, (n, blocks, block * bits // 8), np.uint8),
        "scales": RNG.uniform(0.01, 0.1, (n, blocks)).astype(np.float32),
    }
    if zeros == "packed":
        weights["zp"] = RNG.integers(0, 256, (n, row), np.uint8)
    if zeros == "float":
        weights["zp"] = RNG.uniform(1, 3, (n, blocks)).astype(np.float32)
    inputs = ["A", "B", "scales", "zp" if zeros else ""]
    if order:
        weights["g"] = np.arange(k, dtype=np.int32)[::-1] // block
        inputs.append("g")
    node = helper.make_node(
        "MatMulNBits", inputs, ["y"], name="nb", domain="com.microsoft",
        **{"K": k, "N": n, "bits": bits, "block_size": block, **extra},
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("A", 1, [2, 3, k])],
        [helper.make_tensor_value_info("y", 1, [2, 3, n])],
        [numpy_helper.from_array(v, name) for name, v in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


CASES = {
    "4 bits": n_bits(4, 64, 5, 32),
    "4 bits, zero points": n_bits(4, 96, 5, 32, zeros="packed"),
    "4 bits, a part of a block": n_bits(4, 40, 3, 16, zeros="packed"),
    "4 bits, float zero points": n_bits(4, 64, 5, 32, zeros="float"),
    "8 bits": n_bits(8, 64, 5, 32, zeros="packed"),
    "2 bits": n_bits(2, 64, 4, 16, zeros="packed"),
}


@pytest.mark.parametrize("format", ["f32", "mxfp8"])
@pytest.mark.parametrize("name", CASES)
def test_it_is_what_onnxruntime_computes(name: str, format: str) -> None:
    model = CASES[name]
    k = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    inputs = {"A": RNG.uniform(-1, 1, (2, 3, k)).astype(np.float32)}
    [wanted] = session(model).run(None, inputs)
    result = Tensor("y", wanted, 1e-4 * float(np.abs(wanted).max()))
    assert check(Fuzzed(0, model, inputs, [result], Counter()), format) == ""


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (n_bits(4, 64, 5, 32, order=True), "g_idx"),
        (n_bits(3, 64, 5, 32), "bits=3"),
        (n_bits(4, 64, 5, 32, N=6), "packed input has the shape"),
        (n_bits(4, 64, 5, 32, nibbles=1), "attribute 'nibbles'"),
    ],
)
def test_what_is_refused(tmp_path: Path, model: Any, words: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ImportFailed, match=rf"node 'nb' \(MatMulNBits\): .*{words}"):
        import_model(path)


def test_the_integers_stay(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(CASES["4 bits"].SerializeToString())
    assert "tensor<5x64xui4>" in str(import_model(path).module)
