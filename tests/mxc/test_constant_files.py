"""Text and `.npz` together are the whole module, at every level."""

from pathlib import Path

import numpy as np
import pytest

from mxc.constant_files import load_constants, save_constants
from mxc.constants import ConstantTable
from mxc.dialects import new_context
from mxc.errors import BadInput
from mxc.inputs import Port
from mxc.model import Model, interpret
from mxc.opt import apply_passes, parse, parse_input, print_module

WEIGHT = np.random.default_rng(0).standard_normal((32, 8)).astype(np.float32)
PORTS = tuple((Port(n, np.dtype(np.float32), s),) for n, s in (("x", (4, 32)), ("y", (4, 8))))
X = np.random.default_rng(1).standard_normal((4, 32)).astype(np.float32)


def linear() -> Model:
    """A product with a constant, at the mx level."""
    ctx = new_context()
    key = ConstantTable.of(ctx).add(WEIGHT)
    text = f"""
      builtin.module attributes {{mxc.input_names = ["x"], mxc.output_names = ["y"]}} {{
        func.func @main(%x: tensor<4x32xf32>) -> tensor<4x8xf32> {{
          %w = mx.constant @{key} : tensor<32x8xf32>
          %y = mx.matmul %x, %w {{contract = "sequential", rhs_as = "mxfp8_e4m3",
            rhs_recipe = #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>}}
            : tensor<4x32xf32>, tensor<32x8xf32> -> tensor<4x8xf32>
          func.return %y : tensor<4x8xf32>
        }}
      }}"""
    _, module = parse(text, ctx=ctx)
    return Model("linear", ctx, module, *PORTS)


@pytest.mark.parametrize("passes", ["", "mx-layout,dce", "mx-layout,dce,bufferize"])
def test_a_module_round_trips(tmp_path: Path, passes: str) -> None:
    model = linear()
    apply_passes(model.ctx, model.module, passes)
    save_constants(tmp_path / "m.npz", model.ctx, model.module)
    ctx = new_context()
    load_constants(tmp_path / "m.npz", ctx)
    assert set(ConstantTable.of(ctx)) <= set(ConstantTable.of(model.ctx))
    text = print_module(model.module)
    module = parse_input(text, "m.mlir", ctx)
    assert print_module(module) == text
    again = Model("linear", ctx, module, *PORTS)
    for before, after in zip(interpret(model, [X]), interpret(again, [X]), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_changed_array_is_refused(tmp_path: Path) -> None:
    key = ConstantTable.of(new_context()).add(WEIGHT)
    np.savez(tmp_path / "m.npz", **{key: WEIGHT + 1})
    with pytest.raises(BadInput, match="a symbol is the hash of its content"):
        load_constants(tmp_path / "m.npz", new_context())


def test_half_a_block_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", **{"c_1.codes": np.zeros(4, np.uint8)})
    with pytest.raises(BadInput, match=r"'c_1' lacks 'c_1\.scales'"):
        load_constants(tmp_path / "m.npz", new_context())
