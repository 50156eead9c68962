"""How each scalar operation is written in C: one operation, one expression of named values.

Where C leaves something undefined or to the implementation, the expression is written around it:
integers wrap because they are unsigned, division by -1 is a helper, conversions are in range
because the IR says so. `>>` of a negative signed value and the cast of a large unsigned value to
signed are "implementation-defined" in C99; every compiler that matters shifts arithmetically and
wraps, and `mxnpu_scalar.h` refuses to compile elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import Float64Type, FloatAttr, IndexType, IntegerAttr, IntegerType, f32
from xdsl.ir import Attribute, Operation

from mxc.backends.npu.ctypes_of import SMALL_FLOATS, c_float, c_integer, c_type
from mxc.errors import CannotLower

Rule = Callable[[Any, Sequence[str]], str]


def expression(op: Operation, args: Sequence[str]) -> str:
    """The C expression of `op` on the named values `args`.

    Raises:
        CannotLower: if there is no rule for it; never a guess.
    """
    rule = RULES.get(type(op))
    if rule is None:
        raise CannotLower(f"the C backend has no rule for {op.name}")
    return rule(op, args)


def width_of(type: Attribute) -> int:
    """The bits of an integer or index."""
    if isinstance(type, IndexType):
        return 64
    return type.bitwidth if isinstance(type, IntegerType) else 0


def as_signed(value: str, type: Attribute) -> str:
    """`value` read as a signed number; an i1 that is set is -1."""
    if isinstance(type, IndexType):
        return value
    if (width := width_of(type)) == 1:
        return f"-(int){value}"
    if width < 8:
        return f"((int)(({value} & {(1 << width) - 1}u) ^ {1 << width - 1}u) - {1 << width - 1})"
    return f"(int{width}_t){value}"


def as_unsigned(value: str, type: Attribute) -> str:
    """`value` read as an unsigned number."""
    if 1 < (width := width_of(type)) < 8:
        return f"({value} & {(1 << width) - 1}u)"
    return f"(uint64_t){value}" if isinstance(type, IndexType) else value


def _infix(operator: str) -> Rule:
    return lambda op, args: f"{args[0]} {operator} {args[1]}"


def _wrapping(operator: str) -> Rule:
    """Integer arithmetic modulo 2**width; narrow types promote to int, so 32 bits are named."""

    def rule(op: Operation, args: Sequence[str]) -> str:
        kind = op.results[0].type
        wide = "uint64_t" if width_of(kind) == 64 else "uint32_t"
        return _narrow(f"(({wide}){args[0]} {operator} ({wide}){args[1]})", kind)

    return rule


def _narrow(value: str, kind: Attribute) -> str:
    """`value` cut to the bits of `kind`."""
    if (width := width_of(kind)) < 8:
        return f"({c_type(kind)})({value} & {(1 << width) - 1}u)"
    return f"({c_type(kind)}){value}"


def _signed_call(name: str) -> Rule:
    def rule(op: Operation, args: Sequence[str]) -> str:
        kind = op.results[0].type
        bits = 64 if width_of(kind) == 64 else 32
        shown = ", ".join(as_signed(arg, kind) for arg in args)
        return _narrow(f"mxnpu_{name}{bits}({shown})", kind)

    return rule


def _unsigned_infix(operator: str) -> Rule:
    def rule(op: Operation, args: Sequence[str]) -> str:
        kind = op.results[0].type
        return _narrow(
            f"({as_unsigned(args[0], kind)} {operator} {as_unsigned(args[1], kind)})", kind
        )

    return rule


def _shift_right_signed(op: Operation, args: Sequence[str]) -> str:
    kind = op.results[0].type
    return _narrow(f"({as_signed(args[0], kind)} >> {as_unsigned(args[1], kind)})", kind)


def _pick(read: Callable[[str, Attribute], str], operator: str) -> Rule:
    def rule(op: Operation, args: Sequence[str]) -> str:
        a, b = (read(arg, op.results[0].type) for arg in args)
        return f"{a} {operator} {b} ? {args[0]} : {args[1]}"

    return rule


def _call(name: str) -> Rule:
    """A function of <math.h>, of floats or doubles."""

    def rule(op: Operation, args: Sequence[str]) -> str:
        suffix = "" if isinstance(op.results[0].type, Float64Type) else "f"
        return f"{name}{suffix}({', '.join(args)})"

    return rule


_CMPF = {
    "false": "0",
    "oeq": "{0} == {1}",
    "ogt": "{0} > {1}",
    "oge": "{0} >= {1}",
    "olt": "{0} < {1}",
    "ole": "{0} <= {1}",
    "one": "{0} < {1} || {0} > {1}",
    "ord": "{0} == {0} && {1} == {1}",
    "ueq": "!({0} < {1} || {0} > {1})",
    "ugt": "!({0} <= {1})",
    "uge": "!({0} < {1})",
    "ult": "!({0} >= {1})",
    "ule": "!({0} > {1})",
    "une": "{0} != {1}",
    "uno": "{0} != {0} || {1} != {1}",
    "true": "1",
}
_CMPI = ("==", "!=", "<", "<=", ">", ">=", "<", "<=", ">", ">=")
"""eq ne slt sle sgt sge ult ule ugt uge, as the predicate's number."""


def _cmpf(op: arith.CmpfOp, args: Sequence[str]) -> str:
    name = list(_CMPF)[op.predicate.value.data]
    return "(uint8_t)(" + _CMPF[name].format(*args) + ")"


def _cmpi(op: arith.CmpiOp, args: Sequence[str]) -> str:
    number, kind = op.predicate.value.data, op.lhs.type
    read = as_signed if 2 <= number <= 5 else as_unsigned
    return f"(uint8_t)({read(args[0], kind)} {_CMPI[number]} {read(args[1], kind)})"


