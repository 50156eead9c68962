"""Functions, If, Loop, Scan, sequences and optionals: none is left after importing."""

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from mxc.dialects.location import node_names
from mxc.errors import ImportFailed
from mxc.importer import trace
from tests.importer.helpers import Import, info, model_of, nodes_of, ops_of, run

NODE = helper.make_node
X = info("x", [2, 3])
DATA = np.arange(6, dtype=np.float32).reshape(2, 3)


def graph(nodes: list[onnx.NodeProto], inputs: list[str], outputs: list[str]) -> onnx.GraphProto:
    formal = [helper.make_empty_tensor_value_info(name) for name in inputs]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    return helper.make_graph(nodes, "body", formal, results)


def const(name: str, value: Any, dtype: Any = np.int64) -> onnx.NodeProto:
    return NODE("Constant", [], [name], value=onnx.numpy_helper.from_array(np.array(value, dtype)))


def choice(then: onnx.GraphProto, other: onnx.GraphProto) -> onnx.NodeProto:
    return NODE("If", ["c"], ["y"], name="choose", then_branch=then, else_branch=other)


NEGATE = graph([NODE("Neg", ["x"], ["t"], name="neg")], [], ["t"])
DOUBLE = graph([NODE("Add", ["x", "x"], ["e"], name="twice")], [], ["e"])
SHRINK = graph([NODE("ReduceSum", ["x"], ["e"])], [], ["e"])
FLAG = info("c", [], np.bool_)


@pytest.mark.parametrize(("flag", "left"), [("true", ["Neg"]), ("false", ["Add"])])
def test_known_condition_leaves_one_branch(flag: str, left: list[str], load: Import) -> None:
    imported = load(model_of([choice(NEGATE, DOUBLE)], [X, FLAG], ["y"]), values={"c": flag})
    assert ops_of(imported) == left
    assert node_names(nodes_of(imported)[0]) == (f"choose/{'neg' if left == ['Neg'] else 'twice'}",)


def test_unknown_condition_computes_both_branches(load: Import) -> None:
    imported = load(model_of([choice(NEGATE, DOUBLE)], [X, FLAG], ["y"]))
    assert ops_of(imported) == ["Neg", "Add", "Where"]
    for flag, want in ((True, -DATA), (False, 2 * DATA)):
        assert (run(imported, {"x": DATA, "c": np.array(flag)})["y"] == want).all()


def test_branches_of_different_sizes_need_a_known_condition(load: Import) -> None:
    model = model_of([choice(NEGATE, SHRINK)], [X, FLAG], ["y"])
    with pytest.raises(ImportFailed, match=r"'choose' \(If\).*'c' depends.*--input-value"):
        load(model)
    assert ops_of(load(model, values={"c": "false"})) == ["ReduceSum"]


def loop(trips: str, condition: str, body: onnx.GraphProto, outputs: list[str]) -> onnx.NodeProto:
    return NODE("Loop", [trips, condition, "x"], outputs, name="loop", body=body)


ACCUMULATE = graph(
    [NODE("Add", ["s", "s"], ["s2"]), NODE("ReduceMax", ["s2"], ["m"], keepdims=0)],
    ["i", "go", "s"],
    ["go", "s2", "m"],
)


def test_loop_of_known_length_is_unrolled(load: Import) -> None:
    nodes = [const("n", 3), loop("n", "", ACCUMULATE, ["y", "all"])]
    imported = load(model_of(nodes, [X], ["y", "all"]))
    got = run(imported, {"x": DATA})
    assert (got["y"] == 8 * DATA).all()
    assert got["all"].tolist() == [10, 20, 40]
    assert "Loop" not in ops_of(imported)


def test_loop_that_ends_by_a_known_condition(load: Import) -> None:
    nodes = [const("two", 2), NODE("Less", ["i", "two"], ["more"]), NODE("Neg", ["s"], ["s2"])]
    body = graph(nodes, ["i", "go", "s"], ["more", "s2"])
    imported = load(model_of([loop("", "", body, ["y"])], [X], ["y"]))
    assert ops_of(imported) == ["Neg"] * 3


