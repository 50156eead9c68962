"""Small models, imported and evaluated node by node."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import SSAValue
from xdsl.utils.hints import isa

from mxc.constants import ConstantTable
from mxc.dialects.mx import ConstantOp
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.onnx.reference import evaluate
from mxc.dialects.types import shape_of
from mxc.importer import Imported

Arrays = dict[str, NDArray[Any]]
Import = Callable[..., Imported]


def names_of(imported: Imported, which: str) -> list[str]:
    names = imported.module.attributes[f"mxc.{which}_names"]
    assert isa(names, ArrayAttr[StringAttr])
    return [name.data for name in names]


def main_of(imported: Imported) -> FuncOp:
    main = imported.module.body.block.first_op
    assert isinstance(main, FuncOp)
    return main


def run(imported: Imported, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
    """The outputs of the module for `feeds`, through `onnx.reference`; shapes are checked."""
    table = ConstantTable.of(imported.ctx)
    block = main_of(imported).body.block
    inputs = [feeds[name] for name in names_of(imported, "input")]
    values: dict[SSAValue, Any] = dict(zip(block.args, inputs, strict=True))
    for op in block.ops:
        if isinstance(op, ConstantOp):
            values[op.output] = table[op.value.string_value()]
        elif isinstance(op, OnnxOp):
            results = evaluate(op, [None if v is None else values[v] for v in op.inputs])
            for value, array in zip(op.results, results, strict=True):
                assert array.shape == shape_of(value), op
                values[value] = array
        elif isinstance(op, ReturnOp):
            results = [values[v] for v in op.operands]
            return dict(zip(names_of(imported, "output"), results, strict=True))
    raise AssertionError("main does not return")


def ops_of(imported: Imported) -> list[str]:
    """The operators that are left, in order."""
    return [op.op_type for op in main_of(imported).body.block.ops if isinstance(op, OnnxOp)]


def nodes_of(imported: Imported) -> list[OnnxOp]:
    return [op for op in main_of(imported).body.block.ops if isinstance(op, OnnxOp)]


def info(name: str, shape: Sequence[int | str | None] | None, dtype: Any = np.float32) -> Any:
    elem = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, elem, shape)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Any],
    outputs: Sequence[str],
    weights: Mapping[str, NDArray[Any]] | None = None,
    opset: int = 21,
    **kwargs: Any,
) -> onnx.ModelProto:
    """A model; its outputs are declared without types."""
    initializers = [onnx.numpy_helper.from_array(a, n) for n, a in (weights or {}).items()]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(list(nodes), "g", list(inputs), results, initializers)
    imports = kwargs.pop("opset_imports", None) or [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, **kwargs)