def _constant(op: arith.ConstantOp, args: Sequence[str]) -> str:
    value, kind = op.value, op.result.type
    if isinstance(value, IntegerAttr):
        return c_integer(value.value.data, kind)
    if not isinstance(value, FloatAttr):
        raise CannotLower(f"arith.constant {value} is no scalar")
    if type(kind) in SMALL_FLOATS:
        return f"mxnpu_{SMALL_FLOATS[type(kind)]}_from_f32({c_float(value.value.data, f32)})"
    return c_float(value.value.data, kind)


def _convert_float(op: arith.ExtFOp | arith.TruncFOp, args: Sequence[str]) -> str:
    """Between floats; those that C lacks go through f32, which holds them exactly.

    f64 to a small float in one rounding is a helper of its own.
    """
    source, target = op.input.type, op.result.type
    small_source, small_target = SMALL_FLOATS.get(type(source)), SMALL_FLOATS.get(type(target))
    value = f"mxnpu_f32_from_{small_source}({args[0]})" if small_source else args[0]
    if small_target:
        wide = "f64" if isinstance(source, Float64Type) else "f32"
        return f"mxnpu_{small_target}_from_{wide}({value})"
    return f"({c_type(target)}){value}"


def _float_from(read: Callable[[str, Attribute], str]) -> Rule:
    def rule(op: Operation, args: Sequence[str]) -> str:
        return f"({c_type(op.results[0].type)})({read(args[0], op.operands[0].type)})"

    return rule


def _int_from_float(signed: bool) -> Rule:
    def rule(op: Operation, args: Sequence[str]) -> str:
        kind = op.results[0].type
        through = f"({'' if signed else 'u'}int64_t)" if width_of(kind) == 64 else ""
        if not through:
            through = f"(int{max(8, width_of(kind))}_t)" if signed else "(uint32_t)"
        return _narrow(f"{through}{args[0]}", kind)

    return rule


def _extend(signed: bool) -> Rule:
    def rule(op: Operation, args: Sequence[str]) -> str:
        read = as_signed if signed else as_unsigned
        return f"({c_type(op.results[0].type)})({read(args[0], op.operands[0].type)})"

    return rule


def _truncate(op: arith.TruncIOp, args: Sequence[str]) -> str:
    return _narrow(args[0], op.result.type)


def _index_cast(op: arith.IndexCastOp, args: Sequence[str]) -> str:
    if isinstance(op.result.type, IndexType):
        return f"(int64_t)({as_signed(args[0], op.input.type)})"
    return _narrow(f"(uint64_t){args[0]}", op.result.type)


def _bitcast(op: arith.BitcastOp, args: Sequence[str]) -> str:
    names = {"float": "f32", "double": "f64"}
    source, target = c_type(op.input.type), c_type(op.result.type)
    if source == target:
        return args[0]
    if target in names:
        return f"mxnpu_{names[target]}_of_bits({args[0]})"
    return f"mxnpu_bits_of_{names[source]}({args[0]})"


RULES: dict[type[Operation], Rule] = {
    arith.ConstantOp: _constant,
    arith.AddfOp: _infix("+"),
    arith.SubfOp: _infix("-"),
    arith.MulfOp: _infix("*"),
    arith.DivfOp: _infix("/"),
    arith.NegfOp: lambda op, args: f"-{args[0]}",
    arith.CmpfOp: _cmpf,
    arith.CmpiOp: _cmpi,
    arith.SelectOp: lambda op, args: f"{args[0]} ? {args[1]} : {args[2]}",
    arith.AddiOp: _wrapping("+"),
    arith.SubiOp: _wrapping("-"),
    arith.MuliOp: _wrapping("*"),
    arith.AndIOp: _wrapping("&"),
    arith.OrIOp: _wrapping("|"),
    arith.XOrIOp: _wrapping("^"),
    arith.ShLIOp: _wrapping("<<"),
    arith.ShRUIOp: _unsigned_infix(">>"),
    arith.ShRSIOp: _shift_right_signed,
    arith.DivSIOp: _signed_call("divs"),
    arith.RemSIOp: _signed_call("rems"),
    arith.DivUIOp: _unsigned_infix("/"),
    arith.RemUIOp: _unsigned_infix("%"),
    arith.MinSIOp: _pick(as_signed, "<"),
    arith.MaxSIOp: _pick(as_signed, ">"),
    arith.MinUIOp: _pick(as_unsigned, "<"),
    arith.MaxUIOp: _pick(as_unsigned, ">"),
    arith.ExtFOp: _convert_float,
    arith.TruncFOp: _convert_float,
    arith.SIToFPOp: _float_from(as_signed),
    arith.UIToFPOp: _float_from(as_unsigned),
    arith.FPToSIOp: _int_from_float(signed=True),
    arith.FPToUIOp: _int_from_float(signed=False),
    arith.ExtSIOp: _extend(signed=True),
    arith.ExtUIOp: _extend(signed=False),
    arith.TruncIOp: _truncate,
    arith.IndexCastOp: _index_cast,
    arith.BitcastOp: _bitcast,
    math.SqrtOp: _call("sqrt"),
    math.FmaOp: _call("fma"),
    math.FloorOp: _call("floor"),
    math.CeilOp: _call("ceil"),
    math.TruncOp: _call("trunc"),
    math.RoundEvenOp: _call("rint"),
    math.AbsFOp: _call("fabs"),
    math.CopySignOp: _call("copysign"),
    math.AbsIOp: _signed_call("abs"),
    math.CountLeadingZerosOp: lambda op, args: (
        f"({c_type(op.result.type)})"
        f"mxnpu_clz({as_unsigned(args[0], op.result.type)}, {width_of(op.result.type)})"
    ),
}
