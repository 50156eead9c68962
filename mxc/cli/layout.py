"""`mxc layout`: plans of a model, side by side, proved, explained, stored and checked."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from mxc.artifact import write_file
from mxc.cli.terminal import progress, show, table
from mxc.driver import Options
from mxc.layout import Terms, check_plan, chosen, plans, policy_rows, problem_of, read_plan
from mxc.passes.layout.explain import explain
from mxc.passes.layout.problem import Problem
from mxc.passes.layout.report import Comparison, plan_json, proved, verdict_json
from mxc.passes.layout.views import dot, html_report


def run(args: Namespace, options: Options) -> int:
    """`mxc layout` with parsed arguments: 0, or 1 if a stored plan is wrong."""
    terms = Terms(args.emit, args.noise_price, args.noise_budget, args.saved_bytes_budget)
    stored = None if args.check is None else read_plan(args.check)
    with progress() as tell:
        problem = problem_of(args.model, options, terms, progress=tell)
        if stored is not None:
            return _check(args, stored, problem)
        tell("plan")
        comparison = plans(problem, args.policy)
        _write(args, comparison)
    _show(args, comparison)
    return 0


def _check(args: Namespace, stored: dict[str, Any], problem: Problem) -> int:
    found = check_plan(stored, problem)
    if found.verdict is None:
        result = {"plan": str(args.check), "correct": False, "error": found.error}
        show(args.json, result, [f"{args.check}: WRONG: {found.error}"])
        return 1
    verdict = verdict_json(found.verdict)
    result = {"plan": str(args.check), "correct": True, "certificate": verdict}
    show(args.json, result, [f"{args.check}: correct; {_proof(verdict)}"])
    return 0


def _proof(verdict: dict[str, Any]) -> str:
    gap = verdict["gap"] / 1024
    bytes_ = f"objective {verdict['objective'] / 1024:,.0f} bytes"
    bound = f"no plan below {verdict['lower_bound'] / 1024:,.0f}"
    return f"{bytes_}, {bound}, gap {gap:,.6g}" + (": optimal" if gap == 0 else "")


def _write(args: Namespace, comparison: Comparison) -> None:
    """The files that were asked for."""
    if args.plan is not None:
        text = json.dumps(plan_json(chosen(comparison)), indent=1)
        write_file(args.plan, f"{text}\n".encode())
    if args.html is not None:
        write_file(args.html, html_report(comparison).encode())
    if args.dot is not None:
        write_file(args.dot, dot(chosen(comparison)).encode())


def _show(args: Namespace, comparison: Comparison) -> None:
    result = comparison.to_json()
    lines = [
        f"{comparison.problem.name}, emit {comparison.problem.prices.emit}: "
        f"{result['classes']} classes, {result['distinct_classes']} different",
        *table(policy_rows(comparison)),
    ]
    if args.certify:
        result.setdefault("certificate", verdict_json(proved(chosen(comparison))))
        lines.append(f"{chosen(comparison).policy}: {_proof(result['certificate'])}")
    if args.explain is not None:
        explanation = explain(chosen(comparison), args.explain)
        result["explanation"] = explanation.to_json()
        lines += ["", str(explanation)]
    show(args.json, result, lines)
