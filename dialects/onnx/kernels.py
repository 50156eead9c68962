"""Convolutions, poolings and a few others with numpy.

They replace those of `onnx.reference` that are wrong in some case (see `reference`), or slow.
Arguments are f32 or wider; attributes are those of the node, with the schema's defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]
Attrs = Mapping[str, Any]


class Window(NamedTuple):
    """How a kernel moves over the spatial dimensions."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    """Padding in front of each dimension."""
    after: tuple[int, ...]
    """Padding behind, as stated; a window may reach beyond it in ceil mode."""
    out: tuple[int, ...]
    """The number of positions along each dimension."""


def window_of(attrs: Attrs, size: Sequence[int], kernel: Sequence[int]) -> Window:
    """The window that Conv and pooling attributes describe over an image of `size`."""
    rank = len(size)
    strides = tuple(attrs.get("strides") or [1] * rank)
    dilations = tuple(attrs.get("dilations") or [1] * rank)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = attrs.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        out = tuple(-(-n // s) for n, s in zip(size, strides, strict=True))
        total = [
            max(0, (o - 1) * s + r - n)
            for o, s, r, n in zip(out, strides, reach, size, strict=True)
        ]
        small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
        return Window(tuple(kernel), strides, dilations, before, after, out)
    pads = [0] * (2 * rank) if auto == "VALID" else attrs.get("pads") or [0] * (2 * rank)
    before, after = tuple(pads[:rank]), tuple(pads[rank:])
    out = tuple(
        _positions(n, b, a, r, s, bool(attrs.get("ceil_mode", 0)))
        for n, b, a, r, s in zip(size, before, after, reach, strides, strict=True)
    )
    return Window(tuple(kernel), strides, dilations, before, after, out)


def _positions(n: int, before: int, after: int, reach: int, stride: int, ceil: bool) -> int:
    free = n + before + after - reach
    if not ceil:
        return free // stride + 1
    count = -(-free // stride) + 1
    # a window that would start behind the image and the padding in front of it is left out
    return count - 1 if (count - 1) * stride >= n + before else count


def windows(x: Array, window: Window, fill: Any) -> Array:
    """The view [N, C, *out, *kernel] of what the kernel sees at each position, `fill` outside."""
    rank = len(window.kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(window.kernel, window.dilations, strict=True)]
    needed = [(o - 1) * s + r for o, s, r in zip(window.out, window.strides, reach, strict=True)]
    behind = [
        max(0, need - n - b) for need, n, b in zip(needed, x.shape[2:], window.before, strict=True)
    ]
    padded = np.pad(
        x, [(0, 0), (0, 0), *zip(window.before, behind, strict=True)], constant_values=fill
    )
    seen = sliding_window_view(padded, reach, tuple(range(2, 2 + rank)))
    steps = [slice(0, (o - 1) * s + 1, s) for o, s in zip(window.out, window.strides, strict=True)]
    taps = [slice(None, None, d) for d in window.dilations]
    return seen[(slice(None), slice(None), *steps, *taps)]


def conv(attrs: Attrs, x: Array, w: Array, b: Array | None = None) -> list[Array]:
    """Conv: y[n, o, p] = sum over c, k of x[n, c, p * stride + k * dilation - pad] * w[o, c, k]."""
    groups, rank = attrs.get("group", 1), x.ndim - 2
    seen = windows(x, window_of(attrs, x.shape[2:], w.shape[2:]), 0)
    out = seen.shape[2 : 2 + rank]
    parts: list[Array] = []
    width, channels = w.shape[1], w.shape[0] // groups
    order = (0, *range(2, 2 + rank), 1, *range(2 + rank, 2 + 2 * rank))
    for group in range(groups):
        columns = seen[:, group * width : (group + 1) * width].transpose(order)
        columns = columns.reshape(x.shape[0] * math.prod(out), -1)
        kernel = w[group * channels : (group + 1) * channels].reshape(channels, -1)
        parts.append((columns @ kernel.T).reshape(x.shape[0], math.prod(out), channels))
    y = np.concatenate(parts, axis=2).transpose(0, 2, 1).reshape(x.shape[0], w.shape[0], *out)
    return [_biased(y, b)]


def _biased(y: Array, b: Array | None) -> Array:
    return y if b is None else y + b.reshape(-1, *[1] * (y.ndim - 2))


def conv_transpose(attrs: Attrs, x: Array, w: Array, b: Array | None = None) -> list[Array]:
    """ConvTranspose: each element of x adds its multiple of the kernel to the output."""
    groups, rank = attrs.get("group", 1), x.ndim - 2
    kernel, size = w.shape[2:], x.shape[2:]
    strides = attrs.get("strides") or [1] * rank
    dilations = attrs.get("dilations") or [1] * rank
    full = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(size, strides, kernel, dilations, strict=True)
    ]
    start, out = transposed_extent(attrs, size, full, strides)
    width, channels = w.shape[0] // groups, w.shape[1]
    extent = [max(f, b + o) for f, b, o in zip(full, start, out, strict=True)]
    y = np.zeros((x.shape[0], channels * groups, *extent), x.dtype)
    for group in range(groups):
        part = x[:, group * width : (group + 1) * width].reshape(x.shape[0], width, -1)
        taps = w[group * width : (group + 1) * width].reshape(width, -1)
        products = np.einsum("ncp,ct->ntp", part, taps, optimize=True)
        products = products.reshape(x.shape[0], channels, *kernel, *size)
        target = y[:, group * channels : (group + 1) * channels]
        for tap in np.ndindex(*kernel):
            place = [
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, dilations, size, strides, strict=True)
            ]
            target[(slice(None), slice(None), *place)] += products[(slice(None), slice(None), *tap)]
    cut = tuple(slice(begin, begin + length) for begin, length in zip(start, out, strict=True))
    return [_biased(y[(slice(None), slice(None), *cut)], b)]


def transposed_extent(
    attrs: Attrs, size: Sequence[int], full: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Where the output of ConvTranspose begins in the full sum, and its size."""
    rank = len(size)
    extra = attrs.get("output_padding") or [0] * rank
    auto = attrs.get("auto_pad", "NOTSET")
    wanted = attrs.get("output_shape")
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(size, strides, strict=True)]
    if wanted is not None:
        wanted = list(wanted)[-rank:]
        total = [max(0, f + e - o) for f, e, o in zip(full, extra, wanted, strict=True)]
        halves = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total]
        return halves, wanted
    pads = attrs.get("pads") or [0] * (2 * rank)
    out = [
        f + e - pads[i] - pads[rank + i] for i, (f, e) in enumerate(zip(full, extra, strict=True))
    ]
    return list(pads[:rank]), out


