"""Scalar arithmetic that a function is written in once and that means two things.

A `Scalar` records one IEEE-754 or integer operation per operator. Its `Machine` decides what that
does: `IRBuilder` adds an `arith` or `math` operation to a block, `NumpyMachine` computes on arrays.
So the definition that becomes IR is the definition that the tests measure.

Every operation has exactly one result in IEEE-754 and two's complement arithmetic, whoever computes
it; in particular nothing is fused, and integers wrap.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["f32", "f64", "i1", "i32", "i64"]
"""The type of a scalar."""

INTEGER_OF: dict[Kind, Kind] = {"f32": "i32", "f64": "i64"}
FLOAT_OF: dict[Kind, Kind] = {"i32": "f32", "i64": "f64"}


class Machine(ABC):
    """What the operators of a `Scalar` do. Operations bear the names they have in the IR."""

    @abstractmethod
    def constant(self, value: float | int, kind: Kind) -> Scalar:
        """A literal."""

    @abstractmethod
    def apply(self, name: str, kind: Kind, args: Sequence[Scalar], predicate: str = "") -> Scalar:
        """The operation `name`, e.g. `arith.addf`, with a result of type `kind`."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value on a machine; numbers among the operands become constants of its type."""

    machine: Machine
    raw: Any
    kind: Kind

    def _lift(self, other: Operand) -> Scalar:
        return other if isinstance(other, Scalar) else self.machine.constant(other, self.kind)

    def _binary(self, name: str, lhs: Operand, rhs: Operand) -> Scalar:
        suffix = "f" if self.kind in INTEGER_OF else "i"
        operands = (self._lift(lhs), self._lift(rhs))
        return self.machine.apply(f"arith.{name}{suffix}", self.kind, operands)

    def _compare(self, predicate: str, other: Operand) -> Scalar:
        name, order = ("cmpf", "o") if self.kind in INTEGER_OF else ("cmpi", "s")
        predicate = predicate if predicate in {"eq", "ne", "une"} else order + predicate
        predicate = "oeq" if (name, predicate) == ("cmpf", "eq") else predicate
        return self.machine.apply(f"arith.{name}", "i1", (self, self._lift(other)), predicate)

    def __add__(self, other: Operand) -> Scalar:
        return self._binary("add", self, other)

    def __radd__(self, other: Operand) -> Scalar:
        return self._binary("add", other, self)

    def __sub__(self, other: Operand) -> Scalar:
        return self._binary("sub", self, other)

    def __rsub__(self, other: Operand) -> Scalar:
        return self._binary("sub", other, self)

    def __mul__(self, other: Operand) -> Scalar:
        return self._binary("mul", self, other)

    def __rmul__(self, other: Operand) -> Scalar:
        return self._binary("mul", other, self)

    def __truediv__(self, other: Operand) -> Scalar:
        return self._binary("div", self, other)

    def __rtruediv__(self, other: Operand) -> Scalar:
        return self._binary("div", other, self)

    def __neg__(self) -> Scalar:
        return self.machine.apply("arith.negf", self.kind, (self,))

    def __and__(self, other: Operand) -> Scalar:
        return self._binary_i("andi", other)

    def __or__(self, other: Operand) -> Scalar:
        return self._binary_i("ori", other)

    def __xor__(self, other: Operand) -> Scalar:
        return self._binary_i("xori", other)

    def __lshift__(self, other: Operand) -> Scalar:
        return self._binary_i("shli", other)

    def __rshift__(self, other: Operand) -> Scalar:
        """Shifts right and repeats the sign bit."""
        return self._binary_i("shrsi", other)

    def shift_in_zeros(self, other: Operand) -> Scalar:
        """Shifts right, the bits being those of an unsigned number."""
        return self._binary_i("shrui", other)

    def _binary_i(self, name: str, other: Operand) -> Scalar:
        return self.machine.apply(f"arith.{name}", self.kind, (self, self._lift(other)))

    def __lt__(self, other: Operand) -> Scalar:
        return self._compare("lt", other)

    def __le__(self, other: Operand) -> Scalar:
        return self._compare("le", other)

    def __gt__(self, other: Operand) -> Scalar:
        return self._compare("gt", other)

    def __ge__(self, other: Operand) -> Scalar:
        return self._compare("ge", other)

    def equals(self, other: Operand) -> Scalar:
        """Ordered: a NaN equals nothing."""
        return self._compare("eq", other)

    def differs(self, other: Operand) -> Scalar:
        """Unordered: a NaN differs from everything, itself included."""
        return self._compare("une" if self.kind in INTEGER_OF else "ne", other)

    def like(self, value: float | int) -> Scalar:
        """A number as a constant of this value's type."""
        return self.machine.constant(value, self.kind)

    def is_nan(self) -> Scalar:
        """True of NaNs only."""
        return self.differs(self)

    def select(self, yes: Scalar | float, no: Scalar | float) -> Scalar:
        """`yes` where this, an i1, is true, else `no`; one of them must be a `Scalar`."""
        like = yes if isinstance(yes, Scalar) else no
        assert isinstance(like, Scalar)
        operands = (self, like._lift(yes), like._lift(no))
        return self.machine.apply("arith.select", like.kind, operands)

    def bits(self) -> Scalar:
        """The integer with the bits of this float."""
        return self.machine.apply("arith.bitcast", INTEGER_OF[self.kind], (self,))

    def as_float(self) -> Scalar:
        """The float with the bits of this integer."""
        return self.machine.apply("arith.bitcast", FLOAT_OF[self.kind], (self,))

    def to(self, kind: Kind) -> Scalar:
        """Converted: floats and integers are widened or rounded, signed integers become floats."""
        name = _CONVERSIONS[self.kind, kind]
        return self.machine.apply(f"arith.{name}", kind, (self,)) if name else self

    def sqrt(self) -> Scalar:
        """The square root, correctly rounded."""
        return self.machine.apply("math.sqrt", self.kind, (self,))

    def abs(self) -> Scalar:
        """The magnitude."""
        return self.machine.apply("math.absf", self.kind, (self,))

    def trunc(self) -> Scalar:
        """The integral part."""
        return self.machine.apply("math.trunc", self.kind, (self,))

    def with_sign_of(self, other: Scalar) -> Scalar:
        """The magnitude of this with the sign bit of `other`."""
        return self.machine.apply("math.copysign", self.kind, (self, other))

    def least(self, bound: float) -> Scalar:
        """The smaller of this and a number; NaN stays NaN."""
        return (self > bound).select(bound, self)

    def most(self, bound: float) -> Scalar:
        """The larger of this and a number; NaN stays NaN."""
        return (self < bound).select(bound, self)


Operand = Scalar | float | int

_CONVERSIONS: dict[tuple[Kind, Kind], str] = {
    ("f32", "f32"): "",
    ("f64", "f64"): "",
    ("f32", "f64"): "extf",
    ("f64", "f32"): "truncf",
    ("i32", "f32"): "sitofp",
    ("i32", "f64"): "sitofp",
    ("i64", "f64"): "sitofp",
    ("i32", "i64"): "extsi",
    ("i64", "i32"): "trunci",
}


def horner(x: Scalar, coefficients: Sequence[float]) -> Scalar:
    """The polynomial with these coefficients, lowest power first: two operations per power."""
    *rest, last = coefficients
    value: Scalar = x * last + rest[-1]
    for c in rest[-2::-1]:
        value = value * x + c
    return value
