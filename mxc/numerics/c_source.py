"""The numerics in C99, from the same tables: the text of `mxnpu_numerics.h`.

The code is the template `mxnpu_numerics.in.h`; this file prints the tables into it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib.resources import files
from typing import get_args

import numpy as np

from mxc.errors import BadInput
from mxc.numerics.codec import hif8_steps
from mxc.numerics.contract import CONTRACTS, STEP
from mxc.numerics.exact import sum_bits
from mxc.numerics.formats import ELEMENTS, HIF8, Element, Format, format_of
from mxc.numerics.recipe import Overflow, Recipe, ScaleRule, SpecialPolicy, Tie
from mxc.numerics.scales import bump_threshold

HEADER_NAME = "mxnpu_numerics.h"
"""The file that the text is meant for."""

_RULES = get_args(ScaleRule)
_KINDS = {"float": "MX_KIND_FLOAT", "int": "MX_KIND_INT", "hif8": "MX_KIND_HIF8"}


def header_text() -> str:
    """The header: static inline functions and constant tables, portable C99."""
    template = files("mxc.numerics").joinpath("mxnpu_numerics.in.h").read_text()
    return template.replace("@ENUMS@", _enums()).replace("@TABLES@", _tables())


def c_format(format: str | Format) -> str:
    """The `mx_format` of a format: its element type, e.g. `MX_E4M3`.

    Raises:
        BadInput: for a plain float, which needs no codes in C.
    """
    element = format_of(format).element
    if element is None:
        raise BadInput(f"{format_of(format)} has no element codes in C")
    return f"MX_{element.name.upper()}"


def c_recipe(recipe: Recipe) -> dict[str, str]:
    """The initialisers of the recipe's fields in an `mx_quant_desc`."""
    return {
        "rule": f"MX_RULE_{recipe.scale_rule.upper()}",
        "special": f"MX_SPECIAL_{recipe.special.upper()}",
        "tie": f"MX_TIE_{recipe.tie.upper()}",
        "overflow": f"MX_OVERFLOW_{recipe.overflow.upper()}",
        "positive_zero": str(int(not recipe.negative_zero)),
        "min_scale_byte": str(recipe.min_scale_byte),
        "min_amax": c_float(float(np.float32(recipe.min_amax))),
        "seed": f"{recipe.seed}u",
    }


def c_contract(contract: str) -> str:
    """The `mx_contract` of a contract's name."""
    return f"MX_{contract.replace('-', '_').upper()}"


def c_float(value: float) -> str:
    """A C99 literal of type float with exactly this f32 value."""
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    mantissa, exponent = float(value).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}f"


def _enums() -> str:
    return "\n".join(
        [
            _enum("mx_format", [f"MX_{name.upper()}" for name in ELEMENTS]),
            _enum("mx_rule", [f"MX_RULE_{name.upper()}" for name in _RULES]),
            _enum("mx_special", [f"MX_SPECIAL_{n.upper()}" for n in get_args(SpecialPolicy)]),
            _enum("mx_tie", [f"MX_TIE_{name.upper()}" for name in get_args(Tie)]),
            _enum("mx_overflow", [f"MX_OVERFLOW_{name.upper()}" for name in get_args(Overflow)]),
            _enum("mx_contract", [c_contract(name) for name in CONTRACTS]),
        ]
    )


def _enum(name: str, values: Iterable[str]) -> str:
    return f"typedef enum {{ {', '.join(values)} }} {name};"


def _tables() -> str:
    count = len(ELEMENTS)
    infos = [_info(e) for e in ELEMENTS.values()]
    values = [_braces([c_float(v) for v in e.values]) for e in ELEMENTS.values()]
    units = [str(round(math.log2(e.min_subnormal))) for e in ELEMENTS.values()]
    bits = [
        _braces([str(sum_bits(a, b, STEP)) for b in ELEMENTS.values()]) for a in ELEMENTS.values()
    ]
    codes, middles = hif8_steps(HIF8)
    return "\n\n".join(
        [
            f"static const mx_element_info MX_ELEMENTS[{count}] = {_braces(infos)};",
            "/* The value of each code. */",
            f"static const float MX_VALUES[{count}][256] = {_braces(values)};",
            "/* The exponent of the smallest value. */",
            f"static const int32_t MX_UNITS[{count}] = {_braces(units)};",
            f"/* The bits of an exact sum of {STEP} products. */",
            f"static const uint8_t MX_SUM_BITS[{count}][{count}] = {_braces(bits)};",
            "/* HiFloat8: the positive codes in the order of their values, the middles between. */",
            f"#define MX_HIF8_COUNT {len(middles)}u",
            f"static const uint8_t MX_HIF8_CODES[{len(codes)}] = "
            f"{_braces([str(c) for c in codes])};",
            f"static const float MX_HIF8_MIDDLES[{len(middles)}] = "
            f"{_braces([c_float(m) for m in middles])};",
        ]
    )


def _info(e: Element) -> str:
    bumps = _braces([f"0x{bump_threshold(e, rule):X}u" for rule in _RULES])
    return _braces(
        [
            c_float(e.max),
            str(e.emax),
            str(e.emin),
            f"{e.mantissa_bits}u",
            f"{e.bits}u",
            f"0x{e.max_code:X}u",
            _KINDS[e.kind],
            f"{int(e.special != 'none')}u",
            f"{int(e.special == 'fnuz')}u",
            bumps,
        ]
    )


def _braces(items: list[str]) -> str:
    """An initialiser, with lines of at most 100 characters."""
    lines: list[str] = []
    line = ""
    for item in items:
        if len(line) + len(item) > 92 or "\n" in item:
            lines.append(line.rstrip())
            line = ""
        line += f"{item}, "
    return "\n".join(["{", *(x for x in [*lines, line.rstrip()] if x), "}"])
