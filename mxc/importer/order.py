"""Nodes in an order in which every value is defined before it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from onnx import AttributeProto, GraphProto, NodeProto

from mxc.errors import ImportFailed


def in_order(
    nodes: Sequence[NodeProto], known: Callable[[str], bool]
) -> Iterator[tuple[int, NodeProto]]:
    """The nodes with their positions in the file, each after the nodes it needs.

    `known` says whether a value is defined outside of `nodes`. Values that nobody defines are
    left for the caller to find.

    Raises:
        ImportFailed: if the nodes need each other in a cycle.
    """
    producer = {output: i for i, node in enumerate(nodes) for output in node.output if output}
    needs = [
        [producer[name] for name in uses(node) if name in producer and not known(name)]
        for node in nodes
    ]
    if all(need < i for i, wanted in enumerate(needs) for need in wanted):
        yield from enumerate(nodes)
        return
    yield from ((i, nodes[i]) for i in _sorted(nodes, needs))


def uses(node: NodeProto) -> list[str]:
    """The values that `node` reads, those that its subgraphs take from outside included."""
    names = [name for name in node.input if name]
    pending = [a for a in node.attribute if a.type == AttributeProto.GRAPH]
    for attribute in pending:
        names += _free(attribute.g)
    return names


def used_names(nodes: Sequence[NodeProto]) -> Iterator[str]:
    """Every name that the nodes and the graphs inside them read or give as an output."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from (output.name for output in attribute.g.output)
                yield from used_names(attribute.g.node)


def _free(graph: GraphProto) -> list[str]:
    inside = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    inside |= {output for node in graph.node for output in node.output}
    names = [name for node in graph.node for name in uses(node)]
    names += [output.name for output in graph.output]
    return [name for name in names if name not in inside]


def _sorted(nodes: Sequence[NodeProto], needs: list[list[int]]) -> list[int]:
    users: list[list[int]] = [[] for _ in nodes]
    missing = [len(set(wanted)) for wanted in needs]
    for i, wanted in enumerate(needs):
        for need in set(wanted):
            users[need].append(i)
    order = [i for i, count in enumerate(missing) if count == 0]
    for i in order:  # grows while it is walked
        for user in users[i]:
            missing[user] -= 1
            if missing[user] == 0:
                order.append(user)
    if len(order) < len(nodes):
        stuck = sorted(set(range(len(nodes))) - set(order))[:3]
        names = ", ".join(f"'{nodes[i].name or nodes[i].op_type}'" for i in stuck)
        raise ImportFailed(f"nodes {names} depend on each other in a cycle")
    return order
