"""The schema of target descriptions: dataclasses whose fields are the keys.

`Annotated[type, text, check]` gives a key its type, its documentation and the check of its value.
Sizes are in bytes, times in clock cycles, rates per clock cycle; the clock alone is in MHz.
A target whose backend takes models before the machine level has no machine: it leaves out
`clock_mhz`, `dram`, `matrix` and `vector`, all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from mxc.errors import BadInput, unknown


@dataclass(frozen=True)
class Check:
    """A condition on a value, and its wording for the error: `must be ...`."""

    wording: str
    holds: Callable[[Any], bool]


POSITIVE = Check("positive", lambda value: value > 0)
NOT_NEGATIVE = Check("zero or more", lambda value: value >= 0)
BLOCK = Check("2, 4, 8, 16 or 32", lambda value: value in (2, 4, 8, 16, 32))
POWER_OF_TWO = Check("a power of two", lambda value: value > 0 and value & (value - 1) == 0)


def _one_of(*names: str) -> Check:
    wording = f"one of {', '.join(map(repr, names))}"
    return Check(wording, lambda value: value in names)


@dataclass(frozen=True)
class Memory:
    """One memory of the machine."""

    size: Annotated[int, "bytes", POSITIVE]
    bytes_per_cycle: Annotated[float, "bandwidth", POSITIVE]
    alignment: Annotated[int, "every buffer starts at a multiple of this, in bytes", POWER_OF_TWO]


@dataclass(frozen=True)
class Matrix:
    """The matrix unit: tiles of `m` x `n` outputs, `k` deep."""

    m: Annotated[int, "rows of an output tile", POSITIVE]
    n: Annotated[int, "columns of an output tile", POSITIVE]
    k: Annotated[int, "depth of one step; a multiple of the block size", POSITIVE]
    block_contract: Annotated[
        str,
        "how two block operands are multiplied and summed: block-exact, or a contract that the "
        "backend registers",
    ]
    float_contract: Annotated[
        str, "the same when one operand is float", _one_of("sequential", "sequential-fma")
    ]
    macs_per_cycle: Annotated[
        Mapping[str, int],
        "per operand format (bf16, mxfp8, ...): multiply-accumulates per cycle; a format that is "
        "absent is decoded first",
        POSITIVE,
    ]
    decode_per_cycle: Annotated[
        int, "elements per cycle of the exponent-shift decoder to bf16; 0: none", NOT_NEGATIVE
    ] = 0


@dataclass(frozen=True)
class Vector:
    """The vector unit, in f32."""

    lanes: Annotated[int, "f32 operations per cycle", POSITIVE]
    slow_factor: Annotated[int, "cycles of one `slow` operation", POSITIVE] = 4
    slow: Annotated[tuple[str, ...], "operations that take `slow_factor` cycles"] = (
        "div",
        "exp",
        "sqrt",
    )
    quantize_ops: Annotated[int, "operations per element of quantising to blocks", POSITIVE] = 2


@dataclass(frozen=True)
class Dma:
    """The engine that moves data between memories."""

    channels: Annotated[int, "transfers in flight at once", POSITIVE]
    latency: Annotated[int, "cycles from start to the first byte", NOT_NEGATIVE]
    burst: Annotated[int, "bytes; a transfer or row is rounded up to this", POWER_OF_TWO]


@dataclass(frozen=True)
class Numerics:
    """What the machine stores and how it rounds to it."""

    formats: Annotated[tuple[str, ...], "block formats it reads and writes"]
    float_formats: Annotated[tuple[str, ...], "float formats it computes neighbours in"] = ("f32",)
    scale_rules: Annotated[
        tuple[str, ...], "scale rules that its quantiser has: rceil, even, floor, ceil"
    ] = ("ceil", "even", "floor", "rceil")
    block: Annotated[
        int,
        "elements that share a scale, in formats with power-of-two scales: 32 as in OCP MX, or "
        "a smaller power of two",
        BLOCK,
    ] = 32


@dataclass(frozen=True)
class Layout:
    """What the epilogue can emit and what the matrix unit can read."""

    emit: Annotated[
        str,
        "block axes a producer can quantise along: any axis, the last, or none",
        _one_of("all", "last", "none"),
    ]
    transposed_reads: Annotated[bool, "operands may be read with their two last axes exchanged"]


NO_CLOCK = 0.0
NO_MEMORY = Memory(0, 0.0, 1)
NO_MATRIX = Matrix(0, 0, 0, "block-exact", "sequential", {})
NO_VECTOR = Vector(0)
"""What a target without a machine has; no description can say these."""

_MACHINE = {"clock_mhz": NO_CLOCK, "dram": NO_MEMORY, "matrix": NO_MATRIX, "vector": NO_VECTOR}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A machine, as its description gives it."""

    name: Annotated[str, "what `--target` calls it"]
    summary: Annotated[str, "one line for `mxc targets`"]
    backend: Annotated[str, "who emits code for it: an entry of the group `mxc.backends`"]
    clock_mhz: Annotated[float, "the clock", POSITIVE] = NO_CLOCK
    dram: Annotated[Memory, "the large memory: weights, inputs, outputs"] = NO_MEMORY
    matrix: Annotated[Matrix, "the matrix unit"] = NO_MATRIX
    vector: Annotated[Vector, "the vector unit"] = NO_VECTOR
    numerics: Annotated[Numerics, "formats and rounding"]
    layout: Annotated[Layout, "layout capability"]
    scratchpad: Annotated[
        Memory | None, "the memory the units compute in; absent: they use dram"
    ] = field(default=None)
    dma: Annotated[Dma | None, "needed when there is a scratchpad"] = field(default=None)

    @property
    def has_machine(self) -> bool:
        """Whether it describes a machine; code for it can only be emitted then."""
        return self.clock_mhz != NO_CLOCK

    def __post_init__(self) -> None:
        missing = [name for name, none in _MACHINE.items() if getattr(self, name) == none]
        has_some = len(missing) < len(_MACHINE) or self.scratchpad is not None
        if missing and has_some:
            raise BadInput(f"key {missing[0]!r} is missing", hint=dict(keys())[missing[0]])
        if (self.scratchpad is None) != (self.dma is None):
            raise BadInput("[scratchpad] and [dma] come together", hint="give both or neither")
        if self.matrix.k % self.numerics.block:
            raise BadInput(
                f"matrix.k = {self.matrix.k} is not a multiple of the block size, "
                f"{self.numerics.block}"
            )


