"""The constants of a module as an `.npz`, beside its text.

A numpy array lies under its symbol; a block array under `symbol.codes`, `symbol.scales`,
`symbol.format`, `symbol.block` and `symbol.tensor_scale`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from mxc.constants import ConstantTable
from mxc.dialects import mx, npu
from mxc.errors import BadInput
from mxc.inputs import Array, read_npz, write_npz
from mxc.numerics import BlockArray, format_of


def save_constants(path: Path, ctx: Context, module: ModuleOp) -> None:
    """Writes the constants that `module` refers to."""
    table = ConstantTable.of(ctx)
    names = dict.fromkeys(
        op.key for op in module.walk() if isinstance(op, mx.ConstantOp | npu.ConstantOp)
    )
    arrays: dict[str, Array] = {}
    for name in names:
        arrays.update(_entries(name, table[name]))
    write_npz(path, arrays)


def _entries(name: str, value: Any) -> dict[str, Array]:
    if not isinstance(value, BlockArray):
        return {name: value}
    return {
        f"{name}.codes": value.codes,
        f"{name}.scales": value.scales,
        f"{name}.format": np.array(value.format.name),
        f"{name}.block": np.array(value.block, np.int64),
        f"{name}.tensor_scale": np.array(value.tensor_scale, np.float32),
    }


def load_constants(path: Path, ctx: Context) -> None:
    """Adds the constants in the file at `path` to the table of `ctx`.

    Raises:
        BadInput: if the file is not one that `save_constants` wrote.
    """
    table, arrays = ConstantTable.of(ctx), read_npz(path)
    for name in dict.fromkeys(key.partition(".")[0] for key in arrays):
        try:
            own = table.add(_value(name, arrays))
        except KeyError as error:
            raise BadInput(f"constant {name!r} lacks {error}", at=str(path)) from error
        if own != name:
            hint = "a symbol is the hash of its content"
            raise BadInput(f"constant {name!r} holds what {own!r} names", at=str(path), hint=hint)


def _value(name: str, arrays: dict[str, Array]) -> Any:
    if name in arrays:
        return arrays[name]
    return BlockArray(
        codes=arrays[f"{name}.codes"],
        scales=arrays[f"{name}.scales"],
        format=format_of(str(arrays[f"{name}.format"])),
        block=tuple(int(size) for size in arrays[f"{name}.block"]),
        tensor_scale=float(arrays[f"{name}.tensor_scale"]),
    )
