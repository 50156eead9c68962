"""Problems: constraints (C1) to (C5), and JSON."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from mxc.errors import BadInput
from mxc.passes.layout.explain import explain
from mxc.passes.layout.policies import POLICIES
from mxc.passes.layout.problem import Contraction, Operand, Problem, Read, Value, View
from mxc.passes.layout.random_problems import random_problem

X, Y = Value("x", (64, 32)), Value("y", (64, 96))
ODD = replace(Y, shape=(48, 96))
MATMUL = Contraction("mm", (Operand("x", (0,)), Operand("y", (0,))))


def pair(x: tuple[int, ...], y: tuple[int, ...]) -> Contraction:
    """A contraction of x and y along these axes."""
    return Contraction("c", (Operand("x", x), Operand("y", y)))


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (lambda: Problem((X, X)), "same name"),
        (lambda: Problem((X, Y), (), (MATMUL, MATMUL)), "two contractions"),
        (lambda: Problem((X,), (), (MATMUL,)), "mm uses 'y', which is not a value"),
        (lambda: Problem((X,), (), (Read("out", "z"),)), "out uses 'z'"),
        (lambda: Problem((X, Y), (View("y", ("y",), ((),)),)), "before its inputs"),
        (lambda: Problem((X, Y), (View("y", ("x", "x"), ((), ())),)), "copies to join"),
        (lambda: Problem((X, Y), (View("y", ("x",), (((2, 0),),)),)), "axis that does not exist"),
        (lambda: Problem((X,), (), (Contraction("c", ()),)), "no operands"),
        (lambda: Problem((X, Y), (), (pair((0,), (0, 1)),)), "same choices"),
        (lambda: Problem((X, ODD), (), (pair((0,), (0,)),)), "differ in the size"),
        (lambda: Problem((X,), (), (Contraction("c", (Operand("x", (2,)),)),)), "does not exist"),
        (lambda: Problem((replace(X, phase=1),), (), (Read("out", "x"),)), "before it is made"),
    ],
)  # fmt: skip
def test_constraints(problem, message):
    with pytest.raises(BadInput, match=message):
        problem()


def test_json_round_trip():
    for seed in range(60):
        problem = replace(random_problem(seed), noise_budget=Fraction(1, 3), saved_budget=seed)
        assert Problem.from_json(json.loads(json.dumps(problem.to_json()))) == problem
    measured = replace(X, excess={"mxint8": (Fraction(1, 2), Fraction(1, 4))}, symmetric=((0, 1),))
    problem = Problem((measured,), (), (Read("out", "x"),))
    assert Problem.from_json(json.loads(json.dumps(problem.to_json()))) == problem


@pytest.mark.parametrize("data", [{}, {"values": [{"name": 1}]}, {"values": 3}])
def test_malformed_json(data):
    with pytest.raises(BadInput, match="not a layout problem"):
        Problem.from_json(data)


def test_an_unknown_format_is_an_error():
    problem = Problem((X,), (), (Contraction("c", (Operand("x", (0,), "fp3"),)),))
    with pytest.raises(BadInput, match=r"format 'fp3' has no layout costs; known: .*mxfp4"):
        POLICIES["exact"](problem)


def test_measured_noise_replaces_the_table():
    quiet = replace(X, excess={"mxint8": (Fraction(0), Fraction(0))})
    uses = tuple(Contraction(f"{a}", (Operand("x", (a,), "mxint8"),)) for a in (0, 1))
    for value, versions in ((X, 2), (quiet, 1)):
        problem = Problem((value,), (), uses).with_prices(noise=Fraction(2))
        assert POLICIES["exact"](problem).costs.quantize_ops == versions


def both_ways(price: Fraction) -> Problem:
    """One value used along both axes, in a format in which tiles cost noise."""
    uses = tuple(Contraction(f"mm{a}", (Operand("x", (a,), "mxint8"),)) for a in (0, 1))
    return Problem((X,), (), uses).with_prices(noise=price)


def test_an_explanation_names_versions_uses_and_regrets():
    explanation = explain(POLICIES["exact"](both_ways(Fraction(2))), "x")
    assert [name for name, _, _ in explanation.versions] == [
        "axis 0 in phase 0", "axis 1 in phase 0",
    ]  # fmt: skip
    first = explanation.readings[0]
    assert (first.op, first.wants, first.version) == ("mm0", "axis 0", "axis 0 in phase 0")
    assert all(a.regret > 0 for a in first.alternatives)
    assert "instead tile 0x1" in str(explanation)
    assert json.dumps(explanation.to_json())


def test_the_winning_price_is_where_the_plan_changes():
    """A tile is written once instead of twice and costs noise at each read: it wins below."""
    plan = POLICIES["exact"](both_ways(Fraction(2)))
    tile = next(
        a
        for a in explain(plan, "x").readings[0].alternatives
        if a.version.startswith("tile 0x1 in")
    )
    price = tile.wins_at["noise"]
    below, above = price * Fraction(99, 100), price * Fraction(101, 100)
    assert POLICIES["exact"](both_ways(below)).costs.quantize_ops == 1
    assert POLICIES["exact"](both_ways(above)).costs.quantize_ops == 2


def test_regret_is_what_the_restricted_plan_costs_more():
    """At a price of 0 the optimum is a tile; reading x along one axis makes one version more."""
    plan = POLICIES["exact"](both_ways(Fraction(0)))
    reading = explain(plan, "x").readings[0]
    assert reading.version == "tile 0x1 in phase 0"
    other = next(a for a in reading.alternatives if a.version == "axis 0 in phase 0")
    tile, axis = 64 * 32 + 2, 64 * 32 + 64
    assert other.regret == (axis + axis - tile) * 1024  # written and read; the tile not read


def test_what_nothing_reads_cannot_be_explained():
    with pytest.raises(BadInput, match="nothing reads a value 'q'"):
        explain(POLICIES["exact"](both_ways(Fraction(0))), "q")
