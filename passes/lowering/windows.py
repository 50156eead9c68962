"""Sliding windows: where they lie, and how a loop nest reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Loops, Tensor
from mxc.dialects.loops.scalar import Number
from mxc.passes.lowering.registry import Node


@dataclass(frozen=True)
class Windows:
    """Windows over the spatial axes of a tensor, one entry per axis in every field."""

    size: tuple[int, ...]
    """The input."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    """Padding in front."""

    after: tuple[int, ...]
    """Padding behind, as the node states it; the last window may reach further (`ceil_mode`)."""

    output: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.size)

    @property
    def reach(self) -> tuple[int, ...]:
        """Padding behind that the windows read."""
        spans = zip(self.output, self.strides, self.kernel, self.dilations, strict=True)
        ends = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in spans]
        edges = zip(ends, self.before, self.size, strict=True)
        return tuple(max(0, end - b - n) for end, b, n in edges)

    @property
    def whole(self) -> bool:
        """Whether there is one window, and it is the input."""
        plain = not any(self.before) and not any(self.reach)
        return plain and self.kernel == self.size and set(self.dilations) <= {1}

    def pad(self, loops: Loops, x: Tensor, value: Number) -> Tensor:
        """`x` [..., *spatial] with `value` wherever a window reaches outside."""
        lead = (0,) * (x.rank - self.rank)
        return loops.pad(x, lead + self.before, lead + self.reach, value)

    def exprs(self, lead: int) -> list[AffineExpr | int]:
        """Index expressions of a padded tensor, after `lead` plain dimensions.

        The loop dimensions are the leading ones, the output positions, then the kernel positions.
        """
        d = AffineExpr.dimension
        return [
            *map(d, range(lead)),
            *(
                d(lead + i) * self.strides[i] + d(lead + self.rank + i) * self.dilations[i]
                for i in range(self.rank)
            ),
        ]

    def axis(self, index: int) -> Windows:
        """The windows along spatial axis `index` alone."""
        one = slice(index, index + 1)
        return Windows(
            self.size[one],
            self.kernel[one],
            self.strides[one],
            self.dilations[one],
            self.before[one],
            self.after[one],
            self.output[one],
        )

    def counts(self, include_pad: bool) -> NDArray[Any]:
        """How many positions of each window lie in the input, or in it and its stated padding."""
        total = np.ones((1,) * self.rank, np.int64)
        for i in range(self.rank):
            first = np.arange(self.output[i])[:, None] * self.strides[i] - self.before[i]
            at = first + np.arange(self.kernel[i]) * self.dilations[i]
            low = -self.before[i] if include_pad else 0
            high = self.size[i] + (self.after[i] if include_pad else 0)
            shape = [1] * self.rank
            shape[i] = -1
            total = total * ((at >= low) & (at < high)).sum(1).reshape(shape)
        return total


def windows_of(node: Node, size: Sequence[int], kernel: Sequence[int]) -> Windows:
    """The windows that attributes `strides`, `dilations`, `pads` and `auto_pad` describe."""
    rank = len(size)
    if len(kernel) != rank:
        raise node.error(f"kernel_shape {list(kernel)} does not fit {rank} spatial axes")
    strides = node.attr("strides") or [1] * rank
    known = node.op.schema.attributes
    dilations = (node.attr("dilations") if "dilations" in known else None) or [1] * rank
    output = node.shape()[2:]
    before, after = _padding(node, size, kernel, strides, dilations)
    rows = (size, kernel, strides, dilations, before, after, output)
    if any(len(row) != rank for row in rows):
        raise node.error(f"strides, dilations or pads do not fit {rank} spatial axes")
    return Windows(*(tuple(row) for row in rows))


def _padding(
    node: Node,
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[Sequence[int], Sequence[int]]:
    mode, rank = node.attr("auto_pad") or "NOTSET", len(size)
    if mode == "NOTSET":
        pads = node.attr("pads") or [0] * (2 * rank)
        return pads[:rank], pads[rank:]
    if mode == "VALID":
        return [0] * rank, [0] * rank
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise node.error(f"auto_pad={mode} is not known", "export with explicit pads")
    rows = zip(size, kernel, strides, dilations, strict=True)
    total = [max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n) for n, k, s, d in rows]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (small, large) if mode == "SAME_UPPER" else (large, small)
