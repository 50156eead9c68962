"""From the mx level to an ONNX model: one node per operation, block tensors as their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import defs, helper
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.utils.hints import isa

from mxc import __version__
from mxc.backends.onnx.blocks import BlockWriter
from mxc.backends.onnx.writer import Writer, onnx_type, value_info
from mxc.constants import ConstantTable
from mxc.dialects import mx
from mxc.dialects.location import node_names
from mxc.dialects.mx import block_of
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.types import element_of, shape_of
from mxc.errors import CannotLower
from mxc.numerics import BlockArray

OPSETS = (24, 28)
"""What can be written; `mxc.backends.onnx.blocks` says how they differ."""

_IR_VERSION = {24: 12, 28: 14}


def export(ctx: Context, module: ModuleOp, opset: int) -> onnx.ModelProto:
    """The model of `module`, which is at the mx level, in `opset` (one of `OPSETS`).

    Contractions are MatMul and Conv on the values of their operands; the order in which they add
    up is the runtime's.

    Raises:
        CannotLower: if an operation, a block shape or a recipe has no form in `opset`.
    """
    function = next(op for op in module.ops if isinstance(op, FuncOp))
    exporter = _Exporter(ConstantTable.of(ctx), module, function, opset)
    graph = exporter.graph(function)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        producer_name="mxc",
        producer_version=__version__,
        ir_version=_IR_VERSION[opset],
    )
    onnx.checker.check_model(model)  # pyright: ignore[reportUnknownMemberType]
    return model


class _Exporter:
    def __init__(
        self, constants: ConstantTable, module: ModuleOp, function: FuncOp, opset: int
    ) -> None:
        self.constants = constants
        self.opset = opset
        model = module.attributes.get("mxc.model")
        self.model = model.data if isinstance(model, StringAttr) else "model"
        self.inputs = _names(module, "mxc.input_names")
        self.outputs = _names(module, "mxc.output_names")
        self.writer = Writer([*self.inputs, *self.outputs])
        self.blocks = BlockWriter(self.writer, opset)
        self.names: dict[SSAValue, str] = {}
        """The ONNX value that holds each SSA value; of a block tensor, its values in f32."""

    def graph(self, function: FuncOp) -> onnx.GraphProto:
        """The graph of `function`."""
        block = function.body.block
        self.names.update(zip(block.args, self.inputs, strict=True))
        results: list[SSAValue] = []
        for op in block.ops:
            if isinstance(op, ReturnOp):
                results = list(op.arguments)
            else:
                self._write(op)
        for name, value in zip(self.outputs, results, strict=True):
            self.writer.node("Identity", [self.names[value]], name)
        return helper.make_graph(
            self.writer.nodes,
            self.model,
            [value_info(n, a.type) for n, a in zip(self.inputs, block.args, strict=True)],
            [value_info(n, v.type) for n, v in zip(self.outputs, results, strict=True)],
            self.writer.initializers,
        )

    def _write(self, op: Operation) -> None:
        if isinstance(op, mx.ConstantOp) and not op.output.uses:
            return
        self.writer.scope = "+".join(node_names(op)) or op.name
        if isinstance(op, OnnxOp):
            self._node(op)
            return
        rule = _RULES.get(type(op))
        if rule is None:
            raise CannotLower(f"{op.name} has no ONNX form", at=f"node '{self.writer.scope}'")
        try:
            self.names[op.results[0]] = rule(self, op)
        except CannotLower as error:
            raise error.within(f"node '{self.writer.scope}'") from None

    def name(self, value: SSAValue) -> str:
        """The ONNX value that holds `value`."""
        return self.names[value]

    def _node(self, op: OnnxOp) -> None:
        if op.schema.since_version > self.opset:
            self._check_older(op)
        outputs: list[str] = []
        for result in op.outputs:
            outputs.append("" if result is None else self.writer.fresh(self.writer.scope))
            if result is not None:
                self.names[result] = outputs[-1]
        inputs = ["" if value is None else self.names[value] for value in op.inputs]
        attrs = {k: _attribute(v) for k, v in op.given_attrs().items()}
        self.writer.nodes_with(op.op_type, inputs, outputs, attrs)

    def _check_older(self, op: OnnxOp) -> None:
        """Whether the older schema of `opset` still says what `op` says."""
        try:
            older = defs.get_schema(op.op_type, self.opset, "")
        except defs.SchemaError:
            older = None
        if older is None or not set(op.given_attrs()) <= set(older.attributes):
            raise CannotLower(
                f"{op.op_type} as it is written here needs opset {op.schema.since_version}",
                at=f"node '{self.writer.scope}'",
                hint="export with --opset 28",
            )


def _names(module: ModuleOp, key: str) -> list[str]:
    names = module.attributes[key]
    assert isa(names, ArrayAttr[StringAttr]), names
    return [name.data for name in names.data]


def _attribute(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return onnx.numpy_helper.from_array(cast("NDArray[Any]", value))


Rule = Callable[[_Exporter, Any], str]


def _constant(to: _Exporter, op: mx.ConstantOp) -> str:
    value = to.constants[op.key]
    block = block_of(op.output.type)
    if block is None:
        return to.writer.constant(value, f"{to.writer.scope}_value")
    assert isinstance(value, BlockArray)
    return to.blocks.constant(value, block, to.writer.scope)


def _quantize(to: _Exporter, op: mx.QuantizeOp | mx.RequantizeOp) -> str:
    block = block_of(op.output.type)
    assert block is not None
    source = to.name(op.input)
    if onnx_type(_plain(op.input)) != onnx.TensorProto.FLOAT:
        source = to.writer.node("Cast", [source], to=int(onnx.TensorProto.FLOAT))
    return to.blocks.quantize(source, shape_of(op.output), block, op.recipe)


def _plain(value: SSAValue) -> Any:
    return f32 if block_of(value.type) is not None else element_of(value)


def _matmul(to: _Exporter, op: mx.MatMulOp) -> str:
    return to.writer.node("MatMul", [to.name(op.lhs), to.name(op.rhs)])


def _conv(to: _Exporter, op: mx.ConvOp) -> str:
    return to.writer.node(
        "Conv",
        [to.name(op.lhs), to.name(op.rhs)],
        strides=list(op.strides.get_values()),
        pads=list(op.pads.get_values()),
        dilations=list(op.dilations.get_values()),
        group=op.groups.value.data,
    )


def _transpose(to: _Exporter, op: mx.TransposeOp) -> str:
    return to.writer.node("Transpose", [to.name(op.input)], perm=list(op.permutation.get_values()))


def _reshape(to: _Exporter, op: mx.ReshapeOp) -> str:
    return to.writer.node("Reshape", [to.name(op.input), to.writer.ints(*shape_of(op.output))])


def _slice(to: _Exporter, op: mx.SliceOp) -> str:
    w, starts = to.writer, op.offsets.get_values()
    ends = [s + n for s, n in zip(starts, shape_of(op.output), strict=True)]
    return w.node("Slice", [to.name(op.input), w.ints(*starts), w.ints(*ends)])


def _concat(to: _Exporter, op: mx.ConcatOp) -> str:
    return to.writer.node("Concat", [to.name(v) for v in op.inputs], axis=op.axis.value.data)


def _gather(to: _Exporter, op: mx.GatherOp) -> str:
    indices = to.writer.ints(*op.indices.get_values())
    return to.writer.node("Gather", [to.name(op.input), indices], axis=op.axis.value.data)


_RULES: dict[type[Operation], Rule] = {
    mx.ConstantOp: _constant,
    mx.QuantizeOp: _quantize,
    mx.RequantizeOp: _quantize,
    mx.DequantizeOp: lambda to, op: to.name(op.input),
    mx.MatMulOp: _matmul,
    mx.ConvOp: _conv,
    mx.TransposeOp: _transpose,
    mx.ReshapeOp: _reshape,
    mx.SliceOp: _slice,
    mx.ConcatOp: _concat,
    mx.GatherOp: _gather,
    mx.NegOp: lambda to, op: to.writer.node("Neg", [to.name(op.input)]),
    mx.AbsOp: lambda to, op: to.writer.node("Abs", [to.name(op.input)]),
    mx.ScaleByPowerOfTwoOp: lambda to, op: to.writer.node(
        "Mul", [to.name(op.input), to.writer.f32(2.0**op.exponent.value.data)]
    ),
}
