"""Recipes as attributes and as the numerics know them."""

from __future__ import annotations

from typing import Any, cast

from mxc.dialects.mx.types import RecipeAttr
from mxc.numerics import FORMATS, Recipe, default_recipe


def recipe_of(attr: RecipeAttr, format: str) -> Recipe:
    """The recipe that `attr` spells out, for blocks of `format`."""
    return Recipe(
        scale_rule=cast(Any, attr.rule.data),
        special=cast(Any, attr.special.data),
        tie=cast(Any, attr.tie.data),
        min_scale_byte=attr.min_scale_byte.data,
        min_amax=default_recipe(FORMATS[format]).min_amax,
    )
