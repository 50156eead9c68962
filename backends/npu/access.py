"""Where a loop nest reads and writes: addresses as sums of loop variables times strides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import SSAValue
from xdsl.ir.affine import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineExpr,
    AffineMap,
)
from xdsl.utils.hints import isa

from mxc.errors import CannotLower


def memref_of(value: SSAValue) -> MemRefType[Any]:
    """The memref type of a value of the machine level."""
    assert isa(value.type, MemRefType), value.type
    return value.type


def strides_of(value: SSAValue) -> tuple[int, ...]:
    """The strides, in elements, of a memref."""
    strides = memref_of(value).get_strides()
    assert strides is not None
    return tuple(stride for stride in strides if stride is not None)


@dataclass(frozen=True)
class Access:
    """An index into memory: constant + sum of factor * loop + sum of stride * (a divided form)."""

    factors: dict[int, int]
    """Loop -> elements to step when it advances; loops that do not move the access are absent."""
    constant: int
    divided: tuple[tuple[AffineExpr, int], ...]
    """Expressions with floordiv or mod, and their strides."""

    @classmethod
    def of(cls, map: AffineMap, strides: Sequence[int]) -> Access:
        """The access of an operand with `strides` through `map`."""
        factors: dict[int, int] = {}
        constant, divided = 0, list[tuple[AffineExpr, int]]()
        for expr, stride in zip(map.results, strides, strict=True):
            form = linear(expr)
            if form is None:
                divided.append((expr, stride))
                continue
            constant += form[1] * stride
            for dim, factor in form[0].items():
                factors[dim] = factors.get(dim, 0) + factor * stride
        return cls({d: f for d, f in factors.items() if f}, constant, tuple(divided))

    def step(self, loop: int) -> int | None:
        """Elements moved when `loop` advances; None if that is not constant."""
        if any(loop in expr.used_dims() for expr, _ in self.divided):
            return None
        return self.factors.get(loop, 0)

    def text(self, names: Sequence[str]) -> str:
        """The index in C, where loop i is called names[i]."""
        terms = [_times(names[d], f) for d, f in sorted(self.factors.items()) if names[d] != "0"]
        terms += [_times(c_index(expr, names), stride) for expr, stride in self.divided]
        if self.constant or not terms:
            terms.append(str(self.constant))
        return " + ".join(terms)


def linear(expr: AffineExpr) -> tuple[dict[int, int], int] | None:
    """`expr` as (factor of each dimension, constant), or None if it divides."""
    match expr:
        case AffineConstantExpr():
            return {}, expr.value
        case AffineDimExpr():
            return {expr.position: 1}, 0
        case AffineBinaryOpExpr():
            left, right = linear(expr.lhs), linear(expr.rhs)
            if left is None or right is None:
                return None
            return _combined(expr.kind, left, right)
        case _:
            raise CannotLower(f"the C backend cannot index with {expr}")


def _combined(
    kind: AffineBinaryOpKind, left: tuple[dict[int, int], int], right: tuple[dict[int, int], int]
) -> tuple[dict[int, int], int] | None:
    if kind is AffineBinaryOpKind.Add:
        dims = sorted({*left[0], *right[0]})
        factors = {d: left[0].get(d, 0) + right[0].get(d, 0) for d in dims}
        return factors, left[1] + right[1]
    if kind is AffineBinaryOpKind.Mul:
        form, constant = (right, left[1]) if not left[0] else (left, right[1])
        return {d: f * constant for d, f in form[0].items()}, form[1] * constant
    return None


def _times(text: str, factor: int) -> str:
    return text if factor == 1 else f"{text} * {factor}"


_DIVISIONS = {
    AffineBinaryOpKind.FloorDiv: "mxnpu_floordiv",
    AffineBinaryOpKind.CeilDiv: "mxnpu_ceildiv",
    AffineBinaryOpKind.Mod: "mxnpu_mod",
}


def c_index(expr: AffineExpr, names: Sequence[str]) -> str:
    """`expr` in C, in parentheses where it is a sum; divisions round down as in the IR."""
    match expr:
        case AffineConstantExpr():
            return str(expr.value)
        case AffineDimExpr():
            return names[expr.position]
        case AffineBinaryOpExpr():
            left, right = c_index(expr.lhs, names), c_index(expr.rhs, names)
            if expr.kind is AffineBinaryOpKind.Add:
                return f"({left} + {right})"
            if expr.kind is AffineBinaryOpKind.Mul:
                return f"{left} * {right}"
            return f"{_DIVISIONS[expr.kind]}({left}, {right})"
        case _:
            raise CannotLower(f"the C backend cannot index with {expr}")


def extents(maps: Sequence[AffineMap], shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The trip count of each loop: the size of an operand axis that the loop alone indexes.

    Raises:
        CannotLower: if some loop indexes no axis alone.
    """
    found: dict[int, int] = {}
    for map, shape in zip(maps, shapes, strict=True):
        for expr, size in zip(map.results, shape, strict=True):
            if isinstance(expr, AffineDimExpr):
                found.setdefault(expr.position, size)
    if missing := [d for d in range(maps[0].num_dims) if d not in found]:
        raise CannotLower(f"loops {missing} of a linalg.generic have no extent")
    return tuple(found[d] for d in range(maps[0].num_dims))
