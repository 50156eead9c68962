"""Convolutions, in the contracts of `mxc.numerics.contract`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.errors import BadInput
from mxc.numerics.accumulate import Terms, accumulate
from mxc.numerics.blocks import BlockArray
from mxc.numerics.contract import finish, operands, step_of
from mxc.numerics.dots import takes_floats

Array = NDArray[Any]
Operand = BlockArray | Array

_POSITIONS = 4096
"""Output positions whose inputs are gathered at a time."""


@dataclass(frozen=True)
class _Window:
    """How kernel positions meet input positions, per spatial axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    out: tuple[int, ...]


def conv(
    x: Operand,
    w: Operand,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    groups: int = 1,
    contract: str = "block-exact",
) -> NDArray[np.float32]:
    """The convolution of `x` [N, C, *S] with `w` [O, C / groups, *K] in f32, [N, O, *S'].

    The sum runs over the kernel positions in row-major order, and at each over the channels (for
    `block-exact`: steps of channels) in ascending order. Positions outside of `x` take part as +0.
    `pads` are the begins, then the ends, as in ONNX.

    Raises:
        BadInput: as `matmul`; or if the channels of a group cut a block.
    """
    window = _window(x, w, strides, pads, dilations, groups)
    channels, taps = w.shape[1], math.prod(window.kernel)
    step = step_of(contract, (x, 1), (w, 1))
    if not takes_floats(contract) and groups > 1 and channels % step:
        raise BadInput(f"groups of {channels} channels cut blocks of {step} in two")
    bounds = [t * channels + c for t in range(taps) for c in range(0, channels, step)]
    bounds.append(taps * channels)
    result = np.empty((x.shape[0], w.shape[0], *window.out), np.float32)
    with np.errstate(all="ignore"):
        lhs, rhs = operands(w, x, contract, step)
        kernels = [_kernels(part, groups) for part in lhs]
        for image, values in enumerate(rhs):
            padded = np.pad(values, ((0, 0), *window.padding))
            for rows in _row_chunks(window.out):
                terms = Terms(kernels, _columns(padded, window, rows, groups), bounds, contract)
                shape = w.shape[0], -1, *window.out[1:]
                result[image, :, rows] = accumulate(terms).reshape(shape)
        return finish(result, x, w, contract)


def _kernels(w: Array, groups: int) -> Array:
    """[O, C, *K] -> [groups, O / groups, K * C]."""
    return np.ascontiguousarray(np.moveaxis(w, 1, -1)).reshape(groups, w.shape[0] // groups, -1)


def _row_chunks(out: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the first output axis."""
    step = max(1, _POSITIONS // max(1, math.prod(out[1:])))
    for start in range(0, out[0], step):
        yield slice(start, min(start + step, out[0]))


def _columns(x: Array, window: _Window, rows: slice, groups: int) -> Array:
    """The padded [C, *S] seen by output positions: [groups, K * C / groups, positions]."""
    first = [rows.start, *[0] * (len(window.out) - 1)]
    counts = rows.stop - rows.start, *window.out[1:]
    columns = np.empty((groups, math.prod(window.kernel), x.shape[0] // groups, *counts), x.dtype)
    for tap, place in enumerate(np.ndindex(*window.kernel)):
        cut = [slice(None)]
        for p, d, s, f, n in zip(
            place, window.dilations, window.strides, first, counts, strict=True
        ):
            cut.append(slice(p * d + f * s, p * d + (f + n - 1) * s + 1, s))
        columns[:, tap] = x[tuple(cut)].reshape(groups, -1, *counts)
    return columns.reshape(groups, -1, math.prod(counts))


def _window(
    x: Operand,
    w: Operand,
    strides: Sequence[int] | None,
    pads: Sequence[int] | None,
    dilations: Sequence[int] | None,
    groups: int,
) -> _Window:
    rank = x.ndim - 2
    if rank < 1 or w.ndim != x.ndim:
        raise BadInput(f"cannot convolve {x.shape} with {w.shape}", hint="[N, C, *S], [O, C/g, *K]")
    if groups < 1 or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise BadInput(f"{groups} groups do not fit {x.shape} and {w.shape}")
    pads = list(pads or [0] * 2 * rank)
    strides, dilations = tuple(strides or [1] * rank), tuple(dilations or [1] * rank)
    if (len(strides), len(dilations), len(pads)) != (rank, rank, 2 * rank) or min(pads) < 0:
        raise BadInput(f"strides {strides}, dilations {dilations}, pads {pads} for {rank} axes")
    if min(*strides, *dilations) < 1:
        raise BadInput(f"strides {strides} and dilations {dilations} must be positive")
    kernel = tuple(w.shape[2:])
    padding = tuple(zip(pads[:rank], pads[rank:], strict=True))
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    out = tuple(
        (n + sum(pad) - span) // stride + 1
        for n, pad, span, stride in zip(x.shape[2:], padding, spans, strides, strict=True)
    )
    if min(out) < 1:
        raise BadInput(f"a kernel of {kernel} does not fit into {x.shape[2:]} with pads {pads}")
    return _Window(kernel, strides, dilations, padding, out)
