"""Damaged files: an error in one line, quickly, never anything else."""

import random
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from mxc.errors import ImportFailed
from mxc.importer import import_model
from tests.importer.helpers import info, model_of

NODE = helper.make_node


def rich_model() -> bytes:
    """A small model with most of what a model can hold."""
    empty = helper.make_empty_tensor_value_info
    then = helper.make_graph([NODE("Neg", ["h"], ["t"])], "then", [], [empty("t")])
    other = helper.make_graph([NODE("Abs", ["h"], ["e"])], "else", [], [empty("e")])
    body = helper.make_graph(
        [NODE("Add", ["s", "one"], ["s2"]), NODE("Identity", ["go"], ["go2"])],
        "body", [empty("i"), empty("go"), empty("s")], [empty("go2"), empty("s2")],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function(
        "own", "Twice", ["a"], ["r"], [NODE("Add", ["a", "a"], ["r"])], imports
    )
    nodes = [
        NODE("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        NODE("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        NODE("Shape", ["p"], ["shape"]),
        NODE("Slice", ["shape", "zero", "axis"], ["n"]),
        NODE("Concat", ["n", "minus"], ["target"], axis=0),
        NODE("Reshape", ["p", "target"], ["f"]),
        NODE("Twice", ["f"], ["h"], domain="own"),
        NODE("If", ["flag"], ["b"], then_branch=then, else_branch=other),
        NODE("Loop", ["axis0", "", "b"], ["l"], body=body),
        NODE("Pad", ["l", "pads"], ["q"]),
        NODE("Resize", ["p", "", "scales"], ["up"]),
        NODE("Expand", ["one", "target2"], ["e"]),
        NODE("Softmax", ["q"], ["y"]),
    ]
    weights = {
        "w": np.ones((2, 1, 3, 3), np.float32),
        "zero": np.array([0]),
        "axis": np.array([1]),
        "axis0": np.array(2),
        "minus": np.array([-1]),
        "one": np.ones(1, np.float32),
        "pads": np.array([0, 1, 0, 1]),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "target2": np.array([3, 2]),
        "flag": np.array(True),
    }
    model = model_of(
        nodes, [info("x", [1, 1, 4, 4])], ["y", "up", "e"], weights,
        opset_imports=imports, functions=[function],
    )  # fmt: skip
    return model.SerializeToString()


def damaged(data: bytes, rng: random.Random) -> bytes:
    """`data` cut off, with bytes changed, removed, or repeated elsewhere."""
    content, kind = bytearray(data), rng.randrange(4)
    start = rng.randrange(len(content))
    if kind == 0:
        return bytes(content[:start])
    if kind == 1:
        for _ in range(rng.choice([1, 3, 30])):
            content[rng.randrange(len(content))] = rng.randrange(256)
    part = content[start : start + rng.randrange(1, 60)]
    if kind == 2:
        del content[start : start + len(part)]
    if kind == 3:
        place = rng.randrange(len(content))
        content[place:place] = part
    return bytes(content)


def assert_survives(data: bytes, path: Path) -> bool:
    """Importing `data` succeeds or fails as it should, in time; says which."""
    path.write_bytes(data)
    start = time.perf_counter()
    try:
        import_model(path)
    except ImportFailed as error:
        done = False
        lines = str(error).splitlines()
    else:
        done, lines = True, ["fine"]
    assert len(lines) == 1
    assert time.perf_counter() - start < 5
    return done


def try_damaged(data: bytes, count: int, seed: int, path: Path) -> None:
    rng = random.Random(seed)
    imported = [assert_survives(damaged(data, rng), path) for _ in range(count)]
    assert sum(imported) < count


def test_the_model_itself_is_fine(tmp_path: Path) -> None:
    assert assert_survives(rich_model(), tmp_path / "m.onnx")


def test_damaged_files(tmp_path: Path) -> None:
    try_damaged(rich_model(), 600, 1, tmp_path / "m.onnx")


@pytest.mark.slow
def test_two_thousand_damaged_files(tmp_path: Path, shared_models: Path) -> None:
    for index, name in enumerate(("mnist_cntk", "micro_kws_qdq", "te_fp8", "tinyvit_demo")):
        data = (shared_models / "third_party" / f"{name}.onnx").read_bytes()
        try_damaged(data, 250, index, tmp_path / "m.onnx")
    try_damaged(rich_model(), 1000, 99, tmp_path / "m.onnx")


def test_names_that_are_not_text(tmp_path: Path) -> None:
    data = rich_model().replace(b"scales", b"sc\xff\xfees")
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(ImportFailed, match=r"not text|not an ONNX model"):
        import_model(path)
