"""Buffers hold what tensors held: cases that a careless pass gets wrong."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mxc.backends import ref
from mxc.errors import CannotLower
from mxc.opt import apply_passes, parse
from mxc.passes._bufferize.views import View, row_major

ADD = "  %s = arith.addf %p, %q : f32\n  linalg.yield %s : f32\n"


def run_both(body: str, *inputs: NDArray[np.float32]) -> None:
    ctx, module = parse(body)
    expected = ref.run(module, ctx, inputs)
    apply_passes(ctx, module, "bufferize,plan-memory")
    for want, got in zip(expected, ref.run(module, ctx, inputs), strict=True):
        np.testing.assert_array_equal(want, got)


X = np.arange(4, dtype=np.float32)
Y = X * 10 + 1


def test_a_loop_that_swaps_what_it_carries() -> None:
    run_both(
        """func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
          %c0 = arith.constant 0 : index
          %c1 = arith.constant 1 : index
          %c3 = arith.constant 3 : index
          %r:2 = scf.for %i = %c0 to %c3 step %c1 iter_args(%a = %x, %b = %y)
              -> (tensor<4xf32>, tensor<4xf32>) {
            scf.yield %b, %a : tensor<4xf32>, tensor<4xf32>
          }
          func.return %r#0, %r#1 : tensor<4xf32>, tensor<4xf32>
        }""",
        X,
        Y,
    )


def test_a_loop_that_shifts_within_one_buffer() -> None:
    """The new value is a slice of the old one: source and target of the copy overlap."""
    run_both(
        """func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
          %c0 = arith.constant 0 : index
          %c1 = arith.constant 1 : index
          %c2 = arith.constant 2 : index
          %r = scf.for %i = %c0 to %c2 step %c1 iter_args(%a = %x) -> (tensor<4xf32>) {
            %tail = tensor.extract_slice %a[1] [3] [1] : tensor<4xf32> to tensor<3xf32>
            %n = tensor.insert_slice %tail into %a[0] [3] [1] : tensor<3xf32> into tensor<4xf32>
            scf.yield %n : tensor<4xf32>
          }
          func.return %r : tensor<4xf32>
        }""",
        X,
    )


def test_a_value_from_outside_stays_as_it_is_in_a_loop() -> None:
    run_both(
        """#id = affine_map<(d0) -> (d0)>
        func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
          %c0 = arith.constant 0 : index
          %c1 = arith.constant 1 : index
          %c3 = arith.constant 3 : index
          %e = tensor.empty() : tensor<4xf32>
          %o = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel"]}
              ins(%x, %x : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) {
          ^bb0(%p: f32, %q: f32, %z: f32):
          """
        + ADD
        + """} -> tensor<4xf32>
          %r = scf.for %i = %c0 to %c3 step %c1 iter_args(%a = %x) -> (tensor<4xf32>) {
            %n = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
                ins(%a : tensor<4xf32>) outs(%o : tensor<4xf32>) {
            ^bb0(%p: f32, %q: f32):
            """
        + ADD
        + """} -> tensor<4xf32>
            scf.yield %n : tensor<4xf32>
          }
          func.return %r, %x : tensor<4xf32>, tensor<4xf32>
        }""",
        X,
    )


def test_a_loop_that_never_runs_gives_the_first_value() -> None:
    run_both(
        """func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
          %c0 = arith.constant 0 : index
          %c1 = arith.constant 1 : index
          %r = scf.for %i = %c0 to %c0 step %c1 iter_args(%a = %x) -> (tensor<4xf32>) {
            scf.yield %a : tensor<4xf32>
          }
          func.return %r : tensor<4xf32>
        }""",
        X,
    )


BLOCKS = """func.func @main(%x: tensor<4x64xf32>) -> tensor<{shape}xf32> {{
  %q = mx.quantize %x {{recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>}}
      : tensor<4x64xf32> -> tensor<4x64x!mx.block<{element}, 1x32>>
  %r = {op} : tensor<4x64x!mx.block<{element}, 1x32>>
      -> tensor<{shape}x!mx.block<{element}, {block}>>
  %y = mx.dequantize %r : tensor<{shape}x!mx.block<{element}, {block}>> -> tensor<{shape}xf32>
  func.return %y : tensor<{shape}xf32>
}}"""
VIEWS = [
    ("mx.transpose %q {permutation = array<i64: 1, 0>}", "64x4", "32x1"),
    ("mx.reshape %q", "2x2x64", "1x1x32"),
    ("mx.slice %q {offsets = array<i64: 1, 32>}", "2x32", "1x32"),
    ("mx.gather %q {axis = 0 : i64, indices = array<i64: 3, 0, 0>}", "3x64", "1x32"),
    ("mx.neg %q", "4x64", "1x32"),
    ("mx.abs %q", "4x64", "1x32"),
    ("mx.scale_by_power_of_two %q {exponent = -3 : i64}", "4x64", "1x32"),
    ("mx.scale_by_power_of_two %q {exponent = 127 : i64}", "4x64", "1x32"),
]


@pytest.mark.parametrize("element", ["f8E4M3FN", "f4E2M1FN", "i8", "f8E5M2FNUZ"])
@pytest.mark.parametrize(("op", "shape", "block"), VIEWS)
def test_views_of_blocks(element: str, op: str, shape: str, block: str) -> None:
    x = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    x[1, :32] = 0
    run_both(BLOCKS.format(element=element, op=op, shape=shape, block=block), x)


def test_dynamic_shapes_are_refused() -> None:
    ctx, module = parse(
        """func.func @main(%x: tensor<4xf32>, %n: index) -> tensor<4xf32> {
          func.return %x : tensor<4xf32>
        }"""
    )
    with pytest.raises(CannotLower, match="a value of type index enters or leaves a function"):
        apply_passes(ctx, module, "bufferize")


def test_a_reshape_of_strided_memory_needs_strides_that_say_it() -> None:
    from xdsl.dialects.builtin import MemRefType, f32
    from xdsl.dialects.test import TestOp

    base = TestOp(result_types=[MemRefType(f32, (4, 6))]).results[0]
    whole = View.whole(base)
    assert whole.strides == row_major((4, 6)) == (6, 1)
    assert whole.reshaped((2, 2, 3, 2)) == View(base, (2, 2, 3, 2), (12, 6, 2, 1))
    turned = whole.transposed((1, 0))
    assert turned.reshaped((24,)) is None
    assert turned.reshaped((2, 3, 4)) == View(base, (2, 3, 4), (3, 1, 6))
