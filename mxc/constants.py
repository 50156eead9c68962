"""The constants of a module: arrays kept outside the IR, named by their content.

The IR refers to an array by symbol, `mx.constant @c_5f0c... : tensor<64x32xf32>`; the array itself
lies in the `ConstantTable` of the xDSL context that owns the module. Equal arrays share one entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context


class ConstantTable:
    """Content-hashed arrays: numpy arrays, or `mxc.numerics.BlockArray` for block tensors."""

    def __init__(self) -> None:
        self._entries: dict[str, Any] = {}

    @classmethod
    def of(cls, ctx: Context) -> ConstantTable:
        """The table that belongs to `ctx`, made at the first call."""
        table: ConstantTable = vars(ctx).setdefault("mxc_constants", cls())
        return table

    def add(self, value: Any) -> str:
        """Keeps `value` and gives its name, `c_` and 16 hex digits of its content's hash.

        A numpy array is made read-only; a memory-mapped one stays mapped.
        """
        name = f"c_{_digest(value)}"
        if name not in self._entries:
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            self._entries[name] = value
        return name

    def __getitem__(self, name: str) -> Any:
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _digest(value: Any) -> str:
    plain = isinstance(value, np.ndarray)
    arrays: list[NDArray[Any]] = [value] if plain else [value.codes, value.scales]
    tag = "" if plain else f"{value.format} {value.block} {value.tensor_scale}"
    digest = hashlib.sha256(tag.encode())
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:16]
