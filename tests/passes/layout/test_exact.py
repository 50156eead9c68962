"""The exact policy is exact: against brute force, the integer programme, and every other policy."""

from dataclasses import replace
from fractions import Fraction

import pytest

from mxc.errors import MxcError
from mxc.passes.layout.brute import MAX_NODES, brute_force
from mxc.passes.layout.build import build_graph
from mxc.passes.layout.exact import exact, solve_component
from mxc.passes.layout.graph import Graph
from mxc.passes.layout.milp import solve_programme
from mxc.passes.layout.plan import Infeasible
from mxc.passes.layout.policies import POLICIES
from mxc.passes.layout.problem import Contraction, Operand, Problem, Value
from mxc.passes.layout.random_problems import random_problem

SMALL = 14
"""Nodes of a component up to which brute force is quick."""


def components(graph: Graph):
    """Each component with its classes and how many nodes it has besides the roots."""
    for component in graph.components:
        parts = [graph.classes[index] for index in component]
        yield component, parts, sum(len(part.nodes) - 1 for part in parts)


def test_equal_to_brute_force_on_many_random_problems():
    compared, joined, coupled = 0, 0, 0
    for seed in range(500):
        graph = build_graph(random_problem(seed))
        for component, parts, size in components(graph):
            if 1 < size <= SMALL:
                assert solve_component(parts)[0] == brute_force(graph, component), seed
                compared += 1
                joined += any(part.joins for part in parts)
                coupled += any(part.coupled for part in parts)
    assert compared >= 500
    assert joined >= 30
    assert coupled >= 100


def test_dynamic_programme_and_integer_programme_agree():
    for seed in range(0, 200, 3):
        graph = build_graph(random_problem(seed))
        for _, parts, size in components(graph):
            if size > 3:
                assert solve_component(parts)[0] == solve_programme(parts)[0], seed


def test_the_objective_is_the_cost_of_the_plan():
    for seed in range(100):
        graph = build_graph(random_problem(seed))
        for _, parts, _ in components(graph):
            for solve in (solve_component, solve_programme):
                cost, plans = solve(parts)
                priced = (p.costs(g).objective for p, g in zip(plans, parts, strict=True))
                assert cost == sum(priced)


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "exact"])
def test_no_policy_beats_exact(name):
    worse = 0
    for seed in range(120):
        problem = random_problem(seed)
        other, best = POLICIES[name](problem).costs.objective, exact(problem).costs.objective
        assert best <= other, seed
        worse += best < other
    assert worse > 25


def test_a_saved_bytes_budget_is_kept_and_costs():
    x = Value("x", (64, 64))
    uses = (
        Contraction("forward", (Operand("x", (1,), "mxint8"),), 0),
        Contraction("backward", (Operand("x", (0,), "mxint8"),), 1),
    )
    free = Problem((x,), (), uses).with_prices(noise=Fraction(2), saved=Fraction(0))
    unlimited = exact(free).costs
    assert unlimited.saved_units == (64 * 64 + 64 * 2) * 1024  # blocks along one axis
    tile = 64 * 64 + 4
    tight = exact(replace(free, saved_budget=tile))
    assert tight.costs.saved_units == tile * 1024
    assert tight.within_budgets
    assert tight.costs.objective > unlimited.objective
    with pytest.raises(Infeasible, match="budget"):
        exact(replace(free, saved_budget=tile - 1))


def test_a_noise_budget_buys_back_precision():
    x = Value("x", (64, 64))
    uses = tuple(Contraction(f"mm{axis}", (Operand("x", (axis,), "mxfp4"),)) for axis in (0, 1))
    free = Problem((x,), (), uses).with_prices(noise=Fraction(0))
    cheap = exact(free)
    assert cheap.costs.noise > 0
    clean = exact(replace(free, noise_budget=Fraction(0)))
    assert clean.costs.noise == 0
    assert clean.costs.objective > cheap.costs.objective


def test_brute_force_refuses_what_it_cannot_do():
    graphs = (build_graph(random_problem(seed)) for seed in range(1000))
    sizes = ((graph, *item) for graph in graphs for item in components(graph))
    graph, component = next((g, c) for g, c, _, size in sizes if size > MAX_NODES)
    with pytest.raises(MxcError, match="brute force over"):
        brute_force(graph, component)
