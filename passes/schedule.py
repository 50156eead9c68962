"""`schedule`: commands get their order and their queues, and events that keep what must be kept.

    npu.dma %a, %s {channel = 0 : i64, ...} : ...
    npu.matmul %s, %t into %y {...} : ...

becomes

    npu.dma %a, %s {channel = 1 : i64, ...} : ...
    %e = npu.record {queue = "dma1"}
    npu.wait %e {queue = "matrix"}
    npu.matmul %s, %t into %y {...} : ...

Queues (vector unit, matrix unit, DMA channels) run side by side. A command must come after an
earlier one if both touch the same bytes and one of them writes: that is decided on addresses, so
buffers that share bytes are kept apart too. Any order that keeps this gives the same results; among
them the pass takes, again and again, the command that can begin first on the target, and between
those the one that came first in the text. Transfers go to the channel that is free first. A wait is
written only where no earlier one implies it.

Loops of the run function, and elements that it reads itself, stand between barriers.

Precondition: `plan-memory`. Exact: bytes are written and read in an order that gives the same
values; the checks of the host HAL find any missing event (`tests/backends/npu/test_timeline.py`).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import scf
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64
from xdsl.dialects.func import FuncOp
from xdsl.dialects.memref import LoadOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from mxc.dialects.npu import BarrierOp, DmaOp, RecordOp, WaitOp, queue_of
from mxc.dialects.npu.memory import DMA
from mxc.passes._machine.machine import Machine
from mxc.passes._machine.order import dependences
from mxc.targets import load_target


@dataclass(frozen=True)
class SchedulePass(ModulePass):
    """Commands get their order and their queues, and events that keep what must be kept."""

    name = "schedule"

    target: str = "npu"
    """A shipped target, or a `.toml` file."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        machine = Machine(load_target(self.target))
        for function in op.ops:
            if isinstance(function, FuncOp):
                _schedule_block(function.body.block, machine)


def _schedule_block(block: Block, machine: Machine) -> None:
    """Orders each run of commands of `block`; loops stand between barriers."""
    run: list[Operation] = []
    for op in list(block.ops):
        if queue_of(op) is not None:
            run.append(op)
        elif isinstance(op, scf.ForOp | LoadOp):
            _schedule_run(run, machine)
            if run:
                _before(op, BarrierOp())
            run = []
            if isinstance(op, scf.ForOp):
                _keep_order(op)
    _schedule_run(run, machine)


def _before(op: Operation, new: Operation) -> None:
    new.location = op.location
    Rewriter.insert_op(new, InsertPoint.before(op))


def _keep_order(loop: scf.ForOp) -> None:
    """Barriers wherever the queue changes, and at the end of each round."""
    for block in loop.body.blocks:
        last: str | None = None
        for op in list(block.ops):
            queue = queue_of(op)
            if isinstance(op, scf.ForOp):
                _before(op, BarrierOp())
                _keep_order(op)
                last = None
            elif isinstance(op, LoadOp) and last is not None:
                _before(op, BarrierOp())
                last = None
            elif queue is not None:
                if last is not None and queue != last:
                    _before(op, BarrierOp())
                last = queue
        end = block.last_op
        assert end is not None
        _before(end, BarrierOp())
    parent = loop.next_op
    if parent is not None and not isinstance(parent, BarrierOp):
        _before(parent, BarrierOp())


def _schedule_run(commands: Sequence[Operation], machine: Machine) -> None:
    """Puts `commands`, of one block, into their order, and events between them."""
    if not commands:
        return
    before = dependences(commands)
    order = _Simulation(commands, before, machine).run()
    last = commands[-1]
    point = last.next_op
    assert point is not None, "a block has a terminator"
    events = _Events(commands, before)
    for number in order:
        op = commands[number]
        op.detach()
        for new in events.given(number):
            Rewriter.insert_op(new, InsertPoint.before(point))
    events.insert_records()


