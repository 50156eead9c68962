"""The `mx` dialect: block-scaled tensors, conversions, views and contractions."""

from xdsl.ir import Dialect

from mxc.dialects.mx.ops import (
    ConstantOp,
    Contraction,
    ConvOp,
    DequantizeOp,
    MatMulOp,
    PackOp,
    QuantizeOp,
    RequantizeOp,
    UnpackOp,
    broadcast,
    conv_shape,
    grid_shape,
    require,
)
from mxc.dialects.mx.types import FORMAT_ELEMENTS, BlockType, RecipeAttr, block_of, block_type
from mxc.dialects.mx.views import (
    AbsOp,
    ConcatOp,
    GatherOp,
    NegOp,
    ReshapeOp,
    ScaleByPowerOfTwoOp,
    SliceOp,
    TransposeOp,
)

MX = Dialect(
    "mx",
    [
        ConstantOp,
        QuantizeOp,
        DequantizeOp,
        RequantizeOp,
        PackOp,
        UnpackOp,
        MatMulOp,
        ConvOp,
        TransposeOp,
        ReshapeOp,
        SliceOp,
        ConcatOp,
        GatherOp,
        NegOp,
        AbsOp,
        ScaleByPowerOfTwoOp,
    ],
    [BlockType, RecipeAttr],
)

__all__ = [
    "FORMAT_ELEMENTS",
    "MX",
    "AbsOp",
    "BlockType",
    "ConcatOp",
    "ConstantOp",
    "Contraction",
    "ConvOp",
    "DequantizeOp",
    "GatherOp",
    "MatMulOp",
    "NegOp",
    "PackOp",
    "QuantizeOp",
    "RecipeAttr",
    "RequantizeOp",
    "ReshapeOp",
    "ScaleByPowerOfTwoOp",
    "SliceOp",
    "TransposeOp",
    "UnpackOp",
    "block_of",
    "block_type",
    "broadcast",
    "conv_shape",
    "grid_shape",
    "require",
]
