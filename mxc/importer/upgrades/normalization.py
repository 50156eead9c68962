"""Upgrades of normalisations."""

from __future__ import annotations

from typing import Any

import numpy as np

from mxc.importer.upgrades.rules import int64s, upgrades
from mxc.importer.values import Call


@upgrades("BatchNormalization", before=9)
def per_activation(tracer: Any, call: Call) -> list[Any] | None:
    """`spatial=0` normalised every activation by its own statistics, of shape [C, D1, ...]."""
    if call.attrs.pop("spatial", 1) or len(call.outputs) > 1:
        return None
    x, scale, bias, mean, variance = call.inputs
    dtype = call.tensor(0).dtype
    epsilon = np.array(call.attrs.get("epsilon", 1e-5), dtype)
    deviation = tracer.op1(call, "Sqrt", [tracer.op1(call, "Add", [variance, epsilon])])
    centred = tracer.op1(call, "Sub", [x, mean])
    scaled = tracer.op1(call, "Mul", [tracer.op1(call, "Div", [centred, deviation]), scale])
    return [tracer.op1(call, "Add", [scaled, bias])]


@upgrades("BatchNormalization", before=14)
def training_by_outputs(tracer: Any, call: Call) -> list[Any] | None:
    """More than one output meant training; the saved statistics no longer exist."""
    extra = [name for name in call.outputs[1:] if name]
    if not extra:
        call.outputs = call.outputs[:1]
        return None
    wanted = call.outputs
    call.outputs = wanted[:3]
    call.attrs["training_mode"] = 1
    return [*tracer.emit(call), *([None] * len(wanted[3:]))]


@upgrades("GroupNormalization", before=21)
def scale_per_group(tracer: Any, call: Call) -> None:
    """Scale and bias were given per group; now per channel."""
    groups, channels = call.attrs["num_groups"], call.static(0)[1]
    if groups < 1 or channels % groups:
        raise call.fail(f"{channels} channels do not form {groups} groups")
    for index in (1, 2):
        column = tracer.op1(call, "Reshape", [call.inputs[index], int64s([groups, 1])])
        spread = tracer.op1(call, "Expand", [column, int64s([groups, channels // groups])])
        call.inputs[index] = tracer.op1(call, "Reshape", [spread, int64s([channels])])
