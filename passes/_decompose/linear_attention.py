"""Linear attention as a loop over time that carries its state matrices, in f32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from xdsl.dialects.builtin import f32
from xdsl.ir import SSAValue

from mxc.dialects.loops import Loops, Scalar, Tensor, insert_at, repeat, slice_at
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.onnx.build import Graph
from mxc.dialects.types import element_of, shape_of
from mxc.errors import CannotLower
from mxc.passes._decompose.attention import given

RULES = ("linear", "gated", "delta", "gated_delta")


@dataclass(frozen=True)
class Streams:
    """The inputs as [time * batch, heads, rows, columns], so that a step is a window of rows."""

    query: SSAValue
    """[.., key heads, queries per key head, key size], scaled"""

    key: SSAValue
    """[.., key heads, 1, key size]"""

    value: SSAValue
    """[.., key heads, 1, value size]"""

    decay: SSAValue | None
    """What the state is multiplied by, [.., key heads, key size or 1, 1]"""

    beta: SSAValue | None
    """[.., key heads or 1, 1, 1]"""


def linear_attention(g: Graph, op: OnnxOp) -> list[SSAValue | None]:
    """The outputs of all time steps, and the last state."""
    query, key, value = (g.cast(x, f32) for x in op.operands[:3])
    batch, time, _ = shape_of(query)
    heads, groups = int(op.attr("kv_num_heads")), int(op.attr("q_num_heads"))
    if heads < 1 or groups % heads:
        raise CannotLower(f"q_num_heads={groups} is no multiple of kv_num_heads={heads}")
    streams = _streams(g, op, query, key, value, heads)
    sizes = shape_of(streams.key)[-1], shape_of(streams.value)[-1]
    past = given(op, 3)
    state_type = element_of(op.operands[0] if past is None else past)
    shape = (batch, heads, *sizes)
    state = g.full(shape, f32, 0) if past is None else g.cast(past, f32)
    y, state = _over_time(g, streams, state, time)
    y = g.reshape(y, (time, batch, groups * sizes[1]))
    return [
        g.cast(g.transpose(y, [1, 0, 2]), element_of(op.operands[0])),
        g.cast(state, state_type),
    ]


def _streams(
    g: Graph, op: OnnxOp, query: SSAValue, key: SSAValue, value: SSAValue, heads: int
) -> Streams:
    rule = str(op.attr("update_rule"))
    if rule not in RULES:
        raise CannotLower(f"update_rule={rule} is not known", hint=f"use {', '.join(RULES)}")
    decay, beta = given(op, 4), given(op, 5)
    if (decay is not None) != ("gated" in rule) or (beta is not None) != ("delta" in rule):
        raise CannotLower(f"decay and beta do not fit update_rule={rule}")
    groups = int(op.attr("q_num_heads")) // heads
    size = shape_of(key)[2] // heads
    scale = float(op.attr("scale")) or 1.0 / sqrt(size)
    if decay is not None:
        decay = g.unary("Exp", g.cast(decay, f32))
        rows = shape_of(decay)[2] // heads
        decay = _by_time(g, decay, (heads, rows, 1))
    if beta is not None:
        beta = _by_time(g, g.cast(beta, f32), (shape_of(beta)[2], 1, 1))
    return Streams(
        _by_time(g, g.mul(query, scale), (heads, groups, size)),
        _by_time(g, key, (heads, 1, size)),
        _by_time(g, value, (heads, 1, shape_of(value)[2] // heads)),
        decay,
        beta,
    )


def _by_time(g: Graph, x: SSAValue, shape: Sequence[int]) -> SSAValue:
    """[batch, time, features] as [time * batch, *shape]."""
    batch, time, _ = shape_of(x)
    return g.reshape(g.transpose(x, [1, 0, 2]), (time * batch, *shape))


def _step(g: Graph, now: Streams, state: SSAValue) -> tuple[SSAValue, SSAValue]:
    """The output and the next state [batch, heads, key size, value size]."""
    value = now.value
    if now.decay is not None:
        state = g.mul(state, now.decay)
    if now.beta is not None:
        value = g.mul(g.sub(value, g.matmul(now.key, state)), now.beta)
    state = g.add(state, g.mul(g.swap(now.key), value))
    return g.matmul(now.query, state), state


def _over_time(g: Graph, streams: Streams, state: SSAValue, time: int) -> tuple[SSAValue, SSAValue]:
    loops = Loops(g.at, g.constants, g.location)
    batch, heads, _, size = shape_of(state)
    groups = shape_of(streams.query)[2]
    y = loops.empty((time * batch, heads, groups, size), f32)

    def step(inside: Loops, index: Scalar, carried: list[Tensor]) -> list[Tensor]:
        at = index * batch
        body = Graph(inside.at, g.constants, g.location)

        def window(x: SSAValue) -> SSAValue:
            source = Tensor(x, element_of(x))
            return slice_at(inside, source, [at, 0, 0, 0], (batch, *shape_of(x)[1:])).value

        now = Streams(
            window(streams.query),
            window(streams.key),
            window(streams.value),
            None if streams.decay is None else window(streams.decay),
            None if streams.beta is None else window(streams.beta),
        )
        out, after = _step(body, now, carried[0].value)
        return [
            Tensor(after, f32),
            insert_at(inside, Tensor(out, f32), carried[1], [at, 0, 0, 0]),
        ]

    after, outputs = repeat(loops, time, [Tensor(state, f32), y], step)
    return outputs.value, after.value
