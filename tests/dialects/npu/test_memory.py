"""Every constraint of the memory and DMA operations has a test that breaks it."""

import pytest
from xdsl.utils.exceptions import VerifyException

from mxc.opt import parse, print_module

ON = '{channel = 0 : i64, purpose = "activations"}'

WRONG = {
    "npu.constant (C1)": '%w = npu.constant @c {part = "weights"} : memref<4xf32>',
    "npu.constant (C2)": '%w = npu.constant @c {part = "data", offset = 32 : i64} : memref<4xf32>',
    "npu.constant (C3)": '%w = npu.constant @c {part = "data"} : memref<4xf32, strided<[2]>>',
    "npu.buffer (C1)": '%b = npu.buffer {space = "dram", offset = 0 : i64} '
    ': memref<4xf32, "scratchpad">',
    "npu.buffer (C2)": '%b = npu.buffer {space = "dram", offset = -64 : i64} : memref<4xf32>',
    "npu.buffer (C3)": '%b = npu.buffer {space = "dram", offset = 0 : i64} '
    ": memref<4xf32, strided<[2]>>",
    "npu.dma (C1)": f'npu.dma %x, %s {ON} : memref<8xf32>, memref<4xf32, "scratchpad">',
    "npu.dma (C2)": f"npu.dma %x, %x {ON} : memref<8xf32>, memref<8xf32>",
    "npu.dma (C3)": 'npu.dma %y, %s {channel = -1 : i64, purpose = "weights"} '
    ': memref<4xf32>, memref<4xf32, "scratchpad">',
    "npu.record (C1)": '%e = npu.record {queue = "dma"}',
    "npu.wait (C1)": '%e = npu.record {queue = "dma1"}\nnpu.wait %e {queue = "cpu"}',
}


def module(line: str) -> str:
    return (
        'func.func @main(%x: memref<8xf32>, %y: memref<4xf32>, %s: memref<4xf32, "scratchpad">) {\n'
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
        f'npu.dma %x, %b {ON} : memref<8xf32>, memref<8xf32, "scratchpad">\n'
        '%e = npu.record {queue = "dma0"}\n'
        'npu.wait %e {queue = "matrix"}\n'
        "npu.barrier"
    )
    printed = print_module(parse(text)[1])
    assert print_module(parse(printed)[1]) == printed
