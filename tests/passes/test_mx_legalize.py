"""`mx-legalize`: what a backend lacks becomes loops with the same bits, or a precise error."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from mxc.backends import ref
from mxc.dialects.location import locate
from mxc.dialects.mx import Contraction, ConvOp, DequantizeOp, MatMulOp, RequantizeOp, block_type
from mxc.errors import BadInput, CannotLower
from mxc.kit.data import edges, normal, wide
from mxc.kit.sheet import Sheet, recipe
from mxc.model import Model
from mxc.numerics import DotContract, format_of, register_contract
from mxc.numerics.dots import _REGISTERED
from mxc.opt import apply_passes
from mxc.options import Options
from mxc.passes import _capabilities

FORMATS = ("mxfp8_e4m3", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4", "mxint8")


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes a backend `t` that refuses operations by name."""
    before = dict(_REGISTERED)

    def declare(*names: str) -> None:
        support = {"t": lambda op: f"no {op.name} here" if op.name in names else None}
        monkeypatch.setattr(_capabilities, "_SUPPORT", support)

    yield declare
    _REGISTERED.clear()
    _REGISTERED.update(before)


def legalized(sheet: Sheet, options: str = "backend=t") -> tuple[Model, list[np.ndarray]]:
    """The module after the pass, and what it computed before."""
    model = sheet.model(Options())
    before = ref.run(model.module, model.ctx, sheet.arrays)
    apply_passes(model.ctx, model.module, f"mx-legalize{{{options}}}")
    return model, list(before)


def check(sheet: Sheet, *gone: type[Operation]) -> ModuleOp:
    model, before = legalized(sheet)
    assert not [op for op in model.module.walk() if isinstance(op, gone)]
    for name, want, got in zip(
        sheet.labels, before, ref.run(model.module, model.ctx, sheet.arrays), strict=True
    ):
        bits = f"u{want.itemsize}"
        nan = (want != want) & (got != got)
        assert ((want.view(bits) == got.view(bits)) | nan).all(), name
    return model.module


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("block", [16, 32])
def test_matmuls_keep_their_bits(refuse: Callable[..., None], format: str, block: int) -> None:
    refuse("mx.matmul")
    sheet = Sheet("t")
    x = sheet.input(edges((2, 5, 70), format_of(format), block))
    y = sheet.input(wide((70, 6)))
    a = sheet.quantize(x, format, (1, 1, block), "floor")
    b = sheet.quantize(y, format, (block, 1), "floor")
    for contract in ("block-exact", "sequential", "sequential-fma"):
        sheet.give(contract, sheet.add(MatMulOp(a, b, contract)))
    sheet.give("float by block", sheet.add(MatMulOp(x, b)))
    check(sheet, MatMulOp)


def test_batches_broadcast(refuse: Callable[..., None]) -> None:
    refuse("mx.matmul")
    sheet = Sheet("t")
    x, y = sheet.input(normal((2, 1, 3, 32))), sheet.input(normal((4, 32, 5)))
    a = sheet.quantize(x, "mxfp8_e4m3", (1, 1, 1, 32), "rceil")
    b = sheet.quantize(y, "mxfp8_e4m3", (1, 32, 1), "rceil")
    sheet.give("blocks", sheet.add(MatMulOp(a, b, "block-exact")))
    sheet.give("floats", sheet.add(MatMulOp(x, y)))
    check(sheet, MatMulOp)


