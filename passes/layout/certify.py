"""Makes certificates: shares of the arcs' costs, from the dual of the flow relaxation.

The dual of the flow programme (`milp`) of a class with fixed axes is

    max  sum_u t_u
    s.t. t_u <= pi_u(v) + price_{u,v}
         pi_u(head) <= sum of pi_u(tails) + d_{u,a}
         sum_u d_{u,a} <= cost_a,   d >= 0,   pi_u(root) = 0

and any d >= 0 that keeps the last row proves a bound (`check`). HiGHS finds d in floating point on
costs divided by their common divisor; d is rounded to fractions and scaled back where the rounding
exceeds a cost, so the proof is exact whatever the solver did. Where the relaxation is not
tight, plans are split into cases: first by the axes of ops that have a choice, then by an arc
that the relaxation half opens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, gcd
from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from mxc.errors import MxcError
from mxc.passes.layout.build import build_graph
from mxc.passes.layout.exact import component_signature, solve_component
from mxc.passes.layout.graph import ClassGraph
from mxc.passes.layout.plan import ClassPlan, Plan

DENOMINATOR = 720720
"""Shares are multiples of 1 / 720720 = 1 / lcm(1..14, 16) of the costs' common divisor."""

MAX_CASES = 20000


def certificate(plan: Plan) -> dict[str, Any]:
    """The certificate of a plan, as `check` reads it; its bound is the least cost of any plan."""
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    bounds: dict[tuple[object, ...], _Bound] = {}
    objective, lower = 0, 0
    for component in plan.graph.components:
        kind = component_signature(plan.graph, component)
        classes = [plan.graph.classes[index] for index in component]
        plans = [plan.classes[index] for index in component]
        if kind not in bounds:
            bounds[kind] = _Bound.of(classes)
        key = (kind, tuple(plans))
        if key not in found:
            found[key] = _component(classes, plans, bounds[kind])
        found[key]["times"] += 1
        objective += sum(p.costs(c).objective for p, c in zip(plans, classes, strict=True))
        lower += bounds[kind].optimum
    return {"objective": objective, "lower_bound": lower, "components": list(found.values())}


def describes(data: Mapping[str, Any], plan: Plan) -> bool:
    """Whether a certificate is about the version graphs of `plan`'s problem and about its arcs."""
    graph = build_graph(plan.problem)
    expected: dict[str, int] = {}
    for component in graph.components:
        classes = [graph.classes[index] for index in component]
        text = repr(_component(classes, [plan.classes[index] for index in component], None))
        expected[text] = expected.get(text, 0) + 1
    stated: dict[str, int] = {}
    for part in data["components"]:
        text = repr({**part, "times": 0, "proofs": [], "bound": {}})
        stated[text] = stated.get(text, 0) + part["times"]
    return expected == stated


def _component(
    classes: Sequence[ClassGraph], plans: Sequence[ClassPlan], bound: _Bound | None
) -> dict[str, Any]:
    """One entry of a certificate; ops are numbered, so that equal components look equal."""
    numbers: dict[str, str] = {}
    for part in classes:
        for op in part.coupled:
            numbers.setdefault(op, f"op{len(numbers)}")
    choices = {numbers[u.op]: u.choices for part in classes for u in part.uses if u.choices > 1}
    return {
        "times": 0,
        "choices": choices,
        "classes": [
            {
                "nodes": len(part.nodes),
                "arcs": [[list(arc.tails), arc.head, arc.cost] for arc in part.arcs],
                "uses": [
                    [
                        numbers.get(use.op, f"{index}.{number}"),
                        [[o.node, o.choice, o.cost] for o in use.options],
                    ]
                    for number, use in enumerate(part.uses)
                ],
                "open": list(plan.arcs),
                "picks": list(plan.picks),
            }
            for index, (part, plan) in enumerate(zip(classes, plans, strict=True))
        ],
        "proofs": bound.proofs if bound else [],
        "bound": bound.named(numbers) if bound else {},
    }


