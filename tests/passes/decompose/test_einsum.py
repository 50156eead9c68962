"""Einsum against numpy."""

import string
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxc.errors import CannotLower, MxcError
from mxc.passes._decompose.einsum import parse
from tests.passes.lowering.nodes import body_operations, lower_node, run_node

RNG = np.random.default_rng(5)


def data(*shape: int, dtype: Any = np.float32) -> Any:
    return RNG.integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("ij,jk", [(2, 3), (3, 4)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("bhid,bhjd->bhij", [(2, 2, 3, 4), (2, 2, 5, 4)]),
        ("...ij,...jk->...ik", [(1, 3, 4), (6, 4, 5)]),
        ("ii->i", [(4, 4)]),
        ("iij->j", [(3, 3, 2)]),
        ("ijk->", [(2, 3, 4)]),
        ("i,j->ij", [(2,), (3,)]),
        ("i,i->", [(5,), (5,)]),
        ("ij,k->", [(2, 3), (4,)]),
        ("ab,bc,cd->da", [(2, 3), (3, 4), (4, 5)]),
        ("bn,anm,bm->ba", [(2, 3), (4, 3, 5), (2, 5)]),
        ("i...->...", [(3, 2, 4)]),
        ("abc->cab", [(2, 3, 4)]),
        (",->", [(), ()]),
        ("...,...->...", [(3, 1), (1, 4)]),
    ],
)
def test_equations(equation: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = [data(*shape) for shape in shapes]
    (y,) = run_node("Einsum", arrays, equation=equation)
    np.testing.assert_array_equal(y, np.einsum(equation, *arrays))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_labels(draw: st.DataObject) -> None:
    sizes = {label: draw.draw(st.integers(1, 3)) for label in string.ascii_lowercase[:4]}
    rows = [draw.draw(st.lists(st.sampled_from(sorted(sizes)), max_size=3)) for _ in range(2)]
    known = sorted({label for row in rows for label in row})
    output = draw.draw(st.permutations(known))[: draw.draw(st.integers(0, len(known)))]
    equation = ",".join("".join(row) for row in rows) + "->" + "".join(output)
    arrays = [data(*(sizes[label] for label in row)) for row in rows]
    (y,) = run_node("Einsum", arrays, equation=equation)
    np.testing.assert_array_equal(y, np.einsum(equation, *arrays))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64, np.float16])
def test_types(dtype: Any) -> None:
    a, b = data(2, 3, dtype=dtype), data(3, 4, dtype=dtype)
    (y,) = run_node("Einsum", [a, b], equation="ij,jk->ki")
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, (a @ b).T)


def test_a_contraction_is_one_matmul() -> None:
    inputs = [data(2, 4, 3, 8), data(2, 4, 5, 8)]
    names = body_operations(lower_node("Einsum", inputs, equation="bhid,bhjd->bhij"))
    assert names.count("mx.matmul") == 1


def test_equations_that_do_not_fit() -> None:
    with pytest.raises(CannotLower, match="does not have 2 operands"):
        parse("ij->i", [2, 2])
    with pytest.raises(CannotLower, match="does not fit operands of ranks"):
        parse("ij,jk->ik", [2, 3])
    with pytest.raises(MxcError, match="Einsum"):
        lower_node("Einsum", [data(2, 3), data(4, 5)], equation="ij,jk->ik")
