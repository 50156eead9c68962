"""erf: an odd polynomial below 1, one minus the complement above."""

from __future__ import annotations

from mxc.passes.math.coefficients import ERF_F32, ERF_F64, ERFC_ROOT_F32, ERFCX_F64
from mxc.passes.math.exponential import exp
from mxc.passes.math.scalars import Scalar, horner


def erf(x: Scalar) -> Scalar:
    """The error function.

    The complement need only be exact to the last bit of 1. In f32 it is the reciprocal fourth power
    of a polynomial, which needs no exponential; in f64, e**(-z*z) times a polynomial in 2 / (2+z).
    """
    z = x.abs()
    if x.kind == "f32":
        near = x + x * horner(x * x, ERF_F32)
        square = horner(z - 1.0, ERFC_ROOT_F32)
        square = square * square
        complement = 1.0 / (square * square)
    else:
        near = x + x * horner(x * x, ERF_F64)
        complement = exp(-(z * z)) * horner(2.0 / (z + 2.0), ERFCX_F64)
    return (z < 1.0).select(near, (1.0 - complement).with_sign_of(x))
