"""One static C function: its parameters are found while its body is written."""

from __future__ import annotations

from collections.abc import Sequence

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


class Function:
    """The text of a static function that works on memrefs.

    `arguments` maps the function arguments of the model to their names, `in0`, `out0`, ...
    """

    def __init__(self, name: str, arguments: dict[SSAValue, str], returns: str = "void") -> None:
        self.name = name
        self.returns = returns
        self.lines: list[str] = []
        self.indent = 1
        self._arguments = arguments
        self._pointers: dict[SSAValue, str] = {}
        self._parameters: dict[str, str] = {}
        self._scalars: dict[SSAValue, str] = {}
        self._passed: list[SSAValue] = []
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
            name = f"s{len(self._passed)}"
            self._passed.append(value)
            self._parameters[name] = f"const {c_type(value.type)} {name}"
            self._scalars[value] = name
        return self._scalars[value]

    def need(self, parameter: str, declaration: str) -> str:
        """Asks for a parameter."""
        self._parameters[parameter] = declaration
        return parameter

    def device(self) -> str:
        """The device handle."""
        return self.need("device", "mxnpu_device *const device")

    def pointer(self, value: SSAValue) -> str:
        """A typed pointer to the first element of the memref `value`, declared at first need."""
        if value not in self._pointers:
            place = self.address(value)
            const = "" if self._writable(value) else "const "
            kind = c_type(memref_of(value).element_type)
            name = f"p{len(self._pointers)}"
            self.line(f"{const}{kind} *const {name} = ({const}{kind} *)({place});")
            self._pointers[value] = name
        return self._pointers[value]

    def address(self, value: SSAValue) -> str:
        """The address of the first element of the memref `value`, in bytes from a parameter."""
        base, offset, dynamic = value, 0, ""
        if isinstance(value.owner, ReinterpretCastOp):
            base = value.owner.source
            size = numpy_dtype(memref_of(value).element_type).itemsize
            offset = _static_offset(value) * size
            if value.owner.offsets:
                dynamic = f" + {self.scalar(value.owner.offsets[0])} * {size}"
        name, start = self._base(base)
        return f"{name} + {start + offset}{dynamic}"

    def _base(self, base: SSAValue) -> tuple[str, int]:
        op = base.owner
        match op:
            case ConstantOp():
                assert op.offset is not None, "plan-memory has run"
                return self.need(
                    "weights", _PLAIN.format("const ", "weights")
                ), op.offset.value.data
            case BufferOp():
                name = "scratchpad" if op.space.data == "scratchpad" else "arena"
                return self.need(name, _PLAIN.format("", name)), op.offset.value.data
            case _:
                if base not in self._arguments:
                    raise CannotLower(f"a memref comes from {op}; run plan-memory first")
                name = self._arguments[base]
                const = "const " if name.startswith("in") else ""
                return self.need(name, _PLAIN.format(const, name)), 0

    def _writable(self, value: SSAValue) -> bool:
        base = value.owner.source if isinstance(value.owner, ReinterpretCastOp) else value
        read_only = isinstance(base.owner, ConstantOp)
        return not (read_only or self._arguments.get(base, "").startswith("in"))

    def text(self, comment: str) -> list[str]:
        """The definition of the function."""
        order = [*_ORDER, *sorted(self._parameters, key=_natural)]
        names = list(dict.fromkeys(n for n in order if n in self._parameters))
        declared = [self._parameters[name] for name in names] or ["void"]
        head = f"static {self.returns} {self.name}({', '.join(declared)})"
        return [f"/* {comment} */", head, "{", *self.lines, "}", ""]

    def call(self, scalar_names: Sequence[str]) -> str:
        """The call of the function; `scalar_names` are what its passed scalars are called there."""
        passed = dict(zip((f"s{i}" for i in range(len(self._passed))), scalar_names, strict=True))
        order = [*_ORDER, *sorted(self._parameters, key=_natural)]
        names = dict.fromkeys(n for n in order if n in self._parameters)
        return f"{self.name}({', '.join(passed.get(name, name) for name in names)});"

    @property
    def passed(self) -> Sequence[SSAValue]:
        """The scalars that the caller must pass."""
        return self._passed


_PLAIN = "{}unsigned char *restrict {}"
_ORDER = ("device", "arena", "scratchpad", "weights")


def _natural(name: str) -> tuple[str, int]:
    letters = name.rstrip("0123456789")
    return letters, int(name[len(letters) :] or 0)


def _static_offset(value: SSAValue) -> int:
    layout = memref_of(value).layout
    if isinstance(layout, NoneAttr):
        return 0
    assert isinstance(layout, StridedLayoutAttr)
    return layout.offset.data if isinstance(layout.offset, IntAttr) else 0
