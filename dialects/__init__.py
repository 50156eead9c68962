"""The IR of mxc: the dialects and what they share. Knows no passes."""

from collections.abc import Callable

from xdsl.context import Context
from xdsl.ir import Dialect


def _builtin() -> Dialect:
    from xdsl.dialects.builtin import Builtin

    return Builtin


def _func() -> Dialect:
    from xdsl.dialects.func import Func

    return Func


def _arith() -> Dialect:
    from xdsl.dialects.arith import Arith

    return Arith


def _math() -> Dialect:
    from xdsl.dialects.math import Math

    return Math


def _linalg() -> Dialect:
    from xdsl.dialects.linalg import Linalg

    return Linalg


def _tensor() -> Dialect:
    from xdsl.dialects.tensor import Tensor

    return Tensor


def _scf() -> Dialect:
    from xdsl.dialects.scf import Scf

    return Scf


def _memref() -> Dialect:
    from xdsl.dialects.memref import MemRef

    return MemRef


def _onnx() -> Dialect:
    from mxc.dialects.onnx import ONNX

    return ONNX


def _mx() -> Dialect:
    from mxc.dialects.mx import MX

    return MX


def _npu() -> Dialect:
    from mxc.dialects.npu import NPU

    return NPU


DIALECTS: dict[str, Callable[[], Dialect]] = {
    "builtin": _builtin,
    "func": _func,
    "arith": _arith,
    "math": _math,
    "linalg": _linalg,
    "tensor": _tensor,
    "scf": _scf,
    "memref": _memref,
    "onnx": _onnx,
    "mx": _mx,
    "npu": _npu,
}
"""Every dialect a module of mxc may use, loaded when its first operation is parsed."""


def new_context() -> Context:
    """An xDSL context that knows every dialect of `DIALECTS`."""
    ctx = Context()
    for name, factory in DIALECTS.items():
        ctx.register_dialect(name, factory)
    ctx.load_registered_dialect("builtin")
    return ctx
