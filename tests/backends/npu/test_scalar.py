"""`mxnpu_scalar.h`: conversions of small floats and integer helpers against numpy, to the bit."""

import ctypes
import subprocess
from importlib.resources import files
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from xdsl.dialects.arith import (
    AddiOp,
    AndIOp,
    DivUIOp,
    ExtSIOp,
    ExtUIOp,
    MaxUIOp,
    MinSIOp,
    MuliOp,
    RemUIOp,
    SIToFPOp,
    SubiOp,
    TruncFOp,
    TruncIOp,
    UIToFPOp,
)
from xdsl.dialects.builtin import IntegerType, f32, f64, i8, i32
from xdsl.utils.test_value import create_ssa_value

from mxc.backends.npu.build import FLAGS, compiler
from mxc.backends.npu.scalars import expression
from mxc.backends.ref.interpreter import RULES
from mxc.dialects.types import element_type

SMALL = {
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "f8e4m3fn": ml_dtypes.float8_e4m3fn,
    "f8e5m2": ml_dtypes.float8_e5m2,
    "f8e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "f8e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "f8e8m0fnu": ml_dtypes.float8_e8m0fnu,
    "f6e2m3fn": ml_dtypes.float6_e2m3fn,
    "f6e3m2fn": ml_dtypes.float6_e3m2fn,
    "f4e2m1fn": ml_dtypes.float4_e2m1fn,
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:invalid value encountered"),
    pytest.mark.filterwarnings("ignore:overflow encountered"),
]
"""NaNs and infinities are what is tested."""

