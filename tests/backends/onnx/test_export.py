"""The onnx backend: the same bits in onnxruntime, onnx.reference and back through mxc."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from mxc.backends.onnx import OPSETS, OnnxBackend, export
from mxc.backends.ref import run
from mxc.constants import ConstantTable
from mxc.dialects.mx import ConstantOp, Contraction, block_of
from mxc.errors import BadInput, CannotLower
from mxc.importer import import_model
from mxc.numerics import BlockArray
from mxc.passes.mx_layout import MxLayoutPass
from mxc.passes.mx_quantize import MxQuantizePass
from mxc.passes.raise_mx import RaiseMxPass

FORMATS = ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4", "mxint8"]
RULES = ["floor", "rceil", "even", "ceil"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two products with a transposed weight and a tail of blocks, and a convolution."""
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(rng.standard_t(3, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="first", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "v"], ["y"], name="second"),
        helper.make_node("Conv", ["i", "k"], ["z"], name="conv", pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 40]),
            helper.make_tensor_value_info("i", TensorProto.FLOAT, [1, 32, 5, 5]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 5]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4, 5, 5]),
        ],
        [weight("w", 64, 40), weight("b", 64), weight("v", 64, 5), weight("k", 4, 32, 3, 3)],
    )
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def inputs() -> list[NDArray[Any]]:
    rng = np.random.default_rng(1)
    x = rng.standard_t(3, (3, 40)).astype(np.float32)
    x[0, :32] = 0
    x[1, 3] = 1e-38
    return [x, rng.normal(size=(1, 32, 5, 5)).astype(np.float32)]


def quantised(path: Path, format: str, rule: str = "default") -> tuple[Context, ModuleOp]:
    """The module of `path` at the mx level."""
    imported = import_model(path)
    for one in (RaiseMxPass(), MxQuantizePass(format, format, rule), MxLayoutPass()):
        one.apply(imported.ctx, imported.module)
    return imported.ctx, imported.module


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("format", FORMATS)
def test_same_quantisation_in_onnx_reference(
    model: Path, format: str, rule: str, opset: int
) -> None:
    ctx, module = quantised(model, format, rule)
    proto = export(ctx, module, opset)
    want = run(module, ctx, inputs())
    got = ReferenceEvaluator(proto).run(None, dict(zip("xi", inputs(), strict=True)))
    for g, w in zip(got, want, strict=True):  # the order of the sums is the evaluator's own
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format", FORMATS)
def test_onnxruntime_runs_the_portable_form(model: Path, format: str) -> None:
    ctx, module = quantised(model, format)
    proto = export(ctx, module, 24)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    got = session.run(None, dict(zip("xi", inputs(), strict=True)))
    for g, w in zip(got, run(module, ctx, inputs()), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format", FORMATS)
def test_round_trip_is_bit_identical(model: Path, format: str, tmp_path: Path) -> None:
    ctx, module = quantised(model, format)
    onnx.save(export(ctx, module, 28), tmp_path / "again.onnx")
    again_ctx, again = quantised(tmp_path / "again.onnx", "f32")
    contractions = [op for op in again.walk() if isinstance(op, Contraction)]
    assert len(contractions) == 3
    assert all(block_of(v.type) for op in contractions for v in (op.lhs, op.rhs))
    for g, w in zip(run(again, again_ctx, inputs()), run(module, ctx, inputs()), strict=True):
        np.testing.assert_array_equal(g, w)
    before, after = (block_constants(c, m) for c, m in ((ctx, module), (again_ctx, again)))
    assert before == after


def block_constants(ctx: Context, module: ModuleOp) -> set[tuple[bytes, bytes]]:
    """Codes and scales of the constants that contractions read, in the order of their storage."""
    found: set[tuple[bytes, bytes]] = set()
    for op in module.walk():
        if isinstance(op, ConstantOp) and op.output.uses:
            value = ConstantTable.of(ctx)[op.key]
            if isinstance(value, BlockArray):
                found.add((value.codes.tobytes(), value.scales.tobytes()))
    return found


def test_blocks_along_two_axes_have_no_onnx_form(model: Path) -> None:
    from xdsl.rewriter import InsertPoint, Rewriter

    from mxc.dialects.mx import QuantizeOp, RecipeAttr, block_type

    ctx, module = quantised(model, "mxfp8_e4m3")
    old = next(op for op in module.walk() if isinstance(op, QuantizeOp))
    tile = block_type("mxfp8_e4m3", [32] * len(old.output.type.get_shape()))
    Rewriter.insert_op(QuantizeOp(old.input, tile, RecipeAttr("rceil")), InsertPoint.after(old))
    with pytest.raises(CannotLower, match="have no ONNX form"):
        export(ctx, module, 28)


def test_backend_writes_model_and_manifest(model: Path, tmp_path: Path) -> None:
    ctx, module = quantised(model, "mxfp8_e4m3")
    OnnxBackend().emit(ctx, module, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.json", "model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == _emitted_again(ctx, module, tmp_path)


def _emitted_again(ctx: Context, module: ModuleOp, folder: Path) -> bytes:
    (folder / "again").mkdir()
    OnnxBackend().emit(ctx, module, folder / "again")
    return (folder / "again" / "model.onnx").read_bytes()


def test_unknown_opset() -> None:
    with pytest.raises(BadInput, match="opset 25 cannot be written; 24 and 28 can"):
        OnnxBackend(25)
