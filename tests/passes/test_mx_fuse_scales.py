"""`mx-fuse-scales` changes no bit: interpreted before and after, on inputs chosen to be hard.

The `.mlir` file says which rules fire and which must not; here all of its cases are executed, and
those that need constants are built.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import Float32Type, FunctionType, ModuleOp, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from mxc import numerics
from mxc.backends.ref import run
from mxc.constants import ConstantTable
from mxc.dialects import new_context
from mxc.dialects.mx import (
    ConstantOp,
    DequantizeOp,
    MatMulOp,
    QuantizeOp,
    RequantizeOp,
    ScaleByPowerOfTwoOp,
    block_type,
)
from mxc.dialects.onnx import op_class
from mxc.dialects.types import numpy_dtype, tensor_type
from mxc.opt import apply_passes, parse
from mxc.passes.mx_quantize import recipe_attr

Array = NDArray[np.generic]
CASES = (Path(__file__).parents[1] / "ir" / "mx_fuse_scales.mlir").read_text().split("// -----")


def hard_inputs(shape: tuple[int, ...], seed: int) -> Iterator[Array]:
    """Normal, wide, on the edges of rounding and saturation, tiny, huge, with zeros and NaN."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal(shape)
    yield normal
    yield normal * 2.0 ** rng.integers(-30, 30, shape)
    edges = rng.choice([1.75, 1.8, 1.875, 1.9, 1.9375, 1.96875, 1, 1.5, 1.0625], shape)
    yield edges * rng.choice([-1, 1], shape) * 2.0 ** rng.integers(-3, 3, shape)
    yield normal * 2.0**-130
    yield np.where(rng.random(shape) < 0.5, 3.4e38, -3.3e38)
    yield np.where(rng.random(shape) < 0.9, np.copysign(0.0, normal), normal * 2.0**-20)
    yield np.where(rng.random(shape) < 0.003, rng.choice([np.nan, np.inf], shape), normal)


def given(module: ModuleOp, number: int) -> list[Array]:
    """The `number`-th hard inputs of `main`."""
    arrays: list[Array] = []
    for index, kind in enumerate(next(iter(module.ops)).function_type.inputs):  # pyright: ignore
        shape, dtype = kind.get_shape(), numpy_dtype(kind.element_type)
        if dtype == np.float32:
            values = list(hard_inputs(shape, index))[number]
            with np.errstate(over="ignore"):
                arrays.append(values.astype(np.float32))
        elif dtype == np.int64:
            arrays.append(np.array([2, 4, 2, 32]))
        else:
            rng = np.random.default_rng(index)
            arrays.append(rng.integers(0, 127, shape, np.uint8).view(dtype))
    return arrays


def assert_same_bits(left: list[Array], right: list[Array]) -> None:
    """Equal to the bit, any NaN equal to any."""
    for a, b in zip(left, right, strict=True):
        same = a.view(np.uint32) == b.view(np.uint32)
        assert np.all(same | (np.isnan(a) & np.isnan(b)))


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("case", range(len(CASES)))
def test_the_cases_compute_the_same(case: int, number: int) -> None:
    ctx, module = parse(CASES[case], "case.mlir")
    arrays = given(module, number)
    before = run(module, ctx, arrays)
    apply_passes(ctx, module, "mx-fuse-scales")
    module.verify()
    assert_same_bits(list(before), list(run(module, ctx, arrays)))


