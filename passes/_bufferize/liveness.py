"""Which buffers may be overwritten where: who reads what, and when for the last time."""

from __future__ import annotations

from xdsl.ir import Block, Operation, SSAValue


class Liveness:
    """Last uses of tensors, and the tensors that share a buffer.

    A use inside a nested region counts where the region's operation stands.
    """

    def __init__(self) -> None:
        self._position: dict[Operation, int] = {}
        self._aliases: dict[SSAValue, list[SSAValue]] = {}
        self._owner: dict[SSAValue, Block] = {}
        self.pinned: set[SSAValue] = set()
        """Buffers parts of which hold, or will hold, something the pass does not see as an alias.
        Used for membership only."""

    def enter(self, block: Block) -> None:
        """Numbers the operations of `block`."""
        for position, op in enumerate(block.ops):
            self._position[op] = position

    def own(self, base: SSAValue, block: Block) -> None:
        """Operations of `block`, and of it alone, may write to `base`."""
        self._owner[base] = block

    def alias(self, value: SSAValue, base: SSAValue) -> None:
        """Tensor `value` lies in `base`."""
        self._aliases.setdefault(base, []).append(value)

    def take(self, base: SSAValue, block: Block) -> tuple[Block | None, list[SSAValue]]:
        """A loop with body `block` takes `base` for a value it carries, until `give_back`."""
        state = self._owner.get(base), self._aliases.get(base, [])
        self._owner[base], self._aliases[base] = block, []
        return state

    def give_back(self, base: SSAValue, state: tuple[Block | None, list[SSAValue]]) -> None:
        """Undoes `take`."""
        if state[0] is not None:
            self._owner[base] = state[0]
        self._aliases[base] = state[1]

    def may_overwrite(
        self, base: SSAValue, op: Operation, consumed: SSAValue, uses: int = 1
    ) -> bool:
        """Whether `op`, which uses tensor `consumed` `uses` times, may write over it in `base`.

        True if every tensor in `base` is dead after `op`, and only those uses are by `op`.
        """
        block = op.parent
        if block is None or self._owner.get(base) is not block:
            return False
        here = self._position[op]
        for value in self._aliases.get(base, []):
            last, count = self._last_use(value, block)
            if last > here or (last == here and (value is not consumed or count != uses)):
                return False
        return True

    def _last_use(self, value: SSAValue, block: Block) -> tuple[int, int]:
        """Position of the last operation of `block` that uses `value`, and its number of uses."""
        last, count = -1, 0
        for use in value.uses:
            op: Operation | None = use.operation
            while op is not None and op.parent is not block:
                op = op.parent_op()
            if op is None:
                continue
            if (position := self._position[op]) > last:
                last, count = position, 0
            count += position == last
        return last, count
