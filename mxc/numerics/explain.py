"""Formats and conversions in words, for the command line."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from mxc.errors import BadInput
from mxc.numerics.blocks import block_values
from mxc.numerics.formats import FORMATS, Element, Format, format_of
from mxc.numerics.quantize import quantize
from mxc.numerics.recipe import ScaleRule, default_recipe
from mxc.numerics.scales import SCALE_VALUES, bump_threshold


def formats_table() -> list[dict[str, Any]]:
    """One row per format.

    Keys: name, aliases, element, bits (of an element), bits_per_element (with its share of the
    scale), block, scale, max, min_normal, min (the smallest positive value), scale_rules, recipe
    (the default). None where a key does not apply, as for plain floats.
    """
    return [_row(format) for format in FORMATS.values()]


def _row(format: Format) -> dict[str, Any]:
    e = format.element
    scaled = e is not None and format.scale == "e8m0"
    return {
        "name": format.name,
        "aliases": list(format.aliases),
        "element": e.name if e else format.plain,
        "bits": format.bits,
        "bits_per_element": format.bits_per_element,
        "block": list(format.block),
        "scale": format.scale,
        "max": e.max if e else None,
        "min_normal": e.min_normal if e else None,
        "min": e.min_subnormal if e else None,
        "scale_rules": list(get_args(ScaleRule)) if scaled else [],
        "recipe": str(default_recipe(format)) if scaled else None,
    }


def explain(x: float, format: str, scale_rule: str | None = None) -> dict[str, Any]:
    """The journey of `x`, alone in its block, to code and scale and back.

    Keys: value, format, scale_rule, exponent and significand of the value, bump (true if the rule
    raised the scale), scale_byte, scale, scaled, code, bits (sign, exponent and mantissa fields),
    element, result, error, and `steps`: the same as sentences.

    Raises:
        BadInput: for a format without elements of its own, or a value that is not finite.
    """
    f = format_of(format)
    if f.element is None or f.scale != "e8m0":
        raise BadInput(f"{f} has no block scale to explain")
    if not np.isfinite(x):
        raise BadInput(f"{x} makes the scale of its block NaN: there is no journey to explain")
    recipe = default_recipe(f, scale_rule)
    a = quantize(np.array([x], np.float64), f, recipe=recipe, block=(1,))
    byte, code = int(a.scales[0]), int(a.codes.view(np.uint8)[0])
    scale, element = float(SCALE_VALUES[byte]), float(f.element.values[code])
    fraction, exponent = np.frexp(abs(max(abs(x), recipe.min_amax)))
    significand = float(2 * fraction)
    threshold = bump_threshold(f.element, recipe.scale_rule, 52)
    result = float(block_values(a)[0])
    journey: dict[str, Any] = {
        "value": x,
        "format": f.name,
        "scale_rule": recipe.scale_rule,
        "exponent": int(exponent) - 1,
        "significand": significand,
        "bump": bool((significand - 1) * 2**52 >= threshold),
        "scale_byte": byte,
        "scale": scale,
        "scaled": x / scale,
        "code": code,
        "bits": _fields(f.element, code),
        "element": element,
        "result": result,
        "error": result - x,
    }
    journey["steps"] = _steps(journey, f.element)
    return journey


def _fields(e: Element, code: int) -> str:
    digits = f"{code:0{e.bits}b}"
    if e.kind == "int":
        return digits
    return f"{digits[0]} {digits[1 : 1 + e.exponent_bits]} {digits[1 + e.exponent_bits :]}".strip()


def _steps(j: dict[str, Any], e: Element) -> list[str]:
    if j["value"] == 0:
        return ["a block of zeros has scale byte 0 and codes 0"]
    bump = " + 1" if j["bump"] else ""
    why = {
        "floor": "never raises it",
        "rceil": f"raises it if the significand is above {e.max_significand:g}",
        "even": f"raises it if rounding to {e.mantissa_bits} mantissa bits reaches 2",
        "ceil": "raises it if the significand is above 1",
    }[j["scale_rule"]]
    wanted, taken = j["exponent"] - e.emax + j["bump"], j["scale_byte"] - 127
    limit = "" if wanted == taken else f", which E8M0 has as {taken}"
    clipped = abs(j["scaled"]) > e.max
    return [
        f"{j['value']:g} = {j['significand']:g} * 2**{j['exponent']} in magnitude",
        f"scale exponent {j['exponent']} - {e.emax}{bump} = {wanted}{limit}: "
        f"{j['scale_rule']} {why}",
        f"scale byte {j['scale_byte']} (0x{j['scale_byte']:02X}) = {j['scale']:g}",
        f"{j['value']:g} / {j['scale']:g} = {j['scaled']:g}",
        f"{'saturates at' if clipped else 'the nearest element is'} {j['element']:g}: "
        f"code 0x{j['code']:02X} = {j['bits']}",
        f"{j['element']:g} * {j['scale']:g} = {j['result']:g}, an error of {j['error']:g}",
    ]
