"""`canonicalize`, `fold-constants`, `cse` and `dce` where arrays, names or time matter."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import SSAValue

from mxc.backends.ref import run
from mxc.constants import ConstantTable
from mxc.dialects import new_context
from mxc.dialects.location import locate, node_names
from mxc.dialects.onnx import OnnxOp
from mxc.opt import apply_passes, parse
from mxc.passes import PASSES, describe

Array = NDArray[Any]


def module(body: str, shape: str = "2x3xf32", **arrays: Array) -> tuple[Context, ModuleOp]:
    """`main(%x)` returning %y; `@name` in `body` stands for the constant `name`."""
    ctx = new_context()
    table = ConstantTable.of(ctx)
    for name, array in arrays.items():
        body = re.sub(rf"@{name}\b", f"@{table.add(array)}", body)
    kind = f"tensor<{shape}>"
    text = f"func.func @main(%x: {kind}) -> {kind} {{ {body} func.return %y : {kind} }}"
    return parse(text, ctx=ctx)


def nodes(m: ModuleOp) -> list[str]:
    return [op.op_type for op in m.walk() if isinstance(op, OnnxOp)]


def returned(m: ModuleOp) -> SSAValue:
    return next(op for op in m.walk() if isinstance(op, ReturnOp)).arguments[0]


def binary(op: str, operands: str, element: str = "f32") -> str:
    t = f"tensor<2x3x{element}>"
    return (
        f"%c = mx.constant @c : tensor<1x{element}> "
        f"%y = onnx.{op}({operands}) : "
        f"({', '.join(t if o == '%x' else f'tensor<1x{element}>' for o in operands.split(', '))})"
        f" -> {t}"
    )


NEUTRAL = [
    ("Mul", "%x, %c", 1.0),
    ("Mul", "%c, %x", 1.0),
    ("Div", "%x, %c", 1.0),
    ("Pow", "%x, %c", 1.0),
    ("Sub", "%x, %c", 0.0),
    ("Add", "%x, %c", -0.0),
    ("Add", "%c, %x", -0.0),
]
NOT_NEUTRAL = [
    ("Mul", "%x, %c", -1.0),
    ("Div", "%c, %x", 1.0),
    ("Sub", "%x, %c", -0.0),
    ("Sub", "%c, %x", 0.0),
    ("Add", "%x, %c", 0.0),
    ("Pow", "%c, %x", 1.0),
]
EVERY_KIND = np.float32([[0.0, -0.0, np.nan], [np.inf, -np.inf, 1e-45]])


@pytest.mark.parametrize(("op", "operands", "constant"), NEUTRAL)
def test_neutral_operands_go_and_change_no_bit(op: str, operands: str, constant: float) -> None:
    ctx, m = module(binary(op, operands), c=np.float32([constant]))
    (before,) = run(m, ctx, [EVERY_KIND])
    apply_passes(ctx, m, "canonicalize")
    assert nodes(m) == []
    np.testing.assert_array_equal(before, EVERY_KIND)
    assert (np.signbit(before) == np.signbit(EVERY_KIND))[~np.isnan(before)].all()


@pytest.mark.parametrize(("op", "operands", "constant"), NOT_NEUTRAL)
def test_operands_that_only_look_neutral_stay(op: str, operands: str, constant: float) -> None:
    ctx, m = module(binary(op, operands), c=np.float32([constant]))
    apply_passes(ctx, m, "canonicalize")
    assert nodes(m) == [op]


def test_integers_have_one_zero() -> None:
    ctx, m = module(binary("Add", "%x, %c", "i32"), "2x3xi32", c=np.int32([0]))
    apply_passes(ctx, m, "canonicalize")
    assert nodes(m) == []


def test_a_neutral_operand_that_broadcasts_stays() -> None:
    body = (
        "%c = mx.constant @c : tensor<2x3xf32> %s = onnx.ReduceMax(%x) <{keepdims = 1 : si64}> "
        ": (tensor<2x3xf32>) -> tensor<1x1xf32> "
        "%y = onnx.Mul(%s, %c) : (tensor<1x1xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>"
    )
    ctx, m = module(body.replace("si64", "i64"), c=np.ones((2, 3), np.float32))
    apply_passes(ctx, m, "canonicalize")
    assert nodes(m)[-1] == "Mul"


@pytest.mark.parametrize(
    ("body", "arrays", "left"),
    [
        ("onnx.Pad(%x, %a)", {"a": [0, 0, 0, 0]}, []),
        ("onnx.Pad(%x, %a)", {"a": [1, 0, -1, 0]}, ["Pad"]),
        ("onnx.Slice(%x, %a, %b, none, %c)", {"a": [0, 0], "b": [2, 3], "c": [1, 1]}, []),
        ("onnx.Slice(%x, %a, %b, none, %c)", {"a": [1, 0], "b": [-9, 3], "c": [-1, 1]}, ["Slice"]),
        ("onnx.Clip(%x)", {}, []),
        ("onnx.Expand(%x, %a)", {"a": [1, 3]}, []),
    ],
)
def test_nodes_that_do_nothing(body: str, arrays: dict[str, list[int]], left: list[str]) -> None:
    made = {name: np.array(values, np.int64) for name, values in arrays.items()}
    types = [f"tensor<{len(a)}xi64>" for a in made.values()]
    constants = [
        f"%{n} = mx.constant @{n} : {t}" for (n, _), t in zip(made.items(), types, strict=True)
    ]
    kinds = ", ".join(["tensor<2x3xf32>", *types])
    text = " ".join([*constants, f"%y = {body} : ({kinds}) -> tensor<2x3xf32>"])
    ctx, m = module(text, **made)
    apply_passes(ctx, m, "canonicalize")
    assert nodes(m) == left


TRANSPOSED = (
    "%w = mx.constant @w : tensor<3x2xf32> "
    "%t = onnx.Transpose(%w) : (tensor<3x2xf32>) -> tensor<2x3xf32> "
    "%y = onnx.Add(%x, %t) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>"
)


def test_constants_are_folded_and_keep_the_name() -> None:
    w = np.arange(6, dtype=np.float32).reshape(3, 2)
    ctx, m = module(TRANSPOSED, w=w)
    transpose = next(op for op in m.walk() if op.name == "onnx.Transpose")
    transpose.location = locate(["net/Transpose"])
    apply_passes(ctx, m, "fold-constants")
    assert nodes(m) == ["Add"]
    (constant,) = (op for op in m.walk() if op.name == "mx.constant")
    assert node_names(constant) == ("net/Transpose",)
    (y,) = run(m, ctx, [np.zeros((2, 3), np.float32)])
    np.testing.assert_array_equal(y, w.T)


def test_weights_are_folded_whatever_their_size_but_not_blown_up() -> None:
    ctx, m = module(TRANSPOSED, w=np.ones((3, 2), np.float32))
    apply_passes(ctx, m, "fold-constants{max-bytes=0}")
    assert nodes(m) == ["Add"]
    blown_up = (
        "%c = mx.constant @c : tensor<1xf32> %s = mx.constant @s : tensor<2xi64> "
        "%e = onnx.Expand(%c, %s) : (tensor<1xf32>, tensor<2xi64>) -> tensor<2x3xf32> "
        "%y = onnx.Add(%x, %e) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>"
    )
    arrays = {"c": np.float32([1]), "s": np.array([2, 3])}
    for limit, left in ((20, ["Expand", "Add"]), (24, ["Add"])):
        ctx, m = module(blown_up, **arrays)
        apply_passes(ctx, m, f"fold-constants{{max-bytes={limit}}}")
        assert nodes(m) == left


def test_what_cannot_be_evaluated_stays() -> None:
    body = (
        "%c = mx.constant @missing : tensor<2x3xf32> "
        "%y = onnx.Neg(%c) : (tensor<2x3xf32>) -> tensor<2x3xf32>"
    )
    ctx, m = module(body)
    apply_passes(ctx, m, "fold-constants")
    assert nodes(m) == ["Neg"]


def test_names_of_merged_nodes_are_kept() -> None:
    body = (
        "%a = onnx.Exp(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32> "
        "%b = onnx.Exp(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32> "
        "%y = onnx.Add(%a, %b) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>"
    )
    ctx, m = module(body)
    for op, name in zip((o for o in m.walk() if o.name == "onnx.Exp"), "ab", strict=True):
        op.location = locate([name])
    apply_passes(ctx, m, "cse")
    (exp,) = (op for op in m.walk() if op.name == "onnx.Exp")
    assert node_names(exp) == ("a", "b")


def test_a_merged_transpose_has_both_names() -> None:
    body = " ".join(
        f"%{b} = onnx.Transpose(%{a}) <{{perm = array<i64: 1, 2, 0>}}> "
        f": (tensor<2x2x2xf32>) -> tensor<2x2x2xf32>"
        for a, b in ("xa", "ay")
    )
    ctx, m = module(body, "2x2x2xf32")
    for op, name in zip((o for o in m.walk() if isinstance(o, OnnxOp)), "ab", strict=True):
        op.location = locate([name])
    apply_passes(ctx, m, "canonicalize")
    (transpose,) = (op for op in m.walk() if isinstance(op, OnnxOp))
    assert node_names(transpose) == ("a", "b")
    assert transpose.attr("perm") == [2, 0, 1]


def chain(ops: Sequence[str], length: int) -> str:
    text, last = "", "%x"
    for i in range(length):
        name = "%y" if i == length - 1 else f"%v{i}"
        text += f"{name} = onnx.{ops[i % len(ops)]}({last}) : (tensor<2x3xf32>) -> tensor<2x3xf32> "
        last = name
    return text


@pytest.mark.parametrize("passes", ["canonicalize", "fold-constants", "cse", "dce"])
def test_time_is_linear(passes: str) -> None:
    def seconds(length: int) -> float:
        ctx, m = module(chain(["Identity", "Exp", "Neg", "Neg"], length))
        one = PASSES[passes]()()
        start = time.process_time()
        one.apply(ctx, m)
        return time.process_time() - start

    seconds(10)
    short, long = (min(seconds(n) for _ in range(2)) for n in (100, 400))
    assert long < 12 * short + 0.005, (short, long)


def test_a_model_may_become_empty() -> None:
    ctx, m = module(chain(["Neg", "Neg", "Identity"], 9))
    apply_passes(ctx, m, "canonicalize,cse,dce")
    (function,) = m.ops
    assert isinstance(function, FuncOp)
    assert returned(m) is not None
    assert len(nodes(m)) <= 1


def test_every_pass_is_described() -> None:
    described = describe()
    assert [d["name"] for d in described] == list(PASSES)
    assert all(d["summary"].endswith(".") for d in described)
    assert {"name": "fold-constants", "options": ["max-bytes"]}.items() <= described[1].items()
    for name, load in PASSES.items():
        assert load().name == name
