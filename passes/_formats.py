"""Which formats can be compiled to, and what becomes of operands in plain floats."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from xdsl.dialects.builtin import BFloat16Type, Float16Type, TensorType
from xdsl.ir import Attribute
from xdsl.rewriter import InsertPoint, Rewriter

from mxc.constants import ConstantTable
from mxc.dialects.mx import ConstantOp, Contraction
from mxc.dialects.onnx import op_class
from mxc.dialects.types import numpy_dtype, shape_of, tensor_type
from mxc.errors import BadInput
from mxc.numerics import format_of

LIBRARY_ONLY: Mapping[str, str] = {
    "fp8_e4m3fnuz": "it has one scale per tensor, for data of per-tensor FP8 stacks; "
    "mxfp8_e4m3fnuz is compiled",
    "fp8_e5m2fnuz": "it has one scale per tensor, for data of per-tensor FP8 stacks; "
    "mxfp8_e5m2fnuz is compiled",
    "deepseek_128x128": "it is for reading DeepSeek's weights, which `refine` makes 1x32 blocks; "
    "deepseek_1x128 is compiled",
    "hifloat8": "it has no scales to block by, and no MLIR type; it is for data of Ascend NPUs",
}
"""Formats that `mxc.numerics` has and no pass takes, and what they are for."""

_PLAIN: Mapping[str, tuple[Attribute, int]] = {
    "bf16": (BFloat16Type(), 16),
    "f16": (Float16Type(), 10),
}
"""The type of operands in plain floats, and ONNX's number of it."""


def compiled_format(name: str) -> str:
    """The full name of a format that operands of contractions can have; `f32` leaves them alone.

    Raises:
        BadInput: if there is none of that name, or if it is for `mxc.numerics` only.
    """
    full = format_of(name).name
    if full in LIBRARY_ONLY:
        raise BadInput(f"format '{full}' cannot be compiled", hint=LIBRARY_ONLY[full])
    return full


def round_plain_operands(op: Contraction, constants: ConstantTable) -> None:
    """Operands marked bf16 or f16 are rounded to that, here if constant, and lose the mark."""
    for index, side in enumerate(("lhs", "rhs")):
        mark = op.lhs_as if side == "lhs" else op.rhs_as
        if mark is None or mark.data not in _PLAIN:
            continue
        element, number = _PLAIN[mark.data]
        value = op.operands[index]
        if isinstance(value.owner, ConstantOp):
            array = np.asarray(constants[value.owner.key])
            with np.errstate(over="ignore"):
                rounded = array.astype(numpy_dtype(element))
            new = ConstantOp(constants.add(rounded), tensor_type(rounded))
        else:
            kind = TensorType(element, shape_of(value))
            new = op_class("Cast").create_node([value], [kind], {"to": number})
        new.location = op.location
        Rewriter.insert_op(new, InsertPoint.before(op))
        op.operands[index] = new.results[0]
        del op.properties[f"{side}_as"]
        del op.properties[f"{side}_recipe"]
