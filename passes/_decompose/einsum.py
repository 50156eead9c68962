"""Einsum as diagonals, sums, and one MatMul per pair of operands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from xdsl.ir import SSAValue

from mxc.dialects.onnx import OnnxOp
from mxc.dialects.onnx.build import Graph
from mxc.dialects.types import shape_of
from mxc.errors import CannotLower


@dataclass(frozen=True)
class Term:
    """A tensor with one label per axis."""

    value: SSAValue
    labels: tuple[str, ...]

    @property
    def sizes(self) -> dict[str, int]:
        """The size of every label's axis."""
        return dict(zip(self.labels, shape_of(self.value), strict=True))


def einsum(g: Graph, op: OnnxOp) -> list[SSAValue]:
    """The sum of products that the equation writes; pairs are taken from the left."""
    values = list(op.operands)
    inputs, output = parse(str(op.attr("equation")), [len(shape_of(v)) for v in values])
    terms = [_diagonals(g, Term(v, tuple(row))) for v, row in zip(values, inputs, strict=True)]
    total = terms[0]
    for i, term in enumerate(terms[1:]):
        later = {label for rest in terms[i + 2 :] for label in rest.labels} | set(output)
        total = _product(g, _summed(g, total, later | set(term.labels)), term, later)
    total = _summed(g, total, set(output))
    return [_arranged(g, total, output)]


def parse(equation: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """The labels of every operand and of the output; an ellipsis becomes labels of its own.

    Raises:
        CannotLower: if the equation does not fit operands of these ranks.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks):
        raise CannotLower(f"equation '{equation}' does not have {len(ranks)} operands")
    hidden = [rank - len(t.replace("...", "")) for t, rank in zip(texts, ranks, strict=True)]
    widest = max([0, *(n for t, n in zip(texts, hidden, strict=True) if "..." in t)])
    rows = [_labels(text, count, widest) for text, count in zip(texts, hidden, strict=True)]
    if any(len(row) != rank for row, rank in zip(rows, ranks, strict=True)):
        raise CannotLower(f"equation '{equation}' does not fit operands of ranks {list(ranks)}")
    if arrow:
        return rows, _labels(right, widest, widest)
    every = [label for row in rows for label in row if not label.startswith(".")]
    once = sorted(label for label in every if every.count(label) == 1)
    return rows, [f".{i}" for i in range(widest)] + once


def _labels(text: str, count: int, widest: int) -> list[str]:
    """The labels in `text`; `...` stands for the last `count` of the ellipsis' labels."""
    if "..." not in text:
        return list(text)
    before, _, after = text.partition("...")
    return [*before, *(f".{i}" for i in range(widest - count, widest)), *after]


def _diagonals(g: Graph, term: Term) -> Term:
    """`term` with one axis for each label."""
    labels = term.labels
    for label in labels:
        if labels.count(label) < 2:
            continue
        first = labels.index(label)
        second = labels.index(label, first + 1)
        rest = [i for i in range(len(labels)) if i not in (first, second)]
        value = g.transpose(term.value, [*rest, first, second])
        shape = shape_of(value)
        if shape[-1] != shape[-2]:
            raise CannotLower(f"label '{label}' has sizes {shape[-2]} and {shape[-1]}")
        flat = g.reshape(value, (*shape[:-2], shape[-1] ** 2))
        line = g.slice(flat, len(rest), 0, shape[-1] ** 2, shape[-1] + 1)
        return _diagonals(g, Term(line, (*(labels[i] for i in rest), label)))
    return term


def _summed(g: Graph, term: Term, keep: set[str]) -> Term:
    """`term` summed over the labels that nobody needs."""
    axes = [i for i, label in enumerate(term.labels) if label not in keep]
    value = g.reduce("ReduceSum", term.value, axes, keep=False)
    return Term(value, tuple(label for label in term.labels if label in keep))


def _arranged(g: Graph, term: Term, labels: Sequence[str]) -> SSAValue:
    """`term` with its axes in the order of `labels`."""
    if sorted(labels) != sorted(term.labels):
        raise CannotLower(f"the output's labels {list(labels)} are not those of the operands")
    return g.transpose(term.value, [term.labels.index(label) for label in labels])


def _without_ones(g: Graph, term: Term, other: Term) -> Term:
    """`term` without axes of size 1 whose label `other` has with more."""
    theirs = other.sizes
    drop = [x for x, n in term.sizes.items() if n == 1 and theirs.get(x, 1) != 1]
    keep = tuple(label for label in term.labels if label not in drop)
    return Term(g.reshape(term.value, [term.sizes[label] for label in keep]), keep)


def _product(g: Graph, a: Term, b: Term, later: set[str]) -> Term:
    """The product of two terms, summed over the labels that only they have."""
    b = _summed(g, b, later | set(a.labels))
    a, b = _without_ones(g, a, b), _without_ones(g, b, a)
    a, b = _summed(g, a, later | set(b.labels)), _summed(g, b, later | set(a.labels))
    common = [label for label in a.labels if label in b.labels]
    for label in common:
        if a.sizes[label] != b.sizes[label]:
            raise CannotLower(f"label '{label}' has sizes {a.sizes[label]} and {b.sizes[label]}")
    batch = [label for label in common if label in later]
    summed = [label for label in common if label not in later]
    rows = [label for label in a.labels if label not in common]
    columns = [label for label in b.labels if label not in common]
    sizes = {**a.sizes, **b.sizes}
    shape = [prod(sizes[x] for x in group) for group in (rows, summed, columns)]
    lead = [sizes[x] for x in batch]
    left = g.reshape(_arranged(g, a, batch + rows + summed), (*lead, shape[0], shape[1]))
    right = g.reshape(_arranged(g, b, batch + summed + columns), (*lead, shape[1], shape[2]))
    value = g.matmul(left, right) if summed else g.mul(left, right)
    labels = (*batch, *rows, *columns)
    return Term(g.reshape(value, [sizes[x] for x in labels]), labels)