def test_loop_bounded_by_a_known_length_may_stop_early(load: Import) -> None:
    nodes = [
        NODE("Add", ["s", "s"], ["s2"]),
        NODE("ReduceMax", ["s2"], ["m"], keepdims=0),
        const("ten", 10, np.float32),
        NODE("Less", ["m", "ten"], ["more"]),
    ]
    body = graph(nodes, ["i", "go", "s"], ["more", "s2"])
    imported = load(model_of([const("n", 6), loop("n", "", body, ["y"])], [X], ["y"]))
    for scale, doublings in ((1, 1), (0.25, 3), (1e-6, 6), (100, 1)):
        x = DATA * np.float32(scale)
        assert (run(imported, {"x": x})["y"] == x * np.float32(2**doublings)).all()


def test_loops_of_unknown_or_great_length_are_refused(load: Import) -> None:
    node = loop("n", "", ACCUMULATE, ["y", "all"])
    with pytest.raises(ImportFailed, match=r"'loop' \(Loop\): its trip count is not a constant"):
        load(model_of([node], [X, info("n", [], np.int64)], ["y"]))
    with pytest.raises(ImportFailed, match="up to 1099511627776 times; 1000000 are possible"):
        load(model_of([const("n", 2**40), node], [X], ["y"]))
    endless = graph([NODE("Identity", ["s"], ["s2"])], ["i", "go", "s"], ["go", "s2"])
    with pytest.raises(ImportFailed, match="nothing but its condition says how often"):
        load(model_of([loop("", "", endless, ["y"])], [X], ["y"]))


def test_scan(load: Import) -> None:
    body = graph(
        [NODE("Add", ["s", "v"], ["s2"]), NODE("Identity", ["s2"], ["o"])], ["s", "v"], ["s2", "o"]
    )
    node = NODE(
        "Scan", ["z", "x"], ["last", "y"], body=body, num_scan_inputs=1, scan_input_axes=[1],
        scan_input_directions=[1], scan_output_axes=[-1],
    )  # fmt: skip
    imported = load(model_of([node], [X], ["last", "y"], {"z": np.zeros(2, np.float32)}))
    got = run(imported, {"x": DATA})
    assert (got["y"] == DATA[:, ::-1].cumsum(axis=1)).all()
    assert (got["last"] == DATA.sum(axis=1)).all()


def test_sequences_vanish(load: Import) -> None:
    nodes = [
        NODE("SequenceEmpty", [], ["s0"]),
        NODE("SequenceInsert", ["s0", "x"], ["s1"]),
        NODE("Neg", ["x"], ["n"]),
        NODE("SequenceInsert", ["s1", "n", "first"], ["s2"]),
        NODE("SequenceLength", ["s2"], ["len"]),
        NODE("ConcatFromSequence", ["s2"], ["both"], axis=0),
        NODE("Sub", ["len", "one"], ["last"]),
        NODE("SequenceAt", ["s2", "last"], ["y"]),
    ]
    weights: dict[str, NDArray[Any]] = {"first": np.array(0), "one": np.array(1)}
    imported = load(model_of(nodes, [X], ["both", "y", "len"], weights))
    assert ops_of(imported) == ["Neg", "Concat"]
    got = run(imported, {"x": DATA})
    assert (got["both"] == np.concatenate([-DATA, DATA])).all()
    assert (got["y"] == DATA).all()
    assert got["len"] == 2


def test_split_to_sequence_and_map(load: Import) -> None:
    body = graph([NODE("Neg", ["e"], ["o"])], ["e"], ["o"])
    nodes = [
        NODE("SplitToSequence", ["x"], ["s"], axis=1, keepdims=0),
        NODE("SequenceMap", ["s"], ["t"], body=body),
        NODE("ConcatFromSequence", ["t"], ["y"], axis=0, new_axis=1),
    ]
    got = run(load(model_of(nodes, [X], ["y"])), {"x": DATA})
    assert (got["y"] == -DATA.T).all()


