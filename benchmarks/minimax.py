"""Derives `passes/math/coefficients.py`: minimax polynomials for the elementary functions.

    python benchmarks/minimax.py > passes/math/coefficients.py

Each polynomial minimises the largest weighted error (Remez exchange in 50-digit arithmetic); then
its coefficients are rounded. For f32, where that costs accuracy, they are rounded one by one,
lowest power first, and the others fitted again to the rounded ones. The script writes the error of
the rounded polynomial, as a power of two, beside its table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
import numpy as np

mp.mp.dps = 50
Real = mp.mpf
Function = Callable[[Real], Real]
GRID = 400
"""Points the error is controlled at, spaced as Chebyshev nodes."""


def _grid(lo: Real, hi: Real) -> list[Real]:
    middle, half = (lo + hi) / 2, (hi - lo) / 2
    return [middle - half * mp.cos(mp.pi * (i + mp.mpf(0.5)) / GRID) for i in range(GRID)]


def _peaks(error: list[Real], wanted: int) -> list[int]:
    """Grid positions of the `wanted` largest extrema of alternating sign, ascending."""
    runs: list[int] = []
    for i, e in enumerate(error):
        if runs and (error[runs[-1]] > 0) == (e > 0):
            runs[-1] = i if abs(e) > abs(error[runs[-1]]) else runs[-1]
        else:
            runs.append(i)
    while len(runs) > wanted:
        drop = 0 if abs(error[runs[0]]) < abs(error[runs[-1]]) else -1
        runs.pop(drop)
    return runs


def remez(x: list[Real], g: list[Real], w: list[Real], terms: int) -> list[Real]:
    """The coefficients p of the polynomial that minimises max |w (g - p)| over `x`."""
    points = [round(i * (len(x) - 1) / terms) for i in range(terms + 1)]
    coefficients: list[Real] = []
    for _ in range(12):
        system = mp.matrix(terms + 1, terms + 1)
        for row, i in enumerate(points):
            for column in range(terms):
                system[row, column] = w[i] * x[i] ** column
            system[row, terms] = (-1) ** row
        solution = mp.lu_solve(system, mp.matrix([w[i] * g[i] for i in points]))
        coefficients = list(solution)[:terms]
        error = [
            b * (v - mp.polyval(coefficients[::-1], a)) for a, v, b in zip(x, g, w, strict=True)
        ]
        peaks = _peaks(error, terms + 1)
        if len(peaks) < terms + 1 or peaks == points:
            break
        points = peaks
    return coefficients


@dataclass(frozen=True)
class Fit:
    """g on [lo, hi] as a polynomial of `terms` coefficients of `dtype`; an error counts times w."""

    name: str
    meaning: str
    g: Function
    w: Function
    lo: Real
    hi: Real
    terms: int
    dtype: type[np.floating] = np.float64

    def rounded(self) -> tuple[list[float], Real]:
        """The coefficients, lowest power first, and the error that is left."""
        x = _grid(mp.mpf(self.lo), mp.mpf(self.hi))
        g, w = [self.g(v) for v in x], [self.w(v) for v in x]
        found = [_round(c, self.dtype) for c in remez(x, g, w, self.terms)]
        if self.dtype is np.float32:
            found = self._refitted(x, g, w)
        polynomial = [mp.mpf(c) for c in found[::-1]]
        error = max(
            abs(b * (v - mp.polyval(polynomial, a))) for a, v, b in zip(x, g, w, strict=True)
        )
        return found, error

    def _refitted(self, x: list[Real], g: list[Real], w: list[Real]) -> list[float]:
        found: list[float] = []
        for terms in range(self.terms, 0, -1):
            found.append(_round(remez(x, g, w, terms)[0], self.dtype))
            g = [(v - mp.mpf(found[-1])) / a for v, a in zip(g, x, strict=True)]
            w = [b * a for a, b in zip(x, w, strict=True)]
        return found


def _round(value: Real, dtype: type[np.floating]) -> float:
    bits = np.finfo(dtype).nmant + 1
    mantissa, exponent = mp.frexp(value)
    return float(mp.ldexp(mp.nint(mp.ldexp(mantissa, bits)), int(exponent) - bits))


def _sqrt_argument(f: Function) -> Function:
    return lambda z: f(mp.sqrt(z))


HALF_LN2 = mp.log(2) / 2 * mp.mpf("1.001")
ATANH_LIMIT = (3 - 2 * mp.sqrt(2)) ** 2 * mp.mpf("1.001")  # s = f / (2 + f), f = sqrt(2) - 1
ERFC_F32 = (mp.mpf(0), mp.mpf("2.95"))
erfc_root: Function = lambda t: mp.erfc(1 + t) ** mp.mpf(-0.25)  # noqa: E731
erfcx_argument: Function = lambda t: 2 / t - 2  # noqa: E731


def _log_rest(z: Real) -> Real:
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) / s - 2) / z


def _erfcx(t: Real) -> Real:
    z = erfcx_argument(t)
    return mp.erfc(z) * mp.exp(z * z)


QUARTER = (mp.pi / 4) ** 2 * mp.mpf("1.001")


def _sine(name: str, terms: int) -> Fit:
    rest = _sqrt_argument(lambda r: (mp.sin(r) / r - 1) / r**2)
    return Fit(name, "(sin(r) / r - 1) / r**2 in r**2", rest, lambda z: z, 0, QUARTER, terms)


def _cosine(name: str, terms: int) -> Fit:
    rest = _sqrt_argument(lambda r: (mp.cos(r) - 1 + r * r / 2) / r**4)
    weight: Function = lambda z: z**2  # noqa: E731
    return Fit(name, "(cos(r) - 1 + r*r/2) / r**4 in r**2", rest, weight, 0, QUARTER, terms)


def _fits() -> list[Fit]:
    exp_rest: Function = lambda r: (mp.expm1(r) - r) / r**2  # noqa: E731
    exp_weight: Function = lambda r: r**2 / mp.exp(r)  # noqa: E731
    erf_rest = _sqrt_argument(lambda x: mp.erf(x) / x - 1)
    erf_weight = _sqrt_argument(lambda x: x / mp.erf(x))
    eighth = mp.tan(mp.pi / 8) ** 2
    f32 = np.float32
    return [
        Fit("EXP_F32", "(e**r - 1 - r) / r**2", exp_rest, exp_weight, -HALF_LN2, HALF_LN2, 5, f32),
        Fit("EXP_F64", "(e**r - 1 - r) / r**2", exp_rest, exp_weight, -HALF_LN2, HALF_LN2, 10),
        Fit(
            "EXP2_F64",
            "(2**r - 1) / r",
            lambda r: (mp.mpf(2) ** r - 1) / r,
            lambda r: r * mp.mpf(2) ** -r,
            mp.mpf("-0.501"),
            mp.mpf("0.501"),
            12,
        ),
        Fit(
            "LOG_F32",
            "(log((1+s)/(1-s)) - 2s) / s**3 in s**2",
            _log_rest,
            lambda z: z,
            0,
            ATANH_LIMIT,
            4,
            f32,
        ),
        Fit(
            "LOG_F64",
            "(log((1+s)/(1-s)) - 2s) / s**3 in s**2",
            _log_rest,
            lambda z: z,
            0,
            ATANH_LIMIT,
            8,
        ),
        Fit(
            "LOG_TAIL_F64",
            "(log((1+s)/(1-s)) - 2s - 2s**3/3) / s**5 in s**2",
            lambda z: (_log_rest(z) - mp.mpf(2) / 3) / z,
            lambda z: z**2,
            0,
            ATANH_LIMIT,
            7,
        ),
        Fit(
            "ERF_F32",
            "erf(x) / x - 1 in x**2, x < 1",
            erf_rest,
            erf_weight,
            0,
            mp.mpf("1.01"),
            7,
            f32,
        ),
        Fit(
            "ERFC_ROOT_F32",
            "erfc(z) ** -(1/4) in z - 1, z > 1",
            erfc_root,
            lambda t: 4 * mp.erfc(1 + t) / erfc_root(t),
            *ERFC_F32,
            10,
            f32,
        ),
        Fit(
            "ERF_F64", "erf(x) / x - 1 in x**2, x < 1", erf_rest, erf_weight, 0, mp.mpf("1.01"), 13
        ),
        Fit(
            "ERFCX_F64",
            "erfc(z) e**(z*z) in t = 2 / (2 + z), z > 1",
            _erfcx,
            lambda t: mp.exp(-(erfcx_argument(t) ** 2)),
            mp.mpf("0.25"),
            mp.mpf(2) / 3,
            16,
        ),
        *(_sine(f"SIN_{kind}", terms) for kind, terms in (("F32", 4), ("F64", 6))),
        *(_cosine(f"COS_{kind}", terms) for kind, terms in (("F32", 4), ("F64", 6))),
        Fit(
            "ATAN_F64",
            "(atan(t) / t - 1) / t**2 in t**2",
            _sqrt_argument(lambda t: (mp.atan(t) / t - 1) / t**2),
            lambda z: z,
            0,
            eighth * mp.mpf("1.001"),
            12,
        ),
        Fit(
            "ASIN_F64",
            "(asin(t) / t - 1) / t**2 in t**2",
            _sqrt_argument(lambda t: (mp.asin(t) / t - 1) / t**2),
            lambda z: z,
            0,
            mp.mpf("0.2501"),
            13,
        ),
        Fit("CBRT_F64", "m ** (1/3)", mp.cbrt, lambda m: 1 / mp.cbrt(m), 1, 8, 5),
    ]


def main() -> None:
    """Writes the module of tables to standard output."""
    out = sys.stdout.write
    out('"""Minimax polynomials, lowest power first; written by benchmarks/minimax.py."""\n')
    for fit in _fits():
        coefficients, error = fit.rounded()
        out(f"\n{fit.name} = tuple(\n    float.fromhex(c)\n    for c in (\n")
        out("".join(f'        "{c.hex()}",\n' for c in coefficients))
        out(f'    )\n)\n"""{fit.meaning}; error 2**{float(mp.log(error, 2)):.1f}."""\n')


if __name__ == "__main__":
    main()
