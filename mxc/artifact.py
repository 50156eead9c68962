"""Output that appears whole or not at all.

A folder is written beside its destination and renamed into place; whatever ends the writing early,
an error or Ctrl-C, removes it and leaves what was there before untouched.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mxc.errors import BadInput

MANIFEST = "manifest.json"
"""The file that marks a folder as an artifact of mxc: its object has the key `mxc`."""


def is_artifact(folder: Path) -> bool:
    """Whether `folder` was written by `mxc compile`."""
    try:
        return "mxc" in read_manifest(folder)
    except BadInput:
        return False


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the artifact in `folder`.

    Raises:
        BadInput: if there is none, or it is not one of mxc's.
    """
    try:
        manifest: dict[str, Any] | None = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        hint = "give a folder that `mxc compile` wrote"
        raise BadInput(f"no readable {MANIFEST}: {error}", at=str(folder), hint=hint) from error
    if not isinstance(manifest, dict):
        raise BadInput(f"{MANIFEST} is not an object", at=str(folder))
    return manifest


def check_destination(path: Path) -> None:
    """Makes sure that `path` may become an artifact.

    Raises:
        BadInput: if it is a file, a link, or a folder of something else.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise BadInput("the output exists and is not a folder", at=str(path))
    if path.is_dir() and any(path.iterdir()) and not is_artifact(path):
        hint = "choose another folder with -o, or empty this one"
        raise BadInput(
            "the output folder holds files that mxc did not write", at=str(path), hint=hint
        )


@contextmanager
def atomic_folder(path: Path) -> Generator[Path]:
    """An empty folder to fill, which becomes `path` when the block ends without an exception.

    An artifact that lies at `path` is replaced as a whole.

    Raises:
        BadInput: if `path` is taken by something else, or cannot be written.
    """
    check_destination(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(
            tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".mxc-partial", dir=path.parent)
        )
    except OSError as error:
        raise BadInput(f"cannot write the output: {error.strerror}", at=str(path)) from error
    try:
        beside.chmod(0o755)
        yield beside
        _replace(path, beside)
    except OSError as error:
        raise BadInput(f"cannot write the output: {error}", at=str(path)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _replace(path: Path, new: Path) -> None:
    """Renames the folder `new` to `path`; an old folder there is moved aside, then removed."""
    if not path.exists():
        new.rename(path)
        return
    old = new.with_suffix(".mxc-old")
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old)


def write_file(path: Path, content: bytes) -> None:
    """Writes `content` to the file `path`, whole or not at all.

    Raises:
        BadInput: if it cannot be written.
    """
    beside: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as stream:
            beside = Path(stream.name)
            stream.write(content)
        beside.chmod(0o644)
        beside.rename(path)
    except OSError as error:
        raise BadInput(f"cannot write: {error.strerror}", at=str(path)) from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)
