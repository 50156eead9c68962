"""The walk over the nodes: resolves, upgrades, inlines, evaluates, and keeps what is left.

The result is a flat list of nodes in the newest opset's terms. Values are objects, not names, so
that inlining functions, branches and loop bodies needs no renaming.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, defs

from mxc.dialects.onnx import attributes, schema
from mxc.errors import ImportFailed, MxcError
from mxc.importer import control, fold, infer, microsoft, upgrades
from mxc.importer.checks import check
from mxc.importer.consistency import check_types
from mxc.importer.functions import schema_function, without_omitted
from mxc.importer.load import DEFAULT_DOMAINS, Model, default_opset
from mxc.importer.order import in_order, used_names
from mxc.importer.tensors import TensorReader
from mxc.importer.values import Array, Call, Item, Node, Scope, Value

Option = defs.OpSchema.FormalParameterOption

MAX_STEPS = 250_000
"""More nodes than this, counting each time a node of a function or loop is met, are an error."""

MAX_DEPTH = 50
"""How deep functions and control flow may be nested."""

EXPANDED = frozenset(
    [
        "BlackmanWindow",
        "CenterCropPad",
        "HammingWindow",
        "HannWindow",
        "MeanVarianceNormalization",
        "NegativeLogLikelihoodLoss",
        "SoftmaxCrossEntropyLoss",
    ]
)
"""Operators replaced by their function body when nobody says what has a lowering."""

ALIASES = {
    ("com.microsoft", "DequantizeLinear"): ("DequantizeLinear", 21),
    ("com.microsoft", "QuantizeLinear"): ("QuantizeLinear", 21),
}
"""Operators of other domains that mean exactly an operator of the default domain, and its opset."""


def default_has_lowering(op_type: str) -> bool:
    """All but `EXPANDED`."""
    return op_type not in EXPANDED


class Tracer:
    """Walks graphs and collects the nodes that remain."""

    def __init__(self, model: Model, has_lowering: Callable[[str], bool]) -> None:
        self.model = model
        self.reader = TensorReader(model.folder)
        self.has_lowering = has_lowering
        self.nodes: list[Node] = []
        self._functions: list[tuple[str, str]] = []
        self._steps = 0
        self._used = set(used_names(model.graph.node))
        self._used.update(output.name for output in model.graph.output)
        for function in model.functions.values():
            self._used.update(used_names(function.node))
            self._used.update(function.output)

    def graph(self, graph: GraphProto, scope: Scope) -> None:
        """Walks `graph`, whose inputs are in `scope`; its values are in `scope` afterwards."""
        if scope.depth > MAX_DEPTH:
            raise ImportFailed(f"control flow is nested more than {MAX_DEPTH} deep")
        for tensor in graph.initializer:
            if tensor.name not in scope.values:
                scope.values[tensor.name] = self.constant(self.reader.read(tensor), tensor.name)
        if graph.sparse_initializer:
            raise ImportFailed("sparse initializers are not supported", hint="store them densely")
        self.body(graph.node, scope)

    def body(self, nodes: Sequence[NodeProto], scope: Scope) -> None:
        """Walks nodes, reordering them if they are not in topological order."""
        for index, proto in in_order(nodes, lambda name: scope.find(name) is not None):
            self._node(proto, scope, index)

    def constant(self, array: Array, name: str = "") -> Value:
        """`array` as a value."""
        return Value(name, array.dtype, array.shape, const=array)

    def _node(self, proto: NodeProto, scope: Scope, index: int) -> None:
        name = f"{scope.prefix}{proto.name or f'{proto.op_type}_{index}'}"
        call = Call(proto.op_type, [], {}, list(proto.output), name, scope=scope)
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise call.fail(f"the model has more than {MAX_STEPS} nodes, loops unrolled")
        try:
            call.inputs = [self._lookup(n, scope) if n else None for n in proto.input]
            call.attrs = dict(self._attributes(proto, scope))
            results = self._dispatch(proto, call)
        except MxcError as error:
            raise error if error.at else error.within(call.place) from error.__cause__
        except RecursionError:
            raise
        except Exception as error:  # damaged models fail in ways no rule foresees
            raise call.fail(
                f"it cannot be understood: {type(error).__name__}: {error}", "is the model valid?"
            ) from error
        for output, value in zip(proto.output, results, strict=False):
            if output and (value is not None or output in self._used):
                self._define(output, value, scope, call)

    def _lookup(self, name: str, scope: Scope) -> Item:
        value = scope.find(name)
        if value is None:
            raise ImportFailed(f"its input '{name}' is not defined by any node, input or weight")
        return value

    def _define(self, name: str, value: Item | None, scope: Scope, call: Call) -> None:
        if name in scope.values:
            raise call.fail(f"its output '{name}' is defined twice")
        if value is None:
            raise call.fail(f"its output '{name}' is not supported")
        if isinstance(value, Value) and not value.name:
            value.name = name
        scope.values[name] = value

    def _attributes(self, proto: NodeProto, scope: Scope) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        for attribute in proto.attribute:
            if attribute.ref_attr_name:
                given = (scope.attrs or {}).get(attribute.ref_attr_name)
                if given is not None:
                    found.append((attribute.name, given))
            elif attribute.type == AttributeProto.TENSOR:
                found.append((attribute.name, self.reader.read(attribute.t)))
            elif attribute.type in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS):
                raise ImportFailed("sparse tensors are not supported", hint="store them densely")
            else:
                found.append((attribute.name, attributes.proto_value(attribute)))
        return found

    def _dispatch(self, proto: NodeProto, call: Call) -> Sequence[Item | None]:
        key = (proto.domain, proto.op_type)
        if key in self.model.functions:
            return self.function(self.model.functions[key], call, key)
        if key in microsoft.HANDLERS:
            done = microsoft.HANDLERS[key](self, call)
            assert done is not None
            return done
        if key in ALIASES:
            call.op_type, opset = ALIASES[key]
        elif proto.domain in DEFAULT_DOMAINS:
            opset = call.scope.opset
        else:
            raise call.fail(
                f"operator {proto.op_type} of domain '{proto.domain}' is not supported",
                "export without fused or vendor-specific operators",
            )
        check(call, opset)
        done = upgrades.upgrade(self, call)
        if done is not None:
            return done
        self._drop_unused(call)
        return self.emit(call)

    def _drop_unused(self, call: Call) -> None:
        """Optional outputs that nobody reads are not asked for."""
        formals = schema.newest(call.op_type).outputs
        for i, name in enumerate(call.outputs):
            formal = formals[min(i, len(formals) - 1)]
            if formal.option == Option.Optional and name not in self._used:
                call.outputs[i] = ""
        while len(call.outputs) > 1 and not call.outputs[-1]:
            call.outputs.pop()

    def function(
        self, function: FunctionProto, call: Call, key: tuple[str, str]
    ) -> list[Item | None]:
        """The outputs of a call of `function`, inlined."""
        if key in self._functions:
            raise call.fail("functions call each other without end")
        if len(self._functions) > MAX_DEPTH:
            raise call.fail(f"functions call each other more than {MAX_DEPTH} deep")
        defaults = {a.name: attributes.proto_value(a) for a in function.attribute_proto}
        opset = default_opset(function.opset_import) if function.opset_import else call.scope.opset
        scope = Scope(opset=opset, prefix=f"{call.name}/", attrs=defaults | call.attrs)
        for name, value in zip(function.input, call.inputs, strict=False):
            if value is not None:
                scope.values[name] = value
        self._functions.append(key)
        self.body(without_omitted(function, scope), scope)
        self._functions.pop()
        return [scope.find(name) for name in function.output]

    def subgraph(
        self, call: Call, attribute: str, arguments: Sequence[Any], prefix: str
    ) -> list[Any]:
        """The outputs of the graph in `attribute` of `call` for `arguments`."""
        graph: GraphProto = call.attrs[attribute]
        if len(graph.input) != len(arguments):
            raise call.fail(f"{attribute} has {len(graph.input)} inputs, not {len(arguments)}")
        scope = call.scope.nested(prefix)
        for formal, value in zip(graph.input, arguments, strict=True):
            scope.values[formal.name] = value
        self.graph(graph, scope)
        outputs = [scope.find(output.name) for output in graph.output]
        for output, value in zip(graph.output, outputs, strict=True):
            if value is None:
                raise call.fail(f"output '{output.name}' of {attribute} is not defined")
        return outputs

    def emit(self, call: Call) -> Sequence[Item | None]:
        """The outputs of a node in the newest opset's terms: evaluated, inlined or kept."""
        special = control.SPECIAL.get(call.op_type)
        if special is not None:
            done = special(self, call)
            if done is not None:
                return done
        for index, value in enumerate(call.inputs):
            if value is not None and not isinstance(value, Value):
                raise call.fail(f"input {index} is a sequence or optional, not a tensor")
        types = infer.output_types(call)
        check_types(call, types)
        constants = fold.evaluate(call, types)
        if constants is not None:
            return [None if c is None else self.constant(c) for c in constants]
        if not self.has_lowering(call.op_type):
            expanded = self._expanded(call)
            if expanded is not None:
                return expanded
        return self._kept(call, types)

    def _kept(self, call: Call, types: list[infer.Type]) -> list[Item | None]:
        node = Node(call.op_type, call.inputs, call.attrs, [], call.name)
        for name, (dtype, shape) in zip(call.outputs, types, strict=True):
            node.outputs.append(Value("", dtype, shape, node=node) if name else None)
        self.nodes.append(node)
        first = node.outputs[0] if node.outputs else None
        if first is not None:
            first.known = fold.propagate(call, types)
        return [_empty_is_constant(value) for value in node.outputs]

    def _expanded(self, call: Call) -> list[Item | None] | None:
        """The outputs of the function body in the operator's schema, None if it has none."""
        body = schema_function(call)
        if body is None:
            return None
        names = schema.newest(call.op_type).attributes
        defaults = {name: schema.default(call.op_type, name) for name in names}
        call.attrs = {k: v for k, v in defaults.items() if v is not None} | call.attrs
        return self.function(body, call, ("", call.op_type))

    def op(
        self,
        like: Call,
        op_type: str,
        inputs: Sequence[Any],
        attrs: Mapping[str, Any] | None = None,
        outputs: int = 1,
    ) -> list[Any]:
        """Emits a node made on behalf of `like`; arrays among the inputs become constants."""
        values = [
            self.constant(cast("Array", v)) if isinstance(v, np.ndarray) else v for v in inputs
        ]
        call = Call(op_type, values, dict(attrs or {}), ["y"] * outputs, like.name)
        call.scope = like.scope
        return list(self.emit(call))

    def op1(self, like: Call, op_type: str, inputs: Sequence[Any], **attrs: Any) -> Any:
        """`op` for an operator with one output."""
        return self.op(like, op_type, inputs, attrs)[0]


def _empty_is_constant(value: Value | None) -> Value | None:
    """A tensor without elements is a constant, whatever computes it."""
    if value is None or value.static_shape is None or value.dtype is None:
        return value
    if 0 in value.static_shape:
        value.const = np.empty(value.static_shape, value.dtype)
    return value
