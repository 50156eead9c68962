"""MatMulNBits of com.microsoft: how onnxruntime and its tools store quantised weights.

    y = A @ dequantised(B)^T + bias      B: [N, blocks, bytes], bits of 2, 4 or 8, low bits first

becomes DequantizeLinear (blocked, its integers kept as they are), Transpose, MatMul and Add.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from mxc.importer.simple import Handler
from mxc.importer.values import Array, Call, Item, Value

_CODES: dict[int, Any] = {2: ml_dtypes.uint2, 4: ml_dtypes.uint4, 8: np.uint8}
_KNOWN = ("K", "N", "bits", "block_size", "accuracy_level", "weight_prepacked")


def matmul_n_bits(tracer: Any, call: Call) -> list[Item | None]:
    """MatMulNBits: see above; `accuracy_level` is a hint that we do not need."""
    k, n, block = (_attribute(call, name) for name in ("K", "N", "block_size"))
    bits = _attribute(call, "bits", 4)
    for name in call.attrs:
        if name not in _KNOWN or (name == "weight_prepacked" and call.attrs[name]):
            raise call.fail(f"attribute '{name}' of com.microsoft.MatMulNBits is not supported")
    if bits not in _CODES:
        raise call.fail(f"bits={bits} is not supported", "2, 4 and 8 are")
    if not 2 <= len(call.inputs) <= 6 or block < 1 or k < 1 or n < 1:
        raise call.fail("this is no com.microsoft.MatMulNBits")
    blocks = -(-k // block)
    codes = _unpacked(_given(call, 1, "B"), bits, (n, blocks, block * bits // 8), call)
    codes = codes.reshape(n, blocks * block)[:, :k]
    scales = _shaped(call, _given(call, 2, "scales"), (n, blocks), "scales")
    _check_order(call, k, block)
    weights = _weights(tracer, call, codes, scales, bits, block)
    turned = tracer.op1(call, "Transpose", [weights], perm=[1, 0])
    y = tracer.op1(call, "MatMul", [call.tensor(0), turned])
    bias = call.input(5)
    return [y if bias is None else tracer.op1(call, "Add", [y, bias])]


def _attribute(call: Call, name: str, default: int | None = None) -> int:
    value = call.attrs.get(name, default)
    if not isinstance(value, int):
        raise call.fail(f"attribute '{name}' is missing or no integer")
    return value


def _given(call: Call, index: int, role: str) -> Array:
    value = call.constant(index, role)
    if value is None:
        raise call.fail(f"input {role} is missing")
    return value


def _shaped(call: Call, value: Array, shape: tuple[int, ...], role: str) -> Array:
    if value.size != int(np.prod(shape)):
        raise call.fail(f"{role} has the shape {list(value.shape)}, not {list(shape)}")
    return value.reshape(shape)


def _unpacked(packed: Array, bits: int, shape: tuple[int, ...], call: Call) -> Array:
    """The integers in bytes, low bits first, along the last axis."""
    if packed.dtype != np.uint8:
        raise call.fail(f"packed integers have type {packed.dtype}, not uint8")
    packed = _shaped(call, packed, shape, "a packed input")
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    integers = (packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return integers.reshape(*shape[:-1], -1)


def _check_order(call: Call, k: int, block: int) -> None:
    """The input g_idx may say only what is so without it."""
    order = call.constant(4, "g_idx")
    if order is not None and not np.array_equal(order, np.arange(k) // block):
        raise call.fail("a g_idx that reorders groups is not supported", "export without act_order")


def _weights(tracer: Any, call: Call, codes: Array, scales: Array, bits: int, block: int) -> Value:
    """The dequantised weights [N, K]."""
    blocks = scales.shape[1]
    kind = np.dtype(_CODES[bits])
    zeros = call.constant(3, "zero_points")
    if zeros is None:
        points = np.full(scales.shape, 1 << (bits - 1), np.uint8)
    elif zeros.dtype == np.uint8:
        row = -(-blocks * bits // 8)
        points = _unpacked(zeros, bits, (len(scales), row), call)[:, :blocks]
    else:
        return _around_floats(tracer, call, codes, scales, zeros, block)
    inputs = [codes.astype(kind), scales, points.astype(kind)]
    return tracer.op1(call, "DequantizeLinear", inputs, axis=1, block_size=block)


def _around_floats(
    tracer: Any, call: Call, codes: Array, scales: Array, zeros: Array, block: int
) -> Value:
    """Zero points that are no integers: DequantizeLinear has none, so the weights are floats."""
    zeros = _shaped(call, zeros, scales.shape, "zero_points")
    spread = [np.repeat(x, block, axis=1)[:, : codes.shape[1]] for x in (zeros, scales)]
    return tracer.constant((codes.astype(scales.dtype) - spread[0]) * spread[1])


HANDLERS: dict[tuple[str, str], Handler] = {("com.microsoft", "MatMulNBits"): matmul_n_bits}
"""(domain, operator) -> its handler; no other operator of these domains is known."""
