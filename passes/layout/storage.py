"""Collapses aliasing views: which values share one storage, and which axes are the same axis."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Generic, TypeVar

from mxc.passes.layout.graph import Tag
from mxc.passes.layout.problem import Contraction, Problem, Read, Value, View

T = TypeVar("T", bound=Hashable)

Labels = tuple[Tag, ...]
"""One tag: blocks along that axis. Two: square tiles over both."""


class Partition(Generic[T]):
    """Union-find; a set is named by its first member."""

    def __init__(self) -> None:
        self._parent: dict[T, T] = {}
        self._order: dict[T, int] = {}

    def find(self, item: T) -> T:
        """The name of the set of `item`."""
        self._order.setdefault(item, len(self._order))
        path: list[T] = []
        while self._parent.get(item, item) != item:
            path.append(item)
            item = self._parent[item]
        for step in path:
            self._parent[step] = item
        return item

    def join(self, a: T, b: T) -> None:
        """Makes the sets of `a` and `b` one."""
        a, b = self.find(a), self.find(b)
        if a != b:
            first, second = (a, b) if self._order[a] < self._order[b] else (b, a)
            self._parent[second] = first


@dataclass
class Storage:
    """Values that are the same bytes seen through views."""

    root: Value
    members: list[str] = field(default_factory=lambda: [])
    made_by: View | None = None
    """The view that fills it, or None if an op does, or the caller."""
    labels: dict[str, list[Labels]] = field(default_factory=lambda: {})
    """By format: the labels some version of it may have, single axes before tiles."""

    def add(self, format: str, label: Labels) -> None:
        """Adds a label, once."""
        known = self.labels.setdefault(format, [])
        if label not in known:
            known.append(label)


class Storages:
    """The storages of a problem, in the order in which they are made."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.tags: Partition[Tag] = Partition()
        self.classes: Partition[str] = Partition()
        self.all: dict[str, Storage] = {}
        self.of: dict[str, Storage] = {}
        self._collapse()
        self._demand()
        self._pull_back()
        tiles = self._tiles()
        self._emitted()
        self._push_forward()
        for storage, format, labels in tiles:
            storage.add(format, labels)

    def tag(self, value: str, axis: int) -> Tag:
        """The axis as all aliases of the value name it."""
        return self.tags.find((value, axis))

    def sees(self, value: str, labels: Labels) -> bool:
        """Whether blocks along all of `labels` are blocks of `value` too."""
        rank = len(self.problem.by_name[value].shape)
        own = {self.tag(value, axis) for axis in range(rank)}
        return own.issuperset(labels)

    def together(self, storage: Storage, labels: Labels) -> bool:
        """Whether some value in the storage has all these axes."""
        return any(self.sees(name, labels) for name in storage.members)

    def shape_of(self, storage: Storage, labels: Labels) -> tuple[int, ...]:
        """The sizes of the axes of a label, and the member they are axes of."""
        for name in storage.members:
            sizes = self.problem.by_name[name].shape
            own = {self.tag(name, axis): size for axis, size in enumerate(sizes)}
            if own.keys() >= set(labels):
                return tuple(own[tag] for tag in labels)
        raise AssertionError(f"{storage.root.name} has no axes {labels}")

    def through(self, view: View, index: int) -> dict[Tag, Tag]:
        """Where the axes of input `index` of a view go, in tags."""
        source = view.inputs[index]
        return {self.tag(source, i): self.tag(view.output, j) for i, j in view.maps[index]}

    def _collapse(self) -> None:
        made = {view.output: view for view in self.problem.views}
        for value in self.problem.values:
            self.classes.find(value.name)
            if value.name not in made:
                self.of[value.name] = self.all[value.name] = Storage(value, [value.name])
        for view in self.problem.views:
            self._collapse_view(view)
        for value in self.problem.values:
            for a, b in value.symmetric:
                self.tags.join((value.name, a), (value.name, b))

    def _collapse_view(self, view: View) -> None:
        for source in view.inputs:
            self.classes.join(source, view.output)
        if view.kind != "alias":
            root = self.problem.by_name[view.output]
            self.of[view.output] = self.all[root.name] = Storage(root, [root.name], view)
            return
        storage = self.of[view.output] = self.of[view.inputs[0]]
        storage.members.append(view.output)
        for i, j in view.maps[0]:
            self.tags.join((view.inputs[0], i), (view.output, j))

    def _demand(self) -> None:
        for use in self.problem.uses:
            if isinstance(use, Contraction):
                for operand in use.operands:
                    for axis in operand.axes:
                        tag = self.tag(operand.value, axis)
                        self.of[operand.value].add(operand.format, (tag,))

    def _pull_back(self) -> None:
        """A label that the output of a view wants may be made before the view."""
        for storage in reversed(self.all.values()):
            view = storage.made_by
            for index, source in enumerate(view.inputs if view else ()):
                assert view is not None
                back = {target: tag for tag, target in self.through(view, index).items()}
                for format, labels in storage.labels.items():
                    for (tag,) in labels:
                        if tag in back:
                            self.of[source].add(format, (back[tag],))
                    if view.kind == "copy":
                        self.of[source].labels.setdefault(format, [])

    def _emitted(self) -> None:
        """The axis that a producer can always block on is a start for requantisation."""
        for storage in self.all.values():
            if storage.root.kind in ("activation", "input") and storage.root.shape:
                last = self.tag(storage.root.name, len(storage.root.shape) - 1)
                for format in storage.labels:
                    storage.add(format, (last,))

    def _push_forward(self) -> None:
        """A version made before a copy may be requantised, or read in any version, after it."""
        anyhow = {
            id(self.of[use.value])
            for use in self.problem.uses
            if isinstance(use, Read) and use.any_version
        }
        for storage in self.all.values():
            view = storage.made_by
            if view is None or not (view.kind == "copy" or id(storage) in anyhow):
                continue
            for index, source in enumerate(view.inputs):
                forward = self.through(view, index)
                for format, labels in self.of[source].labels.items():
                    wanted = format in storage.labels or id(storage) in anyhow
                    for (tag,) in labels:
                        if wanted and tag in forward:
                            storage.add(format, (forward[tag],))

    def _tiles(self) -> list[tuple[Storage, str, Labels]]:
        """Tiles over two axes that are both demanded; others would only save scale bytes."""
        if not self.problem.prices.tiles:
            return []
        return [
            (storage, format, tuple(sorted((a, b))))
            for storage in self.all.values()
            for format, labels in storage.labels.items()
            for (a,), (b,) in combinations(labels, 2)
            if self.together(storage, (a, b))
        ]
