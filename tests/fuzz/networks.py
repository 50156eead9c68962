"""Contractions, pooling, normalisation, recurrent layers, quantisation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.fuzz.graph import Graph, Tensor, Unfit

Build = Callable[[Graph], object]


def matmul(g: Graph) -> None:
    """MatMul of all ranks, batches broadcast."""
    x = g.pick(("float32", "float32", "float32", "float16", "float64"), (1, 2, 3, 4))
    k, n = x.shape[-1], g.integer(1, 8)
    batch = [d if g.chance(0.5) else 1 for d in x.shape[:-2]]
    batch = batch[g.integer(0, len(batch)) :]
    shape = [k] if g.chance(0.1) else [*batch, k, n]
    y = g.new(shape, x.dtype, constant=g.chance(0.6))
    g.add("MatMul", [x, y])


def attention(g: Graph) -> None:
    """Q K^T, scaled, softmax, V: contractions of computed operands with transposes between."""
    b, s, h, d = g.integer(1, 2), g.integer(2, 6), g.integer(1, 3), g.integer(2, 8)
    x = g.new((b, s, h * d), "float32", constant=False)
    parts: list[Tensor] = []
    for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        w = g.weight((g.random((h * d, h * d), "float32") / 4).astype(np.float32))
        [p] = g.add("MatMul", [x, w])
        [p] = g.add("Reshape", [p, g.ints(0, 0, h, d)], exact=True)
        parts += g.add("Transpose", [p], {"perm": perm}, exact=True)
    [scores] = g.add("MatMul", parts[:2])
    [scores] = g.add("Mul", [scores, g.weight(np.array(0.1, np.float32))], exact=True)
    last = {"axis": 3}
    [weights] = g.add("Softmax", [scores], last)
    [y] = g.add("MatMul", [weights, parts[2]])
    [y] = g.add("Transpose", [y], {"perm": [0, 2, 1, 3]}, exact=True)
    [y] = g.add("Reshape", [y, g.ints(0, 0, h * d)], exact=True)
    g.add("Add", [y, x], exact=True)


def gemm(g: Graph) -> None:
    """Gemm with either operand transposed, scaled, with every kind of bias."""
    x = g.pick(("float32", "float32", "float64"), (2,))
    trans_a, trans_b = g.integer(0, 1), g.integer(0, 1)
    m, k = x.shape[::-1] if trans_a else x.shape
    n = g.integer(1, 8)
    w = g.new((n, k) if trans_b else (k, n), x.dtype, constant=g.chance(0.7))
    attrs: dict[str, object] = {"transA": trans_a, "transB": trans_b}
    if g.chance(0.4):
        attrs |= {"alpha": 0.5, "beta": 1.5}
    shapes: list[tuple[int, ...]] = [(n,), (1, n), (m, 1), (m, n), (1,)]
    inputs = [x, w]
    if g.chance(0.7) or g.opset < 11:
        inputs.append(g.new(g.choice(shapes), x.dtype))
    g.add("Gemm", inputs, attrs)


def einsum(g: Graph) -> None:
    """Einsum of two operands, with and without batches and sums."""
    if g.opset < 12:
        raise Unfit("opset")
    equation = g.choice(
        ["ij,jk->ik", "bij,bjk->bik", "ij,kj->ki", "bij,bkj->bik", "ij,ij->i", "i,j->ij",
         "bhid,bhjd->bhij", "ij->ji", "ijk->k", "...ij,...jk->...ik"]
    )  # fmt: skip
    sizes = {letter: g.integer(1, 5) for letter in "bhdijk"}
    terms = [term.replace("...", "") for term in equation.split("->")[0].split(",")]
    operands = [g.new([sizes[c] for c in term], "float32") for term in terms]
    g.add("Einsum", operands, {"equation": equation})


def _image(g: Graph, channels: int | None = None, rank: int = 2) -> Tensor:
    def fits(v: Tensor) -> bool:
        large = all(d >= 3 for d in v.shape[2:])
        return large and (channels is None or v.shape[1] == channels)

    try:
        return g.pick(("float32",), (rank + 2,), fits)
    except Unfit:
        spatial = [g.integer(3, 9) for _ in range(rank)]
        return g.new((g.integer(1, 2), channels or g.integer(1, 4), *spatial), "float32")


def _padding(g: Graph, kernel: list[int]) -> dict[str, object]:
    rank = len(kernel)
    if g.chance(0.2):
        return {"auto_pad": g.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])}
    if g.chance(0.5):
        return {"pads": [g.integer(0, k - 1) for k in kernel * 2]}
    return {"pads": [k // 2 for k in kernel] * 2} if rank else {}


def conv(g: Graph) -> None:
    """Conv in one or two dimensions: groups, strides, dilations, all kinds of padding."""
    rank = g.choice([1, 2, 2, 2])
    x = _image(g, rank=rank)
    channels = x.shape[1]
    groups = g.choice([d for d in range(1, channels + 1) if channels % d == 0])
    kernel = [g.integer(1, 3) for _ in range(rank)]
    out = groups * g.integer(1, 4)
    w = g.new((out, channels // groups, *kernel), "float32", constant=g.chance(0.8))
    attrs = {"group": groups, "strides": [g.integer(1, 2) for _ in kernel], **_padding(g, kernel)}
    if g.chance(0.3):
        attrs |= {"kernel_shape": kernel}
    if g.chance(0.2) and "auto_pad" not in attrs:
        attrs |= {"dilations": [2] * rank, "pads": [2] * 2 * rank}
    bias = [g.new((out,), "float32")] if g.chance(0.6) else []
    g.add("Conv", [x, w, *bias], attrs)


def conv_transpose(g: Graph) -> None:
    """ConvTranspose with strides, groups and output padding."""
    x = _image(g)
    channels = x.shape[1]
    groups = g.choice([d for d in range(1, channels + 1) if channels % d == 0])
    kernel, out = [g.integer(1, 3) for _ in range(2)], g.integer(1, 3)
    w = g.new((channels, out, *kernel), "float32", constant=True)
    strides = [g.integer(1, 2) for _ in kernel]
    attrs: dict[str, object] = {"group": groups, "strides": strides}
    if g.chance(0.4):
        attrs["pads"] = [g.integer(0, (k - 1) // 2) for k in kernel] * 2
    if strides == [2, 2] and g.chance(0.4):
        attrs["output_padding"] = [1, 0]
    g.add("ConvTranspose", [x, w], attrs)


def pool(g: Graph) -> None:
    """Pooling: ceil mode, dilations, padding counted or not."""
    op_type = g.choice(["MaxPool", "MaxPool", "AveragePool", "LpPool"])
    x = _image(g, rank=g.choice([1, 2, 2]))
    kernel = [g.integer(1, 3) for _ in x.shape[2:]]
    attrs: dict[str, object] = {
        "kernel_shape": kernel,
        "strides": [g.integer(1, 2) for _ in kernel],
        **_padding(g, kernel),
    }
    if op_type != "LpPool" and g.opset >= 10 and "auto_pad" not in attrs:
        attrs["ceil_mode"] = g.integer(0, 1)
    if op_type == "AveragePool":
        attrs["count_include_pad"] = g.integer(0, 1)
    if op_type == "MaxPool" and g.opset >= 10 and g.chance(0.2) and "auto_pad" not in attrs:
        attrs["dilations"] = [2] * len(kernel)
    g.add(op_type, [x], attrs, exact=op_type == "MaxPool")


def global_pool(g: Graph) -> None:
    """Global pooling."""
    op_type = g.choice(["GlobalAveragePool", "GlobalMaxPool"])
    g.add(op_type, [_image(g)], exact=op_type == "GlobalMaxPool")


def normalisation(g: Graph) -> None:
    """Batch, instance and layer normalisation, LRN, LpNormalization."""
    op_type = g.choice(["Batch", "Instance", "Layer", "LRN", "Lp"])
    if op_type == "Layer":
        if g.opset < 17:
            raise Unfit("opset")
        x = g.pick(("float32",), (2, 3), lambda v: v.shape[-1] > 2)
        inputs = [x, *(g.new(x.shape[-1:], "float32") for _ in range(g.integer(1, 2)))]
        g.add("LayerNormalization", inputs, {"axis": -1, "epsilon": 1e-3})
        return
    x = _image(g)
    c = (x.shape[1],)
    if op_type == "Batch":
        mean, scale, bias = (g.new(c, "float32") for _ in range(3))
        variance = g.weight(g.rng.uniform(0.5, 2, c).astype(np.float32))
        g.add("BatchNormalization", [x, scale, bias, mean, variance], {"epsilon": 1e-3})
    elif op_type == "Instance":
        scale, bias = (g.new(c, "float32") for _ in range(2))
        g.add("InstanceNormalization", [x, scale, bias], {"epsilon": 1e-3})
    elif op_type == "LRN":
        g.add("LRN", [x], {"size": g.choice([1, 3, 5]), "alpha": 0.01})
    else:
        g.add("LpNormalization", [x], {"axis": g.integer(0, 3), "p": g.integer(1, 2)})


def recurrent(g: Graph) -> None:
    """RNN, GRU, LSTM: directions, biases, initial states, all outputs."""
    op_type = g.choice(["RNN", "GRU", "LSTM"])
    s, b, n, h = g.integer(1, 4), g.integer(1, 3), g.integer(1, 5), g.integer(1, 4)
    direction = g.choice(["forward", "reverse", "bidirectional"])
    d, gates = 1 + (direction == "bidirectional"), {"RNN": 1, "GRU": 3, "LSTM": 4}[op_type]
    shapes = [(s, b, n), (d, gates * h, n), (d, gates * h, h), (d, 2 * gates * h)]
    inputs: list[Tensor | str] = [g.new(shapes[0], "float32", constant=False)]
    inputs += [g.new(shape, "float32", constant=True) for shape in shapes[1:3]]
    attrs: dict[str, object] = {"hidden_size": h, "direction": direction}
    if g.chance(0.7):
        inputs.append(g.new(shapes[3], "float32", constant=True))
        if g.chance(0.5):
            inputs += ["", g.new((d, b, h), "float32")]
            if op_type == "LSTM":
                inputs.append(g.new((d, b, h), "float32"))
    if op_type == "GRU":
        attrs["linear_before_reset"] = g.integer(0, 1)
    g.add(op_type, inputs, attrs, 3 if op_type == "LSTM" else 2)


def resize(g: Graph) -> None:
    """Resize by nearest or linear, by scales that are exact."""
    x = _image(g)
    if g.opset < 11:
        raise Unfit("opset")
    modes = [("nearest", "asymmetric"), ("linear", "half_pixel"), ("linear", "align_corners"),
             ("cubic", "half_pixel")]  # fmt: skip
    mode, coordinates = g.choice(modes)
    attrs: dict[str, object] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        attrs["nearest_mode"] = g.choice(["floor", "ceil"])
    if g.chance(0.5):
        # align_corners of sizes that are no whole numbers: onnxruntime differs from the standard
        factors = [1, 2, 3] if coordinates == "align_corners" else [0.5, 1, 2, 3]
        scales = [1, 1, *(g.choice(factors) for _ in range(2))]
        inputs = [x, "", g.weight(np.array(scales, np.float32))]
    else:
        sizes = [*x.shape[:2], *(g.integer(1, 2) * d for d in x.shape[2:])]
        inputs = [x, "", "", g.ints(*sizes)]
    if g.opset < 13:
        inputs[1] = g.weight(np.zeros(0, np.float32))
        inputs[2] = inputs[2] or g.weight(np.zeros(0, np.float32))
    g.add("Resize", inputs, attrs, exact=mode == "nearest")


def quantised(g: Graph) -> None:
    """QuantizeLinear, and DequantizeLinear of it: per tensor or per channel."""
    if g.opset < 10:
        raise Unfit("opset")
    x = g.exact("float32", ranks=(2, 3))
    per_channel = g.opset >= 13 and g.chance(0.5)
    count = (x.shape[1],) if per_channel else ()
    scale = g.weight((2.0 ** g.rng.integers(-6, 0, count)).astype(np.float32))
    dtype = g.choice(["uint8", "int8"])
    zero = g.weight(g.rng.integers(0, 5, count).astype(dtype))
    attrs = {"axis": 1} if g.opset >= 13 else {}
    [q] = g.add("QuantizeLinear", [x, scale, zero], attrs, exact=True)
    [y] = g.add("DequantizeLinear", [q, scale, zero], attrs, exact=True)
    w = g.new((y.shape[-1], 4), "float32", constant=True)
    g.add("MatMul", [y, w])


def integer_matmul(g: Graph) -> None:
    """MatMulInteger with zero points; DynamicQuantizeLinear in front, as exporters write it."""
    if g.opset < 11:
        raise Unfit("opset")
    x = g.exact("float32", ranks=(2,))
    q, scale, zero = g.add("DynamicQuantizeLinear", [x], outputs=3, exact=True)
    weights = g.rng.integers(-20, 20, (x.shape[1], g.integer(1, 5))).astype(np.int8)
    inputs = [q, g.weight(weights), zero, g.weight(np.array(g.integer(-2, 2), np.int8))]
    [y] = g.add("MatMulInteger", inputs[: g.integer(3, 4)], exact=True)
    [y] = g.add("Cast", [y], {"to": 1}, exact=True)
    g.add("Mul", [y, scale], exact=True)


BUILDS: list[Build] = [
    matmul, matmul, matmul, attention, gemm, gemm, einsum, conv, conv, conv, conv_transpose, pool,
    pool, global_pool, normalisation, normalisation, recurrent, resize, quantised, integer_matmul,
]  # fmt: skip
