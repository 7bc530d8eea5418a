"""Say which code blocks an event loop, and what to do about it: in words, as code, with the gain to expect."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.verdict import loop_code, places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.loop_time import Blocker, CallSite, EventLoop

LETS_GO: Final = 0.2
"""A call that holds the GIL for at most this part of its time can run beside the loop in a thread."""
WORTH_TELLING: Final = 0.1
"""Share of a call's time from which code that blocks the loop is worth a remedy: it limits tasks to 10x."""


class Move(NamedTuple):
    """A call that blocks the loop, and what moving it out of the loop would give.

    Attributes:
        where: the place of the call in words.
        code: the code to write in place of the call.
        in_thread: whether the call may run in a thread; otherwise it needs a process.
        share: the part of the calls' time for which this call blocks the loop.
        gain: the largest speed-up that tasks could give after the move; ``None`` for a scan, which tries no tasks.
    """

    where: str
    code: str
    in_thread: bool
    share: float
    gain: float | None


def does(blocker: Blocker) -> str:
    """Return what happens at a place for most of its time: it computes, sleeps, or holds the GIL in another thread."""
    parts = {
        "computing": blocker.computing,
        "asleep": blocker.blocking,
        "holding the GIL in another thread": blocker.gil_wait,
    }
    return max(parts, key=lambda name: parts[name])


def moves(loop: EventLoop, workers: int, library: str | None = None) -> list[Move]:
    """List the calls that would leave the loop free if they ran elsewhere and were awaited, the largest share first.

    The loop would then be blocked for the remaining share of the time only, and tasks could gain at most 1 / that
    share, up to ``workers``; 0 ``workers`` stand for a scan, whose moves have no gain. ``library`` is whose loop it is,
    ``asyncio`` or ``trio``; ``None`` counts as asyncio. Calls with less than `WORTH_TELLING` of the time are left out.
    """
    if loop.blocked_fraction is None or not loop.blockers:
        return []
    blocked = loop.blocked_fraction.value
    shares: defaultdict[CallSite, float] = defaultdict(float)
    held: defaultdict[CallSite, float] = defaultdict(float)
    for one in loop.blockers:
        if one.call is not None and one.gil_held is not None:
            part = blocked * (one.computing + one.blocking)
            shares[one.call] += part
            held[one.call] += part * one.gil_held
    found = []
    for call, share in sorted(shares.items(), key=lambda pair: -pair[1]):
        in_thread = held[call] <= share * LETS_GO
        gain = 1 / max(blocked - share, 1 / workers) if workers else None
        code = loop_code.awaited(call.code, library, in_thread=in_thread)
        found.append(Move(_where(call), code, in_thread, share, gain))
    return [one for one in found if one.share >= WORTH_TELLING]


def remedy(move: Move) -> str:
    """Say what to do with a call: ``query(1) at app.py:10 lets go of the GIL: with await asyncio.to_thread(...)``."""
    gil = "lets go of the GIL" if move.in_thread else "holds the GIL, so a thread would not help"
    pool = "" if move.in_thread else " and a process pool"
    if move.gain is None:
        return f"{move.where} {gil}: write {move.code}{' with a process pool' if pool else ''}"
    return f"{move.where} {gil}: with {move.code}{pool}, tasks could give up to {numbers.about(move.gain)}"


def best(moves: Sequence[Move]) -> Move:
    """Return the call to move first: the largest one that may go to a thread, or else the largest one."""
    return max(moves, key=lambda one: (one.in_thread, one.share))


def short_remedy(loop: EventLoop, workers: int, library: str | None = None) -> str | None:
    """Say in one clause what to write so that the loop stays free; ``None`` if nothing is to be said.

    The clause is about the `best` of the `moves`, with the same arguments. If no call can be named, it is about all
    calls that sleep in the loop: they should run in a thread, or in a process if they hold the GIL in the meantime.
    Nothing is said if calls hardly sleep in the loop and no call may run in a thread.
    """
    found = moves(loop, workers, library)
    first = best(found) if found else None
    sleeps = loop.shares is not None and loop.shares.blocking >= WORTH_TELLING
    if loop.blocked_fraction is None or loop.shares is None or not (sleeps or (first is not None and first.in_thread)):
        return None
    if first is not None:
        pool = "" if first.in_thread else " and a process pool"
        return f"with {first.code}{pool}, tasks could give up to {numbers.about(first.gain or 1.0)}"
    rest = max(loop.blocked_fraction.value - loop.shares.blocking, 1 / workers)
    asleep = [(one.blocking, one.gil_held or 0.0) for one in loop.blockers or ()]
    holds = sum(part * held for part, held in asleep) > sum(part for part, _ in asleep) * LETS_GO
    where = "a process pool, since they hold the GIL" if holds else loop_code.of(library).to_thread
    return f"with its blocking calls in {where}, tasks could give up to {numbers.about(min(float(workers), 1 / rest))}"


def what_follows(loop: EventLoop, workers: int, library: str | None = None) -> str | None:
    """Say what to do about the largest of the `moves`, with the same arguments; ``None`` if there is none.

    ``None`` is also returned if calls sleep in the loop and ``workers`` is not 0: then a caution says what to do.
    """
    if workers and loop.shares is not None and loop.shares.blocking >= WORTH_TELLING:
        return None  # `pytest_gilprobe.strategies.tasks` has the caution
    return next(map(remedy, moves(loop, workers, library)), None)


def held_elsewhere(loop: EventLoop) -> str:
    """Return, as a phrase, the place in another thread that holds the GIL while the loop waits; empty if unknown."""
    waits = [one for one in loop.blockers or () if one.gil_wait > one.computing + one.blocking]
    return f", mostly in {places.place(waits[0])}" if waits else ""


def in_block(place: Blocker | None) -> str:
    """Format the place of a block as the end of a phrase, such as `` in query(1) at app.py:10``; empty if unknown."""
    if place is None:
        return ""
    other = " (another thread, which held the GIL)" if place.gil_wait > place.computing + place.blocking else ""
    called = place.call
    if called is None or (called.file, called.line) == (place.file, place.line):
        return f" in {places.place(place)}{other}"
    return f" in {places.place(place)}, called by {_where(called)}{other}"


def _where(call: CallSite) -> str:
    line = "" if call.line is None else f":{call.line}"
    return f"{safe_line(call.code, limit=places.LONGEST_CODE)} at {safe_line(call.file or '?')}{line}"
