"""Compiles an artifact on the host and calls it."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from mxc.backends.npu.timeline import Recorder, Timeline
from mxc.errors import BackendError, BadInput

Array = NDArray[Any]

ALIGNMENT = 64


class _Memory(ctypes.Structure):
    """`mxc_main_memory` of model.h."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("arena", ctypes.c_void_p),
        ("scratchpad", ctypes.c_void_p),
        ("device", ctypes.c_void_p),
    )


def compiler() -> str:
    """The C compiler: $CC, cc or gcc.

    Raises:
        BackendError: if there is none.
    """
    for name in (os.environ.get("CC", ""), "cc", "gcc"):
        if name and shutil.which(name.split()[0]):
            return name
    raise BackendError("no C compiler found", hint="install gcc or clang, or set CC")


def build(folder: Path, target: Path, flags: Sequence[str] = ()) -> None:
    """Compiles the artifact in `folder` to the shared library `target`, with the Makefile's flags.

    `flags` are added; they come last and so win.

    Raises:
        BackendError: with the compiler's first complaint.
    """
    hal = json.loads((folder / "manifest.json").read_text())["hal"]
    objects = [str(hal_object(folder, name, tuple(flags))) for name in hal]
    sources = [str(folder / "model.c"), *objects]
    compile_c(folder, ["-shared", *flags, "-o", str(target), *sources, "-lm"])


def compile_c(folder: Path, arguments: Sequence[str]) -> None:
    """Runs the compiler with the flags of the Makefile; `folder` is what errors are about.

    Raises:
        BackendError: with the compiler's first complaint.
    """
    command = [*compiler().split(), *FLAGS, "-fPIC", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        first = next((x for x in result.stderr.splitlines() if "error" in x), result.stderr[:200])
        raise BackendError(f"the C compiler failed: {first}", at=str(folder))


def hal_object(folder: Path, name: str, flags: tuple[str, ...]) -> Path:
    """A source of the HAL, compiled once per process for all artifacts that have the same."""
    digest = hashlib.sha256(repr((compiler(), flags)).encode())
    for source in sorted({folder / name, *folder.glob("*.h")} - {folder / "model.h"}):
        digest.update(source.read_bytes())
    target = objects_folder() / f"{digest.hexdigest()}.o"
    if not target.exists():
        compile_c(folder, [*flags, "-c", "-o", str(target), str(folder / name)])
    return target


@cache
def objects_folder() -> Path:
    """A folder that lives as long as the process."""
    folder = Path(mkdtemp(prefix="mxc-objects-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


FLAGS = (
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Werror",
    "-O3",
    "-march=native",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-fno-math-errno",
    "-fno-trapping-math",
)
"""The flags of the artifact's Makefile."""


class Program:
    """A compiled model in this process. Each call has its own arena."""

    def __init__(self, folder: Path, flags: Sequence[str] = (), run: Any = None) -> None:
        """Builds the artifact in `folder`, unless its function `mxc_main_run` is given."""
        self._library = _built(folder, flags) if run is None else None
        self._run: Any = run if self._library is None else self._library.mxc_main_run
        self._manifest = json.loads((folder / "manifest.json").read_text())
        self._weights = _aligned(self._manifest["weights_bytes"])
        self._weights[:] = np.fromfile(folder / "weights.bin", np.uint8)

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """The outputs for `inputs`, in the order of the manifest.

        Raises:
            BadInput: if an array has the wrong type or shape.
            BackendError: if the model refuses its memory.
        """
        return self._call(_Buffers(self._manifest, inputs), None)

    def profile(self, *inputs: Array, check: bool = False) -> tuple[tuple[Array, ...], Timeline]:
        """The outputs, and the timeline of the run on the target; `check` finds misuse of the HAL.

        Raises:
            BadInput: if an array has the wrong type or shape.
            BackendError: if the model refuses its memory, or a check fails.
        """
        if self._library is None or "mxnpu_timeline.c" not in self._manifest["hal"]:
            raise BackendError("only an artifact of its own with the HAL for hosts has a timeline")
        buffers, capacity = _Buffers(self._manifest, inputs), COMMANDS
        memories = [
            *buffers.memories(),
            (self._weights.ctypes.data, self._weights.size, False, False),
        ]
        while True:
            recorder = Recorder(self._library, memories, capacity, check)
            outputs = self._call(buffers, ctypes.addressof(recorder.device))
            if recorder.is_complete:
                return outputs, recorder.timeline(tuple(self._manifest["layers"]))
            capacity *= 4

    def _call(self, buffers: _Buffers, device: int | None) -> tuple[Array, ...]:
        memory = _Memory(
            self._weights.ctypes.data,
            buffers.arena.ctypes.data,
            buffers.scratchpad.ctypes.data,
            device,
        )
        given, outputs = _pointers(buffers.inputs), _pointers(buffers.outputs)
        code: int = self._run(ctypes.byref(memory), given, outputs)
        if code != 0:
            raise BackendError(f"the model refused its memory: {code}")
        shapes = [port["shape"] for port in self._manifest["outputs"]]
        return tuple(out.reshape(s) for out, s in zip(buffers.outputs, shapes, strict=True))


COMMANDS = 1 << 14
"""Commands that a profile has room for at first."""


class _Buffers:
    """The memory of one run, besides the weights."""

    def __init__(self, manifest: dict[str, Any], inputs: Sequence[Array]) -> None:
        ports = zip(inputs, manifest["inputs"], strict=True)
        self.inputs = [_fit(array, port) for array, port in ports]
        self.outputs = [_output(port) for port in manifest["outputs"]]
        self.arena = _aligned(manifest["arena_bytes"])
        self.scratchpad = _aligned(manifest["scratchpad_bytes"])

    def memories(self) -> list[tuple[int, int, bool, bool]]:
        """Address, bytes, whether it may be written, whether it is the scratchpad."""
        rows = [(x, False, False) for x in self.inputs]
        rows += [(x, True, False) for x in (*self.outputs, self.arena)]
        rows.append((self.scratchpad, True, True))
        return [(x.ctypes.data, x.nbytes, writable, fast) for x, writable, fast in rows]


def _built(folder: Path, flags: Sequence[str]) -> ctypes.CDLL:
    with TemporaryDirectory(prefix="mxc-build-") as temporary:  # once loaded, the file may go
        library = Path(temporary) / "model.so"
        build(folder, library, flags)
        return ctypes.CDLL(str(library))


def _pointers(arrays: Sequence[Array]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * max(len(arrays), 1))(*(array.ctypes.data for array in arrays))


def _aligned(size: int) -> NDArray[np.uint8]:
    """`size` bytes at a multiple of 64, full of 0xA5."""
    raw = np.full(size + ALIGNMENT, 0xA5, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def _output(port: dict[str, Any]) -> Array:
    dtype = _dtype(port["dtype"])
    return _aligned(int(np.prod(port["shape"], dtype=np.int64)) * dtype.itemsize).view(dtype)


def _fit(array: Array, port: dict[str, Any]) -> Array:
    """`array` at an aligned address, if it is what the port wants; signs of integers are free."""
    dtype = _dtype(port["dtype"])
    same_bits = array.dtype.kind in "iu" and dtype.kind in "iu"
    same_bits = same_bits and array.dtype.itemsize == dtype.itemsize
    if array.shape != tuple(port["shape"]) or (array.dtype != dtype and not same_bits):
        found, wanted = f"{array.dtype}{list(array.shape)}", f"{dtype}{port['shape']}"
        raise BadInput(f"is {found}, not {wanted}", at=f"input {port['name']!r}")
    copy = _aligned(array.nbytes)
    copy[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return copy
