"""The workloads of the bench: exact is best everywhere, proved, and the known shapes hold."""

import importlib
import sys
from pathlib import Path

import pytest

from mxc.passes.layout.certify import certificate
from mxc.passes.layout.check import check_certificate
from mxc.passes.layout.policies import POLICIES

BENCH = Path(__file__).parents[3] / "benchmarks" / "layout"


@pytest.fixture(scope="module")
def workloads():
    """The module of workloads, of the scripts in benchmarks/layout."""
    sys.path.insert(0, str(BENCH))
    yield importlib.import_module("layout_workloads")
    sys.path.remove(str(BENCH))


SETTINGS = [
    ("mxfp8_e4m3", "all"),
    ("mxfp8_e4m3", "last"),
    pytest.param("mxfp8_e4m3", "none", marks=pytest.mark.slow),
    pytest.param("mxint8", "all", marks=pytest.mark.slow),
    ("mxint8", "last"),
    pytest.param("mxint8", "none", marks=pytest.mark.slow),
    pytest.param("mxfp4", "all", marks=pytest.mark.slow),
    pytest.param("mxfp4", "last", marks=pytest.mark.slow),
    ("mxfp4", "none"),
]


@pytest.mark.parametrize(("format", "emit"), SETTINGS)
def test_exact_is_best_and_proved(workloads, format, emit):
    for name, make in workloads.ALL.items():
        problem = make().with_format(format).with_prices(emit=emit)
        costs = {key: solve(problem).costs.objective for key, solve in POLICIES.items()}
        assert costs["exact"] == min(costs.values()), name
        verdict = check_certificate(certificate(POLICIES["exact"](problem)))
        assert (verdict.objective, verdict.gap) == (costs["exact"], 0), name


@pytest.mark.parametrize(
    ("name", "emit", "low", "high"),
    [
        ("llama", "all", 1.0, 1.0),
        ("llama-train", "all", 0.88, 0.92),
        ("llama-train", "last", 0.82, 0.87),
        ("mlp-train", "all", 0.84, 0.91),
        ("chunked-attention", "all", 0.97, 0.98),
    ],
)
def test_where_exact_beats_dual_and_where_it_cannot(workloads, name, emit, low, high):
    problem = workloads.ALL[name]().with_prices(emit=emit)
    ratio = POLICIES["exact"](problem).costs.objective / POLICIES["dual"](problem).costs.objective
    assert low <= ratio <= high


@pytest.mark.parametrize(
    ("name", "naive", "dual", "exact"),
    [
        ("llama", (15, 1), (15, 0), (15, 0)),
        ("llama-train", (25, 24), (48, 0), (25, 0)),
        ("llama-lora", (32, 6), (37, 0), (25, 0)),
        ("evoformer", (38, 6), (38, 0), (38, 0)),
        ("muon-symmetric", (15, 5), (20, 0), (15, 0)),
        ("parallel-mixer-train", (10, 12), (22, 0), (10, 0)),
    ],
)
def test_numbers_of_quantisations(workloads, name, naive, dual, exact):
    """They follow from the graphs by counting which values are contracted along which axes."""
    problem = workloads.ALL[name]()
    for policy, expected in (("naive", naive), ("dual", dual), ("exact", exact)):
        costs = POLICIES[policy](problem).costs
        assert (costs.quantize_ops, costs.requantize_ops) == expected, policy


def test_equal_layers_are_solved_once(workloads):
    transformers = importlib.import_module("layout_transformers")
    shallow, deep = (
        POLICIES["exact"](transformers.llama_training(blocks)).graph for blocks in (2, 8)
    )
    assert deep.distinct_classes == shallow.distinct_classes
    assert len(deep.classes) > 3 * len(shallow.classes)


def test_the_bench_runs(workloads, capsys):
    bench = importlib.import_module("bench")
    assert bench.main(["--emit", "last", "--format", "mxfp4", "--policy", "naive"]) == 0
    printed = capsys.readouterr().out
    assert "| llama-train |" in printed
    assert "training (10): exact/dual" in printed