class _Simulation:
    """The target working on commands, the next always the one that can begin first."""

    def __init__(
        self, commands: Sequence[Operation], before: Sequence[Sequence[int]], machine: Machine
    ) -> None:
        self.commands, self.machine = commands, machine
        self.missing = [len(them) for them in before]
        self.after: list[list[int]] = [[] for _ in commands]
        for number, them in enumerate(before):
            for other in them:
                self.after[other].append(number)
        self.free: dict[str, list[int]] = {"dma": [0] * machine.channels}
        self.at: list[int] = [0] * len(commands)
        """When a command may begin, for all that it must come after."""
        self.waiting: dict[str, list[tuple[int, int]]] = {}
        self.ready: dict[str, list[int]] = {}
        self.port = 0
        for number, count in enumerate(self.missing):
            if count == 0:
                self._offer(number)

    def _kind(self, number: int) -> str:
        queue = queue_of(self.commands[number])
        assert queue is not None
        return DMA if queue.startswith(DMA) else queue

    def _offer(self, number: int) -> None:
        kind = self._kind(number)
        heapq.heappush(self.waiting.setdefault(kind, []), (self.at[number], number))
        self.ready.setdefault(kind, [])
        self.free.setdefault(kind, [0])

    def run(self) -> list[int]:
        """The order, all commands in it."""
        order: list[int] = []
        while len(order) < len(self.commands):
            _, number, kind = min(filter(None, map(self._first, self.waiting)))
            heapq.heappop(self.ready[kind])
            self._begin(number, kind)
            order.append(number)
        return order

    def _first(self, kind: str) -> tuple[int, int, str] | None:
        """(start, command, kind) of the command that a unit would begin next."""
        free, ready, waiting = min(self.free[kind]), self.ready[kind], self.waiting[kind]
        if not ready and waiting:
            free = max(free, waiting[0][0])
        while waiting and waiting[0][0] <= free:
            heapq.heappush(ready, heapq.heappop(waiting)[1])
        return (max(free, self.at[ready[0]]), ready[0], kind) if ready else None

    def _begin(self, number: int, kind: str) -> None:
        op, free = self.commands[number], self.free[kind]
        channel = free.index(min(free))
        if isinstance(op, DmaOp):
            op.channel = IntegerAttr(channel, i64)
        start = max(free[channel], self.at[number])
        cost = self.machine.cost(op)
        end = start + cost.busy
        if cost.dram:
            data = max(start + self.machine.latency, self.port)
            self.port = data + self.machine.transfer(cost.dram)
            end = max(end, self.port)
        free[channel] = end
        for other in self.after[number]:
            self.at[other] = max(self.at[other], end)
            self.missing[other] -= 1
            if self.missing[other] == 0:
                self._offer(other)


class _Events:
    """Writes commands in order, with the waits that they need and nothing else implies."""

    def __init__(self, commands: Sequence[Operation], before: Sequence[Sequence[int]]) -> None:
        self.commands, self.before = commands, before
        self.place: dict[int, int] = {}
        """Command -> its place in the order, from 1."""
        self.seen: dict[str, dict[str, int]] = {}
        """Queue -> the last place, by queue, that its next command comes after."""
        self.known: dict[int, dict[str, int]] = {}
        """The same when a command was given."""
        self.records: dict[int, RecordOp] = {}

    def given(self, number: int) -> list[Operation]:
        """The command `number` with the waits before it."""
        op = self.commands[number]
        queue = queue_of(op)
        assert queue is not None
        seen = self.seen.setdefault(queue, {})
        waits: list[Operation] = []
        others = sorted(self.before[number], key=lambda other: -self.place[other])
        for other in others:
            theirs = queue_of(self.commands[other])
            assert theirs is not None
            if theirs == queue or seen.get(theirs, 0) >= self.place[other]:
                continue
            wait = WaitOp(self._record(other, theirs).event, queue)
            wait.location = op.location
            waits.append(wait)
            for name, place in self.known[other].items():
                seen[name] = max(seen.get(name, 0), place)
        self.place[number] = len(self.place) + 1
        seen[queue] = self.place[number]
        self.known[number] = dict(seen)
        return [*waits, op]

    def _record(self, number: int, queue: str) -> RecordOp:
        if number not in self.records:
            self.records[number] = RecordOp(queue)
            self.records[number].location = self.commands[number].location
        return self.records[number]

    def insert_records(self) -> None:
        """Puts the records behind the commands they are of."""
        for number, record in self.records.items():
            Rewriter.insert_op(record, InsertPoint.after(self.commands[number]))
