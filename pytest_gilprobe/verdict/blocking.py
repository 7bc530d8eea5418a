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
"""Share of a call's time from which blocking the event loop is reported with a remedy: a tenth limits tasks to 10x."""


class Move(NamedTuple):
    """A call that blocks the loop, and what moving it out of the loop would give.

    Attributes:
        where: the place of the call in words.
        code: the code to write in place of the call.
        in_thread: whether the call may run in a thread; otherwise it needs a process.
        share: the part of the calls' time for which this call blocks the loop.
        gain: the largest speed-up that tasks could give after the move; ``None`` in a scan, which runs each test once
            and tries no tasks.
    """

    where: str
    code: str
    in_thread: bool
    share: float
    gain: float | None


def does(blocker: Blocker) -> str:
    """Return what the code at a place does for most of the time for which it blocks the event loop.

    The result is ``computing``, ``asleep`` or ``holding the GIL in another thread``.
    """
    parts = {
        "computing": blocker.computing,
        "asleep": blocker.blocking,
        "holding the GIL in another thread": blocker.gil_wait,
    }
    return max(parts, key=lambda name: parts[name])


def moves(loop: EventLoop, workers: int, library: str | None = None) -> list[Move]:
    """List the calls that block the event loop and could run in a thread or process instead, the largest share first.

    After a move, the loop would be blocked only for the remaining share of the time, so tasks could gain at most 1 /
    that share, and at most ``workers``. If ``workers`` is 0, as in a scan, which tries no tasks, the gain is ``None``.
    ``library`` is that of the loop, ``asyncio`` or ``trio``; ``None`` counts as asyncio. Calls that block the loop for
    less than `WORTH_TELLING` of the time are left out.
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
    """Return the move to make first: the one with the largest share to a thread, or to a process if there is none."""
    return max(moves, key=lambda one: (one.in_thread, one.share))


def short_remedy(loop: EventLoop, workers: int, library: str | None = None) -> str | None:
    """Say in one clause which code would leave the event loop free; ``None`` if there is no such advice.

    The arguments are those of `moves`, and the clause is about the `best` of these. If there are none, it says where
    all calls that sleep in the loop should run: in a thread, or in a process if they hold the GIL meanwhile. There is
    no advice if calls sleep in the loop for less than `WORTH_TELLING` of the time and no call may run in a thread.
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
    """Say what to do about the call that blocks the event loop for longest; ``None`` if no such call is known.

    The arguments are those of `moves`. The result is also ``None`` if ``workers`` is not 0 and calls sleep in the loop
    for `WORTH_TELLING` of the time or more: then a caution (a warning in the report) says what to do.
    """
    if workers and loop.shares is not None and loop.shares.blocking >= WORTH_TELLING:
        return None  # `pytest_gilprobe.strategies.tasks` has the caution
    return next(map(remedy, moves(loop, workers, library)), None)


def held_elsewhere(loop: EventLoop) -> str:
    """Return, as a phrase, the place in another thread that holds the GIL while the loop waits; empty if unknown."""
    waits = [one for one in loop.blockers or () if one.gil_wait > one.computing + one.blocking]
    return f", mostly in {places.place(waits[0])}" if waits else ""


def in_block(place: Blocker | None) -> str:
    """Format the place that blocks the loop as the end of a phrase: `` in query(1) at app.py:10``; empty if unknown."""
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
