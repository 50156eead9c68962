"""The sheets of the kit: each kind of block operation over shapes, formats and edge values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import ml_dtypes
import numpy as np
from xdsl.ir import SSAValue

from mxc.dialects.mx import (
    AbsOp,
    ConcatOp,
    ConvOp,
    DequantizeOp,
    GatherOp,
    MatMulOp,
    NegOp,
    RequantizeOp,
    ReshapeOp,
    ScaleByPowerOfTwoOp,
    SliceOp,
    TransposeOp,
    block_type,
)
from mxc.kit.data import codes, edges, normal, scale_bytes, wide
from mxc.kit.sheet import Sheet, recipe
from mxc.numerics import FORMATS, Format
from mxc.targets import Target


def sheets(target: Target) -> Iterator[Sheet]:
    """Every sheet for the formats, scale rules and block size of `target`."""
    formats = [FORMATS[name] for name in target.numerics.formats if _plain(FORMATS[name])]
    block = target.numerics.block
    for format in formats:
        for rule in target.numerics.scale_rules:
            yield _quantize(format, rule, block)
    rule = target.numerics.scale_rules[0]
    for format in formats:
        yield _dequantize(format, block)
        yield _views(format, block, rule)
    for old, new in _pairs(formats):
        yield _requantize(old, new, block, rule)
        yield _matmul(old, new, block, rule, (target.matrix.m, target.matrix.n))
        yield _conv(old, new, block, rule)
    for format in formats[:1]:
        yield _float_contractions(format, block, rule)


def other_formats(target: Target) -> list[str]:
    """Formats of `target` that the sheets leave out: scales are no powers of two."""
    return [name for name in target.numerics.formats if not _plain(FORMATS[name])]


def _plain(format: Format) -> bool:
    return format.element is not None and format.scale == "e8m0" and len(format.block) == 1


def _pairs(formats: Sequence[Format]) -> list[tuple[Format, Format]]:
    """Every format with itself and with the next."""
    after = [*formats[1:], *formats[:1]]
    pairs = [(one, one) for one in formats] + list(zip(formats, after, strict=True))
    return list(dict.fromkeys(pairs))


def _along(axis: int, rank: int, block: int) -> list[int]:
    return [block if i == axis % rank else 1 for i in range(rank)]


def _quantize(format: Format, rule: str, block: int) -> Sheet:
    sheet = Sheet(f"quantize {format} {rule}")
    shapes = [(1, 1), (3, block - 1), (2, block), (5, block + 1), (2, 3, 4 * block + 3)]
    for shape in shapes:
        x = sheet.input(wide(shape, 1))
        for axis in range(len(shape)):
            q = sheet.quantize(x, format.name, _along(axis, len(shape), block), rule)
            sheet.give(f"{list(shape)} axis {axis}", q)
    x = sheet.input(edges((6, 8 * block - 5), format, block))
    for axis in (0, 1):
        q = sheet.quantize(x, format.name, _along(axis, 2, block), rule)
        sheet.give(f"edge values, axis {axis}", q)
    tile = sheet.quantize(x, format.name, (block, block), rule)
    sheet.give("edge values, square tiles", tile)
    return sheet


def _dequantize(format: Format, block: int) -> Sheet:
    sheet = Sheet(f"dequantize {format}")
    shape, grid = (12, 3 * block - 1), (12, 3)
    bits, scales = sheet.input(codes(shape, format)), sheet.input(scale_bytes(grid))
    rows = sheet.pack(bits, scales, format.name, (1, block))
    sheet.give("every code, rows", sheet.add(DequantizeOp(rows)))
    columns = sheet.add(TransposeOp(rows, [1, 0]))
    sheet.give("every code, transposed", sheet.add(DequantizeOp(columns)))
    return sheet


def _requantize(old: Format, new: Format, block: int, rule: str) -> Sheet:
    sheet = Sheet(f"requantize {old} to {new}")
    for name, array in (
        ("normal", normal((block + 3, 2 * block), 2)),
        ("edge values", edges((block + 3, 2 * block), old, block)),
    ):
        rows = sheet.quantize(sheet.input(array), old.name, (1, block), rule)
        target = block_type(new.name, (block, 1))
        columns = sheet.add(RequantizeOp(rows, target, recipe(new.name, rule)))
        sheet.give(f"{name}, rows to columns", columns)
    return sheet


def _matmul(old: Format, new: Format, block: int, rule: str, tile: tuple[int, int]) -> Sheet:
    """Tails in every dimension, batches, transposed reads, edge values."""
    sheet = Sheet(f"matmul {old} by {new}")

    def give(label: str, a: np.ndarray, b: np.ndarray, turned: bool = False) -> None:
        left = sheet.quantize(sheet.input(a), old.name, _along(-1, a.ndim, block), rule)
        right = sheet.quantize(
            sheet.input(b), new.name, _along(-1 if turned else -2, b.ndim, block), rule
        )
        if turned:
            axes = [*range(b.ndim - 2), b.ndim - 1, b.ndim - 2]
            right = sheet.add(TransposeOp(right, axes))
        sheet.give(label, sheet.add(MatMulOp(left, right, "block-exact")))

    m, n = tile
    for rows, depth, columns in (
        (1, 1, 1),
        (3, block, 5),
        (2, block - 1, n + 3),
        (m + 1, 2 * block + 7, 2),
        (m, 4 * block, n),
    ):
        label = f"{rows}x{depth}x{columns}"
        give(label, normal((rows, depth), 3), normal((depth, columns), 4))
        give(f"{label}, wide", wide((rows, depth), 5), wide((depth, columns), 6))
    give("batch", normal((2, 3, 4, block + 5), 7), normal((block + 5, 6), 8))
    give("batches that broadcast", normal((2, 1, 3, block), 9), normal((4, block, 5), 10))
    give("transposed read", normal((5, 2 * block), 11), normal((7, 2 * block), 12), turned=True)
    give("edge values", edges((10, 4 * block), old, block, 13), normal((4 * block, 6), 14))
    give("edge values beside edge values", *_edge_pair(old, new, block), turned=True)
    big = np.float32(2.0) ** 100
    give("huge by tiny", normal((3, block), 15) * big, normal((block, 3), 16) / big)
    give("overflow", normal((3, block), 15) * big, normal((block, 3), 16) * big)
    return sheet


def _edge_pair(old: Format, new: Format, block: int) -> tuple[np.ndarray, np.ndarray]:
    return edges((6, 3 * block), old, block, 17), edges((5, 3 * block), new, block, 18)


@dataclass(frozen=True)
class _Geometry:
    """One convolution: what the kernel meets."""

    name: str
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int = 1

    def op(self, x: SSAValue, w: SSAValue, contract: str = "sequential") -> ConvOp:
        """The convolution of `x` with `w`."""
        return ConvOp(
            x,
            w,
            strides=self.strides,
            pads=self.pads,
            dilations=self.dilations,
            groups=self.groups,
            contract=contract,
        )


_GEOMETRIES = (
    _Geometry("1-d", (9,), (3,), (2,), (1, 2), (1,)),
    _Geometry("3x3", (5, 6), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    _Geometry("dilated", (7, 5), (2, 3), (2, 1), (1, 0, 2, 2), (2, 1)),
    _Geometry("groups", (4, 4), (3, 3), (1, 1), (0, 1, 1, 0), (1, 1), groups=2),
)


def _conv(old: Format, new: Format, block: int, rule: str) -> Sheet:
    sheet = Sheet(f"conv {old} by {new}")
    for one in _GEOMETRIES:
        channels = 2 * block + (3 if one.groups == 1 else 0)
        x = normal((2, channels, *one.spatial), 19)
        if one.name == "3x3":
            x[0, 1, 2, 3], x[1, block, 0, 0], x[1, 0, 4, 5] = np.nan, np.inf, 1e-42
        w = normal((4, channels // one.groups, *one.kernel), 20)
        left = sheet.quantize(sheet.input(x), old.name, _along(1, x.ndim, block), rule)
        right = sheet.quantize(sheet.input(w), new.name, _along(1, w.ndim, block), rule)
        sheet.give(one.name, sheet.add(one.op(left, right, "block-exact")))
    return sheet


def _views(format: Format, block: int, rule: str) -> Sheet:
    sheet = Sheet(f"views {format}")
    x = edges((4, 6, 4 * block), format, block, 21)
    q = sheet.quantize(sheet.input(x), format.name, (1, 1, block), rule)
    moved: dict[str, SSAValue] = {
        "transpose": sheet.add(TransposeOp(q, [2, 0, 1])),
        "reshape": sheet.add(ReshapeOp(q, (24, 4 * block), (1, block))),
        "slice": sheet.add(SliceOp(q, [1, 2, block], [2, 3, 2 * block])),
        "gather": sheet.add(GatherOp(q, 1, [5, 0, 0, 3])),
        "neg": sheet.add(NegOp(q)),
        "abs": sheet.add(AbsOp(q)),
        "scale up": sheet.add(ScaleByPowerOfTwoOp(q, 3)),
        "scale down": sheet.add(ScaleByPowerOfTwoOp(q, -40)),
    }
    moved["concat"] = sheet.add(ConcatOp([q, moved["neg"]], 2))
    for label, value in moved.items():
        sheet.give(label, value)
    ones = sheet.input(normal((4 * block, 3), 22))
    weights = sheet.quantize(ones, format.name, (block, 1), rule)
    flat = sheet.add(ReshapeOp(moved["concat"], (24, 8 * block), (1, block)))
    part = sheet.add(SliceOp(flat, [3, 4 * block], [7, 4 * block]))
    sheet.give("matmul of a view", sheet.add(MatMulOp(part, weights, "block-exact")))
    return sheet


def _float_contractions(format: Format, block: int, rule: str) -> Sheet:
    """Floats of every width by floats and by blocks, in the float contract."""
    sheet = Sheet("contractions of floats")
    shape = (3, 2 * block + 5)
    lefts = {
        "f32": sheet.input(wide(shape, 23)),
        "bf16": sheet.input(normal(shape, 24).astype(ml_dtypes.bfloat16)),
        "f16": sheet.input(normal(shape, 25).astype(np.float16)),
    }
    floats = sheet.input(normal((shape[1], 7), 26))
    blocks = sheet.quantize(floats, format.name, (block, 1), rule)
    rights = {"f32": floats, str(format): blocks}
    for (left, a), (right, b) in product(lefts.items(), rights.items()):
        sheet.give(f"matmul {left} by {right}", sheet.add(MatMulOp(a, b)))
    x = sheet.input(normal((2, 6, 5, 5), 27))
    for name, groups in (("conv in groups", 2), ("depthwise conv", 6)):
        geometry = _Geometry(name, (5, 5), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), groups)
        w = sheet.input(normal((6, 6 // groups, 3, 3), 28))
        sheet.give(name, sheet.add(geometry.op(x, w)))
    return sheet
