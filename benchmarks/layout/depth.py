"""Time of the layout pass against the depth of the model.

    python benchmarks/layout/depth.py [--blocks 1 16 32 64] [--emit last] [--repeat 3]

Stacks decoder blocks as one ONNX model, takes it to `mx-layout`, and prints the seconds of
extraction, of the exact policy, of the certificate and its check, and of the realisation; each the
least of some runs, in one process that has loaded everything.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from workloads_onnx import llama

from mxc.constants import ConstantTable
from mxc.driver import Options, lowered
from mxc.layout import Terms
from mxc.passes.layout.certify import certificate
from mxc.passes.layout.check import check_certificate
from mxc.passes.layout.extract import extract
from mxc.passes.layout.policies import policy
from mxc.passes.layout.realise import realise


def timed(function: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """The least seconds of `repeat` calls, and what the last gave."""
    best, found = float("inf"), None
    for _ in range(repeat):
        start = time.perf_counter()
        found = function()
        best = min(best, time.perf_counter() - start)
    return best, found


def row(blocks: int, emit: str, repeat: int, folder: Path) -> str:
    """One line of the table."""
    path = folder / f"llama{blocks}.onnx"
    onnx.save(llama(blocks), path)
    model = lowered(path, Options(), "mx-quantize")
    constants = ConstantTable.of(model.ctx)
    prices = Terms(emit).prices("npu")
    extraction, found = timed(lambda: extract(model.module, constants, prices), repeat)
    solution, plan = timed(lambda: policy("exact")(found.problem), repeat)
    proof, verdict = timed(lambda: check_certificate(certificate(plan)), 1)
    making, _ = timed(lambda: realise(found, plan, constants), 1)
    assert verdict.gap == 0
    graph = plan.graph
    each = solution / graph.distinct_classes * 1000
    cells = [f"{len(graph.classes)}", f"{graph.distinct_classes}"]
    cells += [f"{seconds:.3f}" for seconds in (extraction, solution, proof, making)]
    return f"| {blocks} | {' | '.join(cells)} | {each:.1f} |"


def main(arguments: Sequence[str]) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Time of the layout pass against depth.")
    parser.add_argument("--blocks", nargs="+", type=int, default=[1, 16, 32, 64])
    parser.add_argument("--emit", default="last")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args(arguments)
    print(
        "| blocks | classes | different | extract s | solve s | certify s | realise s | ms each |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as temporary:
        for blocks in args.blocks:
            print(row(blocks, args.emit, args.repeat, Path(temporary)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
