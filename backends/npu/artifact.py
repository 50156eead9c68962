"""The files of a compiled model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    IntegerAttr,
    ModuleOp,
    StringAttr,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation

from mxc.backends.npu.access import memref_of
from mxc.backends.npu.emitter import MachineEmitter, comment_text
from mxc.backends.npu.numbers import target_source
from mxc.backends.npu.text import HEADER, MAIN, MAKEFILE, SOURCE
from mxc.constants import ConstantTable
from mxc.dialects import npu
from mxc.dialects.npu.ops import Contraction
from mxc.dialects.types import numpy_dtype
from mxc.errors import BackendError, CannotLower
from mxc.numerics.c_source import HEADER_NAME, header_text
from mxc.targets import load_target

RUNTIME = ("mxnpu.h", "mxnpu_scalar.h")
"""Files of `runtime/` that are part of every artifact."""

HOST_HAL = ("mxnpu_host.c", "mxnpu_host.h", "mxnpu_timeline.c")
"""Files of `runtime/` that implement the HAL on hosts, unless a vendor has others."""


@dataclass(frozen=True)
class Interface:
    """An input or output: its name, dtype in the ONNX model, and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * np.dtype(_storage(self.dtype)).itemsize

    def as_json(self) -> dict[str, Any]:
        """The entry of the manifest."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}


def _storage(dtype: str) -> np.dtype[Any]:
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, dtype, None) or dtype)


@dataclass(frozen=True)
class Facts:
    """What the text of an artifact needs to know about its module."""

    model: str
    target: str
    inputs: tuple[Interface, ...]
    outputs: tuple[Interface, ...]
    arena: int
    scratchpad: int
    weights: int
    peak: int

    @classmethod
    def of(cls, module: ModuleOp) -> Facts:
        """The facts of a module that `plan-memory` has seen.

        Raises:
            BackendError: if it has not.
        """
        plan = module.attributes.get("npu.plan")
        if not isinstance(plan, DictionaryAttr):
            raise BackendError("the module has no memory plan", hint="run plan-memory first")
        numbers = {k: v.value.data for k, v in plan.data.items() if isinstance(v, IntegerAttr)}
        arguments = list(main_function(module).body.block.args)
        names = [_strings(module, f"mxc.{side}_names") for side in ("input", "output")]
        if len(arguments) != len(names[0]) + len(names[1]):
            raise BackendError(f"main has {len(arguments)} buffers for {names[0]} and {names[1]}")
        kinds = [*_types(module, "mxc.input_types"), *_types(module, "mxc.output_types")]
        elements = kinds or [memref_of(argument).element_type for argument in arguments]
        ports = [
            Interface(name, numpy_dtype(element).name, memref_of(argument).get_shape())
            for name, element, argument in zip(
                [*names[0], *names[1]], elements, arguments, strict=True
            )
        ]
        return cls(
            _string(module, "mxc.model", "model"),
            _string(module, "mxc.target", "npu"),
            tuple(ports[: len(names[0])]),
            tuple(ports[len(names[0]) :]),
            numbers["dram"],
            numbers["scratchpad"],
            numbers["weights"],
            numbers["dram_peak"],
        )


def main_function(module: ModuleOp) -> FuncOp:
    """The function `main`."""
    return next(op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data == "main")


def _string(module: ModuleOp, key: str, default: str) -> str:
    attribute = module.attributes.get(key)
    return attribute.data if isinstance(attribute, StringAttr) else default


def _strings(module: ModuleOp, key: str) -> list[str]:
    attribute = module.attributes.get(key)
    if not isinstance(attribute, ArrayAttr):
        raise BackendError(f"the module has no attribute {key}")
    return [
        one.data for one in cast(ArrayAttr[Attribute], attribute) if isinstance(one, StringAttr)
    ]


def _types(module: ModuleOp, key: str) -> list[Attribute]:
    """The element types that an interface has in the ONNX model, where the module says so."""
    attribute = module.attributes.get(key)
    return list(cast(ArrayAttr[Attribute], attribute)) if isinstance(attribute, ArrayAttr) else []


# -- weights


def weight_parts(ctx: Context, module: ModuleOp) -> Iterator[tuple[int, NDArray[Any]]]:
    """Offset and array of each constant of the weights, in order of offset, each once."""
    table = ConstantTable.of(ctx)
    seen = -1
    ops = [op for op in module.walk() if isinstance(op, npu.ConstantOp)]
    for op in sorted(ops, key=lambda op: _offset(op)):
        if _offset(op) <= seen:
            continue
        seen = _offset(op)
        yield seen, constant_array(table[op.key], op)


def constant_array(value: Any, op: npu.ConstantOp) -> NDArray[Any]:
    """The array that `op` stands for, of an entry of the table of constants.

    Raises:
        CannotLower: if its dtype or shape is not the operation's.
    """
    array: NDArray[Any] = value if op.part.data == "data" else getattr(value, op.part.data)
    shape, dtype = memref_of(op.result).get_shape(), numpy_dtype(memref_of(op.result).element_type)
    if array.shape != shape or array.dtype.itemsize != dtype.itemsize:
        raise CannotLower(f"constant {op.key} is {array.dtype}{array.shape}, not {op.result.type}")
    return array


def _offset(op: npu.ConstantOp) -> int:
    assert op.offset is not None, "plan-memory has run"
    return op.offset.value.data


def write_weights(ctx: Context, module: ModuleOp, path: Path, size: int) -> str:
    """Writes the weights file of `size` bytes; its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as stream:
        end = 0
        for offset, array in weight_parts(ctx, module):
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            for chunk in (memoryview(bytes(offset - end)), flat.data):
                stream.write(chunk)
                digest.update(chunk)
            end = offset + array.nbytes
        stream.write(rest := bytes(size - end))
        digest.update(rest)
    return digest.hexdigest()


