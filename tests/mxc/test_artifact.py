"""Output appears whole or not at all."""

from pathlib import Path

import pytest

from mxc.artifact import atomic_folder, check_destination, is_artifact, write_file
from mxc.errors import BadInput


def make_artifact(path: Path, text: str) -> None:
    with atomic_folder(path) as folder:
        (folder / "manifest.json").write_text('{"mxc": "0.1.0"}')
        (folder / "model.c").write_text(text)


def test_the_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a" / "out") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "x").read_text() == "1"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["out"]


def test_an_artifact_is_replaced_as_a_whole(tmp_path: Path) -> None:
    make_artifact(tmp_path / "out", "old")
    (tmp_path / "out" / "stale").write_text("")
    make_artifact(tmp_path / "out", "new")
    assert is_artifact(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["manifest.json", "model.c"]
    assert (tmp_path / "out" / "model.c").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def _fail_while_writing(path: Path, error: type[BaseException]) -> None:
    with atomic_folder(path) as folder:
        (folder / "model.c").write_text("new")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    make_artifact(tmp_path / "out", "old")
    with pytest.raises(error):
        _fail_while_writing(tmp_path / "out", error)
    assert (tmp_path / "out" / "model.c").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_other_peoples_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(BadInput, match="holds files that mxc did not write"):
        check_destination(tmp_path)


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    make_artifact(tmp_path, "new")
    assert (tmp_path / "model.c").is_file()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_or_link_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    path.write_text("mine") if kind == "file" else path.symlink_to(tmp_path)
    with pytest.raises(BadInput, match="is not a folder"):
        check_destination(path)


def test_an_unwritable_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write"), atomic_folder(tmp_path / "file" / "out"):
        pass


def test_write_file_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"1")
    write_file(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"2"
    assert len(list(tmp_path.iterdir())) == 1


def test_write_file_into_nowhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot write"):
        write_file(tmp_path / "no" / "a", b"")
