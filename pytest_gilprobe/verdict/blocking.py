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
"""A call that blocks an event loop may run in a thread instead if it holds the GIL for at most this share of its time;
a call that holds it for longer needs a process."""
WORTH_TELLING: Final = 0.1
"""Code that blocks an event loop is reported only if it does so for at least this share of the calls' time. A loop that
is blocked for a tenth of the time limits tasks to a speed-up of 10."""


class Move(NamedTuple):
    """A call that blocks the event loop, and the gain from making it in a thread or process instead (a move).

    Attributes:
        where: the call's source text, file and line, such as ``query(1) at app.py:10``.
        code: the code to write in place of the call, such as ``await asyncio.to_thread(query, 1)``.
        in_thread: whether the call may run in a thread; otherwise it needs a process.
        share: the share of the workload's time, from 0 to 1, for which this call blocks the loop.
        gain: the largest speed-up that tasks could give after the move; ``None`` in a scan, which runs each test once
            and tries no tasks.
    """

    where: str
    code: str
    in_thread: bool
    share: float
    gain: float | None


def does(blocker: Blocker) -> str:
    """Return what the code at the place ``blocker`` mostly does while it blocks the event loop.

    The result is ``computing``, ``asleep`` or ``holding the GIL in another thread``.
    """
    parts = {
        "computing": blocker.computing,
        "asleep": blocker.blocking,
        "holding the GIL in another thread": blocker.gil_wait,
    }
    return max(parts, key=lambda name: parts[name])


def moves(loop: EventLoop, workers: int, library: str | None = None) -> list[Move]:
    """List calls that could move from the event loop to a thread or process, those that block it longest first.

    ``loop`` tells which code blocks the event loop, and for which share of the time. The gain of a move is 1 / the
    share of the time for which the loop would still be blocked, but at most ``workers``. If ``workers`` is 0, as in a
    scan, which tries no tasks, the gain is ``None``. ``library`` is that of the loop, ``asyncio`` or ``trio``; ``None``
    counts as asyncio. Calls that block the loop for less than `WORTH_TELLING` (a tenth) of the time are left out.
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
    """Say what to do with a call that blocks the event loop, and the gain to expect.

    An example is ``query(1) at app.py:10 lets go of the GIL: with await asyncio.to_thread(query, 1), tasks could give
    up to 4.0x``. If no gain is known, as in a scan (one run of each test), the text only says what to write.
    """
    gil = "lets go of the GIL" if move.in_thread else "holds the GIL, so a thread would not help"
    pool = "" if move.in_thread else " and a process pool"
    if move.gain is None:
        return f"{move.where} {gil}: write {move.code}{' with a process pool' if pool else ''}"
    return f"{move.where} {gil}: with {move.code}{pool}, tasks could give up to {numbers.about(move.gain)}"


def best(moves: Sequence[Move]) -> Move:
    """Return the move to make first: of those to a thread, the one whose call blocks the event loop longest.

    If no call may run in a thread, return the move to a process whose call blocks the loop longest. Raises `ValueError`
    if ``moves`` is empty.
    """
    return max(moves, key=lambda one: (one.in_thread, one.share))


def short_remedy(loop: EventLoop, workers: int, library: str | None = None) -> str | None:
    """Say in one clause how to leave the event loop free, and what tasks could gain; ``None`` if there is no advice.

    ``loop`` tells which code blocks the event loop. ``workers``, 1 or more, is the largest gain to promise. ``library``
    is the loop's library, ``asyncio`` or ``trio``; ``None`` counts as asyncio. The clause has the code for the call
    that should move first to a thread or process (`best`). If no such call is known, but calls sleep in the loop for
    `WORTH_TELLING` (a tenth) of the time or more, the clause says where to make them: in a thread, or in a process if
    they hold the GIL meanwhile. If they sleep for less, advice is given only for a call that may run in a thread.
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

    ``loop`` tells which code blocks the event loop. ``workers`` is the limit of the speed-up, or 0 in a scan, which
    tries no tasks. ``library`` is that of the loop, ``asyncio`` or ``trio``; ``None`` counts as asyncio. The result is
    also ``None`` if ``workers`` is not 0 and calls sleep in the loop for `WORTH_TELLING` (a tenth) of the time or more:
    then a caution (a warning in the report) says what to do.
    """
    if workers and loop.shares is not None and loop.shares.blocking >= WORTH_TELLING:
        return None  # `pytest_gilprobe.strategies.tasks` has the caution
    return next(map(remedy, moves(loop, workers, library)), None)


def held_elsewhere(loop: EventLoop) -> str:
    """Return the end of a phrase that says where another thread holds the GIL while the event loop waits for it.

    An example is ``, mostly in query(1) at app.py:10``. The result is empty if the place is unknown.
    """
    waits = [one for one in loop.blockers or () if one.gil_wait > one.computing + one.blocking]
    return f", mostly in {places.place(waits[0])}" if waits else ""


def in_block(place: Blocker | None) -> str:
    """Format a place in the code that blocks the event loop as the end of a phrase.

    An example is `` in query(1) at app.py:10``. The result is empty for ``None``, an unknown place.
    """
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
