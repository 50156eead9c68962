"""Builds the version graphs of a problem.

For a storage of n elements, with HP(n) and MX(n) its bytes in high precision and in a label:

    arc         from -> to                       traffic                 also
    given       root -> HP of an input           0
    constant    root -> any version of a         0                       stored price
                constant
    write       root or load -> HP               HP
    emit        root or load -> MX, if the       MX
                target can emit the label
    read        HP -> read                       HP
    quantize    read -> MX                       MX
    requantize  generation 1 -> generation 2     MX of both
    keep        a phase -> the next              0                       saved price
    view        source -> result of a free view  0
    load        HP of all sources -> load        HP
    copy        MX of all sources -> MX          2 MX
    weaken      generation 1 -> generation 2,    0
                below a concatenation

Quantising twice from one read shares the read. An `emit` out of `load` is a copy that quantises on
the way. `keep` is free for what lies in memory anyway: constants, and HP of inputs and parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from math import ceil

from mxc.passes.layout.graph import Arc, ArcKind, ClassGraph, Graph, GraphUse, Node, Option, Tag
from mxc.passes.layout.problem import UNIT, Contraction, Operand, Prices, Problem, Read, Value, View
from mxc.passes.layout.storage import Labels, Storage, Storages

_FORM_ORDER = {"root": 0, "load": 1, "hp": 2, "read": 3, "mx": 4}


def build_graph(problem: Problem) -> Graph:
    """The version graphs of all classes of `problem`, in the order of their first values."""
    storages = Storages(problem)
    members: dict[str, list[Storage]] = {}
    for value in problem.values:
        members.setdefault(storages.classes.find(value.name), [])
    for storage in storages.all.values():
        members[storages.classes.find(storage.root.name)].append(storage)
    uses: dict[str, list[tuple[int, Contraction | Read, Operand | None, int]]] = {}
    for order, use in enumerate(problem.uses):
        operands = use.operands if isinstance(use, Contraction) else (None,)
        for index, operand in enumerate(operands):
            value = operand.value if operand else use.value if isinstance(use, Read) else ""
            found = uses.setdefault(storages.classes.find(value), [])
            found.append((order, use, operand, index))
    classes = (
        _ClassBuilder(storages, group, uses.get(name, [])).build()
        for name, group in members.items()
    )
    choices = {
        use.name: use.choices
        for use in problem.uses
        if isinstance(use, Contraction) and use.choices > 1
    }
    last = {
        name: storages.tag(name, len(storage.root.shape) - 1)
        for name, storage in storages.all.items()
        if storage.root.shape
    }
    homes = {name: storage.root.name for name, storage in storages.of.items()}
    return Graph(tuple(item for item in classes if item.uses), choices, last, homes)


def mx_units(value: Value, sizes: tuple[int, ...], bits: int, block: int, prices: Prices) -> int:
    """Units (1/1024 byte) of a quantised version; `sizes` are those of its blocked axes."""
    if value.on_chip:
        return 0
    scales = value.elements
    for size in sizes:
        scales = scales // size * ceil(size / block)
    if len(sizes) == 2 and prices.replicate_tile_scales:
        scales = value.elements // sizes[1] * ceil(sizes[1] / block)
    return value.elements * bits * UNIT // 8 + scales * UNIT


def hp_units(value: Value) -> int:
    """Units (1/1024 byte) of the value in high precision."""
    return 0 if value.on_chip else value.elements * value.hp_bytes * UNIT


class _ClassBuilder:
    """Builds one class: nodes and arcs storage by storage and phase by phase, then the uses."""

    def __init__(
        self,
        storages: Storages,
        members: list[Storage],
        uses: list[tuple[int, Contraction | Read, Operand | None, int]],
    ) -> None:
        self.storages = storages
        self.prices = storages.problem.prices
        self.members = members
        self.uses = uses
        phases = {use.phase for _, use, _, _ in uses} | {s.root.phase for s in members}
        self.phases = sorted(phases)
        self.joined = {
            id(storages.of[name])
            for s in members
            if s.made_by and len(s.made_by.inputs) > 1
            for name in s.made_by.inputs
        }
        self.arcs: list[tuple[ArcKind, tuple[Node, ...], Node, dict[str, int]]] = []
        self.sizes: dict[tuple[str, str, Labels], int] = {}
        self.root = Node("root")

    def build(self) -> ClassGraph:
        """The class, without the versions no use can profit from."""
        for storage in self.members:
            for phase in self._phases(storage):
                self._storage(storage, phase)
        nodes = self._nodes()
        number = {node: index for index, node in enumerate(nodes)}
        arcs = sorted(self._arcs(number), key=lambda arc: arc.head)
        uses = tuple(self._use(number, *use) for use in self.uses)
        return _prune(ClassGraph(tuple(nodes), tuple(arcs), uses))

    def _phases(self, storage: Storage) -> list[int]:
        return [phase for phase in self.phases if phase >= storage.root.phase]

    def _nodes(self) -> list[Node]:
        rank = {storage.root.name: index for index, storage in enumerate(self.members)}
        found = {node: None for _, tails, head, _ in self.arcs for node in (*tails, head)}
        found[self.root] = None

        def key(node: Node) -> tuple[int, int, int, int, int]:
            form = _FORM_ORDER[node.form]
            phase = -1 if node is self.root else self.phases.index(node.phase)
            return (phase, rank.get(node.value, -1), form, node.generation, len(node.tags))

        return sorted(found, key=key)

    def _arcs(self, number: dict[Node, int]) -> Iterator[Arc]:
        prices = self.prices
        for kind, tails, head, amounts in self.arcs:
            priced = amounts.pop("priced", 0)
            saved, stored = amounts.get("saved", 0), priced if kind == "constant" else 0
            price = prices.saved * saved + prices.stored * stored if saved or stored else 0
            yield Arc(
                kind,
                tuple(number[tail] for tail in tails),
                number[head],
                cost=amounts.get("traffic", 0) + round(price),
                quantizes=head.form == "mx" and kind in ("emit", "quantize", "constant"),
                **amounts,
            )

    def _add(self, kind: ArcKind, tails: tuple[Node, ...], head: Node, **amounts: int) -> None:
        self.arcs.append((kind, tails, head, amounts))

    def _storage(self, storage: Storage, phase: int) -> None:
        """All arcs into the versions of a storage in one phase."""
        value = storage.root
        first = phase == value.phase
        hp = Node("hp", value.name, phase=phase)
        size = hp_units(value)
        if value.kind == "constant":
            if first:
                self._add("constant", (self.root,), hp, priced=size)
        elif storage.made_by is None and value.kind != "activation":
            if first:
                self._add("given", (self.root,), hp)
        elif storage.made_by is None and first:
            self._add("write", (self.root,), hp, traffic=size)
        elif storage.made_by is not None:
            self._view(storage, storage.made_by, phase, hp)
        read = Node("read", value.name, phase=phase)
        if value.kind != "constant" and storage.labels:
            self._add("read", (hp,), read, traffic=size, quantize_traffic=size)
        self._keep(storage, hp, size)
        for format, labels in storage.labels.items():
            for label in labels:
                self._version(storage, format, label, phase, read)
                self._requantize(storage, format, label, phase)

    def _mx(
        self, storage: Storage, format: str, label: Labels, generation: int, phase: int
    ) -> Node:
        return Node("mx", storage.root.name, label, format, generation, phase)

    def _size(self, storage: Storage, format: str, label: Labels) -> int:
        key = (storage.root.name, format, label)
        if key not in self.sizes:
            cost = self.prices.format(format)
            sizes = self.storages.shape_of(storage, label)
            size = mx_units(storage.root, sizes, cost.bits, cost.block, self.prices)
            self.sizes[key] = size
        return self.sizes[key]

    def _keep(self, storage: Storage, node: Node, size: int) -> None:
        """Keeps a version for the next phase of the class."""
        later = [phase for phase in self._phases(storage) if phase > node.phase]
        if later:
            head = replace(node, phase=later[0])
            kinds = ("constant",) if node.form == "mx" else ("constant", "input", "parameter")
            stays = storage.root.kind in kinds and storage.made_by is None
            self._add("keep", (node,), head, saved=0 if stays else size)

    def _version(
        self, storage: Storage, format: str, label: Labels, phase: int, read: Node
    ) -> None:
        """Generation 1 of a label: emitted, quantised from HP, stored, viewed, or copied."""
        value = storage.root
        node = self._mx(storage, format, label, 1, phase)
        size = self._size(storage, format, label)
        emits = {"traffic": size, "stored": size, "quantize_traffic": size}
        if value.kind == "constant":
            if phase == value.phase:
                self._add("constant", (self.root,), node, stored=size, priced=size)
        else:
            self._add("quantize", (read,), node, **emits)
        if value.kind == "activation" and self._emittable(storage, label):
            if storage.made_by is None and phase == value.phase:
                self._add("emit", (self.root,), node, **emits)
            elif storage.made_by is not None and storage.made_by.kind == "copy":
                self._add("emit", (Node("load", value.name, phase=phase),), node, **emits)
        self._keep(storage, node, size)
        if storage.made_by is not None:
            self._carry_over(storage, storage.made_by, format, label, phase)

    def _emittable(self, storage: Storage, label: Labels) -> bool:
        """Whether the producer's epilogue can write the label."""
        if self.prices.emit != "last":
            return self.prices.emit == "all"
        shape = storage.root.shape
        return label == (self.storages.tag(storage.root.name, len(shape) - 1),)

    def _requantize(self, storage: Storage, format: str, label: Labels, phase: int) -> None:
        """Generation 2 of a label, from every other one-dimensional label of generation 1."""
        target = self._mx(storage, format, label, 2, phase)
        size = self._size(storage, format, label)
        if id(storage) in self.joined:
            self._add("weaken", (self._mx(storage, format, label, 1, phase),), target)
        if not self.prices.requantize:
            return
        for other in storage.labels[format]:
            if (
                other != label
                and len(other) == 1
                and self.storages.together(storage, other + label)
            ):
                moved = self._size(storage, format, other) + size
                source = self._mx(storage, format, other, 1, phase)
                self._add(
                    "requantize", (source,), target,
                    traffic=moved, stored=size, quantize_traffic=moved,
                )  # fmt: skip
        self._keep(storage, target, size)

    def _view(self, storage: Storage, view: View, phase: int, hp: Node) -> None:
        """HP of a view's result; and the pass over its inputs, if it copies."""
        sources = tuple(
            Node("hp", self.storages.of[name].root.name, phase=phase) for name in view.inputs
        )
        if view.kind == "free":
            self._add("view", sources, hp)
            return
        load = Node("load", storage.root.name, phase=phase)
        size = hp_units(storage.root)
        self._add("load", sources, load, traffic=size)
        self._add("write", (load,), hp, traffic=size)

    def _carry_over(
        self, storage: Storage, view: View, format: str, label: Labels, phase: int
    ) -> None:
        """Versions of a view's result out of the same versions of its inputs."""
        for generation in (1, 2):
            tails: list[Node] = []
            for index, name in enumerate(view.inputs):
                back = {j: i for i, j in self.storages.through(view, index).items()}
                source = self.storages.of[name]
                before: tuple[Tag, ...] = tuple(sorted(back[t] for t in label if t in back))
                if before in source.labels.get(format, []) and len(before) == len(label):
                    tails.append(self._mx(source, format, before, generation, phase))
            if len(tails) == len(view.inputs):
                node = self._mx(storage, format, label, generation, phase)
                size = self._size(storage, format, label)
                copied = {"traffic": 2 * size, "stored": size, "quantize_traffic": 2 * size}
                moved = {} if view.kind == "free" else copied
                kind: ArcKind = "view" if view.kind == "free" else "copy"
                self._add(kind, tuple(tails), node, **moved)

    def _use(
        self, number: dict[Node, int], order: int, use: Contraction | Read,
        operand: Operand | None, index: int,
    ) -> GraphUse:  # fmt: skip
        """A use with its options."""
        value = operand.value if operand else use.value if isinstance(use, Read) else ""
        options = [
            option
            for node, position in number.items()
            if node.phase == use.phase and node.value == self.storages.of[value].root.name
            for option in self._options(node, position, value, use, operand)
        ]
        choices = use.choices if isinstance(use, Contraction) else 1
        return GraphUse(use.name, index, value, use.phase, order, tuple(options), choices)

    def _options(
        self, node: Node, position: int, value: str, use: Contraction | Read,
        operand: Operand | None,
    ) -> Iterator[Option]:  # fmt: skip
        """How `use` may read `node`: once per choice of axis that the node serves."""
        storage = self.storages.of[value]
        if node.form == "hp" and operand is None:
            size = hp_units(storage.root)
            yield Option(position, 0, size, size)
        if node.form != "mx" or not self.storages.sees(value, node.tags):
            return
        size = self._size(storage, node.format, node.tags)
        noise = self._noise(storage.root, node)
        cost = size + (round(self.prices.noise * noise) if noise else 0)
        if operand is None:
            if isinstance(use, Read) and use.any_version:
                yield Option(position, 0, cost, size, noise)
            return
        for choice, axis in enumerate(operand.axes):
            wanted = self.storages.tag(value, axis)
            if node.format == operand.format and wanted in node.tags:
                yield Option(position, choice, cost, size, noise)

    def _noise(self, value: Value, node: Node) -> int:
        """Elements times excess noise, times 1024."""
        cost = self.prices.format(node.format)
        tile, again = value.excess.get(node.format, (cost.tile_excess, cost.requant_excess))
        tile = tile if len(node.tags) == 2 else Fraction(0)
        again = again if node.generation == 2 else Fraction(0)
        if not tile and not again:
            return 0
        return round(value.elements * ((1 + tile) * (1 + again) - 1) * UNIT)


