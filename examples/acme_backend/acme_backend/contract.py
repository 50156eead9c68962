"""`acme-pairwise`: what the adder tree of the matrix unit computes, in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.numerics import DotContract

Array = NDArray[Any]

WIDTH = 16
"""Products that enter the tree at once."""


def pairwise(lhs: Array, rhs: Array, scale: Array, acc: Array) -> Array:
    """The sum `acc + f32(tree(products) * scale)`.

    The tree has 16 leaves; those that a step does not fill are +0. Each level adds neighbours,
    rounded to f32: (p0 + p1) + (p2 + p3) ... The root times both scales is rounded to f32 once.
    """
    products = np.zeros((lhs.shape[0], lhs.shape[1], WIDTH, rhs.shape[2]), np.float32)
    products[:, :, : lhs.shape[2]] = lhs[:, :, :, None] * rhs[:, None, :, :]
    while products.shape[2] > 1:
        products = products[:, :, 0::2] + products[:, :, 1::2]
    total = products[:, :, 0].astype(np.float64)
    return acc + (total * scale).astype(np.float32)


PAIRWISE = DotContract("acme-pairwise", pairwise, step=WIDTH, slot=0)
