"""`mx-quantize`: which contractions become MX, by policy; no block shapes yet.

    %y = onnx.Gemm(%x, %w, %b) <{transB = 1 : i64}>

becomes

    %t = onnx.Transpose(%w) <{perm = [1, 0]}>
    %m = mx.matmul %x, %t {lhs_as = "mxfp8_e4m3", rhs_as = "mxfp8_e4m3", ...}
    %y = onnx.Add(%m, %b)

Every float MatMul, Gemm and Conv becomes an `mx` contraction, so that from here on there is one way
to write them; those that the policy leaves alone (format `f32`) carry no marks. The policy: weights
(constants) and activations each have a format; convolutions with fewer than 16 channels per group
(depthwise ones, stems on images) stay float, because a block would hold next to nothing, and so do
grouped ones whose groups are no whole blocks; rules
from a file override both per node.

Marks are requests: `mx-layout` chooses the blocks and quantises. NVFP4 operands are divided by
their tensor scale first (`mxc.passes._tensor_scale`); bf16 and f16 operands are rounded here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    ModuleOp,
    StringAttr,
    TensorType,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from mxc.constants import ConstantTable
from mxc.dialects.location import node_names
from mxc.dialects.mx import (
    ConstantOp,
    Contraction,
    ConvOp,
    DequantizeOp,
    MatMulOp,
    RecipeAttr,
    TransposeOp,
    block_of,
)
from mxc.dialects.onnx import OnnxOp, op_class
from mxc.dialects.types import element_of, shape_of, tensor_type
from mxc.errors import BadInput, CannotLower
from mxc.numerics import FORMATS, default_recipe, quantize
from mxc.passes._formats import compiled_format, round_plain_operands
from mxc.passes._tensor_scale import TensorScales

MIN_CHANNELS = 16
"""Convolutions with fewer channels per group stay float."""

BLOCK = 32
"""Of grouped convolutions, those whose groups are no whole blocks stay float."""

FLOATS = (Float32Type, Float16Type, BFloat16Type)
_RULE_KEYS = {"node", "weights", "activations", "scale_rule"}


@dataclass(frozen=True)
class Rule:
    """Formats for the nodes whose name matches `node`, a shell pattern; None keeps the default."""

    node: str
    weights: str | None = None
    activations: str | None = None
    scale_rule: str | None = None


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a TOML file: `[[rule]]` tables with `node` and what it overrides.

    Raises:
        BadInput: if the file is missing, no TOML, or has keys or formats that do not exist.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", at=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"is no TOML: {error}", at=str(path)) from None
    rules: Any = tables.pop("rule", [])
    if tables or not isinstance(rules, list):
        raise BadInput(
            f"unknown keys {', '.join(tables)}", at=str(path), hint="write [[rule]] tables"
        )
    return tuple(_rule(table, path) for table in rules)  # pyright: ignore


def _rule(table: Mapping[str, Any], path: Path) -> Rule:
    unknown = sorted(set(table) - _RULE_KEYS)
    if unknown or "node" not in table:
        what = f"unknown key '{unknown[0]}' in a rule" if unknown else "a rule has no 'node'"
        raise BadInput(what, at=str(path), hint=f"keys are {', '.join(sorted(_RULE_KEYS))}")
    rule = Rule(**{key: str(value) for key, value in table.items()})
    for name in (rule.weights, rule.activations):
        if name is not None:
            compiled_format(name)
    return rule


@dataclass(frozen=True)
class Policy:
    """The formats of weights and activations for every node."""

    weights: str
    activations: str
    scale_rule: str
    rules: tuple[Rule, ...] = ()
    used: set[Rule] = field(default_factory=set[Rule])

    def of(self, op: Operation) -> tuple[str, str, str]:
        """(weights, activations, scale rule) for the node of `op`; later rules win."""
        weights, activations, scale = self.weights, self.activations, self.scale_rule
        for rule in self.rules:
            if any(fnmatchcase(name, rule.node) for name in node_names(op)):
                self.used.add(rule)
                weights = rule.weights or weights
                activations = rule.activations or activations
                scale = rule.scale_rule or scale
        return compiled_format(weights), compiled_format(activations), scale


def recipe_attr(format: str, scale_rule: str) -> RecipeAttr:
    """The recipe of `format` as an attribute, with `scale_rule` unless that is `default`."""
    rule = None if scale_rule == "default" else scale_rule
    recipe = default_recipe(FORMATS[format], rule)
    smallest = recipe.min_scale_byte
    if recipe.min_amax:  # a floor under amax is one under the scale: it grows with amax
        least = quantize(np.array([recipe.min_amax], np.float32), format, recipe=recipe)
        smallest = max(smallest, int(least.scales.reshape(-1)[0]))
    return RecipeAttr(recipe.scale_rule, recipe.special, recipe.tie, smallest)


def _marks(op: Operation, lhs: SSAValue, rhs: SSAValue, policy: Policy) -> dict[str, Attribute]:
    """The formats that the policy wants for the float operands of the contraction `op`."""
    weights, activations, scale = policy.of(op)
    marks: dict[str, Attribute] = {}
    for side, value in (("lhs", lhs), ("rhs", rhs)):
        format = weights if isinstance(value.owner, ConstantOp) else activations
        if format != "f32" and block_of(value.type) is None:
            marks[f"{side}_as"] = StringAttr(format)
            marks[f"{side}_recipe"] = recipe_attr(format, scale)
    return marks


class _Rewrite:
    """The rewriting of one contraction, in place."""

    def __init__(self, op: OnnxOp, constants: ConstantTable, policy: Policy) -> None:
        self.op = op
        self.constants = constants
        self.policy = policy

    def insert(self, op: Operation) -> SSAValue:
        """Inserts `op` before the node, with its location."""
        op.location = self.op.location
        Rewriter.insert_op(op, InsertPoint.before(self.op))
        return op.results[0]

    def node(
        self, kind: str, inputs: Sequence[SSAValue], type: Attribute, **attrs: Any
    ) -> SSAValue:
        """An ONNX node with one result."""
        return self.insert(op_class(kind).create_node(inputs, [type], attrs))

    def constant(self, array: Any) -> SSAValue:
        """An array as a constant."""
        return self.insert(ConstantOp(self.constants.add(array), tensor_type(array)))

    def reshape(self, x: SSAValue, shape: Sequence[int]) -> SSAValue:
        """`x` under another shape; a constant is reshaped here and now."""
        if shape_of(x) == tuple(shape):
            return x
        if isinstance(x.owner, ConstantOp):
            return self.constant(self.constants[x.owner.key].reshape(shape))
        target = self.constant(np.array(shape, np.int64))
        return self.node("Reshape", [x, target], TensorType(element_of(x), shape))

    def transpose(self, x: SSAValue) -> SSAValue:
        """The last two axes of `x` exchanged; a constant is transposed here and now."""
        shape = shape_of(x)
        permutation = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        if isinstance(x.owner, ConstantOp):
            return self.constant(self.constants[x.owner.key].transpose(permutation))
        result = TensorType(element_of(x), [shape[p] for p in permutation])
        return self.node("Transpose", [x], result, perm=permutation)

    def cast(self, x: SSAValue, element: Attribute) -> SSAValue:
        """`x` as `element`."""
        if element_of(x) == element:
            return x
        code = _ONNX_FLOATS[type(element)]
        return self.node("Cast", [x], TensorType(element, shape_of(x)), to=code)

    def contract(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """The product of `a` and `b`, of their blocks where they have some along k."""
        a = blocks_of(a, len(shape_of(a)) - 1, self.op)
        b = blocks_of(b, len(shape_of(b)) - 2, self.op)
        marks = _marks(self.op, a, b, self.policy)
        return self.insert(MatMulOp(a, b, _contract(a, b), marks))

    def done(self, value: SSAValue) -> None:
        """`value` takes the place of the node's result."""
        Rewriter.replace_op(self.op, [], [value])

    def error(self, message: str) -> CannotLower:
        """An error that names the node."""
        at = f"node '{', '.join(node_names(self.op))}' ({self.op.op_type})"
        return CannotLower(message, at=at)


