"""Block tensors in standard ONNX.

A block tensor is a pair: codes, and E8M0 scales, one per block along one axis. Its values are
`DequantizeLinear(codes, scales, axis, block_size)`. Quantising computes the scales in the graph,
exactly as the recipe does, with float operations that have one result:

    p = Cast(amax -> E8M0, round_mode = down)        2**floor(log2(amax))
    s = p * 2**-emax * (2 if amax / p passes the rule's threshold else 1)

Opset 24 is written for onnxruntime, which has no E8M0 scales in QuantizeLinear and no FP6 or FP4:
scales are cast to f32, and elements narrower than 8 bits are rounded by arithmetic,
`Round(v / step) * step` with `step` from the exponent of v. Both give the bits of `mx.quantize` for
finite input. A block with NaN or infinity has a NaN scale, as in `mx.quantize`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from mxc.backends.onnx.writer import FLOAT, Writer
from mxc.dialects.mx import BlockType, RecipeAttr
from mxc.errors import CannotLower
from mxc.numerics import FORMATS, BlockArray, Element, block_values

E8M0 = int(TensorProto.FLOAT8E8M0)
PORTABLE = 24
"""The opset whose files onnxruntime runs."""

NATIVE = {
    "mxfp8_e4m3": TensorProto.FLOAT8E4M3FN,
    "mxfp8_e5m2": TensorProto.FLOAT8E5M2,
    "mxfp6_e2m3": TensorProto.FLOAT6E2M3,
    "mxfp6_e3m2": TensorProto.FLOAT6E3M2,
    "mxfp4": TensorProto.FLOAT4E2M1,
    "mxint8": TensorProto.INT8,
}
"""The ONNX type of the codes of each format."""

INT8_FRACTION = 6
"""An MXINT8 code counts 2**-6, which ONNX has in the scale."""


def axis_of(block: BlockType, format_name: str) -> tuple[int, int]:
    """(axis, block size): ONNX has blocks along one axis only.

    Raises:
        CannotLower: if the blocks have two axes, or the format no ONNX type.
    """
    axes = [i for i, b in enumerate(block.shape) if b > 1]
    if len(axes) != 1 or format_name not in NATIVE:
        raise CannotLower(
            f"blocks of {format_name} in shape {'x'.join(map(str, block.shape))} have no ONNX form",
            hint="ONNX has OCP formats with blocks along one axis",
        )
    return axes[0], block.shape[axes[0]]


class BlockWriter:
    """Writes constants and conversions of block tensors."""

    def __init__(self, writer: Writer, opset: int) -> None:
        self.writer = writer
        self.opset = opset

    def constant(self, value: BlockArray, block: BlockType, stem: str) -> str:
        """The values of a constant block array."""
        axis, size = axis_of(block, block.format)
        if self.opset == PORTABLE and block.format != "mxint8" and _bits(block) < 8:
            return self.writer.constant(block_values(value, np.float32), stem)
        codes = self._codes(value, block.format, f"{stem}_codes")
        scales = self._scale_bytes(value, block.format, f"{stem}_scales")
        return self._dequantize(codes, scales, axis, size)

    def _codes(self, value: BlockArray, format: str, stem: str) -> str:
        dtype = helper.tensor_dtype_to_np_dtype(int(NATIVE[format]))
        return self.writer.constant(np.ascontiguousarray(value.codes).view(dtype), stem)

    def _scale_bytes(self, value: BlockArray, format: str, stem: str) -> str:
        scales = value.scales
        if format == "mxint8":
            if ((scales < INT8_FRACTION) & (scales > 0)).any():
                raise CannotLower("a scale below 2**-121 has no ONNX form for MXINT8")
            scales = np.where(scales > 0, scales - INT8_FRACTION, 0).astype(np.uint8)
            scales = np.where(value.scales == 255, 255, scales).astype(np.uint8)
        e8m0 = helper.tensor_dtype_to_np_dtype(E8M0)
        return self.writer.constant(np.ascontiguousarray(scales).view(e8m0), stem)

    def _dequantize(self, codes: str, scales: str, axis: int, size: int) -> str:
        inputs = [codes, self._readable(scales)]
        attrs: dict[str, Any] = {} if self.opset == PORTABLE else {"output_dtype": FLOAT}
        return self.writer.node("DequantizeLinear", inputs, axis=axis, block_size=size, **attrs)

    def _readable(self, scales: str) -> str:
        """Scales as DequantizeLinear takes them: E8M0, or f32 for onnxruntime."""
        return self.writer.node("Cast", [scales], to=FLOAT) if self.opset == PORTABLE else scales

    def quantize(self, x: str, shape: Sequence[int], block: BlockType, recipe: RecipeAttr) -> str:
        """The values of `x` rounded into blocks."""
        axis, size = axis_of(block, block.format)
        if (recipe.special.data, recipe.tie.data, recipe.min_scale_byte.data) != ("nan", "even", 0):
            raise CannotLower(f"recipe {recipe} has no ONNX form", hint="the scale rule may vary")
        element = FORMATS[block.format].element
        assert element is not None
        scales = self._scales(x, shape, axis, size, element, recipe.rule.data)
        if self.opset == PORTABLE and element.kind == "float" and element.bits < 8:
            return self._round_by_arithmetic(x, shape, axis, size, element, scales)
        if element.kind == "int":
            scales = self._times(scales, 2.0**-INT8_FRACTION)
        attrs: dict[str, Any] = {
            "axis": axis,
            "block_size": size,
            "output_dtype": int(NATIVE[block.format]),
        }
        if self.opset != PORTABLE:
            attrs["precision"] = FLOAT
        codes = self.writer.node("QuantizeLinear", [x, self._readable(scales)], **attrs)
        if element.kind == "int":  # ONNX rounds to -128 too, MXINT8 keeps +-127
            lowest = self.writer.constant(np.array(-127, np.int8), "lowest")
            codes = self.writer.node("Clip", [codes, lowest])
        return self._dequantize(codes, scales, axis, size)

    def _times(self, scales: str, factor: float) -> str:
        w = self.writer
        wide = w.node("Mul", [w.node("Cast", [scales], to=FLOAT), w.f32(factor)])
        return w.node("Cast", [wide], to=E8M0, round_mode="down", saturate=1)

    def _scales(
        self, x: str, shape: Sequence[int], axis: int, size: int, element: Element, rule: str
    ) -> str:
        w = self.writer
        amax = self._amax(x, shape, axis, size)
        power = w.node("Cast", [amax], to=E8M0, round_mode="down", saturate=1)
        power = w.node("Cast", [power], to=FLOAT)
        significand = w.node("Div", [amax, power])
        scale = w.node("Mul", [power, w.f32(2.0**-element.emax)])
        if rule != "floor":
            relation, threshold = _threshold(element, rule)
            bump = w.node(relation, [significand, w.f32(threshold)])
            scale = w.node("Where", [bump, w.node("Mul", [scale, w.f32(2.0)]), scale])
        # NaN and infinity in a block make its scale NaN: x * 0 is then NaN, and ReduceSum keeps it.
        poison = w.node("Mul", [x, w.f32(0.0)])
        poison = w.node(
            "ReduceSum", [self._blocked(poison, shape, axis, size), w.ints(axis + 1)], keepdims=0
        )
        scale = w.node("Add", [scale, poison])
        return w.node("Cast", [scale], to=E8M0, round_mode="down", saturate=1)

    def _amax(self, x: str, shape: Sequence[int], axis: int, size: int) -> str:
        w = self.writer
        blocks = self._blocked(w.node("Abs", [x]), shape, axis, size)
        return w.node("ReduceMax", [blocks, w.ints(axis + 1)], keepdims=0)

    def _blocked(self, x: str, shape: Sequence[int], axis: int, size: int) -> str:
        """`x` padded to whole blocks, with the axis split in (blocks, size)."""
        w = self.writer
        count = -(-shape[axis] // size)
        tail = count * size - shape[axis]
        if tail:
            pads = [0] * (2 * len(shape))
            pads[len(shape) + axis] = tail
            x = w.node("Pad", [x, w.ints(*pads)])
        return w.node("Reshape", [x, w.ints(*shape[:axis], count, size, *shape[axis + 1 :])])

    def _spread(self, scales: str, shape: Sequence[int], axis: int, size: int) -> str:
        """Scales as f32, one per element."""
        w = self.writer
        count = -(-shape[axis] // size)
        scales = w.node("Unsqueeze", [w.node("Cast", [scales], to=FLOAT), w.ints(axis + 1)])
        full = [*shape[:axis], count, size, *shape[axis + 1 :]]
        scales = w.node("Expand", [scales, w.ints(*full)])
        padded = [*shape[:axis], count * size, *shape[axis + 1 :]]
        scales = w.node("Reshape", [scales, w.ints(*padded)])
        if count * size == shape[axis]:
            return scales
        return w.node("Slice", [scales, w.ints(0), w.ints(shape[axis]), w.ints(axis)])

    def _round_by_arithmetic(
        self, x: str, shape: Sequence[int], axis: int, size: int, element: Element, scales: str
    ) -> str:
        w = self.writer
        scale = self._spread(scales, shape, axis, size)
        v = w.node("Div", [x, scale])
        v = w.node("Max", [w.node("Min", [v, w.f32(element.max)]), w.f32(-element.max)])
        power = w.node("Cast", [w.node("Abs", [v])], to=E8M0, round_mode="down", saturate=1)
        power = w.node("Cast", [power], to=FLOAT)
        power = w.node("Max", [power, w.f32(2.0 ** (1 - element.bias))])
        step = w.node("Mul", [power, w.f32(2.0**-element.mantissa_bits)])
        rounded = w.node("Mul", [w.node("Round", [w.node("Div", [v, step])]), step])
        return w.node("Mul", [rounded, scale])


def _bits(block: BlockType) -> int:
    element = FORMATS[block.format].element
    assert element is not None
    return element.bits


def _threshold(element: Element, rule: str) -> tuple[str, float]:
    """When a significand in [1, 2) bumps the scale: the comparison and its constant."""
    match rule:
        case "rceil":
            return "Greater", element.max_significand
        case "ceil":
            return "Greater", 1.0
        case _:
            return "GreaterOrEqual", 2.0 - 2.0 ** -(element.mantissa_bits + 1)
