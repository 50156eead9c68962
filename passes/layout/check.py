"""Checks a certificate: that a plan is a plan, what it costs, and that nothing can cost less.

Standard library only and no code in common with the solvers; integers and fractions only. A
certificate is JSON data:

    {"objective": int, "lower_bound": int,
     "components": [{"times": how many components look like this one,
                     "choices": {op: number of axes it may block on},
                     "classes": [{"nodes": n,
                                  "arcs": [[[tail, ...], head, cost], ...],
                                  "uses": [[op, [[node, choice, cost], ...]], ...],
                                  "open": [arc, ...], "picks": [option of each use, ...]}],
                     "proofs": [[{"uses": [use, ...], "shares": {arc: fraction}}, ...], ...],
                     "bound": tree}]}

**The plan.** Every open arc has its tails (node 0 exists); every use picks an option whose node is
made; the options picked for one op have one choice. The objective is the cost of what is open and
picked, summed over the components.

**The bound.** Suppose every arc's cost is divided among the uses in shares >= 0 that do not exceed
it. In any plan a use pays its share of every arc on its way from node 0, so at least the length
of the shortest way under its own shares, and all of them together no more than the plan costs.
Below an arc with several tails the ways to the tails add up if they have no arc in common, and the
longest counts if they have. In a proof the uses of a group divide the shares evenly.

A tree splits the plans into cases until the bound of each case is good enough:

    {"proofs": [one per class]}                    no further case
    {"op": op, "axes": [tree, ...]}                by the axis the op blocks on
    {"class": c, "arc": a, "closed": tree, "open": tree}    without arc a; with it, paid for

All costs being multiples of their common divisor, so is the cost of the best plan: bounds are
rounded up to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, gcd
from typing import Any

from mxc.errors import MxcError

Json = Mapping[str, Any]


class BadCertificate(MxcError):
    """The certificate does not prove what it says."""


@dataclass(frozen=True)
class Verdict:
    """What a certificate proves, in units of 1/1024 byte."""

    objective: int
    """What the plan costs."""
    lower_bound: int
    """What every plan costs at least."""

    @property
    def gap(self) -> int:
        """By how much the plan may be too expensive: 0 proves it optimal."""
        return self.objective - self.lower_bound


def check_certificate(data: Json) -> Verdict:
    """Checks a certificate.

    Raises:
        BadCertificate: if it is malformed, the plan invalid, a cost wrong, or the bound not proved.
    """
    try:
        objective, bound = 0, 0
        for component in data["components"]:
            objective += component["times"] * _plan_cost(component)
            bound += component["times"] * _bound(component)
        claimed = (data["objective"], data["lower_bound"])
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise BadCertificate(f"malformed certificate: {error!r}") from error
    _require(claimed == (objective, bound), f"it claims {claimed}, and proves {objective, bound}")
    return Verdict(objective, bound)


def _require(true: bool, otherwise: str) -> None:
    """Raises unless true."""
    if not true:
        raise BadCertificate(otherwise)


def _plan_cost(component: Json) -> int:
    """The cost of the plan of a component, if it is one."""
    total = 0
    chosen: dict[str, int] = {}
    for part in component["classes"]:
        made = {0}
        _require(part["open"] == sorted(set(part["open"])), "open arcs are not in order")
        for arc in part["open"]:
            tails, head, cost = part["arcs"][arc]
            _require(made.issuperset(tails), "an open arc starts at what is not made")
            made.add(head)
            total += cost
        _require(len(part["picks"]) == len(part["uses"]), "not every use has its pick")
        for (op, options), pick in zip(part["uses"], part["picks"], strict=True):
            node, choice, cost = options[pick]
            _require(pick >= 0 and node in made, f"{op} reads what is not made")
            _require(chosen.setdefault(op, choice) == choice, f"the operands of {op} disagree")
            total += cost
    return total


def _bound(component: Json) -> int:
    """What every plan of a component costs at least, by its tree."""
    numbers: list[int] = []
    for part in component["classes"]:
        for tails, head, cost in part["arcs"]:
            _require(all(0 <= tail < head < part["nodes"] for tail in tails), "arcs go upwards")
            _require(bool(tails) and cost >= 0, "arcs have tails, and costs are not negative")
            numbers.append(cost)
        numbers += [cost for _, options in part["uses"] for _, _, cost in options]
    bound = _Case(component, max(1, gcd(*numbers))).of(component["bound"])
    _require(bound is not None, "it says that there is no plan at all")
    return bound if bound is not None else 0


@dataclass(frozen=True)
class _Case:
    """A part of all plans: those with certain axes, without certain arcs, with certain arcs."""

    component: Json
    divisor: int
    axes: Mapping[str, int] | None = None
    closed: frozenset[tuple[int, int]] = frozenset()
    opened: frozenset[tuple[int, int]] = frozenset()

    def of(self, tree: Json) -> int | None:
        """The bound that a tree proves; None if no plan is in this case."""
        if "op" in tree:
            op, trees = tree["op"], tree["axes"]
            _require(op not in (self.axes or {}), f"{op} is split twice")
            _require(len(trees) == self.component["choices"][op], f"an axis of {op} is missing")
            return _least(self._with_axis(op, axis).of(t) for axis, t in enumerate(trees))
        if "arc" in tree:
            arc = frozenset({(tree["class"], tree["arc"])})
            _require(not arc & (self.closed | self.opened), "an arc is split twice")
            without = _Case(self.component, self.divisor, self.axes, self.closed | arc, self.opened)
            with_it = _Case(self.component, self.divisor, self.axes, self.closed, self.opened | arc)
            return _least((without.of(tree["closed"]), with_it.of(tree["open"])))
        return self._leaf(tree["proofs"])

    def _with_axis(self, op: str, axis: int) -> _Case:
        axes = {**(self.axes or {}), op: axis}
        return _Case(self.component, self.divisor, axes, self.closed, self.opened)

    def _leaf(self, proofs: list[int]) -> int | None:
        classes = self.component["classes"]
        _require(len(proofs) == len(classes), "a class has no proof")
        total = Fraction(sum(classes[c]["arcs"][a][2] for c, a in self.opened))
        for index, proof in enumerate(proofs):
            bound = self._class_bound(index, self.component["proofs"][proof])
            if bound is None:
                return None
            total += bound
        return ceil(total / self.divisor) * self.divisor

    def _class_bound(self, index: int, groups: list[Json]) -> Fraction | None:
        """The sum of the shortest ways of the uses of one class under their shares."""
        part = self.component["classes"][index]
        left = {arc: self._cost(index, arc, row[2]) for arc, row in enumerate(part["arcs"])}
        seen: list[int] = []
        total = Fraction(0)
        for group in groups:
            shares = {int(arc): Fraction(share) for arc, share in group["shares"].items()}
            for arc, share in shares.items():
                left[arc] -= share
                _require(share >= 0 and left[arc] >= 0, "the shares of an arc exceed its cost")
            for use in group["uses"]:
                seen.append(use)
                even = {arc: share / len(group["uses"]) for arc, share in shares.items()}
                way = self._shortest(index, part["uses"][use], even)
                if way is None:
                    return None
                total += way
        _require(sorted(seen) == list(range(len(part["uses"]))), "a proof leaves out a use")
        return total

    def _cost(self, index: int, arc: int, cost: int) -> Fraction:
        return Fraction(0 if (index, arc) in self.opened else cost)

    def _shortest(
        self, index: int, use: list[Any], shares: Mapping[int, Fraction]
    ) -> Fraction | None:
        """The shortest way from node 0 through an option of the use."""
        op, options = use
        part = self.component["classes"][index]
        way: dict[int, Fraction] = {0: Fraction(0)}
        above = _ancestors(part)
        for arc, tails, head in _upwards(part):
            if (index, arc) in self.closed or not all(tail in way for tail in tails):
                continue
            lengths = [way[tail] for tail in tails]
            apart = sum(len(above[tail]) for tail in tails) == len(
                frozenset[int]().union(*(above[tail] for tail in tails))
            )
            length = shares.get(arc, Fraction(0)) + (sum(lengths) if apart else max(lengths))
            way[head] = min(way.get(head, length), length)
        fixed = (self.axes or {}).get(op)
        ends = (
            way[node] + cost
            for node, choice, cost in options
            if node in way and fixed in (None, choice)
        )
        return min(ends, default=None)


def _upwards(part: Json) -> list[tuple[int, list[int], int]]:
    """The arcs as (number, tails, head), by head, so that tails come first."""
    rows = [(arc, list(tails), int(head)) for arc, (tails, head, _) in enumerate(part["arcs"])]
    return sorted(rows, key=lambda row: row[2])


def _ancestors(part: Json) -> dict[int, frozenset[int]]:
    """For every node: the arcs on some way to it."""
    above: dict[int, frozenset[int]] = {node: frozenset() for node in range(part["nodes"])}
    for arc, tails, head in _upwards(part):
        above[head] = above[head].union({arc}, *(above[tail] for tail in tails))
    return above


def _least(bounds: Any) -> int | None:
    """The least of the bounds of all cases; cases without plans do not count."""
    return min((bound for bound in bounds if bound is not None), default=None)
