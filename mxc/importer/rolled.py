"""Loop and Scan that run too often to be unrolled: the body is traced once, for all trips.

Inside, the number of the trip and the states are not known; their types are those before the first
trip, and each trip must leave them so. See `values.Repeat` for what remains of the loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mxc.importer.values import Call, Item, Node, Repeat, Value

Body = Callable[[Value, list[Value]], tuple[Sequence[Any], Sequence[Any]]]
"""The number of the trip, and states, to new states, and values to be stacked."""


MAX_TRIPS = 1_000_000
MAX_STACK = 1 << 31
"""Bytes."""


class TooLong(Exception):
    """Unrolling was given up."""


@dataclass
class Scanned:
    """The elements of a tensor along its first axis, one for each trip."""

    source: Value
    backward: bool
    element: Value = field(init=False)
    """What the body sees."""

    def __post_init__(self) -> None:
        shape = self.source.shape
        self.element = Value("", self.source.dtype, None if shape is None else shape[1:])


def roll(
    tracer: Any,
    call: Call,
    trips: int,
    states: Sequence[Any],
    scanned: Sequence[Scanned],
    body: Body,
    backward: Sequence[bool] = (),
) -> tuple[list[Item], list[Item]]:
    """The states after `trips` trips, and one stack for each value that a trip yields.

    `backward`: which stacks are filled from the end.

    Raises:
        ImportFailed: if a state changes its type, a size depends on the trip, or there is no
            reasonable limit.
    """
    if trips > MAX_TRIPS:
        raise call.fail(
            f"it runs up to {trips} times; {MAX_TRIPS} are possible",
            "shorten the loop, or bind what decides its condition with --input-value NAME=V",
        )
    inside = [_argument(call, state, f"state {i}") for i, state in enumerate(states)]
    number = Value("", np.dtype(np.int64), ())
    start = len(tracer.nodes)
    new, rows = body(number, inside)
    nodes: list[Node] = tracer.nodes[start:]
    del tracer.nodes[start:]
    for i, (old, value) in enumerate(zip(inside, new, strict=True)):
        if not isinstance(value, Value) or _type(value) != _type(old):
            raise call.fail(
                f"its state {i} changes from {_text(old)} to {_text(value)} in one trip, and "
                f"{trips} trips are too many to unroll",
            )
    for i, row in enumerate(rows):
        if not isinstance(row, Value) or row.static_shape is None or row.dtype is None:
            raise call.fail(f"the size of stacked output {i} is not known", "bind what decides it")
        if trips * row.dtype.itemsize * math.prod(row.static_shape) > MAX_STACK:
            raise call.fail(f"its stacked output {i} would have more than {MAX_STACK} bytes")
    zero = tracer.constant(np.array(0, np.int64))
    repeat = Repeat(
        op_type=call.op_type, inputs=[], attrs={}, outputs=[], name=call.name, trips=trips,
        first=[zero, *states], arguments=[number, *inside], scanned=list(scanned), nodes=nodes,
        last=[_next(tracer, call, number, nodes), *new], rows=list(rows),
        backward=list(backward) or [False] * len(rows),
    )  # fmt: skip
    repeat.inputs = _needs(repeat)
    results: list[Item] = [Value("", v.dtype, v.shape, node=repeat) for v in (number, *inside)]
    stacks: list[Item] = [
        Value("", row.dtype, (trips, *row.static_shape), node=repeat) for row in rows
    ]
    repeat.outputs = [*results, *stacks]  # pyright: ignore[reportAttributeAccessIssue]
    tracer.nodes.append(repeat)
    return results[1:], stacks


def _argument(call: Call, state: Any, role: str) -> Value:
    """What the body sees of a state."""
    if not isinstance(state, Value) or state.static_shape is None or 0 in state.static_shape:
        raise call.fail(f"{role} is no tensor of known size, and there are many trips")
    return Value("", state.dtype, state.shape)


def _type(value: Value) -> tuple[Any, Any]:
    return value.dtype, value.static_shape


def _text(value: Any) -> str:
    if not isinstance(value, Value):
        return "a sequence or optional"
    dims = "?" if value.shape is None else ["?" if d is None else d for d in value.shape]
    return f"{value.dtype}{dims}"


def _next(tracer: Any, call: Call, number: Value, nodes: list[Node]) -> Value:
    """The number of the next trip."""
    result = Value("", number.dtype, number.shape)
    one = tracer.constant(np.array(1, np.int64))
    result.node = Node("Add", [number, one], {}, [result], call.name)
    nodes.append(result.node)
    return result


def _needs(repeat: Repeat) -> list[Value | None]:
    """The values from outside of the loop."""
    inner = {id(v) for v in (*repeat.arguments, *(s.element for s in repeat.scanned))}
    inner.update(id(v) for node in repeat.nodes for v in node.outputs)
    used = [*repeat.first, *(s.source for s in repeat.scanned)]
    for value in [*(v for n in repeat.nodes for v in n.inputs), *repeat.last, *repeat.rows]:
        if value is not None and id(value) not in inner:
            used.append(value)
    return list(used)
