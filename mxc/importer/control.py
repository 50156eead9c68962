"""If, Loop and Scan: none of them is left after importing but for long loops.

* If with a known condition becomes the branch taken. With an unknown one both branches are
  computed and `Where` chooses, if their outputs are tensors of equal types.
* Loop and Scan are unrolled: at most `MAX_TRIPS` trips, or more as long as they add no more than
  `MAX_UNROLLED` nodes. Longer ones stay loops, see `rolled`. The trip count must be known while
  importing, or be bounded by a known one: then trips after the condition became false have no
  effect.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mxc.importer import sequences, simple
from mxc.importer.rolled import Scanned, TooLong, roll
from mxc.importer.simple import Handler
from mxc.importer.upgrades.rules import int64s
from mxc.importer.values import Call, Item, Value, dtype_of

Pieces = list[tuple[Any, int, bool]]
"""Scanned inputs, their axes, and whether they run backwards."""

MAX_TRIPS = 64
MAX_UNROLLED = 4096
MAX_CONSTANT_TRIPS = 10_000
"""Trips of loops that are evaluated completely."""


def if_(tracer: Any, call: Call) -> list[Item | None]:
    """If: see above."""
    condition = call.tensor(0)
    if condition.const is not None:
        if condition.const.size != 1:
            raise call.fail("the condition is not a scalar")
        branch = "then_branch" if condition.const.item() else "else_branch"
        return tracer.subgraph(call, branch, [], f"{call.name}/")
    then = tracer.subgraph(call, "then_branch", [], f"{call.name}/")
    other = tracer.subgraph(call, "else_branch", [], f"{call.name}/")
    if condition.shape != ():
        condition = tracer.op1(call, "Reshape", [condition, int64s([])])
    return [
        _choose(tracer, call, condition, a, b, f"output {i}")
        for i, (a, b) in enumerate(zip(then, other, strict=True))
    ]


def _choose(tracer: Any, call: Call, condition: Value, a: Any, b: Any, role: str) -> Item:
    """`a` where `condition`, else `b`; they must be tensors of one type."""
    if a is b:
        return a
    same = isinstance(a, Value) and isinstance(b, Value)
    same = same and (a.dtype, a.static_shape) == (b.dtype, b.static_shape)
    if not same or a.static_shape is None:
        raise call.fail(
            f"its condition '{condition.name}' depends on the model's inputs and decides the type "
            f"of its {role}",
            "bind the inputs that decide it with --input-value NAME=V",
        )
    return tracer.op1(call, "Where", [condition, a, b])


def loop(tracer: Any, call: Call) -> list[Item | None]:
    """Loop: unrolled, or rolled if it runs too often for that."""
    start, trips = len(tracer.nodes), _trip_count(call)
    try:
        return _unrolled(tracer, call, trips)
    except TooLong as error:
        if trips is None:
            raise call.fail(
                f"it runs more than {error} times, and nothing but its condition says how often",
                "give it a trip count, or export the model without the loop",
            ) from None
        del tracer.nodes[start:]
    return _rolled_loop(tracer, call, trips)


def _unrolled(tracer: Any, call: Call, trips: int | None) -> list[Item | None]:
    active = call.input(1)
    state: list[Any] = list(call.inputs[2:])
    stacks: list[list[Any]] = [[] for _ in range(len(call.outputs) - len(state))]
    start, trip = len(tracer.nodes), 0
    while trips is None or trip < trips:
        if active is not None and active.const is not None:
            if not active.const.item():
                break
            active = None
        if active is not None and (trips is None or stacks):
            raise _unknown_trips(call, active)
        _check_unrolling(tracer, trip, start)
        number = tracer.constant(int64s(trip))
        state, rows, condition = _trip(tracer, call, number, active, state, f"{trip}/")
        for stack, value in zip(stacks, rows, strict=True):
            stack.append(value)
        active = _and(tracer, call, active, condition)
        trip += 1
    return state + [_stacked(tracer, call, s, len(state), i) for i, s in enumerate(stacks)]


def _trip(
    tracer: Any, call: Call, number: Value, active: Any, state: list[Any], prefix: str
) -> tuple[list[Any], list[Any], Any]:
    """One trip: the states, which stay as they are if it is not active; rows; the condition."""
    arguments = [number, active or tracer.constant(np.array(True)), *state]
    outputs = tracer.subgraph(call, "body", arguments, f"{call.name}/{prefix}")
    count = 1 + len(state)
    new = [
        value if active is None else _choose(tracer, call, active, value, old, f"state {i}")
        for i, (value, old) in enumerate(zip(outputs[1:count], state, strict=True))
    ]
    return new, outputs[count:], outputs[0]


def _rolled_loop(tracer: Any, call: Call, trips: int) -> list[Item | None]:
    """Loop with a known number of trips, or a bound: it carries then whether it is active."""
    states, active = list(call.inputs[2:]), call.input(1)
    if active is not None and active.const is not None:
        active = None
    always = active is None and _goes_on(tracer, call, states)
    first = states if always else [active or tracer.constant(np.array(True)), *states]

    def body(number: Value, inside: list[Value]) -> tuple[list[Any], list[Any]]:
        if always:
            return _trip(tracer, call, number, None, list(inside), "")[:2]
        running, *state = inside
        new, rows, condition = _trip(tracer, call, number, running, state, "")
        if rows:
            raise _unknown_trips(call, condition)
        return [_and(tracer, call, running, condition), *new], rows

    results, stacks = roll(tracer, call, trips, first, [], body)
    return [*results[0 if always else 1 :], *stacks]


def _goes_on(tracer: Any, call: Call, states: list[Any]) -> bool:
    """Whether the body's condition is true whatever the trip."""
    start = len(tracer.nodes)
    blank = [Value("", v.dtype, v.shape) if isinstance(v, Value) else v for v in (*states,)]
    number = Value("", np.dtype(np.int64), ())
    condition = _trip(tracer, call, number, None, blank, "")[2]
    del tracer.nodes[start:]
    const = condition.const if isinstance(condition, Value) else None
    return const is not None and bool(const.item())


