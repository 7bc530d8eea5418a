"""Find how long calls block the event loop: the longest block of all, and the longest one that several calls reach.

A block is the time from one wait for events to the next: no other task of the loop can run in it. The clocks of the
loop's thread time the blocks of each call. After a wait for events, the thread may first have to wait for the GIL. No
clock of its own shows this, but samples do. Successive samples that find the thread waiting for the GIL count as one
wait, from the first to the last, if the GIL did not pass to another thread in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_gilprobe.model.loop_time import Block
from pytest_gilprobe.stats import blockers
from pytest_gilprobe.stats.blockers import Kind
from pytest_gilprobe.stats.gil_samples import SampledWindow

if TYPE_CHECKING:
    from pytest_gilprobe.model.call_readings import LoopBlock
    from pytest_gilprobe.model.readings import GilSamples, LoopPass

REPEATED: Final = 3
"""A block of the event loop counts as repeated if this many calls have a block that is at least as long. An accident,
such as a garbage collection, lengthens a block in one call of several only."""
FEWEST_LOOKS: Final = 10
"""If at least this many samples were taken in a block (a time in which no other task of the event loop can run), they
limit how long the loop's thread is taken to have slept in the block: to the block's length times the share of samples
that found the thread asleep in a call or waiting for the GIL."""
FEWEST: Final = 2
"""If blocks of the event loop were timed in fewer calls than this, none counts as repeated."""
FEWEST_IN_A_WAIT: Final = 4
"""A thread's wait for the GIL is timed only if at least this many successive samples found the thread waiting: fewer do
not show how long the wait was."""


class _Found(NamedTuple):
    """The longest block of one call: of the loop's own, or with ``block`` ``None`` a wait for the GIL."""

    length_ns: int
    start_ns: int
    block: LoopBlock | None

    def window(self, samples: GilSamples) -> SampledWindow:
        """Return the samples of this block."""
        lasted_ns = self.length_ns if self.block is None else self.block.wall_ns
        return SampledWindow(samples, self.start_ns, self.start_ns + lasted_ns)


def longest_s(seen: LoopPass) -> float | None:
    """Return the length in seconds of the longest block of the event loop in the calls that were ``seen``.

    In a block, no other task of the loop can run. The length is without the time for which the loop's thread queued for
    a CPU. The result is ``None`` if no block was timed.
    """
    return max((one.length_ns for one in _of_each_call(seen)), default=0) / 1e9 if seen.blocks else None


def repeated(seen: LoopPass) -> Block | None:
    """Return the longest block of an event loop whose length several calls reached or exceeded.

    A block is a time in which no other task of the loop can run; ``seen`` has the longest block of each call. Several
    are 3 calls (`REPEATED`), or all calls if there are fewer. The result is ``None`` if blocks were timed in fewer than
    2 calls (`FEWEST`).
    """
    if len(seen.blocks) < FEWEST:
        return None
    number = min(REPEATED, len(seen.blocks))
    longest = sorted(_of_each_call(seen), key=lambda one: -one.length_ns)[:number]
    length_ns, _, block = longest[-1]
    computing_ns, asleep_ns, gil, place = 0 if block is None else block.cpu_ns, float(length_ns), 1.0, None
    if block is not None:
        asleep_ns, gil = float(length_ns - block.cpu_ns), 0.0
    if seen.samples is not None and seen.samples.sleeps:
        windows = [one.window(seen.samples) for one in longest]
        place = blockers.place_of_block(windows)
        if block is not None:
            found, looks = blockers.asleep(windows[-1:]), len(windows[-1].inside)
            if looks >= FEWEST_LOOKS:
                asleep_ns = min(asleep_ns, block.wall_ns * found.blocked / looks)
            gil = found.share(found.gil)
    queue_ns = 0 if block is None else block.queue_ns
    return Block(
        length_s=(computing_ns + asleep_ns) / 1e9,
        computing_s=computing_ns / 1e9,
        blocking_s=asleep_ns * (1 - gil) / 1e9,
        gil_wait_s=asleep_ns * gil / 1e9,
        queue_s=None if queue_ns is None else queue_ns / 1e9,
        calls=number,
        place=place,
    )


def _of_each_call(seen: LoopPass) -> list[_Found]:
    return [
        max(_own(block), _longest_wait(seen.samples, block), key=lambda one: one.length_ns) for block in seen.blocks
    ]


def _own(block: LoopBlock) -> _Found:
    """Return how long a block computed or slept: without its thread's time in the run queue.

    A thread that never gave its core up did not sleep: what is missing then may be due to a virtual machine's host.
    """
    asleep_ns = max(0, block.wall_ns - block.cpu_ns - (block.queue_ns or 0))
    return _Found(block.cpu_ns + (0 if block.waits == 0 else asleep_ns), block.start_ns, block)


def _longest_wait(samples: GilSamples | None, block: LoopBlock) -> _Found:
    """Return the longest wait for the GIL in the call of a block; of length 0 if none was seen."""
    longest = _Found(0, 0, None)
    if samples is None or not samples.sleeps or not samples.switches:
        return longest
    run: list[int] = []
    for at in SampledWindow(samples, block.call_start_ns, block.call_end_ns).inside:
        if blockers.kind(samples, at) is not Kind.GIL_WAIT:
            run = []
        elif run and samples.switches[at] == samples.switches[run[-1]]:
            run.append(at)
        else:
            run = [at]
        if len(run) >= FEWEST_IN_A_WAIT:
            start_ns, end_ns = samples.at_ns[run[0]], samples.at_ns[run[-1]]
            longest = max(longest, _Found(end_ns - start_ns, start_ns, None), key=lambda one: one.length_ns)
    return longest
