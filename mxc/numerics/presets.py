"""Recipes of named stacks: what to ask for to get their codes and scales, and what differs."""

from __future__ import annotations

from dataclasses import dataclass

from mxc.errors import BadInput
from mxc.numerics.recipe import Recipe


@dataclass(frozen=True)
class Preset:
    """A recipe, and where the stack does something that no recipe says."""

    recipe: Recipe
    source: str
    differs: str


_TORCHAO = (
    "a block of zeros with a -0 keeps the sign in its code; release 0.18 has scale bytes 0xF7 "
    "(floor) or 0xFE (rceil) for a block with an infinity, elements off by a factor of 2 where "
    "the scale byte is 0, and with rceil on CPU, which is computed as ceil(log2), a scale byte one "
    "too small for some amax a few ulp above a multiple of the largest element"
)

PRESETS: dict[str, Preset] = {
    "ocp": Preset(
        Recipe("floor"),
        "OCP Microscaling Formats (MX) v1.0, 6.3 (recommended, not required)",
        "it leaves zero blocks, NaN and infinity open; here they are as in the default recipes",
    ),
    "nvidia": Preset(
        Recipe("rceil", special="saturate"),
        "Transformer Engine, cvt.rp.satfinite.ue8m0x2.f32",
        "the scale is computed as amax * f32(1 / max): for one amax per format, next to the "
        "underflow (bits 0x04600001 for E4M3, 0x07e00001 E5M2, 0x02600001 E3M2, 0x01700001 E2M3, "
        "0x01400001 E2M1), it is byte 0, here 1",
    ),
    **{
        f"torchao-{rule}": Preset(Recipe(rule), "torchao.prototype.mx_formats", _TORCHAO)
        for rule in ("floor", "rceil", "even", "ceil")
    },
    "microxcaling": Preset(
        Recipe("floor", tie="away"),
        "microsoft/microxcaling, round='nearest', shared_exp_method='max'",
        "it never makes codes but rounds floats; its torch path takes floor(log2(amax)) in f32, "
        "which is one too large for some values just below a power of two",
    ),
    "deepgemm": Preset(
        Recipe("rceil", min_scale_byte=1, min_amax=1e-4),
        "deepseek-ai/DeepGEMM, ceil_to_ue8m0(amax / 448)",
        "nothing for E4M3; its FP4 has ties towards zero and no -0: see `deepgemm-fp4`",
    ),
    "deepgemm-fp4": Preset(
        Recipe("rceil", tie="zero", min_scale_byte=1, min_amax=1e-4, negative_zero=False),
        "deepseek-ai/DeepGEMM, the cast to FP4",
        "nothing known",
    ),
    "ggml": Preset(
        Recipe("floor", tie="zero", negative_zero=False),
        "ggml, quantize_row_mxfp4",
        "its scale exponent is not clamped but wraps below 2**-125; NaN and infinity are "
        "undefined there; floor(log2f(amax)) may be one too large just below a power of two",
    ),
}
"""The presets by name."""


def preset(name: str) -> Recipe:
    """The recipe of a named stack; see `PRESETS` for what differs.

    Raises:
        BadInput: if there is none; the message lists the names.
    """
    if name not in PRESETS:
        raise BadInput(f"unknown preset '{name}'", hint=f"known are {', '.join(PRESETS)}")
    return PRESETS[name].recipe
