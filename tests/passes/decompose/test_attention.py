"""Attention against onnx's reference, and what its decomposition looks like."""

from typing import Any

import numpy as np
import pytest

from mxc.errors import CannotLower
from tests.passes.lowering.nodes import body_operations, check, lower_node, run_node

RNG = np.random.default_rng(11)
BATCH, HEADS, LENGTH, TOTAL, SIZE = 2, 4, 3, 6, 8


def data(*shape: int, dtype: Any = np.float32) -> Any:
    return RNG.standard_normal(shape).astype(dtype)


def qkv(keys: int = HEADS, total: int = TOTAL) -> list[Any]:
    shape = (BATCH, keys, total, SIZE)
    return [data(BATCH, HEADS, LENGTH, SIZE), data(*shape), data(*shape)]


@pytest.mark.parametrize("keys", [1, 2, 4])
@pytest.mark.parametrize("causal", [0, 1])
def test_shared_key_heads(keys: int, causal: int) -> None:
    check("Attention", qkv(keys), rtol=1e-5, is_causal=causal)


def test_a_cache_shifts_the_causal_frontier() -> None:
    past = [data(BATCH, 2, 5, SIZE) for _ in range(2)]
    inputs = [*qkv(2, LENGTH), None, *past]
    check("Attention", inputs, 3, rtol=1e-5, is_causal=1)


@pytest.mark.parametrize("mode", [1, 2, 3])
def test_stages_of_the_scores(mode: int) -> None:
    mask = np.where(data(LENGTH, TOTAL) > 0, np.float32(0), np.float32(-3))
    attrs = {"qk_matmul_output_mode": mode, "softcap": 2.0}
    check("Attention", [*qkv(), mask], 4, rtol=1e-5, **attrs)


def test_a_query_that_sees_no_key_gives_zeros() -> None:
    mask = np.ones((LENGTH, TOTAL), bool)
    mask[1] = False
    (y,) = run_node("Attention", [*qkv(), mask])
    assert (y[:, :, 1] == 0).all()
    assert (y[:, :, 0] != 0).all()
    check("Attention", [*qkv(), mask], rtol=1e-5)
    check("Attention", [*qkv(), np.where(mask, 0, -np.inf).astype(np.float32)], rtol=1e-5)


def test_padding_of_an_external_cache() -> None:
    counts = np.array([2, 6], np.int64)
    for causal in (0, 1):
        inputs = [*qkv(2), None, None, None, counts]
        check("Attention", inputs, rtol=1e-5, is_causal=causal)


def test_a_short_mask_hides_the_keys_beyond_it() -> None:
    check("Attention", [*qkv(), np.zeros((LENGTH, 4), np.float32)], rtol=1e-5)


def test_both_products_are_contractions_and_keys_are_not_repeated() -> None:
    model = lower_node("Attention", qkv(2))
    shapes = [
        (op.operands[0].type.get_shape(), op.operands[1].type.get_shape())  # pyright: ignore
        for op in model.module.walk()
        if op.name == "mx.matmul"
    ]
    rows = HEADS // 2 * LENGTH
    assert shapes == [
        ((BATCH, 2, rows, SIZE), (BATCH, 2, SIZE, TOTAL)),
        ((BATCH, 2, rows, TOTAL), (BATCH, 2, TOTAL, SIZE)),
    ]


def test_packed_heads_are_the_same_as_separate_ones() -> None:
    q, k, v = qkv(2)
    (y,) = run_node("Attention", [q, k, v])

    def packed(x: Any) -> Any:
        return x.transpose(0, 2, 1, 3).reshape(BATCH, x.shape[2], -1)

    attrs = {"q_num_heads": HEADS, "kv_num_heads": 2}
    (y3,) = run_node("Attention", [packed(q), packed(k), packed(v)], **attrs)
    np.testing.assert_array_equal(y3, packed(y))


def test_linear_attention_is_a_loop_with_its_products_inside() -> None:
    inputs = [data(1, 5, 8), data(1, 5, 8), data(1, 5, 8), None, None, data(1, 5, 2)]
    attrs = {"update_rule": "delta", "q_num_heads": 2, "kv_num_heads": 2}
    check("LinearAttention", inputs, 2, rtol=1e-5, **attrs)
    names = body_operations(lower_node("LinearAttention", inputs, 2, **attrs))
    assert names.count("scf.for") == 1
    assert names.count("mx.matmul") == 2


def test_heads_that_do_not_divide_are_an_error() -> None:
    with pytest.raises(CannotLower, match=r"node 'the/node' .Attention.: 4 query heads do not"):
        run_node("Attention", qkv(3))
