"""The number formats as data: one row of `ELEMENTS` per element type, one of `FORMATS` per format.

Everything else in `mxc.numerics`, the C header too, is generic over these rows. Sources: OCP
Microscaling Formats (MX) v1.0 (sections 5.2, 5.3), OCP OFP8 v1.0, the FNUZ types of AMD CDNA3,
HiFloat8 (arXiv 2409.16626).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mxc.errors import BadInput

Special = Literal["none", "fn", "ieee", "fnuz"]
"""What the codes above the largest finite one mean; see `Element.special`."""


@dataclass(frozen=True)
class Element:
    """An element type of at most 8 bits: sign, exponent, mantissa; or two's complement.

    A code with exponent field `e` and mantissa field `m` has the magnitude
    `(1 + m / 2**mantissa_bits) * 2**(e - bias)`, or `m / 2**mantissa_bits * 2**(1 - bias)` where
    `e` is 0. With `kind = "int"` the value is the two's complement code times
    `2**-mantissa_bits`, and -2**(bits - 1) is never produced.
    """

    name: str
    mlir: str
    """The name of the type in MLIR, e.g. `f8E4M3FN`."""
    exponent_bits: int
    mantissa_bits: int
    bias: int
    max_code: int
    """The code of the largest finite value; positive finite codes are 0 .. max_code."""
    special: Special = "none"
    """`none`: all codes finite. `fn`: all ones is NaN, no infinity. `ieee`: infinities and NaNs as
    in IEEE 754. `fnuz`: the code of -0 is the only NaN, there is no -0."""
    kind: Literal["float", "int", "hif8"] = "float"

    @property
    def bits(self) -> int:
        """The width of a code."""
        return 8 if self.kind == "hif8" else 1 + self.exponent_bits + self.mantissa_bits

    @property
    def sign_bit(self) -> int:
        """The mask of the sign in a code."""
        return 1 << (self.bits - 1)

    @property
    def nan_code(self) -> int | None:
        """The code that NaN encodes to, or None if the type has no NaN."""
        return {"none": None, "fn": 0x7F, "ieee": 0x7F, "fnuz": 0x80}[self.special]

    @property
    def inf_code(self) -> int | None:
        """The code of +infinity, or None if the type has none."""
        return self.max_code + 1 if self.special == "ieee" or self.kind == "hif8" else None

    @property
    def negative_zero(self) -> bool:
        """True if the type has a -0."""
        return self.kind == "float" and self.special != "fnuz"

    @cached_property
    def max(self) -> float:
        """The largest finite value."""
        return float(self.values[self.max_code])

    @cached_property
    def emax(self) -> int:
        """The exponent of the largest finite value: `max = M * 2**emax` with `1 <= M < 2`."""
        return int(np.frexp(self.max)[1]) - 1

    @cached_property
    def max_significand(self) -> float:
        """M of `max = M * 2**emax`: the scale rule `rceil` bumps above it."""
        return self.max / 2.0**self.emax

    @property
    def emin(self) -> int:
        """The exponent of the smallest normal value; below it steps are `2**(emin - mantissa)`."""
        return 1 - self.bias

    @property
    def min_subnormal(self) -> float:
        """The smallest positive value."""
        return float(self.values[1])

    @property
    def min_normal(self) -> float:
        """The smallest positive normal value (the smallest value, if there are no subnormals)."""
        return self.min_subnormal if self.kind == "int" else 2.0**self.emin

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The value of each of the 256 bytes, exact; bits above the code's width are ignored."""
        return np.array([self._value(code & (2 * self.sign_bit - 1)) for code in range(256)])

    @cached_property
    def values32(self) -> NDArray[np.float32]:
        """`values` in f32; exact."""
        return self.values.astype(np.float32)

    def _value(self, code: int) -> float:
        if self.kind == "int":
            return (code - 2 * self.sign_bit * (code >= self.sign_bit)) / 2.0**self.mantissa_bits
        if self.special == "fnuz" and code == self.sign_bit:
            return float("nan")
        magnitude = code & (self.sign_bit - 1)
        value = _hif8(magnitude) if self.kind == "hif8" else self._magnitude(magnitude)
        return -value if code & self.sign_bit else value

    def _magnitude(self, code: int) -> float:
        if self.special in ("fn", "ieee") and code > self.max_code:
            return float("inf") if code == self.inf_code else float("nan")
        exponent, mantissa = code >> self.mantissa_bits, code & ((1 << self.mantissa_bits) - 1)
        fraction = mantissa / 2.0**self.mantissa_bits + (exponent > 0)
        return fraction * 2.0 ** (max(exponent, 1) - self.bias)


def _hif8(code: int) -> float:
    """The value of a positive HiFloat8 code: a prefix code gives the width of the exponent."""
    if code == 0x6F:
        return float("inf")
    if code < 0x08:  # denormal: no -0, and 0x80 is NaN, which the caller has dealt with
        return 2.0 ** (code - 23) if code else 0.0
    if code < 0x10:
        return 1 + (code & 7) / 8
    dot, width, room = next(row for row in _HIF8_DOTS if code >= row[0])
    rest = code - dot
    field, mantissa = rest >> room, rest & ((1 << room) - 1)
    magnitude = (1 << (width - 1)) | (field & ((1 << (width - 1)) - 1))
    exponent = -magnitude if field >> (width - 1) else magnitude
    return (1 + mantissa / (1 << room)) * 2.0**exponent


