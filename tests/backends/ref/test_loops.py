"""`linalg.generic` in the interpreter against a plain loop over every point."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, TensorType, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir.affine import AffineExpr
from xdsl.rewriter import InsertPoint

from mxc.backends.ref import run
from mxc.constants import ConstantTable
from mxc.dialects import new_context
from mxc.dialects.loops import Loops, Tensor
from mxc.dialects.loops.tensor import LANES
from mxc.dialects.types import signless, tensor_type


class Bench:
    """A function under construction, and its interpretation."""

    def __init__(self, *arrays: NDArray[Any]) -> None:
        self.arrays = arrays
        self.ctx = new_context()
        types = [tensor_type(a) for a in arrays]
        bare = [TensorType(signless(t.element_type), t.get_shape()) for t in types]
        self.function = FuncOp("main", (bare, ()))
        block = self.function.body.block
        self.loops = Loops(InsertPoint.at_end(block), ConstantTable.of(self.ctx))
        self.args = [
            Tensor(arg, kind.element_type) for arg, kind in zip(block.args, types, strict=True)
        ]

    def run(self, *results: Tensor) -> list[NDArray[Any]]:
        """What the interpreter makes of `results`."""
        self.function.body.block.add_op(ReturnOp(*(r.value for r in results)))
        self.function.update_function_type()
        module = ModuleOp([self.function])
        module.verify()
        return list(run(module, self.ctx, self.arrays))


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


d0, d1, d2, d3 = (AffineExpr.dimension(i) for i in range(4))


def test_strided_offset_and_divided_reads() -> None:
    x = normal(7, 12)
    bench = Bench(x)
    (t,) = bench.args
    rows = [
        bench.loops.gather_view(t, [d0 * 2 + 1, d1 * 3], (3, 4)),
        bench.loops.gather_view(t, [d0 * -1 + 6, 0 * d1 + 5], (7, 2)),
        bench.loops.gather_view(t, [(d0 * 12 + d1) // 12, (d0 * 12 + d1) % 12], (7, 12)),
        bench.loops.gather_view(t, [6, d0], (12,)),
    ]
    wanted = [x[1::2, ::3], np.repeat(x[::-1, 5:6], 2, 1), x, x[6]]
    for got, want in zip(bench.run(*rows), wanted, strict=True):
        np.testing.assert_array_equal(got, want)


def test_reduction_runs_in_lexicographic_order() -> None:
    x = normal(3, 40, 9)
    bench = Bench(x)

    def fold(k: Any, v: Any, acc: Any) -> Any:
        return acc * 0.5 + v

    y = bench.loops.generic(
        fold,
        [(bench.args[0], [d0, d1, d2])],
        (3,),
        f32,
        reduce=(40, 9),
        init=bench.loops.fill((3,), f32, 1.0),
    )
    want = np.ones(3, np.float32)
    for j, k in product(range(40), range(9)):
        want = want * np.float32(0.5) + x[:, j, k]
    np.testing.assert_array_equal(bench.run(y)[0], want)


def test_window_with_a_shape_operand_and_index() -> None:
    x = normal(2, 10)
    bench = Bench(x)

    def weigh(k: Any, v: Any, acc: Any) -> Any:
        return acc + v * k.cast(k.index(2), f32)

    y = bench.loops.generic(
        weigh,
        [(bench.args[0], [d0, d1 * 2 + d2])],
        (2, 4),
        f32,
        reduce=(3,),
        init=bench.loops.fill((2, 4), f32, 0.0),
    )
    want = np.zeros((2, 4), np.float32)
    for r in range(3):
        want += x[:, r : r + 7 : 2] * np.float32(r)
    np.testing.assert_array_equal(bench.run(y)[0], want)


@pytest.mark.parametrize("length", [1, LANES, 2 * LANES - 1, 2 * LANES, 5 * LANES + 3])
def test_sums_are_split_into_lanes_in_the_ir(length: int) -> None:
    x = normal(5, length)
    bench = Bench(x)
    got = bench.run(bench.loops.sum(bench.args[0], [1]))[0]
    if length < 2 * LANES:
        want = np.zeros(5, np.float32)
        for j in range(length):
            want += x[:, j]
    else:
        whole = length // LANES * LANES
        lanes = np.zeros((5, LANES), np.float32)
        for j in range(0, whole, LANES):
            lanes += x[:, j : j + LANES]
        want = np.zeros(5, np.float32)
        for lane in range(LANES):
            want += lanes[:, lane]
        for j in range(whole, length):
            want += x[:, j]
    np.testing.assert_array_equal(got, want)


def test_moves() -> None:
    x, y = normal(3, 4), normal(3, 2)
    bench = Bench(x, y)
    loops, (a, b) = bench.loops, bench.args
    got = bench.run(
        loops.transpose(a, [1, 0]),
        loops.concat([a, b], 1),
        loops.pad(a, [1, 0], [0, 2], 7.0),
        loops.reshape(a, (2, 6)),
        loops.reshape(loops.slice(a, [1, 2], [1, 1]), ()),
        loops.slice(a, [2, 0], [3, 2], [-1, 2]),
    )
    want = [
        x.T,
        np.concatenate([x, y], 1),
        np.pad(x, [(1, 0), (0, 2)], constant_values=7),
        x.reshape(2, 6),
        x[1, 2],
        x[::-1, ::2],
    ]
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g, w)


def test_gather_by_run_time_indices() -> None:
    x, i = normal(6, 5), np.array([4, 0, 0, 5], np.int64)
    bench = Bench(x, i)
    table, indices = bench.args
    y = bench.loops.generic(
        lambda k, row: k.load(table.value, [row, k.index(1)]), [(indices, [d0])], (4, 5), f32
    )
    np.testing.assert_array_equal(bench.run(y)[0], x[i])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.int64])
def test_integer_arithmetic_wraps_and_divides_towards_zero(dtype: Any) -> None:
    info = np.iinfo(dtype)
    a = np.array([info.min, info.max, 7, 100, 1, 0], dtype)
    b = np.array([info.max, info.max, 3, 0, 2, 5], dtype)
    bench = Bench(a, b)
    x, y = bench.args
    loops = bench.loops
    got = bench.run(
        loops.map(lambda k, p, q: p + q, x, y),
        loops.map(lambda k, p, q: p * q, x, y),
        loops.map(lambda k, p, q: p / k.safe_divisor(q), x, y),
        loops.map(lambda k, p, q: k.maximum(p, q), x, y),
    )
    safe = np.where(b == 0, 1, b)
    quotient = [
        int(abs(int(p)) // abs(int(q))) * (1 if (p < 0) == (q < 0) else -1)
        for p, q in zip(a, safe, strict=True)
    ]
    want = [a + b, a * b, np.array(quotient, dtype), np.maximum(a, b)]
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g.view(dtype), w)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64])
def test_floats_saturate_to_integers(dtype: Any) -> None:
    from mxc.dialects.types import element_type

    x = np.array(
        [0.0, -0.9, 1.5, -1e30, 1e30, np.nan, np.inf, -np.inf, 127.9, 4294967295.0], np.float32
    )
    bench = Bench(x)
    got = bench.run(bench.loops.cast(bench.args[0], element_type(dtype)))[0].view(dtype)
    info = np.iinfo(dtype)
    want = [
        0 if np.isnan(v) else int(min(max(np.trunc(np.float64(v)), info.min), info.max)) for v in x
    ]
    assert [int(v) for v in got] == want


def test_maximum_decides_nan_and_signed_zero() -> None:
    a = np.array([np.nan, 1, 0.0, -0.0, 2], np.float32)
    b = np.array([1, np.nan, -0.0, 0.0, 1], np.float32)
    bench = Bench(a, b)
    got = bench.run(bench.loops.map(lambda k, p, q: k.maximum(p, q), *bench.args))[0]
    assert np.isnan(got[:2]).all()
    np.testing.assert_array_equal(np.signbit(got[2:]), [True, False, False])
