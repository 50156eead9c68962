"""Plans for the real models: exact is least, proved, and never requantises for a transpose."""

from pathlib import Path

import numpy as np
import pytest

from mxc.driver import Options
from mxc.inputs import Shapes
from mxc.layout import Terms, problem_of
from mxc.passes.layout.policies import POLICIES
from mxc.passes.layout.problem import Problem
from mxc.passes.layout.report import proved

TRANSFORMERS = ("bert", "gpt2", "llama_prefill", "llama_step", "vit", "whisper_enc")
SETTINGS = [
    (format, emit)
    for format in ("mxfp8_e4m3", "mxint8", "mxfp4")
    for emit in ("all", "last", "none")
]


def problem(path: Path) -> Problem:
    """The layout problem of a model at the sizes of its stored inputs."""
    with np.load(path.with_suffix(".npz")) as file:
        arrays = {key[3:]: file[key] for key in file.files if key.startswith("in_")}
    return problem_of(path, Options(input_shapes=Shapes(arrays)), Terms())


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_no_transpose_requantises(shared_models: Path, name: str) -> None:
    """With free emission every version is quantised from HP, along the axis its reader wants.

    So no transpose, and nothing else, makes a requantisation; naive has some in every model.
    """
    found = problem(shared_models / "exports" / f"{name}_tiny_dynamo.onnx")
    assert POLICIES["exact"](found).made.requantize_ops == 0
    assert POLICIES["naive"](found).made.requantize_ops > 0


def assert_exact_is_least(found: Problem) -> None:
    costs = {name: policy(found).costs.objective for name, policy in POLICIES.items()}
    assert min(costs.values()) == costs["exact"], costs


def test_exact_is_least_on_a_training_step(shared_models: Path) -> None:
    found = problem(shared_models / "training" / "train_block_routeB.onnx")
    for format, emit in SETTINGS:
        assert_exact_is_least(found.with_format(format).with_prices(emit=emit))
    assert proved(POLICIES["exact"](found)).gap == 0


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids="-".join)
def test_exact_is_least_on_every_model(shared_models: Path, setting: tuple[str, str]) -> None:
    format, emit = setting
    paths = [*(shared_models / "exports").glob("*.onnx")]
    paths += (shared_models / "training").glob("*.onnx")
    assert len(paths) > 15
    for path in sorted(paths):
        found = problem(path).with_format(format).with_prices(emit=emit)
        assert_exact_is_least(found)
        assert proved(POLICIES["exact"](found)).gap == 0
