"""The integer programme: for concatenations, many axis choices, and budgets.

The flow formulation, whose relaxation is tight for arborescences: every terminal u sends one unit
from the root to the version it reads,

    min  sum_a c_a o_a + sum p_{u,v} y_{u,v}
    s.t. f_{u,a} <= o_a
         inflow_u(v) >= outflow_u(v) + y_{u,v}     per outgoing arc below a concatenation
         sum_v y_{u,v} = 1                         over the options of one choice: = z_{op,choice}
         sum_choice z_{op,choice} = 1
         noise and saved bytes within budgets

Solved by HiGHS in floating point on costs divided by their common divisor; the plan is then read
off as an arborescence and priced exactly. Optimality is what certificates prove, not the solver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import gcd

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from mxc.passes.layout.graph import ClassGraph, GraphUse
from mxc.passes.layout.plan import ClassPlan, Infeasible


@dataclass
class _Rows:
    """Rows low <= sum of coefficients times variables <= high, as triplets."""

    row: list[int] = field(default_factory=lambda: [])
    column: list[int] = field(default_factory=lambda: [])
    entry: list[float] = field(default_factory=lambda: [])
    low: list[float] = field(default_factory=lambda: [])
    high: list[float] = field(default_factory=lambda: [])

    def add(self, terms: Sequence[tuple[int, float]], low: float, high: float) -> None:
        """One row."""
        for column, entry in terms:
            self.row.append(len(self.low))
            self.column.append(column)
            self.entry.append(entry)
        self.low.append(low)
        self.high.append(high)


@dataclass
class _Model:
    """The programme of some classes."""

    costs: list[int] = field(default_factory=lambda: [])
    integer: list[bool] = field(default_factory=lambda: [])
    rows: _Rows = field(default_factory=_Rows)
    choice: dict[tuple[str, int], int] = field(default_factory=lambda: {})
    opened: list[list[int]] = field(default_factory=lambda: [])
    """Per class and arc: the variable."""
    read: list[dict[tuple[int, int], int]] = field(default_factory=lambda: [])
    """Per class: the variable of (use, option)."""
    noise: list[tuple[int, float]] = field(default_factory=lambda: [])
    saved: list[tuple[int, float]] = field(default_factory=lambda: [])

    def variable(self, cost: int, integer: bool) -> int:
        """A new variable between 0 and 1."""
        self.costs.append(cost)
        self.integer.append(integer)
        return len(self.costs) - 1

    def add_choices(self, classes: Sequence[ClassGraph]) -> None:
        """z: one axis for every op that has a choice."""
        choices = {use.op: use.choices for part in classes for use in part.uses}
        for op, count in choices.items():
            if count > 1:
                picks = [self.variable(0, True) for _ in range(count)]
                self.choice.update({(op, axis): pick for axis, pick in enumerate(picks)})
                self.rows.add([(pick, 1.0) for pick in picks], 1, 1)

    def add_class(self, part: ClassGraph) -> None:
        """o, f and y of one class."""
        arcs = [self.variable(arc.cost, True) for arc in part.arcs]
        self.saved += [(arcs[i], float(arc.saved)) for i, arc in enumerate(part.arcs) if arc.saved]
        self.opened.append(arcs)
        self.read.append({})
        groups: dict[object, list[int]] = {}
        for index, use in enumerate(part.uses):
            groups.setdefault((use.options, use.op if use.choices > 1 else ""), []).append(index)
        for uses in groups.values():
            self._terminal(part, arcs, uses)

    def _terminal(self, part: ClassGraph, arcs: list[int], uses: list[int]) -> None:
        """Uses with equal options read the same version: one flow for all."""
        use = part.uses[uses[0]]
        flow = [self.variable(0, False) for _ in part.arcs]
        for arc, variable in zip(arcs, flow, strict=True):
            self.rows.add([(arc, 1.0), (variable, -1.0)], 0, np.inf)
        reads = [self.variable(o.cost * len(uses), True) for o in use.options]
        for number, variable in enumerate(reads):
            self.read[-1].update({(index, number): variable for index in uses})
            noise = use.options[number].noise * len(uses)
            self.noise += [(variable, float(noise))] if noise else []
        self._choose(use, reads)
        self._conserve(part, use, flow, reads)

    def _choose(self, use: GraphUse, reads: list[int]) -> None:
        """One version, of the axis the op blocks on."""
        if use.choices == 1:
            self.rows.add([(variable, 1.0) for variable in reads], 1, 1)
            return
        for axis in range(use.choices):
            terms = [
                (variable, 1.0)
                for option, variable in zip(use.options, reads, strict=True)
                if option.choice == axis
            ]
            self.rows.add([*terms, (self.choice[use.op, axis], -1.0)], 0, 0)

    def _conserve(self, part: ClassGraph, use: GraphUse, flow: list[int], reads: list[int]) -> None:
        """What leaves a node has come in."""
        leaving: list[list[int]] = [[] for _ in part.nodes]
        joining: list[list[int]] = [[] for _ in part.nodes]
        for index, arc in enumerate(part.arcs):
            for tail in dict.fromkeys(arc.tails):
                (leaving if not part.joins else joining)[tail].append(flow[index])
        for node in range(1, len(part.nodes)):
            enters = [(flow[index], 1.0) for index in part.incoming[node]]
            here = [
                (variable, -1.0)
                for option, variable in zip(use.options, reads, strict=True)
                if option.node == node
            ]
            out = [(variable, -1.0) for variable in leaving[node]]
            self.rows.add([*enters, *here, *out], 0, np.inf)
            for variable in joining[node]:
                self.rows.add([*enters, (variable, -1.0)], 0, np.inf)


def solve_programme(
    classes: Sequence[ClassGraph], *, noise: int | None = None, saved: int | None = None
) -> tuple[int, list[ClassPlan]]:
    """The least objective of some classes within budgets (in 1/1024), and a plan that has it.

    Raises:
        Infeasible: if no plan keeps within the budgets.
    """
    model = _Model()
    model.add_choices(classes)
    for part in classes:
        model.add_class(part)
    for terms, budget in ((model.noise, noise), (model.saved, saved)):
        if budget is not None and terms:
            scale = max(entry for _, entry in terms)
            model.rows.add([(v, e / scale) for v, e in terms], -np.inf, budget / scale)
    solution = _run(model)
    plans = [
        _arborescence(part, [solution[v] for v in arcs], {k: solution[v] for k, v in reads.items()})
        for part, arcs, reads in zip(classes, model.opened, model.read, strict=True)
    ]
    costs = (plan.costs(part).objective for plan, part in zip(plans, classes, strict=True))
    return sum(costs), plans


def _run(model: _Model) -> list[bool]:
    """The value of every variable, rounded."""
    rows = model.rows
    divisor = gcd(*model.costs) or 1
    shape = (len(rows.low), len(model.costs))
    matrix = coo_array((rows.entry, (rows.row, rows.column)), shape=shape).tocsc()
    result = milp(
        np.array([cost // divisor for cost in model.costs], np.float64),
        integrality=np.array(model.integer, np.int64),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix, np.array(rows.low), np.array(rows.high)),
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        raise Infeasible(
            "no layout keeps within the budgets", hint="raise the noise or saved-bytes budget"
        )
    return [bool(value > 0.5) for value in result.x]


def _arborescence(
    part: ClassGraph, opened: Sequence[bool], reads: dict[tuple[int, int], bool]
) -> ClassPlan:
    """The plan: what the uses read and one arc for each node that needs, cheapest first."""
    picks = {index: number for (index, number), chosen in reads.items() if chosen}
    made = {0}
    support: dict[int, int] = {}
    for index, arc in enumerate(part.arcs):
        if opened[index] and made.issuperset(arc.tails):
            made.add(arc.head)
            if arc.head not in support or arc.cost < part.arcs[support[arc.head]].cost:
                support[arc.head] = index
    needed = [part.uses[index].options[number].node for index, number in picks.items()]
    arcs: set[int] = set()
    while needed:
        node = needed.pop()
        if node != 0 and support[node] not in arcs:
            arcs.add(support[node])
            needed += part.arcs[support[node]].tails
    return ClassPlan(tuple(sorted(arcs)), tuple(picks[index] for index in range(len(part.uses))))
