"""The layout problem, apart from any IR: values, views, uses, and what bytes cost.

A *value* is a tensor. A *contraction* reads operands that are quantised in blocks along the axis
it contracts; every other op reads high precision (HP). A *view* makes a value out of others
without arithmetic, and carries blocks along by a partial map on axes (`transport`). The question
is which quantised *versions* of each value to make, when, from what, and which one each use reads.

Everything is exact: sizes are integers, prices are fractions, and costs are integers in units of
1/1024 byte (the size of a scale byte shared by a 32 x 32 tile, per element).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import Any, Literal

from mxc.errors import BadInput
from mxc.passes.layout.transport import AxisMap

UNIT = 1024
"""Costs are integers: bytes times this."""

Kind = Literal["activation", "input", "parameter", "constant"]
Emission = Literal["all", "last", "none"]


@dataclass(frozen=True)
class FormatCost:
    """What the layout of one element format costs.

    The excess noise is the energy of the quantisation error over that of one-dimensional blocks
    along the contracted axis, minus 1: measured on Gaussian data with a scale rule that does not
    saturate. It is 0 where block orientation cannot change the codes of normal elements.
    """

    bits: int
    """Stored bits of an element."""
    block: int = 32
    tile_excess: Fraction = Fraction(0)
    """Of a block x block tile."""
    requant_excess: Fraction = Fraction(0)
    """Of a version quantised along another axis first."""


FORMATS: Mapping[str, FormatCost] = {
    "mxfp8_e4m3": FormatCost(8),
    "mxfp8_e5m2": FormatCost(8),
    "mxfp8_e4m3fnuz": FormatCost(8),
    "mxfp8_e5m2fnuz": FormatCost(8),
    "deepseek_1x128": FormatCost(8, 128),
    "mxfp6_e3m2": FormatCost(6),
    "mxfp6_e2m3": FormatCost(6, 32, Fraction(16, 100), Fraction(3, 100)),
    "mxfp4": FormatCost(4, 32, Fraction(70, 100), Fraction(2, 100)),
    "mxint8": FormatCost(8, 32, Fraction(42, 100), Fraction(31, 100)),
    "nvfp4": FormatCost(4, 16, Fraction(70, 100), Fraction(2, 100)),
}


def formats_in_blocks(block: int) -> Mapping[str, FormatCost]:
    """`FORMATS` of a target whose MX formats share a scale among `block` elements, 32 at most."""
    return {
        name: replace(cost, block=block) if cost.block == 32 else cost
        for name, cost in FORMATS.items()
    }


@dataclass(frozen=True)
class Prices:
    """What the target can do and what things cost, in bytes of memory traffic."""

    emit: Emission = "all"
    """What a producer's epilogue can write besides HP: any label, blocks along its own last axis
    only, or nothing (quantisation is then a pass of its own over HP)."""
    tiles: bool = True
    """Square tiles are a choice."""
    requantize: bool = True
    """Requantising a quantised version along another axis is a choice."""
    noise: Fraction = Fraction(1)
    """Bytes per element and unit of excess noise, for every read of the version."""
    saved: Fraction = Fraction(1, 2)
    """Per byte kept from one phase to the next (forward to backward)."""
    stored: Fraction = Fraction(1, 2)
    """Per byte of a stored constant."""
    replicate_tile_scales: bool = False
    """The machine cannot broadcast a tile's scale: it is stored once per row of the tile."""
    formats: Mapping[str, FormatCost] = field(default_factory=lambda: dict(FORMATS))

    def format(self, name: str) -> FormatCost:
        """The costs of format `name`; `format/variant` costs what `format` does."""
        name = name.partition("/")[0]
        if name not in self.formats:
            known = ", ".join(sorted(self.formats))
            raise BadInput(f"format {name!r} has no layout costs", hint=f"known: {known}")
        return self.formats[name]


@dataclass(frozen=True)
class Value:
    """A tensor."""

    name: str
    shape: tuple[int, ...]
    kind: Kind = "activation"
    """activation: an op makes it, and may emit versions. input: HP lies in memory. parameter: the
    same, but trained, so it is quantised anew in every run. constant: known offline, quantised for
    nothing in any layout, stored at a price."""
    phase: int = 0
    """When it is made: 0 forward, 1 backward, or any numbering of intervals."""
    hp_bytes: int = 2
    on_chip: bool = False
    """Never in memory: its versions move no bytes (attention probabilities in a fused kernel)."""
    symmetric: tuple[tuple[int, int], ...] = ()
    """Pairs of axes that can be exchanged without changing the value (X Xᵀ)."""
    axes: tuple[str, ...] = ()
    """Names of the axes, for people."""
    excess: Mapping[str, tuple[Fraction, Fraction]] = field(default_factory=lambda: {})
    """Measured excess noise by format, (tile, requantised), instead of the format's own."""

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return prod(self.shape)

    def axis_name(self, axis: int) -> str:
        """The name of an axis, or its number."""
        return self.axes[axis] if self.axes else str(axis)


