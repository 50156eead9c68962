"""The command line: results, the error policy, and that nothing is left behind by a failure."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mxc.cli import main

Capture = pytest.CaptureFixture[str]


def value(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    initializers: list[onnx.TensorProto] | None = None,
    domain: str = "",
) -> Path:
    """A model with the output `y`, unchecked, at opset 18."""
    graph = helper.make_graph(nodes, "g", inputs, [value("y", 4, 8)], initializers or [])
    opsets = [helper.make_opsetid("", 18)] + [helper.make_opsetid(domain, 1)] * bool(domain)
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    )
    return path


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """Y = relu(x @ w), x of 4 x 32."""
    weight = np.random.default_rng(0).standard_normal((32, 8)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="fc/MatMul"),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    weights = [numpy_helper.from_array(weight, "w")]
    return save(tmp_path / "linear.onnx", nodes, [value("x", 4, 32)], weights)


def fails(capfd: Capture, message: str, *arguments: object) -> None:
    """`mxc` with `arguments` exits with 2, saying `message` on one line of stderr, and no more."""
    assert main([str(a) for a in arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("mxc: error: ")
    assert err.count("\n") == 1
    assert message in err


# --- results


def test_compile_writes_an_artifact(linear: Path, capfd: Capture) -> None:
    folder = linear.parent / "out"
    assert main(["compile", str(linear), "-o", str(folder), "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert {"model.c", "model.h", "weights.bin", "manifest.json", "mxnpu.h", "Makefile"} <= set(
        result["files"]
    )
    assert sorted(result["files"]) == sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
    )


def test_compiling_twice_gives_the_same_bytes(linear: Path) -> None:
    first, second = linear.parent / "a", linear.parent / "b"
    for folder in (first, second):
        assert main(["compile", str(linear), "-o", str(folder)]) == 0
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()


def test_an_artifact_is_replaced_and_other_files_are_not(linear: Path, capfd: Capture) -> None:
    folder = linear.parent / "out"
    assert main(["compile", str(linear), "-o", str(folder)]) == 0
    assert main(["compile", str(linear), "-o", str(folder)]) == 0
    capfd.readouterr()
    fails(capfd, "holds files that mxc did not write", "compile", linear, "-o", linear.parent)


@pytest.mark.parametrize("number_format", ["f32", "mxfp8"])
def test_verify(linear: Path, capfd: Capture, number_format: str) -> None:
    assert main(["verify", str(linear), "--format", number_format, "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["bit_exact"] is True
    assert result["mismatches"] == 0
    assert result["format"] == number_format
    assert result["reference"].startswith("onnxruntime")
    (output,) = result["outputs"]
    assert (output["name"], output["shape"]) == ("y", [4, 8])
    assert output["sqnr_db"] > (100 if number_format == "f32" else 20)


def test_verify_each_pass(linear: Path, capfd: Capture) -> None:
    assert main(["verify", str(linear), "--each-pass", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["first_wrong_pass"] is None
    names = [one["name"] for one in result["passes"]]
    assert names.index("mx-quantize") < names.index("lower-to-linalg") < names.index("bufferize")


def test_run_a_model_and_its_artifact_agree(linear: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "in.npz", x=rng.standard_normal((4, 32)).astype(np.float32))
    artifact = tmp_path / "artifact"
    assert main(["compile", str(linear), "-o", str(artifact)]) == 0
    for number, what in enumerate((linear, artifact)):
        files = ["--inputs", str(tmp_path / "in.npz"), "--outputs", str(tmp_path / f"{number}.npz")]
        assert main(["run", str(what), *files]) == 0
    assert (tmp_path / "0.npz").read_bytes() == (tmp_path / "1.npz").read_bytes()
    assert np.load(tmp_path / "0.npz")["y"].shape == (4, 8)


def test_arrays_pin_dimensions(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    model = save(tmp_path / "m.onnx", nodes, [value("x", "n", 8)])
    np.savez(tmp_path / "in.npz", x=np.ones((4, 8), np.float32))
    assert main(["run", str(model), "--inputs", str(tmp_path / "in.npz")]) == 0


def test_stop_after_prints_ir_that_opt_continues(linear: Path, capfd: Capture) -> None:
    stopped, done = linear.parent / "stopped.mlir", linear.parent / "done.mlir"
    arguments = ["compile", str(linear), "--stop-after"]
    assert main([*arguments, "mx-layout", "-o", str(stopped)]) == 0
    assert "mx.quantize" in stopped.read_text()
    constants = ["--constants", str(stopped.with_suffix(".npz"))]
    assert main(["opt", str(stopped), "-p", "lower-to-linalg", *constants, "-o", str(done)]) == 0
    capfd.readouterr()
    assert main([*arguments, "lower-to-linalg"]) == 0
    assert capfd.readouterr().out == done.read_text()


def test_lists(capfd: Capture) -> None:
    for command, key, member in [
        ("targets", "targets", "npu"),
        ("formats", "formats", "mxfp8_e4m3"),
        ("passes", "passes", "mx-layout"),
        ("ops", "ops", "MatMul"),
    ]:
        assert main([command, "--json"]) == 0
        rows = json.loads(capfd.readouterr().out)[key]
        assert member in [row["name"] for row in rows]


def test_formats_table(capfd: Capture) -> None:
    assert main(["formats"]) == 0
    head, *lines = capfd.readouterr().out.splitlines()
    assert head.split()[:3] == ["name", "bits", "block"]
    cells = {line.split()[0]: line.split()[1:] for line in lines}
    assert cells["mxfp4"][:3] == ["4.25", "32", "e8m0"]
    assert cells["mxfp4"][-3:] == ["floor,rceil,even,ceil", "even", "yes"]
    assert cells["hifloat8"][-1] == "no"
    assert cells["deepseek_128x128"][1] == "128x128"


def test_a_value_explained(capfd: Capture) -> None:
    assert main(["formats", "--explain", "3.7", "--format", "mxfp4"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "mxfp4, even"
    assert lines[-1] == "4 * 1 = 4, an error of 0.3"
    for value in ("-0", "-3.7", "1e-300", "1e300"):
        assert main(["formats", "--explain", value, "--scale-rule", "floor", "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["scale_rule"] == "floor"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--explain", "x"], "--explain 'x' is no number"),
        (["--explain", "nan"], "nan makes the scale of its block NaN"),
        (["--explain", "inf"], "inf makes the scale of its block NaN"),
        (["--explain", "1", "--format", "mxfp5"], "the formats are mxfp8_e4m3, mxfp8_e5m2"),
        (["--explain", "1", "--format", "bf16"], "bf16 has no block scale"),
        (["--explain", "1", "--scale-rule", "up"], "known are floor, rceil, even, ceil"),
        (["--format", "mxfp4"], "are for --explain VALUE"),
    ],
)
def test_explaining_nonsense_is_an_error(options: list[str], message: str, capfd: Capture) -> None:
    assert main(["formats", *options]) == 2
    assert message in capfd.readouterr().err


# --- the user's mistakes: one line, exit status 2, nothing written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["complie"], "unknown command 'complie'; did you mean 'compile'?"),
        (["compile"], "MODEL.onnx"),
        (["compile", "m.onnx", "--fromat", "mxfp8"], "--fromat"),
        (["compile", "nowhere.onnx"], "nowhere.onnx"),
        (["verify", "nowhere.onnx"], "nowhere.onnx"),
        (["run", "nowhere"], "nowhere"),
        (["opt", "nowhere.mlir"], "nowhere.mlir: cannot read"),
    ],
)
def test_wrong_command_lines(capfd: Capture, arguments: list[str], message: str) -> None:
    fails(capfd, message, *arguments)


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--format", "mxfp9", "mxfp9"),
        ("--weights", "mxfp9", "mxfp9"),
        ("--scale-rule", "up", "up"),
        ("--float", "f8", "f8"),
        ("--layout", "best", "best"),
        ("--target", "npuu", "unknown target 'npuu'; did you mean 'npu'?"),
        ("--target", "nowhere.toml", "nowhere.toml"),
        ("--config", "nowhere.toml", "nowhere.toml"),
        ("--input-dim", "batch", "--input-dim 'batch' is not NAME=VALUE"),
        ("--input-dim", "batch=0", "a size is a positive integer"),
        ("--input-dim", "batch=-1", "a size is a positive integer"),
        ("--input-dim", "height=2", "height"),
        ("--input-value", "z=1", "'z'"),
        ("--stop-after", "mx-layuot", "did you mean 'mx-layout'?"),
    ],
)
def test_wrong_options(linear: Path, capfd: Capture, option: str, text: str, message: str) -> None:
    fails(capfd, message, "compile", linear, "-o", linear.parent / "out", option, text)
    assert sorted(p.name for p in linear.parent.iterdir()) == ["linear.onnx"]


def _not_onnx(path: Path) -> Path:
    path.write_text("this is not a model")
    return path


def _truncated(path: Path) -> Path:
    weights = [numpy_helper.from_array(np.ones((4, 8), np.float32), "w")]
    save(path, [helper.make_node("Add", ["x", "w"], ["y"])], [value("x", 4, 8)], weights)
    path.write_bytes(path.read_bytes()[:-40])
    return path


def _unknown_operator(path: Path) -> Path:
    node = helper.make_node("Frobnicate", ["x"], ["y"], name="odd/one")
    return save(path, [node], [value("x", 4, 8)])


def _unknown_domain(path: Path) -> Path:
    node = helper.make_node("FusedGelu", ["x"], ["y"], name="odd/one", domain="com.microsoft")
    return save(path, [node], [value("x", 4, 8)], domain="com.microsoft")


def _unpinned(path: Path) -> Path:
    return save(path, [helper.make_node("Relu", ["x"], ["y"])], [value("x", "batch", 8)])


def _cyclic(path: Path) -> Path:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    return save(path, nodes, [value("x", 4, 8)])


def _empty_dimension(path: Path) -> Path:
    return save(path, [helper.make_node("Relu", ["x"], ["y"])], [value("x", 0, 8)])


def _negative_dimension(path: Path) -> Path:
    return save(path, [helper.make_node("Relu", ["x"], ["y"])], [value("x", -1, 8)])


def _external(location: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        secret = path.parent.parent / "secret.bin"
        secret.write_bytes(bytes(4 * 32))
        if location == "link.bin":
            (path.parent / "link.bin").symlink_to(secret)
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 8])
        tensor.data_location = TensorProto.EXTERNAL
        where = str(secret) if location == "absolute" else location
        tensor.external_data.add(key="location", value=where)
        node = helper.make_node("Add", ["x", "w"], ["y"])
        return save(path, [node], [value("x", 4, 8)], [tensor])

    return make


def _absent_three_gigabytes(path: Path) -> Path:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3 << 28])
    node = helper.make_node("Add", ["x", "w"], ["y"])
    return save(path, [node], [value("x", 4, 8)], [tensor])


BAD_MODELS: list[tuple[str, Callable[[Path], Path], str]] = [
    ("not ONNX", _not_onnx, "m.onnx"),
    ("truncated", _truncated, "m.onnx"),
    ("unknown operator", _unknown_operator, "odd/one"),
    ("unknown domain", _unknown_domain, "com.microsoft"),
    ("unpinned dimension", _unpinned, "--input-dim batch=N"),
    ("cyclic", _cyclic, "cycl"),
    ("empty dimension", _empty_dimension, "x.0"),
    ("negative dimension", _negative_dimension, "x.0"),
    ("external data, absolute", _external("absolute"), "'w'"),
    ("external data, above", _external("../secret.bin"), "'w'"),
    ("external data, link", _external("link.bin"), "'w'"),
    ("external data, missing", _external("none.bin"), "'w'"),
    ("absent data", _absent_three_gigabytes, "'w'"),
]


@pytest.mark.parametrize(
    ("make", "message"),
    [pytest.param(make, message, id=name) for name, make, message in BAD_MODELS],
)
def test_bad_models(
    tmp_path: Path, capfd: Capture, make: Callable[[Path], Path], message: str
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    model = make(folder / "m.onnx")
    before = sorted(folder.iterdir())
    fails(capfd, message, "compile", model, "-o", folder / "out")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no array for 'x'"),
        ({"z": np.zeros((4, 32), np.float32)}, "no array for 'x'"),
        ({"x": np.zeros((4, 32), np.float32), "z": np.zeros(1)}, "'z' is no input"),
        ({"x": np.zeros((4, 32), np.float64)}, "float64"),
        ({"x": np.zeros((4, 31), np.float32)}, "31"),
        ({"x": np.zeros(4, np.float32)}, "x"),
    ],
)
def test_wrong_arrays(
    linear: Path, capfd: Capture, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(linear.parent / "in.npz", **arrays)
    for command in ("run", "verify"):
        fails(capfd, message, command, linear, "--inputs", linear.parent / "in.npz")


def test_unwritable_output(linear: Path, capfd: Capture) -> None:
    blocked = linear.parent / "file"
    blocked.write_text("")
    fails(capfd, "cannot write", "compile", linear, "-o", blocked / "out")
    fails(capfd, "is not a folder", "compile", linear, "-o", blocked)
    outputs = ["--outputs", str(blocked / "out.npz")]
    fails(capfd, "cannot write", "run", linear, *outputs)


def test_a_folder_that_is_no_artifact(tmp_path: Path, capfd: Capture) -> None:
    fails(capfd, "manifest.json", "run", tmp_path)


@pytest.mark.parametrize(
    ("text", "passes", "message"),
    [
        ("func.func @f(", "", "not a valid module"),
        ("func.func @f() { func.return }", "csee", "unknown pass 'csee'; did you mean 'cse'?"),
        ("func.func @f() { func.return }", "cse{x=1}", "unknown option of cse"),
        ("func.func @f() { func.return }", "mx-layout{policy=", "cannot read the passes"),
    ],
)
def test_wrong_ir(tmp_path: Path, capfd: Capture, text: str, passes: str, message: str) -> None:
    (tmp_path / "m.mlir").write_text(text)
    fails(capfd, message, "opt", tmp_path / "m.mlir", "-p", passes)


# --- our mistakes, interruption, start-up


def test_an_internal_error_leaves_a_reproducer(
    linear: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("mxc.passes.mx_layout.MxLayoutPass.apply", lambda *_: 1 / 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["compile", str(linear), "-o", str(tmp_path / "out")]) == 70
    assert "ZeroDivisionError" in capfd.readouterr().err
    (folder,) = tmp_path.glob("mxc-crash-*")
    files = {"traceback.txt", "command.txt", "linear.onnx", "mx-layout.mlir"}
    assert {p.name for p in folder.iterdir()} == files
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_compilation_leaves_nothing(linear: Path, number: int) -> None:
    """The signal comes while the artifact is being written: its folder lies beside, half done."""
    program = (
        "import sys, time, mxc.driver as d\n"
        "from mxc.cli import main\n"
        "load = d.backend_of\n"
        "def slow(target):\n"
        "    backend = load(target)\n"
        "    emit = backend.emit\n"
        "    def wait(*args, **kwargs):\n"
        "        files = emit(*args, **kwargs)\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "        return files\n"
        "    backend.emit = wait\n"
        "    return backend\n"
        "d.backend_of = slow\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", program, "compile", str(linear), "-o", "out"]
    with subprocess.Popen(
        command, cwd=linear.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "mxc: interrupted; nothing was written\n"
    assert [p.name for p in linear.parent.iterdir()] == ["linear.onnx"]


def test_help_is_quick() -> None:
    """No compiler is loaded to print a help text."""
    loaded = "import sys; sys.argv = ['mxc', '--help']\n"
    loaded += "from mxc.cli import main\n"
    loaded += "try: main()\nexcept SystemExit: pass\n"
    loaded += "print({'xdsl', 'numpy', 'onnx', 'rich'} & set(sys.modules))"
    start = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "set()"
    assert time.perf_counter() - start < 2
