"""Shapes, gathers, scatters and padding: against numpy and onnx's reference, for many types."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxc.errors import MxcError
from tests.passes.lowering.nodes import Const, body_operations, check, const, lower_node, run_node

RNG = np.random.default_rng(7)
TYPES = [np.float32, np.float16, np.float64, np.int8, np.uint8, np.int64, np.bool_]


def data(*shape: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return (RNG.standard_normal(shape) * 50).astype(dtype)


@pytest.mark.parametrize("dtype", [*TYPES, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_elements_move_untouched(dtype: Any) -> None:
    x = data(2, 3, 4, dtype=dtype)
    (y,) = run_node("Transpose", [x], perm=[2, 0, 1])
    np.testing.assert_array_equal(y.view(np.uint8), x.transpose(2, 0, 1).copy().view(np.uint8))
    if dtype == ml_dtypes.float8_e4m3fn:  # the others do not take it
        return
    (y,) = run_node("Concat", [x, x], axis=1)
    np.testing.assert_array_equal(y, np.concatenate([x, x], 1))
    (y,) = run_node("Slice", [x, const(-1), const(-4), const(2), const(-2)])
    np.testing.assert_array_equal(y, x[:, :, -1::-2])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_slices_are_numpys(draw: st.DataObject) -> None:
    x = np.arange(7 * 5, dtype=np.int32).reshape(7, 5)
    bound = st.integers(-9, 9)
    start, end = draw.draw(bound), draw.draw(bound)
    step = draw.draw(st.sampled_from([-3, -1, 1, 2]))
    want = x[:, start:end:step]
    if want.size:
        got = run_node("Slice", [x, const(start), const(end), const(1), const(step)])[0]
        np.testing.assert_array_equal(got, want)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-6, 5), min_size=1, max_size=12))
def test_constant_indices_are_gathered(indices: list[int]) -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 6, 2)
    (y,) = run_node("Gather", [x, const(*indices)], axis=1)
    np.testing.assert_array_equal(y, x[:, indices])


def test_a_progression_is_a_slice_and_a_repetition_a_division() -> None:
    x = data(2, 12)
    names = body_operations(lower_node("Gather", [x, const(1, 4, 7, 10)], axis=1))
    assert "tensor.extract_slice" in names
    assert "tensor.extract" not in names
    model = lower_node("Gather", [x, const(2, 2, 2, 3, 3, 3)], axis=1)
    assert "floordiv 3" in str(model.module)
    names = body_operations(lower_node("Gather", [x, np.array([3, 1])], axis=1))
    assert "tensor.extract" in names


@pytest.mark.parametrize("dtype", TYPES)
def test_gathers(dtype: Any) -> None:
    x = data(3, 4, 5, dtype=dtype)
    check("Gather", [x, np.array([[-1, 0], [2, -4]])], axis=1)
    check("GatherElements", [x, RNG.integers(-3, 3, (2, 4, 5))], axis=0)
    check("GatherND", [x, np.array([[0, 1], [-1, -2]])])
    check("GatherND", [x, np.array([[1], [-1], [2]])], batch_dims=1)


def test_an_index_outside_stays_inside() -> None:
    x = data(4)
    (y,) = run_node("Gather", [x, np.array([9, -9, 3])])
    np.testing.assert_array_equal(y, x[[3, 0, 3]])
    with pytest.raises(MxcError, match="index 9 is outside"):
        run_node("Gather", [x, const(9)])


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, np.float16])
def test_scatters(reduction: str, dtype: Any) -> None:
    x = (RNG.random((4, 5)) * 9).astype(dtype)
    updates = (RNG.random((3, 5)) * 9).astype(dtype)
    indices = np.stack([RNG.permutation(4)[:3] for _ in range(5)], 1) - 4
    check("ScatterElements", [x, indices, updates], axis=0, reduction=reduction)
    rows = np.array([[3], [-4], [1]])
    check("ScatterND", [x, rows, updates], reduction=reduction)


def test_duplicates_act_in_order_and_outside_writes_nothing() -> None:
    x, updates = np.zeros(4, np.float32), np.array([1, 2, 4], np.float32)
    (y,) = run_node("ScatterND", [x, np.array([[1], [1], [9]]), updates])
    np.testing.assert_array_equal(y, [0, 2, 0, 0])
    (y,) = run_node("ScatterND", [x.reshape(2, 2), np.array([[0, 2], [1, -3], [1, -2]]), updates])
    np.testing.assert_array_equal(y, [[0, 0], [4, 0]])


def box_of(*axes: range) -> Const:
    grid = np.meshgrid(*(np.array(a) for a in axes), indexing="ij")
    return Const(np.stack(grid, -1))


@pytest.mark.parametrize("reduction", ["none", "add"])
def test_a_constant_box_is_a_window(reduction: str) -> None:
    x, updates = data(4, 6, 3), data(2, 3, 3)
    inputs = [x, box_of(range(1, 3), range(-5, 0, 2)), updates]
    names = body_operations(lower_node("ScatterND", inputs, reduction=reduction))
    assert "scf.for" not in names
    assert "tensor.insert_slice" in names
    check("ScatterND", inputs, reduction=reduction)
    names = body_operations(lower_node("GatherND", inputs[:2]))
    assert "tensor.extract" not in names
    check("GatherND", inputs[:2])


def test_other_constant_indices_choose_rows_while_compiling() -> None:
    x, updates = data(6, 4), data(5, 4)
    inputs = [x, Const(np.array([[5], [0], [0], [-2], [1]])), updates]
    assert "arith.cmpi" not in body_operations(lower_node("ScatterND", inputs))
    check("ScatterND", inputs)
    check("ScatterND", inputs, rtol=1e-6, reduction="add")


def test_many_updates_are_applied_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mxc.passes.lowering.scatter.MAX_FOLD", 0)
    x, updates = data(6, 4), data(5, 4)
    inputs = [x, np.array([[5], [0], [0], [-2], [1]]), updates]
    assert "scf.for" in body_operations(lower_node("ScatterND", inputs, reduction="add"))
    check("ScatterND", inputs, rtol=1e-6, reduction="add")


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pads(mode: str) -> None:
    x = data(3, 5)
    for amounts in ([1, 2, 2, 3], [0, 7, 0, 0], [2, 0, 0, 2], [0, 4, 5, 4]):
        check("Pad", [x, const(*amounts)], mode=mode)
    (y,) = run_node("Pad", [x, const(-1, 2, 1, -2)], mode="constant")
    np.testing.assert_array_equal(y, np.pad(x[1:, :-2], [(0, 1), (2, 0)]))


def test_the_padding_may_come_at_run_time() -> None:
    x = data(2, 3)
    (y,) = run_node("Pad", [x, const(1, 0), np.array(7, np.float32), const(1)])
    np.testing.assert_array_equal(y, np.pad(x, [(0, 0), (1, 0)], constant_values=7))


def test_movements() -> None:
    x = data(2, 8, 4, 6)
    for mode in ("DCR", "CRD"):
        check("DepthToSpace", [x], blocksize=2, mode=mode)
    check("SpaceToDepth", [x], blocksize=2)
    check("Tile", [x, const(1, 2, 1, 3)])
    check("Expand", [data(3, 1), const(2, 1, 4)])
    check("Split", [x, const(2, 5, 1)], outputs=3, axis=1)
    check("CenterCropPad", [x, const(5, 5)], axes=[1, 3])
    check("ReverseSequence", [data(5, 3), np.array([5, 2, 1])], time_axis=0, batch_axis=1)
    check("Trilu", [data(2, 3, 5), np.array(-1)], upper=0)
    check(
        "OneHot",
        [np.array([[0, -1], [7, 2]]), Const(np.array(4)), np.array([2, 5], np.int32)],
        axis=0,
    )
    check("EyeLike", [data(3, 5)], k=1)
    check("Compress", [x, Const(np.array([True, False, True]))], axis=1)
    check("Compress", [x, Const(np.array([False, True, True, False]))])
    check("TensorScatter", [data(2, 6, 3), data(2, 2, 3), np.array([1, 4])], axis=1)


@pytest.mark.parametrize(
    ("op_type", "inputs", "attrs", "message"),
    [
        ("NonZero", [data(3)], {}, "depends on"),
        ("Unique", [data(3)], {}, "depends on"),
        ("Slice", [data(3), const(0), const(2), const(0), const(0)], {}, "step"),
        ("Pad", [data(3), const(1, 1)], {"mode": "bounce"}, "mode"),
        ("ScatterND", [data(3), np.array([[1]]), data(1)], {"reduction": "xor"}, "reduction"),
    ],
)
def test_refusals_name_the_node(op_type: str, inputs: Any, attrs: Any, message: str) -> None:
    with pytest.raises(MxcError, match="the/node") as caught:
        run_node(op_type, inputs, **attrs)
    assert message in str(caught.value)
