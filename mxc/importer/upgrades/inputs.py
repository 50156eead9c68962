"""Upgrades of operators whose attributes became inputs, or whose default changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from mxc.importer.upgrades.rules import attr_to_input, int64s, upgrades
from mxc.importer.values import Call

_REDUCTIONS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
)


@upgrades(*_REDUCTIONS, before=18)
@upgrades("ReduceSum", "Squeeze", "Unsqueeze", before=13)
def axes_to_input(tracer: Any, call: Call) -> None:
    """`axes` became input 1."""
    attr_to_input(tracer, call, "axes", 1)


@upgrades("Clip", before=11)
def clip(tracer: Any, call: Call) -> None:
    """`min` and `max` became inputs of the type of the first."""
    dtype = call.tensor(0).dtype
    attr_to_input(tracer, call, "min", 1, dtype)
    attr_to_input(tracer, call, "max", 2, dtype)


@upgrades("Pad", before=11)
def pad(tracer: Any, call: Call) -> None:
    """`pads` and `value` became inputs."""
    attr_to_input(tracer, call, "pads", 1)
    attr_to_input(tracer, call, "value", 2, call.tensor(0).dtype)


@upgrades("Slice", before=10)
def slice_(tracer: Any, call: Call) -> None:
    """`starts`, `ends` and `axes` became inputs."""
    for index, name in enumerate(("starts", "ends", "axes"), 1):
        attr_to_input(tracer, call, name, index)


@upgrades("TopK", before=10)
def topk(tracer: Any, call: Call) -> None:
    """`k` became input 1, a vector of one."""
    call.attrs["k"] = [call.attrs["k"]]
    attr_to_input(tracer, call, "k", 1)


@upgrades("Split", before=13)
def split_sizes(tracer: Any, call: Call) -> None:
    """`split` became input 1."""
    attr_to_input(tracer, call, "split", 1)


@upgrades("Split", before=18)
def split_equally(tracer: Any, call: Call) -> None:
    """Without sizes the parts are equal; since 18 their number must be stated."""
    if call.input(1) is None:
        call.attrs["num_outputs"] = len(call.outputs)


@upgrades("DFT", before=20)
def dft(tracer: Any, call: Call) -> None:
    """`axis` (default 1) became input 2 (default -2)."""
    call.attrs.setdefault("axis", 1)
    attr_to_input(tracer, call, "axis", 2)


@upgrades("Dropout", before=12)
def dropout(tracer: Any, call: Call) -> list[Any]:
    """Up to 11 it does nothing at inference; its mask is all ones, bool since 10."""
    data = call.tensor(0)
    if len(call.outputs) == 1 or not call.outputs[1]:
        return [data, None]
    one = np.ones((), np.bool_ if call.since >= 10 else data.dtype)
    return [data, tracer.op1(call, "Expand", [one, int64s(call.static(0))])]


@upgrades("GridSample", before=20)
def grid_sample(tracer: Any, call: Call) -> None:
    """`bilinear` and `bicubic` lost their `bi`."""
    mode = call.attrs.get("mode", "bilinear")
    call.attrs["mode"] = mode.removeprefix("bi")


@upgrades("RoiAlign", before=16)
def roi_align(tracer: Any, call: Call) -> None:
    """Coordinates were not shifted by half a pixel."""
    call.attrs["coordinate_transformation_mode"] = "output_half_pixel"


@upgrades("Scatter", before=99)
def scatter(tracer: Any, call: Call) -> None:
    """Scatter was renamed."""
    call.op_type = "ScatterElements"


@upgrades("MaxPool", "AveragePool", "LpPool", before=11)
def pool_strides(tracer: Any, call: Call) -> None:
    """Some exporters wrote empty lists for defaults that 11 spelled out."""
    for name in ("pads", "strides", "dilations"):
        if call.attrs.get(name) == []:
            del call.attrs[name]


@upgrades("Softmax", "LogSoftmax", "Hardmax", before=13)
def over_flattened(tracer: Any, call: Call) -> list[Any] | None:
    """The input was seen as a matrix: all axes from `axis` (default 1) on were one."""
    shape, axis = call.static(0), call.attrs.pop("axis", 1)
    axis += len(shape) if axis < 0 else 0
    if not 0 <= axis <= len(shape):
        raise call.fail(f"axis {axis} is out of range for a tensor of rank {len(shape)}")
    if axis == len(shape) - 1:
        call.attrs["axis"] = -1
        return None
    rows = int(np.prod(shape[:axis], dtype=np.int64))
    columns = int(np.prod(shape[axis:], dtype=np.int64))
    flat = tracer.op1(call, "Reshape", [call.inputs[0], int64s([rows, columns])])
    result = tracer.op1(call, call.op_type, [flat], axis=1)
    return [tracer.op1(call, "Reshape", [result, int64s(shape)])]