LOOP = "void {name}(const {a} *x, {b} *y, long n) {{ for (long i = 0; i < n; ++i) y[i] = {f}; }}"
TWO = """
void {name}(const uint8_t *x, const uint8_t *y, uint8_t *z, long n) {{
  for (long i = 0; i < n; ++i) z[i] = {f};
}}"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("scalar")
    lines = ['#include "mxnpu_scalar.h"']
    for name, dtype in SMALL.items():
        code = f"uint{8 * np.dtype(dtype).itemsize}_t"
        for wide, kind in (("f32", "float"), ("f64", "double")):
            f = f"mxnpu_{name}_from_{wide}(x[i])"
            lines.append(LOOP.format(name=f"{name}_from_{wide}", a=kind, b=code, f=f))
        f = f"mxnpu_f32_from_{name}(x[i])"
        lines.append(LOOP.format(name=f"f32_from_{name}", a=code, b="float", f=f))
    (folder / "all.c").write_text("\n".join(lines) + "\n")
    return compiled(folder)


def compiled(folder: Path) -> ctypes.CDLL:
    """The library of `all.c`."""
    include = str(files("mxc.backends.npu").joinpath("runtime"))
    command = [compiler(), *FLAGS, "-Wno-missing-prototypes", "-shared", "-fPIC", f"-I{include}"]
    target = folder / "all.so"
    subprocess.run([*command, "-o", target, folder / "all.c", "-lm"], check=True)
    return ctypes.CDLL(str(target))


def call(library: ctypes.CDLL, name: str, x: NDArray, dtype: object) -> NDArray:  # type: ignore[type-arg]
    y = np.zeros(x.shape, dtype)  # type: ignore[call-overload]
    getattr(library, name)(
        ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_long(x.size)
    )
    return y


def same(got: NDArray, want: NDArray) -> NDArray:  # type: ignore[type-arg]
    """Equal bits, or both NaN."""
    bits = np.dtype(f"u{got.dtype.itemsize}")
    nan = np.isnan(got.astype(np.float64)) & np.isnan(want.astype(np.float64))
    return (got.view(bits) == want.view(bits)) | nan


@pytest.mark.parametrize("name", SMALL)
def test_every_code_widens(library: ctypes.CDLL, name: str) -> None:
    dtype = np.dtype(SMALL[name])
    codes = np.arange(1 << ml_dtypes.finfo(dtype).bits).astype(f"u{dtype.itemsize}")
    got = call(library, f"f32_from_{name}", codes, np.float32)
    assert same(got, codes.view(dtype).astype(np.float32)).all()


@pytest.mark.parametrize("name", SMALL)
def test_f32_narrows(library: ctypes.CDLL, name: str) -> None:
    """A million bit patterns, and every middle between two codes with its neighbours."""
    dtype = np.dtype(SMALL[name])
    rng = np.random.default_rng(0)
    codes = np.arange(1 << (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}").view(dtype)
    values = codes.astype(np.float64)
    values = np.unique(values[np.isfinite(values)])
    middles = ((values[1:] + values[:-1]) / 2).astype(np.float32)
    around = [middles, np.nextafter(middles, np.float32(np.inf)), np.nextafter(middles, -np.inf)]
    patterns = rng.integers(0, 1 << 32, 1 << 20, np.uint32).view(np.float32)
    edges = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3e38, 448, 464, 465, 57344, 61440])
    x = np.concatenate([*around, patterns, edges, codes.astype(np.float32)]).astype(np.float32)
    with np.errstate(all="ignore"):
        want = x.astype(dtype)
    got = call(library, f"{name}_from_f32", x, f"u{dtype.itemsize}").view(dtype)
    wrong = ~same(got, want)
    assert not wrong.any(), (x[wrong][:5], got[wrong][:5], want[wrong][:5])


def test_f64_narrows_in_one_rounding(library: ctypes.CDLL) -> None:
    """What lies just above a middle rounds up, though f32 would put it on the middle."""
    x = np.array([1 + 2**-11 + 2**-40, 1 + 2**-11, 1 + 2**-11 - 2**-40, 65519.999999999, 1e-60])
    got = call(library, "f16_from_f64", x, np.uint16).view(np.float16)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got, x.astype(np.float16))
    x = np.array([1 + 2**-8 + 2**-40, 1 + 2**-8, 1 + 3 * 2**-8 - 2**-40, 3.5e38, -1e-60])
    got = call(library, "bf16_from_f64", x, np.uint16).view(ml_dtypes.bfloat16)
    want = [1 + 2**-7, 1, 1 + 2**-7, np.inf, -0.0]
    np.testing.assert_array_equal(got.astype(np.float64), want)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "f8e8m0fnu"])
def test_f64_beside_a_middle_goes_to_the_nearer_code(library: ctypes.CDLL, name: str) -> None:
    dtype = np.dtype(SMALL[name])
    values = np.arange(1 << (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}").view(dtype)
    values = np.unique(values.astype(np.float64)[np.isfinite(values.astype(np.float64))])
    low, high = values[:-1], values[1:]
    middles = (low + high) / 2
    for x, want in ((np.nextafter(middles, -np.inf), low), (np.nextafter(middles, np.inf), high)):
        got = call(library, f"{name}_from_f64", x, f"u{dtype.itemsize}").view(dtype)
        np.testing.assert_array_equal(got.astype(np.float64), want)


@pytest.mark.parametrize("name", SMALL)
def test_interpreter_narrows_f64_alike(library: ctypes.CDLL, name: str) -> None:
    dtype = np.dtype(SMALL[name])
    rng = np.random.default_rng(0)
    x = np.exp2(rng.uniform(-160, 140, 1 << 16)) * rng.choice([-1, 1], 1 << 16)
    values = np.arange(1 << (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}").view(dtype)
    values = np.unique(values.astype(np.float64)[np.isfinite(values.astype(np.float64))])
    middles = (values[1:] + values[:-1]) / 2
    around = [np.nextafter(middles, -np.inf), middles, np.nextafter(middles, np.inf)]
    x = np.concatenate([x, *around, [0, -0.0, np.inf, -np.inf, np.nan, 1e-300, 1e300]])
    got = call(library, f"{name}_from_f64", x, f"u{dtype.itemsize}").view(dtype)
    op = TruncFOp(create_ssa_value(f64), element_type(dtype))  # type: ignore[arg-type]
    with np.errstate(all="ignore"):
        (want,) = RULES[TruncFOp](None, op, (x,))  # type: ignore[arg-type]
    assert same(got, want).all()


@pytest.mark.parametrize("width", [2, 4])
def test_integers_below_a_byte(tmp_path: Path, width: int) -> None:
    """Every operation on every pair of operands, whatever the unused bits are."""
    size, kind = 1 << width, IntegerType(width)
    a, b = (v.reshape(-1) for v in np.meshgrid(np.arange(size), np.arange(size)))
    signed = (lambda v: (v ^ size // 2) - size // 2)(a), (lambda v: (v ^ size // 2) - size // 2)(b)
    safe = np.where(b == 0, 1, b)
    wanted = {
        AddiOp: a + b,
        SubiOp: a - b,
        MuliOp: a * b,
        AndIOp: a & b,
        DivUIOp: a // safe,
        RemUIOp: a % safe,
        MinSIOp: np.minimum(*signed),
        MaxUIOp: np.maximum(a, b),
    }
    lines = ['#include "mxnpu_scalar.h"']
    for cls in wanted:
        op = cls(create_ssa_value(kind), create_ssa_value(kind))
        f = expression(op, ["x[i]", "y[i]"])
        lines.append(TWO.format(name=cls.name.replace(".", "_"), f=f))
    (tmp_path / "all.c").write_text("\n".join(lines) + "\n")
    library = compiled(tmp_path)
    dirt = np.random.default_rng(0).integers(0, 256 // size, (2, a.size)) * size
    for cls, want in wanted.items():
        y = safe if cls in (DivUIOp, RemUIOp) else b
        operands = [(v + d).astype(np.uint8) for v, d in zip((a, y), dirt, strict=True)]
        got = np.zeros(a.size, np.uint8)
        pointers = [ctypes.c_void_p(v.ctypes.data) for v in (*operands, got)]
        getattr(library, cls.name.replace(".", "_"))(*pointers, ctypes.c_long(a.size))
        np.testing.assert_array_equal(got & (size - 1), want & (size - 1), cls.name)


@pytest.mark.parametrize("width", [2, 4])
def test_integers_below_a_byte_convert(tmp_path: Path, width: int) -> None:
    codes = np.arange(256).astype(np.uint8)
    low, size = codes.astype(int) & ((1 << width) - 1), 1 << width
    narrow = create_ssa_value(IntegerType(width))
    cases = {
        "extsi": (ExtSIOp(narrow, i32), "uint32_t", (low ^ size // 2) - size // 2),
        "extui": (ExtUIOp(narrow, i32), "uint32_t", low),
        "sitofp": (SIToFPOp(narrow, f32), "float", (low ^ size // 2) - size // 2),
        "uitofp": (UIToFPOp(narrow, f32), "float", low),
        "trunci": (TruncIOp(create_ssa_value(i8), IntegerType(width)), "uint8_t", low),
    }
    lines = ['#include "mxnpu_scalar.h"']
    for name, (op, kind, _) in cases.items():
        lines.append(LOOP.format(name=name, a="uint8_t", b=kind, f=expression(op, ["x[i]"])))
    (tmp_path / "all.c").write_text("\n".join(lines) + "\n")
    library = compiled(tmp_path)
    for name, (_, kind, want) in cases.items():
        dtype = {"uint32_t": np.int32, "float": np.float32, "uint8_t": np.uint8}[kind]
        np.testing.assert_array_equal(call(library, name, codes, dtype), want, name)
