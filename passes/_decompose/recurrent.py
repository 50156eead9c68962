"""LSTM, GRU and RNN as a loop over time.

The inputs of all time steps meet their weights in one MatMul before the loop; the loop carries the
state and the output, and holds the recurrent MatMul. Computed in f32 (f64 for f64).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import i32
from xdsl.ir import Attribute, SSAValue

from mxc.dialects.loops import Loops, Scalar, Tensor, insert_at, repeat, slice_at
from mxc.dialects.loops.scalar import compute_type
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.onnx.build import Graph
from mxc.dialects.types import element_of, shape_of
from mxc.errors import CannotLower
from mxc.passes._decompose.activation import Activation, activations
from mxc.passes._decompose.attention import given, wants

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DIRECTIONS = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
"""Attribute `direction` -> for each direction, whether it runs backwards."""

State = list[SSAValue]


@dataclass(frozen=True)
class Cell:
    """What a time step needs: builder-independent facts and the recurrent parameters."""

    op: OnnxOp
    hidden: int
    recurrent: SSAValue
    """R transposed, [hidden, gates * hidden]."""

    bias: SSAValue | None
    """The part of the bias that is added inside (`linear_before_reset`), [1, hidden]."""

    peepholes: list[SSAValue]
    """Those of input, output and forget gates, each [1, hidden]; or none."""

    functions: list[Activation]

    def clipped(self, g: Graph, x: SSAValue) -> SSAValue:
        """`x` within the attribute `clip`, where there is one."""
        limit = self.op.attr("clip")
        if not limit:
            return x
        bounds = [g.full((), element_of(x), v) for v in (-limit, limit)]
        return g.node("Clip", [x, *bounds], element_of(x), shape_of(x))

    def apply(self, g: Graph, index: int, x: SSAValue) -> SSAValue:
        """Activation `index` of the clipped `x`."""
        return self.functions[index](g, self.clipped(g, x))


def _lstm(g: Graph, cell: Cell, x: SSAValue, state: State) -> State:
    """One step from `x` [batch, 4 * hidden], the gates i, o, f, c."""
    h, c = state
    gates = g.add(x, g.matmul(h, cell.recurrent))
    i, o, f, update = g.split(gates, 1, 4)
    peep = cell.peepholes
    i = cell.apply(g, 0, g.add(i, g.mul(peep[0], c)) if peep else i)
    if cell.op.attr("input_forget"):
        f = g.sub(1.0, i)
    else:
        f = cell.apply(g, 0, g.add(f, g.mul(peep[2], c)) if peep else f)
    c = g.add(g.mul(f, c), g.mul(i, cell.apply(g, 1, update)))
    o = cell.apply(g, 0, g.add(o, g.mul(peep[1], c)) if peep else o)
    return [g.mul(o, cell.functions[2](g, c)), c]


def _gru(g: Graph, cell: Cell, x: SSAValue, state: State) -> State:
    """One step from `x` [batch, 3 * hidden], the gates z, r, h."""
    (h,) = state
    n = cell.hidden
    if cell.op.attr("linear_before_reset"):
        product = g.matmul(h, cell.recurrent)
        inner = g.slice(product, 1, 2 * n, 3 * n)
        product = g.slice(product, 1, 0, 2 * n)
        inner = inner if cell.bias is None else g.add(inner, cell.bias)
    else:
        product = g.matmul(h, g.slice(cell.recurrent, 1, 0, 2 * n))
        inner = None
    z, r = (
        cell.apply(g, 0, gate) for gate in g.split(g.add(g.slice(x, 1, 0, 2 * n), product), 1, 2)
    )
    if inner is None:
        inner = g.matmul(g.mul(r, h), g.slice(cell.recurrent, 1, 2 * n, 3 * n))
    else:
        inner = g.mul(r, inner)
    update = cell.apply(g, 1, g.add(g.slice(x, 1, 2 * n, 3 * n), inner))
    return [g.add(g.mul(g.sub(1.0, z), update), g.mul(z, h))]


def _rnn(g: Graph, cell: Cell, x: SSAValue, state: State) -> State:
    """One step from `x` [batch, hidden]."""
    (h,) = state
    return [cell.apply(g, 0, g.add(x, g.matmul(h, cell.recurrent)))]


STEPS: dict[str, Callable[[Graph, Cell, SSAValue, State], State]] = {
    "LSTM": _lstm,
    "GRU": _gru,
    "RNN": _rnn,
}


@dataclass(frozen=True)
class Steps:
    """The input and its sizes."""

    x: SSAValue
    """[time * batch, features]"""

    time: int
    batch: int
    valid: SSAValue | None
    """Whether each row of `x` lies within its sequence, [time * batch, 1]; None if all do."""


def recurrent(g: Graph, op: OnnxOp) -> list[SSAValue | None]:
    """Y [time, directions, batch, hidden] and the last states [directions, batch, hidden]."""
    if op.attr("direction") not in DIRECTIONS:
        raise CannotLower(f"direction={op.attr('direction')} is not known")
    backwards = DIRECTIONS[op.attr("direction")]
    source = op.operands[0]
    element = element_of(source)
    wide = compute_type(element)
    batch_first = bool(op.attr("layout"))
    sequence = _sequence(g, op, g.cast(source, wide), batch_first)
    states = 2 if op.op_type == "LSTM" else 1
    ys: list[SSAValue] = []
    ends: list[list[SSAValue]] = [[] for _ in range(states)]
    for d, backward in enumerate(backwards):
        cell, gates = _direction(g, op, d, sequence, wide)
        start = [_initial(g, op, 5 + i, d, cell.hidden, sequence, wide) for i in range(states)]
        y, last = _over_time(g, cell, gates, start, sequence, backward=backward)
        if y is not None:
            ys.append(g.reshape(y, (sequence.time, 1, sequence.batch, cell.hidden)))
        for i, value in enumerate(last):
            ends[i].append(g.reshape(value, (1, *shape_of(value))))
    stacked = [g.concat(values, 0) for values in ends]
    y = g.concat(ys, 1) if ys else None
    if batch_first:
        y = None if y is None else g.transpose(y, [2, 0, 1, 3])
        stacked = [g.transpose(value, [1, 0, 2]) for value in stacked]
    return [None if v is None else g.cast(v, element) for v in (y, *stacked)]


def _sequence(g: Graph, op: OnnxOp, x: SSAValue, batch_first: bool) -> Steps:
    x = g.transpose(x, [1, 0, 2]) if batch_first else x
    time, batch, features = shape_of(x)
    return Steps(g.reshape(x, (time * batch, features)), time, batch, _valid(g, op, time, batch))


def _valid(g: Graph, op: OnnxOp, time: int, batch: int) -> SSAValue | None:
    lengths = given(op, 4)
    if lengths is None:
        return None
    known = g.value(lengths)
    if known is not None and (known >= time).all():
        return None
    steps = g.constant(np.arange(time, dtype=np.int32).reshape(-1, 1))
    inside = g.binary("Less", steps, g.reshape(g.cast(lengths, i32), (1, batch)))
    return g.reshape(inside, (time * batch, 1))


def _pick(g: Graph, x: SSAValue, direction: int, wide: Attribute) -> SSAValue:
    """`x` of one direction, without the axis of directions."""
    row = g.slice(x, 0, direction, direction + 1)
    return g.cast(g.reshape(row, shape_of(x)[1:]), wide)


def _initial(
    g: Graph, op: OnnxOp, index: int, direction: int, hidden: int, s: Steps, wide: Attribute
) -> SSAValue:
    start = given(op, index)
    if start is None:
        return g.full((s.batch, hidden), wide, 0)
    if op.attr("layout"):
        start = g.transpose(start, [1, 0, 2])
    return _pick(g, start, direction, wide)


def _direction(
    g: Graph, op: OnnxOp, direction: int, s: Steps, wide: Attribute
) -> tuple[Cell, SSAValue]:
    """The parameters of one direction, and the gates' inputs [time * batch, gates * hidden]."""
    w, r = (_pick(g, x, direction, wide) for x in op.operands[1:3])
    hidden, count = shape_of(r)[1], GATES[op.op_type]
    gates = g.matmul(s.x, g.swap(w))
    inner = None
    if (b := given(op, 3)) is not None:
        bias = g.reshape(_pick(g, b, direction, wide), (1, 2 * count * hidden))
        outside, recurrent_bias = g.split(bias, 1, 2)
        if op.op_type == "GRU" and op.attr("linear_before_reset"):
            inner = g.slice(recurrent_bias, 1, 2 * hidden, 3 * hidden)
            none = g.full((1, hidden), wide, 0)
            recurrent_bias = g.concat([g.slice(recurrent_bias, 1, 0, 2 * hidden), none], 1)
        gates = g.add(gates, g.add(outside, recurrent_bias))
    peepholes: list[SSAValue] = []
    if op.op_type == "LSTM" and (p := given(op, 7)) is not None:
        row = g.reshape(_pick(g, p, direction, wide), (1, 3 * hidden))
        peepholes = g.split(row, 1, 3)
    functions = activations(op, direction)
    return Cell(op, hidden, g.swap(r), inner, peepholes, functions), gates


