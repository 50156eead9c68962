"""Many artifacts built at once, and found again."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, save

from mxc.backends.npu import NpuBackend, batch
from mxc.backends.npu.build import Program
from mxc.driver import Options, compile_model
from mxc.errors import BackendError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    batch.cache_folder.cache_clear()
    folder = batch.cache_folder()
    yield folder  # type: ignore[misc]
    batch.cache_folder.cache_clear()


def artifact(folder: Path, *ops: str) -> Path:
    """A chain of unary operators on 8 numbers."""
    names = [f"t{i}" for i in range(len(ops) + 1)]
    nodes = [helper.make_node(op, [names[i]], [names[i + 1]]) for i, op in enumerate(ops)]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [8]) for n in names]
    graph = helper.make_graph(nodes, "-".join(ops), infos[:1], infos[-1:])
    folder.mkdir(parents=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), folder / "m.onnx")
    compile_model(folder / "m.onnx", folder / "c", Options(format="f32"))
    return folder / "c"


X = np.linspace(-2, 2, 8, dtype=np.float32)


def outputs(programs: Any) -> list[NDArray[Any]]:
    return [program(X)[0] for program in programs]


def test_each_artifact_is_its_own(tmp_path: Path) -> None:
    folders = [artifact(tmp_path / "0", "Abs"), artifact(tmp_path / "1", "Relu", "Neg")]
    folders.append(folders[0])
    got = outputs(batch.load_all(folders))
    np.testing.assert_array_equal(got, [np.abs(X), -np.maximum(X, 0), np.abs(X)])


def test_what_was_built_is_found_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [artifact(tmp_path / "0", "Abs"), artifact(tmp_path / "1", "Neg")]
    batch.load_all(folders)

    def no_compiler(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(batch, "compile_c", no_compiler)
    got = outputs(batch.load_all(folders[::-1]))
    np.testing.assert_array_equal(got, [-X, np.abs(X)])
    assert len(list(cache.glob("*.so"))) == 1


def test_changed_code_is_built_anew(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "0", "Abs")
    batch.load_all([folder])
    for name in ("model.c", "mxnpu.h"):
        before = batch._key(folder)
        (folder / name).write_text((folder / name).read_text() + "\n/* changed */\n")
        assert batch._key(folder) != before


def test_one_that_does_not_build_spoils_no_other(tmp_path: Path) -> None:
    folders = [artifact(tmp_path / str(i), op) for i, op in enumerate(("Abs", "Neg", "Relu"))]
    (folders[1] / "model.c").write_text("int wrong(void) { return missing; }\n")
    abs_, bad, relu = batch.load_all(folders)
    assert isinstance(bad, BackendError)
    assert "missing" in str(bad)
    np.testing.assert_array_equal(outputs([abs_, relu]), [np.abs(X), np.maximum(X, 0)])


def test_the_old_is_forgotten(tmp_path: Path, cache: Path) -> None:
    old = cache / "old.so"
    old.write_bytes(b"")
    past = time.time() - (batch.KEPT_DAYS + 1) * 86400
    os.utime(old, (past, past))
    batch.load_all([artifact(tmp_path / "0", "Abs")])
    assert not old.exists()
    assert len(list(cache.iterdir())) == 2


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    batch.cache_folder.cache_clear()
    (program,) = batch.load_all([artifact(tmp_path / "0", "Abs")])
    np.testing.assert_array_equal(outputs([program]), [np.abs(X)])


def test_a_vendors_way_to_load_is_respected(tmp_path: Path) -> None:
    class Own(NpuBackend):
        def load(self, folder: Path) -> Any:
            if folder.name == "bad":
                raise BackendError("no device")
            return Program(folder)

    good, bad = Own().load_all([artifact(tmp_path / "0", "Abs"), tmp_path / "bad"])
    np.testing.assert_array_equal(outputs([good]), [np.abs(X)])
    assert str(bad) == "no device"
