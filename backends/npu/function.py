"""One static C function: its parameters are found while its body is written.

Functions know no addresses: they are given a pointer to each piece of memory, so that operations
that differ in nothing else (tiles, layers) share one function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.dialects.arith import ConstantOp as ScalarConstant
from xdsl.dialects.builtin import IntAttr, NoneAttr, StridedLayoutAttr
from xdsl.dialects.memref import ReinterpretCastOp
from xdsl.ir import SSAValue

from mxc.backends.npu.access import memref_of
from mxc.backends.npu.ctypes_of import c_type
from mxc.backends.npu.scalars import expression
from mxc.dialects.npu import BufferOp, ConstantOp
from mxc.dialects.types import numpy_dtype
from mxc.errors import CannotLower


@dataclass(frozen=True)
class Place:
    """Where a memref begins: a buffer, bytes from its start, and a run-time offset in elements."""

    base: SSAValue
    offset: int
    dynamic: SSAValue | None
    size: int
    """Bytes of an element."""

    @classmethod
    def of(cls, value: SSAValue) -> Place:
        """The place of the memref `value`."""
        owner, size = value.owner, numpy_dtype(memref_of(value).element_type).itemsize
        if not isinstance(owner, ReinterpretCastOp):
            return cls(value, 0, None, size)
        dynamic = owner.offsets[0] if owner.offsets else None
        return cls(owner.source, _static_offset(value) * size, dynamic, size)

    def text(self, names: dict[SSAValue, str], scalar: Callable[[SSAValue], str]) -> str:
        """The address in the run function; `names` are those of the model's arguments."""
        name, start = _base(self.base, names)
        offset = start + self.offset
        text = name if offset == 0 else f"{name} + {offset}"
        return text if self.dynamic is None else f"{text} + {scalar(self.dynamic)} * {self.size}"


class Function:
    """The text of a static function that works on memrefs.

    `arguments` maps the function arguments of the model to their names, `in0`, `out0`, ...
    """

    def __init__(self, arguments: dict[SSAValue, str], returns: str = "void") -> None:
        self.returns = returns
        self.lines: list[str] = []
        self.indent = 1
        self.places: list[Place] = []
        """The memory that the caller passes, in order."""
        self.passed: list[SSAValue] = []
        """The scalars that the caller passes, in order."""
        self._arguments = arguments
        self._pointers: dict[SSAValue, str] = {}
        self._scalars: dict[SSAValue, str] = {}
        self._device = False
        self._count = 0

    def line(self, text: str) -> None:
        """One line of the body."""
        self.lines.append("  " * self.indent + text)

    def open(self, text: str) -> None:
        """A line that opens a brace."""
        self.line(f"{text} {{")
        self.indent += 1

    def close(self) -> None:
        """Closes the innermost brace."""
        self.indent -= 1
        self.line("}")

    def fresh(self) -> str:
        """A new name for a scalar."""
        self._count += 1
        return f"v{self._count}"

    def define(self, value: SSAValue, text: str) -> str:
        """A new constant for the scalar `value`, of C expression `text`."""
        name = self.fresh()
        self._scalars[value] = name
        self.line(f"const {c_type(value.type)} {name} = {text};")
        return name

    def name_scalar(self, value: SSAValue, name: str) -> None:
        """The scalar `value` is called `name` from here on."""
        self._scalars[value] = name

    def scalar(self, value: SSAValue) -> str:
        """The name of a scalar; one from outside is passed in, or written again if constant."""
        if value not in self._scalars:
            if isinstance(value.owner, ScalarConstant):
                return self.define(value, expression(value.owner, ()))
            self._scalars[value] = f"s{len(self.passed)}"
            self.passed.append(value)
        return self._scalars[value]

    def device(self) -> str:
        """The device handle."""
        self._device = True
        return "device"

    def pointer(self, value: SSAValue) -> str:
        """A typed pointer to the first element of the memref `value`, declared at first need."""
        if value not in self._pointers:
            const = "" if self._writable(Place.of(value)) else "const "
            kind = c_type(memref_of(value).element_type)
            name = f"p{len(self._pointers)}"
            self.line(
                f"{const}{kind} *const {name} = ({const}{kind} *){self.parameter(Place.of(value))};"
            )
            self._pointers[value] = name
        return self._pointers[value]

    def parameter(self, place: Place) -> str:
        """The parameter that is a pointer to `place`."""
        if place not in self.places:
            self.places.append(place)
        return f"m{self.places.index(place)}"

    def _writable(self, place: Place) -> bool:
        read_only = isinstance(place.base.owner, ConstantOp)
        return not (read_only or self._arguments.get(place.base, "").startswith("in"))

    def pointer_types(self) -> list[str]:
        """The types of the memory parameters: `restrict` where a buffer is passed only once."""
        bases = [place.base for place in self.places]
        types: list[str] = []
        for place in self.places:
            const = "" if self._writable(place) else "const "
            once = " restrict" if bases.count(place.base) == 1 else ""
            types.append(f"{const}unsigned char *{once.strip()}")
        return types

    def scalar_types(self) -> list[str]:
        """The C types of the scalar parameters."""
        return [c_type(value.type) for value in self.passed]

    def text(self, name: str) -> list[str]:
        """The definition of the function, called `name`."""
        declared = ["mxnpu_device *const device"] if self._device else []
        declared += [
            f"{kind}{'' if kind.endswith('*') else ' '}m{i}"
            for i, kind in enumerate(self.pointer_types())
        ]
        declared += [f"const {kind} s{i}" for i, kind in enumerate(self.scalar_types())]
        head = f"static {self.returns} {name}({', '.join(declared) or 'void'})"
        return [head, "{", *self.lines, "}", ""]

    def values(self, names: dict[SSAValue, str], scalar: Callable[[SSAValue], str]) -> list[str]:
        """What the run function passes; `scalar` names scalars there."""
        given = ["device"] if self._device else []
        given += [place.text(names, scalar) for place in self.places]
        return [*given, *(scalar(value) for value in self.passed)]


def _base(base: SSAValue, names: dict[SSAValue, str]) -> tuple[str, int]:
    op = base.owner
    match op:
        case ConstantOp():
            assert op.offset is not None, "plan-memory has run"
            return "weights", op.offset.value.data
        case BufferOp():
            name = "scratchpad" if op.space.data == "scratchpad" else "arena"
            return name, op.offset.value.data
        case _:
            if base not in names:
                raise CannotLower(f"a memref comes from {op}; run plan-memory first")
            return names[base], 0


def _static_offset(value: SSAValue) -> int:
    layout = memref_of(value).layout
    if isinstance(layout, NoneAttr):
        return 0
    assert isinstance(layout, StridedLayoutAttr)
    return layout.offset.data if isinstance(layout.offset, IntAttr) else 0
