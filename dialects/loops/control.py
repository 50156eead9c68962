"""Loops that run one after the other: `scf.for` carrying tensors, and windows that move with it.

def step(loops, i, carried):
    row = slice_at(loops, x, [i, 0], [1, n])
    return [insert_at(loops, row, carried[0], [i, 0])]

(y,) = repeat(loops, count, [y], step)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import scf, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, DenseArrayBase, IndexType, TensorType, i64
from xdsl.dialects.utils.dynamic_index_list import split_dynamic_index_list
from xdsl.ir import Block, Region, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.utils.hints import isa

from mxc.dialects.loops.scalar import Body, Scalar, constant_op
from mxc.dialects.loops.tensor import Loops, Tensor

Step = Callable[[Loops, Scalar, list[Tensor]], Sequence[Tensor]]
Offsets = Sequence[int | Scalar]


def repeat(loops: Loops, count: int, carried: Sequence[Tensor], step: Step) -> list[Tensor]:
    """`carried` after `step(loops, i, carried)` for i = 0 .. count - 1.

    `step` gets a builder for the loop's body and the index `i` as a Scalar whose body also takes
    scalar operations; it gives tensors of the types of `carried`.
    """
    block = Block(arg_types=[IndexType(), *(t.value.type for t in carried)])
    inside = Loops(InsertPoint.at_end(block), loops.constants, loops.location)
    index = Scalar(Body(block), block.args[0])
    arguments = [Tensor(arg, t.element) for arg, t in zip(block.args[1:], carried, strict=True)]
    results = step(inside, index, arguments)
    block.add_op(scf.YieldOp(*(t.value for t in results)))
    low, high, by = (loops.insert(constant_op(n, IndexType())) for n in (0, count, 1))
    op = scf.ForOp(low, high, by, [t.value for t in carried], Region(block))
    loops.insert(op)
    return [Tensor(value, t.element) for value, t in zip(op.results, carried, strict=True)]


def slice_at(loops: Loops, x: Tensor, offsets: Offsets, sizes: Sequence[int]) -> Tensor:
    """The window of `x` of `sizes` that begins at `offsets`, of which some may be Scalars."""
    assert isa(x.value.type, TensorType)
    kind = TensorType(x.value.type.element_type, sizes)
    op = tensor.ExtractSliceOp(x.value, _offsets(offsets), sizes, [1] * len(sizes), kind)
    return Tensor(loops.insert(op), x.element)


def insert_at(loops: Loops, source: Tensor, into: Tensor, offsets: Offsets) -> Tensor:
    """`into` with the window that begins at `offsets` replaced by `source`, of the same rank."""
    static, dynamic = split_dynamic_index_list(_offsets(offsets), DYNAMIC_INDEX)
    op = tensor.InsertSliceOp.build(
        operands=[source.value, into.value, dynamic, [], []],
        result_types=[into.value.type],
        properties={
            "static_offsets": DenseArrayBase.from_list(i64, static),
            "static_sizes": DenseArrayBase.from_list(i64, list(source.shape)),
            "static_strides": DenseArrayBase.from_list(i64, [1] * source.rank),
        },
    )
    return Tensor(loops.insert(op), into.element)


def _offsets(offsets: Offsets) -> list[SSAValue | int]:
    return [o.body.cast(o, IndexType()).value if isinstance(o, Scalar) else o for o in offsets]
