"""Scalars inside loop bodies: Python operators that append `arith` and `math` operations.

Only operations with one IEEE-754 result are offered, plus the `math` functions that `expand-math`
rewrites to such. Maximum and minimum are compare-and-select, so that NaN and signed zeros are
decided here and not by a machine. 16-bit and smaller floats are computed in f32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from xdsl.dialects import arith, math, tensor
from xdsl.dialects.builtin import (
    AnyFloat,
    BFloat16Type,
    Float32Type,
    Float64Type,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    f32,
    i1,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, Block, Operation, SSAValue

from mxc.dialects.types import integer_width, is_unsigned, signless

Number = int | float | bool

_SIGNED = {"eq": 0, "ne": 1, "lt": 2, "le": 3, "gt": 4, "ge": 5}
_UNSIGNED = {"eq": 0, "ne": 1, "lt": 6, "le": 7, "gt": 8, "ge": 9}
_FLOAT = {"eq": 1, "gt": 2, "ge": 3, "lt": 4, "le": 5, "ne": 13, "uno": 14}


def is_float(type: Attribute) -> bool:
    """Whether `type` is a float of any width."""
    return isinstance(type, AnyFloat) or type.__class__.__name__.startswith("Float")


def compute_type(element: Attribute) -> Attribute:
    """The type in which values of `element` are computed: f32 for narrower floats, else itself."""
    if is_float(element) and not isinstance(element, Float32Type | Float64Type):
        return f32
    return element


class Scalar:
    """One SSA value inside a body, with the signedness the graph level gave it."""

    __slots__ = ("body", "unsigned", "value")

    def __init__(self, body: Body, value: SSAValue, unsigned: bool = False) -> None:
        self.body = body
        self.value = value
        self.unsigned = unsigned

    @property
    def type(self) -> Attribute:
        """The (signless) IR type."""
        return self.value.type

    @property
    def is_float(self) -> bool:
        """Whether the value is a float."""
        return is_float(self.value.type)

    def _binary(
        self, other: Scalar | Number, float_op: Any, int_op: Any, unsigned_op: Any = None
    ) -> Scalar:
        right = self.body.like(other, self)
        chosen = float_op if self.is_float else (unsigned_op if self.unsigned else None) or int_op
        return self.body.emit(chosen(self.value, right.value), self.unsigned)

    def __add__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, arith.AddfOp, arith.AddiOp)

    def __radd__(self, other: Number) -> Scalar:
        return self.body.like(other, self) + self

    def __sub__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, arith.SubfOp, arith.SubiOp)

    def __rsub__(self, other: Number) -> Scalar:
        return self.body.like(other, self) - self

    def __mul__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, arith.MulfOp, arith.MuliOp)

    def __rmul__(self, other: Number) -> Scalar:
        return self.body.like(other, self) * self

    def __truediv__(self, other: Scalar | Number) -> Scalar:
        """The quotient; for integers truncated towards zero, divisor not 0 (see `safe_divisor`)."""
        return self._binary(other, arith.DivfOp, arith.DivSIOp, arith.DivUIOp)

    def __rtruediv__(self, other: Number) -> Scalar:
        return self.body.like(other, self) / self

    def __mod__(self, other: Scalar | Number) -> Scalar:
        """The integer remainder with the sign of the dividend; divisor not 0."""
        return self._binary(other, None, arith.RemSIOp, arith.RemUIOp)

    def __and__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, None, arith.AndIOp)

    def __or__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, None, arith.OrIOp)

    def __xor__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, None, arith.XOrIOp)

    def __lshift__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, None, arith.ShLIOp)

    def __rshift__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, None, arith.ShRSIOp, arith.ShRUIOp)

    def __invert__(self) -> Scalar:
        """All bits flipped; of an i1, the logical not."""
        return self ^ (1 if self.type == i1 else -1)

    def __neg__(self) -> Scalar:
        if self.is_float:
            return self.body.emit(arith.NegfOp(self.value))
        return self.body.like(0, self) - self

    def compare(self, relation: str, other: Scalar | Number) -> Scalar:
        """`relation` is eq, ne, lt, le, gt, ge (false on NaN but for ne) or uno (either is NaN)."""
        right = self.body.like(other, self)
        if self.is_float:
            return self.body.emit(arith.CmpfOp(self.value, right.value, _FLOAT[relation]))
        table = _UNSIGNED if self.unsigned else _SIGNED
        return self.body.emit(arith.CmpiOp(self.value, right.value, table[relation]))

    def __lt__(self, other: Scalar | Number) -> Scalar:
        return self.compare("lt", other)

    def __le__(self, other: Scalar | Number) -> Scalar:
        return self.compare("le", other)

    def __gt__(self, other: Scalar | Number) -> Scalar:
        return self.compare("gt", other)

    def __ge__(self, other: Scalar | Number) -> Scalar:
        return self.compare("ge", other)

    def eq(self, other: Scalar | Number) -> Scalar:
        """Whether both are equal."""
        return self.compare("eq", other)

    def ne(self, other: Scalar | Number) -> Scalar:
        """Whether both differ (true on NaN)."""
        return self.compare("ne", other)

    def is_nan(self) -> Scalar:
        """Whether the float is a NaN."""
        return self.compare("uno", self)


class Body:
    """A block that is being filled with scalar operations."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self._constants: dict[tuple[Attribute, Any], Scalar] = {}

    def emit(self, op: Operation, unsigned: bool = False) -> Scalar:
        """Appends `op` and wraps its result."""
        self.block.add_op(op)
        return Scalar(self, op.results[0], unsigned)

    def const(self, value: Number, type: Attribute) -> Scalar:
        """The constant `value` of `type` (made once per body); integers wrap to the width."""
        bare = signless(type)
        key = (bare, float(value).hex() if is_float(bare) else int(value))
        found = self._constants.get(key)
        if found is None:
            found = self._constants[key] = self.emit(constant_op(value, bare))
        return Scalar(self, found.value, is_unsigned(type))

    def like(self, value: Scalar | Number, other: Scalar) -> Scalar:
        """`value` itself, or the Python number `value` as a constant of `other`'s type."""
        if isinstance(value, Scalar):
            return value
        constant = self.const(value, other.type)
        return Scalar(self, constant.value, other.unsigned)

    def index(self, dimension: int) -> Scalar:
        """The loop index of `dimension`, of type index."""
        return self.emit(linalg.IndexOp(dimension))

    def load(self, source: SSAValue, indices: list[Scalar], unsigned: bool = False) -> Scalar:
        """The element of tensor `source` at `indices`, each inside its dimension."""
        cast = [self.cast(i, IndexType()).value for i in indices]
        loaded = self.emit(tensor.ExtractOp(source, cast, source.type.element_type), unsigned)  # pyright: ignore
        return self.cast(loaded, compute_type(loaded.type)) if loaded.is_float else loaded

    def where(self, condition: Scalar, a: Scalar | Number, b: Scalar | Number) -> Scalar:
        """`a` where the i1 `condition` holds, else `b`; at least one is a Scalar."""
        model = a if isinstance(a, Scalar) else b
        assert isinstance(model, Scalar)
        a, b = self.like(a, model), self.like(b, model)
        op = arith.SelectOp(condition.value, a.value, b.value)
        return self.emit(op, model.unsigned)

    def maximum(self, a: Scalar, b: Scalar | Number) -> Scalar:
        """The larger; NaN if either is NaN; the second of two zeros."""
        b = self.like(b, a)
        keep = (a > b) | a.is_nan() if a.is_float else a > b
        return self.where(keep, a, b)

    def minimum(self, a: Scalar, b: Scalar | Number) -> Scalar:
        """The smaller; NaN if either is NaN; the second of two zeros."""
        b = self.like(b, a)
        keep = (a < b) | a.is_nan() if a.is_float else a < b
        return self.where(keep, a, b)

    def clamp(self, x: Scalar, low: Number, high: Number) -> Scalar:
        """`x` in [low, high]; NaN stays NaN."""
        x = self.where(x < low, low, x)
        return self.where(x > high, high, x)

    def abs(self, x: Scalar) -> Scalar:
        """The magnitude; of the smallest integer, itself."""
        if x.is_float:
            return self.emit(math.AbsFOp(x.value))
        return x if x.unsigned else self.where(x < 0, -x, x)

    def math(self, name: str, *args: Scalar) -> Scalar:
        """The `math` function `name` (exp, log, sqrt, erf, floor, roundeven, ...) of floats."""
        return self.emit(_MATH[name](*(arg.value for arg in args)))

    def bitcast(self, x: Scalar, type: Attribute) -> Scalar:
        """The bits of `x` as a `type` of the same width."""
        return self.emit(arith.BitcastOp(x.value, signless(type)), is_unsigned(type))

    def safe_divisor(self, x: Scalar) -> Scalar:
        """The integer `x`, or 1 where it is 0."""
        return self.where(x.eq(0), 1, x)

    def floor_div(self, a: Scalar, b: Scalar) -> tuple[Scalar, Scalar]:
        """Integer quotient rounded down and its remainder (sign of the divisor); 0 divides as 1."""
        b = self.safe_divisor(b)
        remainder = a % b
        if a.unsigned:
            return a / b, remainder
        wrong = remainder.ne(0) & ((remainder < 0) ^ (b < 0))
        return (
            self.where(wrong, a / b - 1, a / b),
            self.where(wrong, remainder + b, remainder),
        )

    def cast(self, x: Scalar, target: Attribute) -> Scalar:
        """`x` as `target`, as ONNX Cast: floats round to nearest even, float to integer truncates.

        A float outside the integer's range saturates and NaN becomes 0, where ONNX leaves it open;
        integers wrap; anything not 0 is true.
        """
        bare, unsigned = signless(target), is_unsigned(target)
        if bare == x.type:
            return Scalar(self, x.value, unsigned)
        if bare == i1:
            return x.ne(0)
        if is_float(bare):
            return self._to_float(x, bare)
        if x.is_float:
            return self._float_to_int(x, bare, unsigned)
        return self._int_to_int(x, bare, unsigned)

    def _to_float(self, x: Scalar, target: Attribute) -> Scalar:
        if not x.is_float:
            wide = self._int_to_int(x, IntegerType(64), False) if x.type == IndexType() else x
            wide = self.cast(wide, IntegerType(32)) if wide.type == i1 else wide
            convert = arith.UIToFPOp if x.unsigned else arith.SIToFPOp
            computed = compute_type(target)
            result = self.emit(convert(wide.value, computed))  # pyright: ignore
            return self.cast(result, target)
        source, goal = _width(x.type), _width(target)
        if goal > source:
            return self.emit(arith.ExtFOp(x.value, target))  # pyright: ignore
        if goal < source:
            return self.emit(arith.TruncFOp(x.value, target))  # pyright: ignore
        return self.cast(self.cast(x, f32), target)

    def _float_to_int(self, x: Scalar, target: Attribute, unsigned: bool) -> Scalar:
        if target == IndexType():
            return self.cast(self._float_to_int(x, IntegerType(64), False), target)
        width = _width(target)
        low, high = (0, 2**width - 1) if unsigned else (-(2 ** (width - 1)), 2 ** (width - 1) - 1)
        dtype = np.float64 if isinstance(x.type, Float64Type) else np.float32
        top = dtype(high)
        if int(top) > high:
            top = np.nextafter(top, dtype(0))
        x = self.math("trunc", x)
        x = self.where(x.is_nan(), 0.0, x)
        safe = self.clamp(x, float(low), float(top))
        convert = arith.FPToUIOp if unsigned else arith.FPToSIOp
        result = self.emit(convert(safe.value, target), unsigned)  # pyright: ignore
        return self.where(x > float(top), high, result) if int(top) != high else result

    def _int_to_int(self, x: Scalar, target: Attribute, unsigned: bool) -> Scalar:
        if IndexType() in (x.type, target):
            wide = x
            if target == IndexType() and x.type != IntegerType(64):
                wide = self._int_to_int(x, IntegerType(64), x.unsigned)
            result = self.emit(
                arith.IndexCastOp(
                    wide.value, IndexType() if target == IndexType() else IntegerType(64)
                )
            )
            return result if target == IndexType() else self.cast(result, target)
        source, goal = _width(x.type), _width(target)
        if goal == source:
            return Scalar(self, x.value, unsigned)
        if goal < source:
            return self.emit(arith.TruncIOp(x.value, target), unsigned)  # pyright: ignore
        widen = arith.ExtUIOp if x.unsigned or x.type == i1 else arith.ExtSIOp
        return self.emit(widen(x.value, target), unsigned)  # pyright: ignore