def _trip_count(call: Call) -> int | None:
    array = call.constant(0, "its trip count") if call.input(0) is not None else None
    return None if array is None else int(array.item())


def _unknown_trips(call: Call, active: Value) -> Exception:
    return call.fail(
        f"its condition '{active.name}' depends on the model's inputs, and so does its trip count",
        "bind the inputs that decide it with --input-value NAME=V",
    )


def _check_unrolling(tracer: Any, trip: int, start: int) -> None:
    added = len(tracer.nodes) - start
    if trip >= MAX_CONSTANT_TRIPS or (trip >= MAX_TRIPS and added > MAX_UNROLLED):
        raise TooLong(trip)


def _and(tracer: Any, call: Call, active: Value | None, condition: Any) -> Any:
    if active is None:
        return condition
    return tracer.op1(call, "And", [active, condition])


def _stacked(tracer: Any, call: Call, values: list[Any], states: int, index: int) -> Item:
    """The scan output made of one value per trip."""
    if values:
        parts = [tracer.op1(call, "Unsqueeze", [v, int64s([0])]) for v in values]
        return tracer.op1(call, "Concat", parts, axis=0)
    declared = call.attrs["body"].output[1 + states + index].type.tensor_type
    shape = [d.dim_value for d in declared.shape.dim]
    return tracer.constant(np.empty((0, *shape), dtype_of(declared.elem_type)))


def scan(tracer: Any, call: Call) -> list[Item | None]:
    """Scan: unrolled; before opset 9 over each element of a batch."""
    if call.since and call.since < 9:
        return _batched_scan(tracer, call)
    return _scan(tracer, call, call.inputs, call.attrs)


def _scan(tracer: Any, call: Call, inputs: list[Any], attrs: dict[str, Any]) -> list[Item | None]:
    count = attrs["num_scan_inputs"]
    states, scanned = list(inputs[: len(inputs) - count]), inputs[len(inputs) - count :]
    if count < 1 or len(scanned) != count:
        raise call.fail(f"{len(inputs)} inputs cannot have {count} scanned ones")
    axes = attrs.get("scan_input_axes") or [0] * count
    backward = attrs.get("scan_input_directions") or [0] * count
    lengths = {_extent(call, value, axis) for value, axis in zip(scanned, axes, strict=True)}
    if len(lengths) != 1:
        raise call.fail(f"its scanned inputs have different lengths {sorted(lengths)}")
    length, start = lengths.pop(), len(tracer.nodes)
    pieces = list(zip(scanned, axes, map(bool, backward), strict=True))
    try:
        return _unrolled_scan(tracer, call, states, pieces, length, attrs)
    except TooLong:
        del tracer.nodes[start:]
    return _rolled_scan(tracer, call, states, pieces, length, attrs)