@dataclass(frozen=True)
class _Case:
    """Plans with certain axes, without certain arcs, with certain arcs (class, arc)."""

    axes: Mapping[str, int] = field(default_factory=lambda: {})
    closed: frozenset[tuple[int, int]] = frozenset()
    opened: frozenset[tuple[int, int]] = frozenset()

    def key(self, index: int, part: ClassGraph) -> tuple[object, ...]:
        """What of the case matters for a class."""
        return (
            index,
            tuple(self.axes.get(op) for op in part.coupled),
            frozenset(a for c, a in self.closed if c == index),
            frozenset(a for c, a in self.opened if c == index),
        )


@dataclass
class _Proof:
    """Shares for one class, the bound they prove, and how far the relaxation opens each arc."""

    groups: list[dict[str, Any]]
    bound: Fraction | None
    opening: Mapping[int, float]
    number: int = -1


class _Bound:
    """The tree of cases of a component, whose bound is the least cost of its plans."""

    def __init__(self, classes: Sequence[ClassGraph], optimum: int) -> None:
        self.classes, self.optimum = classes, optimum
        costs = [arc.cost for part in classes for arc in part.arcs]
        costs += [o.cost for part in classes for use in part.uses for o in use.options]
        self.divisor = max(1, gcd(*costs))
        self.ops = tuple(dict.fromkeys(op for part in classes for op in part.coupled))
        self.choices = {u.op: u.choices for part in classes for u in part.uses}
        self.known: dict[tuple[object, ...], _Proof] = {}
        self.proofs: list[list[dict[str, Any]]] = []
        self.cases = 0
        self.tree = self._prove(_Case())

    @classmethod
    def of(cls, classes: Sequence[ClassGraph]) -> _Bound:
        """The bound of a component, proved equal to its optimum."""
        return cls(classes, solve_component(classes)[0])

    def named(self, names: Mapping[str, str]) -> dict[str, Any]:
        """The tree, with the names that the certificate gives the ops."""

        def rename(tree: dict[str, Any]) -> dict[str, Any]:
            if "op" in tree:
                return {"op": names[tree["op"]], "axes": [rename(t) for t in tree["axes"]]}
            if "arc" in tree:
                return {**tree, "closed": rename(tree["closed"]), "open": rename(tree["open"])}
            return tree

        return rename(self.tree)

    def _prove(self, case: _Case) -> dict[str, Any]:
        """A tree that proves the optimum for a case."""
        self.cases += 1
        if self.cases > MAX_CASES:
            raise MxcError(f"a certificate would need more than {MAX_CASES} cases")
        proofs = [self._proof(case, index) for index in range(len(self.classes))]
        if self._enough(case, proofs):
            return {"proofs": [self._number(proof) for proof in proofs]}
        op = next((op for op in self.ops if op not in case.axes), None)
        if op is not None:
            cases = [
                _Case({**case.axes, op: axis}, case.closed, case.opened)
                for axis in range(self.choices[op])
            ]
            return {"op": op, "axes": [self._prove(part) for part in cases]}
        index, arc = self._undecided(case, proofs)
        this = frozenset({(index, arc)})
        return {
            "class": index,
            "arc": arc,
            "closed": self._prove(_Case(case.axes, case.closed | this, case.opened)),
            "open": self._prove(_Case(case.axes, case.closed, case.opened | this)),
        }

    def _enough(self, case: _Case, proofs: Sequence[_Proof]) -> bool:
        """Whether the proofs reach the optimum, rounded up to the common divisor."""
        total = Fraction(sum(self.classes[c].arcs[a].cost for c, a in case.opened))
        for proof in proofs:
            if proof.bound is None:
                return True
            total += proof.bound
        return ceil(total / self.divisor) * self.divisor >= self.optimum

    def _undecided(self, case: _Case, proofs: Sequence[_Proof]) -> tuple[int, int]:
        """The arc whose opening is furthest from 0 and 1."""
        free = [
            (abs(opening - 0.5), index, arc)
            for index, proof in enumerate(proofs)
            for arc, opening in proof.opening.items()
            if (index, arc) not in case.closed | case.opened
        ]
        if not free:
            raise AssertionError("no arc left to decide, and the bound is not reached")
        return min(free)[1:]

    def _number(self, proof: _Proof) -> int:
        if proof.number < 0:
            proof.number = len(self.proofs)
            self.proofs.append(proof.groups)
        return proof.number

    def _proof(self, case: _Case, index: int) -> _Proof:
        key = case.key(index, self.classes[index])
        if key not in self.known:
            self.known[key] = _ClassDual(self.classes[index], index, case).solve()
        return self.known[key]


