"""What is emitted: files, their text, and what a compiler and sanitizers say about it."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mxc.backends import ref
from mxc.backends.npu import NpuBackend
from mxc.backends.npu.build import FLAGS, Program, compiler
from mxc.errors import BackendError, BadInput, CannotLower
from mxc.opt import apply_passes, parse
from tests.random_loops import random_module

MACHINE = "bufferize,place,tile,plan-memory,schedule"

LINEAR = """
#row = affine_map<(d0, d1) -> (d1)>
#id = affine_map<(d0, d1) -> (d0, d1)>
builtin.module attributes {mxc.model = "linear", mxc.input_names = ["x", "w", "b"],
                           mxc.output_names = ["y"]} {
  func.func @main(%x: tensor<4x64xf32>, %w: tensor<64x8xf32>, %b: tensor<8xf32>)
      -> tensor<4x8xf32> {
    %m = mx.matmul %x, %w {contract = "sequential"}
        : tensor<4x64xf32>, tensor<64x8xf32> -> tensor<4x8xf32> loc("fc1/MatMul")
    %e = tensor.empty() : tensor<4x8xf32>
    %y = linalg.generic {indexing_maps = [#id, #row, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%m, %b : tensor<4x8xf32>, tensor<8xf32>) outs(%e : tensor<4x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %s = arith.addf %p, %q : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32> loc("fc1/Add */ end")
    func.return %y : tensor<4x8xf32>
  }
}
"""


def emit(text: str, folder: Path, weights: str = "bin") -> None:
    ctx, module = parse(text)
    apply_passes(ctx, module, MACHINE)
    folder.mkdir(exist_ok=True)
    NpuBackend(weights).emit(ctx, module, folder)


def test_golden(tmp_path: Path, golden) -> None:  # type: ignore[no-untyped-def]
    emit(LINEAR, tmp_path)
    golden("npu_linear.c", (tmp_path / "model.c").read_text())


def test_same_module_same_bytes(tmp_path: Path) -> None:
    text, _ = random_module(7, 20)
    for name in ("a", "b"):
        emit(text, tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "b").iterdir())
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_manifest_tells_the_interface_and_hashes(tmp_path: Path) -> None:
    import hashlib

    emit(LINEAR, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["inputs"][1] == {"name": "w", "dtype": "float32", "shape": [64, 8]}
    assert manifest["contracts"] == ["sequential"]
    assert manifest["arena_bytes"] >= manifest["arena_lower_bound_bytes"]
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


def test_no_forbidden_things_in_the_text(tmp_path: Path) -> None:
    text, _ = random_module(9, 40)
    emit(text, tmp_path)
    code = re.sub(r"/\*.*?\*/", "", (tmp_path / "model.c").read_text(), flags=re.DOTALL)
    assert not re.search(
        r"\b(malloc|calloc|realloc|alloca|free|goto|setjmp|double _Complex)\b", code
    )
    outside = re.sub(r"(?s)\{.*?\n\}", "", code)
    assert "=" not in re.sub(r"#.*", "", outside), "a variable outside of a function"
    names = re.findall(r"^static \w+ (\w+)\(", code, flags=re.MULTILINE)
    assert len(names) == len(set(names)) > 10


def test_make_builds_a_program_that_runs(tmp_path: Path) -> None:
    emit(LINEAR, tmp_path)
    subprocess.run(["make", "-s", "-C", tmp_path, f"CC={compiler()}", "ARCH="], check=True)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((4, 64), (64, 8), (8,))]
    for i, array in enumerate(arrays):
        array.tofile(tmp_path / f"in{i}")
    names = ["weights.bin", "in0", "in1", "in2", "out"]
    subprocess.run(["./model", *names], cwd=tmp_path, check=True)
    ctx, module = parse(LINEAR)
    (expected,) = ref.run(module, ctx, arrays)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out", np.float32), expected.reshape(-1))
    bad = subprocess.run(["./model", *names[:3]], cwd=tmp_path, capture_output=True, check=False)
    assert bad.returncode == 2


def test_weights_as_c(tmp_path: Path) -> None:
    text = """builtin.module attributes {mxc.input_names = [], mxc.output_names = ["y"]} {
      func.func @main() -> tensor<3xf32> {
        %c = mx.constant @NAME : tensor<3xf32>
        func.return %c : tensor<3xf32>
      }
    }"""
    from mxc.constants import ConstantTable
    from mxc.dialects import new_context

    ctx = new_context()
    name = ConstantTable.of(ctx).add(np.array([1.5, -2, 3], np.float32))
    _, module = parse(text.replace("NAME", name), ctx=ctx)
    apply_passes(ctx, module, MACHINE)
    NpuBackend("c").emit(ctx, module, tmp_path)
    (y,) = Program(tmp_path)()
    np.testing.assert_array_equal(y, [1.5, -2, 3])
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    subprocess.run([compiler(), *flags, "weights.c"], cwd=tmp_path, check=True)


def test_wrong_inputs_are_refused(tmp_path: Path) -> None:
    emit(LINEAR, tmp_path)
    program = Program(tmp_path)
    x, w, b = np.zeros((4, 64), "f4"), np.zeros((64, 8), "f4"), np.zeros(8, "f4")
    with pytest.raises(BadInput, match=r"input 'w': is float32\[8, 64\], not float32\[64, 8\]"):
        program(x, w.T, b)
    with pytest.raises(BadInput, match=r"input 'b': is float64"):
        program(x, w, b.astype("f8"))


def test_a_module_without_a_plan_is_refused(tmp_path: Path) -> None:
    ctx, module = parse(LINEAR)
    with pytest.raises(BackendError, match="run plan-memory first"):
        NpuBackend().emit(ctx, module, tmp_path)


def test_an_unknown_scalar_operation_is_refused(tmp_path: Path) -> None:
    ctx, module = parse(LINEAR.replace("arith.addf %p, %q : f32", "math.exp %p : f32"))
    apply_passes(ctx, module, MACHINE)
    with pytest.raises(CannotLower, match=r"no rule for math\.exp") as caught:
        NpuBackend().emit(ctx, module, tmp_path)
    assert "fc1/Add" in str(caught.value)


def test_a_compiler_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emit(LINEAR, tmp_path)
    monkeypatch.setenv("CC", "false")
    with pytest.raises(BackendError, match="the C compiler failed"):
        Program(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(400, 406))
def test_sanitizers_find_nothing(seed: int, tmp_path: Path) -> None:
    text, inputs = random_module(seed, 40)
    emit(text, tmp_path)
    for i, array in enumerate(inputs):
        array.tofile(tmp_path / f"in{i}")
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]
    flags = [f for f in FLAGS if f != "-O3"]
    sources = ["main.c", "model.c", "mxnpu_host.c"]
    subprocess.run(
        [compiler(), *flags, *checks, "-o", "model", *sources, "-lm"], cwd=tmp_path, check=True
    )
    ctx, module = parse(text)
    expected = ref.run(module, ctx, inputs)
    names = [f"in{i}" for i in range(len(inputs))] + [f"out{i}" for i in range(len(expected))]
    env = {"ASAN_OPTIONS": "detect_leaks=0"}
    subprocess.run(["./model", "weights.bin", *names], cwd=tmp_path, check=True, env=env)
    for i, want in enumerate(expected):
        got = np.fromfile(tmp_path / f"out{i}", np.float32).reshape(want.shape)
        np.testing.assert_array_equal(got, want)