def convolution(groups: int = 1, channels: int = 40) -> tuple[Sheet, list[ConvOp]]:
    sheet = Sheet("t")
    image = normal((2, channels, 7, 6))
    image[0, 0, 0, 0], image[1, 1, 6, 5] = np.inf, np.nan
    x, w = sheet.input(image), sheet.input(normal((8, channels // groups, 3, 2)))
    a = sheet.quantize(x, "mxfp8_e4m3", (1, 16, 1, 1), "even")
    b = sheet.quantize(w, "mxfp8_e4m3", (1, 16, 1, 1), "even")
    options = {"strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2], "groups": groups}
    ops = [
        ConvOp(a, b, contract="block-exact", **options),
        ConvOp(a, b, **options),
        ConvOp(x, w, contract="sequential-fma", **options),
    ]
    for i, op in enumerate(ops):
        sheet.give(f"{i}", sheet.add(op))
    return sheet, ops


@pytest.mark.parametrize(("groups", "channels"), [(1, 40), (2, 64)])
def test_convolutions_keep_their_bits(
    refuse: Callable[..., None], groups: int, channels: int
) -> None:
    refuse("mx.conv")
    check(convolution(groups, channels)[0], ConvOp)


def test_requantise_becomes_dequantise_and_quantise(refuse: Callable[..., None]) -> None:
    for refused, left in (("mx.requantize",), True), (("mx.requantize", "mx.dequantize"), False):
        refuse(*refused)
        sheet = Sheet("t")
        x = sheet.input(edges((40, 64), format_of("mxfp8_e4m3"), 32))
        a = sheet.quantize(x, "mxfp8_e4m3", (1, 32), "rceil")
        columns = block_type("mxfp4", (32, 1))
        sheet.give("q", sheet.add(RequantizeOp(a, columns, recipe("mxfp4", "even"))))
        module = check(sheet, RequantizeOp)
        assert any(isinstance(op, DequantizeOp) for op in module.walk()) is left


def test_what_is_supported_stays(refuse: Callable[..., None]) -> None:
    refuse()
    sheet, ops = convolution()
    legalized(sheet)
    assert [op.contract.data for op in ops] == ["block-exact", "sequential", "sequential-fma"]


def test_contracts_of_the_target_are_written(refuse: Callable[..., None]) -> None:
    refuse()
    register_contract(DotContract("t-any", lambda a, b, scale, acc: acc, 16))
    sheet, ops = convolution()
    legalized(sheet, 'backend=t block-contract="t-any" float-contract="sequential-fma"')
    assert [op.contract.data for op in ops] == ["t-any", "sequential-fma", "sequential-fma"]


def test_what_runs_elsewhere_keeps_the_exact_contract(refuse: Callable[..., None]) -> None:
    """A vendor's contract is that of its matrix unit; loops follow ours."""
    refuse("mx.conv")
    register_contract(DotContract("t-any", lambda a, b, scale, acc: acc, 16))
    sheet, _ = convolution()
    model, before = legalized(sheet, 'backend=t block-contract="t-any"')
    after = ref.run(model.module, model.ctx, sheet.arrays)
    assert np.array_equal(before[0], after[0], equal_nan=True)
    assert not [op for op in model.module.walk() if isinstance(op, Contraction)]


def test_what_loops_cannot_say_is_an_error(refuse: Callable[..., None]) -> None:
    refuse("mx.matmul")
    sheet = Sheet("t")
    a = sheet.quantize(sheet.input(normal((2, 32))), "mxfp8_e5m2", (1, 32), "rceil")
    b = sheet.quantize(sheet.input(normal((32, 2))), "mxfp8_e5m2", (32, 1), "rceil")
    op = MatMulOp(a, b, "block-exact")
    op.location = locate(["block0/query"])
    sheet.give("y", sheet.add(op))
    message = (
        r"node 'block0/query': the backend lacks mx\.matmul \(no mx\.matmul here\), and loops "
        r"cannot do it: an exact sum of 32 products of mxfp8_e5m2 and mxfp8_e5m2 takes \d+ bits"
    )
    with pytest.raises(CannotLower, match=message):
        legalized(sheet)


def test_quantising_has_no_fallback(refuse: Callable[..., None]) -> None:
    refuse("mx.quantize")
    sheet = Sheet("t")
    sheet.give("q", sheet.quantize(sheet.input(normal((2, 32))), "mxfp4", (1, 32), "even"))
    with pytest.raises(CannotLower, match=r"the backend cannot quantise \(no mx\.quantize here\)"):
        legalized(sheet)


def test_an_unknown_backend_or_contract_is_an_error(refuse: Callable[..., None]) -> None:
    refuse()
    sheet, _ = convolution()
    model = sheet.model(Options())
    with pytest.raises(BadInput, match="unknown backend 'acne'"):
        apply_passes(model.ctx, model.module, "mx-legalize{backend=acne}")
    with pytest.raises(CannotLower, match="'t-none' is unknown"):
        apply_passes(model.ctx, model.module, 'mx-legalize{block-contract="t-none"}')
