"""Bad models: one line that says where, what and how to cure it; never a traceback."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mxc.errors import ImportFailed
from mxc.importer import import_model
from tests.importer.helpers import Import, info, model_of

X = info("x", [2, 3])
NODE = helper.make_node


def relu(name: str = "act", x: str = "x", y: str = "y") -> onnx.NodeProto:
    return NODE("Relu", [x], [y], name=name)


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(ImportFailed) as caught:
        import_model(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text


def save(tmp_path: Path, model: onnx.ModelProto) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


# The file.


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.onnx")


def test_a_folder(tmp_path: Path) -> None:
    assert "not a file" in refused(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello, world\n", b"\x00" * 100, os.urandom(0) + b"PK\x03"]
)
def test_not_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert "not an ONNX model" in refused(path) or "empty" in refused(path)


def test_truncated(tmp_path: Path) -> None:
    weights = {"w": np.ones((3, 50), np.float32)}
    model = model_of([NODE("MatMul", ["x", "w"], ["y"])], [X], ["y"], weights)
    data = model.SerializeToString()
    path = tmp_path / "m.onnx"
    for length in range(1, len(data) - 5, 7):
        path.write_bytes(data[:length])
        refused(path)


# Nodes.


def test_operator_of_another_domain(load: Import) -> None:
    node = NODE("FusedMatMul", ["x", "x"], ["y"], name="h.0/attn", domain="com.microsoft")
    with pytest.raises(ImportFailed, match=r"'h.0/attn' \(FusedMatMul\).*domain 'com.microsoft'"):
        load(model_of([node], [X], ["y"]))


def test_unknown_operator(load: Import) -> None:
    with pytest.raises(ImportFailed, match=r"node 'Frobnicate_0'.*not known in opset 21"):
        load(model_of([NODE("Frobnicate", ["x"], ["y"])], [X], ["y"]))
    with pytest.raises(ImportFailed, match=r"Gelu is not known in opset 18"):
        load(model_of([NODE("Gelu", ["x"], ["y"])], [X], ["y"], opset=18))


@pytest.mark.parametrize(
    ("node", "complaint"),
    [
        (NODE("Relu", ["x"], ["y"], alpha=1.0), "attribute 'alpha' is not known"),
        (NODE("Concat", ["x"], ["y"]), "attribute 'axis' is missing"),
        (NODE("Concat", ["x"], ["y"], axis="one"), "attribute 'axis' is not of type INT"),
        (NODE("Relu", ["x", "x"], ["y"]), "it has 2 inputs"),
        (NODE("Relu", ["x"], ["y", "z"]), "it has 2 outputs"),
        (NODE("Relu", ["nothing"], ["y"]), "'nothing' is not defined"),
        (NODE("MatMul", ["x", "x"], ["y"]), "Incompatible dimensions"),
        (NODE("Add", ["x", "i"], ["y"]), "type"),
    ],
)
def test_invalid_nodes(node: onnx.NodeProto, complaint: str, load: Import) -> None:
    with pytest.raises(ImportFailed, match=complaint) as caught:
        load(model_of([node], [X, info("i", [3], np.int64)], ["y"]))
    assert f"({node.op_type})" in str(caught.value)


def test_cycle(load: Import) -> None:
    nodes = [relu("a", "v", "u"), relu("b", "u", "v"), relu("c", "v", "y")]
    with pytest.raises(ImportFailed, match=r"'a', 'b', 'c' depend on each other in a cycle"):
        load(model_of(nodes, [X], ["y"]))


def test_nodes_out_of_order_are_put_in_order(load: Import) -> None:
    load(model_of([relu("b", "u", "y"), relu("a", "x", "u")], [X], ["y"]))


def test_a_value_defined_twice(load: Import) -> None:
    with pytest.raises(ImportFailed, match="'y' is defined twice"):
        load(model_of([relu("a"), relu("b")], [X], ["y"]))


def test_outputs(load: Import) -> None:
    with pytest.raises(ImportFailed, match="output 'z' is not defined"):
        load(model_of([relu()], [X], ["z"]))
    with pytest.raises(ImportFailed, match="two outputs of the model are called 'y'"):
        load(model_of([relu()], [X], ["y", "y"]))
    with pytest.raises(ImportFailed, match="no outputs"):
        load(model_of([relu()], [X], []))


def test_two_inputs_of_one_name(load: Import) -> None:
    with pytest.raises(ImportFailed, match="two inputs"):
        load(model_of([relu()], [X, X], ["y"]))


def test_data_dependent_sizes_name_the_node_and_what_decides(load: Import) -> None:
    nodes = [
        relu("a", "x", "u"),
        NODE("NonZero", ["u"], ["n"], name="find"),
        NODE("Neg", ["n"], ["y"]),
    ]
    with pytest.raises(
        ImportFailed, match=r"node 'find' \(NonZero\): the size of its output 'n'.*'u'"
    ):
        load(model_of(nodes, [X], ["y"]))


def test_training_dropout_is_refused(load: Import) -> None:
    node = NODE("Dropout", ["x", "", "t"], ["y"])
    with pytest.raises(ImportFailed, match="random"):
        load(model_of([node], [X], ["y"], {"t": np.array(True)}))


# Inputs and dimensions.


def test_unpinned_dimensions_are_all_named_with_the_flag(load: Import) -> None:
    inputs = [info("x", ["batch", None, 3]), info("m", ["batch", "time"])]
    model = model_of([relu()], inputs, ["y"])
    with pytest.raises(ImportFailed) as caught:
        load(model)
    assert "'batch', 'time', 'x.1'" in str(caught.value)
    assert "--input-dim batch=N --input-dim x.1=N --input-dim time=N" in str(caught.value)


def test_wrong_dimension_name_lists_the_right_ones(load: Import) -> None:
    model = model_of([relu()], [info("x", ["batch", 3])], ["y"])
    with pytest.raises(
        ImportFailed, match=r"no input has a dimension 'bach'; there are 'batch', 'x.0'"
    ):
        load(model, dims={"bach": 1})


@pytest.mark.parametrize("size", [0, -1])
def test_sizes_must_be_positive(size: int, load: Import) -> None:
    with pytest.raises(ImportFailed, match=f"dimension 'n' is {size}; it must be positive"):
        load(model_of([relu()], [info("x", ["n"])], ["y"]), dims={"n": size})
    with pytest.raises(ImportFailed, match=f"dimension x.1 is {size}; it must be positive"):
        load(model_of([relu()], [info("x", [2, size])], ["y"]))


def test_contradicting_sizes(load: Import) -> None:
    model = model_of([relu()], [info("x", ["n", 3]), info("z", ["n"])], ["y"])
    with pytest.raises(ImportFailed, match="cannot be both"):
        load(model, dims={"x.1": 4, "n": 1})
    with pytest.raises(ImportFailed, match="'n' is given as both 2 and 5"):
        load(model, input_shapes={"x": (2, 3), "z": (5,)})
    with pytest.raises(ImportFailed, match=r"x.1 is 3 in the model, 4 in the given array"):
        load(model, input_shapes={"x": (2, 4)})
    with pytest.raises(ImportFailed, match="has 2 dimensions, the given array 1"):
        load(model, input_shapes={"x": (2,)})


def test_values_for_inputs(load: Import) -> None:
    model = model_of([NODE("Add", ["x", "k"], ["y"])], [X, info("k", [], np.float32)], ["y"])
    with pytest.raises(ImportFailed, match="there is no input 'q' to bind; there are 'x', 'k'"):
        load(model, values={"q": "1"})
    with pytest.raises(ImportFailed, match="'abc' is no value of type float32 for input 'k'"):
        load(model, values={"k": "abc"})
    with pytest.raises(ImportFailed, match="the value for input 'k' is not of shape"):
        load(model, values={"k": "1,2"})


def test_inputs_that_are_no_tensors(load: Import) -> None:
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    with pytest.raises(ImportFailed, match="input 'x' is not a tensor"):
        load(model_of([NODE("SequenceLength", ["x"], ["y"])], [sequence], ["y"]))


def test_strings_are_refused_where_they_remain(load: Import) -> None:
    text = helper.make_tensor_value_info("x", TensorProto.STRING, [1])
    with pytest.raises(ImportFailed, match="'x' has elements of type"):
        load(model_of([NODE("Identity", ["x"], ["y"])], [text], ["y"]))


# Weights.


def weight(**fields: Any) -> onnx.ModelProto:
    model = model_of([NODE("Add", ["x", "w"], ["y"])], [X], ["y"])
    model.graph.initializer.append(TensorProto(name="w", data_type=1, **fields))
    return model


def test_three_gigabytes_declared_but_absent(load: Import) -> None:
    with pytest.raises(ImportFailed, match=r"'w': shape \[805306368\].*needs 3221225472 bytes.*0"):
        load(weight(dims=[805306368], raw_data=b""))
    with pytest.raises(ImportFailed, match=r"'w': shape \[805306368\].*needs 805306368 entries.*0"):
        load(weight(dims=[805306368]))


def test_sizes_that_do_not_fit(load: Import) -> None:
    with pytest.raises(ImportFailed, match="needs 12 bytes, the file holds 8"):
        load(weight(dims=[3], raw_data=bytes(8)))
    with pytest.raises(ImportFailed, match="are negative"):
        load(weight(dims=[-3], raw_data=bytes(8)))


def external(tmp_path: Path, location: str, **entries: Any) -> Path:
    model = weight(dims=[3], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        model.graph.initializer[0].external_data.add(key=key, value=str(value))
    return save(tmp_path, model)


def test_external_data_is_mapped(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(4) + np.array([1, 2, 3], np.float32).tobytes())
    imported = import_model(external(tmp_path, "w.bin", offset=4, length=12))
    from mxc.constants import ConstantTable

    table = ConstantTable.of(imported.ctx)
    [array] = [table[name] for name in table]
    assert array.tolist() == [1, 2, 3]
    assert isinstance(array, np.memmap)


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../secret.bin", "a/../../secret.bin", "link.bin"]
)
def test_external_data_outside_of_the_folder(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    assert "outside the model's folder" in refused(external(folder, location))


def test_external_data_missing_or_short(tmp_path: Path) -> None:
    assert "'w.bin' (12 bytes needed) does not exist" in refused(external(tmp_path, "w.bin"))
    (tmp_path / "w.bin").write_bytes(bytes(8))
    assert "12 bytes are needed" in refused(external(tmp_path, "w.bin"))
    assert "without a location" in refused(external(tmp_path, ""))
    assert "cannot be read" in refused(external(tmp_path, "w.bin", offset="many"))
