"""`fuse-elementwise` changes no bit, keeps names, and takes linear time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, TensorType, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir.affine import AffineExpr
from xdsl.rewriter import InsertPoint

from mxc.backends.ref import run
from mxc.constants import ConstantTable
from mxc.dialects import new_context
from mxc.dialects.location import locate, node_names
from mxc.dialects.loops import Loops, Tensor
from mxc.importer import import_model
from mxc.opt import apply_passes

SHAPE = (4, 6)


def program(build: Callable[[Loops, list[Tensor]], list[Tensor]]) -> tuple[Context, ModuleOp]:
    """A module whose `main` takes two tensors of `SHAPE` and returns what `build` makes of them."""
    ctx = new_context()
    type = TensorType(f32, SHAPE)
    function = FuncOp("main", FunctionType.from_lists([type, type], []))
    block = function.body.block
    loops = Loops(InsertPoint.at_end(block), ConstantTable.of(ctx))
    results = build(loops, [Tensor(arg, f32) for arg in block.args])
    block.add_op(ReturnOp(*(r.value for r in results)))
    function.update_function_type()
    module = ModuleOp([function])
    module.verify()
    return ctx, module


def loops_in(module: ModuleOp) -> list[GenericOp]:
    return [op for op in module.walk() if isinstance(op, GenericOp)]


def random_step(r: random.Random, loops: Loops, known: list[Tensor]) -> Tensor:
    x, y = r.choice(known), r.choice(known)
    scalar = loops.constant(np.full([1] * r.randint(0, 2), 1.5, np.float32))
    wide = loops.broadcast(loops.reshape(loops.fill([6], f32, 0.25), [1, 6]), SHAPE)
    d = [AffineExpr.dimension(i) for i in range(2)]
    row = loops.generic(lambda k, v, a: a + v, [(x, d)], [4], f32, reduce=[6], init=fill(loops, 4))
    steps: list[Callable[[], Tensor]] = [
        lambda: loops.map(lambda k, a, b: a * b + 1.0, x, y),
        lambda: loops.map(lambda k, a: -a, x),
        lambda: loops.map(lambda k, a: k.math("exp", -k.abs(a)), x),
        lambda: loops.map(lambda k, a, b: a - b, x, scalar),
        lambda: loops.map(lambda k, a, b: a + b, x, wide),
        lambda: loops.map(lambda k, a, b: a + b, x, loops.reshape(row, [4, 1])),
        lambda: loops.transpose(loops.transpose(x, [1, 0]), [1, 0]),
        lambda: accumulate(loops, -1.0, loops.map(lambda k, a: a * 0.5, x), y),
        lambda: accumulate(loops, 2.0, x, x),
        lambda: loops.reshape(loops.transpose(loops.reshape(x, [2, 2, 6]), [1, 0, 2]), SHAPE),
        lambda: loops.slice(x, [3, 5], SHAPE, [-1, -1]),
        lambda: loops.gather_view(x, [d[0], (d[1] * 5) % 6], SHAPE),
        lambda: loops.concat([loops.slice(x, [0, 3], [4, 3]), loops.slice(y, [0, 0], [4, 3])], 1),
    ]
    return r.choice(steps)()


def accumulate(loops: Loops, factor: float, x: Tensor, into: Tensor) -> Tensor:
    d = [AffineExpr.dimension(i) for i in range(2)]
    return loops.generic(lambda k, a, o: o + a * factor, [(x, d)], SHAPE, f32, init=into)


def fill(loops: Loops, size: int) -> Tensor:
    return loops.fill([size], f32, 0.0)


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_keep_every_bit(seed: int) -> None:
    r = random.Random(seed)

    def build(loops: Loops, known: list[Tensor]) -> list[Tensor]:
        for _ in range(12):
            known.append(random_step(r, loops, known))
        return known[-1:] + r.sample(known, 2)

    ctx, module = program(build)
    rng = np.random.default_rng(seed)
    inputs = [rng.standard_normal(SHAPE).astype(np.float32) for _ in range(2)]
    before, count = run(module, ctx, inputs), len(loops_in(module))
    apply_passes(ctx, module, "fuse-elementwise")
    module.verify()
    after = run(module, ctx, inputs)
    assert len(loops_in(module)) < count
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


def test_scalar_constants_move_into_the_body() -> None:
    def build(loops: Loops, known: list[Tensor]) -> list[Tensor]:
        c = loops.constant(np.array([[2.5]], np.float32))
        return [loops.map(lambda k, a, b: a * b, known[0], c)]

    ctx, module = program(build)
    apply_passes(ctx, module, "fuse-elementwise")
    (generic,) = loops_in(module)
    assert len(generic.inputs) == 1
    assert "mx.constant" not in str(module)
    assert "arith.constant 2.5" in str(module)


def test_names_of_both_are_kept_producer_first() -> None:
    def build(loops: Loops, known: list[Tensor]) -> list[Tensor]:
        loops.location = locate(["net/Neg"])
        x = loops.map(lambda k, a: -a, known[0])
        loops.location = locate(["net/Add"])
        return [loops.map(lambda k, a, b: a + b, x, known[1])]

    ctx, module = program(build)
    apply_passes(ctx, module, "fuse-elementwise")
    (generic,) = loops_in(module)
    assert node_names(generic) == ("net/Neg", "net/Add")


def seconds(length: int) -> float:
    def build(loops: Loops, known: list[Tensor]) -> list[Tensor]:
        x = known[0]
        for i in range(length):
            x = loops.map(lambda k, a, b: k.math("exp", a) + b, x, known[1])
            if i % 5 == 4:
                x = loops.concat([x], 0) if i % 2 else loops.reshape(x, SHAPE)
        return [x]

    ctx, module = program(build)
    start = time.process_time()
    apply_passes(ctx, module, "fuse-elementwise")
    return time.process_time() - start


def test_time_is_linear() -> None:
    seconds(10)
    short, long = min(seconds(50) for _ in range(2)), min(seconds(200) for _ in range(2))
    assert long < 12 * short, (short, long)


def test_a_body_does_not_grow_without_end() -> None:
    def build(loops: Loops, known: list[Tensor]) -> list[Tensor]:
        x = known[0]
        for _ in range(600):
            x = loops.map(lambda k, a: -a, x)
        return [x]

    ctx, module = program(build)
    apply_passes(ctx, module, "fuse-elementwise")
    assert 2 <= len(loops_in(module)) <= 3


@pytest.mark.parametrize(
    "name", ["exports/bert_tiny_dynamo", "exports/mobilenetv2_tiny_dynamo", "trained/digits_cnn"]
)
def test_models_keep_every_bit(name: str, shared_models: Path) -> None:
    arrays: dict[str, Any] = dict(np.load(shared_models / f"{name}.npz"))
    inputs = {k[3:]: v for k, v in arrays.items() if k.startswith("in_")}
    shapes = {k: v.shape for k, v in inputs.items()}
    imported = import_model(shared_models / f"{name}.onnx", input_shapes=shapes)
    ctx, module = imported.ctx, imported.module
    apply_passes(ctx, module, "canonicalize,fold-constants,cse,dce,lower-to-linalg")
    before, count = run(module, ctx, list(inputs.values())), len(loops_in(module))
    for passes in ("fuse-elementwise", "expand-math,cse,dce"):
        apply_passes(ctx, module, passes)
        for a, b in zip(before, run(module, ctx, list(inputs.values())), strict=True):
            np.testing.assert_array_equal(a, b)
    assert len(loops_in(module)) < 0.8 * count
