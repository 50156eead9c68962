"""`tile`: what is in DRAM passes through the scratchpad in tiles.

    npu.matmul %a, %w into %y {contract = "sequential"} : ...

with `%a` and `%y` in the scratchpad and `%w` in DRAM becomes, for each tile of the output,

    %s = npu.buffer {space = "scratchpad", offset = ..} : memref<64x16xf32, "scratchpad">
    npu.dma %w0, %s {channel = 0 : i64, purpose = "weights"} : ...
    npu.matmul %a, %s into %y0 {contract = "sequential"} : ...

Tiles are placed round and round in a part of the scratchpad (`_machine/ring.py`), so that the next
transfers can run while tiles are worked on: there are always at least two of each. Contractions are
cut along their output only (`_machine/contractions.py`, which also says how tile sizes are chosen),
vector operations along a parallel loop (`_machine/vector.py`); no sum is cut, so results stay the
same to the bit whatever the sizes are. What fits in no way, and what is in loops, works on DRAM.

The module gets the attribute `npu.tiles`: which tiles each contraction got, and why.

Precondition: `place`. Exact (`tests/backends/npu/test_targets.py`: random targets).
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, IntegerAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.dialects.memref import CopyOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from mxc.dialects.location import node_names
from mxc.dialects.npu import ConvOp, MatMulOp, queue_of
from mxc.errors import CannotLower
from mxc.passes._machine.contractions import tile_contraction
from mxc.passes._machine.machine import Machine
from mxc.passes._machine.ring import Ring
from mxc.passes._machine.tiling import Tiling
from mxc.passes._machine.vector import Written, tile_copy, tile_vector
from mxc.targets import load_target


@dataclass(frozen=True)
class TilePass(ModulePass):
    """What is in DRAM passes through the scratchpad in tiles."""

    name = "tile"

    target: str = "npu"
    """A shipped target, or a `.toml` file."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = Machine(load_target(self.target))
        ring = _ring(op)
        reasons: list[str] = []
        for function in op.ops:
            if isinstance(function, FuncOp):
                written: Written = {}
                for inner in list(function.body.block.ops):
                    if queue_of(inner) is not None:
                        _tile(inner, Tiling(machine, ring), written, reasons)
        op.attributes["npu.tiles"] = ArrayAttr([StringAttr(reason) for reason in reasons])


def _ring(module: ModuleOp) -> Ring:
    attribute = module.attributes.get("npu.ring")
    if not isinstance(attribute, DictionaryAttr):
        raise CannotLower("the module has no ring of tiles", hint="run place first")
    numbers = {k: v.value.data for k, v in attribute.data.items() if isinstance(v, IntegerAttr)}
    return Ring(numbers["start"], numbers["size"])


def _tile(op: Operation, tiling: Tiling, written: Written, reasons: list[str]) -> None:
    """Writes tiles in the place of `op`, if there are some."""
    if isinstance(op, MatMulOp | ConvOp):
        reason = tile_contraction(op, tiling, written)
        if reason is not None:
            reasons.append(f"{', '.join(node_names(op)) or op.name}: {reason}")
    elif not (isinstance(op, CopyOp) and tile_copy(op, tiling)):
        tile_vector(op, tiling, written)
    if not tiling.ops:
        return
    for new in tiling.ops:
        new.location = op.location
    Rewriter.insert_op(tiling.ops, InsertPoint.before(op))
    Rewriter.erase_op(op)
