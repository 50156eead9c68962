"""Real models, end to end: C equals the interpreter to the bit, both are what onnxruntime says.

The quick ones run always, all of them with `pytest -m slow`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MODELS
from tests.models.cases import error, onnxruntime_outputs, run, stored

FLOAT = ("third_party", "exports", "trained", "training")
QUICK = {"mnist_cntk", "digits_mlp", "tinyvit_demo", "micro_kws_qdq", "llama_step_tiny_dynamo"}

TOLERANCE = {"squeezenet_fp16": 5e-3, "te_fp8": 1e-3, "micro_kws_qdq": 0.02}
"""Relative to an output's largest value: f16 is rounded where onnxruntime keeps f32; a value on the
edge between two integers of a quantised model may fall to either side."""

FLOOR = {"training": 0.05}
"""Outputs smaller than this are taken for noise: some gradients are zero but for rounding."""

ABSOLUTE = {"yunet_n_dynamic": 2e-7, "oww_hey_jarvis": 5e-8}
"""Their outputs (obj_*, and all) are sigmoids near 1e-5 and 1e-3. The sigmoid of onnxruntime is an
approximation that is off by up to 1.3e-7 there; ours is within 2 units of the last place of the
exact one."""


def _models(*folders: str) -> list[object]:
    paths = [p for folder in folders for p in sorted((MODELS / folder).glob("*.onnx"))]
    return [
        pytest.param(
            path.relative_to(MODELS).as_posix(),
            marks=[] if path.stem in QUICK else [pytest.mark.slow],
            id=path.stem,
        )
        for path in paths
    ] or [pytest.param("", marks=pytest.mark.skipif(not MODELS.is_dir(), reason="no models"))]


@pytest.mark.parametrize("name", _models(*FLOAT))
def test_float_model(name: str, shared_models: Path) -> None:
    path = shared_models / name
    inputs, wanted = stored(path)
    outcome = run(path, inputs, "f32")
    assert outcome.done.mismatches == 0
    for output, array in outcome.outputs().items():
        want = wanted[output.replace("/", "__")]
        apart = np.abs(array.astype(np.float64) - want).max(initial=0.0)
        if apart > ABSOLUTE.get(path.stem, 0.0):
            worst = error(array, want, FLOOR.get(path.parent.name, 0.0))
            assert worst <= TOLERANCE.get(path.stem, 2e-5), output


@pytest.mark.parametrize("name", _models(*FLOAT))
def test_model_in_mxfp8(name: str, shared_models: Path) -> None:
    path = shared_models / name
    assert run(path, stored(path)[0], "mxfp8").done.mismatches == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", _models("quantised"))
def test_quantised_model(name: str, shared_models: Path) -> None:
    """Against onnxruntime on the same file: the stored outputs are those of the float model."""
    path = shared_models / name
    inputs, _ = stored(path)
    outcome = run(path, inputs, "f32")
    assert outcome.done.mismatches == 0
    for output, want in onnxruntime_outputs(path, inputs).items():
        assert error(outcome.outputs()[output], want) <= 0.02, output


SIZES = {
    "bert_tiny_dynamo_dyn": {
        "input_ids": (3, 9),
        "attention_mask": (3, 9),
        "token_type_ids": (3, 9),
    },
    "llama_prefill_tiny_dynamo_dyn": {"input_ids": (1, 5)},
    "llama_step_tiny_dynamo_dyn": {f"past_{i}_{x}": (1, 2, 6, 16) for i in (0, 1) for x in "kv"},
    "vit_tiny_dynamo_dyn": {"pixel_values": (2, 3, 32, 32)},
}
"""Another size for each model with dynamic shapes than that of its stored inputs."""


@pytest.mark.parametrize("name", SIZES)
def test_dynamic_model_at_another_size(name: str, shared_models: Path) -> None:
    path = shared_models / "exports" / f"{name}.onnx"
    inputs = stored(path)[0]
    for key, shape in SIZES[name].items():
        assert inputs[key].shape != shape
        inputs[key] = np.resize(inputs[key], shape)
    outcome = run(path, inputs, "f32")
    assert outcome.done.mismatches == 0
    for output, want in onnxruntime_outputs(path, inputs).items():
        assert error(outcome.outputs()[output], want) <= 2e-5, output
