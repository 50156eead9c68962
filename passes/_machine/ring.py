"""The part of the scratchpad through which tiles pass: placed one after the other, round and round.

The bytes of a new tile are those that were used longest ago, so that its transfer can begin while
the tiles before it are still in use. Nothing is lost by placing tiles before their order is final:
`schedule` keeps commands apart by addresses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mxc.dialects.npu.memory import ALIGNMENT


class RingFull(Exception):
    """There is no room for a tile: smaller ones must do."""


@dataclass
class Ring:
    """`size` bytes of the scratchpad, from `start`."""

    start: int
    size: int
    _cursor: int = 0
    _live: dict[int, int] = field(default_factory=dict[int, int])
    """Place -> bytes of the tiles in use."""

    def take(self, size: int) -> int:
        """A place for a tile of `size` bytes, in use until it is given back.

        Raises:
            RingFull: if no gap between the tiles in use is large enough.
        """
        size = -(-size // ALIGNMENT) * ALIGNMENT
        wraps = 0
        while wraps < 3:
            end = self._cursor + size
            if end > self.size:
                self._cursor, wraps = 0, wraps + 1
                continue
            hit = [at + n for at, n in self._live.items() if at < end and self._cursor < at + n]
            if not hit:
                place, self._cursor = self._cursor, end
                self._live[place] = size
                return self.start + place
            self._cursor = max(hit)
        raise RingFull

    def give_back(self, place: int) -> None:
        """The tile at `place` is not needed by what comes later in the text."""
        del self._live[place - self.start]

    def clear(self) -> None:
        """No tile is in use any more."""
        self._live.clear()
