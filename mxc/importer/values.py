"""What the importer knows about each value of a graph while it walks the nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mxc.errors import ImportFailed

Array = NDArray[Any]
Shape = tuple[int | None, ...]


@dataclass(eq=False, slots=True)
class Value:
    """A tensor: its type as far as it is known, and its content if it is constant."""

    name: str
    dtype: np.dtype[Any] | None
    shape: Shape | None
    const: Array | None = None
    known: Array | None = None
    """For a small integer tensor that is not constant: an object array, None where unknown."""
    node: Node | None = None
    """The node that computes it; None for inputs and constants."""

    @property
    def static_shape(self) -> tuple[int, ...] | None:
        """The shape if every dimension is known."""
        if self.shape is None or None in self.shape:
            return None
        return self.shape  # pyright: ignore[reportReturnType]


@dataclass(eq=False, slots=True)
class Sequence:
    """A sequence value: exists while importing only."""

    items: list[Item]


@dataclass(eq=False, slots=True)
class Optional:
    """An optional value: exists while importing only."""

    item: Item | None


Item = Value | Sequence | Optional


@dataclass(eq=False, slots=True)
class Node:
    """A node that will be part of the imported module, in the newest opset's terms."""

    op_type: str
    inputs: list[Value | None]
    attrs: dict[str, Any]
    outputs: list[Value | None]
    name: str


@dataclass(eq=False, slots=True)
class Repeat(Node):
    """A loop that is kept: `nodes` are run `trips` times.

    `inputs` are all values from outside that it needs; `outputs` the states after the last trip,
    then the stacks of `rows`.
    """

    trips: int
    first: list[Any]
    """The states before the first trip; state 0 is the number of the trip."""
    arguments: list[Value]
    """The states as the body sees them."""
    scanned: list[Any]
    """`rolled.Scanned`: what the body sees of tensors, one element per trip."""
    nodes: list[Node]
    last: list[Any]
    """The states after a trip."""
    rows: list[Any]
    """What a trip adds to each stack."""
    backward: list[bool]
    """Which stacks are filled from the end."""


@dataclass(slots=True)
class Call:
    """A node about to be imported: its operator with resolved inputs."""

    op_type: str
    inputs: list[Any]
    """`Item`s, None where omitted; checked to be tensors before a node is made of them."""
    attrs: dict[str, Any]
    outputs: list[str]
    """The names of the outputs, empty where one is not wanted."""
    name: str
    since: int = 0
    """The opset that introduced the version of the operator that the model means."""
    scope: Any = None
    """The scope in which graph attributes are evaluated."""

    @property
    def place(self) -> str:
        """The node as error messages call it."""
        return f"node '{self.name}' ({self.op_type})"

    def input(self, index: int) -> Any:
        """Input `index`, None if it is omitted."""
        return self.inputs[index] if index < len(self.inputs) else None

    def fail(self, message: str, hint: str = "") -> ImportFailed:
        """An error at this node."""
        return ImportFailed(message, at=self.place, hint=hint)

    def constant(self, index: int, role: str) -> Array | None:
        """The content of input `index`, which must be constant; None if it is omitted."""
        value = self.input(index)
        if value is None:
            return None
        if not isinstance(value, Value) or value.const is None:
            raise self.fail(
                f"{role} is not a constant",
                "bind the model inputs that decide it with --input-value",
            )
        return value.const

    def tensor(self, index: int) -> Value:
        """Input `index`, which must be a tensor that is given."""
        value = self.input(index)
        if not isinstance(value, Value):
            raise self.fail(f"input {index} is not a tensor")
        return value

    def rank(self, index: int) -> int:
        """The rank of input `index`, which must be known."""
        shape = self.tensor(index).shape
        if shape is None:
            raise self.fail(f"the rank of input {index} is not known")
        return len(shape)

    def static(self, index: int) -> tuple[int, ...]:
        """The shape of input `index`, which must be known."""
        shape = self.tensor(index).static_shape
        if shape is None:
            raise self.fail(f"the shape of input {index} is not known")
        return shape


@dataclass(slots=True)
class Scope:
    """The values visible in a graph; a subgraph sees those of the graphs around it."""

    parent: Scope | None = None
    opset: int = 0
    prefix: str = ""
    """Put before the names of the nodes in this scope."""
    values: dict[str, Item] = field(default_factory=dict[str, Item])
    attrs: dict[str, Any] | None = None
    """The attributes of the function whose body this is."""
    depth: int = 0

    def find(self, name: str) -> Item | None:
        """The value called `name`, None if there is none."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.parent
        return None

    def nested(self, prefix: str) -> Scope:
        """A scope for a subgraph inside this one."""
        return Scope(
            parent=self, opset=self.opset, prefix=prefix, attrs=self.attrs, depth=self.depth + 1
        )


def dtype_of(elem_type: int) -> np.dtype[Any]:
    """The numpy dtype of an ONNX element type.

    Raises:
        ImportFailed: if ONNX has no such element type.
    """
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, ValueError, TypeError):
        raise ImportFailed(f"element type {elem_type} is not known") from None


def elem_type_of(dtype: np.dtype[Any]) -> int:
    """The ONNX element type of a numpy dtype; strings are of kind O or U."""
    if dtype.kind in "OUS":
        return onnx.TensorProto.STRING
    return onnx.helper.np_dtype_to_tensor_dtype(dtype)
