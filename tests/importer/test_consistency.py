"""Nodes whose types and shapes contradict each other are refused by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from mxc.errors import ImportFailed
from mxc.importer import import_model

F, INT = np.dtype("float32"), np.dtype("int64")

CASES: list[tuple[str, Sequence[Any], dict[str, Any], str]] = [
    ("Add", [(F, 5, 4), (F, 2, 4)], {}, "Incompatible dimensions"),
    ("Add", [(F, 5), (INT, 5)], {}, "B has inconsistent type"),
    ("And", [(F, 5), (F, 5)], {}, "unsupported type"),
    ("Conv", [(F, 1, 3, 8, 8), (F, 2, 1, 3, 3)], {}, "3 channels and weights"),
    ("Conv", [(F, 1, 3, 8), (F, 2, 3, 3), (F, 3)], {}, "a bias"),
    ("Conv", [(F, 1, 3, 8), (F, 2, 3, 3)], {"strides": [0]}, "strides must only"),
    ("Conv", [(F, 1, 3, 8), (F, 2, 3, 3)], {"pads": [1, 2**40]}, "elements"),
    ("ConvTranspose", [(F, 1, 3, 8), (F, 2, 3, 3)], {}, "3 channels and weights"),
    ("Conv", [(F, 1, 1, 2**24), (F, 1, 1, 2)], {"dilations": [2**21]}, "further than"),
    ("MaxPool", [(F, 1, 1, 8)], {"kernel_shape": [2, 2]}, "incorrect size"),
    ("Gemm", [(F, 2, 3), (F, 3, 4), (F, 5)], {}, r"\[5\] does not broadcast to \[2, 4\]"),
    ("BatchNormalization", [(F, 1, 3), (F, 2), *[(F, 3)] * 3], {}, "Dimension mismatch"),
    ("LayerNormalization", [(F, 2, 4), (F, 3)], {}, r"input 1, \[3\], does not broadcast"),
    ("LSTM", [(F, 2, 1, 3), (F, 1, 8, 4), (F, 1, 8, 2)], {"hidden_size": 2}, "input 1 has"),
    ("ReverseSequence", [(F, 2, 3, 4), (INT, 3)], {"batch_axis": 2}, "are not 0 and 1"),
    ("ReverseSequence", [(F, 2, 3), (INT, 2)], {}, "lengths"),
    ("Expand", [(F, 1)], {"shape": [2**40]}, "elements"),
    ("Reshape", [(F, 4, 4)], {"shape": [3, 5]}, ""),
]


@pytest.mark.parametrize(("op_type", "inputs", "attrs", "words"), CASES)
def test_contradictions(
    tmp_path: Path, op_type: str, inputs: Sequence[Any], attrs: dict[str, Any], words: str
) -> None:
    attrs = dict(attrs)
    shape = attrs.pop("shape", None)
    names = [f"x{i}" for i in range(len(inputs))]
    weights = []
    if shape is not None:
        names.append("shape")
        weights = [helper.make_tensor("shape", 7, [len(shape)], shape)]
    node = helper.make_node(op_type, names, ["y"], name="here", **attrs)
    ports = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(d), s)
        for n, (d, *s) in zip(names, inputs, strict=False)
    ]
    graph = helper.make_graph(
        [node], "g", ports, [helper.make_empty_tensor_value_info("y")], weights
    )
    path = tmp_path / "m.onnx"
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())
    with pytest.raises(ImportFailed, match=rf"node 'here' \({op_type}\): .*{words}"):
        import_model(path)