class _ClassDual:
    """The dual programme of one class in one case."""

    def __init__(self, part: ClassGraph, index: int, case: _Case) -> None:
        self.part = part
        self.arcs = self._reachable({a for c, a in case.closed if c == index})
        opened = {a for c, a in case.opened if c == index}
        self.costs = {a: 0 if a in opened else part.arcs[a].cost for a in self.arcs}
        self.nodes = sorted({0} | {part.arcs[a].head for a in self.arcs})
        self.groups = self._groups(case.axes)
        self.apart = _apart(part)

    def _reachable(self, closed: set[int]) -> list[int]:
        made, kept = {0}, list[int]()
        for index, arc in enumerate(self.part.arcs):
            if index not in closed and made.issuperset(arc.tails):
                made.add(arc.head)
                kept.append(index)
        return kept

    def _groups(self, axes: Mapping[str, int]) -> list[tuple[list[int], dict[int, int]]]:
        """Uses with the same prices, and the price of each node for one of them."""
        groups: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for index, use in enumerate(self.part.uses):
            prices: dict[int, int] = {}
            for option in use.options:
                if axes.get(use.op) in (None, option.choice) and option.node in self.nodes:
                    prices[option.node] = min(option.cost, prices.get(option.node, option.cost))
            groups.setdefault(tuple(sorted(prices.items())), []).append(index)
        return [(uses, dict(prices)) for prices, uses in groups.items()]

    def solve(self) -> _Proof:
        """Shares that prove the best bound the relaxation has."""
        if any(not prices for _, prices in self.groups):
            return _Proof([_group(uses, {}) for uses, _ in self.groups], None, {})
        if len(self.groups) == 1:
            shares = [{arc: Fraction(cost) for arc, cost in self.costs.items()}]
            opening: Mapping[int, float] = dict.fromkeys(self.arcs, 0.0)
        else:
            shares, opening = self._programme()
        rows = list(zip(self.groups, shares, strict=True))
        ways = (self._way(uses, prices, share) for (uses, prices), share in rows)
        groups = [_group(uses, share) for (uses, _), share in rows]
        return _Proof(groups, sum(ways, Fraction(0)), opening)

    def _way(
        self, uses: Sequence[int], prices: Mapping[int, int], shares: Mapping[int, Fraction]
    ) -> Fraction:
        """What the uses of a group pay at least under their shares."""
        way: dict[int, Fraction] = {0: Fraction(0)}
        for index in self.arcs:
            arc = self.part.arcs[index]
            lengths = [way[tail] for tail in arc.tails]
            before = sum(lengths, Fraction(0)) if self.apart[index] else max(lengths)
            length = before + shares.get(index, 0)
            way[arc.head] = min(way.get(arc.head, length), length)
        return min(way[node] + price * len(uses) for node, price in prices.items())

    def _programme(self) -> tuple[list[dict[int, Fraction]], dict[int, float]]:
        """Solves the dual; the shares of each group, and the opening of each arc."""
        divisor = max(1, gcd(*self.costs.values(), *(
            price for _, prices in self.groups for price in prices.values()
        )))  # fmt: skip
        rows = self._rows(divisor)
        count = len(self.groups)
        width = count * (1 + len(self.nodes) + len(self.arcs))
        gain = np.zeros(width)
        gain[:count] = -1.0
        matrix = coo_array((rows.entry, (rows.row, rows.column)), shape=(len(rows.limit), width))
        free = count * (1 + len(self.nodes))
        bounds: list[tuple[float | None, float | None]] = [(None, None)] * free
        bounds += [(0, None)] * (width - free)
        for group in range(count):
            bounds[count + group * len(self.nodes)] = (0, 0)
        result = linprog(gain, matrix.tocsr(), rows.limit, bounds=bounds, method="highs")
        if result.x is None:
            raise AssertionError(f"the relaxation has no solution: {result.message}")
        shares = [self._fractions(result.x, free, group, divisor) for group in range(count)]
        marginals = -result.ineqlin.marginals[-len(self.arcs) :]
        opening = {arc: float(marginals[i]) for i, arc in enumerate(self.arcs)}
        return self._scaled(shares), opening

    def _rows(self, divisor: int) -> _Rows:
        """The rows of the dual; variables: t, then pi by group and node, then d."""
        rows = _Rows()
        count, size = len(self.groups), len(self.nodes)
        place = {node: i for i, node in enumerate(self.nodes)}
        for group, (uses, prices) in enumerate(self.groups):
            pi = count + group * size
            d = count * (1 + size) + group * len(self.arcs)
            for node, price in prices.items():
                terms = [(group, 1.0), (pi + place[node], -1.0)]
                rows.add(terms, price * len(uses) // divisor)
            for i, index in enumerate(self.arcs):
                arc = self.part.arcs[index]
                weight = 1.0 if self.apart[index] else 1.0 / len(arc.tails)
                tails = [(pi + place[tail], -weight) for tail in arc.tails]
                rows.add([(pi + place[arc.head], 1.0), *tails, (d + i, -1.0)], 0)
        for i, index in enumerate(self.arcs):
            first = count * (1 + size) + i
            terms = [(first + group * len(self.arcs), 1.0) for group in range(count)]
            rows.add(terms, self.costs[index] // divisor)
        return rows

    def _fractions(self, x: Any, free: int, group: int, divisor: int) -> dict[int, Fraction]:
        """The shares of a group as fractions."""
        start = free + group * len(self.arcs)
        found: dict[int, Fraction] = {}
        for i, arc in enumerate(self.arcs):
            share = Fraction(round(max(0.0, float(x[start + i])) * DENOMINATOR), DENOMINATOR)
            if share:
                found[arc] = share * divisor
        return found

    def _scaled(self, shares: list[dict[int, Fraction]]) -> list[dict[int, Fraction]]:
        """The shares, scaled down where their sum exceeds the cost of an arc."""
        for arc, cost in self.costs.items():
            total = sum((share.get(arc, Fraction(0)) for share in shares), Fraction(0))
            if total > cost:
                for share in shares:
                    if arc in share:
                        share[arc] *= Fraction(cost) / total
        return shares


@dataclass
class _Rows:
    """Rows sum of coefficients times variables <= limit, as triplets."""

    row: list[int] = field(default_factory=lambda: [])
    column: list[int] = field(default_factory=lambda: [])
    entry: list[float] = field(default_factory=lambda: [])
    limit: list[float] = field(default_factory=lambda: [])

    def add(self, terms: Sequence[tuple[int, float]], limit: float) -> None:
        """One row."""
        for column, entry in terms:
            self.row.append(len(self.limit))
            self.column.append(column)
            self.entry.append(entry)
        self.limit.append(limit)


def _group(uses: Sequence[int], shares: Mapping[int, Fraction]) -> dict[str, Any]:
    """A group of a proof, as JSON."""
    return {"uses": list(uses), "shares": {str(a): str(s) for a, s in shares.items() if s}}


def _apart(part: ClassGraph) -> list[bool]:
    """For every arc: the ways to its tails have no arc in common."""
    above: list[frozenset[int]] = [frozenset() for _ in part.nodes]
    apart: list[bool] = []
    for index, arc in enumerate(part.arcs):  # ordered by head
        union = frozenset[int]().union(*(above[tail] for tail in arc.tails))
        apart.append(sum(len(above[tail]) for tail in arc.tails) == len(union))
        above[arc.head] = above[arc.head].union({index}, union)
    return apart