_ONNX_FLOATS: dict[type[Attribute], int] = {Float32Type: 1, Float16Type: 10, BFloat16Type: 16}


def blocks_of(value: SSAValue, axis: int, user: Operation) -> SSAValue:
    """The blocks behind a dequantised `value`, if they lie along `axis`; else `value`.

    Transposes in between are made on the codes.
    """
    path: list[Sequence[int]] = []
    root = value
    while isinstance(root.owner, OnnxOp) and root.owner.op_type == "Transpose":
        source = root.owner.inputs[0]
        assert source is not None
        path.append(root.owner.attr("perm") or list(reversed(range(len(shape_of(source))))))
        axis = path[-1][axis]
        root = source
    if not isinstance(root.owner, DequantizeOp):
        return value
    blocks = root.owner.input
    block = block_of(blocks.type)
    if block is None or block.shape[axis] == 1:
        return value
    for permutation in reversed(path):
        transpose = TransposeOp(blocks, permutation)
        transpose.location = user.location
        Rewriter.insert_op(transpose, InsertPoint.before(user))
        blocks = transpose.output
    return blocks


def _contract(a: SSAValue, b: SSAValue) -> str:
    blocks = block_of(a.type) is not None and block_of(b.type) is not None
    return "block-exact" if blocks else "sequential"


def _matmul(rw: _Rewrite) -> None:
    a, b = rw.op.inputs
    assert a is not None
    assert b is not None
    output = rw.op.results[0]
    left, right = shape_of(a), shape_of(b)
    a = rw.reshape(a, (1, *left)) if len(left) == 1 else a
    b = rw.reshape(b, (*right, 1)) if len(right) == 1 else b
    y = rw.contract(a, b)
    rw.done(rw.cast(rw.reshape(y, shape_of(output)), element_of(output)))


