"""The mx dialect: text round trips, and one module per constraint that must not verify."""

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.utils.exceptions import VerifyException

from mxc.dialects import new_context

RECIPE = "#mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>"
ROW = "tensor<4x64x!mx.block<f8E4M3FN, 1x32>>"
COLUMN = "tensor<64x8x!mx.block<f8E4M3FN, 32x1>>"


def parsed(body: str) -> ModuleOp:
    """A module with `body` behind some operands of every kind."""
    head = f"""
    %x = "test.op"() : () -> tensor<4x64xf32>
    %w = "test.op"() : () -> tensor<64x8xf32>
    %q = "test.op"() : () -> {ROW}
    %v = "test.op"() : () -> {COLUMN}
    %i = "test.op"() : () -> tensor<1x32x8x8xf32>
    %k = "test.op"() : () -> tensor<16x32x3x3xf32>
    """
    ctx = new_context()
    ctx.allow_unregistered = True
    return Parser(ctx, head + body).parse_module()


GOOD = [
    f"%0 = mx.constant @c_1 : {ROW}",
    f"%0 = mx.quantize %x {{recipe = {RECIPE}}} : tensor<4x64xf32> -> {ROW}",
    f"%0 = mx.dequantize %q : {ROW} -> tensor<4x64xf32>",
    f"%0 = mx.requantize %q {{recipe = {RECIPE}}} : {ROW} -> tensor<4x64x!mx.block<i8, 1x32>>",
    f'%0 = mx.matmul %q, %v {{contract = "block-exact"}} : {ROW}, {COLUMN} -> tensor<4x8xf32>',
    f'%0 = mx.matmul %q, %w {{contract = "sequential"}} : {ROW}, tensor<64x8xf32> '
    "-> tensor<4x8xf32>",
    '%0 = mx.conv %i, %k {contract = "sequential", strides = array<i64: 2, 1>, '
    "pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, groups = 1 : i64} "
    ": tensor<1x32x8x8xf32>, tensor<16x32x3x3xf32> -> tensor<1x16x4x8xf32>",
    f"%0 = mx.transpose %q {{permutation = array<i64: 1, 0>}} : {ROW} "
    "-> tensor<64x4x!mx.block<f8E4M3FN, 32x1>>",
    f"%0 = mx.reshape %q : {ROW} -> tensor<2x2x64x!mx.block<f8E4M3FN, 1x1x32>>",
    f"%0 = mx.reshape %q : {ROW} -> tensor<8x32x!mx.block<f8E4M3FN, 1x32>>",
    f"%0 = mx.slice %q {{offsets = array<i64: 1, 32>}} : {ROW} "
    "-> tensor<2x32x!mx.block<f8E4M3FN, 1x32>>",
    f"%0 = mx.concat %q, %q {{axis = 1 : i64}} : {ROW}, {ROW} "
    "-> tensor<4x128x!mx.block<f8E4M3FN, 1x32>>",
    f"%0 = mx.gather %q {{axis = 0 : i64, indices = array<i64: 3, 0>}} : {ROW} "
    "-> tensor<2x64x!mx.block<f8E4M3FN, 1x32>>",
    '%c, %s = "test.op"() : () -> (tensor<4x64xi8>, tensor<4x2xi8>)\n'
    f"%0 = mx.pack %c, %s : tensor<4x64xi8>, tensor<4x2xi8> -> {ROW}",
    f"%0, %1 = mx.unpack %q : {ROW} -> tensor<4x64xf8E4M3FN>, tensor<4x2xf8E8M0FNU>",
    f"%0 = mx.neg %q : {ROW} -> {ROW}",
    f"%0 = mx.abs %q : {ROW} -> {ROW}",
    f"%0 = mx.scale_by_power_of_two %q {{exponent = -3 : i64}} : {ROW} -> {ROW}",
]


@pytest.mark.parametrize("line", GOOD)
def test_round_trip(line: str) -> None:
    module = parsed(line)
    module.verify()
    text = str(module)
    ctx = new_context()
    ctx.allow_unregistered = True
    assert str(Parser(ctx, text).parse_module()) == text


