"""Whether the types and shapes of a node's inputs and outputs fit together.

The inference of onnx looks at what it needs for the outputs and believes the rest; a damaged or
wrongly exported model shall fail here, with the name of its node, and not in a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mxc.importer.values import Call, Shape, Value

MAX_ELEMENTS = 1 << 33
"""Tensors with more are an error: no target could hold them."""

MAX_EXTENT = 1 << 20
"""Of a window, in elements."""

Type = tuple["np.dtype[Any] | None", "Shape | None"]
Check = Callable[[Call, Sequence["tuple[int, ...] | None"]], None]
"""Given the node and the static shapes of its inputs, raises if they do not fit."""


def check_types(call: Call, types: Sequence[Type]) -> None:
    """Raises `ImportFailed` if inputs, attributes and inferred outputs contradict each other."""
    for index, (_, shape) in enumerate(types):
        check_size(call, shape, f"output {index}")
    shapes = [v.static_shape if isinstance(v, Value) else None for v in call.inputs]
    if call.op_type in _CHECKS:
        _CHECKS[call.op_type](call, shapes)
    if call.op_type == "Reshape":
        _check_reshape(call, shapes[0], types[0][1])


def check_size(call: Call, shape: Shape | None, role: str) -> None:
    """A shape has no negative dimension and no absurd number of elements."""
    known = [dim for dim in shape or () if dim is not None]
    if any(dim < 0 for dim in known):
        raise call.fail(f"{role} would have the shape {list(shape or ())}")
    if math.prod(known) > MAX_ELEMENTS:
        raise call.fail(f"{role} would have {math.prod(known)} elements")


def _check_reshape(call: Call, source: Shape | None, target: Shape | None) -> None:
    if source is None or target is None:
        return
    before, after = ([dim for dim in shape if dim is not None] for shape in (source, target))
    whole = len(before) == len(source) and len(after) == len(target)
    if whole and math.prod(before) != math.prod(after):
        raise call.fail(f"{before} cannot become {after}")


def _conv(call: Call, shapes: Sequence[tuple[int, ...] | None]) -> None:
    places = {"ConvTranspose": (0, 1, 2), "QLinearConv": (0, 3, 8), "ConvInteger": (0, 1, 9)}
    x, w, b = (_at(shapes, i) for i in places.get(call.op_type, (0, 1, 2)))
    group = call.attrs.get("group", 1)
    if x is None or w is None:
        return
    if len(x) < 3 or len(w) != len(x):
        raise call.fail(f"an input {list(x)} and weights {list(w)} make no convolution")
    transposed = call.op_type == "ConvTranspose"
    channels, outputs = (w[0], w[1] * group) if transposed else (w[1] * group, w[0])
    if group < 1 or x[1] != channels or channels % group or outputs % group:
        raise call.fail(f"{x[1]} channels and weights {list(w)} do not make {group} groups")
    if b is not None and b != (outputs,):
        raise call.fail(f"a bias {list(b)} does not fit {outputs} output channels")
    if call.attrs.get("kernel_shape", list(w[2:])) != list(w[2:]):
        raise call.fail(f"kernel_shape is not that of the weights {list(w)}")
    _check_window(call, len(x) - 2)


def _pool(call: Call, shapes: Sequence[tuple[int, ...] | None]) -> None:
    if (x := _at(shapes, 0)) is not None:
        _check_window(call, len(x) - 2)


def _check_window(call: Call, rank: int) -> None:
    """Every list about a window has an entry per spatial axis, of a sensible size."""
    lists = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0, "pads": 0}
    for name, least in lists.items():
        values = call.attrs.get(name)
        count = 2 * rank if name == "pads" else rank
        if values is not None and (len(values) != count or min(values, default=least) < least):
            raise call.fail(f"{name}={values} is not possible for {rank} spatial axes")
    if max([0, *(v for name in lists for v in call.attrs.get(name) or ())]) > MAX_EXTENT:
        raise call.fail(f"a window reaches further than {MAX_EXTENT}")


def _gemm(call: Call, shapes: Sequence[tuple[int, ...] | None]) -> None:
    a, b, c = (_at(shapes, i) for i in range(3))
    if a is None or b is None:
        return
    if len(a) != 2 or len(b) != 2:
        raise call.fail(f"{list(a)} and {list(b)} are not matrices")
    m, k = a[::-1] if call.attrs.get("transA", 0) else a
    depth, n = b[::-1] if call.attrs.get("transB", 0) else b
    if k != depth:
        raise call.fail(f"{list(a)} and {list(b)} do not multiply")
    pairs = zip((c or ())[::-1], (n, m), strict=False)
    if any(have not in (1, want) for have, want in pairs):
        raise call.fail(f"{list(c or ())} does not broadcast to {[m, n]}")


def _per_channel(*indices: int) -> Check:
    """Inputs that have one element per channel."""

    def check(call: Call, shapes: Sequence[tuple[int, ...] | None]) -> None:
        x = _at(shapes, 0)
        for index in indices:
            part = _at(shapes, index)
            if x is not None and part is not None and (len(x) < 2 or part != (x[1],)):
                raise call.fail(f"input {index}, {list(part)}, has not one element per channel")

    return check


def _spread(*indices: int) -> Check:
    """Inputs that broadcast to the first, which keeps its shape."""

    def check(call: Call, shapes: Sequence[tuple[int, ...] | None]) -> None:
        x = _at(shapes, 0)
        for index in indices:
            part = _at(shapes, index)
            if x is None or part is None:
                continue
            pairs = zip(part[::-1], x[::-1], strict=False)
            if len(part) > len(x) or any(have not in (1, want) for have, want in pairs):
                raise call.fail(f"input {index}, {list(part)}, does not broadcast to {list(x)}")

    return check


_GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def _recurrent(call: Call, shapes: Sequence[tuple[int, ...] | None]) -> None:
    x = _at(shapes, 0)
    if x is None or len(x) != 3:
        return
    hidden, gates = call.attrs.get("hidden_size", 0), _GATES[call.op_type]
    ways = 2 if call.attrs.get("direction") == "bidirectional" else 1
    batch = x[0] if call.attrs.get("layout", 0) else x[1]
    state = (batch, ways, hidden) if call.attrs.get("layout", 0) else (ways, batch, hidden)
    wanted: list[tuple[int, ...]] = [
        x, (ways, gates * hidden, x[2]), (ways, gates * hidden, hidden),
        (ways, 2 * gates * hidden), (batch,), state, state, (ways, 3 * hidden),
    ]  # fmt: skip
    for index, (have, want) in enumerate(zip(shapes, wanted, strict=False)):
        if have is not None and have != want:
            raise call.fail(f"input {index} has the shape {list(have)}, not {list(want)}")


def _reverse_sequence(call: Call, shapes: Sequence[tuple[int, ...] | None]) -> None:
    x, lengths = _at(shapes, 0), _at(shapes, 1)
    batch, time = call.attrs.get("batch_axis", 1), call.attrs.get("time_axis", 0)
    if sorted((batch, time)) != [0, 1]:
        raise call.fail(f"batch_axis={batch} and time_axis={time} are not 0 and 1")
    if x is not None and lengths is not None and (len(x) < 2 or lengths != (x[batch],)):
        raise call.fail(f"lengths {list(lengths)} do not fit an input {list(x)}")


def _at(shapes: Sequence[tuple[int, ...] | None], index: int) -> tuple[int, ...] | None:
    return shapes[index] if index < len(shapes) else None


_CHECKS: dict[str, Check] = {
    "AveragePool": _pool,
    "BatchNormalization": _per_channel(1, 2, 3, 4),
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "InstanceNormalization": _per_channel(1, 2),
    "LSTM": _recurrent,
    "LayerNormalization": _spread(1, 2),
    "LpPool": _pool,
    "MaxPool": _pool,
    "PRelu": _spread(1),
    "QLinearConv": _conv,
    "RMSNormalization": _spread(1),
    "RNN": _recurrent,
    "ReverseSequence": _reverse_sequence,
}
