"""Elementary functions made of operations that have one IEEE-754 result each.

`EXPANSIONS` maps the name of an operation in the IR to its definition on `Scalar` values. The pass
`expand-math` turns a definition into IR; `evaluate` runs it on numpy arrays, to the same bits.

Errors, in units in the last place of the result, as `tests/passes/math` measures them:

    f32     exp 0.99, tanh 1.97, erf 1.40, log 0.84, expm1 1.58, rsqrt 1.48; all others, which
            compute in f64, 0.51
    f64     below 3.5
"""

from __future__ import annotations

from collections.abc import Callable

from mxc.passes.math.error import erf
from mxc.passes.math.exponential import cosh, exp, exp2, expm1, sinh, tanh
from mxc.passes.math.logarithm import acosh, asinh, atanh, log, log1p, log2, log10
from mxc.passes.math.power import cbrt, fpowi, ipowi, powf, rsqrt
from mxc.passes.math.rounding import maximumf, maxnumf, minimumf, minnumf, round_half_away
from mxc.passes.math.scalars import Scalar
from mxc.passes.math.trigonometric import acos, asin, atan, atan2, cos, sin, tan

EXPANSIONS: dict[str, Callable[..., Scalar]] = {
    "math.exp": exp,
    "math.exp2": exp2,
    "math.expm1": expm1,
    "math.log": log,
    "math.log2": log2,
    "math.log10": log10,
    "math.log1p": log1p,
    "math.sin": sin,
    "math.cos": cos,
    "math.tan": tan,
    "math.asin": asin,
    "math.acos": acos,
    "math.atan": atan,
    "math.atan2": atan2,
    "math.sinh": sinh,
    "math.cosh": cosh,
    "math.tanh": tanh,
    "math.asinh": asinh,
    "math.acosh": acosh,
    "math.atanh": atanh,
    "math.erf": erf,
    "math.powf": powf,
    "math.fpowi": fpowi,
    "math.ipowi": ipowi,
    "math.rsqrt": rsqrt,
    "math.cbrt": cbrt,
    "math.round": round_half_away,
    "arith.maximumf": maximumf,
    "arith.minimumf": minimumf,
    "arith.maxnumf": maxnumf,
    "arith.minnumf": minnumf,
}

__all__ = ["EXPANSIONS"]
