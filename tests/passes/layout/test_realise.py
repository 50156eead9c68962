"""Problems from modules, and plans made real: what they compute and how many operations they take.

Views keep codes, so `dual`, which quantises each value from HP along the contracted axis, computes
to the bit what quantising every operand directly computes, whatever views lie in between.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from xdsl.dialects.builtin import (
    ArrayAttr,
    Float32Type,
    FunctionType,
    ModuleOp,
    StringAttr,
    TensorType,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from mxc import numerics
from mxc.backends.ref import run
from mxc.constants import ConstantTable
from mxc.dialects import new_context
from mxc.dialects.mx import ConstantOp, MatMulOp, QuantizeOp, RequantizeOp
from mxc.dialects.onnx import op_class
from mxc.dialects.types import shape_of, tensor_type
from mxc.driver import Options, lowered
from mxc.passes.layout.certify import certificate
from mxc.passes.layout.check import check_certificate
from mxc.passes.layout.extract import extract
from mxc.passes.layout.policies import POLICIES
from mxc.passes.layout.problem import Prices
from mxc.passes.layout.realise import realise
from mxc.passes.mx_quantize import MxQuantizePass

X = np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32)


class Graph:
    """A function of one input under construction."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.ctx = new_context()
        self.constants = ConstantTable.of(self.ctx)
        self.block = Block(arg_types=[TensorType(Float32Type(), shape)])
        self.x = self.block.args[0]

    def constant(self, array: np.ndarray) -> SSAValue:
        """A constant."""
        op = ConstantOp(self.constants.add(array), tensor_type(array))
        self.block.add_op(op)
        return op.output

    def node(self, kind: str, inputs: Sequence[SSAValue], *shapes: Sequence[int], **attrs):
        """An ONNX node."""
        types = [TensorType(Float32Type(), shape) for shape in shapes]
        op = op_class(kind).create_node(inputs, types, attrs)
        self.block.add_op(op)
        return op.results[0] if len(shapes) == 1 else list(op.results)

    def ints(self, *values: int) -> SSAValue:
        """A constant of integers."""
        return self.constant(np.array(values, np.int64))

    def matmul(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """A float product, for `mx-quantize` to mark."""
        shape = (*shape_of(a)[:-1], shape_of(b)[-1])
        return self.node("MatMul", [a, b], shape)

    def weight(self, rows: int) -> SSAValue:
        """A [rows, 32] constant."""
        random = np.random.default_rng(rows)
        return self.constant(random.standard_normal((rows, 32)).astype(np.float32))

    def module(self, *outputs: SSAValue) -> ModuleOp:
        """The finished module."""
        self.block.add_op(ReturnOp(*outputs))
        kind = FunctionType.from_lists([self.x.type], [value.type for value in outputs])
        function = FuncOp("main", kind, Region(self.block))
        names = ArrayAttr([StringAttr(f"y{i}") for i in range(len(outputs))])
        attributes = {"mxc.input_names": ArrayAttr([StringAttr("x")]), "mxc.output_names": names}
        return ModuleOp([function], attributes)


def transposed(g: Graph) -> SSAValue:
    return g.matmul(g.node("Transpose", [g.x], (128, 64), perm=[1, 0]), g.weight(64))


def heads(g: Graph) -> SSAValue:
    split = g.node("Reshape", [g.x, g.ints(64, 4, 32)], (64, 4, 32))
    first = g.node("Transpose", [split], (4, 64, 32), perm=[1, 0, 2])
    return g.matmul(first, g.weight(32))


def sliced(g: Graph) -> SSAValue:
    part = g.node("Slice", [g.x, g.ints(32), g.ints(96), g.ints(1)], (64, 64))
    return g.matmul(part, g.weight(64))


def strided(g: Graph) -> SSAValue:
    part = g.node("Slice", [g.x, g.ints(0), g.ints(64), g.ints(0), g.ints(2)], (32, 128))
    return g.matmul(part, g.weight(128))


def split(g: Graph) -> SSAValue:
    _, second = g.node("Split", [g.x], (64, 64), (64, 64), axis=1, num_outputs=2)
    return g.matmul(second, g.weight(64))


def joined(g: Graph) -> SSAValue:
    both = g.node("Concat", [g.x, g.x], (64, 256), axis=1)
    return g.matmul(both, g.weight(256))


def gathered(g: Graph) -> SSAValue:
    rows = g.node("Gather", [g.x, g.ints(5, -1, 5)], (3, 128), axis=0)
    return g.matmul(rows, g.weight(128))


def expanded(g: Graph) -> SSAValue:
    row = g.node("Unsqueeze", [g.x, g.ints(0)], (1, 64, 128))
    many = g.node("Expand", [row, g.ints(3, 64, 128)], (3, 64, 128))
    return g.matmul(many, g.weight(128))


def negated(g: Graph) -> SSAValue:
    return g.matmul(g.node("Neg", [g.x], (64, 128)), g.weight(128))


def off_grid(g: Graph) -> SSAValue:
    split = g.node("Reshape", [g.x, g.ints(64, 8, 16)], (64, 8, 16))
    return g.matmul(split, g.weight(16))


GRAPHS = [
    transposed, heads, sliced, strided, split, joined, gathered, expanded, negated, off_grid,
]  # fmt: skip


def realised(
    make: Callable[[Graph], SSAValue], policy: str, format: str, emit: str = "all"
) -> tuple[ModuleOp, Graph]:
    """The input read along axis 1, and through a view; laid out by a policy."""
    graph = Graph((64, 128))
    direct = graph.matmul(graph.x, graph.weight(128))
    module = graph.module(direct, make(graph))
    MxQuantizePass(weights=format, activations=format).apply(graph.ctx, module)
    found = extract(module, graph.constants, Prices(emit=emit))
    plan = POLICIES[policy](found.problem)
    realise(found, plan, graph.constants)
    module.verify()
    made = [sum(isinstance(o, kind) for o in module.walk()) for kind in (QuantizeOp, RequantizeOp)]
    offline = sum(
        item.arcs[index].kind == "constant" and item.nodes[item.arcs[index].head].form == "mx"
        for item, part in zip(plan.graph.classes, plan.classes, strict=True)
        for index in part.arcs
    )
    assert made == [plan.costs.quantize_ops - offline, plan.costs.requantize_ops]
    return module, graph


@pytest.mark.parametrize("make", GRAPHS)
@pytest.mark.parametrize("format", ["mxfp8_e4m3", "mxint8", "mxfp4"])
def test_dual_is_quantising_every_operand(make, format):
    module, graph = realised(make, "dual", format)
    y, z = run(module, graph.ctx, [X])
    plain = Graph((64, 128))
    floats = plain.module(*_operands(plain, make))
    values = run(floats, plain.ctx, [X])
    for output, a, b in ((y, values[0], values[1]), (z, values[2], values[3])):
        lhs = numerics.quantize(a, format, axis=-1)
        rhs = numerics.quantize(b, format, axis=-2)
        assert output.tobytes() == numerics.matmul(lhs, rhs, "block-exact").tobytes()


def _operands(g: Graph, make: Callable[[Graph], SSAValue]) -> list[SSAValue]:
    """The float operands of both products."""
    products = [g.matmul(g.x, g.weight(128)), make(g)]
    return [operand for value in products for operand in value.owner.operands]


@pytest.mark.parametrize("make", GRAPHS)
@pytest.mark.parametrize("policy", ["naive", "greedy", "rule", "exact"])
@pytest.mark.parametrize("emit", ["all", "last"])
def test_every_plan_can_be_made_real(make, policy, emit):
    module, graph = realised(make, policy, "mxfp8_e4m3", emit)
    expected, _ = realised(make, "dual", "mxfp8_e4m3")
    for a, b in zip(run(module, graph.ctx, [X]), run(expected, _.ctx, [X]), strict=True):
        assert np.abs(a - b).max() <= 0.25 * np.abs(b).max()
    assert not any(name in op.properties for op in module.walk() for name in ("lhs_as", "rhs_as"))


def test_two_recipes_are_two_formats():
    graph = Graph((64, 128))
    module = graph.module(
        graph.matmul(graph.x, graph.weight(128)), graph.matmul(graph.x, graph.weight(128))
    )
    MxQuantizePass().apply(graph.ctx, module)
    first, second = (op for op in module.walk() if isinstance(op, MatMulOp))
    second.properties["lhs_recipe"] = type(first.lhs_recipe)("floor", "nan", "even", 0)
    found = extract(module, graph.constants, Prices())
    assert sorted(found.recipes) == ["mxfp8_e4m3", "mxfp8_e4m3/2"]
    realise(found, POLICIES["exact"](found.problem), graph.constants)
    recipes = {op.recipe for op in module.walk() if isinstance(op, QuantizeOp)}
    assert len(recipes) == 2


def test_an_output_called_loss_divides_the_phases():
    graph = Graph((64, 128))
    y = graph.matmul(graph.x, graph.weight(128))
    loss = graph.node("Relu", [y], (64, 32))
    after = graph.node("Relu", [loss], (64, 32))
    module = graph.module(after, loss)
    module.attributes["mxc.output_names"] = ArrayAttr([StringAttr("g"), StringAttr("loss")])
    MxQuantizePass().apply(graph.ctx, module)
    problem = extract(module, graph.constants, Prices()).problem
    phases = [value.phase for value in problem.values if value.kind == "activation"]
    assert phases == [0, 0, 1]


EXPORTS = [
    "bert_tiny", "gpt2_tiny", "llama_prefill_tiny", "llama_step_tiny", "mixer_tiny",
    "mobilenetv2_tiny", "resnet18_tiny", "vit_tiny", "whisper_enc_tiny",
]  # fmt: skip
TRAINING = [
    "block_routeB", "cnn_routeB", "gpt2_tiny", "llama_prefill_tiny", "mixer_tiny", "mlp_routeB",
    "resnet18_tiny", "vit_tiny",
]  # fmt: skip
FILES = [f"exports/{name}_dynamo" for name in EXPORTS] + [f"training/train_{n}" for n in TRAINING]


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("emit", ["all", "last"])
def test_real_models(file, emit, shared_models):
    model = lowered(shared_models / f"{file}.onnx", Options(), "mx-quantize")
    constants = ConstantTable.of(model.ctx)
    found = extract(model.module, constants, Prices(emit=emit))
    costs = {name: solve(found.problem).costs for name, solve in POLICIES.items()}
    assert all(costs["exact"].objective <= other.objective for other in costs.values())
    plan = POLICIES["exact"](found.problem)
    assert check_certificate(certificate(plan)).gap == 0
    if emit == "all" and file.startswith("exports"):
        assert costs["exact"].requantize_ops == 0
    realise(found, plan, constants)
    model.module.verify()
