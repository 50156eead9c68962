"""Attention as MatMul, Softmax, MatMul.

The query heads that share a key head are rows of one matrix, so both products are plain stacks of
matrices without repeated keys. Everything between the products is computed in f32 (f64 for f64).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from xdsl.dialects.builtin import f64, i1
from xdsl.ir import Attribute, SSAValue

from mxc.dialects.loops.scalar import compute_type
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.onnx.build import Graph
from mxc.dialects.types import element_of, shape_of
from mxc.errors import CannotLower

SCORES, CAPPED, BIASED, PROBABILITIES = range(4)
"""What `qk_matmul_output_mode` asks for."""

DOUBLE = 11
"""The TensorProto type of `softmax_precision` that is wider than f32."""


def given(op: OnnxOp, index: int) -> SSAValue | None:
    """Input `index`, None if it is omitted."""
    return op.inputs[index] if index < len(op.inputs) else None


def wants(op: OnnxOp, index: int) -> bool:
    """Whether output `index` is asked for."""
    return index < len(op.outputs) and op.outputs[index] is not None


@dataclass(frozen=True)
class Heads:
    """The sizes of one attention."""

    batch: int
    queries: int
    keys: int
    """Heads of keys and values; a divisor of `queries`, the heads of queries."""

    length: int
    """Query positions."""

    total: int
    """Key positions, past ones included."""

    past: int


def attention(g: Graph, op: OnnxOp) -> list[SSAValue | None]:
    """Y, present key, present value, and the scores at the stage that is asked for."""
    packed = len(shape_of(op.operands[0])) == 3
    q, k, v = _inputs(g, op, packed)
    past_k, past_v = given(op, 4), given(op, 5)
    if (past_k is None) != (past_v is None):
        raise CannotLower("past_key and past_value must be given together")
    if past_k is not None and past_v is not None:
        k, v = g.concat([past_k, k], 2), g.concat([past_v, v], 2)
    past = shape_of(past_k)[2] if past_k is not None else 0
    batch, queries, length, _ = shape_of(q)
    heads = Heads(batch, queries, shape_of(k)[1], length, shape_of(k)[2], past)
    if queries % heads.keys:
        raise CannotLower(f"{queries} query heads do not divide into {heads.keys} key heads")
    y, stage = _attend(g, op, heads, q, k, v)
    if packed:
        y = g.reshape(g.transpose(y, [0, 2, 1, 3]), (batch, length, _width(y)))
    return [y, k, v, stage]


def _width(y: SSAValue) -> int:
    shape = shape_of(y)
    return shape[1] * shape[3]


def _inputs(g: Graph, op: OnnxOp, packed: bool) -> tuple[SSAValue, SSAValue, SSAValue]:
    """Query, key and value as [batch, heads, positions, size]."""
    q, k, v = op.operands[:3]
    if not packed:
        return q, k, v
    queries, keys = op.attr("q_num_heads"), op.attr("kv_num_heads")
    if not queries or not keys:
        raise CannotLower("inputs of rank 3 need q_num_heads and kv_num_heads")
    return tuple(heads_of(g, x, n) for x, n in ((q, queries), (k, keys), (v, keys)))  # pyright: ignore


def heads_of(g: Graph, x: SSAValue, heads: int) -> SSAValue:
    """[batch, positions, heads * size] as [batch, heads, positions, size]."""
    batch, positions, hidden = shape_of(x)
    if hidden % heads:
        raise CannotLower(f"a hidden size of {hidden} does not divide into {heads} heads")
    split = g.reshape(x, (batch, positions, heads, hidden // heads))
    return g.transpose(split, [0, 2, 1, 3])


def _attend(
    g: Graph, op: OnnxOp, heads: Heads, q: SSAValue, k: SSAValue, v: SSAValue
) -> tuple[SSAValue, SSAValue | None]:
    """The output [batch, heads, positions, size], and the stage that output 3 asks for."""
    element, size = element_of(q), shape_of(q)[3]
    wide = compute_type(element)
    scale = op.attr("scale")
    scale = 1.0 / sqrt(size) if scale is None else float(scale)
    grouped = (heads.batch, heads.keys, heads.queries // heads.keys * heads.length)
    full = (heads.batch, heads.queries, heads.length, heads.total)
    rows = g.reshape(g.mul(g.cast(q, wide), scale), (*grouped, size))
    scores = g.reshape(g.matmul(rows, g.swap(g.cast(k, wide))), full)
    stages = [scores]
    softcap = float(op.attr("softcap"))
    if softcap > 0:
        scores = g.mul(g.unary("Tanh", g.mul(scores, 1.0 / softcap)), softcap)
    stages.append(scores)
    scores, hidden = _masked(g, op, heads, scores)
    stages.append(scores)
    probabilities = _softmax(g, op, scores, hidden, wide)
    stages.append(probabilities)
    y = g.matmul(g.reshape(probabilities, (*grouped, heads.total)), g.cast(v, wide))
    y = g.reshape(y, (*full[:3], shape_of(v)[3]))
    if not wants(op, 3):
        return g.cast(y, element), None
    return g.cast(y, element), g.cast(stages[int(op.attr("qk_matmul_output_mode"))], element)


def _softmax(
    g: Graph, op: OnnxOp, scores: SSAValue, hidden: SSAValue | None, wide: Attribute
) -> SSAValue:
    """The softmax along keys; 0 in rows that are `hidden`."""
    if op.attr("softmax_precision") == DOUBLE:
        scores = g.cast(scores, f64)
    result = g.cast(g.unary("Softmax", scores, axis=-1), wide)
    if hidden is None:
        return result
    return g.where(hidden, 0.0, result)


def _masked(
    g: Graph, op: OnnxOp, heads: Heads, scores: SSAValue
) -> tuple[SSAValue, SSAValue | None]:
    """The scores with -inf where a key is hidden, and which rows see no key, if any may."""
    mask = _padded_mask(g, op, heads)
    allowed = _allowed(g, op, heads)
    bias = None
    if mask is not None and element_of(mask) == i1:
        allowed.append(mask)
    elif mask is not None:
        bias = g.cast(mask, element_of(scores))
        scores = g.add(scores, bias)
    if not allowed:
        return scores, _hidden(g, bias) if bias is not None else None
    seen = allowed[0]
    for other in allowed[1:]:
        seen = g.binary("And", seen, other)
    scores = g.where(seen, scores, -np.inf)
    if mask is None and given(op, 6) is None and _window(op) == (-1, -1):
        return scores, None  # causal alone: every query sees itself
    combined = g.where(
        seen, bias if bias is not None else g.full((), element_of(scores), 0), -np.inf
    )
    return scores, _hidden(g, combined)


def _hidden(g: Graph, bias: SSAValue) -> SSAValue | None:
    """Which rows of the bias are -inf throughout; None if it is known that none is."""
    known = g.value(bias)
    if known is not None and not np.any(np.max(known.astype(np.float64), -1) == -np.inf):
        return None
    top = g.reduce("ReduceMax", bias, [len(shape_of(bias)) - 1], keep=True)
    return g.binary("Equal", top, -np.inf)


def _padded_mask(g: Graph, op: OnnxOp, heads: Heads) -> SSAValue | None:
    """`attn_mask`, with keys beyond its last axis hidden."""
    mask = given(op, 3)
    if mask is None:
        return None
    shape = shape_of(mask)
    missing = heads.total - shape[-1]
    if missing <= 0:
        return mask
    hide = 0.0 if element_of(mask) == i1 else -np.inf
    rest = g.full((*shape[:-1], missing), element_of(mask), hide)
    return g.concat([mask, rest], len(shape) - 1)


def _window(op: OnnxOp) -> tuple[int, int]:
    return int(op.attr("left_window_size")), int(op.attr("right_window_size"))


def _allowed(g: Graph, op: OnnxOp, heads: Heads) -> list[SSAValue]:
    """Which keys each query may see by position: causality, windows, and padding of the cache."""
    left, right = _window(op)
    causal, valid = bool(op.attr("is_causal")), given(op, 6)
    keys = np.arange(heads.total, dtype=np.int64).reshape(1, -1)
    queries = np.arange(heads.length, dtype=np.int64).reshape(-1, 1) + heads.past
    result: list[SSAValue] = []
    key = g.constant(keys) if causal or left >= 0 or right >= 0 or valid is not None else None
    if key is None:
        return result
    at = g.constant(queries)
    if valid is not None:
        count = g.reshape(g.cast(valid, element_of(key)), (heads.batch, 1, 1, 1))
        result.append(g.binary("Less", key, count))
        at = g.add(at, g.sub(count, heads.length))
    if causal:
        result.append(g.binary("LessOrEqual", key, at))
    if left >= 0:
        result.append(g.binary("LessOrEqual", g.sub(at, left), key))
    if right >= 0:
        result.append(g.binary("LessOrEqual", key, g.add(at, right)))
    return result
