"""Transposed and causal convolutions as plain ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd

import numpy as np
from xdsl.ir import SSAValue

from mxc.dialects.onnx import OnnxOp
from mxc.dialects.onnx.build import Graph
from mxc.dialects.types import element_of, shape_of
from mxc.errors import CannotLower
from mxc.passes._decompose.attention import given


@dataclass(frozen=True)
class Phase:
    """The outputs of one axis whose position, padding included, is `rest` modulo the stride.

    They are a plain convolution with every `step`-th tap of the kernel, from `first` on, flipped.
    """

    first: int
    step: int
    taps: int
    dilation: int
    before: int
    """Elements in front of the input that output 0 needs; negative: the input starts later."""

    after: int


def phases(
    size: int, kernel: int, stride: int, dilation: int, pad: int, output: int
) -> list[Phase]:
    """The phases of one axis of a transposed convolution, for a rest of 0 .. stride - 1.

    Each gives the outputs of rounds floor(pad / stride) .. floor((output - 1 + pad) / stride).
    """
    common = gcd(stride, dilation)
    low, high = pad // stride, (output - 1 + pad) // stride
    result: list[Phase] = []
    for rest in range(stride):
        taps = [k for k in range(kernel) if (k * dilation - rest) % stride == 0]
        if not taps:
            result.append(Phase(0, 1, 0, 1, 0, 0))
            continue
        reach = (taps[-1] * dilation - rest) // stride
        nearest = (taps[0] * dilation - rest) // stride
        before, after = reach - low, high - nearest - (size - 1)
        step = stride // common
        result.append(Phase(taps[0], step, len(taps), dilation // common, before, after))
    return result


def conv_transpose(g: Graph, op: OnnxOp) -> list[SSAValue]:
    """One convolution per phase of the strides; their outputs are interleaved."""
    x, w, bias = op.operands[0], op.operands[1], given(op, 2)
    assert op.outputs[0] is not None
    output, rank = shape_of(op.outputs[0])[2:], len(shape_of(x)) - 2
    strides = list(op.attr("strides") or [1] * rank)
    dilations = list(op.attr("dilations") or [1] * rank)
    pads = _pads(op, shape_of(x)[2:], shape_of(w)[2:], strides, dilations, output)
    axes = [
        phases(*row)
        for row in zip(
            shape_of(x)[2:], shape_of(w)[2:], strides, dilations, pads, output, strict=True
        )
    ]
    weights = _grouped(g, w, int(op.attr("group")))
    rounds = [(n - 1 + p) // s - p // s + 1 for n, p, s in zip(output, pads, strides, strict=True)]
    parts = [_phase(g, op, x, weights, bias, row, rounds) for row in product(*axes)]
    return [_interleaved(g, parts, strides, rounds, pads, output)]


def _pads(
    op: OnnxOp,
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    output: Sequence[int],
) -> list[int]:
    """What is cut off in front of every axis."""
    mode, rank = op.attr("auto_pad"), len(size)
    extra = op.attr("output_padding") or [0] * rank
    rows = zip(size, kernel, strides, dilations, extra, output, strict=True)
    total = [(n - 1) * s + e + (k - 1) * d + 1 - o for n, k, s, d, e, o in rows]
    if mode == "VALID":
        return [0] * rank
    if mode not in ("NOTSET", "SAME_UPPER", "SAME_LOWER"):
        raise CannotLower(f"auto_pad={mode} is not known", hint="export with explicit pads")
    if mode == "NOTSET" and not op.attr("output_shape"):
        return list(op.attr("pads") or [0] * 2 * rank)[:rank]
    if mode == "SAME_UPPER":
        return [t // 2 for t in total]
    return [t - t // 2 for t in total]


def _grouped(g: Graph, w: SSAValue, groups: int) -> SSAValue:
    """Weights [C, O / groups, *K] as those of a plain convolution, [O, C / groups, *K]."""
    channels, outputs, *kernel = shape_of(w)
    split = g.reshape(w, (groups, channels // groups, outputs, *kernel))
    swapped = g.transpose(split, [0, 2, 1, *range(3, len(kernel) + 3)])
    return g.reshape(swapped, (groups * outputs, channels // groups, *kernel))


def _phase(
    g: Graph,
    op: OnnxOp,
    x: SSAValue,
    w: SSAValue,
    bias: SSAValue | None,
    row: Sequence[Phase],
    rounds: Sequence[int],
) -> SSAValue:
    """The outputs of one phase, [N, O, *rounds]."""
    shape = (shape_of(x)[0], shape_of(w)[0], *rounds)
    if any(phase.taps == 0 for phase in row):
        nothing = g.full(shape, element_of(x), 0)
        if bias is None:
            return nothing
        return g.add(nothing, g.reshape(bias, (shape_of(bias)[0], *[1] * len(rounds))))
    for axis, phase in enumerate(row, 2):
        last = phase.first + (phase.taps - 1) * phase.step
        w = g.slice(w, axis, phase.first, last + 1, phase.step)
        x = g.slice(x, axis, max(0, -phase.before), shape_of(x)[axis] + min(0, phase.after))
    w = _flipped(g, w)
    before = [max(0, phase.before) for phase in row]
    after = [max(0, phase.after) for phase in row]
    return g.node(
        "Conv",
        [x, w, bias],
        element_of(x),
        shape,
        pads=before + after,
        dilations=[phase.dilation for phase in row],
        group=int(op.attr("group")),
    )


def _flipped(g: Graph, w: SSAValue) -> SSAValue:
    """`w` with all spatial axes reversed."""
    axes = [axis for axis in range(2, len(shape_of(w))) if shape_of(w)[axis] > 1]
    array = g.value(w)
    if not axes:
        return w
    if array is not None:
        return g.constant(np.flip(array, tuple(axes)))
    ends = [[-1] * len(axes), [-(2**31)] * len(axes), axes, [-1] * len(axes)]
    bounds = [g.constant(np.array(row, np.int64)) for row in ends]
    return g.node("Slice", [w, *bounds], element_of(w), shape_of(w))


def _interleaved(
    g: Graph,
    parts: Sequence[SSAValue],
    strides: Sequence[int],
    rounds: Sequence[int],
    pads: Sequence[int],
    output: Sequence[int],
) -> SSAValue:
    """The parts, one per phase in row-major order, merged and cut to the output."""
    y, rank = parts[0], len(strides)
    lead = shape_of(y)[:2]
    if len(parts) > 1:
        stacked = g.concat([g.reshape(p, (1, *shape_of(p))) for p in parts], 0)
        split = g.reshape(stacked, (*strides, *lead, *rounds))
        order = [rank, rank + 1]
        for axis in range(rank):
            order += [rank + 2 + axis, axis]
        merged = [n * s for n, s in zip(rounds, strides, strict=True)]
        y = g.reshape(g.transpose(split, order), (*lead, *merged))
    for axis, (n, p, s) in enumerate(zip(output, pads, strides, strict=True), 2):
        y = g.slice(y, axis, p % s, p % s + n)
    return y


def causal_conv_with_state(g: Graph, op: OnnxOp) -> list[SSAValue]:
    """A depthwise convolution of the past state and the input, and the state they leave."""
    x, w, bias, past = op.operands[0], op.operands[1], given(op, 2), given(op, 3)
    batch, channels, length = shape_of(x)
    keep = shape_of(w)[2] - 1
    if past is None:
        past = g.full((batch, channels, keep), element_of(x), 0)
    joined = g.concat([past, x], 2) if keep else x
    shape = (batch, channels, length)
    y = g.node("Conv", [joined, w, bias], element_of(x), shape, group=channels)
    activation = op.attr("activation")
    if activation in ("silu", "swish"):
        y = g.mul(y, g.unary("Sigmoid", y))
    elif activation != "none":
        raise CannotLower(f"activation={activation} is not known", hint="use none, silu or swish")
    return [y, g.slice(joined, 2, length, length + keep) if keep else past]
