"""The simple policies, and where policies are found by name.

A policy is a function from a problem to a plan. Besides those below and `exact`, the registry
finds what packages offer through the entry point group `mxc.layout_policies`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points

from mxc.errors import BadInput
from mxc.passes.layout.build import build_graph
from mxc.passes.layout.exact import exact
from mxc.passes.layout.graph import Arc, ClassGraph, Graph, GraphUse, Node, Option, Tag
from mxc.passes.layout.plan import Draft, Plan, check_plan
from mxc.passes.layout.problem import Problem
from mxc.passes.layout.steiner import NoPlan

Policy = Callable[[Problem], Plan]

ENTRY_POINTS = "mxc.layout_policies"


@dataclass
class Sketch:
    """A plan in the making, all classes: what a policy works on."""

    problem: Problem
    graph: Graph
    drafts: tuple[Draft, ...]
    steps: tuple[tuple[tuple[int, int], ...], ...]
    """One entry per op in program order: its reads, as (class, use)."""

    @classmethod
    def of(cls, problem: Problem) -> Sketch:
        """Nothing decided yet."""
        graph = build_graph(problem)
        reads: dict[int, list[tuple[int, int]]] = {}
        for index, part in enumerate(graph.classes):
            for number, use in enumerate(part.uses):
                reads.setdefault(use.order, []).append((index, number))
        steps = tuple(tuple(reads[order]) for order in sorted(reads))
        return cls(problem, graph, tuple(Draft(part) for part in graph.classes), steps)

    def plan(self, policy: str) -> Plan:
        """The finished plan, checked."""
        plan = Plan(policy, self.problem, self.graph, tuple(d.plan() for d in self.drafts))
        check_plan(plan)
        return plan


@dataclass(frozen=True)
class Rules:
    """What a use-by-use policy may do for one use."""

    arc: Callable[[ClassGraph, Arc], bool]
    node: Callable[[Node], bool]


def use_by_use(
    problem: Problem, name: str, rules: Callable[[Sketch, ClassGraph, GraphUse], Rules]
) -> Plan:
    """Serves the uses in program order, each the cheapest way that `rules` allow, no look-ahead.

    Blocks on the first contracted axis that the op offers. Where the rules leave no way (the axis
    does not survive a view, the target cannot requantise), any way without tiles will do.
    """
    sketch = Sketch.of(problem)
    for step in sketch.steps:
        for index, number in step:
            draft = sketch.drafts[index]
            use = draft.graph.uses[number]
            for rule in (rules(sketch, draft.graph, use), Rules(_no_tiles, lambda node: True)):
                options = [
                    option
                    for option in use.options
                    if option.choice == 0 and rule.node(draft.graph.nodes[option.node])
                ]
                found = draft.best(use, options, rule.arc)
                if found is not None:
                    draft.pick(number, found[1], rule.arc)
                    break
            else:
                raise NoPlan(f"no version of {use.value} can serve {use.op}")
    return sketch.plan(name)


def naive(problem: Problem) -> Plan:
    """Quantise where the value is made, along its last axis; requantise where a use differs.

    Parameters are quantised along the axis of their first use instead; constants offline, along
    every axis some use wants. A requantised version is shared within its phase.
    """
    start: dict[str, tuple[Tag, ...]] = {}

    def rules(sketch: Sketch, graph: ClassGraph, use: GraphUse) -> Rules:
        if not start:
            start.update({value: (tag,) for value, tag in sketch.graph.last_axis.items()})
            start.update(_first_uses(sketch))

        def arc(graph: ClassGraph, arc: Arc) -> bool:
            head = graph.nodes[arc.head]
            if head.form != "mx" or arc.kind in ("view", "copy", "weaken"):
                return True
            if arc.kind == "requantize":
                return len(head.tags) == 1 and head.phase == use.phase
            if problem.by_name[head.value].kind == "constant":
                return len(head.tags) == 1
            here = head.phase == problem.by_name[head.value].phase or arc.kind == "keep"
            return here and (head.generation == 2 or head.tags == start[head.value])

        return Rules(arc, lambda node: len(node.tags) < 2)

    return use_by_use(problem, "naive", rules)


def _first_uses(sketch: Sketch) -> dict[str, tuple[Tag, ...]]:
    """For parameters: the label that the first use in program order wants."""
    first: dict[str, tuple[Tag, ...]] = {}
    for index, number in (read for step in sketch.steps for read in step):
        graph = sketch.graph.classes[index]
        for option in graph.uses[number].options:
            node = graph.nodes[option.node]
            kind = sketch.problem.by_name[node.value].kind
            if kind == "parameter" and len(node.tags) == 1 and option.choice == 0:
                first.setdefault(node.value, node.tags)
    return first


def dual(problem: Problem) -> Plan:
    """Every axis that some use wants, quantised from HP where the value is made, and kept."""

    def rules(sketch: Sketch, graph: ClassGraph, use: GraphUse) -> Rules:
        return Rules(_at_once(problem), lambda node: len(node.tags) < 2 and node.generation < 2)

    return use_by_use(problem, "dual", rules)


def _at_once(problem: Problem) -> Callable[[ClassGraph, Arc], bool]:
    """No requantisation; quantisation only in the phase in which the value is made."""

    def allowed(graph: ClassGraph, arc: Arc) -> bool:
        head = graph.nodes[arc.head]
        late = head.form == "mx" and head.phase != problem.by_name[head.value].phase
        return arc.kind == "keep" or not (late or arc.kind in ("requantize", "weaken"))

    return allowed


def rule(problem: Problem) -> Plan:
    """Square tiles if and only if a value is used along two axes; otherwise as `dual`."""
    two_ways: dict[ClassGraph, set[tuple[Tag, ...]]] = {}

    def rules(sketch: Sketch, graph: ClassGraph, use: GraphUse) -> Rules:
        if graph not in two_ways:
            two_ways[graph] = _used_tiles(graph)
        tiles = two_ways[graph]
        tiled = any(graph.nodes[option.node].tags in tiles for option in use.options)

        def node(node: Node) -> bool:
            return node.generation < 2 and (node.tags in tiles if tiled else len(node.tags) < 2)

        return Rules(_at_once(problem), node)

    return use_by_use(problem, "rule", rules)


def _used_tiles(graph: ClassGraph) -> set[tuple[Tag, ...]]:
    """The tiles both of whose axes some use wants when every op blocks on its first axis."""
    wanted: set[Tag] = set()
    tiles: set[tuple[Tag, ...]] = set()
    for use in graph.uses:
        labels = {graph.nodes[o.node].tags for o in use.options if o.choice == 0}
        wanted.update(tags[0] for tags in labels if len(tags) == 1)
        tiles.update(tags for tags in labels if len(tags) == 2)
    return {tags for tags in tiles if wanted.issuperset(tags)}


def greedy(problem: Problem) -> Plan:
    """Walks the ops in order and makes the cheapest missing version, no tiles, no look-ahead.

    An op that may block on several axes takes the one that is cheapest for all its operands.
    """
    sketch = Sketch.of(problem)
    for step in sketch.steps:
        index, number = step[0]
        choices = sketch.graph.classes[index].uses[number].choices
        best = min(range(choices), key=lambda choice: _serve(sketch, step, choice)[0])
        for (where, which), option in zip(step, _serve(sketch, step, best)[1], strict=True):
            sketch.drafts[where].pick(which, option, _no_tiles)
    return sketch.plan("greedy")


def _no_tiles(graph: ClassGraph, arc: Arc) -> bool:
    """Whether the arc makes something else than a tile."""
    return len(graph.nodes[arc.head].tags) < 2


def _serve(
    sketch: Sketch, step: tuple[tuple[int, int], ...], choice: int
) -> tuple[int, list[Option]]:
    """What the op costs if it blocks on `choice`, and what its operands read."""
    total, picked = 0, list[Option]()
    for index, number in step:
        draft = sketch.drafts[index]
        use = draft.graph.uses[number]
        options = [option for option in use.options if option.choice == choice]
        found = draft.best(use, options, _no_tiles)
        if found is None:
            raise NoPlan(f"no version of {use.value} can serve {use.op}")
        total += found[0]
        picked.append(found[1])
    return total, picked


POLICIES: Mapping[str, Policy] = {
    "naive": naive,
    "dual": dual,
    "greedy": greedy,
    "rule": rule,
    "exact": exact,
}


def policy_names() -> tuple[str, ...]:
    """The policies of mxc, then those that installed packages offer."""
    offered = sorted(point.name for point in entry_points(group=ENTRY_POINTS))
    return (*POLICIES, *(name for name in offered if name not in POLICIES))


def policy(name: str) -> Policy:
    """The policy of that name."""
    if name in POLICIES:
        return POLICIES[name]
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            return point.load()
    raise BadInput(f"no layout policy {name!r}", hint=f"known: {', '.join(policy_names())}")