TableT = TypeVar("TableT")


def build(table: type[TableT], data: Mapping[str, Any], at: str = "") -> TableT:
    """`data`, parsed TOML, as the dataclass `table`; `at` is the path of the table, for errors.

    Raises:
        BadInput: on an unknown or missing key, a value of the wrong type or out of range.
    """
    known = {f.name: f for f in fields(cast(Any, table))}
    for key in data:
        if key not in known:
            raise unknown("key", f"{at}{key}", (f"{at}{name}" for name in known))
    hints = get_type_hints(table, include_extras=True)
    values = {name: _value(hints[name], data[name], at + name) for name in known if name in data}
    for name, one in known.items():
        if name not in data and _is_required(one):
            raise BadInput(f"key {at + name!r} is missing", hint=_documentation(hints[name]))
    return table(**values)


def keys(table: type[Any] = Target, at: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a description and its documentation, in order."""
    hints = get_type_hints(table, include_extras=True)
    for one in fields(table):
        yield at + one.name, _documentation(hints[one.name])
        if (inner := _table_of(get_args(hints[one.name])[0])) is not None:
            yield from keys(inner, f"{at}{one.name}.")


def _is_required(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _documentation(hint: Any) -> str:
    text: str = get_args(hint)[1]
    return text


def _table_of(kind: Any) -> type[Any] | None:
    """The dataclass that `kind` is, or is when it is not None."""
    for option in get_args(kind) or (kind,):
        if isinstance(option, type) and is_dataclass(option):
            return option
    return None


def _value(hint: Any, value: Any, at: str) -> Any:
    kind, _, *checks = get_args(hint)
    if (table := _table_of(kind)) is not None:
        return build(table, _typed(dict, value, at, "a table"), f"{at}.")
    if get_origin(kind) is tuple:
        listed = _typed(list, value, at, "a list of strings")
        return tuple(_typed(str, one, at, "a list of strings") for one in listed)
    if get_origin(kind) is not None:  # Mapping[str, int]
        table_ = _typed(dict, value, at, "a table of integers")
        return {name: _checked(int, one, checks, f"{at}.{name}") for name, one in table_.items()}
    return _checked(kind, value, checks, at)


def _checked(kind: type, value: Any, checks: list[Check], at: str) -> Any:
    value = float(value) if kind is float and type(value) is int else value
    _typed(kind, value, at, f"of type {kind.__name__}")
    for check in checks:
        if not check.holds(value):
            raise BadInput(f"{at} = {value!r} must be {check.wording}")
    return value


def _typed(kind: type, value: Any, at: str, wording: str) -> Any:
    if type(value) is not kind:
        raise BadInput(f"{at} = {value!r} must be {wording}")
    return value
