"""Why a value is laid out as it is: versions, who reads them, and what the alternatives cost.

The *regret* of an alternative is how much more the best plan costs in which a certain use reads a
certain version. It is exact: the use is restricted to that version and the component is solved
again. An alternative may win at another price of noise or of saved bytes; the price is found by
following the costs of the two plans, which are linear in it, to where they meet, until the best
plans with and without the restriction cost the same there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from mxc.errors import BadInput
from mxc.passes.layout.exact import solve_component
from mxc.passes.layout.graph import Arc, ClassGraph, GraphUse, Node
from mxc.passes.layout.plan import Costs, Infeasible, Plan, axis_of
from mxc.passes.layout.problem import UNIT, Prices
from mxc.passes.layout.steiner import NoPlan

PriceName = Literal["noise", "saved"]
_PRICES: tuple[PriceName, ...] = ("noise", "saved")

_WORDS = {
    "given": "in memory from the start",
    "constant": "made offline",
    "write": "written by the producer",
    "emit": "written by the producer",
    "quantize": "quantised from HP",
    "requantize": "requantised",
    "keep": "kept from the phase before",
    "view": "a view",
    "copy": "copied",
    "weaken": "the same as generation 1",
}


@dataclass(frozen=True)
class Alternative:
    """A version that a use could have read instead."""

    version: str
    regret: int
    """What the best plan with it costs more, in 1/1024 byte."""
    wins_at: dict[PriceName, Fraction]
    """Prices at which it costs no more than the best plan, all else being equal."""

    def __str__(self) -> str:
        prices = (f"wins if the {n} price is {float(p):.3g}" for n, p in self.wins_at.items())
        extra = f"+{self.regret / UNIT:,.0f} bytes" if self.regret else "as good"
        return ", ".join([f"{self.version}: {extra}", *prices])


@dataclass(frozen=True)
class Reading:
    """A use of the value."""

    op: str
    operand: int
    phase: int
    wants: str
    version: str
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class Explanation:
    """All about one value."""

    value: str
    storage: str
    versions: tuple[tuple[str, str, float], ...]
    """Version, how it is made, bytes of traffic for that."""
    readings: tuple[Reading, ...]

    def __str__(self) -> str:
        shared = f", in the storage of {self.storage}" if self.storage != self.value else ""
        lines = [f"{self.value}{shared}"]
        lines += [f"  made {name}: {how}, {size:,.0f} bytes" for name, how, size in self.versions]
        for use in self.readings:
            lines.append(f"  {use.op} (operand {use.operand}, phase {use.phase}) wants {use.wants}")
            lines.append(f"    reads {use.version}")
            lines += [f"    instead {other}" for other in use.alternatives]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "value": self.value,
            "storage": self.storage,
            "versions": [
                {"version": name, "how": how, "traffic_bytes": size}
                for name, how, size in self.versions
            ],
            "uses": [
                {
                    "op": use.op, "operand": use.operand, "phase": use.phase,
                    "wants": use.wants, "version": use.version,
                    "alternatives": [
                        {"version": other.version, "regret": other.regret,
                         "wins_at": {name: float(p) for name, p in other.wins_at.items()}}
                        for other in use.alternatives
                    ],
                }
                for use in self.readings
            ],
        }  # fmt: skip


def explain(plan: Plan, value: str) -> Explanation:
    """Why `value` is laid out as it is in `plan`; regrets are against the best plan.

    Raises:
        BadInput: if the problem has no such value, or nothing reads it.
    """
    storage = plan.graph.storage_of.get(value)
    places = [
        (index, graph)
        for index, graph in enumerate(plan.graph.classes)
        if any(node.value == storage for node in graph.nodes)
    ]
    if storage is None or not places:
        raise BadInput(f"nothing reads a value {value!r}", hint="see --json for the values")
    index, graph = places[0]
    part = plan.classes[index]
    versions = tuple(_made(graph, graph.arcs[arc], storage) for arc in part.arcs)
    worlds = _Worlds.of(plan, index)
    readings = tuple(
        _reading(worlds, number, use, part.picks[number])
        for number, use in enumerate(graph.uses)
        if plan.graph.storage_of[use.value] == storage and (use.value == value or storage == value)
    )
    return Explanation(value, storage, tuple(v for v in versions if v is not None), readings)


def _made(graph: ClassGraph, arc: Arc, storage: str) -> tuple[str, str, float] | None:
    """A version of the storage that the plan makes, in words."""
    node = graph.nodes[arc.head]
    if node.value != storage or arc.kind not in _WORDS:
        return None
    source = graph.nodes[arc.tails[0]]
    how = _WORDS[arc.kind]
    how += f" from {axis_of(source)}" if arc.kind == "requantize" else ""
    return _name(node), how, arc.traffic / UNIT


def _name(node: Node) -> str:
    """A version in words."""
    again = " (requantised)" if node.generation == 2 else ""
    return f"{axis_of(node)}{again} in phase {node.phase}"


def _reading(worlds: _Worlds, number: int, use: GraphUse, pick: int) -> Reading:
    """One use with its alternatives, cheapest first."""
    nodes = worlds.classes[worlds.place].nodes
    read = nodes[use.options[pick].node]
    others = dict.fromkeys(nodes[o.node] for o in use.options)
    found = [_alternative(worlds, number, node) for node in others if node != read]
    ordered = sorted((a for a in found if a is not None), key=lambda a: a.regret)
    single = dict.fromkeys(axis_of(node) for node in others if len(node.tags) < 2)
    wants = " or ".join(single)
    return Reading(use.op, use.operand, use.phase, wants, _name(read), tuple(ordered))


def _alternative(worlds: _Worlds, number: int, node: Node) -> Alternative | None:
    """What it would cost if the use read `node`; None if that cannot be."""
    regret = worlds.regret(number, node, worlds.prices)
    if regret is None:
        return None
    wins: dict[PriceName, Fraction] = {}
    for name in _PRICES:
        price = worlds.price_to_win(number, node, name)
        if price is not None:
            wins[name] = price
    return Alternative(_name(node), regret.amount, wins)


@dataclass(frozen=True)
class _Regret:
    """How two best plans differ."""

    amount: int
    noise: int
    saved: int


@dataclass(frozen=True)
class _Worlds:
    """The component of a value, solved under restrictions and prices."""

    classes: tuple[ClassGraph, ...]
    place: int
    prices: Prices

    @classmethod
    def of(cls, plan: Plan, index: int) -> _Worlds:
        """The component that holds class `index`."""
        component = next(c for c in plan.graph.components if index in c)
        classes = tuple(plan.graph.classes[i] for i in component)
        return cls(classes, component.index(index), plan.problem.prices)

    def regret(self, number: int, node: Node, prices: Prices) -> _Regret | None:
        """The cost of letting a use read `node`, at other prices."""
        classes = [_reprice(part, self.prices, prices) for part in self.classes]
        best = _solve(classes)
        part = classes[self.place]
        use = part.uses[number]
        options = tuple(o for o in use.options if part.nodes[o.node] == node)
        uses = (*part.uses[:number], replace(use, options=options), *part.uses[number + 1 :])
        classes[self.place] = ClassGraph(part.nodes, part.arcs, uses)
        try:
            other = _solve(classes)
        except (NoPlan, Infeasible):
            return None
        return _Regret(
            other.objective - best.objective,
            other.noise - best.noise,
            other.saved_units - best.saved_units,
        )

    def price_to_win(self, number: int, node: Node, name: PriceName) -> Fraction | None:
        """A price of noise or saved bytes at which reading `node` costs nothing extra."""
        price: Fraction = getattr(self.prices, name)
        for _ in range(12):
            prices = replace(self.prices, **{name: price})
            regret = self.regret(number, node, prices)
            if regret is None or regret.amount <= _rounding(self.classes):
                return price if regret and price != getattr(self.prices, name) else None
            slope = regret.noise if name == "noise" else regret.saved
            if slope == 0 or price < Fraction(regret.amount, slope):
                return None
            price -= Fraction(regret.amount, slope)
        return None


def _rounding(classes: Sequence[ClassGraph]) -> int:
    """By how much rounded costs may be off: half a unit for each."""
    return sum(len(part.arcs) + len(part.uses) for part in classes)


def _solve(classes: Sequence[ClassGraph]) -> Costs:
    """The costs of the best plan of a component."""
    total = Costs()
    for plan, part in zip(solve_component(classes)[1], classes, strict=True):
        total += plan.costs(part)
    return total


def _reprice(part: ClassGraph, old: Prices, new: Prices) -> ClassGraph:
    """The class at other prices of noise and saved bytes."""
    if old == new:
        return part
    noise, saved = new.noise - old.noise, new.saved - old.saved
    arcs = tuple(
        replace(arc, cost=arc.cost + round(saved * arc.saved)) if arc.saved else arc
        for arc in part.arcs
    )
    return ClassGraph(part.nodes, arcs, tuple(_repriced_uses(part, noise)))


def _repriced_uses(part: ClassGraph, noise: Fraction) -> Iterator[GraphUse]:
    """The uses with another price of noise."""
    for use in part.uses:
        options = (replace(o, cost=o.cost + round(noise * o.noise)) for o in use.options)
        yield replace(use, options=tuple(options))
