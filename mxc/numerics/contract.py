"""Contractions: sums of products in a named order, with a named rounding after each step.

Three contracts say what the sum over `k` means. The accumulator is f32 and starts at +0.

* `block-exact`, for two block operands: for each step of 32 in ascending `k` (fewer where a block
  is shorter, so that both scales are constant within a step), the exact sum of the products times
  both scales is rounded once to f32 (to nearest even) and added to the accumulator, which rounds
  again. It does not depend on tiles or on the order within a block. Tensor scales (NVFP4) are
  multiplied together in f32, and onto the result at the end.
* `sequential`: for each `k` in ascending order the product is rounded to f32, then the sum. Block
  operands take part with their f32 values.
* `sequential-fma`: the same with one rounding of `acc + a * b`. Equal to `sequential` where the
  products are exact, as with at most 12 significant bits in each factor.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from mxc.errors import BadInput
from mxc.numerics.accumulate import Terms, accumulate
from mxc.numerics.blocks import BlockArray, scale_values, spread
from mxc.numerics.dots import BUILT_IN, PAIR, known_contracts, registered_contract, takes_floats
from mxc.numerics.exact import exact_values, split

Array = NDArray[Any]
Operand = BlockArray | Array

CONTRACTS = BUILT_IN
"""The contracts named above; vendors register others, see `mxc.numerics.dots`."""

STEP = 32
"""The most products that `block-exact` adds before it rounds."""

_FLOATS = (np.dtype("f4"), np.dtype("f2"), np.dtype(ml_dtypes.bfloat16))


def matmul(a: Operand, b: Operand, contract: str = "block-exact") -> NDArray[np.float32]:
    """`a` [..., M, K] times `b` [..., K, N] in f32, [..., M, N]; leading axes broadcast.

    Float operands are f32, f16 or bf16.

    Raises:
        BadInput: for shapes that do not fit, an unknown contract, float operands in `block-exact`.
    """
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise BadInput(f"cannot multiply {a.shape} by {b.shape}")
    depth = a.shape[-1]
    step = step_of(contract, (a, -1), (b, -2))
    bounds = [*range(0, depth, step), depth]
    with np.errstate(all="ignore"):
        lhs, rhs = operands(a, b, contract, step)
        batch, stacked = _stack(lhs, rhs)
        terms = Terms(stacked[:-1], stacked[-1], bounds, contract)
        result = accumulate(terms).reshape(*batch, a.shape[-2], b.shape[-1])
        return finish(result, a, b, contract)


def dot(a: Operand, b: Operand, contract: str = "block-exact") -> NDArray[np.float32]:
    """The dot products of `a` and `b`, both [..., K], along the last axis: [...]."""
    if a.ndim < 1 or a.shape != b.shape:
        raise BadInput(f"cannot take the dot product of {a.shape} and {b.shape}")
    return matmul(_with_axis(a, -2), _with_axis(b, -1), contract)[..., 0, 0]


def _with_axis(a: Operand, axis: int) -> Operand:
    """`a` with an axis of one element put in, so that it becomes `axis`."""
    if not isinstance(a, BlockArray):
        return np.expand_dims(a, axis)
    place = a.ndim + 1 + axis
    block = (*a.block[:place], 1, *a.block[place:])
    codes, scales = np.expand_dims(a.codes, place), np.expand_dims(a.scales, place)
    return replace(a, codes=codes, scales=scales, block=block)


def step_of(contract: str, *along: tuple[Operand, int]) -> int:
    """The products added exactly: 32, or fewer where blocks along the given axes are shorter.

    Raises:
        BadInput: for an unknown contract, or operands that it does not take.
    """
    if contract not in known_contracts():
        hint = f"known are {', '.join(known_contracts())}"
        raise BadInput(f"unknown contract '{contract}'", hint=hint)
    vendors = registered_contract(contract)
    step = STEP if vendors is None else vendors.step
    for a, axis in along:
        if not isinstance(a, BlockArray):
            _check_float(a, contract)
        elif not takes_floats(contract):
            if a.format.element is None:
                raise BadInput(f"{contract} does not take {a.format}", hint="use sequential")
            if a.block[axis] < a.shape[axis]:
                step = math.gcd(step, a.block[axis])
    return step


def _check_float(a: Array, contract: str) -> None:
    if not takes_floats(contract):
        raise BadInput(f"{contract} takes two block operands", hint="quantise, or use sequential")
    if a.dtype not in _FLOATS:
        raise BadInput(f"cannot contract {a.dtype}", hint="f32, f16 and bf16 are known")


def operands(a: Operand, b: Operand, contract: str, step: int) -> tuple[list[Array], Array]:
    """The values that take part: parts of `a` (see `Terms.lhs`), and `b`.

    A vendor's contract has one part, of `PAIR`s.
    """
    if takes_floats(contract):
        return [_values(a)], _values(b)
    assert isinstance(a, BlockArray)
    assert isinstance(b, BlockArray)
    if registered_contract(contract) is not None:
        return [_pairs(a)], _pairs(b)
    assert b.format.element is not None
    return split(a, b.format.element, step), exact_values(b)


def _pairs(a: BlockArray) -> Array:
    """The values of the elements beside their scales."""
    assert a.format.element is not None
    pairs = np.empty(a.shape, PAIR)
    pairs["value"] = a.format.element.values32[a.codes.view(np.uint8)]
    pairs["scale"] = spread(scale_values(a), a.block, a.shape)
    return pairs


def _values(a: Operand) -> NDArray[np.float32]:
    return a.dequantize() if isinstance(a, BlockArray) else a.astype(np.float32, copy=False)


def _stack(lhs: list[Array], rhs: Array) -> tuple[tuple[int, ...], list[Array]]:
    """The broadcast batch shape, and every operand with one batch axis."""
    batch = np.broadcast_shapes(lhs[0].shape[:-2], rhs.shape[:-2])
    if rhs.ndim == 2:  # one matrix for all: the batch becomes rows
        rows = 1, math.prod(lhs[0].shape[:-1]), lhs[0].shape[-1]
        return batch, [*(part.reshape(rows) for part in lhs), rhs[None]]
    count = math.prod(batch)
    return batch, [
        np.broadcast_to(x, (*batch, *x.shape[-2:])).reshape(count, *x.shape[-2:])
        for x in (*lhs, rhs)
    ]


def finish(
    result: NDArray[np.float32], a: Operand, b: Operand, contract: str
) -> NDArray[np.float32]:
    """Multiplies the tensor scales onto an exact result."""
    exact = not takes_floats(contract)
    if exact and isinstance(a, BlockArray) and isinstance(b, BlockArray):
        alpha = np.float32(a.tensor_scale) * np.float32(b.tensor_scale)
        if alpha != 1:
            result *= alpha
    return result
