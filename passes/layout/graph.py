"""The version graph of a problem: what can be made from what, at which cost, and who reads it.

One graph per *class* of values joined by views. Its nodes are versions, its arcs ways to make
one (all tails must exist, which is only ever more than one for a concatenation), its uses read one
node each. Node 0 is the root: it exists. A plan opens arcs; each opened arc is paid once. Nodes are
numbered so that every arc goes from lower to higher numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Tag = tuple[str, int]
"""An axis: a value and the number of its axis. Axes that views identify share one tag."""

Form = Literal["root", "load", "hp", "read", "mx"]
ArcKind = Literal[
    "given", "constant", "write", "emit", "read", "quantize", "requantize",
    "keep", "view", "load", "copy", "weaken",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """A version, or a step on the way to one.

    hp: high precision in memory. mx: quantised. read: a pass over HP that casts may share.
    load: a pass over the inputs of a copying view, which may write HP and versions.
    """

    form: Form
    value: str = ""
    """The value that names the storage: the first of those that alias it."""
    tags: tuple[Tag, ...] = ()
    """mx: the axis its blocks lie along, or the two axes of its tiles."""
    format: str = ""
    generation: int = 0
    """mx: 1 quantised from HP, 2 requantised from generation 1."""
    phase: int = 0

    def __str__(self) -> str:
        if self.form != "mx":
            return f"{self.value}:{self.form}@{self.phase}"
        axes = "x".join(_tag(tag, self.value) for tag in self.tags)
        again = "'" if self.generation == 2 else ""
        return f"{self.value}:{self.format}[{axes}]{again}@{self.phase}"


def _tag(tag: Tag, value: str) -> str:
    """The axis number; with the value it belongs to, if that is another one."""
    return str(tag[1]) if tag[0] == value else f"{tag[0]}.{tag[1]}"


@dataclass(frozen=True, slots=True)
class Arc:
    """A way to make `head` out of `tails`. Amounts are in units of 1/1024 byte."""

    kind: ArcKind
    tails: tuple[int, ...]
    head: int
    cost: int = 0
    traffic: int = 0
    saved: int = 0
    """Kept from one phase to the next."""
    stored: int = 0
    """MX bytes that come into being."""
    quantize_traffic: int = 0
    """The part of `traffic` that makes MX versions: quantises, requantises or copies them."""
    quantizes: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """A use may read `node`, if its op blocks on the op's `choice`-th axis."""

    node: int
    choice: int
    cost: int
    traffic: int = 0
    noise: int = 0
    """Elements times excess noise, times 1024."""


@dataclass(frozen=True, slots=True)
class GraphUse:
    """A read of the class: one operand of an op."""

    op: str
    operand: int
    value: str
    phase: int
    order: int
    """Position of the op in program order."""
    options: tuple[Option, ...]
    choices: int
    """Of its op; more than 1: the picks of all its operands must agree."""


@dataclass(frozen=True, eq=False)
class ClassGraph:
    """The version graph of one class."""

    nodes: tuple[Node, ...]
    arcs: tuple[Arc, ...]
    uses: tuple[GraphUse, ...]

    @cached_property
    def incoming(self) -> tuple[tuple[int, ...], ...]:
        """The arcs into each node."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for index, arc in enumerate(self.arcs):
            found[arc.head].append(index)
        return tuple(map(tuple, found))

    @cached_property
    def joins(self) -> bool:
        """Some arc needs several tails."""
        return any(len(arc.tails) > 1 for arc in self.arcs)

    @cached_property
    def coupled(self) -> tuple[str, ...]:
        """The ops with a choice of axis that read this class, in program order."""
        return tuple(dict.fromkeys(use.op for use in self.uses if use.choices > 1))

    @cached_property
    def signature(self) -> tuple[object, ...]:
        """Equal for classes that differ in names only."""
        arcs = tuple((arc.kind, arc.tails, arc.head, arc.cost, arc.saved) for arc in self.arcs)
        ops = {op: index for index, op in enumerate(self.coupled)}
        uses = tuple((ops.get(use.op, -1), use.options) for use in self.uses)
        return (len(self.nodes), arcs, uses)


@dataclass(frozen=True)
class Graph:
    """The version graphs of all classes of a problem, and the components they form."""

    classes: tuple[ClassGraph, ...]
    choices: Mapping[str, int]
    """For each op that may block on one of several axes: how many."""
    last_axis: Mapping[str, Tag]
    """For each storage: the axis along which its producer writes."""
    storage_of: Mapping[str, str]
    """For each value: the storage it lies in, named by the first value in it."""

    @cached_property
    def components(self) -> tuple[tuple[int, ...], ...]:
        """Classes that ops with a choice of axis tie together, each in ascending order."""
        home: dict[str, int] = {}
        group: list[int] = []
        members: dict[int, list[int]] = {}
        for index, item in enumerate(self.classes):
            group.append(index)
            members[index] = [index]
            for op in item.coupled:
                other = group[home.setdefault(op, index)]
                if other != group[index]:
                    _merge(group, members, other, group[index])
        return tuple(tuple(sorted(part)) for _, part in sorted(members.items()))

    @cached_property
    def distinct_classes(self) -> int:
        """How many classes differ in more than names."""
        return len({item.signature for item in self.classes})


def _merge(group: list[int], members: dict[int, list[int]], a: int, b: int) -> None:
    """Joins two groups under the smaller number."""
    keep, drop = min(a, b), max(a, b)
    for index in members[drop]:
        group[index] = keep
    members[keep] += members.pop(drop)
