"""Dot contracts that vendors register: the interpreter runs them step by step."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mxc.errors import BadInput
from mxc.numerics import (
    DotContract,
    conv,
    known_contracts,
    matmul,
    quantize,
    register_contract,
    takes_floats,
)
from mxc.numerics.dots import _REGISTERED


def chain(lhs: Any, rhs: Any, scale: Any, acc: Any) -> Any:
    """Products added one by one in f32, from the last."""
    total = np.zeros(acc.shape, np.float32)
    for k in reversed(range(lhs.shape[-1])):
        total = total + lhs[..., k, None] * rhs[:, None, k]
    return acc + (total.astype(np.float64) * scale).astype(np.float32)


@pytest.fixture
def registry() -> Iterator[None]:
    before = dict(_REGISTERED)
    yield
    _REGISTERED.clear()
    _REGISTERED.update(before)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(("block", "step"), [(32, 32), (16, 32), (32, 8)])
def test_steps_end_where_blocks_do(block: int, step: int) -> None:
    seen: list[int] = []

    def add(lhs: Any, rhs: Any, scale: Any, acc: Any) -> Any:
        seen.append(lhs.shape[-1])
        return chain(lhs, rhs, scale, acc)

    register_contract(DotContract("t-chain", add, step))
    rng = np.random.default_rng(0)
    a = quantize(rng.standard_normal((5, 40)).astype("f4"), "mxfp8", block=(block,))
    b = quantize(rng.standard_normal((40, 3)).astype("f4"), "mxfp8", 0, block=(block, 1))
    got = matmul(a, b, "t-chain")
    size = min(block, step)
    assert seen == [size] * (40 // size) + [40 % size] * (40 % size > 0)
    np.testing.assert_allclose(got, matmul(a, b), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("registry")
def test_order_within_a_step_is_the_vendors() -> None:
    register_contract(DotContract("t-chain", chain))
    values = np.float32([[1, 2**-12, 2**-12, 2**12] + [0] * 28])
    a, b = (quantize(x, "mxfp8_e5m2") for x in (values, np.ones_like(values)))
    expected, value = np.float32(0), a.dequantize()[0]
    for v in value[::-1]:
        expected = np.float32(expected + v)
    assert matmul(a, quantize(np.ones((32, 1), np.float32), "mxfp8_e5m2", 0), "t-chain")[0, 0] == (
        expected
    )
    assert b.shape == a.shape


@pytest.mark.usefixtures("registry")
def test_convolutions_and_batches() -> None:
    register_contract(DotContract("t-chain", chain, 16))
    rng = np.random.default_rng(1)
    x = quantize(rng.standard_normal((2, 48, 5, 4)).astype("f4"), "mxfp6", 1, block=(1, 16, 1, 1))
    w = quantize(rng.standard_normal((6, 24, 3, 3)).astype("f4"), "mxfp6", 1, block=(1, 8, 1, 1))
    options = {"pads": [1, 1, 0, 2], "strides": [2, 1], "groups": 2}
    np.testing.assert_allclose(
        conv(x, w, contract="t-chain", **options), conv(x, w, **options), rtol=1e-4, atol=1e-5
    )
    a = quantize(rng.standard_normal((2, 1, 3, 32)).astype("f4"), "mxfp4")
    b = quantize(rng.standard_normal((4, 32, 5)).astype("f4"), "mxfp4", 1)
    np.testing.assert_allclose(matmul(a, b, "t-chain"), matmul(a, b), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("registry")
def test_names_are_known_and_taken_once() -> None:
    contract = DotContract("t-chain", chain)
    register_contract(contract)
    register_contract(contract)
    assert "t-chain" in known_contracts()
    assert not takes_floats("t-chain")
    with pytest.raises(BadInput, match="registered twice"):
        register_contract(DotContract("t-chain", chain, 8))
    with pytest.raises(BadInput, match="takes two block operands"):
        matmul(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32), "t-chain")


@pytest.mark.usefixtures("registry")
def test_a_result_of_another_type_is_an_error() -> None:
    register_contract(DotContract("t-wide", lambda a, b, scale, acc: acc + scale))
    a = quantize(np.ones((2, 32), np.float32), "mxfp8")
    with pytest.raises(BadInput, match="'t-wide' gives float64"):
        matmul(a, quantize(np.ones((32, 2), np.float32), "mxfp8", 0), "t-wide")


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({"name": "block-exact"}, "C1"),
        ({"name": "No Name"}, "C1"),
        ({"step": 12}, "C2"),
        ({"step": 64}, "C2"),
        ({"slot": 4}, "C3"),
    ],
)
def test_constraints(options: dict[str, Any], label: str) -> None:
    with pytest.raises(BadInput, match=label):
        DotContract(**{"name": "t-any", "add": chain, **options})
