"""Memory that pytest writes and its watcher reads: which test called when, and on which clocks.

A ring of bytes in a mapped file. What the rest may rely on:

* Writing makes no system call, waits for nothing and keeps the GIL: it cannot slow a test down, whatever the watcher
  does, and not even a test that closes all file descriptors stops it. A record for which there is no room is counted.
* What a process wrote before it died is still there, with the name of the test that it was in.
* One process writes and one reads. A record is copied before the position that tells of it is moved.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RING_BYTES: Final = 1 << 22
"""16,000 records of 250 bytes: 6 s of the fastest suite, and the watcher reads five times a second."""

_WORD: Final = struct.Struct("=Q")
_WRITTEN, _READ, _LOST, _ADDRESS, _STATE, _STAGE, _NAME_LENGTH, _FAREWELL_LENGTH = range(0, 8 * _WORD.size, _WORD.size)
_NAME: Final = 8 * _WORD.size
_LONGEST_NAME: Final = 4096 - _NAME
_FAREWELL: Final = 4096
_HEADER_BYTES: Final = 2 * 4096
_CLOCKS: Final = struct.Struct("=Iqqqqq")
_UNKNOWN: Final = -1
_WAITING, _WATCHED, _FINISHED = range(3)
STARTING, UP, NOTED, TOLD = range(4)
"""How far a watcher has come: it imports, waits for the first test, has written its last notes, has told what it found.

While it waits it may start anew, to import more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The call phase of one test: its moments and clocks, nanoseconds.

    ``cpu_ns`` is that of the thread that ran the test, ``process_cpu_ns`` of all threads; ``run_queue_ns`` is how long
    the former was runnable without running, ``None`` where the system does not tell.
    """

    nodeid: str
    fixtures: tuple[str, ...]
    start_ns: int
    end_ns: int
    cpu_ns: int
    process_cpu_ns: int
    run_queue_ns: int | None


class Journal:
    """One side's view of the ring."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._size = len(memory) - _HEADER_BYTES
        self._written = 0

    @classmethod
    def create(cls, path: Path, ring_bytes: int = RING_BYTES) -> Self:
        """Make the file, which must not exist, and map it."""
        with path.open("x+b") as file:
            file.truncate(_HEADER_BYTES + ring_bytes)
            return cls(mmap.mmap(file.fileno(), 0))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a file that another process made."""
        with path.open("r+b") as file:
            return cls(mmap.mmap(file.fileno(), 0))

    # pytest's side

    def begin(self, nodeid: str) -> None:
        """Name the test that is about to be called."""
        name = nodeid.encode("utf-8", "surrogatepass")[:_LONGEST_NAME]
        self._memory[_NAME : _NAME + len(name)] = name
        self._set(_NAME_LENGTH, len(name))

    def end(self, window: tuple[int, int, int, int, int | None], nodeid: str, fixtures: str) -> None:
        """Record a call: start, end, CPU, process CPU and run queue; ``fixtures`` are names joined by spaces."""
        memory = self._memory
        text = f"{nodeid}\0{fixtures}".encode("utf-8", "surrogatepass")
        *clocks, queue = window
        record = _CLOCKS.pack(len(text), *clocks, _UNKNOWN if queue is None else queue) + text
        at, written = self._written % self._size, self._written + len(record)
        if written - self._get(_READ) > self._size:
            self._set(_LOST, self._get(_LOST) + 1)
        elif at + len(record) <= self._size:
            memory[_HEADER_BYTES + at : _HEADER_BYTES + at + len(record)] = record
            self._written = written
        else:
            until_end = self._size - at
            memory[_HEADER_BYTES + at :] = record[:until_end]
            memory[_HEADER_BYTES : _HEADER_BYTES + len(record) - until_end] = record[until_end:]
            self._written = written
        _WORD.pack_into(memory, _WRITTEN, self._written)
        _WORD.pack_into(memory, _NAME_LENGTH, 0)

    def start(self, address: int) -> None:
        """Tell the watcher where the GIL state lies, 0 where it is not known: tests begin now."""
        self._set(_ADDRESS, address)
        self._set(_STATE, _WATCHED)

    def finish(self, farewell: str = "") -> None:
        """Tell the watcher that no more tests come, and what else it should know: at most 4096 bytes in ASCII."""
        text = farewell.encode("ascii")[: _HEADER_BYTES - _FAREWELL]
        self._memory[_FAREWELL : _FAREWELL + len(text)] = text
        self._set(_FAREWELL_LENGTH, len(text))
        self._set(_STATE, _FINISHED)

    def has_reached(self, stage: int) -> bool:
        """Whether the watcher has come as far as `UP`, `NOTED` or `TOLD`."""
        return self._get(_STAGE) >= stage

    # The watcher's side

    def reach(self, stage: int) -> None:
        """Say that the watcher is `UP`, has `NOTED` or has `TOLD`."""
        self._set(_STAGE, stage)

    def take(self) -> Iterator[Window]:
        """Give the records that are new, oldest first, and make room for others."""
        written, at = self._get(_WRITTEN), self._get(_READ)
        while at < written:
            length, *clocks, queue = _CLOCKS.unpack(self._copy_out(at % self._size, _CLOCKS.size))
            text = self._copy_out((at + _CLOCKS.size) % self._size, length).decode("utf-8", "surrogatepass")
            nodeid, _, fixtures = text.rpartition("\0")
            start_ns, end_ns, cpu_ns, process_cpu_ns = clocks
            yield Window(
                nodeid=nodeid,
                fixtures=tuple(fixtures.split()),
                start_ns=start_ns,
                end_ns=end_ns,
                cpu_ns=cpu_ns,
                process_cpu_ns=process_cpu_ns,
                run_queue_ns=None if queue == _UNKNOWN else queue,
            )
            at += _CLOCKS.size + length
            self._set(_READ, at)

    @property
    def begun(self) -> bool:
        """Whether tests have begun."""
        return self._get(_STATE) != _WAITING

    @property
    def finished(self) -> bool:
        """Whether no more tests come."""
        return self._get(_STATE) == _FINISHED

    @property
    def farewell(self) -> str:
        """What the writer said when it finished."""
        return self._memory[_FAREWELL : _FAREWELL + self._get(_FAREWELL_LENGTH)].decode("ascii")

    @property
    def address(self) -> int:
        """Where the GIL state lies in the writer's memory; 0 is not known."""
        return self._get(_ADDRESS)

    @property
    def lost(self) -> int:
        """How many records found no room."""
        return self._get(_LOST)

    @property
    def inside(self) -> str | None:
        """The test that is being called; None between tests."""
        length = self._get(_NAME_LENGTH)
        return bytes(self._memory[_NAME : _NAME + length]).decode("utf-8", "replace") if length else None

    # Bytes

    def _get(self, place: int) -> int:
        value: int = _WORD.unpack_from(self._memory, place)[0]
        return value

    def _set(self, place: int, value: int) -> None:
        _WORD.pack_into(self._memory, place, value)

    def _copy_out(self, at: int, size: int) -> bytes:
        start = _HEADER_BYTES + at
        first = self._memory[start : min(start + size, _HEADER_BYTES + self._size)]
        return first + self._memory[_HEADER_BYTES : _HEADER_BYTES + size - len(first)]
