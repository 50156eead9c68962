"""Types and attributes of the `mx` dialect: the block element type and the recipe."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    Float4E2M1FNType,
    Float6E2M3FNType,
    Float6E3M2FNType,
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E5M2FNUZType,
    Float8E5M2Type,
    Float8E8M0FNUType,
    IntAttr,
    IntegerType,
    StringAttr,
    TensorType,
)
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.hints import isa

FORMAT_ELEMENTS: dict[str, Attribute] = {
    "mxfp8_e4m3": Float8E4M3FNType(),
    "mxfp8_e5m2": Float8E5M2Type(),
    "mxfp6_e2m3": Float6E2M3FNType(),
    "mxfp6_e3m2": Float6E3M2FNType(),
    "mxfp4": Float4E2M1FNType(),
    "mxint8": IntegerType(8),
    "mxfp8_e4m3fnuz": Float8E4M3FNUZType(),
    "mxfp8_e5m2fnuz": Float8E5M2FNUZType(),
}
"""The element type of each MX format with UE8M0 scales."""

ALIASES = {"deepseek_1x128": "mxfp8_e4m3"}
"""Formats that differ from another in their blocks and recipe only."""

E8M0 = Float8E8M0FNUType()
E4M3 = Float8E4M3FNType()


@irdl_attr_definition
class BlockType(ParametrizedAttribute, TypeAttribute):
    """The element type of a tensor whose elements share scales block by block.

        tensor<128x768x!mx.block<f8E4M3FN, 1x32>>                      row blocks
        tensor<768x128x!mx.block<f8E4M3FN, 32x1>>                      column blocks
        tensor<768x768x!mx.block<f4E2M1FN, 1x16, scale = f8E4M3FN>>    NVFP4

    Element (i, j, ...) has the value code * scale of its block (i / b0, j / b1, ...), exactly. The
    block shape has the tensor's rank. A dimension that is no multiple of its block is padded in
    the packed form only, with code 0.

    (C1) the element is one of the MX element types;
    (C2) every block dimension is positive, and there is at least one;
    (C3) the scale is f8E8M0FNU, or f8E4M3FN for NVFP4.

    Source: OCP Microscaling Formats (MX) v1.0, section 5.
    """

    name = "mx.block"
    element: Attribute
    block: ArrayAttr[IntAttr]
    scale: Attribute

    def __init__(self, element: Attribute, block: Sequence[int], scale: Attribute = E8M0):
        super().__init__(element, ArrayAttr(IntAttr(b) for b in block), scale)

    @property
    def shape(self) -> tuple[int, ...]:
        """The block shape, one entry per tensor dimension."""
        return tuple(b.data for b in self.block)

    @property
    def format(self) -> str:
        """The name of the format in `mxc.numerics`, e.g. `mxfp8_e4m3`."""
        if self.scale == E4M3:
            return "nvfp4"
        return next(name for name, element in FORMAT_ELEMENTS.items() if element == self.element)

    def verify(self) -> None:
        if self.element not in FORMAT_ELEMENTS.values():
            raise VerifyException(f"mx.block (C1): {self.element} is no MX element type")
        if not self.shape or min(self.shape) < 1:
            raise VerifyException(f"mx.block (C2): bad block shape {self.shape}")
        nvfp4 = self.scale == E4M3 and self.element == FORMAT_ELEMENTS["mxfp4"]
        if self.scale != E8M0 and not nvfp4:
            raise VerifyException(f"mx.block (C3): {self.scale} cannot scale {self.element}")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            element = parser.parse_type()
            parser.parse_punctuation(",")
            block = parser.parse_dimension_list()
            scale: Attribute = E8M0
            if parser.parse_optional_punctuation(","):
                parser.parse_keyword("scale")
                parser.parse_punctuation("=")
                scale = parser.parse_type()
        return [element, ArrayAttr(IntAttr(b) for b in block), scale]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_attribute(self.element)
            printer.print_string(", " + "x".join(map(str, self.shape)))
            if self.scale != E8M0:
                printer.print_string(", scale = ")
                printer.print_attribute(self.scale)


def block_type(format: str, block: Sequence[int]) -> BlockType:
    """The block type of `format` (canonical name, e.g. `mxfp8_e4m3`) with block shape `block`.

    Its `format` is the one that an alias stands for.
    """
    if format == "nvfp4":
        return BlockType(FORMAT_ELEMENTS["mxfp4"], block, E4M3)
    return BlockType(FORMAT_ELEMENTS[ALIASES.get(format, format)], block)


def block_of(type: Attribute) -> BlockType | None:
    """The block type of a tensor type, or None for tensors of plain elements."""
    if isa(type, TensorType) and isinstance(type.element_type, BlockType):
        return type.element_type
    return None


@irdl_attr_definition
class RecipeAttr(ParametrizedAttribute):
    """How values are rounded into a block format: `mxc.numerics.Recipe` as an attribute.

        #mx.recipe<rceil, special = nan, tie = even, min_scale_byte = 0>

    `rule` is the scale rule (floor, rceil, even, ceil); `special` what NaN and Inf do to a block
    (nan, saturate); `tie` how elements round (even, away, zero); `min_scale_byte` the smallest
    scale byte of a block that is not all zeros.
    """

    name = "mx.recipe"
    rule: StringAttr
    special: StringAttr
    tie: StringAttr
    min_scale_byte: IntAttr

    def __init__(
        self, rule: str, special: str = "nan", tie: str = "even", min_scale_byte: int = 0
    ) -> None:
        super().__init__(
            StringAttr(rule), StringAttr(special), StringAttr(tie), IntAttr(min_scale_byte)
        )

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            rule = StringAttr(parser.parse_identifier())
            words: list[Attribute] = []
            for key in ("special", "tie"):
                parser.parse_punctuation(",")
                parser.parse_keyword(key)
                parser.parse_punctuation("=")
                words.append(StringAttr(parser.parse_identifier()))
            parser.parse_punctuation(",")
            parser.parse_keyword("min_scale_byte")
            parser.parse_punctuation("=")
            return [rule, *words, IntAttr(parser.parse_integer())]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(
                f"{self.rule.data}, special = {self.special.data}, tie = {self.tie.data}, "
                f"min_scale_byte = {self.min_scale_byte.data}"
            )
