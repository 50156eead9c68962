"""Plans are real: emitted C is the interpreter bit for bit, and converts what the plan says.

`counting.c` counts the HAL calls of a run; `Plan.made` predicts them. At the `mx` level the
interpreter is counted too.
"""

import ctypes
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from mxc.backends.npu import build
from mxc.backends.npu.timeline import KINDS
from mxc.dialects.mx import QuantizeOp, RequantizeOp
from mxc.driver import Options, compile_model, import_model, interpret, lowered
from mxc.inputs import Shapes, match
from mxc.layout import Terms, problem_of
from mxc.passes.layout.plan import Made
from mxc.passes.layout.policies import POLICIES
from mxc.verify import execute

MODELS = (
    "training/train_mlp_routeB",
    "trained/digits_vit",
    "third_party/tinyvit_demo",
    "exports/gpt2_tiny_dynamo",
)
COUNTING = Path(__file__).parent / "counting.c"
Counts = Callable[[], Made]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Artifacts are built with the counting HAL; `counted()` is what the last one has counted."""
    libraries: list[ctypes.CDLL] = []

    def build_counting(folder: Path, target: Path, flags: Sequence[str] = ()) -> None:
        sources = [folder / "model.c", *sorted(folder.glob("mxnpu*.c")), COUNTING]
        wrap = ["-shared", "-fPIC", "-Wl,--wrap=mxnpu_quantize", f"-I{folder}"]
        command = [*build.compiler().split(), *build.FLAGS, *wrap, *flags]
        subprocess.run([*command, "-o", target, *sources, "-lm"], check=True)
        libraries.append(ctypes.CDLL(str(target)))

    def read() -> Made:
        once, again = np.array((ctypes.c_int64 * 8).in_dll(libraries[-1], "counted")).reshape(2, 4)
        return Made(
            once[0], once[1] / 8 + once[2], again[0], again[1] / 8 + again[2], once[3], again[3]
        )

    monkeypatch.setattr(build, "build", build_counting)
    return read


def stored_inputs(path: Path) -> dict[str, np.ndarray]:
    """The inputs beside a model."""
    with np.load(path.with_suffix(".npz")) as file:
        return {key[3:]: file[key] for key in file.files if key.startswith("in_")}


def planned(path: Path, options: Options) -> Made:
    """What the plan of the policy in `options` predicts."""
    return POLICIES[options.layout](problem_of(path, options, Terms())).made


def options_for(path: Path, policy: str, format: str = "mxfp8") -> Options:
    return Options(layout=policy, format=format, input_shapes=Shapes(stored_inputs(path)))


def assert_real(path: Path, options: Options, counted: Counts) -> None:
    """The C computes what the interpreter does, with the predicted conversions."""
    model = import_model(path, options)
    arrays = match(model.inputs, stored_inputs(path))
    done = execute(model, options, arrays)
    assert done.mismatches == 0
    made = planned(path, options)
    assert made.quantize_ops > 0
    assert astuple(counted()) == astuple(made)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_training_step_runs_as_planned(shared_models: Path, counted: Counts, policy: str) -> None:
    path = shared_models / f"{MODELS[0]}.onnx"
    assert_real(path, options_for(path, policy), counted)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS[1:])
@pytest.mark.parametrize("policy", POLICIES)
def test_models_run_as_planned(
    shared_models: Path, counted: Counts, model: str, policy: str
) -> None:
    path = shared_models / f"{model}.onnx"
    assert_real(path, options_for(path, policy), counted)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["mxfp4", "mxfp6_e2m3", "mxint8"])
@pytest.mark.parametrize("policy", POLICIES)
def test_other_formats_run_as_planned(
    shared_models: Path, counted: Counts, policy: str, format: str
) -> None:
    path = shared_models / f"{MODELS[0]}.onnx"
    assert_real(path, options_for(path, policy, format), counted)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("model", MODELS)
def test_the_interpreter_converts_what_is_planned(
    shared_models: Path, model: str, policy: str
) -> None:
    path = shared_models / f"{model}.onnx"
    options = options_for(path, policy)
    at_mx = lowered(path, options, "mx-fuse-scales")
    counts = {QuantizeOp: [0, 0.0, 0], RequantizeOp: [0, 0.0, 0]}

    def watch(op: object, results: Sequence[object]) -> None:
        if isinstance(op, QuantizeOp | RequantizeOp):
            made = results[0]
            counts[type(op)][0] += 1
            counts[type(op)][1] += made.codes.size * made.format.bits / 8 + made.scales.size
            counts[type(op)][2] += made.codes.size

    interpret(at_mx, match(at_mx.inputs, stored_inputs(path)), watch)
    once, again = counts[QuantizeOp], counts[RequantizeOp]
    found = Made(*once[:2], *again[:2], once[2], again[2])
    assert astuple(found) == astuple(planned(path, options))


@pytest.mark.parametrize("policy", ["naive", "exact"])
def test_the_timeline_of_the_hal_counts_the_same(
    shared_models: Path, tmp_path: Path, policy: str
) -> None:
    path = shared_models / f"{MODELS[0]}.onnx"
    options = options_for(path, policy)
    compile_model(path, tmp_path / "c", options)
    inputs = match(import_model(path, options).inputs, stored_inputs(path))
    _, timeline = build.Program(tmp_path / "c").profile(*inputs)
    made = planned(path, options)
    for kind, ops, elements in (
        ("quantize", made.quantize_ops, made.quantize_elements),
        ("requantize", made.requantize_ops, made.requantize_elements),
    ):
        commands = timeline.commands[timeline.commands["kind"] == KINDS.index(kind)]
        assert (len(commands), commands["bytes"].sum()) == (ops, elements)
