"""The layout bench: every workload under every policy, format and emission setting.

    python benchmarks/layout/bench.py [--emit all,last,none] [--format mxfp8_e4m3,mxint8,mxfp4]
                                      [--policy naive,dual,...] [--certify] [--json]

Prints one table per format and emission setting, and geometric means by group. `--certify` also
proves each exact plan optimal and fails if a gap is left. A policy that an installed package
offers takes part by its name.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any

from layout_workloads import GROUPS

from mxc.passes.layout.certify import certificate
from mxc.passes.layout.check import check_certificate
from mxc.passes.layout.policies import policy
from mxc.passes.layout.problem import UNIT, Problem

Result = dict[str, dict[str, Any]]


def measure(problem: Problem, names: Sequence[str]) -> Result:
    """The costs of every policy's plan, in JSON terms, with the time to solve."""
    found: Result = {}
    for name in names:
        start = time.perf_counter()
        plan = policy(name)(problem)
        seconds = time.perf_counter() - start
        found[name] = {**plan.costs.to_json(), "solve_ms": round(seconds * 1000, 1)}
    return found


def certify(problem: Problem) -> dict[str, Any]:
    """The certificate of the exact plan, checked."""
    start = time.perf_counter()
    data = certificate(policy("exact")(problem))
    seconds = time.perf_counter() - start
    verdict = check_certificate(data)
    return {
        "lower_bound": verdict.lower_bound,
        "objective": verdict.objective,
        "gap": verdict.gap,
        "certify_ms": round(seconds * 1000, 1),
    }


def ratio(result: Result, base: str) -> float:
    """The objective of exact over that of another policy."""
    return result["exact"]["objective"] / result[base]["objective"]


def best_heuristic(result: Result) -> str:
    """The policy of least objective besides exact."""
    return min((n for n in result if n != "exact"), key=lambda n: result[n]["objective"])


def row(name: str, result: Result) -> str:
    """One line of a table."""

    def cells(key: str) -> str:
        return " / ".join(f"{result[p][key] / 1e6:.0f}" for p in result)

    ops = " / ".join(f"{result[p]['quantize_ops']}+{result[p]['requantize_ops']}" for p in result)
    best = best_heuristic(result)
    return (
        f"| {name} | {ops} | {cells('quantize_bytes')} | {cells('traffic_bytes')} "
        f"| {cells('stored_bytes')} | {ratio(result, 'dual'):.3f} "
        f"| {ratio(result, best):.3f} ({best}) | {result['exact']['solve_ms']:.0f} |"
    )


def table(results: Mapping[str, Mapping[str, Result]], names: Sequence[str]) -> list[str]:
    """The lines of a table, and the geometric means of its groups."""
    shown = " / ".join(names)
    lines = [
        f"| workload | quantise+requantise ops: {shown} | quantise MB | traffic MB | stored MB "
        "| exact/dual | exact/best | ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    means: list[str] = []
    for group, members in results.items():
        lines += [row(name, result) for name, result in members.items()]
        duals = geometric_mean([ratio(r, "dual") for r in members.values()])
        best = [ratio(r, best_heuristic(r)) for r in members.values()]
        means.append(
            f"{group} ({len(members)}): exact/dual {duals:.3f}, exact/best heuristic "
            f"{geometric_mean(best):.3f}, worst case {min(best):.3f}"
        )
    return [*lines, "", *means, ""]


def geometric_mean(numbers: Sequence[float]) -> float:
    """The geometric mean."""
    return exp(sum(log(number) for number in numbers) / len(numbers))


def run(format: str, emit: str, names: Sequence[str], prove: bool) -> dict[str, dict[str, Result]]:
    """All workloads under one setting."""
    results: dict[str, dict[str, Result]] = {}
    for group, members in GROUPS.items():
        for name, make in members.items():
            problem = make().with_format(format).with_prices(emit=emit)
            result = measure(problem, names)
            if prove:
                result["exact"].update(certify(problem))
            results.setdefault(group, {})[name] = result
    return results


def main(arguments: Sequence[str]) -> int:
    """The command line; exit status 1 if a gap is left or a policy beats exact."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--emit", default="all,last,none")
    parser.add_argument("--format", default="mxfp8_e4m3,mxint8,mxfp4")
    parser.add_argument("--policy", default="naive,dual,greedy,rule,exact")
    parser.add_argument("--certify", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    names = [*dict.fromkeys([*options.policy.split(","), "dual", "exact"])]
    report: dict[str, Any] = {}
    failures = 0
    for format in options.format.split(","):
        for emit in options.emit.split(","):
            results = run(format, emit, names, options.certify)
            report[f"{format}, emit={emit}"] = results
            flat = [result for members in results.values() for result in members.values()]
            failures += sum(ratio(result, best_heuristic(result)) > 1 for result in flat)
            failures += sum(result["exact"].get("gap", 0) != 0 for result in flat)
            if not options.json:
                title = f"**{format}, emit = {emit}**"
                sys.stdout.write("\n".join([title, "", *table(results, names), ""]))
    if options.json:
        json.dump({"unit": UNIT, "results": report}, sys.stdout, indent=1)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
