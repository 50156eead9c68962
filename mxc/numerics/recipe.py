"""Recipes: everything about a conversion that the name of a format does not say."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal, cast, get_args

from mxc.errors import BadInput
from mxc.numerics.formats import Format

ScaleRule = Literal["floor", "rceil", "even", "ceil"]
SpecialPolicy = Literal["nan", "saturate"]
Tie = Literal["even", "away", "zero", "stochastic"]
Overflow = Literal["saturate", "special"]


@dataclass(frozen=True)
class Recipe:
    """How real numbers become codes of a block format.

    With `amax` the largest magnitude of a block, `E` its exponent and `m` its significand (in
    [1, 2)), and `max = M * 2**emax` the largest element, the scale is `2**(E - emax + bump)`,
    clamped to the 255 exponents of E8M0. `bump` is 1 or 0, by `scale_rule`:

    * `floor`: never (the recommendation of OCP MX v1.0, 6.3);
    * `rceil`: if `m > M`, the smallest scale with which `amax` does not saturate (NVIDIA);
    * `even`: if `amax` rounded to the element's mantissa reaches the next power of two;
    * `ceil`: if `m > 1`.

    Elements are `x / scale`, rounded to the nearest code; magnitudes above `max` give `max`.
    """

    scale_rule: ScaleRule = "rceil"
    special: SpecialPolicy = "nan"
    """`nan`: a NaN or an infinity makes the scale of its block NaN, and its codes 0. `saturate`: an
    infinity makes the scale byte 254 and becomes the largest element; NaN as before."""
    tie: Tie = "even"
    """Which way an element half-way between two codes goes: to the even code, away from zero,
    towards zero. `stochastic` rounds up with the probability of the distance, see `seed`."""
    min_scale_byte: int = 0
    """The smallest scale byte of a block that is not all zeros."""
    min_amax: float = 0.0
    """`amax` is at least this; 0 leaves zero blocks their scale byte 0."""
    overflow: Overflow = "saturate"
    """`special`: an FP8 element that rounds above the largest becomes NaN or infinity (OVF in OCP
    OFP8 v1.0); `saturate` is SAT there, and the only choice of the others."""
    negative_zero: bool = True
    """False: an element that rounds to -0 becomes +0."""
    seed: int = 0
    """The key of the random bits: element `i` (row-major in the whole tensor) uses the top 32 bits
    of splitmix64 at `seed * 2**32 + i`."""

    def __post_init__(self) -> None:
        _one_of("scale rule", self.scale_rule, get_args(ScaleRule))
        _one_of("special-value policy", self.special, get_args(SpecialPolicy))
        _one_of("tie rule", self.tie, get_args(Tie))
        _one_of("overflow behaviour", self.overflow, get_args(Overflow))
        if not 0 <= self.min_scale_byte <= 254:
            raise BadInput(f"min_scale_byte is {self.min_scale_byte}", hint="0 to 254 are allowed")
        if not 0 <= self.min_amax < float("inf"):
            raise BadInput(f"min_amax is {self.min_amax}", hint="it must be finite, not negative")
        if not 0 <= self.seed < 2**32:
            raise BadInput(f"seed is {self.seed}", hint="0 to 2**32 - 1 are allowed")

    def __str__(self) -> str:
        default = Recipe()
        changed = [
            f"{f.name}={getattr(self, f.name)}"
            for f in fields(self)[1:]
            if getattr(self, f.name) != getattr(default, f.name)
        ]
        return ", ".join([self.scale_rule, *changed])


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BadInput(f"unknown {what} '{value}'", hint=f"known are {', '.join(known)}")


def default_recipe(format: Format, scale_rule: str | None = None) -> Recipe:
    """The recipe of `format` unless said otherwise, with `scale_rule` in place of its own."""
    rule = cast(ScaleRule, scale_rule or format.rule)
    return Recipe(scale_rule=rule, min_amax=format.min_amax)


def with_rule(recipe: Recipe, scale_rule: str | None) -> Recipe:
    """`recipe` with another scale rule, if one is given."""
    return replace(recipe, scale_rule=cast(ScaleRule, scale_rule)) if scale_rule else recipe
