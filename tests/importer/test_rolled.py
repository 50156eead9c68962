"""Loops that are kept: interpreter and C against onnxruntime, and what cannot be kept."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from mxc.errors import ImportFailed
from mxc.importer import control, import_model
from tests.fuzz.check import check
from tests.fuzz.generate import Fuzzed
from tests.fuzz.graph import Tensor, session

NODE = helper.make_node
RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _few_trips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_TRIPS", 2)
    monkeypatch.setattr(control, "MAX_UNROLLED", 0)


def floats(*shape: int) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def body(
    nodes: Sequence[NodeProto],
    inputs: Sequence[str],
    outputs: Sequence[str],
    weights: dict[str, Any] | None = None,
) -> GraphProto:
    """A graph whose types onnxruntime infers."""
    kinds = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "go2": TensorProto.BOOL}
    kinds |= {"u": TensorProto.UINT8, "u2": TensorProto.UINT8}

    def info(name: str) -> Any:
        shape = [] if name in ("i", "go", "go2") else None
        return helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)

    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()]
    return helper.make_graph(nodes, "body", [*map(info, inputs)], [*map(info, outputs)], tensors)


def case(
    nodes: Sequence[NodeProto],
    inputs: dict[str, np.ndarray],
    weights: dict[str, Any],
    outputs: Sequence[str],
) -> Fuzzed:
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    wanted = session(model).run(None, inputs)
    tensors = [Tensor(k, v, 1e-5) for k, v in zip(outputs, wanted, strict=True)]
    return Fuzzed(0, model, inputs, tensors, Counter())


def counted() -> Fuzzed:
    """A state, a stack, the number of the trip, values and a contraction from outside."""
    inner = body(
        [
            NODE("MatMul", ["s", "w"], ["m"]),
            NODE("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
            NODE("Add", ["m", "f"], ["a"]),
            NODE("Tanh", ["a"], ["s2"]),
            NODE("Mul", ["s2", "k"], ["row"]),
            NODE("Identity", ["go"], ["go2"]),
        ],
        ["i", "go", "s"], ["go2", "s2", "row"], {"k": np.float32(0.5)},
    )  # fmt: skip
    nodes = [
        NODE("Abs", ["x"], ["ax"]),
        NODE("Loop", ["n", "", "ax"], ["last", "rows"], body=inner),
        NODE("Add", ["last", "k2"], ["y"]),
    ]
    weights = {"n": 7, "w": floats(3, 3), "k2": np.float32(0.5)}
    return case(nodes, {"x": floats(2, 3)}, weights, ["y", "rows"])


def bounded() -> Fuzzed:
    """A condition that the data decide, under a known bound; bytes without sign."""
    inner = body(
        [
            NODE("Add", ["s", "s"], ["s2"]),
            NODE("ReduceMax", ["s2"], ["top"], keepdims=0),
            NODE("Less", ["top", "limit"], ["go2"]),
            NODE("Add", ["u", "one"], ["u2"]),
        ],
        ["i", "go", "s", "u"], ["go2", "s2", "u2"],
        {"limit": np.float32(20), "one": np.uint8(100)},
    )  # fmt: skip
    nodes = [NODE("Loop", ["n", "", "x", "v"], ["y", "z"], body=inner)]
    inputs = {"x": np.abs(floats(2, 3)), "v": np.array([1, 250], np.uint8)}
    return case(nodes, inputs, {"n": 9}, ["y", "z"])


def scanned() -> Fuzzed:
    """Two scanned inputs, one from the end, along other axes; stacks in both directions."""
    inner = body(
        [
            NODE("Add", ["s", "a"], ["t"]),
            NODE("Mul", ["t", "b"], ["s2"]),
            NODE("Neg", ["s2"], ["r1"]),
            NODE("Identity", ["s2"], ["r2"]),
        ],
        ["s", "a", "b"], ["s2", "r1", "r2"],
    )  # fmt: skip
    node = NODE(
        "Scan", ["s0", "x", "v"], ["y", "p", "q"], body=inner, num_scan_inputs=2,
        scan_input_axes=[1, 0], scan_input_directions=[0, 1],
        scan_output_axes=[0, 1], scan_output_directions=[1, 0],
    )  # fmt: skip
    inputs = {"s0": floats(3), "x": floats(3, 5), "v": floats(5, 3)}
    return case([node], inputs, {}, ["y", "p", "q"])


def nested() -> Fuzzed:
    """A loop in a loop, which reads the state of the outer one."""
    deepest = body(
        [NODE("Mul", ["t", "s"], ["t2"]), NODE("Identity", ["go"], ["go2"])],
        ["i", "go", "t"], ["go2", "t2"],
    )  # fmt: skip
    inner = body(
        [
            NODE("Loop", ["m", "", "x"], ["w"], body=deepest),
            NODE("Sub", ["s", "w"], ["s2"]),
            NODE("Identity", ["go"], ["go2"]),
        ],
        ["i", "go", "s"], ["go2", "s2"],
    )  # fmt: skip
    nodes = [NODE("Loop", ["n", "", "x"], ["y"], body=inner)]
    return case(nodes, {"x": floats(2, 2)}, {"n": 4, "m": 3}, ["y"])


@pytest.mark.parametrize("format", ["f32", "mxfp8"])
@pytest.mark.parametrize("make", [counted, bounded, scanned, nested], ids=lambda f: f.__name__)
def test_a_kept_loop_gives_what_onnxruntime_gives(make: Any, format: str) -> None:
    assert check(make(), format) == ""


def test_there_is_one_body(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(counted().model.SerializeToString())
    text = str(import_model(path).module)
    assert text.count("scf.for") == text.count("onnx.MatMul") == text.count("onnx.Tanh") == 1


def growing() -> GraphProto:
    return body(
        [NODE("Concat", ["s", "s"], ["s2"], axis=0), NODE("Identity", ["go"], ["go2"])],
        ["i", "go", "s"], ["go2", "s2"],
    )  # fmt: skip


def decided() -> GraphProto:
    nodes = [
        NODE("Add", ["s", "s"], ["s2"]),
        NODE("ReduceMax", ["s2"], ["top"], keepdims=0),
        NODE("Less", ["top", "one"], ["go2"]),
    ]
    return body(nodes, ["i", "go", "s"], ["go2", "s2", "s2"], {"one": np.float32(1)})


@pytest.mark.parametrize(
    ("inner", "outputs", "words"),
    [
        (growing, ["y"], r"'L' \(Loop\).*state 0 changes from float32\[2\] to float32\[4\]"),
        (decided, ["y", "rows"], r"'L' \(Loop\).*condition 'go2' depends on"),
    ],
)
def test_what_cannot_be_kept(tmp_path: Path, inner: Any, outputs: list[str], words: str) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    node = NODE("Loop", ["n", "", "x"], outputs, body=inner(), name="L")
    ports = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([node], "g", [x], ports, [numpy_helper.from_array(np.array(9), "n")])
    path = tmp_path / "m.onnx"
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())
    with pytest.raises(ImportFailed, match=words):
        import_model(path)
