"""Plans: which arcs of the version graphs are opened, and which version each use reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from operator import add
from typing import Any

from mxc.errors import MxcError
from mxc.passes.layout.graph import Arc, ClassGraph, Graph, GraphUse, Node, Option
from mxc.passes.layout.problem import UNIT, Problem

_CONVERSIONS = {"emit": "quantize", "quantize": "quantize", "requantize": "requantize"}

ArcFilter = Callable[[ClassGraph, Arc], bool]


class Infeasible(MxcError):
    """No plan keeps within the budgets."""


@dataclass(frozen=True)
class Costs:
    """What a plan costs. Amounts are in units of 1/1024 byte, noise in 1/1024 element."""

    quantize_ops: int = 0
    """Versions quantised from HP, offline ones included."""
    requantize_ops: int = 0
    """Versions quantised from another quantised version."""
    quantize_units: int = 0
    """Traffic of making versions."""
    traffic_units: int = 0
    """All traffic: HP and MX, making and reading."""
    stored_units: int = 0
    """MX bytes that come into being, offline ones included."""
    saved_units: int = 0
    """Kept from one phase to the next."""
    noise: int = 0
    objective: int = 0
    """What the exact policy minimises."""

    def __add__(self, other: Costs) -> Costs:
        return Costs(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Costs)))

    def to_json(self) -> dict[str, int | float]:
        """As reported: bytes as bytes, the objective as an integer of 1/1024 bytes."""
        return {
            "quantize_ops": self.quantize_ops,
            "requantize_ops": self.requantize_ops,
            "quantize_bytes": _bytes(self.quantize_units),
            "traffic_bytes": _bytes(self.traffic_units),
            "stored_bytes": _bytes(self.stored_units),
            "saved_bytes": _bytes(self.saved_units),
            "excess_noise": _bytes(self.noise),
            "objective": self.objective,
        }


def _bytes(units: int) -> int | float:
    """Units as bytes: an integer where it is one; division by 1024 is exact."""
    return units // UNIT if units % UNIT == 0 else units / UNIT


@dataclass(frozen=True)
class Made:
    """What a plan converts at run time, as the HAL can count it; constants are made offline.

    The bytes are those that come into being: of every element the bits of its format, and one
    for every scale. How a producer's epilogue reads its input is not among them.
    """

    quantize_ops: int = 0
    quantize_bytes: int | float = 0
    requantize_ops: int = 0
    requantize_bytes: int | float = 0
    quantize_elements: int = 0
    requantize_elements: int = 0

    def to_json(self) -> dict[str, int | float]:
        """As reported."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class ClassPlan:
    """The plan of one class: opened arcs in ascending order, and an option for each use."""

    arcs: tuple[int, ...]
    picks: tuple[int, ...]

    def costs(self, graph: ClassGraph) -> Costs:
        """What it costs."""
        total = Costs()
        for arc in (graph.arcs[index] for index in self.arcs):
            total += Costs(
                int(arc.quantizes),
                int(arc.kind == "requantize"),
                arc.quantize_traffic,
                arc.traffic,
                arc.stored,
                arc.saved,
                0,
                arc.cost,
            )
        for use, pick in zip(graph.uses, self.picks, strict=True):
            option = use.options[pick]
            total += Costs(traffic_units=option.traffic, noise=option.noise, objective=option.cost)
        return total


@dataclass(frozen=True)
class Plan:
    """A complete answer to a layout problem."""

    policy: str
    problem: Problem
    graph: Graph
    classes: tuple[ClassPlan, ...]

    @cached_property
    def costs(self) -> Costs:
        """What it costs."""
        total = Costs()
        for part, graph in zip(self.classes, self.graph.classes, strict=True):
            total += part.costs(graph)
        return total

    @cached_property
    def made(self) -> Made:
        """What it converts at run time."""
        found = {kind: [0, 0, 0] for kind in _CONVERSIONS.values()}
        for part, graph in zip(self.classes, self.graph.classes, strict=True):
            for arc in (graph.arcs[index] for index in part.arcs):
                node = graph.nodes[arc.head]
                if node.form == "mx" and arc.kind in _CONVERSIONS:
                    elements = self.problem.by_name[node.value].elements
                    amounts = found[_CONVERSIONS[arc.kind]]
                    amounts[:] = map(add, amounts, (1, arc.stored, elements))
        (ops, units, elements), (again, moved, others) = found["quantize"], found["requantize"]
        return Made(ops, _bytes(units), again, _bytes(moved), elements, others)

    @property
    def within_budgets(self) -> bool:
        """Whether it respects the budgets of the problem."""
        noise, saved = self.problem.noise_budget, self.problem.saved_budget
        return (noise is None or self.costs.noise <= noise * UNIT) and (
            saved is None or self.costs.saved_units <= saved * UNIT
        )

    def to_json(self) -> dict[str, Any]:
        """The problem, the decisions by name, and the costs."""
        return {
            "policy": self.policy,
            "problem": self.problem.to_json(),
            "versions": [
                {"version": str(graph.nodes[arc.head]), "by": arc.kind,
                 "from": [str(graph.nodes[tail]) for tail in arc.tails]}
                for part, graph in zip(self.classes, self.graph.classes, strict=True)
                for arc in (graph.arcs[index] for index in part.arcs)
            ],
            "uses": [
                {"op": use.op, "operand": use.operand, "value": use.value,
                 "version": str(graph.nodes[use.options[pick].node]),
                 "choice": use.options[pick].choice}
                for part, graph in zip(self.classes, self.graph.classes, strict=True)
                for use, pick in zip(graph.uses, part.picks, strict=True)
            ],
            "costs": self.costs.to_json(),
            "made": self.made.to_json(),
        }  # fmt: skip


