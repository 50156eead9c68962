"""What `mxc layout` reports: the costs of policies side by side, and the certificate."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mxc.errors import BadInput
from mxc.passes.layout.certify import certificate, describes
from mxc.passes.layout.check import Verdict, check_certificate
from mxc.passes.layout.plan import Plan
from mxc.passes.layout.policies import policy, policy_names
from mxc.passes.layout.problem import Problem


@dataclass(frozen=True)
class Comparison:
    """Plans of several policies for one problem."""

    problem: Problem
    plans: Mapping[str, Plan]
    solve_ms: Mapping[str, float]

    def to_json(self, *, certify: bool = True) -> dict[str, Any]:
        """One object for `--json`; the certificate is that of the exact plan."""
        plan = next(iter(self.plans.values()))
        found: dict[str, Any] = {
            "model": self.problem.name,
            "emit": self.problem.prices.emit,
            "policies": {
                name: {
                    **plan.costs.to_json(),
                    "made": plan.made.to_json(),
                    "solve_ms": round(self.solve_ms[name], 3),
                }
                for name, plan in self.plans.items()
            },
            "classes": len(plan.graph.classes),
            "distinct_classes": plan.graph.distinct_classes,
        }
        if certify and "exact" in self.plans:
            found["certificate"] = verdict_json(proved(self.plans["exact"]))
        return found


def compare(problem: Problem, policies: Sequence[str] | str) -> Comparison:
    """Plans by the named policies, or by `all`."""
    names = policy_names() if policies == "all" else policies
    names = (names,) if isinstance(names, str) else names
    plans: dict[str, Plan] = {}
    times: dict[str, float] = {}
    for name in names:
        start = time.perf_counter()
        plans[name] = policy(name)(problem)
        times[name] = (time.perf_counter() - start) * 1000
    return Comparison(problem, plans, times)


def proved(plan: Plan) -> Verdict:
    """What the certificate of a plan proves, by the independent checker."""
    return check_certificate(certificate(plan))


def verdict_json(verdict: Verdict) -> dict[str, int]:
    """As JSON; a gap of 0 says that no plan costs less."""
    return {
        "lower_bound": verdict.lower_bound,
        "objective": verdict.objective,
        "gap": verdict.gap,
    }


def plan_json(plan: Plan) -> dict[str, Any]:
    """A stored plan: the problem, the decisions by name, the costs, and the certificate."""
    return {**plan.to_json(), "certificate": certificate(plan)}


def check_plan_json(data: Mapping[str, Any]) -> Verdict:
    """Checks a stored plan: certificate, costs, and that it is about the stored problem.

    Raises:
        BadInput: if the file is not a stored plan, or its certificate is about something else.
        BadCertificate: if the certificate does not prove what it says.
    """
    try:
        problem, stated = Problem.from_json(data["problem"]), data["certificate"]
        policy_name, costs, decisions = data["policy"], data["costs"], data["uses"]
    except (KeyError, TypeError) as error:
        raise BadInput(f"not a stored layout plan: {error!r}") from error
    verdict = check_certificate(stated)
    plan = policy(policy_name)(problem)
    again = plan.to_json()
    if not describes(stated, plan) or (again["costs"], again["uses"]) != (costs, decisions):
        raise BadInput("the certificate is not about the stored problem and plan")
    return verdict
