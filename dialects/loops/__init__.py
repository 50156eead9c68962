"""Builders for the loops level: scalar bodies (`Scalar`, `Body`) and tensor loops (`Loops`).

A lowering rule reads like numpy and writes `linalg.generic`:

    loops.map(lambda k, x, y: x * y + 1.0, a, b)
"""

from mxc.dialects.loops.control import insert_at, repeat, slice_at
from mxc.dialects.loops.scalar import Body, Scalar
from mxc.dialects.loops.tensor import Loops, Tensor

__all__ = ["Body", "Loops", "Scalar", "Tensor", "insert_at", "repeat", "slice_at"]
