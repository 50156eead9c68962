"""Upgrades of Upsample and Resize."""

from __future__ import annotations

from typing import Any

import numpy as np

from mxc.importer.upgrades.rules import upgrades
from mxc.importer.values import Array, Call, Value


@upgrades("Upsample", before=99)
def upsample(tracer: Any, call: Call) -> list[Any]:
    """Upsample became Resize with coordinates that are not shifted."""
    scales = call.attrs.pop("scales", None)
    scales = call.constant(1, "the scales") if scales is None else np.array(scales, np.float32)
    mode = {"bilinear": "linear"}.get(call.attrs.get("mode", "nearest"), call.attrs.get("mode"))
    return _asymmetric(tracer, call, scales, mode or "nearest")


@upgrades("Resize", before=11)
def resize_10(tracer: Any, call: Call) -> list[Any]:
    """Up to 10: coordinates are not shifted, `scales` is input 1."""
    scales = call.constant(1, "the scales")
    return _asymmetric(tracer, call, scales, call.attrs.get("mode", "nearest"))


def _asymmetric(tracer: Any, call: Call, scales: Array | None, mode: str) -> list[Any]:
    """The Resize that onnxruntime runs for opsets up to 10.

    The nearest source element is found by rounding down along axes that grow, up along axes that
    shrink, so a mixture takes two steps.
    """
    if scales is None or scales.ndim != 1:
        raise call.fail("its scales are not a vector")
    steps = [(scales, "floor")]
    if mode == "nearest" and (scales < 1).any():
        steps = [(np.maximum(scales, np.float32(1)), "floor"), (np.minimum(scales, 1), "ceil")]
    value = call.tensor(0)
    for factors, rounding in steps:
        if (factors != 1).any():
            value = tracer.op1(
                call,
                "Resize",
                [value, None, factors.astype(np.float32)],
                mode=mode,
                coordinate_transformation_mode="asymmetric",
                nearest_mode=rounding,
            )
    return [value]


@upgrades("Resize", before=13)
def nearest_half_pixel(tracer: Any, call: Call) -> None:
    """`tf_half_pixel_for_nn` was dropped: (x + 0.5) * s, then rounded down.

    That is `half_pixel`, which subtracts 0.5 more, with halves rounded up.
    """
    if call.attrs.get("coordinate_transformation_mode") != "tf_half_pixel_for_nn":
        return
    if call.attrs.get("mode", "nearest") != "nearest" or call.attrs.get("nearest_mode") != "floor":
        raise call.fail("tf_half_pixel_for_nn is supported with mode=nearest, nearest_mode=floor")
    call.attrs["coordinate_transformation_mode"] = "half_pixel"
    call.attrs["nearest_mode"] = "round_prefer_ceil"


@upgrades("Resize", before=99)
def empty_inputs(tracer: Any, call: Call) -> None:
    """Inputs that were required and had no meaning were given as empty tensors."""
    for index in range(1, len(call.inputs)):
        value = call.inputs[index]
        if isinstance(value, Value) and value.static_shape is not None and 0 in value.static_shape:
            call.inputs[index] = None
    while call.inputs[-1] is None:
        call.inputs.pop()
    mode = call.attrs.get("coordinate_transformation_mode", "half_pixel")
    if mode != "tf_crop_and_resize" and len(call.inputs) > 1:
        call.inputs[1] = None  # the region of interest is not looked at
