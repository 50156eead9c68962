"""Data that finds errors, and the C header behind ctypes."""

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mxc.numerics import BlockArray, Recipe, format_of
from mxc.numerics.c_source import HEADER_NAME, c_contract, c_format, c_recipe, header_text

SHIM = """
#include "mxnpu_numerics.h"
float t_decode(int f, int c) { return mx_decode((mx_format)f, (uint8_t)c); }
int t_encode(int f, float v, int t) { return mx_encode((mx_format)f, v, (mx_tie)t); }
float t_scale_value(int b) { return mx_scale_value((uint8_t)b); }
void t_scale_bytes(int f, int rule, const uint32_t *amax, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++) out[i] = mx_scale_byte((mx_format)f, amax[i], (mx_rule)rule);
}
void t_quantize(const mx_quant_desc *d, const float *x, uint8_t *c, uint8_t *s) {
    mx_quantize(d, x, c, s);
}
void t_dequantize(const mx_quant_desc *d, const uint8_t *c, const uint8_t *s, float *x) {
    mx_dequantize(d, c, s, x);
}
float t_quantize_nvfp4(const mx_quant_desc *d, const float *x, uint8_t *c, uint8_t *s) {
    return mx_quantize_nvfp4(d, x, c, s);
}
void t_dequantize_nvfp4(const mx_quant_desc *d, const uint8_t *c, const uint8_t *s, float t,
                        float *x) {
    mx_dequantize_nvfp4(d, c, s, t, x);
}
void t_requantize(const mx_quant_desc *a, const uint8_t *c, const uint8_t *s,
                  const mx_quant_desc *b, uint8_t *c2, uint8_t *s2) {
    mx_requantize(a, c, s, b, c2, s2);
}
void t_matmul(int contract, int fa, const uint8_t *a, const uint8_t *sa, size_t ba, int fb,
              const uint8_t *b, const uint8_t *sb, size_t bb, size_t m, size_t k, size_t n,
              float *y) {
    const size_t blocks = (k + ba - 1) / ba, step = ba < bb ? ba : bb;
    for (size_t i = 0; i < m; i++) for (size_t j = 0; j < n; j++) {
        float acc = 0.0f;
        for (size_t s = 0; s < k; s += step) {
            const size_t count = k - s < step ? k - s : step;
            acc = mx_accumulate((mx_contract)contract, acc, (mx_format)fa, a + i * k + s, 1,
                                sa[i * blocks + s / ba], (mx_format)fb, b + s * n + j,
                                (ptrdiff_t)n, sb[s / bb * n + j], count);
        }
        y[i * n + j] = acc;
    }
}
float t_round(int64_t m, int e) { return mx_round_f32(m, e); }
#define NAME(x) if (strcmp(name, #x) == 0) return (int)x
int t_enum(const char *name) { @NAMES@ return -1; }
"""

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]


class Desc(ctypes.Structure):
    """`mx_quant_desc`."""

    _fields_ = [
        ("rank", ctypes.c_uint32),
        ("shape", ctypes.c_size_t * 8),
        ("strides", ctypes.c_ssize_t * 8),
        ("block", ctypes.c_size_t * 8),
        *((name, ctypes.c_int) for name in ("format", "rule", "special", "tie", "overflow")),
        ("min_scale_byte", ctypes.c_uint8),
        ("positive_zero", ctypes.c_uint8),
        ("min_amax", ctypes.c_float),
        ("seed", ctypes.c_uint32),
    ]


def pointer(a: np.ndarray) -> ctypes.c_void_p:
    """The address of an array's first element."""
    return ctypes.c_void_p(a.ctypes.data)


