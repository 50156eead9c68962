"""The host HAL against the numerics: every format, contract and shape of panel, to the bit."""

from pathlib import Path

import numpy as np
import pytest

from mxc.backends import ref
from mxc.backends.npu import NpuBackend
from mxc.backends.npu.build import Program
from mxc.opt import apply_passes, parse

RECIPE = "#mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>"
ELEMENTS = ("f8E4M3FN", "f8E5M2", "f6E2M3FN", "f6E3M2FN", "f4E2M1FN", "i8", "f8E5M2FNUZ")


def check(body: list[str], inputs: list[np.ndarray], results: list[str], folder: Path) -> None:
    """Runs `body` on tensors and in C; `results` are "%name : type"."""
    names = ", ".join(r.split(" : ")[0] for r in results)
    types = ", ".join(r.split(" : ")[1] for r in results)
    arguments = ", ".join(
        f"%x{i}: tensor<{'x'.join(map(str, x.shape))}xf32>" for i, x in enumerate(inputs)
    )
    ports = [", ".join(f'"p{i}"' for i in range(len(side))) for side in (inputs, results)]
    text = "\n".join(
        [
            f"builtin.module attributes {{mxc.input_names = [{ports[0]}], "
            f"mxc.output_names = [{ports[1]}]}} {{",
            f"func.func @main({arguments}) -> ({types}) {{",
            *body,
            f"func.return {names} : {types}\n}}\n}}",
        ]
    )
    ctx, module = parse(text)
    expected = ref.run(module, ctx, inputs)
    apply_passes(ctx, module, "bufferize,place,tile,plan-memory,schedule")
    NpuBackend().emit(ctx, module, folder)
    for result, want, got in zip(results, expected, Program(folder)(*inputs), strict=True):
        nan = np.isnan(want) & np.isnan(got)
        same = (want.view(np.int32) == got.view(np.int32)) | nan
        assert same.all(), f"{result}: {np.argwhere(~same)[:3]}"


