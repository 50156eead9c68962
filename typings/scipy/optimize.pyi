"""The part of scipy.optimize that mxc uses."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from scipy.sparse import Sparse

class Bounds:
    def __init__(self, lb: float, ub: float) -> None: ...

class LinearConstraint:
    def __init__(self, A: Sparse, lb: NDArray[Any], ub: NDArray[Any]) -> None: ...

class _Rows:
    marginals: NDArray[Any]

class OptimizeResult:
    x: NDArray[Any] | None
    message: str
    ineqlin: _Rows

def milp(
    c: NDArray[Any],
    *,
    integrality: NDArray[Any],
    bounds: Bounds,
    constraints: LinearConstraint,
    options: Mapping[str, Any],
) -> OptimizeResult: ...
def linprog(
    c: NDArray[Any],
    A_ub: Sparse,
    b_ub: Sequence[float],
    *,
    bounds: Sequence[tuple[float | None, float | None]],
    method: str,
) -> OptimizeResult: ...