@dataclass(frozen=True)
class View:
    """`output` made of `inputs` without arithmetic."""

    output: str
    inputs: tuple[str, ...]
    maps: tuple[AxisMap, ...]
    """For each input, where its blocks go (`transport`)."""
    kind: Literal["alias", "free", "copy"] = "alias"
    """alias: the same bytes, both ways (Transpose, Reshape). free: a part or a repetition, nothing
    moves, one way (Slice, Split, Expand). copy: bytes move (Gather, Concat)."""


@dataclass(frozen=True)
class Operand:
    """A quantised operand; `axes[j]` is its axis when the op blocks on its j-th choice."""

    value: str
    axes: tuple[int, ...]
    format: str = "mxfp8_e4m3"
    """A format, or `format/variant`: versions in different variants (recipes) are not the same."""


@dataclass(frozen=True)
class Contraction:
    """An op that multiplies operands in blocks along one contracted axis, the same for all.

    An op that contracts one axis has one choice. An op that contracts several (dW over batch and
    rows) may block on any of them, but its operands have to agree: choice j is one axis per
    operand, `operand.axes[j]`.
    """

    name: str
    operands: tuple[Operand, ...]
    phase: int = 0

    @property
    def choices(self) -> int:
        """How many axes it may block on."""
        return len(self.operands[0].axes)


@dataclass(frozen=True)
class Read:
    """An op, or the caller (an output), that reads `value`: in HP, or in any version."""

    name: str
    value: str
    phase: int = 0
    any_version: bool = False


Use = Contraction | Read


@dataclass(frozen=True)
class Problem:
    """Which versions to make: the input of every policy.

    (C1) names of values, and of contractions, are unique; every value that is used is defined.
    (C2) a view follows the views that make its inputs, and no value is made twice.
    (C3) all operands of a contraction have the same number of choices, at least one.
    (C4) axes exist; for every choice the operands' sizes agree, or one divides the other (groups).
    (C5) nothing is used in an earlier phase than it is made in.
    """

    values: tuple[Value, ...]
    views: tuple[View, ...] = ()
    uses: tuple[Use, ...] = ()
    """In program order."""
    prices: Prices = field(default_factory=Prices)
    noise_budget: Fraction | None = None
    """Most excess noise in all: elements times excess, summed over the reads."""
    saved_budget: int | None = None
    """Most bytes kept from one phase to the next."""
    name: str = ""

    def __post_init__(self) -> None:
        _check(self)

    @cached_property
    def by_name(self) -> Mapping[str, Value]:
        """The values by their names."""
        return {value.name: value for value in self.values}

    def with_prices(self, **changes: Any) -> Problem:
        """The same problem with other prices."""
        return replace(self, prices=replace(self.prices, **changes))

    def with_format(self, name: str) -> Problem:
        """The same problem with every quantised operand in format `name`."""
        uses = (
            replace(use, operands=tuple(replace(o, format=name) for o in use.operands))
            if isinstance(use, Contraction)
            else use
            for use in self.uses
        )
        return replace(self, uses=tuple(uses))

    def to_json(self) -> dict[str, Any]:
        """As JSON data; `from_json` is the inverse."""
        data = _plain(self)
        data["uses"] = [{"type": type(use).__name__, **_plain(use)} for use in self.uses]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Problem:
        """The problem that `to_json` wrote."""
        try:
            return _problem(data)
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"not a layout problem: {error}") from error


def _check(problem: Problem) -> None:
    """Raises BadInput if (C1) to (C5) do not hold."""
    shapes = {value.name: value for value in problem.values}
    if len(shapes) != len(problem.values):
        raise BadInput("two values of a layout problem have the same name")
    ops = [use.name for use in problem.uses if isinstance(use, Contraction)]
    if len(set(ops)) != len(ops):
        raise BadInput("two contractions of a layout problem have the same name")
    made: set[str] = set()
    for view in problem.views:
        _check_view(view, shapes, made, {v.output for v in problem.views})
        made.add(view.output)
    for use in problem.uses:
        if isinstance(use, Contraction):
            _check_contraction(use, shapes)
        else:
            _known(use.value, shapes, use.name)
        for name in _read_by(use):
            if shapes[name].phase > use.phase:
                raise BadInput(f"{use.name} reads {name} before it is made")