_HIF8_DOTS = ((0x60, 4, 1), (0x40, 3, 2), (0x20, 2, 3), (0x10, 1, 3))
"""The dot field as it stands in the code, the bits of the exponent, the bits of the mantissa."""


@dataclass(frozen=True)
class Format:
    """How a tensor is stored: elements, and the block of them that shares a scale."""

    name: str
    element: Element | None
    """None for the plain floats, whose codes are the bits of `plain`."""
    block: tuple[int, ...] = (32,)
    """The default block along the last axes; () for one scale per tensor."""
    scale: Literal["e8m0", "e4m3", "none"] = "e8m0"
    """`e4m3` has one f32 scale per tensor besides; `none` stores every scale byte as 127, 2**0."""
    rule: Literal["floor", "rceil", "even", "ceil"] = "rceil"
    """The default scale rule."""
    plain: str = ""
    """The numpy name of a plain float: `bfloat16` (of ml_dtypes), `float16`, `float32`."""
    aliases: tuple[str, ...] = ()
    min_amax: float = 0.0
    """The default of `Recipe.min_amax`."""

    def __str__(self) -> str:
        return self.name

    @property
    def bits(self) -> int:
        """The width of an element's code."""
        return self.element.bits if self.element else 8 * self.code_dtype.itemsize

    @property
    def bits_per_element(self) -> float:
        """The bits of an element in a packed full block, its share of the scale included."""
        shared = 8 / int(np.prod(self.block)) if self.block and self.scale != "none" else 0
        return self.bits + shared

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """What `BlockArray.codes` holds: int8 for two's complement, otherwise unsigned."""
        if self.element is None:
            return np.dtype(np.uint32 if self.plain == "float32" else np.uint16)
        return np.dtype(np.int8 if self.element.kind == "int" else np.uint8)


E4M3 = Element("e4m3", "f8E4M3FN", 4, 3, 7, 0x7E, "fn")
E5M2 = Element("e5m2", "f8E5M2", 5, 2, 15, 0x7B, "ieee")
E2M3 = Element("e2m3", "f6E2M3FN", 2, 3, 1, 0x1F)
E3M2 = Element("e3m2", "f6E3M2FN", 3, 2, 3, 0x1F)
E2M1 = Element("e2m1", "f4E2M1FN", 2, 1, 1, 0x7)
INT8 = Element("int8", "i8", 1, 6, 0, 0x7F, kind="int")
E4M3FNUZ = Element("e4m3fnuz", "f8E4M3FNUZ", 4, 3, 8, 0x7F, "fnuz")
E5M2FNUZ = Element("e5m2fnuz", "f8E5M2FNUZ", 5, 2, 16, 0x7F, "fnuz")
HIF8 = Element("hif8", "", 5, 3, 0, 0x6E, "fnuz", kind="hif8")

ELEMENTS: dict[str, Element] = {
    e.name: e for e in (E4M3, E5M2, E2M3, E3M2, E2M1, INT8, E4M3FNUZ, E5M2FNUZ, HIF8)
}
"""Every element type by name."""

_ROWS = (
    Format("mxfp8_e4m3", E4M3, aliases=("mxfp8",)),
    Format("mxfp8_e5m2", E5M2),
    Format("mxfp6_e2m3", E2M3, rule="even", aliases=("mxfp6",)),
    Format("mxfp6_e3m2", E3M2, rule="even"),
    Format("mxfp4", E2M1, rule="even", aliases=("mxfp4_e2m1",)),
    Format("mxint8", INT8),
    Format("nvfp4", E2M1, block=(16,), scale="e4m3", rule="even"),
    Format("mxfp8_e4m3fnuz", E4M3FNUZ),
    Format("mxfp8_e5m2fnuz", E5M2FNUZ),
    Format("fp8_e4m3fnuz", E4M3FNUZ, block=()),
    Format("fp8_e5m2fnuz", E5M2FNUZ, block=()),
    Format("deepseek_1x128", E4M3, block=(128,), rule="rceil", min_amax=1e-4),
    Format("deepseek_128x128", E4M3, block=(128, 128), rule="rceil", min_amax=1e-4),
    Format("hifloat8", HIF8, block=(), scale="none", aliases=("hif8",)),
    Format("bf16", None, block=(), scale="none", plain="bfloat16"),
    Format("f16", None, block=(), scale="none", plain="float16"),
    Format("f32", None, block=(), scale="none", plain="float32"),
)

FORMATS: dict[str, Format] = {row.name: row for row in _ROWS}
"""Every format by its canonical name."""


def format_of(format: str | Format) -> Format:
    """The format with this name or alias; a `Format` is given back as it is.

    Raises:
        BadInput: if there is none; the message lists the names.
    """
    if isinstance(format, Format):
        return format
    for row in FORMATS.values():
        if format == row.name or format in row.aliases:
            return row
    raise BadInput(f"unknown format '{format}'", hint=f"the formats are {', '.join(FORMATS)}")
