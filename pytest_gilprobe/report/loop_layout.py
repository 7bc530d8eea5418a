"""Say how calls block their event loop: for how long, how the loop spends its time, and where in the code."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.report import holder_layout
from pytest_gilprobe.report.geometry import laid_out
from pytest_gilprobe.report.loop_views import BlockerView, LoopView
from pytest_gilprobe.report.views import Note
from pytest_gilprobe.verdict import blocking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gilprobe.model.loop_time import Blocker, EventLoop
    from pytest_gilprobe.model.results import WorkloadResult

_CEILING_TELLS: Final = 100.0
"""A limit to the speed-up of tasks is not mentioned from this speed-up on: it limits nobody."""
_LEAST_CAUSE: Final = 0.01
"""A cause of blocking is named if it takes at least this share of a call's time."""
_LEAST_BLOCKED: Final = 0.05
"""The places that block the loop are named if they block it for at least this share of a call's time."""
_KINDS: Final = {
    "events": "waiting for events, the loop free",
    "cpu": "computing",
    "asleep": "asleep in a call",
    "wait": "waiting for the GIL",
}


def loop_view(result: WorkloadResult) -> LoopView:
    """Return the texts and the bar that show how a workload's calls block their event loop.

    All fields of the result are empty if no event loop was seen.
    """
    loop = result.event_loop
    if loop is None:
        return LoopView()
    blocked, shares = loop.blocked_fraction, loop.shares
    parts = (
        {}
        if shares is None
        else {"events": shares.waiting, "cpu": shares.computing, "asleep": shares.blocking, "wait": shares.gil_wait}
    )
    told = blocked is not None and blocked.value >= _LEAST_BLOCKED
    return LoopView(
        blocked="" if blocked is None else f"blocked for {numbers.percent(blocked.value)}",
        slices=laid_out(parts, _KINDS),
        blockers=tuple(map(_view, (loop.blockers or ())[: holder_layout.MOST_IN_TABLES])) if told else (),
        follows=blocking.what_follows(loop, result.workers, result.loop_library) or "" if told else "",
    )


def notes(result: WorkloadResult) -> Iterator[Note]:
    """Yield up to two notes on how a workload's calls block their event loop.

    The first says for how long they block it. The second names the places in the code that block it, and what to do
    about them; it is left out if calls hardly block the loop, or if no place is known. Nothing is yielded if no event
    loop was seen.
    """
    if result.event_loop is None:
        return
    yield Note(kind="loop", label="event loop", lines=(_in_words(result.event_loop),))
    view = loop_view(result)
    lines = [
        f"{one.share} in {one.code}{f' at {one.where}' if one.where else ''}, {one.does}"
        for one in view.blockers[: holder_layout.MOST_IN_NOTES]
    ]
    if lines:
        lines += [view.follows] if view.follows else []
        yield Note(kind="blocker", label="what blocks the event loop", lines=tuple(lines))


def _view(blocker: Blocker) -> BlockerView:
    return BlockerView(**asdict(holder_layout.view(blocker)), does=blocking.does(blocker))


def _in_words(loop: EventLoop) -> str:
    """Say for how long calls block the event loop that awaits them, and by what."""
    said = []
    if loop.blocked_fraction is not None:
        said.append(f"blocked for {numbers.percent(loop.blocked_fraction.value)} of a call's time{_causes(loop)}")
    if loop.tasks_ceiling is not None and loop.tasks_ceiling < _CEILING_TELLS:
        said.append(f"tasks cannot exceed {numbers.times(loop.tasks_ceiling)}")
    if loop.longest_block_s is not None:
        said.append(f"longest block {numbers.seconds(loop.longest_block_s)}")
    if loop.why_unknown is not None:
        said.append(f"{'' if said else 'not measured: '}{safe_line(loop.why_unknown)}")
    return "; ".join(said) or numbers.NOT_AVAILABLE


def _causes(loop: EventLoop) -> str:
    """List what blocks the loop, if it is more than one thing or none that computes: ``(computing 20 %, ...)``."""
    if loop.shares is None:
        return ""
    causes = {
        "computing": loop.shares.computing,
        "in a call that sleeps": loop.shares.blocking,
        "waiting for the GIL": loop.shares.gil_wait,
    }
    told = [f"{name} {numbers.percent(share)}" for name, share in causes.items() if share >= _LEAST_CAUSE]
    return f" ({', '.join(told)})" if told else ""