def wide_data(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values over many binades, with zeros, subnormals, an infinity and a NaN."""
    x = rng.standard_normal(shape) * np.exp2(rng.integers(-20, 20, shape))
    x[..., 1] = 0
    x[0, ..., 2] = 1e-41
    flat = x.reshape(-1)
    flat[-1], flat[-70] = np.inf, np.nan
    return x.astype(np.float32)


SOME = [(i, i) for i in range(len(ELEMENTS))] + [(0, 1), (4, 1), (5, 6), (3, 0)]
ALL = [(i, j) for i in range(len(ELEMENTS)) for j in range(len(ELEMENTS))]


@pytest.mark.parametrize("pairs", [SOME, pytest.param(ALL, marks=pytest.mark.slow)], ids=len)
def test_matmuls_of_pairs_of_formats(pairs: list[tuple[int, int]], tmp_path: Path) -> None:
    m, k, n = 5, 72, 67
    rng = np.random.default_rng(1)
    body, results = [], []
    for i, element in enumerate(ELEMENTS):
        left, right = f"!mx.block<{element}, 1x32>", f"!mx.block<{element}, 32x1>"
        body += [
            f"%a{i} = mx.quantize %x0 {{recipe = {RECIPE}}} "
            f": tensor<{m}x{k}xf32> -> tensor<{m}x{k}x{left}>",
            f"%b{i} = mx.quantize %x1 {{recipe = {RECIPE}}} "
            f": tensor<{k}x{n}xf32> -> tensor<{k}x{n}x{right}>",
        ]
    for i, j in pairs:
        left, right = f"!mx.block<{ELEMENTS[i]}, 1x32>", f"!mx.block<{ELEMENTS[j]}, 32x1>"
        body.append(
            f'%y{i}_{j} = mx.matmul %a{i}, %b{j} {{contract = "block-exact"}} '
            f": tensor<{m}x{k}x{left}>, tensor<{k}x{n}x{right}> -> tensor<{m}x{n}xf32>"
        )
        results.append(f"%y{i}_{j} : tensor<{m}x{n}xf32>")
    check(body, [wide_data(rng, (m, k)), wide_data(rng, (k, n))], results, tmp_path)


def test_matmuls_of_floats_blocks_and_batches(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((3, 1, 70, 45)), rng.standard_normal((2, 45, 9))
    block, types = "!mx.block<f8E4M3FN, 1x32x1>", "tensor<3x1x70x45xf32>"
    body = [
        f"%q = mx.quantize %x1 {{recipe = {RECIPE}}} : tensor<2x45x9xf32> -> tensor<2x45x9x{block}>"
    ]
    results = []
    for i, contract in enumerate(("sequential", "sequential-fma")):
        for j, (name, kind) in enumerate((("%x1", "f32"), ("%q", block))):
            body.append(
                f'%y{i}_{j} = mx.matmul %x0, {name} {{contract = "{contract}"}} '
                f": {types}, tensor<2x45x9x{kind}> -> tensor<3x2x70x9xf32>"
            )
            results.append(f"%y{i}_{j} : tensor<3x2x70x9xf32>")
    check(body, [a.astype(np.float32), b.astype(np.float32)], results, tmp_path)


CONVS = [
    # batch, channels, output channels, groups, input, kernel, strides, pads, dilations
    (2, 3, 5, 1, (9, 8), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    (1, 64, 70, 1, (6, 7), (3, 2), (2, 1), (0, 1, 1, 0), (1, 1)),
    (1, 64, 4, 2, (5, 5), (2, 2), (1, 1), (0, 0, 1, 1), (2, 1)),
    (1, 6, 6, 6, (9, 9), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    (1, 33, 7, 1, (20,), (5,), (3,), (2, 2), (2,)),
    (1, 4, 8, 2, (4, 4, 4), (2, 2, 2), (1, 1, 1), (0,) * 6, (1, 1, 1)),
]


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_convolutions(case: tuple, tmp_path: Path) -> None:  # type: ignore[type-arg]
    n, c, o, g, size, kernel, strides, pads, dilations = case
    rng = np.random.default_rng(3)
    rank = len(size)
    out = [
        (size[i] + pads[i] + pads[rank + i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i in range(rank)
    ]
    shapes = [(n, c, *size), (o, c // g, *kernel), (n, o, *out)]
    x, w, y = ("x".join(map(str, shape)) for shape in shapes)
    lists = ", ".join(
        f"{name} = array<i64: {', '.join(map(str, values))}>"
        for name, values in (("strides", strides), ("pads", pads), ("dilations", dilations))
    )
    block = f"!mx.block<f8E4M3FN, 1x32{'x1' * rank}>"
    body = [
        f"%q = mx.quantize %x0 {{recipe = {RECIPE}}} : tensor<{x}xf32> -> tensor<{x}x{block}>",
        f"%k = mx.quantize %x1 {{recipe = {RECIPE}}} : tensor<{w}xf32> -> tensor<{w}x{block}>",
    ]
    variants = [
        ("sequential", "%x0", "%x1", "f32", "f32"),
        ("sequential-fma", "%x0", "%x1", "f32", "f32"),
        ("sequential", "%x0", "%k", "f32", block),
    ]
    if g == 1 or (c // g) % 32 == 0:
        variants.append(("block-exact", "%q", "%k", block, block))
    results = []
    for i, (contract, left, right, a, b) in enumerate(variants):
        body.append(
            f'%y{i} = mx.conv {left}, {right} {{contract = "{contract}", {lists}, '
            f"groups = {g} : i64}} : tensor<{x}x{a}>, tensor<{w}x{b}> -> tensor<{y}xf32>"
        )
        results.append(f"%y{i} : tensor<{y}xf32>")
    data = [rng.standard_normal(shape).astype(np.float32) for shape in shapes[:2]]
    check(body, data, results, tmp_path)
