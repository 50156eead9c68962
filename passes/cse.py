"""`cse`: of equal operations on equal operands, one is kept.

    %a = onnx.Exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
    %b = onnx.Exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
    %c = onnx.Add(%a, %b) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>

becomes `onnx.Add(%a, %a)`. Exact: an operation that only computes has one value. The kept one is
the first, which comes before every use of the others; it takes on their node names. An operation
seen in a block is known in the regions inside, not outside, except that a loop body keeps its own
constants. `tensor.empty` and `linalg.fill` are not shared: what loops write to must stay apart, or
a buffer becomes a copy.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Hashable, MutableMapping

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.dialects.tensor import EmptyOp
from xdsl.ir import Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.traits import IsolatedFromAbove

from mxc.dialects.location import locate, node_names
from mxc.passes._effects import is_pure

Known = MutableMapping[Hashable, Operation]


class CsePass(ModulePass):
    """Keeps one of several operations that compute the same value."""

    name = "cse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        _simplify(op.body, {})


def _simplify(region: Region, outer: Known) -> None:
    for block in region.blocks:
        known: Known = ChainMap({}, outer)
        for op in list(block.ops):
            isolated = op.has_trait(IsolatedFromAbove) or isinstance(op, GenericOp)
            for inner in op.regions:
                _simplify(inner, {} if isolated else known)
            if is_pure(op) and not isinstance(op, EmptyOp | FillOp):
                _share(op, known)


def _share(op: Operation, known: Known) -> None:
    first = known.setdefault(_key(op, {}), op)
    if first is op:
        return
    first.location = locate((*node_names(first), *node_names(op)))
    for old, new in zip(op.results, first.results, strict=True):
        old.replace_all_uses_with(new)
    assert op.parent is not None
    op.parent.erase_op(op)


def _key(op: Operation, inside: dict[SSAValue, int]) -> Hashable:
    """Equal for operations that compute the same; `inside` numbers the values of the regions."""
    operands = tuple(inside.get(v, v) for v in op.operands)
    attributes = (frozenset(op.properties.items()), frozenset(op.attributes.items()))
    types = tuple(op.result_types)
    body: list[Hashable] = []
    for region in op.regions:
        for block in region.blocks:
            for arg in block.args:
                inside[arg] = len(inside)
            body.append(tuple(arg.type for arg in block.args))
            body += [_key(inner, inside) for inner in block.ops]
    for result in op.results if inside else ():
        inside[result] = len(inside)
    return (op.name, operands, attributes, types, tuple(body))
