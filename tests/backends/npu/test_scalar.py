"""`mxnpu_scalar.h`: conversions of small floats and integer helpers against numpy, to the bit."""

import ctypes
import subprocess
from importlib.resources import files

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from mxc.backends.npu.build import FLAGS, compiler

SMALL = {
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "f8e4m3fn": ml_dtypes.float8_e4m3fn,
    "f8e5m2": ml_dtypes.float8_e5m2,
    "f8e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "f8e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:invalid value encountered"),
    pytest.mark.filterwarnings("ignore:overflow encountered"),
]
"""NaNs and infinities are what is tested."""

LOOP = "void {name}(const {a} *x, {b} *y, long n) {{ for (long i = 0; i < n; ++i) y[i] = {f}; }}"


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
    codes = np.arange(1 << (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}")
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
