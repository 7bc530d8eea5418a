"""The records of how an event loop's thread spends its time: shares, single blocks, and what follows for a workload."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.holders import CodePlace, Holder


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopShares:
    """How an event loop's thread spent its time during serial calls, without its waits for a core.

    The fields are shares from 0 to 1, with the sum 1. ``waiting`` is waiting for events, with the loop free for other
    tasks. The other three block the loop: ``computing``, ``blocking`` (asleep in a call such as `time.sleep`) and
    ``gil_wait`` (asleep while another thread held the GIL).
    """

    waiting: float
    computing: float
    blocking: float
    gil_wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One uninterrupted block of an event loop, in seconds, split by what the loop's thread did.

    Attributes:
        length_s: the sum of ``computing_s``, ``blocking_s`` and ``gil_wait_s``, without ``queue_s``.
        computing_s: how long the thread computed.
        blocking_s: how long the thread slept in a call; if ``queue_s`` is ``None``, the wait for a core is contained.
        gil_wait_s: how long the thread waited for the GIL.
        queue_s: how long the thread waited for a core; ``None`` if the system does not report it.
        calls: the number of calls that had a block at least as long.
        place: the code in which the loop's thread was for most of the block, or another thread that held the GIL then;
            ``None`` if unknown.
    """

    length_s: float
    computing_s: float
    blocking_s: float
    gil_wait_s: float
    queue_s: float | None
    calls: int
    place: Blocker | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSite(CodePlace):
    """An expression in a coroutine of the user's that makes a plain call, one that is not awaited.

    ``code`` is the expression's source text, such as ``query(1)``.
    """

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker(Holder):
    """One place in the code that blocks an event loop.

    ``share`` is the place's share of the time for which the loop is blocked, the sum of the first three below.

    Attributes:
        computing: the part of ``share`` in which the loop's thread computes.
        blocking: the part in which the loop's thread sleeps in a call.
        gil_wait: the part in which the loop's thread waits for the GIL; the place is then that of the thread that holds
            it.
        gil_held: the part of ``computing`` and ``blocking`` in which the loop's own thread held the GIL, from 0 to 1;
            ``None`` if both are 0.
        call: what the innermost coroutine of the user's called to get to this place; ``None`` if there is no such call.
    """

    computing: float
    blocking: float
    gil_wait: float
    gil_held: float | None = None
    call: CallSite | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLoop:
    """How serial calls blocked the event loop in which they ran; a field is ``None`` if it is unknown.

    Attributes:
        blocked_fraction: the share of the calls' time, without queueing for a core, for which no other task of the loop
            could run.
        longest_block_s: the longest block in seconds.
        tasks_ceiling: 1 / ``blocked_fraction``, the most that tasks can gain; ``None``, too, if the fraction may be
            next to 0.
        blockers: the places in the code that block the loop, the largest share first.
        shares: how the loop's thread spent its time.
        repeated_block: the longest block that came again, in several calls.
        why_unknown: why a field is unknown, in words for the user; ``None`` if there is no reason to tell.
    """

    blocked_fraction: Estimate | None = None
    longest_block_s: float | None = None
    tasks_ceiling: float | None = None
    blockers: tuple[Blocker, ...] | None = None
    shares: LoopShares | None = None
    repeated_block: Block | None = None
    why_unknown: str | None = None