def _gemm(rw: _Rewrite) -> None:
    a, b = rw.op.inputs[:2]
    bias = rw.op.inputs[2] if len(rw.op.inputs) > 2 else None
    assert a is not None
    assert b is not None
    element = element_of(rw.op.results[0])
    a = rw.transpose(a) if rw.op.attr("transA") else a
    b = rw.transpose(b) if rw.op.attr("transB") else b
    y = rw.contract(a, b)
    y = _scaled(rw, y, rw.op.attr("alpha"))
    if bias is not None:
        bias = _scaled(rw, rw.cast(bias, element_of(y)), rw.op.attr("beta"))
        y = rw.node("Add", [y, bias], y.type)
    rw.done(rw.cast(y, element))


def _scaled(rw: _Rewrite, x: SSAValue, factor: float) -> SSAValue:
    if factor == 1.0:
        return x
    return rw.node("Mul", [x, rw.constant(np.array(factor, np.float32))], x.type)


def _conv(rw: _Rewrite) -> None:
    x, w = rw.op.inputs[:2]
    bias = rw.op.inputs[2] if len(rw.op.inputs) > 2 else None
    assert x is not None
    assert w is not None
    output = rw.op.results[0]
    strides, pads, dilations = conv_geometry(rw.op, shape_of(x)[2:], shape_of(w)[2:])
    x, w = blocks_of(x, 1, rw.op), blocks_of(w, 1, rw.op)
    groups, channels = int(rw.op.attr("group")), shape_of(w)[1]
    blocked = channels >= MIN_CHANNELS and (groups == 1 or channels % BLOCK == 0)
    marks = _marks(rw.op, x, w, rw.policy) if blocked else {}
    conv = ConvOp(x, w, strides=strides, pads=pads, dilations=dilations, groups=groups, marks=marks)
    if shape_of(conv.output) != shape_of(output):
        raise rw.error(f"declares {shape_of(output)} but computes {shape_of(conv.output)}")
    y = rw.insert(conv)
    if bias is not None:
        bias = rw.cast(bias, element_of(y))
        bias = rw.reshape(bias, (shape_of(bias)[0], *[1] * (len(shape_of(x)) - 2)))
        y = rw.node("Add", [y, bias], y.type)
    rw.done(rw.cast(y, element_of(output)))


def conv_geometry(
    op: OnnxOp, spatial: Sequence[int], kernel: Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    """(strides, pads, dilations) of a Conv-like node, with `auto_pad` worked out."""
    rank = len(spatial)
    strides = [int(v) for v in op.attr("strides") or [1] * rank]
    dilations = [int(v) for v in op.attr("dilations") or [1] * rank]
    mode = op.attr("auto_pad")
    if mode == "NOTSET":
        return strides, [int(v) for v in op.attr("pads") or [0] * (2 * rank)], dilations
    before, after = [0] * rank, [0] * rank
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        for i in range(rank):
            extent = (kernel[i] - 1) * dilations[i] + 1
            out = -(-spatial[i] // strides[i])
            total = max(0, (out - 1) * strides[i] + extent - spatial[i])
            small, large = total // 2, total - total // 2
            before[i], after[i] = (small, large) if mode == "SAME_UPPER" else (large, small)
    return strides, before + after, dilations


REWRITES = {"MatMul": _matmul, "Gemm": _gemm, "Conv": _conv}


def _contracts_floats(op: Operation) -> bool:
    return (
        isinstance(op, OnnxOp)
        and op.op_type in REWRITES
        and isinstance(element_of(op.results[0]), FLOATS)
    )


@dataclass(frozen=True)
class MxQuantizePass(ModulePass):
    """Turns float contractions into mx operations and marks which operands become MX."""

    name = "mx-quantize"
    weights: str = "mxfp8_e4m3"
    activations: str = "mxfp8_e4m3"
    scale_rule: str = "default"
    config: str = ""
    """A TOML file of rules, see `read_rules`; empty for none."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rules = read_rules(Path(self.config)) if self.config else ()
        policy = Policy(self.weights, self.activations, self.scale_rule, rules)
        constants = ConstantTable.of(ctx)
        for function in op.ops:
            if isinstance(function, FuncOp):
                for inner in [*function.body.walk()]:
                    if isinstance(inner, OnnxOp) and _contracts_floats(inner):
                        REWRITES[inner.op_type](_Rewrite(inner, constants, policy))
                    elif isinstance(inner, Contraction):
                        inner.properties.update(_marks(inner, inner.lhs, inner.rhs, policy))
                scales = TensorScales(constants)
                for inner in [*function.body.walk()]:
                    if isinstance(inner, Contraction):
                        round_plain_operands(inner, constants)
                        scales.apply(inner)
        for rule in rules:
            if rule not in policy.used:
                raise BadInput(
                    f"rule for node '{rule.node}' matches no contraction",
                    at=self.config,
                    hint="names are those of MatMul, Gemm and Conv nodes; * and ? are wildcards",
                )
