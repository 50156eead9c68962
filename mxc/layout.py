"""What `mxc layout` asks of the passes: the problem of a model, plans, and stored plans."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from mxc.constants import ConstantTable
from mxc.driver import Options, Progress, lowered, silent
from mxc.errors import BadInput, unknown
from mxc.passes.layout.check import BadCertificate, Verdict
from mxc.passes.layout.extract import extract
from mxc.passes.layout.plan import Plan
from mxc.passes.layout.policies import policy_names
from mxc.passes.layout.problem import Emission, Prices, Problem, formats_in_blocks
from mxc.passes.layout.report import Comparison, check_plan_json, compare
from mxc.vendors import find_target

EMISSIONS: Mapping[str, Emission] = {"all": "all", "last": "last", "none": "none"}


@dataclass(frozen=True)
class Terms:
    """What a plan is judged by, besides the model and its formats."""

    emit: str | None = None
    """What producers can write besides HP; None: what the target says."""
    noise_price: str = "1"
    """Bytes per element and unit of excess noise, a fraction."""
    noise_budget: str | None = None
    """Most excess noise in all, in elements, a fraction."""
    saved_budget: int | None = None
    """Most bytes kept from the forward to the backward pass."""

    def prices(self, target: str) -> Prices:
        """The prices on `target`.

        Raises:
            BadInput: if a term has a value that it cannot have.
        """
        machine = find_target(target)
        emit = self.emit or machine.layout.emit
        if emit not in EMISSIONS:
            raise unknown("emission", emit, EMISSIONS)
        return Prices(
            emit=EMISSIONS[emit],
            noise=_fraction("noise price", self.noise_price),
            formats=formats_in_blocks(machine.numerics.block),
        )


def _fraction(what: str, text: str) -> Fraction:
    try:
        number = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise BadInput(f"the {what} {text!r} is no fraction") from None
    if number < 0:
        raise BadInput(f"the {what} {text} is negative")
    return number


def problem_of(
    path: Path, options: Options, terms: Terms, *, progress: Progress = silent
) -> Problem:
    """The layout problem of the ONNX model at `path`, as `mx-layout` would see it.

    Raises:
        MxcError: on a bad model, option or term.
    """
    prices = terms.prices(options.target)
    model = lowered(path, options, "mx-quantize", progress=progress)
    progress("extract")
    found = extract(model.module, ConstantTable.of(model.ctx), prices).problem
    noise = None if terms.noise_budget is None else _fraction("noise budget", terms.noise_budget)
    if terms.saved_budget is not None and terms.saved_budget < 0:
        raise BadInput(f"the budget of saved bytes {terms.saved_budget} is negative")
    return replace(found, noise_budget=noise, saved_budget=terms.saved_budget)


def plans(problem: Problem, name: str) -> Comparison:
    """The plans of the policy called `name`, or of `all`.

    Raises:
        BadInput: if there is no such policy.
    """
    if name != "all" and name not in policy_names():
        raise unknown("layout policy", name, ("all", *policy_names()))
    return compare(problem, name)


def chosen(comparison: Comparison) -> Plan:
    """The plan that certificates, stored plans and explanations are about: exact if it is there."""
    return comparison.plans.get("exact") or next(iter(comparison.plans.values()))


def read_plan(path: Path) -> dict[str, Any]:
    """The stored plan at `path`, as JSON data.

    Raises:
        BadInput: if the file cannot be read or is no JSON object.
    """
    try:
        data: Any = json.loads(path.read_text())
    except OSError as error:
        raise BadInput(f"cannot read: {error.strerror}", at=str(path)) from None
    except ValueError as error:
        raise BadInput(f"no JSON: {error}", at=str(path)) from None
    if not isinstance(data, dict):
        raise BadInput("not a stored layout plan", at=str(path))
    return dict(data)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


@dataclass(frozen=True)
class Checked:
    """What checking a stored plan found."""

    verdict: Verdict | None
    error: str = ""
    """What is wrong with it, if there is no verdict."""


def check_plan(data: Mapping[str, Any], problem: Problem) -> Checked:
    """Checks a stored plan: that it is about `problem`, its costs, and its certificate.

    The prices and budgets are those that the plan was made with.

    Raises:
        BadInput: if `data` is no stored plan.
    """
    if "problem" not in data:
        raise BadInput("not a stored layout plan", hint="`mxc layout --plan` writes one")
    stored = Problem.from_json(data["problem"])
    terms = {"prices": stored.prices, "noise_budget": stored.noise_budget}
    if replace(problem, saved_budget=stored.saved_budget, **terms) != stored:
        return Checked(None, "it is about another model, or about other formats or sizes")
    try:
        return Checked(check_plan_json(data))
    except (BadCertificate, BadInput) as error:
        return Checked(None, str(error))


def policy_rows(comparison: Comparison) -> Sequence[Sequence[str]]:
    """The costs of every plan, for people."""
    heads = ["policy", "quantise", "requantise", "quantise bytes", "traffic bytes", "stored bytes"]
    rows = [[*heads, "objective", "ms"]]
    for name, plan in comparison.plans.items():
        costs: Mapping[str, Any] = plan.costs.to_json()
        numbers = [costs["quantize_ops"], costs["requantize_ops"], costs["quantize_bytes"]]
        numbers += [costs["traffic_bytes"], costs["stored_bytes"], costs["objective"] / 1024]
        cells = [f"{number:,.0f}" for number in numbers]
        rows.append([name, *cells, f"{comparison.solve_ms[name]:.1f}"])
    return rows
