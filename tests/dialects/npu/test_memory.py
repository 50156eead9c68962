"""Every constraint of the memory and DMA operations has a test that breaks it."""

import pytest
from xdsl.utils.exceptions import VerifyException

from mxc.opt import parse, print_module

WRONG = {
    "npu.constant (C1)": '%w = npu.constant @c {part = "weights"} : memref<4xf32>',
    "npu.constant (C2)": '%w = npu.constant @c {part = "data", offset = 32 : i64} : memref<4xf32>',
    "npu.constant (C3)": '%w = npu.constant @c {part = "data"} : memref<4xf32, strided<[2]>>',
    "npu.buffer (C1)": '%b = npu.buffer {space = "dram", offset = 0 : i64} '
    ': memref<4xf32, "scratchpad">',
    "npu.buffer (C2)": '%b = npu.buffer {space = "dram", offset = -64 : i64} : memref<4xf32>',
    "npu.buffer (C3)": '%b = npu.buffer {space = "dram", offset = 0 : i64} '
    ": memref<4xf32, strided<[2]>>",
    "npu.dma_start (C1)": '%e = npu.dma_start %x, %s : memref<8xf32>, memref<4xf32, "scratchpad">',
    "npu.dma_start (C2)": "%e = npu.dma_start %x, %x : memref<8xf32>, memref<8xf32>",
}


def module(line: str) -> str:
    return (
        'func.func @main(%x: memref<8xf32>, %s: memref<4xf32, "scratchpad">) {\n'
        f"{line}\nfunc.return\n}}"
    )


@pytest.mark.parametrize("label", WRONG)
def test_verifier(label: str) -> None:
    with pytest.raises(VerifyException) as caught:
        parse(module(WRONG[label]))
    assert label in str(caught.value)


def test_text_round_trip() -> None:
    text = module(
        '%w = npu.constant @c_5 {part = "codes", offset = 128 : i64} : memref<64xi8>\n'
        '%b = npu.buffer {space = "scratchpad", offset = 64 : i64} : memref<8xf32, "scratchpad">\n'
        '%e = npu.dma_start %x, %b : memref<8xf32>, memref<8xf32, "scratchpad">\n'
        "npu.dma_wait %e"
    )
    printed = print_module(parse(text)[1])
    assert print_module(parse(printed)[1]) == printed
