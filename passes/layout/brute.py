"""All plans of a small component, one by one: what the exact solvers are tested against.

Given the set of nodes that exist, every node takes its cheapest arc whose tails exist, and every
use its cheapest version; the operands of an op pick the same axis. So it is enough to look at all
2^n sets of nodes. It shares no code with the solvers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mxc.errors import MxcError
from mxc.passes.layout.graph import ClassGraph, Graph, GraphUse

MAX_NODES = 20
_NEVER = 1 << 60


def brute_force(graph: Graph, component: Sequence[int]) -> int:
    """The least objective of one component of `graph`.

    Raises:
        MxcError: if the component has more than 20 nodes besides the roots.
    """
    parts = [graph.classes[index] for index in component]
    total = sum(len(part.nodes) - 1 for part in parts)
    if total > MAX_NODES:
        raise MxcError(f"brute force over 2^{total} sets of versions")
    sets = np.arange(1 << total, dtype=np.int64)
    cost = np.zeros(sets.shape, np.int64)
    by_op: dict[str, NDArray[np.int64]] = {}
    first = 0
    for part in parts:
        cost += _making(part, sets, first)
        for use in part.uses:
            read = _reading(part, use, sets, first)
            if use.choices == 1:
                cost += read[0]
            else:
                by_op[use.op] = by_op[use.op] + read if use.op in by_op else read
        first += len(part.nodes) - 1
    for read in by_op.values():
        cost += np.minimum(read.min(axis=0), _NEVER)
    return int(cost.min())


def _exists(sets: NDArray[np.int64], node: int, first: int) -> NDArray[np.bool_]:
    """Whether each set holds `node` of the class whose nodes start at bit `first`."""
    if node == 0:
        return np.ones(sets.shape, np.bool_)
    return (sets >> (first + node - 1)) & 1 == 1


def _making(part: ClassGraph, sets: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """What making the nodes of each set costs."""
    cost = np.zeros(sets.shape, np.int64)
    for node in range(1, len(part.nodes)):
        best = np.full(sets.shape, _NEVER >> 10)
        for index in part.incoming[node]:
            arc = part.arcs[index]
            there = np.ones(sets.shape, np.bool_)
            for tail in arc.tails:
                there &= _exists(sets, tail, first)
            best = np.where(there, np.minimum(best, arc.cost), best)
        cost += np.where(_exists(sets, node, first), best, 0)
    return cost


def _reading(
    part: ClassGraph, use: GraphUse, sets: NDArray[np.int64], first: int
) -> NDArray[np.int64]:
    """What a use pays under each choice of axis (rows) and set (columns)."""
    cost = np.full((use.choices, *sets.shape), _NEVER >> 10)
    for option in use.options:
        there = _exists(sets, option.node, first)
        row = cost[option.choice]
        cost[option.choice] = np.where(there, np.minimum(row, option.cost), row)
    return cost
