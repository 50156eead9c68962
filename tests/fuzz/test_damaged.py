"""Damaged model files through the whole compiler: compiled, or refused in one line; never else."""

from __future__ import annotations

import random
import resource
import shutil
import time
from pathlib import Path

import pytest
from onnx import helper

from mxc.driver import Options, compile_model
from mxc.errors import MxcError
from tests.fuzz.damage import mutated
from tests.fuzz.generate import generate
from tests.importer.test_damaged import damaged, rich_model

SECONDS = 10
"""Of the processor: the machine may be busy with other things."""

MEBIBYTES = 1024
"""How much the peak of the memory may grow; a process begins with some hundred."""


def survives(data: bytes, folder: Path, format: str) -> bool:
    """Compiles `data`; whether it was a model. Anything but an `MxcError` is raised."""
    path, out = folder / "m.onnx", folder / "out"
    path.write_bytes(data)
    before, start, message = _peak(), time.process_time(), ""
    try:
        compile_model(path, out, Options(format=format))
        done = True
        shutil.rmtree(out)
    except MxcError as error:
        done, message = False, str(error)
    assert done or (len(message.splitlines()) == 1 and not out.exists())
    assert time.process_time() - start < SECONDS
    assert _peak() - before < MEBIBYTES
    return not message


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def attempt(seed: int, folder: Path, models: list[bytes]) -> bool:
    """Damages one of `models`, or a random one, and compiles it."""
    rng = random.Random(seed)
    whole = rng.choice(models) if seed % 3 == 0 else generate(rng.randrange(400)).model
    data = whole if isinstance(whole, bytes) else whole.SerializeToString()
    damage = damaged if rng.random() < 0.3 else mutated
    return survives(damage(data, rng), folder, rng.choice(["f32", "mxfp8"]))


def test_damaged_models(tmp_path: Path) -> None:
    done = [attempt(seed, tmp_path, [rich_model()]) for seed in range(60)]
    assert 0 < sum(done) < len(done)


def test_a_huge_dimension_is_not_unrolled(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", 1, [1, 2**31])
    y = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["y"])], "g", [x], [y])
    imports = [helper.make_opsetid("", 17)]
    data = helper.make_model(graph, opset_imports=imports).SerializeToString()
    assert survives(data, tmp_path, "mxfp8")


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 2000, 20))
def test_two_thousand_damaged_models(start: int, tmp_path: Path, shared_models: Path) -> None:
    names = ("mnist_cntk", "micro_kws_qdq", "te_fp8", "tinyvit_demo")
    models = [(shared_models / "third_party" / f"{n}.onnx").read_bytes() for n in names]
    for seed in range(start, start + 20):
        attempt(seed, tmp_path, [rich_model(), *models])