class C:
    """The header, compiled; methods as the functions of `mxc.numerics`."""

    def __init__(self, library: Path) -> None:
        self.lib = ctypes.CDLL(str(library))
        self.lib.t_decode.restype = self.lib.t_scale_value.restype = ctypes.c_float
        self.lib.t_round.restype = self.lib.t_quantize_nvfp4.restype = ctypes.c_float
        self.lib.t_round.argtypes = [ctypes.c_int64, ctypes.c_int]
        self.lib.t_encode.argtypes = [ctypes.c_int, ctypes.c_float, ctypes.c_int]

    def enum(self, name: str) -> int:
        return self.lib.t_enum(name.encode())

    def desc(self, like: np.ndarray, format: Any, block: tuple[int, ...], recipe: Recipe) -> Desc:
        values = c_recipe(recipe)
        d = Desc(rank=like.ndim, format=self.enum(c_format(format)), seed=recipe.seed)
        for i in range(like.ndim):
            d.shape[i], d.block[i] = like.shape[i], block[i]
            d.strides[i] = like.strides[i] // like.itemsize
        for name in ("rule", "special", "tie", "overflow"):
            setattr(d, name, self.enum(values[name]))
        d.positive_zero = int(values["positive_zero"])
        d.min_scale_byte, d.min_amax = recipe.min_scale_byte, recipe.min_amax
        return d

    def quantize(
        self, x: np.ndarray, format: str, block: tuple[int, ...], recipe: Recipe,
        tensor_scale: float | None = None,
    ) -> BlockArray:  # fmt: skip
        f = format_of(format)
        two_level = f.scale == "e4m3" and tensor_scale is None
        grid = [-(-n // b) for n, b in zip(x.shape, block, strict=True)]
        codes, scales = np.empty(x.shape, f.code_dtype), np.empty(grid, np.uint8)
        d = self.desc(x, format, block, recipe)
        call = self.lib.t_quantize_nvfp4 if two_level else self.lib.t_quantize
        result = call(ctypes.byref(d), pointer(x), pointer(codes), pointer(scales))
        return BlockArray(codes, scales, f, block, result if two_level else 1.0)

    def dequantize(self, a: BlockArray) -> np.ndarray:
        out = np.empty(a.shape, np.float32)
        d = self.desc(out, a.format, a.block, Recipe())
        arguments = [ctypes.byref(d), pointer(a.codes), pointer(a.scales)]
        if a.format.scale == "e4m3":
            scale = ctypes.c_float(a.tensor_scale)
            self.lib.t_dequantize_nvfp4(*arguments, scale, pointer(out))
        else:
            self.lib.t_dequantize(*arguments, pointer(out))
        return out

    def dequantize_plain(self, a: BlockArray) -> np.ndarray:
        """`mx_dequantize`, which takes the tensor scale to be 1."""
        out = np.empty(a.shape, np.float32)
        d = self.desc(out, a.format, a.block, Recipe())
        self.lib.t_dequantize(ctypes.byref(d), pointer(a.codes), pointer(a.scales), pointer(out))
        return out

    def requantize(
        self, a: BlockArray, format: str, block: tuple[int, ...], recipe: Recipe
    ) -> BlockArray:
        f = format_of(format)
        grid = [-(-n // b) for n, b in zip(a.shape, block, strict=True)]
        codes, scales = np.empty(a.shape, f.code_dtype), np.empty(grid, np.uint8)
        source = self.desc(codes, a.format, a.block, recipe)
        target = self.desc(codes, format, block, recipe)
        self.lib.t_requantize(
            ctypes.byref(source), pointer(a.codes), pointer(a.scales),
            ctypes.byref(target), pointer(codes), pointer(scales),
        )  # fmt: skip
        return BlockArray(codes, scales, f, block)

    def matmul(self, a: BlockArray, b: BlockArray, contract: str) -> np.ndarray:
        (m, k), n = a.shape, b.shape[1]
        y = np.empty((m, n), np.float32)
        size = ctypes.c_size_t
        self.lib.t_matmul(
            self.enum(c_contract(contract)), self.enum(c_format(a.format)), pointer(a.codes),
            pointer(a.scales), size(a.block[1]), self.enum(c_format(b.format)), pointer(b.codes),
            pointer(b.scales), size(b.block[0]), size(m), size(k), size(n), pointer(y),
        )  # fmt: skip
        return y


BUILDS = {
    "gcc-O0": ["gcc", "-O0"],
    "gcc-O3-native": ["gcc", "-O3", "-march=native"],
    "clang-O0": ["clang", "-O0"],
    "clang-O3-native": ["clang", "-O3", "-march=native"],
}


@pytest.fixture(scope="session", params=[b for b in BUILDS if shutil.which(b.split("-")[0])])
def c(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> C:
    """The header by every compiler of `BUILDS` that is here, in every optimisation level."""
    compiler, *flags = BUILDS[request.param]
    folder = tmp_path_factory.mktemp("numerics")
    text = header_text()
    (folder / HEADER_NAME).write_text(text)
    names = sorted({
        name.strip() for names in re.findall(r"typedef enum \{(.*?)\}", text, re.DOTALL)
        for name in names.split(",")
    })  # fmt: skip
    shim = SHIM.replace("@NAMES@", " ".join(f"NAME({name});" for name in names))
    (folder / "shim.c").write_text(shim)
    command = [compiler, *flags, *WARNINGS, "-shared", "-fPIC", "shim.c", "-o", "shim.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return C(folder / "shim.so")


def hard_values(count: int, seed: int = 0) -> np.ndarray:
    """f32 values of every kind, in blocks of 32: normal, heavy-tailed, any bits, edges."""
    rng = np.random.default_rng(seed)
    n = count // 5 // 32 * 32
    normal = rng.standard_normal(n)
    heavy = rng.standard_t(1.5, n) * np.exp(4 * rng.standard_normal(n))
    scaled = rng.standard_normal((n // 32, 32)) * 2.0 ** rng.integers(-155, 127, (n // 32, 1))
    bits = rng.integers(0, 2**32, n, dtype=np.uint32)
    # close to one exponent within a block, with few mantissa bits: ties and thresholds
    field = rng.integers(0, 255, (n // 32, 1), dtype=np.uint32) << 23
    mantissa = rng.integers(0, 64, (n // 32, 32), dtype=np.uint32) << 17
    nudge = rng.integers(0, 3, (n // 32, 32), dtype=np.uint32) - np.uint32(1)
    sign = rng.integers(0, 2, (n // 32, 32), dtype=np.uint32) << 31
    ties = (field + mantissa + nudge) & np.uint32(0x7FFFFFFF) | sign
    with np.errstate(over="ignore", under="ignore"):
        parts = [normal.astype("f4"), heavy.astype("f4"), scaled.astype("f4").ravel()]
    parts += [bits.view("f4"), ties.view("f4").ravel()]
    values = np.concatenate(parts)
    values[rng.integers(0, values.size, values.size // 50)] = 0.0
    values[rng.integers(0, values.size, values.size // 50)] = -0.0
    values[-64:-32] = -0.0
    return values


@pytest.fixture(scope="session")
def values() -> Callable[..., np.ndarray]:
    """`hard_values`."""
    return hard_values


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal to the bit, any NaN being any NaN."""
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    if a.dtype.kind != "f":
        return np.array_equal(a, b)
    bits = a.view(f"u{a.itemsize}") == b.view(f"u{a.itemsize}")
    return bool(np.all(bits | (np.isnan(a) & np.isnan(b))))


@pytest.fixture(scope="session")
def equal() -> Callable[[Any, Any], bool]:
    """`same`, for arrays and for block arrays."""

    def equal(a: Any, b: Any) -> bool:
        if isinstance(a, BlockArray):
            return same(a.scales, b.scales) and same(a.codes, b.codes)
        return same(a, b)

    return equal
