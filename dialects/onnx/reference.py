"""One ONNX node evaluated with numpy, through `onnx.reference`.

The semantics are those of the newest opset. Floating-point types narrower than f32, and integers
narrower than 8 bits, are computed in f32 and int8 and rounded once to the result type, except where
the operator itself is about the encoding (casts, quantisation) or only moves elements.

Where `onnx.reference` is known to be wrong, `kernels` is used instead: ConvTranspose with groups,
the indices of MaxPool, GlobalMaxPool of other than four dimensions, LpPool in ceil mode,
LpNormalization with p = 1, Pad with negative amounts, LRN of a batch of other size than its
channels, LogSoftmax (the logarithm of a softmax that underflows is -inf), Mean that broadcasts the
first, GatherElements with indices that are short along other axes; and `recurrent` for sequences of
different lengths. Left as they are: cubic GridSample with border padding, and Resize with
align_corners and scales that do not give whole sizes, where it differs from onnxruntime. Results of
a dtype other than the one that type inference states (e.g. f64 for f32) are converted to it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.ops._op_list import load_op
from xdsl.dialects.builtin import TensorType
from xdsl.utils.hints import isa

from mxc.dialects.onnx import attributes, recurrent, schema
from mxc.dialects.onnx.kernels import KERNELS
from mxc.dialects.onnx.ops import OnnxOp
from mxc.dialects.types import numpy_dtype
from mxc.errors import CannotLower

Array = NDArray[Any]

_ENCODING = frozenset(
    [
        "BitCast",
        "Cast",
        "CastLike",
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
    ]
)
_MOVES = frozenset(
    [
        "Compress",
        "Concat",
        "ConstantOfShape",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Reshape",
        "Shape",
        "Size",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)
_AS_THEY_ARE = _ENCODING | _MOVES


def _no_log(*_: object) -> None:
    """onnx.reference logs nothing."""


_RUN_PARAMS: dict[str, Any] = {
    "log": _no_log,
    "opsets": {"": onnx.defs.onnx_opset_version()},
    "verbose": 0,
    "new_ops": None,
}


def evaluate(op: OnnxOp, args: Sequence[Array | None]) -> tuple[Array, ...]:
    """The results of `op` for the arguments `args`, one per entry of `op.inputs`.

    One array per result of `op`, of the result's type.

    Raises:
        CannotLower: if `onnx.reference` cannot evaluate it.
    """
    dtypes: list[np.dtype[Any] | None] = []
    for result in op.outputs:
        kind = None if result is None else result.type
        dtypes.append(numpy_dtype(kind.element_type) if isa(kind, TensorType) else None)
    results = run(op.op_type, op.given_attrs(), args, dtypes)
    return tuple(result for result in results if result is not None)


def run(
    op_type: str,
    attrs: Mapping[str, Any],
    args: Sequence[Array | None],
    dtypes: Sequence[np.dtype[Any] | None],
) -> list[Array | None]:
    """The outputs of a node, one per entry of `dtypes`, None where that is None."""
    names = ["" if arg is None else f"x{i}" for i, arg in enumerate(args)]
    outputs = ["" if dtype is None else f"y{i}" for i, dtype in enumerate(dtypes)]
    node = helper.make_node(op_type, names, outputs)
    kinds = schema.newest(op_type).attributes
    for name, value in attrs.items():
        node.attribute.append(attributes.to_proto(name, kinds[name].type, value))
    if op_type not in _AS_THEY_ARE:
        args = [None if arg is None else _widened(arg) for arg in args]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            if op_type in KERNELS:
                results: Sequence[Any] = KERNELS[op_type](_with_defaults(op_type, attrs), *args)
            elif recurrent.has_lengths(op_type, args):
                results = recurrent.by_length(
                    attrs, args, len(dtypes), lambda given: _evaluate(node, given)
                )
            else:
                results = _evaluate(node, args)
    except Exception as error:  # onnx.reference raises whatever its numpy code raises
        raise CannotLower(f"onnx.reference cannot evaluate {op_type}: {error}") from error
    return [_as_dtype(r, dtype) for r, dtype in zip(results, dtypes, strict=False)]


def _with_defaults(op_type: str, attrs: Mapping[str, Any]) -> dict[str, Any]:
    names = schema.newest(op_type).attributes
    defaults = {name: schema.default(op_type, name) for name in names}
    return {k: v for k, v in defaults.items() if v is not None} | dict(attrs)


def _evaluate(node: onnx.NodeProto, args: Sequence[Array | None]) -> Sequence[Any]:
    kernel = _kernel(node.op_type)
    if kernel is not None:
        return kernel(node, _RUN_PARAMS).run(*args)
    types = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(arg.dtype), list(arg.shape)
        )
        for name, arg in zip(node.input, args, strict=True)
        if arg is not None
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "node", types, results)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _RUN_PARAMS["opsets"][""])]
    )
    feeds = {name: arg for name, arg in zip(node.input, args, strict=True) if arg is not None}
    evaluator: Any = ReferenceEvaluator(model)
    values = iter(evaluator.run(None, feeds))
    return [next(values) if name else None for name in node.output]


@cache
def _kernel(op_type: str) -> Any:
    """The class in onnx.reference that implements the operator, None if its function body does."""
    try:
        return load_op("", op_type, _RUN_PARAMS["opsets"][""])
    except (AssertionError, NotImplementedError, RuntimeError):
        return None


_WIDER: dict[Any, Any] = {
    np.dtype(t): np.float32
    for t in (
        np.float16,
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e4m3fnuz,
        ml_dtypes.float8_e5m2,
        ml_dtypes.float8_e5m2fnuz,
        ml_dtypes.float8_e8m0fnu,
        ml_dtypes.float6_e2m3fn,
        ml_dtypes.float6_e3m2fn,
        ml_dtypes.float4_e2m1fn,
    )
} | {
    np.dtype(ml_dtypes.int4): np.int8,
    np.dtype(ml_dtypes.int2): np.int8,
    np.dtype(ml_dtypes.uint4): np.uint8,
    np.dtype(ml_dtypes.uint2): np.uint8,
}


def _widened(array: Array) -> Array:
    wider = _WIDER.get(array.dtype)
    return array if wider is None else array.astype(wider)


def _as_dtype(result: Any, dtype: np.dtype[Any] | None) -> Array | None:
    if dtype is None:
        return None
    array = np.asarray(result)
    if array.dtype == dtype:
        return array
    with np.errstate(all="ignore"):
        return array.astype(dtype)
