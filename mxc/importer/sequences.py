"""Sequences and optionals: they exist while importing, as Python lists of values."""

from __future__ import annotations

from typing import Any

import numpy as np

from mxc.importer.simple import Handler
from mxc.importer.upgrades.rules import int64s
from mxc.importer.values import Call, Item, Optional, Sequence

MAX_PARTS = 10_000
"""The longest sequence that a tensor may be split into."""


def _items(call: Call, index: int = 0) -> list[Item]:
    value = call.input(index)
    if isinstance(value, Optional):
        value = value.item
    if not isinstance(value, Sequence):
        raise call.fail(f"input {index} is not a sequence that is known while importing")
    return value.items


def _position(call: Call, index: int, default: int, last: int) -> int:
    """The position that input `index` states, counted from the end if negative."""
    array = call.constant(index, "the position")
    position = default if array is None else int(array)
    position += last if position < 0 else 0
    if not 0 <= position <= last:
        raise call.fail(f"position {position} is outside of a sequence of {last}")
    return position


def construct(tracer: Any, call: Call) -> list[Item | None]:
    """SequenceConstruct."""
    return [Sequence(list(call.inputs))]


def empty(tracer: Any, call: Call) -> list[Item | None]:
    """SequenceEmpty."""
    return [Sequence([])]


def length(tracer: Any, call: Call) -> list[Item | None]:
    """SequenceLength."""
    return [tracer.constant(np.array(len(_items(call)), np.int64))]


def at(tracer: Any, call: Call) -> list[Item | None]:
    """SequenceAt."""
    items = _items(call)
    position = _position(call, 1, 0, len(items))
    if position == len(items):
        raise call.fail(f"position {position} is outside of a sequence of {len(items)}")
    return [items[position]]


def insert(tracer: Any, call: Call) -> list[Item | None]:
    """SequenceInsert: before the position, at the end by default."""
    items = list(_items(call))
    items.insert(_position(call, 2, len(items), len(items)), call.tensor(1))
    return [Sequence(items)]


def erase(tracer: Any, call: Call) -> list[Item | None]:
    """SequenceErase: the last element by default."""
    items = list(_items(call))
    position = _position(call, 1, len(items) - 1, len(items))
    if position >= len(items):
        raise call.fail("there is nothing to erase")
    del items[position]
    return [Sequence(items)]


def concat(tracer: Any, call: Call) -> list[Item | None]:
    """ConcatFromSequence."""
    parts: list[Any] = list(_items(call))
    axis = call.attrs["axis"]
    if call.attrs.get("new_axis", 0):
        parts = [tracer.op1(call, "Unsqueeze", [part, int64s([axis])]) for part in parts]
    if not parts:
        raise call.fail("an empty sequence cannot be concatenated")
    return tracer.op(call, "Concat", parts, {"axis": axis})


def split(tracer: Any, call: Call) -> list[Item | None]:
    """SplitToSequence: by sizes, by one size, or into single slices."""
    shape = call.static(0)
    axis = int(call.attrs.get("axis", 0))
    if not -len(shape) <= axis < len(shape):
        raise call.fail(f"axis {axis} is out of range for rank {len(shape)}")
    total = shape[axis]
    given = call.constant(1, "the sizes of the parts")
    sizes: list[int] = [int(s) for s in given] if given is not None and given.ndim else []
    if not sizes:
        step = 1 if given is None else int(given)
        if step < 1 or total // step > MAX_PARTS:
            raise call.fail(f"it cannot be split into parts of {step}")
        sizes = [min(step, total - start) for start in range(0, total, step)]
    parts: list[Any] = [call.inputs[0]]
    if len(sizes) > 1:
        attrs = {"axis": axis}
        parts = tracer.op(call, "Split", [call.inputs[0], int64s(sizes)], attrs, len(sizes))
    if given is None and not call.attrs.get("keepdims", 1):
        parts = [tracer.op1(call, "Squeeze", [part, int64s([axis])]) for part in parts]
    return [Sequence(parts)]


def map_(tracer: Any, call: Call) -> list[Item | None]:
    """SequenceMap: its body for each element."""
    count = len(_items(call))
    results: list[list[Item]] = [[] for _ in call.outputs]
    for i in range(count):
        arguments = [
            v.items[i] if isinstance(v, Sequence) and i < len(v.items) else v for v in call.inputs
        ]
        outputs = tracer.subgraph(call, "body", arguments, f"{call.name}/{i}/")
        for result, value in zip(results, outputs, strict=False):
            result.append(value)
    return [Sequence(result) for result in results]


def optional(tracer: Any, call: Call) -> list[Item | None]:
    """Optional: of the input, or empty."""
    return [Optional(call.input(0))]


def get_element(tracer: Any, call: Call) -> list[Item | None]:
    """OptionalGetElement; of a tensor or sequence, the value itself."""
    value = call.inputs[0]
    if not isinstance(value, Optional):
        return [value]
    if value.item is None:
        raise call.fail("the optional is empty")
    return [value.item]


def has_element(tracer: Any, call: Call) -> list[Item | None]:
    """OptionalHasElement; an omitted input has none."""
    value = call.input(0)
    has = value.item is not None if isinstance(value, Optional) else value is not None
    return [tracer.constant(np.array(has))]


HANDLERS: dict[str, Handler] = {
    "ConcatFromSequence": concat,
    "Optional": optional,
    "OptionalGetElement": get_element,
    "OptionalHasElement": has_element,
    "SequenceAt": at,
    "SequenceConstruct": construct,
    "SequenceEmpty": empty,
    "SequenceErase": erase,
    "SequenceInsert": insert,
    "SequenceLength": length,
    "SequenceMap": map_,
    "SplitToSequence": split,
}
