"""Operators that move elements: what they give is known to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.fuzz.graph import Graph, Tensor, Unfit

Build = Callable[[Graph], object]

ANY = ("float32", "float32", "float32", "float16", "int32", "int64", "uint8", "bool", "float64")


def _axis(g: Graph, rank: int) -> int:
    axis = g.integer(0, rank - 1)
    return axis - rank if g.chance(0.3) else axis


def transpose(g: Graph) -> None:
    """Transpose, by default reversing."""
    x = g.pick(ANY, (2, 3, 4))
    attrs = {} if g.chance(0.2) else {"perm": [int(i) for i in g.rng.permutation(x.rank)]}
    g.add("Transpose", [x], attrs, exact=True)


def reshape(g: Graph) -> None:
    """Reshape with 0 and -1."""
    x = g.pick(ANY, (0, 1, 2, 3, 4))
    size, shape = x.array.size, list[int]()
    for _ in range(g.integer(0, 3)):
        factor = g.choice([d for d in range(1, size + 1) if size % d == 0])
        shape.append(factor)
        size //= factor
    shape.insert(g.integer(0, len(shape)), size)
    for i, dim in enumerate(shape):
        if i < x.rank and dim == x.shape[i] and g.chance(0.3):
            shape[i] = 0
    if g.chance(0.4):
        shape[g.integer(0, len(shape) - 1)] = -1
    g.add("Reshape", [x, g.ints(*shape)], exact=True)


def flatten(g: Graph) -> None:
    """Flatten."""
    x = g.pick(ANY, (1, 2, 3, 4))
    g.add("Flatten", [x], {"axis": g.integer(0, x.rank)}, exact=True)


def squeeze(g: Graph) -> None:
    """Squeeze and Unsqueeze: axes are an attribute before opset 13."""
    x = g.pick(ANY, (1, 2, 3, 4))
    ones = [i for i, d in enumerate(x.shape) if d == 1]
    if ones and g.chance(0.6):
        op_type, axes = "Squeeze", ones[: g.integer(1, len(ones))]
    else:
        op_type, axes = "Unsqueeze", [g.integer(0, x.rank)]
    if g.opset < 13:
        g.add(op_type, [x], {"axes": axes}, exact=True)
    else:
        g.add(op_type, [x, g.ints(*axes)], exact=True)


def concat(g: Graph) -> None:
    """Concat of values that agree but for one axis."""
    x = g.pick(ANY, (1, 2, 3, 4))
    axis = g.integer(0, x.rank - 1)

    def fits(v: Tensor) -> bool:
        same = [a == b or i == axis for i, (a, b) in enumerate(zip(v.shape, x.shape, strict=True))]
        return all(same)

    parts = [x]
    for _ in range(g.integer(0, 3)):
        others = [v for v in g.values if (v.dtype, v.rank) == (x.dtype, x.rank) and fits(v)]
        shape = list(x.shape)
        shape[axis] = g.integer(1, 4)
        parts.append(g.choice(others) if others and g.chance(0.7) else g.new(shape, x.dtype))
    g.add("Concat", parts, {"axis": axis - g.choice([0, x.rank])}, exact=True)


def split(g: Graph) -> None:
    """Split: sizes are an attribute before opset 13, `num_outputs` comes with 18."""
    x = g.pick(ANY, (1, 2, 3, 4), lambda v: max(v.shape) > 1)
    axis = int(np.argmax(x.shape))
    size, count = x.shape[axis], g.integer(2, min(3, x.shape[axis]))
    cuts = sorted(int(c) for c in g.rng.choice(np.arange(1, size), count - 1, replace=False))
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, size], strict=True)]
    if g.opset < 13:
        g.add("Split", [x], {"axis": axis, "split": sizes}, count, exact=True)
    elif g.opset >= 18 and g.chance(0.4):
        g.add("Split", [x], {"axis": axis, "num_outputs": count}, count, exact=True)
    else:
        g.add("Split", [x, g.ints(*sizes)], {"axis": axis}, count, exact=True)


def slice_(g: Graph) -> None:
    """Slice with negative positions, steps and ends beyond; attributes before opset 10."""
    x = g.pick(ANY, (1, 2, 3, 4))
    axes = sorted(int(a) for a in g.rng.choice(x.rank, g.integer(1, x.rank), replace=False))
    starts, ends, steps = list[int](), list[int](), list[int]()
    for axis in axes:
        size = x.shape[axis]
        a, b = sorted((g.integer(0, size), g.integer(0, size)))
        a, b = (a, b) if a < b else (0, size)
        step = g.choice([1, 1, 1, 2, -1, -2]) if g.opset >= 10 else 1
        if step < 0:
            a, b = b - 1, a - 1 - size - (0 if a else 1)
        elif g.chance(0.3):
            a, b = a - size, g.choice([b - size if b < size else 2**31, b])
        starts.append(a)
        ends.append(b)
        steps.append(step)
    if g.opset < 10:
        g.add("Slice", [x], {"axes": axes, "starts": starts, "ends": ends}, exact=True)
    else:
        vectors = (g.ints(*v) for v in (starts, ends, axes, steps))
        g.add("Slice", [x, *vectors], exact=True)


def expand(g: Graph) -> None:
    """Expand, in both directions."""
    if g.opset < 8:
        raise Unfit("opset")
    x = g.pick(ANY, (0, 1, 2, 3))
    shape = [d if d > 1 else g.integer(1, 4) for d in x.shape]
    shape = [1 if g.chance(0.2) else d for d in shape]
    if g.chance(0.5):
        shape = [g.integer(1, 3), *shape]
    g.add("Expand", [x, g.ints(*shape)], exact=True)


def tile(g: Graph) -> None:
    """Tile."""
    x = g.pick(ANY, (1, 2, 3, 4))
    g.add("Tile", [x, g.ints(*(g.integer(1, 3) for _ in x.shape))], exact=True)


def pad(g: Graph) -> None:
    """Pad: attributes before opset 11, wrap from 19, axes from 18; may remove, too."""
    x = g.pick(("float32", "float32", "float64", "int32", "int64"), (1, 2, 3, 4))
    modes = ["constant", "edge", "reflect"] + (["wrap"] if g.opset >= 19 else [])
    mode = g.choice(modes)
    if g.opset < 11 and x.dtype != "float32":
        raise Unfit("type")
    most = {"constant": 3, "edge": 3, "wrap": min(x.shape), "reflect": min(x.shape) - 1}[mode]
    low = -1 if mode == "constant" and min(x.shape) > 2 and g.chance(0.3) else 0
    pads = [g.integer(low, max(most, 0)) for _ in range(2 * x.rank)]
    if g.opset < 11:
        g.add("Pad", [x], {"mode": mode, "pads": pads, "value": 0.5}, exact=True)
        return
    value = g.weight(np.array(2, x.dtype)) if mode == "constant" and g.chance(0.6) else ""
    inputs = [x, g.ints(*pads), value]
    if g.opset >= 18 and g.chance(0.3):
        axis = g.integer(0, x.rank - 1)
        inputs = [x, g.ints(*pads[:2]), value, g.ints(axis)]
    while inputs[-1] == "":
        inputs.pop()
    g.add("Pad", inputs, {"mode": mode}, exact=True)


def gather(g: Graph) -> None:
    """Gather, with constant or computed indices; negative ones."""
    x = g.pick(ANY, (1, 2, 3))
    axis = _axis(g, x.rank)
    size = x.shape[axis]
    shape = g.shape(g.integer(0, 2), 4)
    low = -size if g.opset >= 11 else 0
    indices = g.rng.integers(low, size, shape).astype(g.choice(["int64", "int32"]))
    g.add("Gather", [x, _index(g, indices)], {"axis": axis}, exact=True)


def _index(g: Graph, array: np.ndarray) -> Tensor:
    """Indices as a constant or an input; others must not use them as numbers."""
    name = g.name("i")
    (g.weights if g.chance(0.5) else g.inputs)[name] = array
    return Tensor(name, array, 0.0)


def gather_elements(g: Graph) -> None:
    """GatherElements and ScatterElements."""
    if g.opset < 11:
        raise Unfit("opset")
    x = g.pick(("float32", "int64", "float64", "int32"), (1, 2, 3))
    axis = g.integer(0, x.rank - 1)
    shape = [g.integer(1, d) for d in x.shape]
    if g.chance(0.5):
        shape[axis] = g.integer(1, 5)
        indices = g.rng.integers(-x.shape[axis], x.shape[axis], shape)
        g.add("GatherElements", [x, _index(g, indices)], {"axis": axis}, exact=True)
        return
    order = np.argsort(g.rng.random(x.shape), axis=axis)  # no index twice
    indices = order[tuple(slice(0, d) for d in shape)]
    updates = g.new(shape, x.dtype)
    attrs: dict[str, object] = {"axis": axis}
    if g.opset >= 18 and x.dtype == "float32":
        attrs["reduction"] = g.choice(["none", "add", "mul", "max", "min"])
    elif g.opset >= 16 and x.dtype == "float32":
        attrs["reduction"] = g.choice(["none", "add", "mul"])
    g.add("ScatterElements", [x, _index(g, indices), updates], attrs, exact=True)


def gather_nd(g: Graph) -> None:
    """GatherND and ScatterND."""
    if g.opset < 12:
        raise Unfit("opset")
    x = g.pick(("float32", "int64", "int32"), (1, 2, 3))
    depth = g.integer(1, x.rank)
    points = math.prod(x.shape[:depth])
    count = g.integer(1, min(5, points))
    flat = g.rng.choice(points, count, replace=False)
    indices = np.stack(np.unravel_index(flat, x.shape[:depth]), -1).astype(np.int64)
    if g.chance(0.3):
        indices -= np.array(x.shape[:depth])
    if g.chance(0.5):
        g.add("GatherND", [x, _index(g, indices)], exact=True)
    else:
        updates = g.new((count, *x.shape[depth:]), x.dtype)
        g.add("ScatterND", [x, _index(g, indices), updates], exact=True)


def where(g: Graph) -> None:
    """Where."""
    if g.opset < 9:
        raise Unfit("opset")
    x = g.pick(("float32", "int64", "int32", "uint8", "float64"), (1, 2, 3))
    y = g.broadcastable(x)
    masks = [v for v in g.values if v.dtype == "bool" and v.shape == x.shape]
    condition = g.choice(masks) if masks and g.chance(0.7) else g.new(x.shape, "bool")
    g.add("Where", [condition, x, y], exact=True)


def depth_to_space(g: Graph) -> None:
    """DepthToSpace and SpaceToDepth."""
    block = g.integer(1, 2)
    if g.chance(0.5):
        x = g.new((g.integer(1, 2), g.integer(1, 2) * block**2, *g.shape(2, 3)), "float32")
        mode = {"mode": g.choice(["DCR", "CRD"])} if g.opset >= 11 else {}
        g.add("DepthToSpace", [x], {"blocksize": block, **mode}, exact=True)
    else:
        h, w = g.shape(2, 3)
        x = g.new((1, g.integer(1, 3), h * block, w * block), "float32")
        g.add("SpaceToDepth", [x], {"blocksize": block}, exact=True)


def trilu(g: Graph) -> None:
    """Trilu."""
    if g.opset < 14:
        raise Unfit("opset")
    x = g.pick(("float32", "int64", "bool"), (2, 3))
    k = [g.weight(np.array(g.integer(-3, 3), np.int64))] if g.chance(0.6) else []
    g.add("Trilu", [x, *k], {"upper": g.integer(0, 1)}, exact=True)


def reverse_sequence(g: Graph) -> None:
    """ReverseSequence."""
    if g.opset < 10:
        raise Unfit("opset")
    x = g.pick(("float32",), (2, 3))
    time = g.integer(0, 1)
    lengths = g.rng.integers(1, x.shape[time] + 1, x.shape[1 - time])
    attrs = {"time_axis": time, "batch_axis": 1 - time}
    g.add("ReverseSequence", [x, _index(g, lengths)], attrs, exact=True)


def one_hot(g: Graph) -> None:
    """OneHot; indices out of range give rows of the off value."""
    if g.opset < 11:
        raise Unfit("opset")
    x = g.exact("int64", ranks=(1, 2))
    depth = g.weight(np.array(g.integer(2, 5), np.int64))
    values = g.weight(np.array([-1, 2], np.float32))
    g.add("OneHot", [x, depth, values], {"axis": g.choice([-1, 0])}, exact=True)


def shape_arithmetic(g: Graph) -> None:
    """Reshape to a shape computed by Shape, Gather, Concat, as exporters write it."""
    x = g.pick(("float32",), (2, 3, 4))
    [shape] = g.add("Shape", [x], sure=True)
    [first] = g.add("Gather", [shape, g.ints(0)], exact=True)
    [target] = g.add("Concat", [first, g.ints(-1)], {"axis": 0}, exact=True)
    g.add("Reshape", [x, target], exact=True)


BUILDS: list[Build] = [
    transpose, transpose, reshape, reshape, flatten, squeeze, concat, concat, split, slice_,
    slice_, expand, tile, pad, gather, gather_elements, gather_nd, where, depth_to_space, trilu,
    reverse_sequence, one_hot, shape_arithmetic,
]  # fmt: skip
