"""The timeline of a run on the host HAL: what each command did, and when."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.errors import BackendError

MAX_RANK, MAX_QUEUES, FORMATS = 8, 10, 16
VECTOR, MATRIX, DMA = 0, 1, 2
"""Numbers of queues; DMA channel c is DMA + c."""

KINDS = ("dma", "matmul", "conv", "loops", "quantize", "dequantize", "requantize")
PURPOSES = ("weights", "activations", "scales")

FAULTS = (
    "",
    "touches bytes outside of every memory",
    "writes weights or inputs",
    "touches the scratchpad beyond its size",
    "writes what it reads, or writes twice",
    "touches bytes that another queue may be using: an event is missing",
    "is for a DMA channel that the target does not have",
)
"""What is said of each `mxnpu_fault`."""

COMMAND = np.dtype(
    [
        ("begin", "u8"),
        ("end", "u8"),
        ("busy", "u8"),
        ("work", "u8"),
        ("stall", "u8"),
        ("queue", "u4"),
        ("kind", "u4"),
        ("tag", "u4"),
        ("cause", "u4"),
        ("dram", "u8", 3),
        ("bytes", "u8"),
        ("first_access", "u4"),
        ("accesses", "u4"),
        ("seen", "u4", MAX_QUEUES),
    ],
    align=True,
)
"""`mxnpu_command`."""

ACCESS_BYTES = 8 * (2 + 2 * MAX_RANK) + 4 * 4 + 8
"""The size of an `mxnpu_access`."""


class Memory(ctypes.Structure):
    """`mxnpu_memory`."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("writable", ctypes.c_uint32),
        ("scratchpad", ctypes.c_uint32),
    )


class Device(ctypes.Structure):
    """`mxnpu_device`."""

    _fields_ = (
        ("target", ctypes.c_void_p),
        ("commands", ctypes.c_void_p),
        ("accesses", ctypes.c_void_p),
        ("capacity", ctypes.c_uint64),
        ("access_capacity", ctypes.c_uint64),
        ("count", ctypes.c_uint64),
        ("access_count", ctypes.c_uint64),
        ("memories", ctypes.c_void_p),
        ("memory_count", ctypes.c_uint64),
        ("check", ctypes.c_uint32),
        ("fault", ctypes.c_uint32),
        ("fault_command", ctypes.c_uint64),
        ("fault_other", ctypes.c_uint64),
        ("tag", ctypes.c_uint32),
        ("port", ctypes.c_uint64),
        ("last", ctypes.c_uint32 * MAX_QUEUES),
        ("free_at", ctypes.c_uint64 * MAX_QUEUES),
        ("event_at", ctypes.c_uint64 * MAX_QUEUES),
        ("event_cause", ctypes.c_uint32 * MAX_QUEUES),
        ("seen", ctypes.c_uint32 * (MAX_QUEUES * MAX_QUEUES)),
    )


@dataclass(frozen=True)
class Timeline:
    """The commands of one run, in the order in which they were given."""

    commands: NDArray[Any]
    """Of dtype `COMMAND`."""

    layers: tuple[str, ...]
    """What a command's `tag` counts: names of ONNX nodes."""

    @property
    def cycles(self) -> int:
        """The end of the last command."""
        return int(self.commands["end"].max(initial=0))


class Recorder:
    """A device that records up to `capacity` commands; `check` finds misuse of the HAL."""

    def __init__(
        self,
        library: ctypes.CDLL,
        memories: list[tuple[int, int, bool, bool]],
        capacity: int,
        check: bool,
    ) -> None:
        self.commands: NDArray[Any] = np.zeros(capacity, COMMAND)
        self._accesses = np.zeros((capacity * 8 if check else 1, ACCESS_BYTES), np.uint8)
        self._memories = (Memory * len(memories))(*(Memory(*one) for one in memories))
        self.device = Device()
        self.device.target = ctypes.addressof(ctypes.c_char.in_dll(library, "mxc_main_target"))
        self.device.commands = self.commands.ctypes.data
        self.device.accesses = self._accesses.ctypes.data
        self.device.capacity, self.device.access_capacity = capacity, len(self._accesses)
        self.device.memories = ctypes.addressof(self._memories)
        self.device.memory_count, self.device.check = len(memories), int(check)
        library.mxnpu_host_reset(ctypes.byref(self.device))

    @property
    def is_complete(self) -> bool:
        """Whether everything that was given was recorded."""
        device = self.device
        full = device.check and device.access_count > device.access_capacity
        return bool(device.count <= device.capacity) and not full

    def timeline(self, layers: tuple[str, ...]) -> Timeline:
        """What was recorded.

        Raises:
            BackendError: if a command broke the rules of the HAL.
        """
        device = self.device
        commands: NDArray[Any] = self.commands[: device.count]
        if device.fault:
            number = int(device.fault_command)
            command: Any = commands[min(number, int(device.count) - 1)]
            kind, tag = int(command["kind"]), int(command["tag"])
            what = f"command {number} ({KINDS[kind]}) {FAULTS[int(device.fault)]}"
            raise BackendError(what, at=layers[tag] if layers else "")
        return Timeline(commands, layers)
