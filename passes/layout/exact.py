"""The exact policy: the least objective, component by component.

Components that differ in names only are solved once. In a component, the axes of the ops that
have a choice are eliminated one by one: a class is a function of the axes of the ops that read it
(one Dreyfus-Wagner run per combination), and the least sum of such functions is found by
minimising out one op after the other. Classes with concatenations, components with too many
combinations, and budgets go to the integer programme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from mxc.passes.layout.build import build_graph
from mxc.passes.layout.graph import ClassGraph, Graph
from mxc.passes.layout.plan import ClassPlan, Plan, check_plan
from mxc.passes.layout.problem import UNIT, Problem
from mxc.passes.layout.steiner import MAX_TERMINALS, NoPlan, solve_class, terminals

MAX_COMBINATIONS = 729
"""Combinations of axes of one class, or of one elimination step."""


def _programme(
    classes: Sequence[ClassGraph], *, noise: int | None = None, saved: int | None = None
) -> tuple[int, list[ClassPlan]]:
    """The integer programme; the solver is loaded when it is needed, which is rare."""
    from mxc.passes.layout.milp import solve_programme

    return solve_programme(classes, noise=noise, saved=saved)


def exact(problem: Problem) -> Plan:
    """A plan of least objective; within the budgets, if the problem has any."""
    graph = build_graph(problem)
    if problem.noise_budget is None and problem.saved_budget is None:
        classes = solve_graph(graph)
    else:
        noise = None if problem.noise_budget is None else int(problem.noise_budget * UNIT)
        saved = None if problem.saved_budget is None else problem.saved_budget * UNIT
        _, classes = _programme(graph.classes, noise=noise, saved=saved)
    plan = Plan("exact", problem, graph, tuple(classes))
    check_plan(plan)
    return plan


def solve_graph(graph: Graph) -> list[ClassPlan]:
    """A plan of least objective for every class; equal components are solved once."""
    known: dict[tuple[object, ...], list[ClassPlan]] = {}
    plans: dict[int, ClassPlan] = {}
    for component in graph.components:
        key = component_signature(graph, component)
        if key not in known:
            known[key] = solve_component([graph.classes[index] for index in component])[1]
        plans.update(zip(component, known[key], strict=True))
    return [plans[index] for index in range(len(graph.classes))]


def component_signature(graph: Graph, component: Sequence[int]) -> tuple[object, ...]:
    """Equal for components that differ in names only."""
    numbers: dict[str, int] = {}
    for index in component:
        for op in graph.classes[index].coupled:
            numbers.setdefault(op, len(numbers))
    return tuple(
        (graph.classes[index].signature, tuple(numbers[op] for op in graph.classes[index].coupled))
        for index in component
    )


def solve_component(classes: Sequence[ClassGraph]) -> tuple[int, list[ClassPlan]]:
    """The least objective of classes that share ops with a choice of axis, and a plan."""
    only = [_only_plan(part) for part in classes]
    plans = [plan for plan in only if plan is not None]
    if len(plans) == len(classes):
        costs = (plan.costs(part) for plan, part in zip(plans, classes, strict=True))
        return sum(cost.objective for cost in costs), plans
    choices = {use.op: use.choices for part in classes for use in part.uses if use.choices > 1}
    if any(_too_hard(part, choices) for part in classes):
        return _programme(classes)
    tables = [_Table.of_class(part, choices) for part in classes]
    picked = _eliminate(tables, choices)
    if picked is None:
        return _programme(classes)
    solved = [solve_class(part, picked) for part in classes]
    return sum(cost for cost, _ in solved), [plan for _, plan in solved]


def _only_plan(part: ClassGraph) -> ClassPlan | None:
    """The plan of a class that leaves nothing to decide, as where all is read in HP; else None."""
    if any(len(use.options) != 1 for use in part.uses):
        return None
    needed = {use.options[0].node for use in part.uses}
    opened: list[int] = []
    for index in reversed(range(len(part.arcs))):  # ordered by head, so heads come before tails
        arc = part.arcs[index]
        if arc.head in needed:
            needed.update(arc.tails)
            opened.append(index)
    heads = {part.arcs[index].head for index in opened}
    if len(heads) < len(opened):  # two ways to make something
        return None
    return ClassPlan(tuple(reversed(opened)), (0,) * len(part.uses))


def _too_hard(part: ClassGraph, choices: Mapping[str, int]) -> bool:
    """Whether the class has concatenations, or too many combinations or terminals."""
    if part.joins or prod(choices[op] for op in part.coupled) > MAX_COMBINATIONS:
        return True
    return len(part.uses) > MAX_TERMINALS and len(terminals(part, {})) > MAX_TERMINALS


@dataclass(frozen=True)
class _Table:
    """A cost for every combination of axes of some ops; None where there is no plan."""

    ops: tuple[str, ...]
    costs: Mapping[tuple[int, ...], int | None]

    @classmethod
    def of_class(cls, part: ClassGraph, choices: Mapping[str, int]) -> _Table:
        """The least cost of a class under every combination of its ops' axes."""
        ops = part.coupled
        costs: dict[tuple[int, ...], int | None] = {}
        for axes in product(*(range(choices[op]) for op in ops)):
            try:
                costs[axes] = solve_class(part, dict(zip(ops, axes, strict=True)))[0]
            except NoPlan:
                if not ops:
                    raise
                costs[axes] = None
        return cls(ops, costs)

    def at(self, axes: Mapping[str, int]) -> int | None:
        """The cost under the axes that `axes` gives its ops."""
        return self.costs[tuple(axes[op] for op in self.ops)]


