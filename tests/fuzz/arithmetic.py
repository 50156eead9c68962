"""Elementwise operators, reductions and selections."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.fuzz.graph import Graph, Tensor, Unfit

Build = Callable[[Graph], object]

F = ("float32", "float32", "float32", "float16", "float64")
NUMBERS = ("float32", "float32", "int32", "int64", "float64", "float16")

UNARY = {
    "Acos": 7, "Acosh": 9, "Asin": 7, "Asinh": 9, "Atan": 7, "Atanh": 9, "Cos": 7, "Cosh": 9,
    "Erf": 9, "Exp": 6, "Gelu": 20, "HardSwish": 14, "Log": 6, "Mish": 18, "Reciprocal": 6,
    "Sigmoid": 6, "Sin": 7, "Sinh": 9, "Softplus": 1, "Softsign": 1, "Sqrt": 6, "Tan": 7,
    "Tanh": 6,
}  # fmt: skip
"""Functions that round, with the opset that has them."""

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "Celu": ("alpha",),
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Selu": ("alpha", "gamma"),
    "Shrink": ("lambd", "bias"),
    "ThresholdedRelu": ("alpha",),
}
SINCE = {"Celu": 12, "Shrink": 9, "ThresholdedRelu": 10}


def unary(g: Graph) -> None:
    """A function of one argument."""
    op_type = g.choice(list(UNARY))
    if g.opset < UNARY[op_type]:
        raise Unfit("opset")
    g.add(op_type, [g.pick(F, (0, 1, 2, 3, 4))])


def activation(g: Graph) -> None:
    """An activation with parameters; some jump, so they take only what is exact."""
    op_type = g.choice(list(ATTRIBUTES))
    if g.opset < SINCE.get(op_type, 6):
        raise Unfit("opset")
    attrs = {name: round(float(g.rng.uniform(0.1, 1.5)), 2) for name in ATTRIBUTES[op_type]}
    jumps = op_type in ("Shrink", "ThresholdedRelu")
    x = g.exact("float32") if jumps else g.pick()
    g.add(op_type, [x], attrs if g.chance(0.7) or op_type == "Shrink" else {}, exact=jumps)


def sharp(g: Graph) -> None:
    """Exact functions of one argument."""
    op_type = g.choice(["Abs", "Neg", "Relu", "Identity", "Sign", "Ceil", "Floor", "Round"])
    if g.opset < {"Sign": 9, "Round": 11}.get(op_type, 6):
        raise Unfit("opset")
    continuous = op_type in ("Abs", "Neg", "Relu", "Identity")
    x = g.pick(NUMBERS) if continuous else g.exact("float32", "float64")
    g.add(op_type, [x], exact=True)


def binary(g: Graph) -> None:
    """Arithmetic with broadcasting; f32 results are exact, f16 may be kept wider."""
    op_type = g.choice(["Add", "Sub", "Mul", "Div", "Add", "Mul"])
    x = g.pick(NUMBERS, (0, 1, 2, 3, 4))
    y = g.broadcastable(x)
    if op_type == "Div" and x.dtype.startswith("int") and not np.all(y.array):
        raise Unfit("division by 0")
    g.add(op_type, [x, y] if g.chance(0.5) else [y, x], exact=x.dtype != "float16")


def prelu(g: Graph) -> None:
    """PRelu with a slope per channel."""
    x = g.pick(("float32",), (2, 3, 4))
    slope = g.new((x.shape[1], *[1] * (x.rank - 2)), "float32")
    g.add("PRelu", [x, slope], exact=True)


def variadic(g: Graph) -> None:
    """Max, Min, Sum, Mean of up to three."""
    op_type = g.choice(["Max", "Min", "Sum", "Mean"])
    if g.opset < 8:
        raise Unfit("opset")
    x = g.pick(("float32", "float64") if op_type in ("Sum", "Mean") or g.opset < 12 else NUMBERS)
    others = [g.broadcastable(x) for _ in range(g.integer(0, 2))]
    g.add(op_type, [x, *others], exact=op_type in ("Max", "Min"))


def power(g: Graph) -> None:
    """Pow of a positive base, or to a small whole number."""
    x = g.pick()
    if g.chance(0.5):
        exponent = g.weight(np.array(g.choice([0.5, 1, 2, 3, -1]), np.float32))
        g.add("Pow", [x, exponent])
    else:
        [base] = g.add("Abs", [x], exact=True)
        g.add("Pow", [base, g.broadcastable(x)])


def modulo(g: Graph) -> None:
    """Mod of integers of either sign; BitShift and bitwise operators of unsigned ones."""
    kind = g.choice(["Mod", "fmod", "BitShift", "Bitwise"])
    if g.opset < {"Bitwise": 18, "BitShift": 11}.get(kind, 10):
        raise Unfit("opset")
    x = g.pick(("uint8",)) if kind == "BitShift" else g.pick(("int32", "int64"))
    y = g.broadcastable(x)
    if kind == "BitShift":
        if y.array.max() > 7:
            raise Unfit("shift")
        g.add("BitShift", [x, y], {"direction": g.choice(["LEFT", "RIGHT"])}, exact=True)
    elif kind == "Bitwise":
        g.add(g.choice(["BitwiseAnd", "BitwiseOr", "BitwiseXor"]), [x, y], exact=True)
    elif np.all(y.array):
        g.add("Mod", [x, y], {"fmod": int(kind == "fmod")}, exact=True)


def comparison(g: Graph) -> None:
    """Comparisons of what is exact."""
    op_type = g.choice(["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"])
    if g.opset < {"LessOrEqual": 12, "GreaterOrEqual": 12, "Equal": 11}.get(op_type, 9):
        raise Unfit("opset")
    x = g.exact("float32", "int32", "int64")
    g.add(op_type, [x, g.broadcastable(x, exact=True)], exact=True)


def logic(g: Graph) -> None:
    """And, Or, Xor, Not, IsNaN."""
    op_type = g.choice(["And", "Or", "Xor", "Not", "IsNaN"])
    if op_type == "IsNaN":
        if g.opset < 9:
            raise Unfit("opset")
        g.add("IsNaN", [g.exact("float32")], exact=True)
        return
    x = g.pick(("bool",))
    g.add(op_type, [x] if op_type == "Not" else [x, g.broadcastable(x)], exact=True)


def clip(g: Graph) -> None:
    """Clip: bounds are attributes before opset 11."""
    if g.opset < 11:
        g.add("Clip", [g.pick()], {"min": -0.75, "max": 1.5}, exact=True)
        return
    x = g.pick(("float32", "float64") if g.opset < 12 else ("float32", "int32", "int64"))
    low, high = (g.weight(np.array(v, x.dtype)) for v in (-1, 1.5))
    bounds = g.choice([[low, high], [low], ["", high], []])
    g.add("Clip", [x, *bounds], exact=True)


def cast(g: Graph) -> None:
    """Casts; floats to integers only where no rounding decides."""
    x = g.exact("float32", "float64", "float16", "int32", "int64", "uint8", "bool")
    targets = {"float32": 1, "float16": 10, "float64": 11, "int32": 6, "int64": 7, "uint8": 2}
    name = g.choice([*targets, "bool"])
    if name == "uint8" and x.dtype not in ("uint8", "bool") and x.array.min() < 0:
        raise Unfit("range")
    g.add("Cast", [x], {"to": targets.get(name, 9)}, exact=True)


def reduction(g: Graph) -> None:
    """Reductions: axes are an attribute before opset 13 (ReduceSum) or 18."""
    names = ["Max", "Min", "Sum", "Mean", "Prod", "L1", "L2", "SumSquare", "LogSumExp", "LogSum"]
    op_type = "Reduce" + g.choice(names)
    exact = op_type in ("ReduceMax", "ReduceMin")
    x = g.pick(("float32", "float32", "int32") if exact or op_type == "ReduceSum" else ("float32",))
    if op_type == "ReduceLogSum":
        [x] = g.add("Abs", [x], exact=True)
    axes = sorted(int(a) for a in g.rng.choice(x.rank, g.integer(1, x.rank), replace=False))
    axes = [a - x.rank if g.opset >= 13 and g.chance(0.3) else a for a in axes]
    attrs: dict[str, object] = {"keepdims": g.integer(0, 1)}
    exact = exact or x.dtype == "int32"
    if g.chance(0.15):
        g.add(op_type, [x], attrs, exact=exact)
    elif g.opset >= (13 if op_type == "ReduceSum" else 18):
        g.add(op_type, [x, g.ints(*axes)], attrs, exact=exact)
    else:
        g.add(op_type, [x], attrs | {"axes": axes}, exact=exact)


def _axis_attr(g: Graph, x: Tensor) -> dict[str, object]:
    axis = g.integer(0, x.rank - 1)
    return {"axis": axis - x.rank if g.opset >= 11 and g.chance(0.3) else axis}


def arg(g: Graph) -> None:
    """ArgMax, ArgMin, of ties too."""
    x = g.exact("float32", "int32")
    attrs = {**_axis_attr(g, x), "keepdims": g.integer(0, 1)}
    if g.opset >= 12:
        attrs["select_last_index"] = g.integer(0, 1)
    g.add(g.choice(["ArgMax", "ArgMin"]), [x], attrs, exact=True)


def top_k(g: Graph) -> None:
    """TopK of distinct values: what is said of ties differs."""
    x = g.exact("float32")
    attrs = _axis_attr(g, x)
    lines = np.moveaxis(x.array, int(str(attrs["axis"])), -1)
    if any(len(set(line)) < len(line) for line in lines.reshape(-1, lines.shape[-1]).tolist()):
        raise Unfit("ties")
    k = g.integer(1, lines.shape[-1])
    if g.opset < 10:
        g.add("TopK", [x], {**attrs, "k": k}, 2, exact=True)
        return
    extra = {"largest": g.integer(0, 1)} if g.opset >= 11 else {}
    g.add("TopK", [x, g.ints(k)], {**attrs, **extra}, 2, exact=True)


def cumulative(g: Graph) -> None:
    """CumSum."""
    if g.opset < 11:
        raise Unfit("opset")
    x = g.pick(("float32", "float32", "int32", "int64"))
    attrs = {"exclusive": g.integer(0, 1), "reverse": g.integer(0, 1)}
    axis = g.weight(np.array(g.integer(-x.rank, x.rank - 1), np.int64))
    g.add("CumSum", [x, axis], attrs, exact=x.dtype != "float32")


def softmax(g: Graph) -> None:
    """Softmax and LogSoftmax, of flattened tensors before opset 13; Hardmax."""
    op_type = g.choice(["Softmax", "Softmax", "LogSoftmax", "Hardmax"])
    sure = op_type == "Hardmax"
    x = g.exact("float32") if sure else g.pick(F)
    g.add(op_type, [x], _axis_attr(g, x) if g.chance(0.8) else {}, exact=sure)


def non_zero(g: Graph) -> None:
    """NonZero of a constant: partial evaluation must see its size."""
    if g.opset < 9:
        raise Unfit("opset")
    array = g.random(g.shape(2, 4), "bool")
    if not array.any():
        raise Unfit("empty")
    g.add("NonZero", [g.weight(array)], exact=True)


BUILDS: list[Build] = [
    unary, unary, unary, activation, activation, sharp, sharp, binary, binary, binary, binary,
    prelu, variadic, power, modulo, comparison, comparison, logic, clip, cast, cast, reduction,
    reduction, reduction, arg, top_k, cumulative, softmax, softmax, non_zero,
]  # fmt: skip
