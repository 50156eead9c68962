"""Values are used below where they are defined, and within."""

import pytest
from xdsl.dialects.func import FuncOp
from xdsl.utils.exceptions import VerifyException

from mxc.opt import parse
from mxc.order import check_order

TEXT = """
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
                       iterator_types = ["parallel"]}
       ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%a: f32, %b: f32):
    %c = arith.addf %a, %a : f32
    linalg.yield %c : f32
  } -> tensor<4xf32>
  func.return %y : tensor<4xf32>
}
"""


def test_order_is_fine_as_parsed() -> None:
    check_order(parse(TEXT)[1])


def test_use_before_definition() -> None:
    _, module = parse(TEXT)
    function = next(op for op in module.walk() if isinstance(op, FuncOp))
    empty = function.body.block.first_op
    assert empty is not None
    empty.detach()
    function.body.block.insert_op_before(empty, function.body.block.last_op)
    with pytest.raises(VerifyException, match=r"linalg\.generic uses a value that is not defined"):
        check_order(module)


def test_use_out_of_scope() -> None:
    _, module = parse(TEXT)
    named = {op.name: op for op in module.walk()}
    named["func.return"].operands[0] = named["arith.addf"].results[0]
    with pytest.raises(VerifyException, match=r"func\.return uses a value that is not defined"):
        check_order(module)
