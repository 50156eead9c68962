"""The base class of the operations of the `onnx` dialect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, cast

from onnx.defs import OpSchema
from xdsl.ir import Attribute, OpResult, Region, SSAValue
from xdsl.irdl import AttrSizedOperandSegments, AttrSizedResultSegments, IRDLOperation
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from mxc.dialects.onnx import attributes, schema

Option = OpSchema.FormalParameterOption
OPERAND_SIZES = AttrSizedOperandSegments.attribute_name
RESULT_SIZES = AttrSizedResultSegments.attribute_name


class OnnxOp(IRDLOperation):
    """An ONNX node: operands, results and attributes as its schema names them.

        %y = onnx.Conv(%x, %w, none) <{group = 2 : i64}> : (tensor<...>, tensor<...>) -> tensor<...>

    An omitted optional input or output is written `none`.
    """

    @property
    def op_type(self) -> str:
        """The name of the ONNX operator, `Conv`."""
        return self.name.removeprefix("onnx.")

    @property
    def schema(self) -> OpSchema:
        """The newest schema of the operator."""
        return schema.newest(self.op_type)

    @property
    def inputs(self) -> list[SSAValue | None]:
        """As in the NodeProto: None where an optional input is omitted, none of them at the end."""
        groups = _groups(self.schema.inputs, self.operands, self.properties.get(OPERAND_SIZES))
        return _trimmed(groups)

    @property
    def outputs(self) -> list[OpResult | None]:
        """As in the NodeProto: None where an output is omitted, none of them at the end."""
        groups = _groups(self.schema.outputs, self.results, self.properties.get(RESULT_SIZES))
        return cast("list[OpResult | None]", _trimmed(groups))

    def attr(self, name: str) -> Any:
        """The value of attribute `name`, else the schema's default, else None.

        Raises:
            KeyError: if the operator has no such attribute.
        """
        given = self.properties.get(name)
        if given is not None:
            return attributes.to_python(given)
        return schema.default(self.op_type, name)

    def given_attrs(self) -> dict[str, Any]:
        """The attributes that are written on the operation, without defaults."""
        known = self.schema.attributes
        return {k: attributes.to_python(v) for k, v in self.properties.items() if k in known}

    @classmethod
    def create_node(
        cls,
        inputs: Sequence[SSAValue | None],
        result_types: Sequence[Attribute | None],
        attrs: Mapping[str, Any] | None = None,
    ) -> Self:
        """The operation as a NodeProto would state it: None for what is omitted.

        Graph attributes are given as `Region`s.
        """
        known = schema.newest(cls.name.removeprefix("onnx."))
        attrs = attrs or {}
        properties = {
            name: attributes.to_ir(known.attributes[name].type, value)
            for name, value in attrs.items()
            if not isinstance(value, Region)
        }
        regions = [attrs[name] for name in schema.graph_attributes(known) if name in attrs]
        return cls.build(
            operands=_grouped(known.inputs, inputs),
            result_types=_grouped(known.outputs, result_types),
            properties=properties,
            regions=regions,
        )

    def print(self, printer: Printer) -> None:
        printer.print_string("(")
        printer.print_list(self.inputs, lambda value: _print_value(printer, value))
        printer.print_string(")")
        known = self.schema.attributes
        properties = {k: v for k, v in self.properties.items() if k in known}
        if properties:
            printer.print_string(" <")
            printer.print_attr_dict(properties)
            printer.print_string(">")
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : (")
        printer.print_list(self.operands, lambda value: printer.print_attribute(value.type))
        printer.print_string(") -> ")
        outputs = self.outputs
        printer.print_string("(" if len(outputs) != 1 else "")
        printer.print_list(outputs, lambda value: _print_type(printer, value))
        printer.print_string(")" if len(outputs) != 1 else "")

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        names = parser.parse_comma_separated_list(
            parser.Delimiter.PAREN,
            lambda: (
                None if parser.parse_optional_keyword("none") else parser.parse_unresolved_operand()
            ),
        )
        properties = parser.parse_optional_properties_dict()
        extra = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        position = parser.pos
        types = parser.parse_comma_separated_list(parser.Delimiter.PAREN, parser.parse_type)
        parser.parse_punctuation("->")
        results: list[Attribute | None] | None = parser.parse_optional_comma_separated_list(
            parser.Delimiter.PAREN,
            lambda: None if parser.parse_optional_keyword("none") else parser.parse_type(),
        )
        given = [name for name in names if name is not None]
        values = iter(parser.resolve_operands(given, types, position))
        operands = [None if name is None else next(values) for name in names]
        try:
            op = cls.create_node(operands, [parser.parse_type()] if results is None else results)
        except (ValueError, VerifyException) as error:
            parser.raise_error(str(error), position)
        op.properties.update(properties)
        op.attributes.update(extra)
        return op


def _groups(
    formals: Sequence[Any], values: Sequence[SSAValue], sizes: Attribute | None
) -> Iterator[SSAValue | None]:
    """The values in schema order, None where an optional one is omitted."""
    if sizes is None:  # only the last formal may be optional or variadic
        yield from values
        return
    remaining = iter(values)
    for formal, size in zip(formals, attributes.to_python(sizes), strict=True):
        if formal.option == Option.Optional and size == 0:
            yield None
        for _ in range(size):
            yield next(remaining)


def _trimmed(values: Iterator[SSAValue | None]) -> list[SSAValue | None]:
    result = list(values)
    while result and result[-1] is None:
        result.pop()
    return result


def _grouped(formals: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """One entry per formal parameter, as `IRDLOperation.build` takes them."""
    groups: list[Any] = []
    for index, formal in enumerate(formals):
        if formal.option == Option.Variadic:
            groups.append([value for value in values[index:] if value is not None])
        else:
            value = values[index] if index < len(values) else None
            if value is None and formal.option == Option.Single:
                raise ValueError(f"'{formal.name}' must be given")
            groups.append(value)
    if len(values) > len(formals) and not (formals and formals[-1].option == Option.Variadic):
        raise ValueError(f"{len(values)} values given where {len(formals)} are known")
    return groups


def _print_value(printer: Printer, value: SSAValue | None) -> None:
    if value is None:
        printer.print_string("none")
    else:
        printer.print_ssa_value(value)


def _print_type(printer: Printer, value: SSAValue | None) -> None:
    if value is None:
        printer.print_string("none")
    else:
        printer.print_attribute(value.type)
