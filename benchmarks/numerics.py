"""Speed and memory of quantisation: numpy, C, torchao, memcpy, one thread each, in one run.

    python benchmarks/numerics.py [--size 26] [--repeat 3]

Quantises 2**size f32 values in blocks of 32; processor time, best of `repeat` runs.
torchao's `to_mx` takes part if torch==2.13.0 and torchao are installed. The C kernel is compiled
with gcc -O3 -march=native and compared with memcpy over the same input bytes. Extra memory is the
peak of what numpy allocates besides the input, the result included, as a multiple of the input.
"""

import argparse
import ctypes
import os
import re
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from numpy.typing import NDArray

from mxc.numerics import quantize
from mxc.numerics.c_source import HEADER_NAME, c_format, header_text

CASES = [("mxfp8_e4m3", "rceil"), ("mxfp8_e4m3", "even"), ("mxfp4", "rceil"), ("mxfp4", "even")]
MORE = [("mxfp8_e5m2", "rceil"), ("mxfp6_e2m3", "even"), ("mxint8", "rceil")]

KERNEL = """
#include "mxnpu_numerics.h"
#include <time.h>
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
double b_quantize(int f, int rule, size_t n, const float *x, uint8_t *c, uint8_t *s) {
    mx_quant_desc d;
    const double start = now();
    memset(&d, 0, sizeof d);
    d.rank = 1, d.shape[0] = n, d.strides[0] = 1, d.block[0] = 32;
    d.format = (mx_format)f, d.rule = (mx_rule)rule;
    mx_quantize(&d, x, c, s);
    return now() - start;
}
double b_copy(size_t n, const float *x, float *y) {
    const double start = now();
    memcpy(y, x, n * sizeof *x);
    return now() - start;
}
"""

Array = NDArray[np.float32]


def best(run: Callable[[], object], repeat: int) -> float:
    """The fastest of some runs, in seconds of processor time."""
    times: list[float] = []
    for _ in range(repeat):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def extra_memory(x: Array, format: str) -> float:
    """The peak of numpy's allocations in `quantize`, as a multiple of the input."""
    tracemalloc.start()
    quantize(x, format)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / x.nbytes


def torchao_seconds(x: Array, format: str, rule: str, repeat: int) -> float | None:
    """The time of torchao's `to_mx`, or None without torchao."""
    if find_spec("torchao") is None:
        return None
    import torch
    from torchao.prototype.mx_formats import mx_tensor

    torch.set_num_threads(1)
    element = {"mxfp8_e4m3": torch.float8_e4m3fn, "mxfp4": torch.float4_e2m1fn_x2}[format]
    mode = mx_tensor.ScaleCalculationMode[rule.upper()]
    tensor = torch.from_numpy(x)
    return best(lambda: mx_tensor.to_mx(tensor, element, 32, mode), repeat)


class Kernel:
    """The C header, built with -O3 -march=native."""

    def __init__(self, folder: Path) -> None:
        (folder / HEADER_NAME).write_text(header_text())
        (folder / "kernel.c").write_text(KERNEL)
        flags = ["-std=gnu99", "-O3", "-march=native", "-shared", "-fPIC"]
        command = ["gcc", *flags, "kernel.c", "-o", "kernel.so", "-lm"]
        subprocess.run(command, cwd=folder, check=True)
        self.lib = ctypes.CDLL(str(folder / "kernel.so"))
        self.lib.b_quantize.restype = self.lib.b_copy.restype = ctypes.c_double
        enums = re.findall(r"typedef enum \{(.*?)\}", header_text(), re.DOTALL)
        self.enums = {
            name.strip(): value for names in enums for value, name in enumerate(names.split(","))
        }

    def seconds(self, x: Array, format: str, rule: str, repeat: int) -> tuple[float, float]:
        """The times of the quantiser, and of memcpy, run in turns."""
        codes, scales = np.zeros(x.size, np.uint8), np.zeros(x.size // 32, np.uint8)
        copy = np.zeros_like(x)
        a, c, s, y = (ctypes.c_void_p(v.ctypes.data) for v in (x, codes, scales, copy))
        n, f = ctypes.c_size_t(x.size), self.enums[c_format(format)]
        rule_value = self.enums[f"MX_RULE_{rule.upper()}"]
        quantise, move = [], []
        for _ in range(repeat + 1):
            quantise.append(self.lib.b_quantize(f, rule_value, n, a, c, s))
            move.append(self.lib.b_copy(n, a, y))
        want = quantize(x[:4096], format, scale_rule=rule)
        assert np.array_equal(want.codes.view(np.uint8), codes[:4096]), "the C kernel is wrong"
        return min(quantise[1:]), min(move[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=26, help="log2 of the number of values")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    x = np.random.default_rng(0).standard_normal(1 << args.size, np.float32)
    write = sys.stdout.write
    write("ns per value; C against memcpy of the input; numpy's extra memory / input\n")
    write(f"{'format':12} {'rule':6} {'numpy':>6} {'torchao':>8} {'ratio':>6}")
    write(f" {'C':>6} {'memcpy':>7} {'ratio':>6} {'memory':>7}\n")
    with TemporaryDirectory() as folder:
        kernel = Kernel(Path(folder))
        for format, rule in CASES + MORE:
            ours = best(lambda f=format, r=rule: quantize(x, f, scale_rule=r), args.repeat)
            with_torchao = (format, rule) in CASES
            theirs = torchao_seconds(x, format, rule, args.repeat) if with_torchao else None
            c, copy = kernel.seconds(x, format, rule, args.repeat)
            ns = 1e9 / x.size
            ratio = (
                ("-", "-") if theirs is None else (f"{theirs * ns:.1f}", f"{theirs / ours:.1f}x")
            )
            write(f"{format:12} {rule:6} {ours * ns:6.2f} {ratio[0]:>8} {ratio[1]:>6}")
            write(
                f" {c * ns:6.3f} {copy * ns:7.3f} {copy / c:6.0%} {extra_memory(x, format):7.2f}\n"
            )


if __name__ == "__main__":
    main()
