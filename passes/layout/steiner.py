"""The cheapest way to make what a class's uses read: Dreyfus-Wagner on the version graph.

Without concatenations a class is a minimum directed Steiner arborescence: the root must reach every
use, and a shared arc is paid once. Let f(v, S) be the least cost of serving the uses S from node v.
Either v serves a part of S and the rest apart, or all of S through one arc:

    f(v, S) = min( min over T subset of S of f(v, T) + f(v, S - T),
                   min over arcs v -> w of cost + f(w, S) )

and f(v, {u}) may also be the price of u reading v. Uses with equal options are one terminal whose
prices add up; there are few terminals, at most 4 in practice, so O(3^k arcs) is cheap. Exact in
integers; ties go to fewer quantisations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mxc.errors import MxcError
from mxc.passes.layout.graph import ClassGraph
from mxc.passes.layout.plan import ClassPlan

TIE = 1 << 24
"""Costs are compared as cost * TIE + number of quantisations."""

MAX_TERMINALS = 10


@dataclass(frozen=True)
class _Terminal:
    """Uses that read the same versions at the same prices."""

    uses: tuple[int, ...]
    prices: Mapping[int, int]


class NoPlan(MxcError):
    """A use cannot be served at all."""


def terminals(graph: ClassGraph, choice: Mapping[str, int]) -> list[_Terminal]:
    """Merges equal uses; `choice` is the axis of every op that has a choice."""
    groups: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for index, use in enumerate(graph.uses):
        wanted = choice.get(use.op, 0)
        key = tuple((o.node, o.cost) for o in use.options if o.choice == wanted)
        if not key:
            raise NoPlan(f"no version of {use.value} can serve {use.op}")
        groups.setdefault(key, []).append(index)
    return [
        _Terminal(tuple(uses), {node: cost * len(uses) * TIE for node, cost in key})
        for key, uses in groups.items()
    ]


def solve_class(graph: ClassGraph, choice: Mapping[str, int]) -> tuple[int, ClassPlan]:
    """The least cost of a class without concatenations, and a plan that has it."""
    found = terminals(graph, choice)
    if graph.joins or len(found) > MAX_TERMINALS:
        raise ValueError("this class needs the integer programme")
    table = _Table(graph, found)
    return table.best(len(found)) // TIE, table.plan(choice)


class _Table:
    """f(v, S) for all nodes v and sets S of terminals, and how each entry came about."""

    def __init__(self, graph: ClassGraph, ends: list[_Terminal]) -> None:
        self.graph, self.ends = graph, ends
        size = len(graph.nodes)
        everything = 1 << len(ends)
        self.costs: list[list[int | None]] = [[None] * everything for _ in range(size)]
        self.how: list[list[tuple[str, int]]] = [[("", 0)] * everything for _ in range(size)]
        self.outgoing: list[list[int]] = [[] for _ in range(size)]
        for index, arc in enumerate(graph.arcs):
            self.outgoing[arc.tails[0]].append(index)
        for subset in range(1, everything):
            for node in range(size - 1, -1, -1):
                self._fill(node, subset)

    def best(self, count: int) -> int:
        """f(root, all)."""
        cost = self.costs[0][(1 << count) - 1]
        if cost is None:
            raise NoPlan(f"no version can serve {self.graph.uses[0].op}")
        return cost

    def _offer(self, node: int, subset: int, cost: int, how: tuple[str, int]) -> None:
        known = self.costs[node][subset]
        if known is None or cost < known:
            self.costs[node][subset] = cost
            self.how[node][subset] = how

    def _fill(self, node: int, subset: int) -> None:
        if subset & (subset - 1) == 0:
            end = self.ends[subset.bit_length() - 1]
            if node in end.prices:
                self._offer(node, subset, end.prices[node], ("end", 0))
        row = self.costs[node]
        part = (subset - 1) & subset
        while part > subset - part:
            left, right = row[part], row[subset - part]
            if left is not None and right is not None:
                self._offer(node, subset, left + right, ("split", part))
            part = (part - 1) & subset
        for index in self.outgoing[node]:
            arc = self.graph.arcs[index]
            rest = self.costs[arc.head][subset]
            if rest is not None:
                work = int(arc.quantizes or arc.kind == "requantize")
                self._offer(node, subset, rest + arc.cost * TIE + work, ("arc", index))

    def plan(self, choice: Mapping[str, int]) -> ClassPlan:
        """Reads the plan off the table."""
        arcs: set[int] = set()
        reads: dict[int, int] = {}
        todo = [(0, (1 << len(self.ends)) - 1)]
        while todo:
            node, subset = todo.pop()
            kind, detail = self.how[node][subset]
            if kind == "end":
                reads[subset.bit_length() - 1] = node
            elif kind == "split":
                todo += [(node, detail), (node, subset - detail)]
            else:
                arcs.add(detail)
                todo.append((self.graph.arcs[detail].head, subset))
        return ClassPlan(tuple(sorted(arcs)), self._picks(reads, choice))

    def _picks(self, reads: dict[int, int], choice: Mapping[str, int]) -> tuple[int, ...]:
        picks: dict[int, int] = {}
        for terminal, node in reads.items():
            for use in self.ends[terminal].uses:
                item = self.graph.uses[use]
                wanted = (node, choice.get(item.op, 0))
                options = [(option.node, option.choice) for option in item.options]
                picks[use] = options.index(wanted)
        return tuple(picks[index] for index in range(len(self.graph.uses)))
