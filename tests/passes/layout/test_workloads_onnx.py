"""The workloads as ONNX models: what is extracted has the plans of what is built by hand."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mxc.driver import Options, import_model
from mxc.inputs import random_inputs
from mxc.passes.layout.policies import POLICIES
from mxc.passes.layout.report import proved
from mxc.verify import execute

BENCH = Path(__file__).parents[3] / "benchmarks" / "layout"

NAMES = (
    "llama", "attention", "mixer", "linear-attention", "chunked-attention", "monarch", "tied",
    "gram", "muon", "mlp-train",
)  # fmt: skip

DIFFERENT = {("monarch", "naive", "all"), ("monarch", "naive", "last"),
             ("monarch", "greedy", "last"), ("monarch", "exact", "last"),
             ("muon", "exact", "last")}  # fmt: skip
"""MatMul leaves the contracted axis last, einsum-like ops where it was: one more requantisation of
Monarch where the last axis matters. And which of tile and requantisation is cheaper depends on the
sizes of Muon's matrices."""


@pytest.fixture(scope="module")
def scripts() -> dict[str, ModuleType]:
    """The modules of benchmarks/layout."""
    sys.path.insert(0, str(BENCH))
    names = ("workloads_onnx", "layout_workloads")
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def folder(scripts: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models, written."""
    made = tmp_path_factory.mktemp("workloads")
    written = scripts["workloads_onnx"].write(made)
    assert [path.stem for path in written] == list(NAMES)
    return made


@pytest.mark.parametrize("emit", ["all", "last"])
@pytest.mark.parametrize("name", NAMES)
def test_the_plans_are_those_of_the_bench(
    scripts: dict[str, ModuleType], folder: Path, name: str, emit: str
) -> None:
    tools = scripts["workloads_onnx"]
    found = tools.extracted(folder / f"{name}.onnx", emit=emit)
    by_hand = tools.ops(scripts["layout_workloads"].ALL[name]().with_prices(emit=emit))
    for policy, ops in tools.ops(found).items():
        assert (ops == by_hand[policy]) == ((name, policy, emit) not in DIFFERENT), policy
    assert proved(POLICIES["exact"](found)).gap == 0


def assert_runs(path: Path, policy: str) -> None:
    """The emitted C is the interpreter, under a policy."""
    options = Options(layout=policy)
    model = import_model(path, options)
    done = execute(model, options, random_inputs(model.inputs, 0))
    assert done.mismatches == 0
    assert all(np.isfinite(array).all() for array in done.compiled)


def test_tiles_run(folder: Path) -> None:
    assert_runs(folder / "gram.onnx", "exact")


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", NAMES)
def test_they_run(folder: Path, name: str, policy: str) -> None:
    assert_runs(folder / f"{name}.onnx", policy)