def _over_time(
    g: Graph, cell: Cell, gates: SSAValue, start: State, s: Steps, *, backward: bool
) -> tuple[SSAValue | None, State]:
    """Every step's output [time * batch, hidden], if it is wanted, and the last state."""
    loops = Loops(g.at, g.constants, g.location)
    element = element_of(gates)
    carried = [Tensor(value, element) for value in start]
    if wants(cell.op, 0):
        carried.append(loops.empty((s.time * s.batch, cell.hidden), element))

    def step(inside: Loops, index: Scalar, now: list[Tensor]) -> Sequence[Tensor]:
        at = (s.time - 1 - index if backward else index) * s.batch
        body = Graph(inside.at, g.constants, g.location)
        x = _row(inside, gates, at, s.batch)
        state = [t.value for t in now[: len(start)]]
        new = STEPS[cell.op.op_type](body, cell, x, state)
        y = new[0]
        if s.valid is not None:
            inner = _row(inside, s.valid, at, s.batch)
            new = [body.where(inner, a, b) for a, b in zip(new, state, strict=True)]
            y = body.where(inner, y, 0.0)
        results = [Tensor(value, element) for value in new]
        if len(now) > len(start):
            results.append(insert_at(inside, Tensor(y, element), now[-1], [at, 0]))
        return results

    ends = [t.value for t in repeat(loops, s.time, carried, step)]
    return (ends[-1] if len(ends) > len(start) else None), ends[: len(start)]


def _row(loops: Loops, x: SSAValue, at: Scalar, batch: int) -> SSAValue:
    """The rows of one time step."""
    window = slice_at(loops, Tensor(x, element_of(x)), [at, 0], [batch, shape_of(x)[1]])
    return window.value
