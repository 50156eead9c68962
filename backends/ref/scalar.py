"""How the reference runs `arith` and `math`: one numpy expression per operation.

The same rules serve scalars and whole arrays, so a loop body runs on all its points at once. Only
operations with one IEEE result are here; `math.exp` and the like are run through their expansion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects import arith, math
from xdsl.ir import Operation

from mxc import numerics
from mxc.backends.ref.interpreter import RULES, Machine, Values, runs
from mxc.dialects.types import numpy_dtype
from mxc.passes.math import EXPANSIONS
from mxc.passes.math.evaluate import evaluate

Array = NDArray[Any]

_CMPF: dict[int, Callable[[Array, Array], Array]] = {
    1: np.equal,
    2: np.greater,
    3: np.greater_equal,
    4: np.less,
    5: np.less_equal,
    6: lambda a, b: (a < b) | (a > b),
    7: lambda a, b: ~(np.isnan(a) | np.isnan(b)),
    13: np.not_equal,
    14: lambda a, b: np.isnan(a) | np.isnan(b),
}
_CMPI: dict[int, Callable[[Array, Array], Array]] = {
    0: np.equal,
    1: np.not_equal,
    2: np.less,
    3: np.less_equal,
    4: np.greater,
    5: np.greater_equal,
    6: lambda a, b: _unsigned(a) < _unsigned(b),
    7: lambda a, b: _unsigned(a) <= _unsigned(b),
    8: lambda a, b: _unsigned(a) > _unsigned(b),
    9: lambda a, b: _unsigned(a) >= _unsigned(b),
}


def _unsigned(x: Any) -> Array:
    x = np.asarray(x)
    return x if x.dtype == np.bool_ else x.view(f"u{x.dtype.itemsize}")


def _signed(x: Array) -> Array:
    return x if x.dtype == np.bool_ else x.view(f"i{x.dtype.itemsize}")


def _on_unsigned(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *args: _signed(np.asarray(function(*(_unsigned(a) for a in args))))


def _result(op: Operation) -> np.dtype[Any]:
    return numpy_dtype(op.results[0].type)


def _div(a: Array, b: Array) -> Array:
    """Signed division towards zero; the smallest integer by -1 wraps."""
    a, b = np.asarray(a), np.asarray(b)
    quotient = np.abs(_unsigned_abs(a)) // _unsigned_abs(b)
    return np.where((a < 0) != (b < 0), -_signed(quotient), _signed(quotient)).astype(a.dtype)


def _rem(a: Array, b: Array) -> Array:
    remainder = _signed(_unsigned_abs(a) % _unsigned_abs(b))
    return np.where(np.asarray(a) < 0, -remainder, remainder).astype(np.asarray(a).dtype)


def _unsigned_abs(x: Any) -> Array:
    return _unsigned(np.abs(np.asarray(x)))


def _as_result(op: Operation, x: Array) -> Array:
    return x.astype(_result(op))


def _truncate_float(op: Operation, x: Array) -> Array:
    """In one rounding; ml_dtypes goes from f64 through f32, which must then be rounded to odd."""
    if x.dtype == np.float64 and _result(op).type.__module__ != "numpy":
        near = x.astype(np.float32)
        exact = (near.astype(np.float64) == x) | np.isnan(x)
        nearer = np.abs(near.astype(np.float64)) > np.abs(x)
        odd = (near.view(np.uint32) - nearer.astype(np.uint32)) | np.uint32(1)
        x = np.where(exact, near, odd.view(np.float32))
    return _as_result(op, x)


def _extend_unsigned(op: Operation, x: Array) -> Array:
    return _signed(_unsigned(x).astype(f"u{_result(op).itemsize}"))


def _truncate(op: Operation, x: Array) -> Array:
    return (x & 1).astype(bool) if _result(op) == np.bool_ else _as_result(op, x)


def _count_leading_zeros(x: Any) -> Array:
    bits = _unsigned(x)
    width = bits.dtype.itemsize * 8
    count = np.full(bits.shape, width, bits.dtype)
    for shift in range(width):
        count = np.where((bits >> shift) != 0, np.asarray(width - 1 - shift, bits.dtype), count)
    return _signed(count)


_PLAIN: dict[type[Operation], Callable[..., Any]] = {
    arith.AddfOp: np.add,
    arith.SubfOp: np.subtract,
    arith.MulfOp: np.multiply,
    arith.DivfOp: np.divide,
    arith.NegfOp: np.negative,
    arith.AddiOp: np.add,
    arith.SubiOp: np.subtract,
    arith.MuliOp: np.multiply,
    arith.DivSIOp: _div,
    arith.RemSIOp: _rem,
    arith.DivUIOp: _on_unsigned(np.floor_divide),
    arith.RemUIOp: _on_unsigned(np.remainder),
    arith.MinSIOp: np.minimum,
    arith.MaxSIOp: np.maximum,
    arith.MinUIOp: _on_unsigned(np.minimum),
    arith.MaxUIOp: _on_unsigned(np.maximum),
    arith.AndIOp: np.bitwise_and,
    arith.OrIOp: np.bitwise_or,
    arith.XOrIOp: np.bitwise_xor,
    arith.ShLIOp: np.left_shift,
    arith.ShRSIOp: np.right_shift,
    arith.ShRUIOp: _on_unsigned(np.right_shift),
    arith.SelectOp: np.where,
    math.AbsFOp: np.abs,
    math.AbsIOp: np.abs,
    math.CeilOp: np.ceil,
    math.CopySignOp: np.copysign,
    math.CountLeadingZerosOp: _count_leading_zeros,
    math.FloorOp: np.floor,
    math.FmaOp: numerics.fma,
    math.RoundEvenOp: np.rint,
    math.SqrtOp: np.sqrt,
    math.TruncOp: np.trunc,
}
_CONVERSIONS: dict[type[Operation], Callable[[Any, Array], Array]] = {
    arith.ExtFOp: _as_result,
    arith.TruncFOp: _truncate_float,
    arith.SIToFPOp: _as_result,
    arith.UIToFPOp: lambda op, x: _as_result(op, _unsigned(x)),
    arith.FPToSIOp: _as_result,
    arith.FPToUIOp: lambda op, x: _signed(x.astype(f"u{_result(op).itemsize}")),
    arith.ExtSIOp: _as_result,
    arith.ExtUIOp: _extend_unsigned,
    arith.TruncIOp: _truncate,
    arith.IndexCastOp: _as_result,
    arith.BitcastOp: lambda op, x: x.view(_result(op)),
}


def _register() -> None:
    for kind, function in _PLAIN.items():
        RULES[kind] = _plain(function)
    for kind, convert in _CONVERSIONS.items():
        RULES[kind] = _conversion(convert)
    for kind in (*arith.Arith.operations, *math.Math.operations):
        if kind.name in EXPANSIONS:
            RULES[kind] = _expansion(EXPANSIONS[kind.name])


def _plain(function: Callable[..., Any]) -> Callable[[Machine, Operation, Values], Values]:
    return lambda machine, op, args: (function(*args),)


def _conversion(
    convert: Callable[[Any, Array], Array],
) -> Callable[[Machine, Operation, Values], Values]:
    return lambda machine, op, args: (convert(op, np.asarray(args[0])),)


def _expansion(function: Callable[..., Any]) -> Callable[[Machine, Operation, Values], Values]:
    """The rule of an operation that `expand-math` will replace by `function`."""
    return lambda machine, op, args: (evaluate(function, *args),)


_register()


@runs(arith.CmpfOp)
def cmpf(machine: Machine, op: arith.CmpfOp, args: Values) -> Values:
    """The comparison of floats that the predicate names."""
    return (_CMPF[op.predicate.value.data](*args),)


@runs(arith.CmpiOp)
def cmpi(machine: Machine, op: arith.CmpiOp, args: Values) -> Values:
    """The comparison of integers that the predicate names."""
    return (_CMPI[op.predicate.value.data](*args),)


@runs(arith.ConstantOp)
def constant(machine: Machine, op: arith.ConstantOp, args: Values) -> Values:
    """The scalar."""
    attr: Any = op.value
    return (np.asarray(attr.value.data).astype(_result(op)),)
