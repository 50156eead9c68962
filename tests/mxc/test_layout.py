"""`mxc layout`: the JSON, the proof, stored plans, the files it writes, and its errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from mxc.cli import main
from mxc.driver import Options, pipeline

Capture = pytest.CaptureFixture[str]
Layout = Callable[..., dict[str, Any]]


@pytest.fixture
def gram(tmp_path: Path) -> Path:
    """S = x xᵀ and t = xᵀ w with x = relu(a), of n x 64: x is contracted along both axes."""
    weight = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    nodes = [
        helper.make_node("Relu", ["a"], ["x"], name="x"),
        helper.make_node("Transpose", ["x"], ["xt"], name="xt", perm=[1, 0]),
        helper.make_node("MatMul", ["x", "xt"], ["s"], name="s"),
        helper.make_node("MatMul", ["xt", "w"], ["t"], name="t"),
    ]
    graph = helper.make_graph(
        nodes,
        "gram",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n", 64])],
        [
            helper.make_tensor_value_info("s", TensorProto.FLOAT, ["n", "n"]),
            helper.make_tensor_value_info("t", TensorProto.FLOAT, [64, 32]),
        ],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    path = tmp_path / "gram.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def layout(gram: Path, capfd: Capture) -> Layout:
    """`layout(*options)`: what `mxc layout` prints as JSON for the model, 64 rows."""

    def run(*options: object, status: int = 0) -> dict[str, Any]:
        arguments = ["layout", str(gram), "--input-dim", "n=64", "--json"]
        assert main([*arguments, *map(str, options)]) == status
        result: dict[str, Any] = json.loads(capfd.readouterr().out)
        return result

    return run


POLICY_KEYS = {
    "quantize_ops", "requantize_ops", "quantize_bytes", "traffic_bytes", "stored_bytes",
    "objective", "solve_ms",
}  # fmt: skip


def test_all_policies_as_json(layout: Layout) -> None:
    result = layout("--policy", "all")
    assert list(result["policies"])[:5] == ["naive", "dual", "greedy", "rule", "exact"]
    for costs in result["policies"].values():
        assert costs.keys() >= POLICY_KEYS
        assert costs["objective"] >= result["policies"]["exact"]["objective"]
    certificate = result["certificate"]
    assert certificate["gap"] == 0
    assert certificate["lower_bound"] == certificate["objective"]
    assert certificate["objective"] == result["policies"]["exact"]["objective"]
    assert result["classes"] >= result["distinct_classes"] > 0


def test_x_is_a_tile_under_free_emission(layout: Layout) -> None:
    policies = layout()["policies"]
    # 64 x 64 elements and a scale for each of 4 tiles; dual has two versions of 128 scales each
    assert policies["exact"]["quantize_bytes"] == 64 * 64 + 4
    assert policies["dual"]["quantize_bytes"] == 2 * (64 * 64 + 128)


def test_the_target_says_what_can_be_emitted(gram: Path, layout: Layout, tmp_path: Path) -> None:
    assert layout()["emit"] == "all"
    assert layout("--emit", "none")["emit"] == "none"
    shipped = Path(__file__).parents[2] / "mxc" / "targets" / "npu.toml"
    text = shipped.read_text().replace('emit = "all"', 'emit = "last"')
    (tmp_path / "mine.toml").write_text(text.replace('name = "npu"', 'name = "mine"'))
    assert layout("--target", tmp_path / "mine.toml")["emit"] == "last"
    specs = [
        step.spec
        for stage in pipeline(Options(target=str(tmp_path / "mine.toml")))
        for step in stage.steps
    ]
    assert any(spec.startswith('mx-layout{policy="exact" emit="last"') for spec in specs)


def test_one_policy_and_its_proof(layout: Layout) -> None:
    assert "certificate" not in layout("--policy", "naive")
    result = layout("--policy", "naive", "--emit", "last", "--certify")
    assert list(result["policies"]) == ["naive"]
    assert result["certificate"]["gap"] > 0


def test_an_explanation(layout: Layout) -> None:
    uses = layout("--explain", "x")["explanation"]["uses"]
    assert {use["op"] for use in uses} >= {"s"}
    assert any(use["alternatives"] for use in uses)


def test_the_text_for_people(gram: Path, capfd: Capture) -> None:
    arguments = ["layout", str(gram), "--input-dim", "n=64", "--certify", "--explain", "x"]
    assert main(arguments) == 0
    out = capfd.readouterr().out
    assert "gap 0: optimal" in out
    assert "wants axis" in out
    assert [line.split()[0] for line in out.splitlines()[2:7]] == [
        "naive", "dual", "greedy", "rule", "exact"
    ]  # fmt: skip


def test_a_stored_plan_is_checked_again(layout: Layout, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    layout("--plan", plan, "--emit", "last", "--noise-price", "1/3")
    found = layout("--check", plan)
    assert found["correct"]
    assert found["certificate"]["gap"] == 0
    data = json.loads(plan.read_text())
    data["costs"]["quantize_ops"] += 1
    plan.write_text(json.dumps(data))
    assert not layout("--check", plan, status=1)["correct"]


def test_a_plan_of_another_model_is_wrong(layout: Layout, tmp_path: Path) -> None:
    layout("--plan", tmp_path / "plan.json")
    found = layout("--check", tmp_path / "plan.json", "--format", "mxint8", status=1)
    assert "another model" in found["error"]


def test_files(layout: Layout, tmp_path: Path) -> None:
    layout("--html", tmp_path / "r.html", "--dot", tmp_path / "g.dot")
    page = (tmp_path / "r.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "http" not in page
    assert (tmp_path / "g.dot").read_text().startswith("digraph")


def test_budgets(layout: Layout) -> None:
    free = layout("--format", "mxint8", "--noise-price", "0", "--policy", "exact")
    bound = layout(
        "--format", "mxint8", "--noise-price", "0", "--policy", "exact", "--noise-budget", "0"
    )
    assert free["policies"]["exact"]["excess_noise"] > 0
    assert bound["policies"]["exact"]["excess_noise"] == 0
    assert bound["policies"]["exact"]["objective"] > free["policies"]["exact"]["objective"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policy", "exakt"], "did you mean 'exact'?"),
        (["--emit", "lost"], "did you mean 'last'?"),
        (["--noise-price", "x"], "is no fraction"),
        (["--noise-price", "-1"], "is negative"),
        (["--saved-bytes-budget", "-1"], "is negative"),
        (["--explain", "nothing"], "nothing reads a value 'nothing'"),
        (["--check", "absent.json"], "absent.json: cannot read"),
        (["--format", "mxfp7"], "mxfp7"),
        (["--html", "no/folder.html"], "no"),
        (["--layout", "exact"], "unrecognized arguments"),
    ],
)
def test_errors(gram: Path, capfd: Capture, options: list[str], message: str) -> None:
    assert main(["layout", str(gram), "--input-dim", "n=64", *options]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(("text", "message"), [("[", "no JSON"), ("[]", "not a"), ("{}", "not a")])
def test_what_is_no_plan(
    gram: Path, tmp_path: Path, capfd: Capture, text: str, message: str
) -> None:
    (tmp_path / "p.json").write_text(text)
    arguments = ["layout", str(gram), "--input-dim", "n=64", "--check", str(tmp_path / "p.json")]
    assert main(arguments) == 2
    assert message in capfd.readouterr().err


def test_a_size_is_missing(gram: Path, capfd: Capture) -> None:
    assert main(["layout", str(gram)]) == 2
    assert "n" in capfd.readouterr().err
