"""The sizes of the model's inputs: declared, pinned by the user, or taken from arrays."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onnx import ValueInfoProto

from mxc.errors import ImportFailed

_FLAG = "--input-dim {}=N"


class Pins:
    """Sizes for dimensions, by name (`batch`) or by place (`input.0`)."""

    def __init__(
        self,
        inputs: Sequence[ValueInfoProto],
        dims: Mapping[str, int],
        shapes: Mapping[str, Sequence[int]],
        *,
        allow_empty: bool = False,
    ) -> None:
        self._least = 0 if allow_empty else 1
        self._sizes: dict[str, int] = {}
        names = {key for value in inputs for keys in dim_keys(value) for key in keys}
        for name, size in dims.items():
            if name not in names:
                raise ImportFailed(
                    f"no input has a dimension '{name}'", hint=f"there are {_listed(names)}"
                )
            if size < self._least:
                raise ImportFailed(f"dimension '{name}' is {size}", hint="it must be positive")
            self._sizes[name] = size
        for value in inputs:
            if value.name in shapes:
                self._take(value, shapes[value.name])

    def _take(self, value: ValueInfoProto, shape: Sequence[int]) -> None:
        """Takes the sizes of an array given for the input `value`."""
        if not value.type.tensor_type.HasField("shape"):
            return
        keys = dim_keys(value)
        if len(keys) != len(shape):
            raise ImportFailed(
                f"input '{value.name}' has {len(keys)} dimensions, the given array {len(shape)}"
            )
        for dim, names, size in zip(value.type.tensor_type.shape.dim, keys, shape, strict=True):
            if dim.HasField("dim_value") and dim.dim_value != size:
                raise ImportFailed(
                    f"dimension {names[-1]} is {dim.dim_value} in the model, "
                    f"{size} in the given array"
                )
            if self._sizes.setdefault(names[0], size) != size:
                raise ImportFailed(
                    f"dimension '{names[0]}' is given as both {self._sizes[names[0]]} and {size}"
                )

    def pin(self, name: str, size: int) -> None:
        """Fixes a dimension that the model itself decides, unless the user did."""
        self._sizes.setdefault(name, size)

    def shape(self, value: ValueInfoProto) -> list[int | str]:
        """The shape of an input: a number, or the name of a dimension that is not pinned."""
        dims = value.type.tensor_type.shape.dim
        return [self._size(dim, keys) for dim, keys in zip(dims, dim_keys(value), strict=True)]

    def _size(self, dim: Any, keys: list[str]) -> int | str:
        given = {self._sizes[key] for key in keys if key in self._sizes}
        if dim.HasField("dim_value"):
            given.add(dim.dim_value)
        if len(given) > 1:
            raise ImportFailed(f"dimension {keys[-1]} cannot be both of {sorted(given)}")
        if not given:
            computed = evaluate(keys[0], self._sizes)
            return keys[0] if computed is None else computed
        size = given.pop()
        if size < self._least:
            raise ImportFailed(f"dimension {keys[-1]} is {size}", hint="it must be positive")
        return size


def dim_keys(value: ValueInfoProto) -> list[list[str]]:
    """For each dimension of an input the names it goes by, the place (`input.0`) last."""
    return [
        [*([dim.dim_param] if dim.dim_param else []), f"{value.name}.{axis}"]
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
    ]


def unpinned(shapes: Mapping[str, Sequence[int | str]]) -> ImportFailed:
    """The error for inputs that still have names of dimensions in their shapes."""
    names: dict[str, None] = {}
    for shape in shapes.values():
        names.update((dim, None) for dim in shape if isinstance(dim, str))
    flags = " ".join(_FLAG.format(name) for name in names)
    return ImportFailed(
        f"the size of {'dimension' if len(names) == 1 else 'dimensions'} {_listed(names)} "
        "is not known",
        hint=f"pin it with {flags}",
    )


def _listed(names: Any) -> str:
    quoted = [f"'{name}'" for name in sorted(names)]
    return ", ".join(quoted) if quoted else "none"


_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: lambda a, b: a // b,
}


def evaluate(expression: str, sizes: Mapping[str, int]) -> int | None:
    """The value of a dimension like `past + 1`, None if it is no such expression of known sizes."""
    if len(expression) > 200:
        return None
    try:
        return _value(ast.parse(expression, mode="eval").body, sizes)
    except (SyntaxError, ValueError, KeyError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr, sizes: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int() as number):
            return number
        case ast.Name(id=name):
            return sizes[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, sizes), _value(right, sizes))
        case _:
            raise ValueError("not an expression of sizes")