def _known(name: str, values: Mapping[str, Value], user: str) -> Value:
    """The value of that name."""
    if name not in values:
        raise BadInput(f"{user} uses {name!r}, which is not a value of the layout problem")
    return values[name]


def _read_by(use: Use) -> Iterable[str]:
    """The values a use reads."""
    if isinstance(use, Contraction):
        return (operand.value for operand in use.operands)
    return (use.value,)


def _check_view(view: View, values: Mapping[str, Value], made: set[str], outputs: set[str]) -> None:
    """(C1), (C2), (C4) of a view."""
    output = _known(view.output, values, "a view")
    late = [name for name in view.inputs if name in outputs and name not in made]
    if view.output in made or late:
        raise BadInput(f"view {view.output!r} is made twice, or before its inputs")
    if len(view.inputs) != len(view.maps) or (len(view.inputs) != 1 and view.kind != "copy"):
        raise BadInput(f"view {view.output!r} needs one axis map per input, and copies to join")
    for name, axes in zip(view.inputs, view.maps, strict=True):
        rank = len(_known(name, values, view.output).shape)
        if any(i >= rank or j >= len(output.shape) for i, j in axes):
            raise BadInput(f"view {view.output!r} maps an axis that does not exist")


def _check_contraction(use: Contraction, values: Mapping[str, Value]) -> None:
    """(C1), (C3), (C4) of a contraction."""
    if not use.operands or not use.choices:
        raise BadInput(f"contraction {use.name!r} has no operands or no contracted axis")
    if any(len(operand.axes) != use.choices for operand in use.operands):
        raise BadInput(f"the operands of {use.name!r} do not offer the same choices of axis")
    for choice in range(use.choices):
        sizes: set[int] = set()
        for operand in use.operands:
            shape = _known(operand.value, values, use.name).shape
            if operand.axes[choice] >= len(shape):
                raise BadInput(f"{use.name!r} contracts an axis that does not exist")
            sizes.add(shape[operand.axes[choice]])
        if min(sizes) > 0 and max(sizes) % min(sizes):  # a group convolution's weights are shorter
            raise BadInput(f"the operands of {use.name!r} differ in the size of a contracted axis")


def _plain(item: Any) -> Any:
    """JSON data of a dataclass, a container or a fraction."""
    if isinstance(item, Fraction):
        return str(item)
    if isinstance(item, Mapping):
        return {key: _plain(value) for key, value in item.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(item, tuple):
        return [_plain(part) for part in item]  # pyright: ignore[reportUnknownVariableType]
    if hasattr(item, "__dataclass_fields__"):
        return {f.name: _plain(getattr(item, f.name)) for f in fields(item)}
    return item


def _tuple(item: Any) -> Any:
    """Lists of JSON data as tuples, all the way down."""
    return tuple(_tuple(part) for part in item) if isinstance(item, list) else item  # pyright: ignore[reportUnknownVariableType]


def _problem(data: Mapping[str, Any]) -> Problem:
    """See `Problem.from_json`."""
    budget = data.get("noise_budget")
    return Problem(
        tuple(_value(item) for item in data["values"]),
        tuple(View(**{k: _tuple(v) for k, v in item.items()}) for item in data["views"]),
        tuple(_use(dict(item)) for item in data["uses"]),
        _prices(dict(data["prices"])),
        None if budget is None else Fraction(budget),
        data.get("saved_budget"),
        data.get("name", ""),
    )


def _value(item: Mapping[str, Any]) -> Value:
    """A value from its JSON data."""
    parts = {key: _tuple(part) for key, part in item.items()}
    parts["excess"] = {
        name: (Fraction(tile), Fraction(again)) for name, (tile, again) in item["excess"].items()
    }
    return Value(**parts)


def _use(item: dict[str, Any]) -> Use:
    """A use from its JSON data."""
    if item.pop("type") == "Read":
        return Read(**item)
    operands = tuple(Operand(o["value"], _tuple(o["axes"]), o["format"]) for o in item["operands"])
    return Contraction(item["name"], operands, item["phase"])


def _prices(item: dict[str, Any]) -> Prices:
    """Prices from their JSON data."""
    costs = {
        name: FormatCost(
            c["bits"], c["block"], Fraction(c["tile_excess"]), Fraction(c["requant_excess"])
        )
        for name, c in item.pop("formats").items()
    }
    fractions = ("noise", "saved", "stored")
    parts: dict[str, Any] = {k: Fraction(v) if k in fractions else v for k, v in item.items()}
    return Prices(**parts, formats=costs)
