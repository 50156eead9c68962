"""The numerics in C99, from the same tables: the text of `mxnpu_numerics.h`.

The code is the template `mxnpu_numerics.in.h`; this file prints the tables into it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from textwrap import wrap
from typing import get_args

import numpy as np

from mxc.errors import BadInput
from mxc.numerics.codec import hif8_steps
from mxc.numerics.contract import CONTRACTS, STEP
from mxc.numerics.dots import SLOTS, registered_contract
from mxc.numerics.exact import sum_bits
from mxc.numerics.formats import E4M3, ELEMENTS, FORMATS, HIF8, Element, Format, format_of
from mxc.numerics.recipe import Overflow, Recipe, ScaleRule, SpecialPolicy, Tie
from mxc.numerics.scales import bump_threshold

HEADER_NAME = "mxnpu_numerics.h"
"""The file that the text is meant for."""

_RULES = get_args(ScaleRule)
_SLOTS = [f"MX_VENDOR_{slot}" for slot in range(SLOTS)]
_KINDS = {"float": "MX_KIND_FLOAT", "int": "MX_KIND_INT", "hif8": "MX_KIND_HIF8"}


def header_text() -> str:
    """The header: static inline functions and constant tables, portable C99."""
    template = files("mxc.numerics").joinpath("mxnpu_numerics.in.h").read_text()
    return template.replace("@ENUMS@", _enums()).replace("@TABLES@", _tables())


def c_format(format: str | Format) -> str:
    """The `mx_format` of a format: its element type, e.g. `MX_E4M3`.

    A format whose scales are no powers of two has one of its own: `MX_NVFP4`.

    Raises:
        BadInput: for a plain float, which needs no codes in C.
    """
    format = format_of(format)
    if format.element is None:
        raise BadInput(f"{format} has no element codes in C")
    return f"MX_{(format if format.scale == 'e4m3' else format.element).name.upper()}"


@dataclass(frozen=True)
class _Row:
    """One `mx_format`: an element type under its kind of scale."""

    name: str
    element: Element
    e4m3_scale: bool = False

    @property
    def scale_bits(self) -> int:
        """The significant bits of a scale that is no power of two."""
        return E4M3.mantissa_bits + 1 if self.e4m3_scale else 0


def _rows() -> list[_Row]:
    """Every `mx_format`, in order."""
    scaled = [f for f in FORMATS.values() if f.scale == "e4m3"]
    return [
        *(_Row(element.name, element) for element in ELEMENTS.values()),
        *(_Row(f.name, f.element, True) for f in scaled if f.element),
    ]


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
    """The `mx_contract` of a contract's name; of a vendor's, `MX_VENDOR_` and its slot."""
    vendors = registered_contract(contract)
    if vendors is not None:
        return f"MX_VENDOR_{vendors.slot}"
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
            _enum("mx_format", [f"MX_{row.name.upper()}" for row in _rows()]),
            _enum("mx_rule", [f"MX_RULE_{name.upper()}" for name in _RULES]),
            _enum("mx_special", [f"MX_SPECIAL_{n.upper()}" for n in get_args(SpecialPolicy)]),
            _enum("mx_tie", [f"MX_TIE_{name.upper()}" for name in get_args(Tie)]),
            _enum("mx_overflow", [f"MX_OVERFLOW_{name.upper()}" for name in get_args(Overflow)]),
            _enum("mx_contract", [*map(c_contract, CONTRACTS), *_SLOTS]),
        ]
    )


def _enum(name: str, values: Iterable[str]) -> str:
    return "\n".join(wrap(f"typedef enum {{ {', '.join(values)} }} {name};", 100))


def _tables() -> str:
    rows = _rows()
    count = len(rows)
    infos = [_info(row) for row in rows]
    values = [_braces([c_float(v) for v in row.element.values]) for row in rows]
    units = [str(round(math.log2(row.element.min_subnormal))) for row in rows]
    bits = [_braces([str(_sum_bits(a, b)) for b in rows]) for a in rows]
    codes, middles = hif8_steps(HIF8)
    return "\n\n".join(
        [
            f"static const mx_element_info MX_ELEMENTS[{count}] = {_braces(infos)};",
            "/* The value of each code. */",
            f"static const float MX_VALUES[{count}][256] = {_braces(values)};",
            "/* The exponent of the smallest value. */",
            f"static const int32_t MX_UNITS[{count}] = {_braces(units)};",
            f"/* The bits of an exact sum of {STEP} products, times scales. */",
            f"static const uint8_t MX_SUM_BITS[{count}][{count}] = {_braces(bits)};",
            "/* HiFloat8: the positive codes in the order of their values, the middles between. */",
            f"#define MX_HIF8_COUNT {len(middles)}u",
            f"static const uint8_t MX_HIF8_CODES[{len(codes)}] = "
            f"{_braces([str(c) for c in codes])};",
            f"static const float MX_HIF8_MIDDLES[{len(middles)}] = "
            f"{_braces([c_float(m) for m in middles])};",
        ]
    )


def _sum_bits(a: _Row, b: _Row) -> int:
    return sum_bits(a.element, b.element, STEP) + a.scale_bits + b.scale_bits


def _info(row: _Row) -> str:
    e = row.element
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
            f"{int(row.e4m3_scale)}u",
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
