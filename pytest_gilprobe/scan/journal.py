"""Share memory between pytest, which writes each test call's clocks, and a process that reads them: the watcher.

The watcher samples pytest's GIL. The memory is a ring buffer in a mapped file. Its guarantees:

* Writing makes no system call, waits for nothing and keeps the GIL. So it cannot slow a test down, whatever the watcher
  does, and works even in a test that closes all file descriptors. A record that does not fit is counted as lost.
* The records that a process wrote before it died remain, and so does the name of the test that was running.
* One process writes and one reads. A record is copied in full before the position that makes it visible is moved.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

RING_BYTES: Final = 1 << 22
"""Size in bytes of the ring buffer through which pytest passes the clocks of test calls to its watcher process. There
is room for 16,000 records of 250 bytes; the watcher empties the buffer five times a second."""

_WORD: Final = struct.Struct("=Q")
_WORDS: Final = 9
_PLACES: Final = range(0, _WORDS * _WORD.size, _WORD.size)
_WRITTEN, _READ, _LOST, _ADDRESS, _THREAD, _STATE, _STAGE, _NAME_LENGTH, _MESSAGE_LENGTH = _PLACES
_NAME: Final = _WORDS * _WORD.size
_LONGEST_NAME: Final = 4096 - _NAME
_MESSAGE: Final = 4096
_HEADER_BYTES: Final = 2 * 4096
_CLOCKS: Final = struct.Struct("=Iqqqqq")
_UNKNOWN: Final = -1
_WAITING, _WATCHED, _FINISHED = range(3)
IMPORTING, READY, NOTED, DRAWN = range(4)
"""Stages of the watcher process (which samples the GIL of pytest's process), in order: it imports modules, is ready for
the first test, has written its last notes, has drawn the report.

Until the first test begins, the watcher may go back from ``READY`` to ``IMPORTING``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The clocks of one test's call. All times are in nanoseconds, all moments those of `time.perf_counter_ns`.

    Attributes:
        nodeid: the test's node id.
        fixtures: the names of the test's fixtures.
        start_ns: when the call began; ``end_ns`` is when it ended.
        cpu_ns: CPU time of the thread that ran the test, during the call.
        process_cpu_ns: CPU time of all threads of the process, during the call.
        run_queue_ns: how long the test's thread was runnable without running; ``None`` if the system does not report
            it.
        collections: begin and end of each full garbage collection that Python started during the call.
    """

    nodeid: str
    fixtures: tuple[str, ...]
    start_ns: int
    end_ns: int
    cpu_ns: int
    process_cpu_ns: int
    run_queue_ns: int | None
    collections: tuple[tuple[int, int], ...] = ()


class Journal:
    """A ring buffer in shared memory, by which pytest tells its watcher (another process) when each test was called.

    A record has a call's begin, end and CPU time, and the test's name. The watcher samples the GIL of pytest's process.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._size = len(memory) - _HEADER_BYTES
        self._written = 0

    @classmethod
    def create(cls, path: Path, ring_bytes: int = RING_BYTES) -> Self:
        """Create the journal's file at ``path`` and map it into memory; its ring buffer has ``ring_bytes`` bytes.

        Raises `FileExistsError` if ``path`` exists.
        """
        with path.open("x+b") as file:
            file.truncate(_HEADER_BYTES + ring_bytes)
            return cls(mmap.mmap(file.fileno(), 0))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map the journal's file at ``path``, which another process has created, into memory."""
        with path.open("r+b") as file:
            return cls(mmap.mmap(file.fileno(), 0))

    # pytest's side

    def begin(self, nodeid: str) -> None:
        """Record the node id of the test about to be called; if pytest dies, this record tells in which test."""
        name = nodeid.encode("utf-8", "surrogatepass")[:_LONGEST_NAME]
        self._memory[_NAME : _NAME + len(name)] = name
        self._set(_NAME_LENGTH, len(name))

    def end(
        self,
        window: tuple[int, int, int, int, int | None],
        nodeid: str,
        fixtures: str,
        collections: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Record a test's call that has ended; if the ring buffer has no room, only count the record as lost.

        Args:
            window: the call's start and end, CPU time of its thread, CPU time of the process, and time for which the
                thread was runnable without running (``None`` if unknown), all in nanoseconds.
            nodeid: the test's node id.
            fixtures: the names of the test's fixtures, separated by spaces.
            collections: begin and end of garbage collections, by the clock of ``window``; those that are not entirely
                within the call are not recorded.
        """
        memory = self._memory
        collected = ""
        if collections:
            spans = [f"{begin} {end}" for begin, end in collections if window[0] <= begin and end <= window[1]]
            collected = " ".join(spans)
        text = f"{nodeid}\0{fixtures}\0{collected}".encode("utf-8", "surrogatepass")
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

    def start(self, address: int, thread: int = 0) -> None:
        """Tell the watcher, the process that samples pytest's GIL, that tests begin.

        ``address`` is the address of the GIL state in pytest's memory; 0 if unknown. ``thread`` is the address of the
        main thread's ``PyThreadState``; 0 if it is unknown or if another thread runs the tests.
        """
        self._set(_ADDRESS, address)
        self._set(_THREAD, thread)
        self._set(_STATE, _WATCHED)

    def finish(self, message: str = "") -> None:
        """Tell the watcher, the process that samples pytest's GIL, that no more tests follow.

        ``message`` has, as JSON in ASCII, the facts that the watcher needs for its report and that pytest knows only
        now, such as the terminal's width. It is cut after 4096 bytes.
        """
        text = message.encode("ascii")[: _HEADER_BYTES - _MESSAGE]
        self._memory[_MESSAGE : _MESSAGE + len(text)] = text
        self._set(_MESSAGE_LENGTH, len(text))
        self._set(_STATE, _FINISHED)

    def has_reached(self, stage: int) -> bool:
        """Return whether the watcher, the process that samples pytest's GIL, has reached ``stage`` or a later one.

        The stages are `READY` (for the first test), `NOTED` (it has written its last notes) and `DRAWN` (it has drawn
        the report), in this order.
        """
        return self._get(_STAGE) >= stage

    # The watcher's side

    def reach(self, stage: int) -> None:
        """Record which ``stage`` the watcher, the process that samples pytest's GIL, has reached.

        The stages are `IMPORTING` (it imports modules), `READY` (for the first test), `NOTED` (it has written its last
        notes) and `DRAWN` (it has drawn the report).
        """
        self._set(_STAGE, stage)

    def take(self) -> Iterator[Window]:
        """Yield the clocks of each test's call that was not yet read, the oldest first.

        A record's space in the ring buffer can be reused as soon as the iterator is asked for the next record.
        """
        written, at = self._get(_WRITTEN), self._get(_READ)
        while at < written:
            length, *clocks, queue = _CLOCKS.unpack(self._copy_out(at % self._size, _CLOCKS.size))
            text = self._copy_out((at + _CLOCKS.size) % self._size, length).decode("utf-8", "surrogatepass")
            nodeid, fixtures, collected = text.rsplit("\0", 2)
            moments = [int(one) for one in collected.split()]
            start_ns, end_ns, cpu_ns, process_cpu_ns = clocks
            yield Window(
                nodeid=nodeid,
                fixtures=tuple(fixtures.split()),
                start_ns=start_ns,
                end_ns=end_ns,
                cpu_ns=cpu_ns,
                process_cpu_ns=process_cpu_ns,
                run_queue_ns=None if queue == _UNKNOWN else queue,
                collections=tuple(zip(moments[::2], moments[1::2], strict=True)),
            )
            at += _CLOCKS.size + length
            self._set(_READ, at)

    @property
    def begun(self) -> bool:
        """Whether pytest called `start`: the first test may have begun."""
        return self._get(_STATE) != _WAITING

    @property
    def finished(self) -> bool:
        """Whether pytest called `finish`: no more tests follow."""
        return self._get(_STATE) == _FINISHED

    @property
    def message(self) -> str:
        """The text that pytest passed to `finish`, with facts for the watcher's report as JSON; empty before."""
        return self._memory[_MESSAGE : _MESSAGE + self._get(_MESSAGE_LENGTH)].decode("ascii")

    @property
    def address(self) -> int:
        """The address of the GIL state in pytest's memory; 0 if unknown."""
        return self._get(_ADDRESS)

    @property
    def thread(self) -> int:
        """The address of the main thread's ``PyThreadState``; 0 if unknown or if another thread runs the tests."""
        return self._get(_THREAD)

    @property
    def lost(self) -> int:
        """How many records of test calls were lost because the ring buffer was full."""
        return self._get(_LOST)

    @property
    def inside(self) -> str | None:
        """The node id of the test that is being called, cut if it is very long; ``None`` between tests."""
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
