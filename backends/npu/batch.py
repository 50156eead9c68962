"""Many artifacts in one run of the C compiler, whose results are kept for the next time.

The headers of a small artifact cost the compiler more than its code. So the sources of a batch
become one file, in which what each declares at file scope has the artifact's own prefix, and the
headers are read once. The prefix is a digest of everything the code depends on: an artifact that
has been built before, in any batch, is found in the cache, `mxc` in the user's cache folder.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from mxc.backends.npu.build import FLAGS, Program, compile_c, compiler, hal_object, objects_folder
from mxc.errors import BackendError

KEPT_DAYS = 30
"""What has not been used for so long leaves the cache."""


def load_all(folders: Sequence[Path]) -> list[Program | BackendError]:
    """The artifacts in `folders`, built and loaded; for one that does not build, why."""
    keys = [_key(folder) for folder in folders]
    missing = {key: folder for key, folder in zip(keys, folders, strict=True) if not _found(key)}
    by_hal: dict[str, dict[str, Path]] = {}
    for key, folder in missing.items():
        by_hal.setdefault(_hal_digest(folder), {})[key] = folder
    for group in by_hal.values():
        _build(group)
    _forget_the_old()
    return [_loaded(key, folder) for key, folder in zip(keys, folders, strict=True)]


def _loaded(key: str, folder: Path) -> Program | BackendError:
    library = _found(key)
    try:
        if library is None:  # does not build, or not among others
            return Program(folder)
        os.utime(library)
        return Program(folder, run=getattr(_opened(library), f"{key}_mxc_main_run"))
    except BackendError as error:
        return error


@cache
def _opened(library: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(library))


# The cache: `KEY` holds the name of the library that has the functions of the artifact KEY.


@cache
def cache_folder() -> Path:
    """Where libraries are kept; one of this process if the user has no such place."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = base / "mxc" / "c"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return objects_folder()


def _found(key: str) -> Path | None:
    """The library that has the artifact `key`."""
    try:
        library = cache_folder() / (cache_folder() / key).read_text()
    except OSError:
        return None
    return library if library.exists() else None


def _forget_the_old() -> None:
    limit = time.time() - KEPT_DAYS * 86400
    for path in sorted(cache_folder().iterdir()):
        with suppress(OSError):  # another process has been faster
            if path.stat().st_mtime < limit:
                path.unlink()


@cache
def _compiler_identity() -> bytes:
    """The compiler, its version and the instructions it may use: all that it predefines."""
    command = [*compiler().split(), *FLAGS, "-dM", "-E", "-x", "c", os.devnull]
    return subprocess.run(command, capture_output=True, check=False).stdout


def _key(folder: Path) -> str:
    """A name for the compiled code of an artifact, by all that it depends on."""
    digest = hashlib.sha256(_compiler_identity() + repr((compiler(), FLAGS)).encode())
    digest.update(_hal_digest(folder).encode())
    for name in ("model.h", "model.c"):
        digest.update((folder / name).read_bytes())
    return f"k{digest.hexdigest()[:24]}"


def _hal_digest(folder: Path) -> str:
    """What an artifact shares with others: its HAL, and the headers."""
    digest = hashlib.sha256()
    names = {path.name for path in folder.glob("*.h")} - {"model.h"}
    for name in sorted({*names, *_hal(folder)}):
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes())
    return digest.hexdigest()


def _hal(folder: Path) -> list[str]:
    names: list[str] = json.loads((folder / "manifest.json").read_text())["hal"]
    return names


# The file of a batch.


def _build(group: dict[str, Path]) -> None:
    """Builds artifacts that share a HAL; halves of them if they do not build together."""
    with suppress(BackendError):
        _build_together(group)
        return
    if len(group) > 1:
        items = list(group.items())
        for half in (items[: len(items) // 2], items[len(items) // 2 :]):
            _build(dict(half))


def _build_together(group: dict[str, Path]) -> None:
    some = next(iter(group.values()))
    objects = [str(hal_object(some, name, ())) for name in _hal(some)]
    name = f"{hashlib.sha256(repr(sorted(group)).encode()).hexdigest()[:24]}.so"
    with tempfile.TemporaryDirectory(prefix="batch-", dir=objects_folder()) as temporary:
        source = Path(temporary) / "batch.c"
        source.write_text("".join(_renamed(folder, key) for key, folder in group.items()))
        library = Path(temporary) / name
        out = ["-shared", "-o", str(library), f"-I{some}", str(source)]
        compile_c(some, [*out, *objects, "-lm"])
        _keep(library.read_bytes(), name)
    for key in group:
        _keep(name.encode(), key)


def _keep(data: bytes, name: str) -> None:
    """Puts a file into the cache, as a whole."""
    with tempfile.NamedTemporaryFile(dir=cache_folder(), delete=False) as stream:
        stream.write(data)
    os.replace(stream.name, cache_folder() / name)


_DECLARED = re.compile(r"^static\s[^=;({\[]*?(\w+)\s*[=;(\[]", re.MULTILINE)


def _renamed(folder: Path, key: str) -> str:
    """The source of an artifact, with its header, whose names all begin with `key`."""
    source = (folder / "model.c").read_text()
    header = (folder / "model.h").read_text()
    text = source.replace('#include "model.h"', header)
    static = sorted(set(_DECLARED.findall(source)))
    pattern = "|".join(["mxc_main_", "MXC_MAIN_", *(rf"{name}\b" for name in static)])
    return re.sub(rf"\b({pattern})", rf"{key}_\1", text)
