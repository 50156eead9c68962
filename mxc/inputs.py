"""Arrays that go into a model and come out: `.npz` files, and seeded random data.

The keys of an `.npz` are the names of the model's inputs or outputs; a name with '/' may be spelt
with '__' in its place.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.artifact import write_file
from mxc.errors import BadInput

Array = NDArray[Any]


@dataclass(frozen=True)
class Port:
    """An input or output of a model: its name, element type and shape."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype.name}{list(self.shape)}"


def read_npz(path: Path) -> dict[str, Array]:
    """Every array of the file at `path`, by key.

    Raises:
        BadInput: if it is not an `.npz` of plain arrays.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream):
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
    except FileNotFoundError as error:
        raise BadInput("no such file", at=str(path)) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInput(f"not an .npz of plain arrays: {error}", at=str(path)) from error


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes `arrays` to `path`, '/' in a key as '__'; the same arrays give the same bytes.

    Types that numpy does not have (bf16, fp8) are written as the unsigned integers of their bits.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for key, array in arrays.items():
            plain = array if array.dtype.kind != "V" else array.view(f"u{array.itemsize}")
            entry = zipfile.ZipInfo(f"{spelling(key)}.npy")
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(plain), allow_pickle=False)
    write_file(path, stream.getvalue())


def spelling(name: str) -> str:
    """`name` as a key of an `.npz`: '/' would be a folder of the archive."""
    return name.replace("/", "__")


class Shapes(Mapping[str, tuple[int, ...]]):
    """The shapes of arrays, by the names of the model's inputs in either spelling."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays

    def __getitem__(self, name: str) -> tuple[int, ...]:
        if (key := _key(name, self.arrays)) is None:
            raise KeyError(name)
        return self.arrays[key].shape

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def match(ports: Sequence[Port], arrays: Mapping[str, Array]) -> tuple[Array, ...]:
    """The arrays for `ports`, in their order, each of exactly the declared type and shape.

    Raises:
        BadInput: on a missing or an extra key, a wrong type or a wrong shape.
    """
    keys = {port.name: _key(port.name, arrays) for port in ports}
    if missing := [name for name, key in keys.items() if key is None]:
        raise BadInput(f"no array for {_list(missing)}", hint=f"the file has {_list(arrays)}")
    if extra := [key for key in arrays if key not in keys.values()]:
        raise BadInput(f"{_list(extra)} is no input of the model", hint=f"inputs: {_list(keys)}")
    return tuple(_matched(port, arrays[str(keys[port.name])]) for port in ports)


def _key(name: str, arrays: Mapping[str, Array]) -> str | None:
    return next((key for key in (name, spelling(name)) if key in arrays), None)


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _matched(port: Port, array: Array) -> Array:
    """`array` if it fits `port`; unsigned integers may stand for the bits of bf16, fp8 ..."""
    bits = array.dtype.kind == "u" and port.dtype.kind == "V"
    if bits and array.itemsize == port.dtype.itemsize:
        array = array.view(port.dtype)
    if array.dtype != port.dtype:
        raise BadInput(f"{port.name!r} is {array.dtype.name}, the model wants {port}")
    if array.shape != port.shape:
        raise BadInput(f"{port.name!r} has shape {list(array.shape)}, the model wants {port}")
    return array


def random_inputs(ports: Sequence[Port], seed: int = 0) -> tuple[Array, ...]:
    """Seeded data of the declared types: floats from N(0, 1), integers 0 or 1, bools evenly.

    Small non-negative integers are valid as most things that integers mean in models: ids, indices,
    masks, lengths.
    """
    generator = np.random.default_rng(seed)
    return tuple(_random(port, generator) for port in ports)


def _random(port: Port, generator: np.random.Generator) -> Array:
    if port.dtype.kind in "iub" or "int" in port.dtype.name:
        return generator.integers(0, 2, port.shape).astype(port.dtype)
    return generator.standard_normal(port.shape).astype(port.dtype)