def test_optionals_vanish(load: Import) -> None:
    nodes = [
        NODE("Optional", ["x"], ["o"]),
        NODE("OptionalHasElement", ["o"], ["has"]),
        NODE("OptionalGetElement", ["o"], ["y"]),
    ]
    imported = load(model_of(nodes, [X], ["y", "has"], opset=18))
    assert ops_of(imported) == []
    assert run(imported, {"x": DATA})["has"]


def function(name: str, nodes: list[onnx.NodeProto], **kwargs: Any) -> onnx.FunctionProto:
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a", "b"], ["r"], nodes, imports, **kwargs)


def with_functions(nodes: list[onnx.NodeProto], *functions: onnx.FunctionProto) -> onnx.ModelProto:
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    return model_of(nodes, [X], ["y"], opset_imports=imports, functions=functions)


def test_functions_are_inlined_with_attributes_and_omitted_inputs(load: Import) -> None:
    leaky = NODE("LeakyRelu", ["a"], ["t"], name="leak")
    leaky.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type="FLOAT"))
    inner = function("Inner", [leaky, NODE("Clip", ["t", "b"], ["r"])], attributes=["slope"])
    outer = function(
        "Outer", [NODE("Inner", ["a", "b"], ["r"], domain="own", name="in", slope=0.5)]
    )
    imported = load(
        with_functions([NODE("Outer", ["x"], ["y"], domain="own", name="out")], inner, outer)
    )
    assert ops_of(imported) == ["LeakyRelu", "Clip"]
    assert node_names(nodes_of(imported)[0]) == ("out/in/leak",)
    assert nodes_of(imported)[0].attr("alpha") == 0.5
    x = DATA - 3
    assert (run(imported, {"x": x})["y"] == np.where(x < 0, x / 2, x)).all()


def test_functions_that_call_each_other_are_refused(load: Import) -> None:
    a = function("A", [NODE("B", ["a", "b"], ["r"], domain="own")])
    b = function("B", [NODE("A", ["a", "b"], ["r"], domain="own")])
    with pytest.raises(ImportFailed, match="without end"):
        load(with_functions([NODE("A", ["x", "x"], ["y"], domain="own")], a, b))


def test_operators_without_a_lowering_are_expanded(load: Import) -> None:
    model = model_of([NODE("HardSwish", ["x"], ["y"])], [X], ["y"])
    assert ops_of(load(model)) == ["HardSwish"]
    expanded = load(model, has_lowering="HardSwish".__ne__)
    assert "HardSwish" not in ops_of(expanded)
    x = DATA - 3
    np.testing.assert_allclose(
        run(expanded, {"x": x})["y"], x * np.clip(x / 6 + 0.5, 0, 1), rtol=1e-6
    )


def calls(name: str, count: int) -> list[onnx.NodeProto]:
    return [NODE(name, ["a", "b"], [f"u{j}"], domain="own") for j in range(count)]


def test_a_node_bomb_is_refused(load: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions that call the next one ten times each."""
    monkeypatch.setattr(trace, "MAX_STEPS", 5_000)
    functions = [
        function(f"F{i}", [*calls(f"F{i + 1}", 10), NODE("Identity", ["u0"], ["r"])])
        for i in range(9)
    ]
    functions.append(function("F9", [NODE("Identity", ["a"], ["r"])]))
    with pytest.raises(ImportFailed, match="more than 5000 nodes"):
        load(with_functions([NODE("F0", ["x", "x"], ["y"], domain="own")], *functions))


def test_functions_nested_too_deeply_are_refused(load: Import) -> None:
    functions = [function(f"F{i}", [*calls(f"F{i + 1}", 1)]) for i in range(60)]
    with pytest.raises(ImportFailed, match="more than 50 deep"):
        load(with_functions([NODE("F0", ["x", "x"], ["y"], domain="own")], *functions))


def test_control_flow_as_deep_as_files_allow(load: Import) -> None:
    body = NEGATE
    for _ in range(28):
        body = graph([choice(body, NEGATE)], [], ["y"])
    model = model_of([choice(body, NEGATE)], [X, FLAG], ["y"])
    assert ops_of(load(model, values={"c": "1"})) == ["Neg"]