def weights_source(path: Path, size: int) -> str:
    """The weights as a C array of 64-bit words, in the byte order of the machine that compiles.

    Words, so that the array is aligned for every element type; a union would not change that.
    """
    data = path.read_bytes()
    lines = [
        "  " + ", ".join(f"{byte}" for byte in data[i : i + 24]) + ","
        for i in range(0, len(data), 24)
    ]
    return "\n".join(
        [
            "/* Generated by mxc: the weights as an array, for memory that is mapped (flash). */",
            '#include "model.h"',
            "",
            "#if defined(__GNUC__)",
            "__attribute__((aligned(64)))",
            "#endif",
            f"const unsigned char mxc_main_weights[{max(size, 1)}] = {{",
            *(lines or ["  0,"]),
            "};",
            "",
        ]
    )


# -- the folder


def write(
    ctx: Context,
    module: ModuleOp,
    folder: Path,
    weights: str = "bin",
    hal: Mapping[str, str] | None = None,
) -> None:
    """Writes the artifact of a module of the machine level into `folder`.

    `weights` is "bin", or "c" for an array in `weights.c` beside the file. `hal` has the names and
    texts of the C files that implement `mxnpu.h`; default: those of the host.
    """
    runtime = files("mxc.backends.npu").joinpath("runtime")
    if hal is None:
        hal = {name: runtime.joinpath(name).read_text() for name in HOST_HAL}
        numbers = load_target(_string(module, "npu.target", "npu"))
        hal["target.c"] = target_source(numbers)
    sources = sorted(name for name in hal if name.endswith(".c"))
    facts = Facts.of(module)
    emitter = MachineEmitter(main_function(module), len(facts.inputs))
    digest = write_weights(ctx, module, folder / "weights.bin", facts.weights)
    texts = {
        "model.c": _source(facts, emitter),
        "model.h": _header(facts, weights == "c"),
        "main.c": MAIN,
        "Makefile": _makefile([*sources, *(["weights.c"] if weights == "c" else [])]),
        HEADER_NAME: header_text(),
    }
    texts |= {name: runtime.joinpath(name).read_text() for name in RUNTIME} | {**hal}
    if weights == "c":
        texts["weights.c"] = weights_source(folder / "weights.bin", facts.weights)
    for name, text in texts.items():
        (folder / name).write_text(text)
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    manifest = {"hal": sources, **_manifest(facts, module, {**hashes, "weights.bin": digest})}
    manifest["layers"] = emitter.layers
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def _makefile(sources: Sequence[str]) -> str:
    return MAKEFILE.replace("@SOURCES@", " ".join(["model.c", *sources]))


