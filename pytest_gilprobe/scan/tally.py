"""From looks at a GIL to what they say of each test's call, in memory that does not grow with the suite.

Looks are kept until the test in whose call they fell is over, counted for it, and dropped. Counts of tests too short
to be told alone can be added: over the calls of many tests laid end to end, the looks are as Poisson as over one.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from pytest_gilprobe.model import Estimate, GilMethod, GilTrace
from pytest_gilprobe.stats import watched
from pytest_gilprobe.stats.held import LATE_NS, held_fraction
from pytest_gilprobe.stats.queueing import without_queue
from pytest_gilprobe.stats.rounds import QUIET

if TYPE_CHECKING:
    from pytest_gilprobe.scan.journal import Window

MOST_LOOKS: Final = 4000
"""Looks of one call that are kept; then every second one is dropped and half as many are made: see `Looks.thin`."""

_PROMPT_QUANTILE: Final = 0.1
_COLUMNS: Final = ("at_ns", "held", "late_ns", "holder", "switches", "runnable", "same_core", "queue_ns")
_NONE: Final = GilTrace(method=GilMethod.MEMORY, at_ns=(), held=(), late_ns=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Looks into one call, or into several: how many, and what they found.

    ``blind`` came too late, on the tests' own core, to say what was at the moment meant; ``held`` are those of the
    others that found the GIL held. Of all ``running`` found the tests' thread on a core or ready to run, and of
    those ``running_held`` the GIL held.
    """

    looks: int = 0
    held: int = 0
    blind: int = 0
    running: int = 0
    running_held: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Count both."""
        return Counts(
            looks=self.looks + other.looks,
            held=self.held + other.held,
            blind=self.blind + other.blind,
            running=self.running + other.running,
            running_held=self.running_held + other.running_held,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedCall:
    """What a watcher says of one test: a line of its notes.

    ``held`` is the GIL-held share of its call, where the looks sufficed. ``alone`` says that no other thread was seen
    holding the GIL: CPU time beyond the test's own thread was then burnt by threads that Python does not know of.
    """

    nodeid: str
    fixtures: tuple[str, ...]
    wall_ns: int
    cpu_ns: int
    process_cpu_ns: int
    run_queue_ns: int | None
    counts: Counts
    held: Estimate | None
    alone: bool

    def to_line(self) -> str:
        """Write it as one line of JSON in ASCII."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> ScannedCall:
        """Read what `to_line` wrote."""
        read = json.loads(line)
        held = read["held"]
        return cls(
            **{
                **read,
                "fixtures": tuple(read["fixtures"]),
                "counts": Counts(**read["counts"]),
                "held": None if held is None else Estimate(**held),
            }
        )


class Looks:
    """The looks of which it is not yet known into which test's call they fell."""

    def __init__(self) -> None:
        self._trace = _NONE
        self._done = 0

    def __len__(self) -> int:
        return len(self._trace.at_ns) - self._done

    def add(self, trace: GilTrace) -> None:
        """Keep looks that are later than those kept so far; those that were done with go."""
        rest = _part(self._trace, slice(self._done, None))
        self._trace, self._done = _join([part for part in (rest, trace) if part.at_ns]), 0

    def thin(self) -> None:
        """Drop every second look: a long call is then covered evenly, if only half as many are made from now on."""
        self._trace, self._done = _part(self._trace, slice(self._done, None, 2)), 0

    def call(self, window: Window) -> ScannedCall:
        """Say what the looks in a test's call found, and be done with all up to its end; calls come in order."""
        moments_ns = self._trace.at_ns
        first = bisect_left(moments_ns, window.start_ns, lo=self._done)
        self._done = bisect_right(moments_ns, window.end_ns, lo=first)
        seen = _part(self._trace, slice(first, self._done)) if first < self._done else _NONE
        around = _part(self._trace, slice(max(0, first - 1), self._done))
        return ScannedCall(
            nodeid=window.nodeid,
            fixtures=window.fixtures,
            wall_ns=window.end_ns - window.start_ns,
            cpu_ns=window.cpu_ns,
            process_cpu_ns=window.process_cpu_ns,
            run_queue_ns=_queued_ns(window),
            counts=count(seen),
            held=_held(seen, around, window),
            alone=len(set(seen.holder)) == 1,
        )


def _held(seen: GilTrace, around: GilTrace, window: Window) -> Estimate | None:
    """Estimate the held share of a call, of the time without queueing where other programs kept the call waiting.

    ``around`` begins with the look before the call, if there is one. Why queueing is left out, and what is done where
    looks do not show it, tells `pytest_gilprobe.stats.watched.while_running`.
    """
    found = held_fraction(seen, window.start_ns, window.end_ns)
    wall_ns, queued_ns = window.end_ns - window.start_ns, _queued_ns(window) or 0
    if found is None or queued_ns <= QUIET * wall_ns:
        return found
    apart = without_queue(around, window.start_ns, window.end_ns, queued_ns)
    running = watched.less_queueing([apart]) if apart is not None else None
    limits = watched.bounded(found, min(queued_ns / wall_ns, 0.99))
    return limits if running is None or limits.high - limits.low < running.high - running.low else running


def _queued_ns(window: Window) -> int | None:
    """Tell how long a call queued: no longer than it was not on a CPU.

    The run queue is read just before and just after the call. Of a short one, most queueing told so lies between.
    """
    if window.run_queue_ns is None:
        return None
    return min(window.run_queue_ns, max(0, window.end_ns - window.start_ns - window.cpu_ns))


def count(trace: GilTrace) -> Counts:
    """Count looks, those apart that were late on the watched thread's own core and found it asleep.

    The rule, and why, are those of `pytest_gilprobe.stats.held`, to which single long calls are given; calls so short
    that they get a look or two have no use for its weights.
    """
    if not trace.at_ns:
        return Counts()
    prompt_ns = sorted(trace.late_ns)[int(len(trace.late_ns) * _PROMPT_QUANTILE)]
    running = trace.runnable or (False,) * len(trace.at_ns)
    near = trace.same_core or (True,) * len(trace.at_ns)
    rows = list(zip(trace.held, trace.late_ns, running, near, strict=True))
    blind = [late_ns > prompt_ns + LATE_NS and not runs and same for _, late_ns, runs, same in rows]
    return Counts(
        looks=len(rows),
        held=sum(row[0] and not lost for row, lost in zip(rows, blind, strict=True)),
        blind=sum(blind),
        running=sum(running),
        running_held=sum(held and runs for held, _, runs, _ in rows),
    )


def _join(traces: list[GilTrace]) -> GilTrace:
    """Lay traces end to end; a column that one of them lacks is dropped."""
    if len(traces) < 2:  # noqa: PLR2004 - nothing to join
        return traces[0] if traces else _NONE

    def column(name: str) -> tuple[Any, ...]:
        columns = [getattr(trace, name) for trace in traces]
        return tuple(chain.from_iterable(columns)) if all(columns) else ()

    return GilTrace(method=GilMethod.MEMORY, **{name: column(name) for name in _COLUMNS})


def _part(trace: GilTrace, which: slice) -> GilTrace:
    return GilTrace(method=GilMethod.MEMORY, **{name: getattr(trace, name)[which] for name in _COLUMNS})
