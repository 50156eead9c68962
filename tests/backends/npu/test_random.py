"""Random modules give the same bits as tensors, as buffers at planned addresses, and in C."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mxc.backends import ref
from mxc.backends.npu import NpuBackend
from mxc.backends.npu.build import Program
from mxc.opt import apply_passes, parse
from tests.random_loops import random_module

MACHINE = "bufferize,place,tile,plan-memory,schedule"


def same(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    """Equal to the bit, any NaN equal to any NaN."""
    nan = np.isnan(a) & np.isnan(b)
    return a.shape == b.shape and bool(((a.view(np.int32) == b.view(np.int32)) | nan).all())


@pytest.mark.parametrize(
    "passes", [MACHINE, "bufferize,plan-memory,schedule", "bufferize,place,plan-memory"]
)
@pytest.mark.parametrize("seed", range(60))
def test_tensors_and_planned_buffers_agree(seed: int, passes: str) -> None:
    text, inputs = random_module(seed)
    ctx, module = parse(text)
    expected = ref.run(module, ctx, inputs)
    apply_passes(ctx, module, passes)
    for want, got in zip(expected, ref.run(module, ctx, inputs), strict=True):
        assert same(want, got)


@pytest.mark.parametrize("seed", range(100, 106))
def test_tensors_and_c_agree(seed: int, tmp_path: Path) -> None:
    compare_with_c(seed, tmp_path, 40)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 260))
def test_tensors_and_c_agree_often(seed: int, tmp_path: Path) -> None:
    compare_with_c(seed, tmp_path, 30)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [("-O0",), ("-O2", "-march=x86-64"), ("-O3", "-funroll-loops")])
def test_optimisation_changes_nothing(flags: tuple[str, ...], tmp_path: Path) -> None:
    compare_with_c(300, tmp_path, 60, flags)


def compare_with_c(seed: int, folder: Path, length: int, flags: tuple[str, ...] = ()) -> None:
    text, inputs = random_module(seed, length)
    ctx, module = parse(text)
    expected = ref.run(module, ctx, inputs)
    apply_passes(ctx, module, MACHINE)
    NpuBackend().emit(ctx, module, folder)
    for want, got in zip(expected, Program(folder, flags)(*inputs), strict=True):
        assert same(want, got)