def _eliminate(tables: list[_Table], choices: Mapping[str, int]) -> dict[str, int] | None:
    """The axes of least total cost; None if a step would have too many combinations."""
    steps: list[tuple[str, list[_Table]]] = []
    left = dict.fromkeys(op for table in tables for op in table.ops)
    while left:
        op = min(left, key=lambda op: _width(op, tables, choices))
        if _width(op, tables, choices) > MAX_COMBINATIONS:
            return None
        near = [table for table in tables if op in table.ops]
        tables = [table for table in tables if op not in table.ops]
        tables.append(_minimum(op, near, choices))
        steps.append((op, near))
        del left[op]
    picked: dict[str, int] = {}
    for op, near in reversed(steps):
        costs = {axis: _sum(near, {**picked, op: axis}) for axis in range(choices[op])}
        picked[op] = min(costs, key=lambda axis: (costs[axis] is None, costs[axis] or 0))
        if costs[picked[op]] is None:
            raise NoPlan(f"no axis of {op} can be served")
    return picked


def _neighbours(op: str, tables: Sequence[_Table]) -> dict[str, None]:
    """The other ops in the tables of `op`, in order."""
    return dict.fromkeys(o for table in tables if op in table.ops for o in table.ops if o != op)


def _width(op: str, tables: Sequence[_Table], choices: Mapping[str, int]) -> int:
    """How many combinations eliminating `op` looks at."""
    return choices[op] * prod(choices[other] for other in _neighbours(op, tables))


def _sum(tables: Sequence[_Table], axes: Mapping[str, int]) -> int | None:
    """The total of the tables, None if one of them has no plan."""
    total = 0
    for table in tables:
        cost = table.at(axes)
        if cost is None:
            return None
        total += cost
    return total


def _minimum(op: str, near: Sequence[_Table], choices: Mapping[str, int]) -> _Table:
    """The sum of the tables with `op` at its best, as a function of the other ops."""
    others = tuple(_neighbours(op, near))
    costs: dict[tuple[int, ...], int | None] = {}
    for axes in product(*(range(choices[other]) for other in others)):
        fixed = dict(zip(others, axes, strict=True))
        sums = [_sum(near, {**fixed, op: axis}) for axis in range(choices[op])]
        costs[axes] = min((cost for cost in sums if cost is not None), default=None)
    return _Table(others, costs)
