"""raise-mx: what fires, what must not, and that values stay what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mxc import numerics
from mxc.dialects.mx import ConstantOp, DequantizeOp, QuantizeOp, block_of
from mxc.importer import import_model
from mxc.passes.raise_mx import RaiseMxPass

CODES = np.arange(8 * 64, dtype=np.uint8).reshape(8, 64) % 0x7F
SCALES = (np.arange(16, dtype=np.uint8).reshape(8, 2) + 120).view(ml_dtypes.float8_e8m0fnu)


def dequantize(tmp_path: Path, scales: Any, opset: int = 24, **attrs: Any) -> list[str]:
    """The names of the operations that a constant DequantizeLinear becomes."""
    codes = CODES.view(ml_dtypes.float8_e4m3fn)
    node = helper.make_node("DequantizeLinear", ["codes", "scales"], ["w"], name="dq", **attrs)
    graph = helper.make_graph(
        [node, helper.make_node("Add", ["w", "x"], ["y"], name="add")],
        "dq",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [8, 64])],
        [numpy_helper.from_array(codes, "codes"), numpy_helper.from_array(scales, "scales")],
    )
    path = tmp_path / "dq.onnx"
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=12), path)
    imported = import_model(path)
    RaiseMxPass().apply(imported.ctx, imported.module)
    imported.module.verify()
    return [op.name for op in imported.module.walk() if op.results]


@pytest.mark.parametrize("scales", [SCALES, SCALES.astype(np.float32)], ids=["e8m0", "f32"])
def test_blocked_constants_become_blocks(tmp_path: Path, scales: Any) -> None:
    extra = {} if scales.dtype == np.float32 else {"output_dtype": int(TensorProto.FLOAT)}
    names = dequantize(tmp_path, scales, axis=1, block_size=32, **extra)
    assert "mx.dequantize" in names
    assert "onnx.DequantizeLinear" not in names


@pytest.mark.parametrize(
    ("scales", "attrs"),
    [
        (SCALES.astype(np.float32) * 3, {"axis": 1, "block_size": 32}),
        (np.float32(0.5).reshape(()), {}),
        (np.full(8, 0.5, np.float32), {"axis": 0}),
    ],
    ids=["no power of two", "per tensor", "per channel"],
)
def test_must_not_fire(tmp_path: Path, scales: Any, attrs: dict[str, int]) -> None:
    names = dequantize(tmp_path, np.asarray(scales), **attrs)
    assert "onnx.DequantizeLinear" in names
    assert "mx.dequantize" not in names


@pytest.mark.parametrize("rule", ["floor", "rceil", "even", "ceil"])
@pytest.mark.parametrize(
    "format", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4", "mxint8"]
)
def test_values_in_blocks_are_kept_by_rceil(format: str, rule: str) -> None:
    rng = np.random.default_rng(7)
    x = (rng.standard_t(2, (512, 64)) * 2.0 ** rng.integers(-100, 100, (512, 1))).astype(np.float32)
    values = numerics.quantize(x, format, scale_rule=rule).dequantize()
    again = numerics.quantize(values, format, scale_rule="rceil").dequantize()
    np.testing.assert_array_equal(again, values)


def test_codes_made_at_run_time_are_read_as_blocks(tmp_path: Path) -> None:
    nodes = [
        helper.make_node(
            "QuantizeLinear",
            ["x", "s"],
            ["q"],
            name="q",
            axis=1,
            block_size=32,
            precision=int(TensorProto.FLOAT),
            output_dtype=int(TensorProto.FLOAT8E4M3FN),
        ),
        helper.make_node(
            "DequantizeLinear",
            ["q", "s"],
            ["y"],
            name="dq",
            axis=1,
            block_size=32,
            output_dtype=int(TensorProto.FLOAT),
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "qdq",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 64]),
            helper.make_tensor_value_info("s", TensorProto.FLOAT8E8M0, [8, 2]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [8, 64])],
    )
    path = tmp_path / "qdq.onnx"
    opsets = [helper.make_opsetid("", 24)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=12), path)
    imported = import_model(path)
    RaiseMxPass().apply(imported.ctx, imported.module)
    imported.module.verify()
    kinds = [type(op) for op in imported.module.walk()]
    assert kinds.count(QuantizeOp) == 1
    assert kinds.count(DequantizeOp) == 1


def test_codes_and_scales_are_untouched(tmp_path: Path) -> None:
    dequantize(tmp_path, SCALES, axis=1, block_size=32, output_dtype=int(TensorProto.FLOAT))
    imported = import_model(tmp_path / "dq.onnx")
    RaiseMxPass().apply(imported.ctx, imported.module)
    from mxc.constants import ConstantTable

    constant = next(
        op
        for op in imported.module.walk()
        if isinstance(op, ConstantOp) and block_of(op.output.type) is not None
    )
    value = ConstantTable.of(imported.ctx)[constant.key]
    np.testing.assert_array_equal(value.codes, CODES)
    np.testing.assert_array_equal(value.scales, SCALES.view(np.uint8))