def _prune(graph: ClassGraph) -> ClassGraph:
    """Drops nodes that cannot be made, or that serve no use."""
    made = {0}
    for arc in graph.arcs:  # ordered by head, so tails come first
        if made.issuperset(arc.tails):
            made.add(arc.head)
    arcs = [arc for arc in graph.arcs if made.issuperset(arc.tails)]
    needed = {option.node for use in graph.uses for option in use.options}
    for arc in reversed(arcs):
        if arc.head in needed:
            needed.update(arc.tails)
    kept = sorted((needed & made) | {0})
    number = {node: index for index, node in enumerate(kept)}
    return ClassGraph(
        tuple(graph.nodes[node] for node in kept),
        tuple(_renumber_arc(arc, number) for arc in arcs if arc.head in number),
        tuple(_renumber_use(use, number) for use in graph.uses),
    )


def _renumber_arc(arc: Arc, number: dict[int, int]) -> Arc:
    """The arc with the new numbers of its nodes."""
    return Arc(
        arc.kind, tuple(number[tail] for tail in arc.tails), number[arc.head],
        arc.cost, arc.traffic, arc.saved, arc.stored, arc.quantize_traffic, arc.quantizes,
    )  # fmt: skip


def _renumber_use(use: GraphUse, number: dict[int, int]) -> GraphUse:
    """The use with the new numbers of its options, without the impossible ones."""
    options = tuple(
        Option(number[option.node], option.choice, option.cost, option.traffic, option.noise)
        for option in use.options
        if option.node in number
    )
    return GraphUse(use.op, use.operand, use.value, use.phase, use.order, options, use.choices)
