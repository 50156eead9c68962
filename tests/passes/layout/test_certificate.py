"""Certificates prove optimality, and the checker rejects everything that does not."""

import ast
import json
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mxc.errors import MxcError
from mxc.passes.layout import check
from mxc.passes.layout.certify import certificate, describes
from mxc.passes.layout.check import BadCertificate, check_certificate
from mxc.passes.layout.exact import exact
from mxc.passes.layout.policies import POLICIES
from mxc.passes.layout.random_problems import random_problem

LOOSE_IN_AN_ARC, LOOSE_IN_AN_AXIS = 206, 5
"""Seeds of random problems whose relaxation is not tight."""


def certified(seed: int, policy: str = "exact") -> dict[str, Any]:
    """The certificate of a random problem, as read from a file."""
    return json.loads(json.dumps(certificate(POLICIES[policy](random_problem(seed)))))


def splits(tree: dict[str, Any]) -> set[str]:
    """By what a tree splits: op, arc, or nothing."""
    below = tree.get("axes", []) + [tree[key] for key in ("closed", "open") if key in tree]
    return set(tree).intersection({"op", "arc"}).union(*map(splits, below))


def test_the_gap_is_zero_on_random_problems():
    how: set[str] = set()
    for seed in (*range(100), LOOSE_IN_AN_ARC, LOOSE_IN_AN_AXIS):
        data = certified(seed)
        verdict = check_certificate(data)
        assert verdict.gap == 0, seed
        assert verdict.objective == exact(random_problem(seed)).costs.objective
        how |= set().union(*(splits(part["bound"]) for part in data["components"]))
    assert how == {"op", "arc"}  # some relaxations are not tight: the tree is needed


@pytest.mark.parametrize("policy", ["naive", "dual", "greedy", "rule"])
def test_the_gap_of_a_heuristic_is_what_it_wastes(policy):
    for seed in range(30):
        problem = random_problem(seed)
        verdict = check_certificate(certified(seed, policy))
        assert verdict.objective == POLICIES[policy](problem).costs.objective
        assert verdict.lower_bound == exact(problem).costs.objective


def test_a_certificate_is_about_its_problem():
    plan, other = exact(random_problem(3)), exact(random_problem(4))
    assert describes(json.loads(json.dumps(certificate(plan))), plan)
    assert not describes(certificate(plan), other)


def test_the_checker_shares_no_code_with_the_solvers():
    tree = ast.parse(Path(check.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    allowed = {"__future__", "collections.abc", "dataclasses", "fractions", "math", "typing"}
    assert imported - allowed == {"mxc.errors"}


def a_use(data: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """A class and a use of it with more than one option."""
    for component in data["components"]:
        for part in component["classes"]:
            for index, (_, options) in enumerate(part["uses"]):
                if len(options) > 1:
                    return part, index
    raise AssertionError("no use has a choice")


def drop_an_arc(data: dict[str, Any]) -> None:
    part, _ = a_use(data)
    part["open"].pop(0)


def cheapen_an_arc(data: dict[str, Any]) -> None:
    part, _ = a_use(data)
    part["arcs"][part["open"][0]][2] -= 1024


def pick_another_version(data: dict[str, Any]) -> None:
    part, use = a_use(data)
    options = part["uses"][use][1]
    made = {0} | {part["arcs"][arc][1] for arc in part["open"]}
    part["picks"][use] = next(i for i, o in enumerate(options) if o[0] not in made)


def lower_the_objective(data: dict[str, Any]) -> None:
    data["objective"] -= 1


def raise_the_bound(data: dict[str, Any]) -> None:
    data["lower_bound"] += 1


def enlarge_a_share(data: dict[str, Any]) -> None:
    for component in data["components"]:
        for proof in component["proofs"]:
            for group in proof:
                for arc, share in group["shares"].items():
                    group["shares"][arc] = str(Fraction(share) * 1000)
                    return


def negative_share(data: dict[str, Any]) -> None:
    group = next(g for c in data["components"] for p in c["proofs"] for g in p if g["shares"])
    arc = next(iter(group["shares"]))
    group["shares"][arc] = "-1"


def forget_a_use(data: dict[str, Any]) -> None:
    data["components"][0]["proofs"][0][0]["uses"].pop()


def count_a_use_twice(data: dict[str, Any]) -> None:
    uses = data["components"][0]["proofs"][0][0]["uses"]
    uses.append(uses[0])


def count_a_component_twice(data: dict[str, Any]) -> None:
    data["components"][0]["times"] += 1


def backward_arc(data: dict[str, Any]) -> None:
    part, _ = a_use(data)
    part["arcs"][0][0] = [part["arcs"][0][1]]


def no_proof(data: dict[str, Any]) -> None:
    data["components"][0]["bound"] = {"proofs": []}


def missing_key(data: dict[str, Any]) -> None:
    del data["components"][0]["classes"][0]["uses"]


TAMPER = [
    drop_an_arc, cheapen_an_arc, pick_another_version, lower_the_objective, raise_the_bound,
    enlarge_a_share, negative_share, forget_a_use, count_a_use_twice, count_a_component_twice,
    backward_arc, no_proof, missing_key,
]  # fmt: skip


@pytest.mark.parametrize("tamper", TAMPER, ids=lambda tamper: tamper.__name__)
def test_the_checker_rejects(tamper):
    for seed in (1, 5, 9, 12):
        data = certified(seed)
        try:
            tamper(data)
        except (AssertionError, StopIteration):
            continue  # this problem has nothing of the kind
        with pytest.raises(BadCertificate):
            check_certificate(data)
        return
    raise AssertionError("no problem could be tampered with")


def test_the_checker_rejects_a_missing_axis():
    data = certified(LOOSE_IN_AN_AXIS)
    trees = [part["bound"] for part in data["components"]]
    next(tree for tree in trees if "op" in tree)["axes"].pop()
    with pytest.raises(BadCertificate, match="axis"):
        check_certificate(data)


def test_random_damage_never_proves_less_than_the_optimum():
    """A changed number is rejected, or proves a plan that costs no less than claimed."""
    random = Random(0)
    rejected = 0
    for seed in range(40):
        data = certified(seed)
        best = exact(random_problem(seed)).costs.objective
        component = random.choice(data["components"])
        part = random.choice(component["classes"])
        if not part["open"]:
            continue
        part["open"] = sorted(random.sample(range(len(part["arcs"])), len(part["open"])))
        try:
            assert check_certificate(data).objective >= best
        except MxcError:
            rejected += 1
    assert rejected > 10
