"""MX arithmetic on numpy arrays: what the `mx` operations mean, free of any IR.

The interpreter and the folder run these functions; the C header is made from the same tables and
tested against them, bit for bit. Source: OCP Microscaling Formats (MX) v1.0.
"""

from mxc.numerics.accumulate import fma
from mxc.numerics.blocks import BlockArray, block_values
from mxc.numerics.contract import CONTRACTS, dot, matmul
from mxc.numerics.conv import conv
from mxc.numerics.dots import (
    DotContract,
    known_contracts,
    register_contract,
    registered_contract,
    takes_floats,
)
from mxc.numerics.explain import explain, formats_table
from mxc.numerics.formats import ELEMENTS, FORMATS, Element, Format, format_of
from mxc.numerics.layouts import LAYOUTS, Packed, from_packed, pack
from mxc.numerics.presets import PRESETS, Preset, preset
from mxc.numerics.quantize import quantize, requantize
from mxc.numerics.recipe import Recipe, default_recipe
from mxc.numerics.views import (
    abs_,
    concat,
    gather,
    neg,
    refine,
    reshape,
    scale_by_power_of_two,
    slice_blocks,
    to_fnuz,
    transpose,
)

__all__ = [
    "CONTRACTS",
    "ELEMENTS",
    "FORMATS",
    "LAYOUTS",
    "PRESETS",
    "BlockArray",
    "DotContract",
    "Element",
    "Format",
    "Packed",
    "Preset",
    "Recipe",
    "abs_",
    "block_values",
    "concat",
    "conv",
    "default_recipe",
    "dot",
    "explain",
    "fma",
    "format_of",
    "formats_table",
    "from_packed",
    "gather",
    "known_contracts",
    "matmul",
    "neg",
    "pack",
    "preset",
    "quantize",
    "refine",
    "register_contract",
    "registered_contract",
    "requantize",
    "reshape",
    "scale_by_power_of_two",
    "slice_blocks",
    "takes_floats",
    "to_fnuz",
    "transpose",
]
