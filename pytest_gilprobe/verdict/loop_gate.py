"""The gate (a check that fails a test) on how long a call may block its event loop, so that no other task runs.

A block is a time without a break for other tasks. The gate checks a length that the blocks of several calls reach, so
that a single disturbance does not count. Only the time that the code certainly takes is compared with the limit. Time
for which the loop's thread waited for a core is left out. On a busy machine, computing time is divided by
`SLACK_WHEN_BUSY` (1.3), since other programs may lengthen it. Waits for the GIL are then left out, too: the thread that
holds the GIL may itself have waited for a core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.stats.rounds import QUIET
from pytest_gilprobe.verdict import blocking, loop_code
from pytest_gilprobe.verdict.gating import Failure, Gating, unchecked

if TYPE_CHECKING:
    from pytest_gilprobe.model.loop_time import Block, Blocker
    from pytest_gilprobe.model.results import WorkloadResult

SLACK = 1.1
"""The length of a block of the event loop is divided by this factor before it is compared with the marker's limit: on a
quiet machine, clocks, caches and clock rates change it by less than that."""
SLACK_WHEN_BUSY = 1.3
"""On a busy machine, the computing time in a block of the event loop is divided by this factor before it counts: other
programs share caches, memory and perhaps the core's execution units. A plain loop ran slower by this factor beside busy
loops, not counting its time in the run queue."""

BUSY = "busy-machine"
"""Slug (short name) of the caution that other programs kept the CPUs busy."""


def check(limit_s: float | None, result: WorkloadResult) -> Gating:
    """Check the longest repeated block of a workload's event loop against ``limit_s`` seconds; ``None`` means no limit.

    A repeated block is one that came again, in several calls. The outcome has a failure if such a block certainly
    exceeds the limit, a caution if that cannot be decided, and is empty otherwise.
    """
    if limit_s is None:
        return Gating()
    loop = result.event_loop
    if loop is None:
        return _open(limit_s, "its calls are not awaited in an event loop")
    block = loop.repeated_block
    if block is None:
        return _open(limit_s, loop.why_unknown or "too few calls were made to tell blocks that come again")
    busy = _is_busy(result, block)
    certain_s = block.computing_s / (SLACK_WHEN_BUSY if busy else SLACK)
    certain_s += block.blocking_s / SLACK if block.queue_s is not None else 0.0
    certain_s += 0.0 if busy else block.gil_wait_s / SLACK
    if certain_s > limit_s:
        return Gating(failures=(_failure(limit_s, block, result.loop_library),))
    if block.length_s > limit_s:
        return _open(limit_s, f"a block of {numbers.seconds(block.length_s)} may be due to {_doubt(block, busy=busy)}")
    return Gating()


def _is_busy(result: WorkloadResult, block: Block) -> bool:
    """Return whether other programs may have lengthened a block: of threads that hold the GIL a caution tells it."""
    if any(caution.slug == BUSY for caution in result.verdict.cautions):
        return True
    queued = result.serial.run_queue_share if result.serial is not None else None
    return (queued or 0.0) > QUIET or (block.queue_s or 0.0) > block.length_s * QUIET


def _doubt(block: Block, *, busy: bool) -> str:
    if block.queue_s is None:
        return "waiting for a core, which this system does not report"
    return "other programs, which kept the CPUs busy" if busy else "the clocks' errors"


def _open(limit_s: float, why: str) -> Gating:
    said = f"max_loop_block={limit_s:g} is not decided, so the test passes: {why}"
    return Gating(cautions=(unchecked(said),))


def _failure(limit_s: float, block: Block, library: str | None) -> Failure:
    parts = {
        f"{numbers.seconds(block.computing_s)} computing": block.computing_s,
        f"{numbers.seconds(block.blocking_s)} asleep in a blocking call": block.blocking_s,
        f"{numbers.seconds(block.gil_wait_s)} waiting for the GIL": block.gil_wait_s,
    }
    write = loop_code.of(library)
    remedies = (
        f"compute in a process pool, {write.by_pool}, or give way with {write.give_way}",
        f"await the call by {write.to_thread}, or use an asynchronous client",
        "do what the other threads compute in a process pool: they hold the GIL",
    )
    shares = list(parts.values())
    told = ", ".join(text for text, seconds in parts.items() if seconds >= block.length_s / 100)
    return Failure(
        expected=f"max_loop_block={limit_s:g}",
        found=f"a block of {numbers.seconds(block.length_s)}{blocking.in_block(block.place)}",
        evidence=f"{numbers.count(block.calls, 'call')} or more blocked the event loop for so long at a time: {told}; "
        "time in which the thread waited for a core is not counted",
        remedy=_moved(block.place, library) or remedies[shares.index(max(shares))],
    )


def _moved(place: Blocker | None, library: str | None) -> str | None:
    """Return the code that would leave the loop free; ``None`` if no call of the user's is known to block it."""
    if place is None or place.call is None or place.gil_held is None:
        return None
    if place.gil_held <= blocking.LETS_GO:
        return f"write {loop_code.awaited(place.call.code, library, in_thread=True)}, or use an asynchronous client"
    code = loop_code.awaited(place.call.code, library, in_thread=False)
    return f"write {code} with a process pool, or give way with {loop_code.of(library).give_way}"