def check_plan(plan: Plan) -> None:
    """Raises MxcError if an opened arc lacks a tail, a use its version, or operands disagree."""
    chosen: dict[str, int] = {}
    for part, graph in zip(plan.classes, plan.graph.classes, strict=True):
        made = {0}
        for arc in (graph.arcs[index] for index in part.arcs):
            if not made.issuperset(arc.tails):
                raise MxcError(f"plan makes {graph.nodes[arc.head]} out of what it has not made")
            made.add(arc.head)
        for use, pick in zip(graph.uses, part.picks, strict=True):
            option = use.options[pick]
            if option.node not in made:
                raise MxcError(f"plan lets {use.op} read {graph.nodes[option.node]}, never made")
            if chosen.setdefault(use.op, option.choice) != option.choice:
                raise MxcError(f"the operands of {use.op} are blocked along different axes")


class Draft:
    """A plan in the making, one class: the cheapest way to add a version to what is there."""

    def __init__(self, graph: ClassGraph) -> None:
        self.graph = graph
        self.made: dict[int, int] = {0: -1}
        """The nodes that exist, and the arc that makes each."""
        self.picks: dict[int, int] = {}

    def cost(self, node: int, allowed: ArcFilter | None = None) -> int | None:
        """What `node` costs on top of what exists, by allowed arcs; None if it cannot be made.

        Below a concatenation the costs of the parts are added up, as if they shared nothing.
        """
        found = self._cheapest(allowed).get(node)
        return found[0] if found else None

    def add(self, node: int, allowed: ArcFilter | None = None) -> None:
        """Makes `node` the cheapest way."""
        self._open(node, self._cheapest(allowed))

    def pick(self, use: int, option: Option, allowed: ArcFilter | None = None) -> None:
        """Lets a use read the version of `option`, and makes it if it is not there."""
        self.add(option.node, allowed)
        self.picks[use] = self.graph.uses[use].options.index(option)

    def best(
        self, use: GraphUse, options: Iterable[Option], allowed: ArcFilter | None = None
    ) -> tuple[int, Option] | None:
        """The option that is cheapest, its version included; the first of equals."""
        found = self._cheapest(allowed)
        priced = [(found[o.node][0] + o.cost, o) for o in options if o.node in found]
        return min(priced, key=lambda item: item[0], default=None)

    def plan(self) -> ClassPlan:
        """The plan; every use must have picked."""
        arcs = sorted(arc for arc in self.made.values() if arc >= 0)
        return ClassPlan(
            tuple(arcs), tuple(self.picks[index] for index in range(len(self.graph.uses)))
        )

    def _cheapest(self, allowed: ArcFilter | None) -> dict[int, tuple[int, int]]:
        """For every node that can be made: its cost on top of what exists, and its last arc."""
        found = {node: (0, arc) for node, arc in self.made.items()}
        for index, arc in enumerate(self.graph.arcs):
            if arc.head in self.made or (allowed and not allowed(self.graph, arc)):
                continue
            if all(tail in found for tail in arc.tails):
                cost = arc.cost + sum(found[tail][0] for tail in arc.tails)
                if arc.head not in found or cost < found[arc.head][0]:
                    found[arc.head] = (cost, index)
        return found

    def _open(self, node: int, found: dict[int, tuple[int, int]]) -> None:
        if node in self.made:
            return
        arc = found[node][1]
        for tail in self.graph.arcs[arc].tails:
            self._open(tail, found)
        self.made[node] = arc


def axis_of(node: Node) -> str:
    """How people call the label of a version: `hp`, `axis 1`, `tile 0x1`."""
    if node.form != "mx":
        return node.form
    axes = "x".join(str(tag[1]) for tag in node.tags)
    return f"tile {axes}" if len(node.tags) == 2 else f"axis {axes}"