def max_pool(attrs: Attrs, x: Array) -> list[Array]:
    """MaxPool and the flat indices of the maxima in x; the first of equal elements counts."""
    rank = x.ndim - 2
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    window = window_of(attrs, x.shape[2:], attrs["kernel_shape"])
    seen = windows(x, window, lowest)
    flat = seen.reshape(*seen.shape[: 2 + rank], -1)
    if attrs.get("storage_order", 0):
        places = np.arange(math.prod(x.shape[2:])).reshape(x.shape[:1:-1]).T
    else:
        places = np.arange(math.prod(x.shape[2:])).reshape(x.shape[2:])
    planes = np.arange(math.prod(x.shape[:2])) * math.prod(x.shape[2:])
    index = planes.reshape(*x.shape[:2], *[1] * rank) + places
    inside = windows(index, window, -1).reshape(flat.shape)
    best_seen = np.where(inside >= 0, flat, lowest).argmax(axis=-1)[..., None]
    first_inside = (inside >= 0).argmax(axis=-1)[..., None]
    chosen = np.take_along_axis(inside, best_seen, -1)
    best = cast("Array", np.where(chosen < 0, first_inside, best_seen))
    return [
        np.take_along_axis(flat, best, -1)[..., 0],
        np.take_along_axis(inside, best, -1)[..., 0].astype(np.int64),
    ]


def average_pool(attrs: Attrs, x: Array) -> list[Array]:
    """AveragePool; padding counts if `count_include_pad`, what ceil mode adds behind it never."""
    rank = x.ndim - 2
    window = window_of(attrs, x.shape[2:], attrs["kernel_shape"])
    axes = tuple(range(2 + rank, 2 + 2 * rank))
    ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
    if attrs.get("count_include_pad", 0):
        around = [(0, 0), (0, 0), *zip(window.before, window.after, strict=True)]
        ones = np.pad(ones, around, constant_values=1)
        window_of_ones = window._replace(before=(0,) * rank)
    else:
        window_of_ones = window
    count = windows(ones, window_of_ones, 0).sum(axis=axes)
    return [windows(x, window, 0).sum(axis=axes, dtype=x.dtype) / count.astype(x.dtype)]