def _width(type: Attribute) -> int:
    if isinstance(type, BFloat16Type):
        return 16
    return cast(AnyFloat, type).bitwidth if is_float(type) else integer_width(type)


def constant_op(value: Number, type: Attribute) -> arith.ConstantOp:
    """An `arith.constant` of a float, integer (wrapped to its width) or index type."""
    if is_float(type):
        return arith.ConstantOp(FloatAttr(float(value), cast(AnyFloat, type)))
    if not isinstance(type, IntegerType):
        return arith.ConstantOp(IntegerAttr(int(value), IndexType()))
    width = integer_width(cast(IntegerType, type))
    number = int(value) % 2**width
    if width > 1 and number >= 2 ** (width - 1):
        number -= 2**width
    return arith.ConstantOp(IntegerAttr(number, cast(IntegerType, type)))


_MATH: dict[str, Callable[..., Operation]] = {
    "acos": math.AcosOp,
    "acosh": math.AcoshOp,
    "asin": math.AsinOp,
    "asinh": math.AsinhOp,
    "atan": math.AtanOp,
    "atan2": math.Atan2Op,
    "atanh": math.AtanhOp,
    "ceil": math.CeilOp,
    "copysign": math.CopySignOp,
    "cos": math.CosOp,
    "cosh": math.CoshOp,
    "erf": math.ErfOp,
    "exp": math.ExpOp,
    "expm1": math.ExpM1Op,
    "floor": math.FloorOp,
    "fma": math.FmaOp,
    "log": math.LogOp,
    "log1p": math.Log1pOp,
    "log2": math.Log2Op,
    "pow": math.PowFOp,
    "roundeven": math.RoundEvenOp,
    "rsqrt": math.RsqrtOp,
    "sin": math.SinOp,
    "sinh": math.SinhOp,
    "sqrt": math.SqrtOp,
    "tan": math.TanOp,
    "tanh": math.TanhOp,
    "trunc": math.TruncOp,
}
