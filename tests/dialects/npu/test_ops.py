"""Every constraint of the arithmetic operations has a test that breaks it."""

import pytest
from xdsl.utils.exceptions import VerifyException

from mxc.opt import parse

RECIPE = "recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>"
ROWS = 'format = "mxfp8_e4m3", block = array<i64: 1, 32>'
BYTES = "memref<4x64xi8>, memref<4x2xi8>"
ARGUMENTS = (
    "%x: memref<4x64xf32>, %z: memref<8x64xf32>, %c: memref<4x64xi8>, %s: memref<4x2xi8>, "
    "%d: memref<8x64xi8>, %t: memref<8x2xi8>, %i: memref<4x64xi32>, %b: memref<64x8xf32>, "
    "%y: memref<4x8xf32>, %im: memref<1x64x6x6xf32>, %k: memref<8x32x3x3xf32>, "
    "%o: memref<1x8x4x4xf32>, %ic: memref<1x48x6x6xi8>, %is: memref<1x2x6x6xi8>, "
    "%kc: memref<4x24x3x3xi8>, %ks: memref<4x1x3x3xi8>, %o4: memref<1x4x4x4xf32>"
)
CONV = (
    "strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, "
    "groups = 2 : i64"
)


def quantize(attributes: str, source: str = "%x", kind: str = "memref<4x64xf32>") -> str:
    return f"npu.quantize {source} into %c, %s {{{attributes}, {RECIPE}}} : {kind} into {BYTES}"


def matmul(lhs: str, attributes: str, kind: str, output: str = "memref<4x8xf32>") -> str:
    name = "%y" if "4x8" in output else "%x"
    return (
        f"npu.matmul {lhs}, %b into {name} {{{attributes}}} : {kind}, memref<64x8xf32> "
        f"into {output}"
    )


def conv(attributes: str) -> str:
    return (
        f"npu.conv %im, %k into %o {{{attributes}}} : "
        "memref<1x64x6x6xf32>, memref<8x32x3x3xf32> into memref<1x8x4x4xf32>"
    )


WRONG = [
    ("npu.quantize (C1)", quantize('format = "fp8", block = array<i64: 1, 32>')),
    ("npu.quantize (C2)", quantize('format = "mxfp8_e4m3", block = array<i64: 1, 16>')),
    ("npu.quantize (C3)", quantize(ROWS, "%z", "memref<8x64xf32>")),
    (
        "npu.dequantize (C1)",
        'npu.dequantize %c, %s into %x {format = "fp8", block = array<i64: 1, 32>} '
        f": {BYTES} into memref<4x64xf32>",
    ),
    (
        "npu.dequantize (C2)",
        'npu.dequantize %c, %s into %x {format = "mxfp4", block = array<i64: 32>} '
        f": {BYTES} into memref<4x64xf32>",
    ),
    (
        "npu.dequantize (C3)",
        f"npu.dequantize %c, %s into %z {{{ROWS}}} : {BYTES} into memref<8x64xf32>",
    ),
    (
        "npu.requantize (C1)",
        f'npu.requantize %c, %s into %c, %s {{source_format = "x", source_block = '
        f"array<i64: 1, 32>, {ROWS}, {RECIPE}}} : {BYTES} into {BYTES}",
    ),
    (
        "npu.requantize (C2)",
        f'npu.requantize %c, %s into %c, %s {{source_format = "mxfp4", source_block = '
        f"array<i64: 2, 32>, {ROWS}, {RECIPE}}} : {BYTES} into {BYTES}",
    ),
    (
        "npu.requantize (C3)",
        f'npu.requantize %c, %s into %d, %t {{source_format = "mxfp4", source_block = '
        f"array<i64: 1, 32>, {ROWS}, {RECIPE}}} "
        f": {BYTES} into memref<8x64xi8>, memref<8x2xi8>",
    ),
    ("npu.matmul (C1)", matmul("%i", 'contract = "sequential"', "memref<4x64xi32>")),
    (
        "npu.matmul (C2)",
        matmul(
            "%c scaled %s",
            'lhs_format = "mxfp8_e4m3", lhs_block = array<i64: 4, 32>, contract = "sequential"',
            "memref<4x64xi8> scaled memref<4x2xi8>",
        ),
    ),
    ("npu.matmul (C3)", matmul("%x", 'contract = "pairwise"', "memref<4x64xf32>")),
    ("npu.matmul (C3)", matmul("%x", 'contract = "block-exact"', "memref<4x64xf32>")),
    (
        "npu.matmul (C4)",
        matmul("%x", 'contract = "sequential"', "memref<4x64xf32>", "memref<4x64xf32>"),
    ),
    ("npu.conv (C1)", conv(f'{CONV}, contract = "sequential", lhs_format = "mxfp4"')),
    ("npu.conv (C3)", conv(f'{CONV}, contract = "pairwise"')),
    (
        "npu.conv (C2)",
        "npu.conv %ic scaled %is, %kc scaled %ks into %o4 {"
        f'{CONV}, contract = "sequential", lhs_format = "mxfp4", lhs_block = '
        'array<i64: 1, 16, 1, 1>, rhs_format = "mxfp4", rhs_block = array<i64: 1, 32, 1, 1>} : '
        "memref<1x48x6x6xi8> scaled memref<1x2x6x6xi8>, memref<4x24x3x3xi8> scaled "
        "memref<4x1x3x3xi8> into memref<1x4x4x4xf32>",
    ),
    (
        "npu.conv (C3)",
        "npu.conv %ic scaled %is, %kc scaled %ks into %o4 {"
        f'{CONV}, contract = "block-exact", lhs_format = "mxfp4", lhs_block = '
        'array<i64: 1, 32, 1, 1>, rhs_format = "mxfp4", rhs_block = array<i64: 1, 32, 1, 1>} : '
        "memref<1x48x6x6xi8> scaled memref<1x2x6x6xi8>, memref<4x24x3x3xi8> scaled "
        "memref<4x1x3x3xi8> into memref<1x4x4x4xf32>",
    ),
    ("npu.conv (C4)", conv(CONV.replace("array<i64: 1, 1>", "array<i64: 1>") + ', contract = "x"')),
    ("npu.conv (C5)", conv(CONV.replace("groups = 2", "groups = 1") + ', contract = "sequential"')),
]


@pytest.mark.parametrize(("label", "line"), WRONG)
def test_verifier(label: str, line: str) -> None:
    with pytest.raises(VerifyException) as caught:
        parse(f"func.func @main({ARGUMENTS}) {{\n{line}\nfunc.return\n}}")
    assert label in str(caught.value)


RIGHT = [
    quantize(ROWS),
    matmul("%x", 'contract = "sequential"', "memref<4x64xf32>"),
    conv(f'{CONV}, contract = "sequential-fma"'),
]


@pytest.mark.parametrize("line", RIGHT)
def test_verifier_accepts(line: str) -> None:
    parse(f"func.func @main({ARGUMENTS}) {{\n{line}\nfunc.return\n}}")