def global_max_pool(attrs: Attrs, x: Array) -> list[Array]:
    """GlobalMaxPool: the maximum over all spatial dimensions."""
    return [x.max(axis=tuple(range(2, x.ndim)), keepdims=True)]


def lp_pool(attrs: Attrs, x: Array) -> list[Array]:
    """LpPool: the p-norm of what each window sees."""
    rank, p = x.ndim - 2, attrs.get("p", 2)
    seen = windows(np.abs(x), window_of(attrs, x.shape[2:], attrs["kernel_shape"]), 0)
    powers = (seen**p).sum(axis=tuple(range(2 + rank, 2 + 2 * rank)), dtype=x.dtype)
    return [powers ** (1 / p)]


def lp_normalization(attrs: Attrs, x: Array) -> list[Array]:
    """LpNormalization: x / norm along the axis, 0 where the norm is 0."""
    axis, p = attrs.get("axis", -1), attrs.get("p", 2)
    norm = (np.abs(x) ** p).sum(axis=axis, keepdims=True, dtype=x.dtype) ** (1 / p)
    norm[norm == 0] = np.inf  # then the quotient is 0
    return [x / norm]


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def pad(
    attrs: Attrs,
    x: Array,
    pads: Array,
    value: Array | None = None,
    axes: Array | None = None,
) -> list[Array]:
    """Pad; negative amounts cut elements off, before the others are filled in."""
    chosen = range(x.ndim) if axes is None else [int(a) % x.ndim for a in axes]
    amounts = [(0, 0)] * x.ndim
    for place, axis in enumerate(chosen):
        amounts[axis] = (int(pads[place]), int(pads[len(chosen) + place]))
    cut = tuple(
        slice(max(0, -before), n - max(0, -after))
        for n, (before, after) in zip(x.shape, amounts, strict=True)
    )
    width = [(max(0, before), max(0, after)) for before, after in amounts]
    mode = _PAD_MODES[attrs.get("mode", "constant")]
    if mode != "constant":
        fill_in: Any = np.pad  # its type knows no mode that is not a literal
        return [fill_in(x[cut], width, mode)]
    fill = np.zeros((), x.dtype) if value is None else np.asarray(value).reshape(())
    return [np.pad(x[cut], width, constant_values=fill)]


def gather_elements(attrs: Attrs, x: Array, indices: Array) -> list[Array]:
    """GatherElements; the indices may reach less far than the data along the other axes too."""
    axis = int(attrs["axis"]) % x.ndim
    place: list[Any] = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    place[axis] = np.where(indices < 0, indices + x.shape[axis], indices)
    return [x[tuple(place)]]


def lrn(attrs: Attrs, x: Array) -> list[Array]:
    """LRN: every element over a power of the squares of its neighbours along the channels."""
    size, channels = int(attrs["size"]), x.shape[1]
    before, after = (size - 1) // 2, size // 2
    squares = np.zeros_like(x)
    for c in range(channels):
        squares[:, c] = np.square(x[:, max(0, c - before) : c + after + 1]).sum(axis=1)
    scale = attrs["bias"] + attrs["alpha"] / size * squares
    return [x / scale ** attrs["beta"]]


def mean(attrs: Attrs, *terms: Array) -> list[Array]:
    """Mean of tensors that broadcast, in either direction."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return [total / np.asarray(len(terms), total.dtype)]


def log_softmax(attrs: Attrs, x: Array) -> list[Array]:
    """The logarithm, x - max - log(sum(exp(x - max))): finite where a softmax is 0."""
    axis = int(attrs["axis"])
    shifted = x - x.max(axis, keepdims=True, initial=-np.inf)
    total = np.exp(shifted).sum(axis, keepdims=True, dtype=shifted.dtype)
    return [shifted - np.log(total)]


KERNELS: dict[str, Callable[..., list[Array]]] = {
    "AveragePool": average_pool,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "GatherElements": gather_elements,
    "GlobalMaxPool": global_max_pool,
    "LRN": lrn,
    "LogSoftmax": log_softmax,
    "LpNormalization": lp_normalization,
    "LpPool": lp_pool,
    "MaxPool": max_pool,
    "Mean": mean,
    "Pad": pad,
}
"""Operator -> its kernel: attributes and arguments in, outputs out."""