def _unrolled_scan(
    tracer: Any, call: Call, states: list[Any], pieces: Pieces, length: int, attrs: dict[str, Any]
) -> list[Item | None]:
    start = len(tracer.nodes)
    outputs_count = len(call.attrs["body"].output) - len(states)
    stacks: list[list[Any]] = [[] for _ in range(outputs_count)]
    for trip in range(length):
        _check_unrolling(tracer, trip, start)
        slices = [
            tracer.op1(call, "Gather", [v, int64s(length - 1 - trip if b else trip)], axis=axis)
            for v, axis, b in pieces
        ]
        results = tracer.subgraph(call, "body", [*states, *slices], f"{call.name}/{trip}/")
        states = results[: len(states)]
        for stack, value in zip(stacks, results[len(states) :], strict=True):
            stack.append(value)
    return [*states, *_scan_outputs(tracer, call, stacks, attrs)]


def _rolled_scan(
    tracer: Any, call: Call, states: list[Any], pieces: Pieces, length: int, attrs: dict[str, Any]
) -> list[Item | None]:
    scanned = [Scanned(_moved_axis(tracer, call, v, axis, 0), b) for v, axis, b in pieces]

    def body(_: Value, inside: list[Value]) -> tuple[list[Any], list[Any]]:
        arguments = [*inside, *(one.element for one in scanned)]
        results = tracer.subgraph(call, "body", arguments, f"{call.name}/")
        return results[: len(states)], results[len(states) :]

    count = len(call.attrs["body"].output) - len(states)
    backward = [bool(b) for b in attrs.get("scan_output_directions") or [0] * count]
    results, stacks = roll(tracer, call, length, states, scanned, body, backward)
    axes = attrs.get("scan_output_axes") or [0] * count
    return [
        *results,
        *(_moved_axis(tracer, call, s, 0, a) for s, a in zip(stacks, axes, strict=True)),
    ]


def _moved_axis(tracer: Any, call: Call, value: Any, source: int, target: int) -> Any:
    """`value` with axis `source` moved to `target`."""
    rank = len(value.shape)
    source, target = source % rank, target % rank
    if source == target:
        return value
    order = [axis for axis in range(rank) if axis != source]
    order.insert(target, source)
    return tracer.op1(call, "Transpose", [value], perm=order)


def _extent(call: Call, value: Any, axis: int) -> int:
    shape = value.static_shape if isinstance(value, Value) else None
    if shape is None or not -len(shape) <= axis < len(shape):
        raise call.fail("the length of its scanned inputs is not known")
    return shape[axis]


def _scan_outputs(
    tracer: Any, call: Call, stacks: list[list[Any]], attrs: dict[str, Any]
) -> list[Item]:
    axes = attrs.get("scan_output_axes") or [0] * len(stacks)
    backward = attrs.get("scan_output_directions") or [0] * len(stacks)
    outputs: list[Item] = []
    for stack, axis, reverse in zip(stacks, axes, backward, strict=True):
        if not stack:
            raise call.fail("it runs over no elements")
        parts = [tracer.op1(call, "Unsqueeze", [v, int64s([axis])]) for v in stack]
        outputs.append(tracer.op1(call, "Concat", parts[::-1] if reverse else parts, axis=axis))
    return outputs


def _batched_scan(tracer: Any, call: Call) -> list[Item | None]:
    """Scan-8: all inputs and outputs have a batch axis in front."""
    if call.input(0) is not None:
        raise call.fail("sequence lengths of Scan-8 are not supported", "export with opset 9")
    inputs = call.inputs[1:]
    attrs = {
        "num_scan_inputs": call.attrs["num_scan_inputs"],
        "scan_input_directions": call.attrs.get("directions"),
    }
    batch = _extent(call, inputs[0], 0)
    rows = [
        _scan(
            tracer,
            call,
            [tracer.op1(call, "Gather", [v, int64s(i)], axis=0) for v in inputs],
            attrs,
        )
        for i in range(batch)
    ]
    outputs: list[Item | None] = []
    for column in zip(*rows, strict=True):
        parts = [tracer.op1(call, "Unsqueeze", [v, int64s([0])]) for v in column]
        outputs.append(tracer.op1(call, "Concat", parts, axis=0))
    return outputs


SPECIAL: dict[str, Handler] = {
    **simple.HANDLERS,
    **sequences.HANDLERS,
    "If": if_,
    "Loop": loop,
    "Scan": scan,
}
"""Every operator that the importer resolves itself."""
