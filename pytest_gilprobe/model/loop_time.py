"""The records of how an event loop's thread spends its time: shares, single blocks, and what follows for a workload."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.holders import CodePlace, Holder


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopShares:
    """How an event loop's thread spent its time during serial calls, without its waits for a core.

    The fields are shares from 0 to 1, with the sum 1. ``waiting`` is waiting for events, which leaves the loop free for
    other tasks. In the other three, no other task of the loop can run: ``computing``, ``blocking`` (asleep in a call
    such as `time.sleep`) and ``gil_wait`` (asleep while another thread held the GIL).
    """

    waiting: float
    computing: float
    blocking: float
    gil_wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of an event loop, a time in which no other task could run, split by what the loop's thread did.

    Attributes:
        length_s: the length in seconds, without waits for a core: ``computing_s`` + ``blocking_s`` + ``gil_wait_s``.
        computing_s: how many seconds the thread computed.
        blocking_s: how many seconds the thread slept in a call; includes waits for a core if ``queue_s`` is ``None``.
        gil_wait_s: how many seconds the thread waited for the GIL.
        queue_s: how many seconds the thread waited for a core; ``None`` if the system does not report it.
        calls: the number of calls that had a block at least as long.
        place: the code that blocked the loop for most of that time; if the loop's thread waited for the GIL, the code
            of the thread that held it. ``None`` if unknown.
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
    """An expression in one of the user's coroutines that makes a plain call, one that is not awaited.

    ``code`` is the expression's source text, such as ``query(1)``. ``function``, ``file`` and ``line`` say where it
    stands.
    """

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker(Holder):
    """One place in the code that blocks an event loop, so that no other task of the loop can run.

    ``share`` is the place's share of the time for which the loop is blocked. It is the sum of ``computing``,
    ``blocking`` and ``gil_wait``.

    Attributes:
        computing: the part of ``share`` in which the loop's thread computes.
        blocking: the part of ``share`` in which the loop's thread sleeps in a call.
        gil_wait: the part of ``share`` in which the loop's thread waits for the GIL; the place is then in the code of
            the thread that holds the GIL.
        gil_held: for which share of the time in ``computing`` and ``blocking`` the loop's own thread held the GIL, from
            0 to 1; ``None`` if there is no such time.
        call: the call, one that is not awaited, in the user's innermost coroutine that leads to this place; ``None`` if
            there is no such call.
    """

    computing: float
    blocking: float
    gil_wait: float
    gil_held: float | None = None
    call: CallSite | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLoop:
    """How long serial calls blocked their event loop, so that no other task could run; a field is ``None`` if unknown.

    Attributes:
        blocked_fraction: the share, from 0 to 1, of the calls' time for which no other task of the loop could run.
            Waits for a core are left out.
        longest_block_s: the longest time, in seconds, for which the loop was blocked without a break.
        tasks_ceiling: 1 / ``blocked_fraction``, the highest speed-up that concurrent tasks can reach; also ``None`` if
            ``blocked_fraction`` may be close to 0.
        blockers: the places in the code that block the loop, the largest share first.
        shares: how the loop's thread spent its time.
        repeated_block: a block (time without a break) whose length several calls reached: the third longest of all
            calls' longest blocks; of only two calls, the shorter. A disturbance seldom lengthens blocks of three calls.
        why_unknown: why a field is unknown, in words for the user; ``None`` if there is no reason to tell.
    """

    blocked_fraction: Estimate | None = None
    longest_block_s: float | None = None
    tasks_ceiling: float | None = None
    blockers: tuple[Blocker, ...] | None = None
    shares: LoopShares | None = None
    repeated_block: Block | None = None
    why_unknown: str | None = None
