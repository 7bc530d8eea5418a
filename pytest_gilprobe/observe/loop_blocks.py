"""Measure for how long calls block an event loop: by a wrapper around asyncio's selector, or an instrument of trio.

A loop of asyncio that waits for events does so in its selector's ``select``, and trio calls its instruments around each
wait for events. Whatever a loop does between two waits, its own bookkeeping included, blocks every other task. A wait
whose time limit is 0 also ends a block, since the loop then looks for events. Watch only calls whose times are not used
otherwise: the watch slows them down.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pytest_gilprobe.model.call_readings import LoopBlock
from pytest_gilprobe.observe import clocks

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class _Clocks(NamedTuple):
    """The clocks of the loop's thread at one moment; ``waits`` counts how often it gave its core up."""

    wall_ns: int
    cpu_ns: int
    queue_ns: int | None
    waits: int | None


class BlockWatch(ABC):
    """Record the longest block of each call: the longest time for which the event loop does not look for events.

    This is a context manager, to be entered in the loop's thread. Use `begin_call` before each call and `end_call`
    after it; ``blocks`` then has one `LoopBlock` for each call, in order, with times in nanoseconds.
    """

    def __init__(self) -> None:
        """Prepare to watch a loop."""
        self._queue: clocks.RunQueueClock
        self._since = _Clocks(0, 0, None, None)
        self._longest: LoopBlock | None = None
        self._call_start_ns = 0
        self.blocks: list[LoopBlock] = []

    def __enter__(self) -> Self:
        """Begin to watch the loop."""
        self._queue = clocks.RunQueueClock()  # of the thread that enters: the loop's
        self._begin_watching()
        self._since = self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the loop as it was."""
        self._end_watching()
        self._queue.close()

    @abstractmethod
    def _begin_watching(self) -> None:
        """Have the loop call `before_io_wait` before it waits for events, and `after_io_wait` afterwards."""

    @abstractmethod
    def _end_watching(self) -> None:
        """Undo that."""

    def before_io_wait(self, timeout: float | None) -> None:  # noqa: ARG002 - the name and arguments are trio's
        """End a block (a time without a look for events), since the loop is about to look. ``timeout`` is ignored."""
        self._end_block()

    def after_io_wait(self, timeout: float | None) -> None:  # noqa: ARG002 - as above
        """Begin a block (a time without a look for events), since the loop has just looked. ``timeout`` is ignored."""
        self._since = self._begin()

    def begin_call(self) -> None:
        """Begin a new call: forget the blocks (times without a look for events) until now, and measure new ones."""
        self._longest = None
        self._since = self._begin()
        self._call_start_ns = self._since.wall_ns

    def end_call(self) -> None:
        """End a call: of the blocks since `begin_call`, the present one included, add the longest to ``blocks``."""
        self._end_block()
        if self._longest is not None:
            ends_ns = clocks.perf_counter_ns()
            self.blocks.append(replace(self._longest, call_start_ns=self._call_start_ns, call_end_ns=ends_ns))
        self._since = self._begin()

    def _begin(self) -> _Clocks:
        """Read the wall clock last: a thread that is pushed off its core between two clocks adds to neither block."""
        waits, queue, cpu = _waits(), self._queue.read_ns(), clocks.thread_time_ns()
        return _Clocks(clocks.perf_counter_ns(), cpu, queue, waits)

    def _end(self) -> _Clocks:
        """Read the wall clock first, for the same reason."""
        return _Clocks(clocks.perf_counter_ns(), clocks.thread_time_ns(), self._queue.read_ns(), _waits())

    def _end_block(self) -> None:
        now, since = self._end(), self._since
        block = LoopBlock(
            start_ns=since.wall_ns,
            wall_ns=now.wall_ns - since.wall_ns,
            cpu_ns=now.cpu_ns - since.cpu_ns,
            queue_ns=None if now.queue_ns is None or since.queue_ns is None else now.queue_ns - since.queue_ns,
            waits=None if now.waits is None or since.waits is None else now.waits - since.waits,
        )
        if self._longest is None or _own_ns(block) > _own_ns(self._longest):
            self._longest = block


class SelectorWatch(BlockWatch):
    """Watch a loop of asyncio for blocks, by a wrapper around the ``select`` method of the loop's selector."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Prepare to watch ``loop``; raises `TypeError` if it has no selector of Python's own, as with uvloop.

        Private access: ``_selector``, as there is no public name for a loop's selector.
        """
        super().__init__()
        self._selector: Any = getattr(loop, "_selector", None)
        self._watched: Callable[..., Any] | None = None
        self._replaced: dict[str, Any] = {}
        if self._selector is None or not hasattr(self._selector, "__dict__"):
            msg = f"{type(loop).__name__} does not wait in a selector of Python's own"
            raise TypeError(msg)

    def _begin_watching(self) -> None:
        """Put a wrapper around ``select``, and keep the one that the user may have put there."""
        select, own = self._selector.select, vars(self._selector)
        self._replaced = {"select": own["select"]} if "select" in own else {}

        def watched(timeout: float | None = None) -> Any:
            if self._watched is not watched:  # the watch has ended, but a wrapper put there meanwhile still calls this
                return select(timeout)
            self.before_io_wait(timeout)
            try:
                return select(timeout)
            finally:
                self.after_io_wait(timeout)

        self._watched = self._selector.select = watched

    def _end_watching(self) -> None:
        """Put back what was there, unless the user's code has put something else there meanwhile."""
        watched, self._watched = self._watched, None
        if vars(self._selector).get("select") is watched:
            del self._selector.select
            vars(self._selector).update(self._replaced)


class TrioWatch(BlockWatch):
    """Watch the running loop of trio for blocks, as one of the loop's instruments (objects that trio notifies)."""

    def _begin_watching(self) -> None:
        import trio  # noqa: PLC0415 - it runs, so it is installed

        trio.lowlevel.add_instrument(self)  # type: ignore[arg-type]  # it need not inherit from `trio.abc.Instrument`

    def _end_watching(self) -> None:
        import trio  # noqa: PLC0415 - as above

        trio.lowlevel.remove_instrument(self)  # type: ignore[arg-type]  # as above


def _waits() -> int | None:
    switches = clocks.context_switches()
    return None if switches is None else switches[0]


def _own_ns(block: LoopBlock) -> int:
    """Return how long a block lasted without the time that its thread waited for a core."""
    return block.wall_ns - (block.queue_ns or 0)
