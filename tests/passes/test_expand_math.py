"""`expand-math` builds the definitions that `passes/math` measures, and nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from xdsl.dialects import arith
from xdsl.dialects import math as math_dialect
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue

from mxc.dialects.location import locate, node_names
from mxc.errors import CannotLower
from mxc.opt import apply_passes, parse
from mxc.passes.expand_math import KEPT
from mxc.passes.math import EXPANSIONS
from mxc.passes.math.build import KINDS
from mxc.passes.math.evaluate import DTYPES, NumpyMachine, evaluate
from mxc.passes.math.scalars import Scalar

UNARY = [n for n in EXPANSIONS if n.startswith("math.") and n[-2:] not in ("wf", "n2", "wi")]


def expanded(body: str) -> ModuleOp:
    ctx, module = parse(f"func.func @main(%x: f32, %y: f64) -> f32 {{ {body} }}")
    apply_passes(ctx, module, "expand-math")
    module.verify()
    return module


def run(module: ModuleOp, x: Any) -> Any:
    """The value returned for arguments (x, x), one operation of the IR at a time."""
    machine = NumpyMachine()
    (function,) = module.ops
    assert isinstance(function, FuncOp)
    values: dict[SSAValue, Scalar] = {}
    for argument in function.body.block.args:
        kind = KINDS[argument.type]
        values[argument] = Scalar(machine, np.asarray(x, DTYPES[kind]), kind)
    for op in function.body.block.ops:
        if isinstance(op, ReturnOp):
            return values[op.arguments[0]].raw
        values[op.results[0]] = step(machine, op, [values[o] for o in op.operands])
    raise AssertionError("no return")


def step(machine: NumpyMachine, op: Operation, args: list[Scalar]) -> Scalar:
    kind = KINDS[op.results[0].type]
    if isinstance(op, arith.ConstantOp):
        assert isinstance(op.value, IntegerAttr | FloatAttr)
        return machine.constant(op.value.value.data, kind)
    predicate = ""
    if isinstance(op, arith.CmpfOp | arith.CmpiOp):
        names = arith.CMPF_COMPARISON_OPERATIONS if isinstance(op, arith.CmpfOp) else None
        names = names or arith.CMPI_COMPARISON_OPERATIONS
        predicate = names[op.predicate.value.data]
    return machine.apply(op.name, kind, args, predicate)


@pytest.mark.parametrize("name", UNARY)
def test_the_ir_computes_what_was_measured(name: str) -> None:
    module = expanded(f"%a = {name} %x : f32 func.return %a : f32")
    x = np.float32([-np.inf, -90, -1.3, -0.0, 0, 1e-40, 0.4, 1, 3.7, 1e9, np.inf, np.nan])
    with np.errstate(all="ignore"):
        got, want = run(module, x), evaluate(EXPANSIONS[name], x)
    np.testing.assert_array_equal(got.view(np.uint32), want.view(np.uint32))


@pytest.mark.parametrize("name", [*UNARY, "math.powf", "math.atan2"])
def test_only_exact_operations_are_left(name: str) -> None:
    operands = "%x, %x" if name in ("math.powf", "math.atan2") else "%x"
    module = expanded(f"%a = {name} {operands} : f32 func.return %a : f32")
    assert not [o for o in module.walk() if o.name in EXPANSIONS]
    assert {o.name for o in module.walk() if o.name.startswith("math.")} <= KEPT


@pytest.mark.parametrize("type", ["f32", "f64"])
@pytest.mark.parametrize("name", [*UNARY, "math.powf", "math.atan2"])
def test_nothing_is_computed_in_vain(name: str, type: str) -> None:
    operands = "%x, %x" if name in ("math.powf", "math.atan2") else "%x"
    text = f"func.func @main(%x: {type}) -> {type} {{ %a = {name} {operands} : {type} "
    ctx, module = parse(text + f"func.return %a : {type} }}")
    apply_passes(ctx, module, "expand-math")
    assert all(r.uses for op in module.walk() for r in op.results)


def test_constants_are_shared() -> None:
    one = expanded("%a = math.exp %x : f32 func.return %a : f32")
    two = expanded(
        "%a = math.exp %x : f32 %b = math.exp %a : f32 func.return %b : f32",
    )
    count = [sum(isinstance(o, arith.ConstantOp) for o in m.walk()) for m in (one, two)]
    assert count[0] == count[1]


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, -1.0, 0.5])
def test_constant_exponents(exponent: float) -> None:
    module = expanded(
        f"%c = arith.constant {exponent} : f32 %a = math.powf %x, %c : f32 func.return %a : f32"
    )
    assert sum(1 for _ in module.walk()) < 15
    x = np.float32([0.0, -0.0, 2, 0.3, np.inf, -np.inf, np.nan, 7.1, 1e-20])
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.float64), np.full(x.shape, exponent)).astype(np.float32)
        got = run(module, x)
    np.testing.assert_array_max_ulp(got[2:4], want[2:4], 1)
    assert np.signbit(got[:2]).tolist() == np.signbit(want[:2]).tolist()
    np.testing.assert_allclose(got, want, rtol=2.0**-22)


def test_another_exponent_takes_the_general_way() -> None:
    module = expanded(
        "%c = arith.constant 2.5 : f32 %a = math.powf %x, %c : f32 func.return %a : f32"
    )
    assert run(module, np.float32([4.0])) == math.pow(4, 2.5)


def test_names_of_nodes_are_kept() -> None:
    ctx, module = parse(
        "func.func @main(%x: f32) -> f32 { %a = math.exp %x : f32 func.return %a : f32 }"
    )
    (exp,) = (o for o in module.walk() if isinstance(o, math_dialect.ExpOp))
    exp.location = locate(["net/Exp"])
    apply_passes(ctx, module, "expand-math")
    made = [o for o in module.walk() if o.name.startswith(("arith.", "math."))]
    assert made
    assert all(node_names(o) == ("net/Exp",) for o in made)


def test_a_type_without_expansion_is_an_error() -> None:
    ctx, module = parse("func.func @main(%x: f80) { %a = math.exp %x : f80 func.return }")
    with pytest.raises(CannotLower, match=r"cannot expand math\.exp: f80"):
        apply_passes(ctx, module, "expand-math")


def test_an_operation_without_expansion_is_an_error() -> None:
    ctx, module = parse("func.func @main(%x: i32) { %a = math.ctpop %x : i32 func.return }")
    with pytest.raises(CannotLower, match=r"cannot expand math\.ctpop: there is no expansion"):
        apply_passes(ctx, module, "expand-math")