@pytest.mark.parametrize("rule", ["floor", "rceil", "even", "ceil"])
@pytest.mark.parametrize("first", ["floor", "rceil", "even", "ceil"])
@pytest.mark.parametrize("format", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp4", "mxint8"])
def test_every_pair_of_rules(format: str, first: str, rule: str) -> None:
    """A tile, its rows, its columns and itself again; some fold, all compute the same."""
    ctx = new_context()
    block = Block(arg_types=[TensorType(Float32Type(), (64, 64))])
    tile, row, column = (block_type(format, shape) for shape in ([32, 32], [1, 32], [32, 1]))
    x = block.args[0]
    a, b = recipe_attr(format, first), recipe_attr(format, rule)
    q = QuantizeOp(x, tile, a)
    r = RequantizeOp(q.output, row, b)
    c = RequantizeOp(r.output, column, b)
    d = DequantizeOp(q.output)
    again = QuantizeOp(d.output, tile, b)
    products = [
        MatMulOp(lhs, rhs, "block-exact")
        for lhs, rhs in ((r.output, c.output), (again.output, q.output), (q.output, c.output))
    ]
    block.add_ops([q, r, c, d, again, *products])
    module = finished(block, [p.output for p in products])
    for number in range(7):
        arrays = given(module, number)
        before = run(module, ctx, arrays)
        copy = module.clone()
        apply_passes(ctx, copy, "mx-fuse-scales")
        assert_same_bits(list(before), list(run(copy, ctx, arrays)))


def finished(block: Block, outputs: list[SSAValue]) -> ModuleOp:
    """The module of one function."""
    block.add_op(ReturnOp(*outputs))
    kind = FunctionType.from_lists([a.type for a in block.args], [o.type for o in outputs])
    return ModuleOp([FuncOp("main", kind, Region(block))])


def scaled(
    factor: float, *, constant: Array | None = None, rule: str = "rceil"
) -> tuple[Context, ModuleOp]:
    """A dequantised tensor, of the input or of constant blocks, times `factor`."""
    ctx = new_context()
    constants = ConstantTable.of(ctx)
    block = Block(arg_types=[TensorType(Float32Type(), (64, 64))])
    kind = block_type("mxfp8_e4m3", [1, 32])
    recipe = recipe_attr("mxfp8_e4m3", rule)
    if constant is None:
        q = QuantizeOp(block.args[0], kind, recipe)
    else:
        data = numerics.quantize(constant, "mxfp8_e4m3", block=(1, 32))
        q = ConstantOp(constants.add(data), TensorType(kind, data.shape))
    d = DequantizeOp(q.output)
    number = np.array(factor, np.float32)
    c = ConstantOp(constants.add(number), tensor_type(number))
    product = op_class("Mul").create_node([d.output, c.output], [d.output.type], {})
    block.add_ops([q, d, c, product])
    return ctx, finished(block, [product.results[0]])


def fires(ctx: Context, module: ModuleOp) -> bool:
    """Whether the product becomes a move of scales; the outputs must stay as they are."""
    before = [run(module, ctx, given(module, number)) for number in range(7)]
    apply_passes(ctx, module, "mx-fuse-scales")
    module.verify()
    for number, outputs in enumerate(before):
        assert_same_bits(list(outputs), list(run(module, ctx, given(module, number))))
    return any(isinstance(op, ScaleByPowerOfTwoOp) for op in module.walk())


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(2.0, True), (128.0, True), (256.0, False), (0.5, False), (1.0, False), (3.0, False),
     (-2.0, False), (0.0, False), (np.inf, False)],
)  # fmt: skip
def test_powers_of_two_of_quantised_floats(factor: float, expected: bool) -> None:
    assert fires(*scaled(factor)) is expected


WEIGHTS = np.random.default_rng(5).standard_normal((64, 64)).astype(np.float32)
WITH_ZEROS = np.where(np.arange(64)[:, None] == 3, np.float32(0), WEIGHTS)


@pytest.mark.parametrize(
    ("weights", "factor", "expected"),
    [(WEIGHTS, 0.125, True), (WEIGHTS, 2.0**100, True), (WEIGHTS, 2.0**-126, False),
     (WITH_ZEROS, 4.0, True), (WITH_ZEROS, 0.25, False)],
)  # fmt: skip
def test_powers_of_two_of_constants(weights: Array, factor: float, expected: bool) -> None:
    """By the data: 2**-126 rounds, and the scale of a block of zeros cannot fall below 0."""
    assert fires(*scaled(factor, constant=weights)) is expected


def test_conversions_of_constants_are_done_now() -> None:
    ctx = new_context()
    data = numerics.quantize(WEIGHTS, "mxfp8_e4m3", block=(1, 32))
    block = Block(arg_types=[TensorType(Float32Type(), (64, 64))])
    kind = block_type("mxfp8_e4m3", [1, 32])
    c = ConstantOp(ConstantTable.of(ctx).add(data), TensorType(kind, (64, 64)))
    column = block_type("mxfp4", [32, 1])
    q = RequantizeOp(c.output, column, recipe_attr("mxfp4", "floor"))
    d = DequantizeOp(q.output)
    block.add_ops([c, q, d])
    module = finished(block, [d.output])
    before = run(module, ctx, [WEIGHTS])
    apply_passes(ctx, module, "mx-fuse-scales")
    assert not any(isinstance(op, RequantizeOp) for op in module.walk())
    assert_same_bits(list(before), list(run(module, ctx, [WEIGHTS])))


def test_a_pair_by_rceil_is_not_the_identity() -> None:
    """What the pass must not do: near 2**128 the pair gives NaN where the blocks are finite."""
    x = np.full((1, 32), 3.4e38, np.float32)
    q = numerics.quantize(x, "mxfp8_e4m3", scale_rule="rceil")
    assert np.all(q.codes == 0x78)
    with np.errstate(over="ignore"):
        again = numerics.quantize(q.dequantize(), "mxfp8_e4m3", scale_rule="rceil")
    assert np.all(again.scales == 0xFF)
