"""The report, the graph, and stored plans."""

import json
from html.parser import HTMLParser

import pytest

from mxc.errors import BadInput, MxcError
from mxc.passes.layout.policies import POLICIES
from mxc.passes.layout.problem import Contraction, Operand, Problem, Value
from mxc.passes.layout.random_problems import random_problem
from mxc.passes.layout.report import check_plan_json, compare, plan_json
from mxc.passes.layout.views import dot, html_report


def attention(emit: str = "last") -> Problem:
    """Q, K and V of two layers; V is contracted along its first axis."""
    values, uses = [], []
    for layer in range(2):
        values += [Value(f"{x}<{layer}>", (64, 128)) for x in "qkv"]
        pair = (Operand(f"q<{layer}>", (1,)), Operand(f"k<{layer}>", (1,)))
        uses += [Contraction(f"scores{layer}", pair)]
        uses += [Contraction(f"out{layer}", (Operand(f"v<{layer}>", (0,)),))]
    return Problem(tuple(values), (), tuple(uses), name="attention & co").with_prices(emit=emit)


class Tags(HTMLParser):
    """Counts tags; fails on one that is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        assert not any(name in ("src", "href") for name, _ in attrs), "the page needs the network"
        if tag not in ("meta", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_well_formed_and_complete():
    page = html_report(compare(attention(), "all"))
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    text = " ".join(tags.text)
    assert "Layout of attention & co" in text
    assert "v<0>" in text
    assert "and 1 like it" in text  # the layers are equal
    assert "requantize →" in text
    assert "instead axis 0" in page
    assert page == html_report(compare(attention(), "all"))


def test_the_graph_names_ops_and_axes():
    text = dot(POLICIES["exact"](attention()))
    assert '[label="scores0", shape=box]' in text
    assert 'label="axis 1"' in text
    assert text.count("->") == 6
    joined = next(p for p in map(random_problem, range(99)) if p.views)
    assert "style=dashed" in dot(POLICIES["dual"](joined))


def test_the_comparison_as_json():
    data = json.loads(json.dumps(compare(attention(), "all").to_json()))
    assert list(data["policies"]) == list(POLICIES)
    keys = {"quantize_ops", "requantize_ops", "quantize_bytes", "traffic_bytes", "stored_bytes"}
    assert keys | {"objective", "solve_ms"} <= set(data["policies"]["exact"])
    assert data["certificate"]["gap"] == 0
    assert data["certificate"]["objective"] == data["policies"]["exact"]["objective"]
    assert (data["classes"], data["distinct_classes"]) == (6, 2)


def test_one_policy_can_be_asked_for():
    assert list(compare(attention(), "dual").plans) == ["dual"]
    assert "certificate" not in compare(attention(), "dual").to_json()


@pytest.mark.parametrize("policy", ["exact", "dual"])
def test_a_stored_plan_can_be_checked_again(policy):
    plan = POLICIES[policy](attention())
    stored = json.loads(json.dumps(plan_json(plan)))
    assert check_plan_json(stored).objective == plan.costs.objective


def test_stored_plans_about_something_else_are_rejected():
    stored = json.loads(json.dumps(plan_json(POLICIES["exact"](attention()))))
    other = json.loads(json.dumps(plan_json(POLICIES["exact"](attention("none")))))
    with pytest.raises(BadInput, match="not about the stored problem"):
        check_plan_json({**stored, "certificate": other["certificate"]})
    with pytest.raises(BadInput, match="not about the stored problem"):
        check_plan_json({**stored, "costs": {**stored["costs"], "quantize_ops": 1}})
    with pytest.raises(BadInput, match="not a stored layout plan"):
        check_plan_json({"problem": stored["problem"]})
    stored["certificate"]["lower_bound"] += 1
    with pytest.raises(MxcError, match="it claims"):
        check_plan_json(stored)
