"""Operation classes made from the operator schemas of `onnx.defs`, each at its first use."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from onnx import AttributeProto, defs
from onnx.defs import OpSchema
from typing_extensions import TypeVar
from xdsl.dialects.builtin import ComplexType, TensorType, f32, f64
from xdsl.ir import Attribute, Dialect, Operation
from xdsl.irdl import (
    AnyAttr,
    AttrConstraint,
    AttrSizedOperandSegments,
    AttrSizedResultSegments,
    IntConstraint,
    ParamAttrConstraint,
    RangeOf,
    VarConstraint,
    VerificationContext,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    opt_result_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from mxc.dialects.onnx import attributes
from mxc.dialects.types import element_type

if TYPE_CHECKING:
    from mxc.dialects.onnx.ops import OnnxOp

Option = OpSchema.FormalParameterOption

IMPURE = frozenset(
    [
        "Bernoulli",
        "Dropout",
        "If",
        "Loop",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Scan",
        "SequenceMap",
    ]
)
"""Operators whose result is random, or whose body may be: never merged. All others are `Pure`."""


@dataclass(frozen=True)
class OneOf(AttrConstraint):
    """One of the given types."""

    types: tuple[Attribute, ...]

    def verify(self, attr: Attribute, constraint_context: VerificationContext) -> None:
        if attr not in self.types:
            raise VerifyException(f"{attr} is not one of {', '.join(map(str, self.types))}")

    def mapping_type_vars(
        self, type_var_mapping: Mapping[TypeVar, AttrConstraint | IntConstraint]
    ) -> AttrConstraint:
        return self


_GRAPH = OpSchema.AttrType.GRAPH
_DEFINE = {
    Option.Single: (operand_def, result_def),
    Option.Optional: (opt_operand_def, opt_result_def),
    Option.Variadic: (var_operand_def, var_result_def),
}


@cache
def op_types() -> tuple[str, ...]:
    """The operators of the default domain that the newest opset has, sorted."""
    schemas = defs.get_all_schemas()
    return tuple(sorted(s.name for s in schemas if not s.domain and not s.deprecated))


@cache
def newest(op_type: str) -> OpSchema:
    """The newest schema of an operator of the default domain.

    Raises:
        KeyError: if there is none.
    """
    if op_type not in op_types():
        raise KeyError(op_type)
    return defs.get_schema(op_type)


@cache
def default(op_type: str, name: str) -> Any:
    """The schema's default for attribute `name`, None if it has none; KeyError if it is unknown."""
    value: AttributeProto = newest(op_type).attributes[name].default_value
    return attributes.proto_value(value) if value.type != AttributeProto.UNDEFINED else None


def graph_attributes(schema: OpSchema) -> list[str]:
    """The attributes that hold graphs: regions of the operation."""
    return sorted(name for name, a in schema.attributes.items() if a.type == _GRAPH)


@cache
def op_class(op_type: str) -> type[OnnxOp]:
    """The operation class of an ONNX operator, `op_class("MatMul")`; KeyError if there is none."""
    from mxc.dialects.onnx.ops import OnnxOp

    schema = newest(op_type)
    fields = dict(_fields(schema))
    if not graph_attributes(schema):
        return irdl_op_definition(type(f"{op_type}Op", (OnnxOp,), fields))
    fields["print"] = Operation.print  # regions print in the generic form
    return irdl_op_definition(type(f"{op_type}Op", (OnnxOp,), fields))


def _fields(schema: OpSchema) -> Iterator[tuple[str, Any]]:
    """The class body of the operation of `schema`."""
    from mxc.dialects.onnx.ops import OnnxOp

    taken = set(dir(OnnxOp))
    yield "name", f"onnx.{schema.name}"
    yield "__doc__", schema.doc
    yield "__module__", __name__
    constraints = {c.type_param_str: tuple(c.allowed_type_strs) for c in schema.type_constraints}
    for side, formals in enumerate((schema.inputs, schema.outputs)):
        for formal in formals:
            constraint: Any = _formal_constraint(formal, constraints)
            if formal.option != Option.Single:
                constraint = RangeOf(constraint)
            yield _unused(formal.name, taken), _DEFINE[formal.option][side](constraint)
    for name, attribute in sorted(schema.attributes.items()):
        if attribute.type == _GRAPH:
            yield _unused(name, taken), region_def()
            continue
        define = prop_def if attribute.required else opt_prop_def
        constraint = attributes.constraint(attribute.type)
        yield _unused(name, taken), define(constraint, prop_name=name)
    yield "irdl_options", tuple(_options(schema))
    if schema.name not in IMPURE:
        yield "traits", traits_def(Pure())


def _unused(name: str, taken: set[str]) -> str:
    """`name` as a Python attribute that clashes with none in `taken`, which it joins."""
    while name in taken or keyword.iskeyword(name):
        name += "_"
    taken.add(name)
    return name


def _options(schema: OpSchema) -> Iterator[Any]:
    if _needs_sizes(schema.inputs):
        yield AttrSizedOperandSegments(as_property=True)
    if _needs_sizes(schema.outputs):
        yield AttrSizedResultSegments(as_property=True)


def _needs_sizes(formals: Iterable[Any]) -> bool:
    """Whether anything but the last formal may be absent or repeated."""
    return any(formal.option != Option.Single for formal in list(formals)[:-1])


def _formal_constraint(formal: Any, constraints: dict[str, tuple[str, ...]]) -> AttrConstraint:
    """The types of an operand or result; equal type variables mean equal element types."""
    elements = _elements(constraints.get(formal.type_str, (formal.type_str,)))
    if elements is None:
        return AnyAttr()
    if formal.type_str in constraints and formal.is_homogeneous:
        elements = VarConstraint(formal.type_str, elements)
    return ParamAttrConstraint.get(TensorType, None, elements, AnyAttr())


@cache
def _elements(names: tuple[str, ...]) -> AttrConstraint | None:
    """The element types of `tensor(float)`, ...; None if something else than tensors is allowed.

    Strings have no type in the IR and are left out.
    """
    if not all(name.startswith("tensor(") for name in names):
        return None
    known = [_TYPES[name] for name in names if name != "tensor(string)"]
    return OneOf(tuple(known)) if known else None


def _types() -> Iterator[tuple[str, Attribute]]:
    from onnx import TensorProto, helper

    for name, number in TensorProto.DataType.items():
        if name in ("UNDEFINED", "STRING", "COMPLEX64", "COMPLEX128"):
            continue
        yield f"tensor({name.lower()})", element_type(helper.tensor_dtype_to_np_dtype(number))
    yield "tensor(complex64)", ComplexType(f32)
    yield "tensor(complex128)", ComplexType(f64)


_TYPES: dict[str, Attribute] = dict(_types())


class _OnnxDialect(Dialect):
    """Builds its operations when they are first asked for."""

    @property
    def operations(self) -> Iterator[type[Operation]]:
        return (op_class(op_type) for op_type in op_types())


ONNX = _OnnxDialect("onnx")
