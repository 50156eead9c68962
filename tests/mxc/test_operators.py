"""The support table says what the compiler does."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, defs, helper, save

from mxc.driver import Options, lowered
from mxc.errors import MxcError
from mxc.operators import FOLDED, MEANINGS, REFUSED, operators

ROWS = {row.name: row for row in operators()}


def test_every_operator_has_a_row() -> None:
    schemas = {s.name: s.since_version for s in defs.get_all_schemas() if not s.domain}
    assert {name: row.newest for name, row in ROWS.items() if name in schemas} == schemas
    assert list(ROWS) == sorted(ROWS)
    assert {row.support for row in ROWS.values()} == set(MEANINGS)


def test_one_of_each_kind() -> None:
    kinds = {name: ROWS[name].support for name in ("Gemm", "Add", "LSTM", "If", "Upsample")}
    assert kinds == {
        "Gemm": "contraction",
        "Add": "lowered",
        "LSTM": "decomposed",
        "If": "resolved at import",
        "Upsample": "replaced at import",
    }
    assert (ROWS["Relu"].since, ROWS["Relu"].newest) == (1, 14)


ATTRIBUTES: dict[str, dict[str, Any]] = {
    "RandomNormal": {"shape": [2]},
    "RandomUniform": {"shape": [2]},
    "RegexFullMatch": {"pattern": "a"},
    "StringSplit": {"delimiter": ","},
}
STRINGS = ("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit")
TYPES = {"ImageDecoder": TensorProto.UINT8, **dict.fromkeys(STRINGS, TensorProto.STRING)}


@pytest.mark.parametrize(
    "name", [name for name, row in ROWS.items() if row.support in (REFUSED, FOLDED)]
)
def test_what_is_refused_is_refused_by_name(name: str, tmp_path: Path) -> None:
    """With inputs of run time; what is folded compiles where they are constants."""
    schema = defs.get_schema(name)
    inputs = [f"x{i}" for i in range(schema.min_input)]
    outputs = [f"y{i}" for i in range(schema.min_output)]
    node = helper.make_node(name, inputs, outputs, name="culprit", **ATTRIBUTES.get(name, {}))
    shape = [1, 1, 4] if name == "NonMaxSuppression" else [1, 4] if name == "Multinomial" else [4]
    kind = TYPES.get(name, TensorProto.FLOAT)
    infos = [helper.make_tensor_value_info(n, kind, shape) for n in inputs]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    graph = helper.make_graph([node], "refused", infos, results)
    opset = helper.make_opsetid("", defs.onnx_opset_version())
    save(helper.make_model(graph, opset_imports=[opset]), tmp_path / "m.onnx")
    with pytest.raises(MxcError) as caught:
        lowered(tmp_path / "m.onnx", Options(format="f32"), "lower-to-linalg")
    told = str(caught.value)
    assert "culprit" in told or any(word in told for word in itertools.chain(inputs, outputs)), told
