"""The part of scipy.sparse that mxc uses."""

from collections.abc import Sequence

class Sparse: ...

class coo_array(Sparse):
    def __init__(
        self,
        arg1: tuple[Sequence[float], tuple[Sequence[int], Sequence[int]]],
        *,
        shape: tuple[int, int],
    ) -> None: ...
    def tocsc(self) -> Sparse: ...
    def tocsr(self) -> Sparse: ...
