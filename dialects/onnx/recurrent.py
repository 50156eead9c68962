"""RNN, GRU and LSTM whose sequences have different lengths, which `onnx.reference` ignores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Evaluate = Callable[[Sequence["Array | None"]], Sequence[Any]]

OPERATORS = frozenset(["GRU", "LSTM", "RNN"])
_LENGTHS = 4
_STATES = (5, 6)
"""Inputs: the length of each sequence; the initial states, of GRU and RNN only the first."""


def has_lengths(op_type: str, args: Sequence[Array | None]) -> bool:
    """Whether the node states the lengths of its sequences."""
    return op_type in OPERATORS and len(args) > _LENGTHS and args[_LENGTHS] is not None


def by_length(
    attrs: Mapping[str, Any], args: Sequence[Array | None], count: int, evaluate: Evaluate
) -> list[Array]:
    """The `count` outputs, from `evaluate` applied to each sequence of the batch, cut to length.

    Beyond its length the outputs of a sequence are 0; its last state is the one at its end.
    """
    x, lengths = args[0], args[_LENGTHS]
    assert x is not None
    assert lengths is not None
    time, batch = (1, 0) if attrs.get("layout", 0) else (0, 1)
    state_batch = 0 if attrs.get("layout", 0) else 1
    rows: list[list[Array]] = []
    for row, length in enumerate(int(n) for n in lengths):
        given = list(args)
        given[0] = x.take(range(length), time).take([row], batch)
        given[_LENGTHS] = None
        for index in _STATES:
            state = given[index] if index < len(given) else None
            if state is not None:
                given[index] = state.take([row], state_batch)
        results = [np.asarray(result) for result in evaluate(given)]
        rows.append([_padded(results[0], time, x.shape[time]), *results[1:]])
    all_batch = 0 if attrs.get("layout", 0) else 2
    axes = [all_batch] + [state_batch] * (count - 1)
    return [
        np.concatenate([row[i] for row in rows], axis)
        for i, axis in zip(range(count), axes, strict=True)
    ]


def _padded(array: Array, axis: int, length: int) -> Array:
    """`array` with zeros up to `length` along `axis`."""
    width = [(0, 0)] * array.ndim
    width[axis] = (0, length - array.shape[axis])
    return np.pad(array, width)
