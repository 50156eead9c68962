"""The real models: they import, and compute what onnxruntime computed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mxc.dialects.types import shape_of
from mxc.importer import Imported, import_model
from tests.importer.helpers import main_of, names_of, nodes_of, ops_of, run

THIRD_PARTY = [
    "bert_mlm_dummy", "byte_bidi_lstm", "cct_2_opset20", "dtln_1", "gtcrn_stream",
    "llama_opset24_static", "magika_v3_3", "micro_kws_qdq", "mnist_cntk", "oww_hey_jarvis",
    "oww_melspec", "silero_vad_ifless", "squeezenet_fp16", "superres_subpixel", "te_fp8",
    "tinyvit_demo", "ultraface_rfb320", "yunet_n_dynamic",
]  # fmt: skip
EXPORTS = [
    "bert_tiny_dynamo", "bert_tiny_dynamo_dyn", "gpt2_tiny_dynamo",
    "llama_prefill_tiny_dynamo", "llama_prefill_tiny_dynamo_dyn", "llama_step_tiny_dynamo",
    "llama_step_tiny_dynamo_dyn", "mixer_tiny_dynamo", "mobilenetv2_tiny_dynamo",
    "resnet18_tiny_dynamo", "vit_tiny_dynamo", "vit_tiny_dynamo_dyn",
    "whisper_enc_tiny_dynamo",
]  # fmt: skip
TRAINING = [
    "train_block_routeB", "train_cnn_routeB", "train_gpt2_tiny", "train_llama_prefill_tiny",
    "train_mixer_tiny", "train_mlp_routeB", "train_resnet18_tiny", "train_vit_tiny",
]  # fmt: skip
QUANTISED = "digits_cnn_qdq_fp8 digits_cnn_qdq_int4w digits_cnn_qdq_int8_pc digits_vit_qdq_int8_pc"
TRAINED = "charlm digits_cnn digits_mlp digits_vit"
MODELS = [
    *(f"third_party/{name}" for name in THIRD_PARTY),
    *(f"exports/{name}" for name in EXPORTS),
    *(f"training/{name}" for name in TRAINING),
    *(f"quantised/{name}" for name in QUANTISED.split()),
    *(f"trained/{name}" for name in TRAINED.split()),
]

TOLERANCE = {
    "third_party/squeezenet_fp16": 5e-3,  # f16: onnxruntime rounds between nodes it fuses
    "third_party/yunet_n_dynamic": 1e-2,  # onnxruntime's Sigmoid is approximate
}
"""Relative to the largest element; 1e-4 elsewhere."""

FUSED_BY_ONNXRUNTIME = {
    "quantised/digits_cnn_qdq_int8_pc",
    "quantised/digits_vit_qdq_int8_pc",
    "third_party/micro_kws_qdq",
}
"""Their stored outputs are those of onnxruntime's fused integer kernels, some steps apart."""

ZERO = 1e-4
"""Gradients below this, whatever their size, are noise around a mathematical zero."""


def stored(shared_models: Path, name: str) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    with np.load(shared_models / f"{name}.npz") as file:
        arrays = {key.replace("__", "/"): file[key] for key in file}
    inputs = {key[3:]: array for key, array in arrays.items() if key.startswith("in_")}
    outputs = {key[4:]: array for key, array in arrays.items() if key.startswith("out_")}
    return shared_models / f"{name}.onnx", inputs, outputs


def assert_static(imported: Imported) -> None:
    for op in nodes_of(imported):
        for result in op.results:
            assert min(shape_of(result), default=1) > 0


def close(got: NDArray[Any], want: NDArray[Any], tolerance: float) -> bool:
    difference = np.abs(got.astype(np.float64) - want.astype(np.float64)).max()
    return bool(difference <= tolerance * np.abs(want.astype(np.float64)).max() + ZERO * 1e-2)


def test_none_is_forgotten(shared_models: Path) -> None:
    found = {
        str(p.relative_to(shared_models).with_suffix("")) for p in shared_models.rglob("*.onnx")
    }
    assert found == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_model(name: str, shared_models: Path) -> None:
    path, inputs, outputs = stored(shared_models, name)
    imported = import_model(path, input_shapes={k: v.shape for k, v in inputs.items()})
    imported.module.verify()
    assert_static(imported)
    assert {"If", "Loop", "Shape", "Constant", "Identity"}.isdisjoint(ops_of(imported))
    got = run(imported, inputs)
    assert list(got) == list(outputs) or set(got) == set(outputs)
    for key, want in outputs.items():
        assert got[key].shape == want.shape
        assert got[key].dtype == want.dtype
        if name not in FUSED_BY_ONNXRUNTIME:
            assert close(got[key], want, TOLERANCE.get(name, 1e-4)), key


@pytest.mark.parametrize(
    ("name", "dims"),
    [
        ("bert_tiny_dynamo_dyn", {"s10": 2, "s11": 16, "s86": 2}),
        ("bert_tiny_dynamo_dyn", {"s10": 1, "s11": 7, "s86": 1}),
        ("llama_prefill_tiny_dynamo_dyn", {"s70": 16}),
        ("llama_prefill_tiny_dynamo_dyn", {"s70": 5}),
        ("llama_step_tiny_dynamo_dyn", {"s15": 15}),
        ("llama_step_tiny_dynamo_dyn", {"s15": 40}),
        ("vit_tiny_dynamo_dyn", {"s10": 1}),
        ("vit_tiny_dynamo_dyn", {"s10": 3}),
    ],
)
def test_dynamic_exports_at_two_sizes(name: str, dims: dict[str, int], shared_models: Path) -> None:
    imported = import_model(shared_models / "exports" / f"{name}.onnx", dims=dims)
    imported.module.verify()
    assert_static(imported)
    static = import_model(shared_models / "exports" / f"{name.removesuffix('_dyn')}.onnx")
    assert len(ops_of(imported)) <= len(ops_of(static)) + 2


def test_a_bound_input_resolves_the_branch(shared_models: Path) -> None:
    """All weights of this model lie in the branches of an If on the sampling rate."""
    path = shared_models / "third_party" / "silero_vad_ifless.onnx"
    sizes = {"batch": 1, "sequence": 576}
    bound = import_model(path, dims=sizes, values={"sr": "16000"})
    assert names_of(bound, "input") == ["input", "state"]
    assert "Where" not in ops_of(bound)
    assert len(main_of(bound).body.block.args) == 2