BAD = [
    ("mx.block (C1)", "%0 = mx.constant @c : tensor<4x!mx.block<f32, 32>>"),
    ("mx.block (C2)", "%0 = mx.constant @c : tensor<4x!mx.block<f8E4M3FN, 0>>"),
    ("mx.block (C3)", "%0 = mx.constant @c : tensor<4x!mx.block<i8, 16, scale = f8E4M3FN>>"),
    (
        "mx.quantize (C1)",
        f"%0 = mx.quantize %x {{recipe = {RECIPE}}} : tensor<4x64xf32> "
        "-> tensor<4x32x!mx.block<f8E4M3FN, 1x32>>",
    ),
    (
        "mx.quantize (C2)",
        f"%0 = mx.quantize %x {{recipe = {RECIPE}}} : tensor<4x64xf32> "
        "-> tensor<4x64x!mx.block<f8E4M3FN, 32>>",
    ),
    ("mx.dequantize (C1)", f"%0 = mx.dequantize %q : {ROW} -> tensor<4x32xf32>"),
    (
        "mx.dequantize (C2)",
        '%z = "test.op"() : () -> tensor<4x64x!mx.block<f8E4M3FN, 32>>\n'
        "%0 = mx.dequantize %z : tensor<4x64x!mx.block<f8E4M3FN, 32>> -> tensor<4x64xf32>",
    ),
    (
        "mx.requantize (C1)",
        f"%0 = mx.requantize %q {{recipe = {RECIPE}}} : {ROW} -> tensor<4x32x!mx.block<i8, 1x32>>",
    ),
    (
        "mx.requantize (C2)",
        f"%0 = mx.requantize %q {{recipe = {RECIPE}}} : {ROW} -> tensor<4x64x!mx.block<i8, 32>>",
    ),
    ("mx.requantize (C3)", f"%0 = mx.requantize %q {{recipe = {RECIPE}}} : {ROW} -> {ROW}"),
    (
        "mx.pack (C1)",
        '%c, %s = "test.op"() : () -> (tensor<4x32xi8>, tensor<4x2xi8>)\n'
        f"%0 = mx.pack %c, %s : tensor<4x32xi8>, tensor<4x2xi8> -> {ROW}",
    ),
    (
        "mx.pack (C2)",
        '%c, %s = "test.op"() : () -> (tensor<4x64xi8>, tensor<4x64xi8>)\n'
        f"%0 = mx.pack %c, %s : tensor<4x64xi8>, tensor<4x64xi8> -> {ROW}",
    ),
    (
        "mx.unpack (C1)",
        f"%0, %1 = mx.unpack %q : {ROW} -> tensor<4x64xf32>, tensor<4x2xf8E8M0FNU>",
    ),
    (
        "mx.unpack (C2)",
        f"%0, %1 = mx.unpack %q : {ROW} -> tensor<4x64xi8>, tensor<4x4xi8>",
    ),
    (
        "mx.matmul (C1)",
        f'%0 = mx.matmul %q, %v {{contract = "any"}} : {ROW}, {COLUMN} -> tensor<4x8xf32>',
    ),
    (
        "mx.matmul (C2)",
        '%z = "test.op"() : () -> tensor<64x8x!mx.block<f8E4M3FN, 1x32>>\n'
        f'%0 = mx.matmul %q, %z {{contract = "block-exact"}} : {ROW}, '
        "tensor<64x8x!mx.block<f8E4M3FN, 1x32>> -> tensor<4x8xf32>",
    ),
    (
        "mx.matmul (C3)",
        f'%0 = mx.matmul %q, %w {{contract = "block-exact"}} : {ROW}, tensor<64x8xf32> '
        "-> tensor<4x8xf32>",
    ),
    (
        "mx.matmul (C4)",
        '%0 = mx.matmul %x, %x {contract = "sequential"} : tensor<4x64xf32>, tensor<4x64xf32> '
        "-> tensor<4x64xf32>",
    ),
    (
        "mx.matmul (C5)",
        '%0 = mx.matmul %x, %w {contract = "sequential"} : tensor<4x64xf32>, tensor<64x8xf32> '
        "-> tensor<8x4xf32>",
    ),
    *(
        (
            f"mx.conv ({label})",
            f'%0 = mx.conv %i, %k {{contract = "sequential", strides = array<i64: {strides}>, '
            "pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, "
            f"groups = {groups} : i64}} : tensor<1x32x8x8xf32>, tensor<16x32x3x3xf32> -> {result}",
        )
        for label, strides, groups, result in [
            ("C4", "1", 1, "tensor<1x16x8x8xf32>"),
            ("C5", "1, 1", 2, "tensor<1x16x8x8xf32>"),
            ("C6", "1, 1", 1, "tensor<1x16x4x8xf32>"),
        ]
    ),
    (
        "mx.transpose (C1)",
        f"%0 = mx.transpose %q {{permutation = array<i64: 0, 0>}} : {ROW} -> {ROW}",
    ),
    (
        "mx.transpose (C2)",
        f"%0 = mx.transpose %q {{permutation = array<i64: 1, 0>}} : {ROW} "
        "-> tensor<64x4x!mx.block<f8E4M3FN, 1x32>>",
    ),
    ("mx.reshape (C1)", f"%0 = mx.reshape %q : {ROW} -> tensor<2x64x!mx.block<f8E4M3FN, 1x32>>"),
    ("mx.reshape (C2)", f"%0 = mx.reshape %q : {ROW} -> tensor<8x32x!mx.block<i8, 1x32>>"),
    ("mx.reshape (C3)", f"%0 = mx.reshape %q : {ROW} -> tensor<16x16x!mx.block<f8E4M3FN, 1x32>>"),
    (
        "mx.slice (C1)",
        f"%0 = mx.slice %q {{offsets = array<i64: 3, 0>}} : {ROW} "
        "-> tensor<2x64x!mx.block<f8E4M3FN, 1x32>>",
    ),
    (
        "mx.slice (C2)",
        f"%0 = mx.slice %q {{offsets = array<i64: 0, 16>}} : {ROW} "
        "-> tensor<4x32x!mx.block<f8E4M3FN, 1x32>>",
    ),
    (
        "mx.slice (C3)",
        f"%0 = mx.slice %q {{offsets = array<i64: 0, 0>}} : {ROW} "
        "-> tensor<4x32x!mx.block<i8, 1x32>>",
    ),
    (
        "mx.concat (C1)",
        f"%0 = mx.concat %q, %q {{axis = 1 : i64}} : {ROW}, {ROW} "
        "-> tensor<4x64x!mx.block<f8E4M3FN, 1x32>>",
    ),
    (
        "mx.concat (C2)",
        '%z = "test.op"() : () -> tensor<4x16x!mx.block<f8E4M3FN, 1x32>>\n'
        f"%0 = mx.concat %z, %q {{axis = 1 : i64}} : tensor<4x16x!mx.block<f8E4M3FN, 1x32>>, {ROW} "
        "-> tensor<4x80x!mx.block<f8E4M3FN, 1x32>>",
    ),
    (
        "mx.concat (C3)",
        f"%0 = mx.concat %q, %q {{axis = 1 : i64}} : {ROW}, {ROW} "
        "-> tensor<4x128x!mx.block<i8, 1x32>>",
    ),
    (
        "mx.gather (C1)",
        f"%0 = mx.gather %q {{axis = 1 : i64, indices = array<i64: 3>}} : {ROW} "
        "-> tensor<4x1x!mx.block<f8E4M3FN, 1x32>>",
    ),
    (
        "mx.gather (C2)",
        f"%0 = mx.gather %q {{axis = 0 : i64, indices = array<i64: 4>}} : {ROW} "
        "-> tensor<1x64x!mx.block<f8E4M3FN, 1x32>>",
    ),
    ("mx.neg (C1)", f"%0 = mx.neg %q : {ROW} -> tensor<4x64x!mx.block<i8, 1x32>>"),
    ("mx.abs (C1)", f"%0 = mx.abs %q : {ROW} -> tensor<4x64x!mx.block<i8, 1x32>>"),
    (
        "mx.scale_by_power_of_two (C1)",
        f"%0 = mx.scale_by_power_of_two %q {{exponent = 1 : i64}} : {ROW} "
        "-> tensor<4x64x!mx.block<i8, 1x32>>",
    ),
    (
        "mx.scale_by_power_of_two (C2)",
        '%z = "test.op"() : () -> tensor<4x!mx.block<f4E2M1FN, 16, scale = f8E4M3FN>>\n'
        "%0 = mx.scale_by_power_of_two %z {exponent = 1 : i64} : "
        "tensor<4x!mx.block<f4E2M1FN, 16, scale = f8E4M3FN>> "
        "-> tensor<4x!mx.block<f4E2M1FN, 16, scale = f8E4M3FN>>",
    ),
]


@pytest.mark.parametrize(("label", "line"), BAD, ids=[label for label, _ in BAD])
def test_constraint(label: str, line: str) -> None:
    with pytest.raises(VerifyException) as failure:
        parsed(line).verify()
    assert label in str(failure.value)