def _source(facts: Facts, emitter: MachineEmitter) -> str:
    pointers = [
        f"  {'const ' if side == 'in' else ''}unsigned char *const {side}{i} = "
        f"({'const ' if side == 'in' else ''}unsigned char *){side}puts[{i}];"
        for side, ports in (("in", facts.inputs), ("out", facts.outputs))
        for i in range(len(ports))
    ]
    used = "\n".join(emitter.main.lines)
    return (
        SOURCE.replace("@MODEL@", comment_text(facts.model))
        .replace("@FUNCTIONS@", "\n".join(emitter.functions))
        .replace("@POINTERS@", "\n".join(pointers))
        .replace("@VOID@", "\n".join(_unused(facts, used)))
        .replace("@BODY@", used)
    )


def _unused(facts: Facts, body: str) -> list[str]:
    """Statements that mention variables which the body does not."""
    names = ["arena", "scratchpad", "weights", "device"]
    names += [f"in{i}" for i in range(len(facts.inputs))]
    names += [f"out{i}" for i in range(len(facts.outputs))]
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return [f"  (void){name};" for name in names if name not in words]


def _header(facts: Facts, with_weights: bool) -> str:
    rows = [
        f" *   {side}puts[{i}]  {port.dtype}{list(port.shape)}, {port.size} bytes: "
        f"{comment_text(port.name)}"
        for side, ports in (("in", facts.inputs), ("out", facts.outputs))
        for i, port in enumerate(ports)
    ]
    declared = "extern const unsigned char mxc_main_weights[];\n\n" if with_weights else ""
    sizes = [
        f"#define MXC_MAIN_{side}PUT_SIZES {{{', '.join(str(p.size) for p in ports) or '0'}}}"
        for side, ports in (("IN", facts.inputs), ("OUT", facts.outputs))
    ]
    return (
        HEADER.replace("@MODEL@", comment_text(facts.model))
        .replace("@PORTS@", "\n".join(rows))
        .replace("@INPUTS@", str(len(facts.inputs)))
        .replace("@OUTPUTS@", str(len(facts.outputs)))
        .replace("@ARENA@", str(facts.arena))
        .replace("@SCRATCHPAD@", str(facts.scratchpad))
        .replace("@WEIGHTS@", str(facts.weights))
        .replace("@SIZES@", "\n".join(sizes))
        .replace("@DECLARED@", declared)
    )


def _manifest(facts: Facts, module: ModuleOp, hashes: dict[str, str]) -> dict[str, Any]:
    from mxc import __version__

    return {
        "mxc": __version__,
        "model": facts.model,
        "target": facts.target,
        "inputs": [port.as_json() for port in facts.inputs],
        "outputs": [port.as_json() for port in facts.outputs],
        "arena_bytes": facts.arena,
        "arena_lower_bound_bytes": facts.peak,
        "scratchpad_bytes": facts.scratchpad,
        "weights_bytes": facts.weights,
        **_numerics(module),
        "sha256": dict(sorted(hashes.items())),
    }


def _numerics(module: ModuleOp) -> dict[str, list[str]]:
    """The formats, recipes and contracts that the module uses."""
    formats: set[str] = set()
    recipes: set[str] = set()
    contracts: set[str] = set()
    for op in module.walk():
        formats |= set(_formats(op))
        if isinstance(op, npu.QuantizeOp | npu.RequantizeOp):
            recipes.add(str(op.recipe))
        if isinstance(op, Contraction):
            contracts.add(op.contract.data)
    return {
        "formats": sorted(formats),
        "recipes": sorted(recipes),
        "contracts": sorted(contracts),
    }


def _formats(op: Operation) -> Iterator[str]:
    for key in ("format", "source_format", "lhs_format", "rhs_format"):
        value = op.properties.get(key)
        if isinstance(value, StringAttr) and op.name.startswith("npu."):
            yield value.data
