"""The records of how an event loop's thread spends its time: shares, single blocks, and what follows for a workload."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.holders import CodePlace, Holder


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopShares:
    """How an event loop's thread spent its time during serial calls, as shares of the time that it did not queue.

    ``waiting`` is for events, with the loop free for other tasks. The other three block it: ``computing``,
    ``blocking`` (asleep in a call such as `time.sleep`) and ``gil_wait`` (asleep while another thread held the GIL).
    """

    waiting: float
    computing: float
    blocking: float
    gil_wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One uninterrupted block of an event loop, in seconds, split by what its thread did.

    ``length_s`` is the sum of ``computing_s``, ``blocking_s`` and ``gil_wait_s``: all but ``queue_s``, the time for
    which the thread waited for a core. ``queue_s`` is ``None`` if the system does not report it: then ``blocking_s``
    contains it. ``calls`` is the number of calls that had a block at least as long. ``place`` is the code in which the
    loop's thread was for most of the block, or another thread that held the GIL meanwhile; ``None`` if unknown.
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
    """The expression ``code`` in a coroutine of the user's: a plain call, such as ``query(1)``, that is not awaited."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker(Holder):
    """One place in the code that blocks an event loop, and its ``share`` of the time for which the loop is blocked.

    The share is the sum of ``computing``, ``blocking`` (asleep in a call) and ``gil_wait``. For ``gil_wait``, the place
    is that of the other thread, which held the GIL meanwhile. ``gil_held`` is the part of ``computing`` and
    ``blocking`` in which the loop's own thread held the GIL, from 0 to 1; ``None`` if the place did neither.
    ``call`` is what the innermost coroutine of the user's called to get there; ``None`` if there is no such call.
    """

    computing: float
    blocking: float
    gil_wait: float
    gil_held: float | None = None
    call: CallSite | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLoop:
    """How serial calls blocked the event loop in which they ran; ``None`` if unknown.

    ``blocked_fraction`` is the share of the calls' time, without queueing for a core, for which no other task of the
    loop could run; ``tasks_ceiling`` is 1 / blocked_fraction. ``longest_block_s`` is the longest block seen,
    ``repeated_block`` the longest that came again. ``blockers`` are the places in the code that block the loop, the
    largest first; ``None`` if unknown. ``why_unknown`` says why a part could not be measured.
    """

    blocked_fraction: Estimate | None = None
    longest_block_s: float | None = None
    tasks_ceiling: float | None = None
    blockers: tuple[Blocker, ...] | None = None
    shares: LoopShares | None = None
    repeated_block: Block | None = None
    why_unknown: str | None = None
