"""What each policy does where they differ, and how policies are found."""

from fractions import Fraction

import pytest

from mxc.errors import BadInput, MxcError
from mxc.passes.layout import policies, transport
from mxc.passes.layout.plan import ClassPlan, Plan, check_plan
from mxc.passes.layout.policies import POLICIES, policy, policy_names
from mxc.passes.layout.problem import Contraction, Operand, Problem, Read, Value, View
from mxc.passes.layout.steiner import NoPlan, terminals


def train_step() -> Problem:
    """A matmul forward and backward: every operand is used along both axes."""
    values = (
        Value("x", (64, 128)),
        Value("w", (128, 96), "parameter"),
        Value("y", (64, 96)),
        Value("dy", (64, 96), phase=1),
    )
    uses = (
        Contraction("y", (Operand("x", (1,)), Operand("w", (0,)))),
        Read("output", "y"),
        Contraction("dx", (Operand("dy", (1,)), Operand("w", (1,))), 1),
        Contraction("dw", (Operand("dy", (0,)), Operand("x", (0,))), 1),
    )
    return Problem(values, (), uses)


@pytest.mark.parametrize(
    ("name", "ops"),
    [("naive", (3, 3)), ("dual", (6, 0)), ("greedy", (6, 0)), ("rule", (3, 0)), ("exact", (3, 0))],
)
def test_a_training_step(name, ops):
    costs = POLICIES[name](train_step()).costs
    assert (costs.quantize_ops, costs.requantize_ops) == ops


def test_greedy_requantises_where_the_epilogue_cannot_turn():
    costs = POLICIES["greedy"](train_step().with_prices(emit="last")).costs
    assert (costs.quantize_ops, costs.requantize_ops) == (4, 2)


def test_costs_are_what_the_formula_says():
    """8192 elements: 16384 bytes in HP, 8192 + 256 along an axis, 8192 + 8 in tiles."""
    x = Value("x", (64, 128))
    one = Problem((x,), (), (Contraction("mm", (Operand("x", (1,)),)),))
    costs = POLICIES["exact"](one).costs
    assert costs.traffic_units == 2 * 8448 * 1024  # written and read
    assert costs.stored_units == costs.quantize_units == 8448 * 1024
    both = Problem((x,), (), tuple(Contraction(f"{a}", (Operand("x", (a,)),)) for a in (0, 1)))
    assert POLICIES["exact"](both).costs.traffic_units == 3 * 8200 * 1024
    separate = POLICIES["exact"](both.with_prices(emit="none", tiles=False)).costs
    assert separate.traffic_units == (2 * 16384 + 4 * 8448) * 1024  # HP written, read once


def test_on_chip_versions_move_nothing():
    p = Value("p", (64, 64), on_chip=True)
    uses = tuple(Contraction(f"mm{axis}", (Operand("p", (axis,)),)) for axis in (0, 1))
    costs = POLICIES["exact"](Problem((p,), (), uses)).costs
    assert (costs.traffic_units, costs.quantize_ops) == (0, 1)


def test_symmetric_values_need_one_version():
    a = Value("a", (64, 64), symmetric=((0, 1),))
    uses = (Contraction("aa", (Operand("a", (1,)), Operand("a", (0,)))),)
    assert POLICIES["dual"](Problem((a,), (), uses)).costs.quantize_ops == 1


def test_transposes_cost_nothing():
    values = (Value("x", (64, 96)), Value("t", (96, 64)))
    view = View("t", ("x",), (transport.transpose((1, 0)),))
    uses = (
        Contraction("a", (Operand("x", (1,)),)),
        Contraction("b", (Operand("t", (0,)),)),
    )
    costs = POLICIES["dual"](Problem(values, (view,), uses)).costs
    assert (costs.quantize_ops, costs.requantize_ops) == (1, 0)


def test_quantise_before_a_gather():
    """Rows are spread to 8 places: quantising first moves fewer bytes and quantises once."""
    values = (Value("x", (64, 128)), Value("g", (512, 128)))
    view = View("g", ("x",), (transport.gather(2, 0, 1),), "copy")
    uses = (Contraction("mm", (Operand("g", (1,)),)), Read("also", "g", any_version=True))
    problem = Problem(values, (view,), uses).with_prices(emit="none")
    plan = POLICIES["exact"](problem)
    versions = [line["by"] for line in plan.to_json()["versions"]]
    assert versions == ["write", "read", "quantize", "copy"]


def test_operands_of_one_op_agree():
    values = (Value("x", (64, 96, 128)), Value("dy", (64, 96, 32)))
    choice = Contraction("dw", (Operand("x", (0, 1)), Operand("dy", (0, 1))))
    other = Contraction("other", (Operand("x", (1,)),))
    problem = Problem(values, (), (choice, other)).with_prices(tiles=False)
    assert POLICIES["dual"](problem).costs.quantize_ops == 3
    plan = POLICIES["exact"](problem)
    assert plan.costs.quantize_ops == 2  # x along axis 1 serves both
    assert {use["choice"] for use in plan.to_json()["uses"] if use["op"] == "dw"} == {1}


def test_disagreeing_operands_are_rejected():
    values = (Value("x", (64, 96)), Value("y", (64, 96)))
    choice = Contraction("dw", (Operand("x", (0, 1)), Operand("y", (0, 1))))
    plan = POLICIES["dual"](Problem(values, (), (choice,)))
    wrong = _with_axis(plan, 0, 1)
    with pytest.raises(MxcError, match="different axes"):
        check_plan(wrong)


def _with_axis(plan: Plan, index: int, axis: int) -> Plan:
    """The plan with one class blocked along another axis."""
    graph = plan.graph.classes[index]
    wanted = next(
        (arc, number)
        for number, option in enumerate(graph.uses[0].options)
        for arc, item in enumerate(graph.arcs)
        if option.choice == axis and item.head == option.node and item.tails == (0,)
    )
    classes = list(plan.classes)
    classes[index] = ClassPlan((wanted[0],), (wanted[1],))
    return Plan(plan.policy, plan.problem, plan.graph, tuple(classes))


def test_unmade_versions_are_rejected():
    plan = POLICIES["dual"](train_step())
    empty = ClassPlan((), plan.classes[0].picks)
    with pytest.raises(MxcError, match="never made"):
        check_plan(Plan("x", plan.problem, plan.graph, (empty, *plan.classes[1:])))


class FakeEntryPoint:
    """An entry point of an installed package."""

    name = "mine"

    def load(self):
        return POLICIES["dual"]


def test_policies_of_installed_packages_are_found(monkeypatch):
    monkeypatch.setattr(policies, "entry_points", lambda group: [FakeEntryPoint()])
    assert policy_names() == (*POLICIES, "mine")
    assert policy("mine")(train_step()).costs.quantize_ops == 6


def test_unknown_policies_are_named():
    with pytest.raises(BadInput, match="no layout policy 'best'; known: naive, dual"):
        policy("best")


def test_an_unreachable_use_is_an_error():
    graph = POLICIES["exact"](train_step()).graph.classes[0]
    with pytest.raises(NoPlan, match="no version of x can serve y"):
        terminals(graph, {"y": 5})


def test_prices_change_the_plan():
    int8 = train_step().with_format("mxint8").with_prices(emit="last")
    costs = POLICIES["exact"](int8).costs
    assert costs.noise > 0  # requantising is cheaper than clean
    clean = POLICIES["exact"](int8.with_prices(noise=Fraction(100))).costs
    assert clean.noise == 0
    assert clean.traffic_units > costs.traffic_units
