"""Count the GIL samples that fell into each test's call, in memory that does not grow with the suite.

A sample says whether the GIL was held at a random moment. It is kept until the test in whose call it fell has ended,
then counted and dropped. Counts of short tests, each of which has too few samples for an estimate, are added up.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.holders import Holder
from pytest_gilprobe.model.loop_time import EventLoop
from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.scan import collected, held_places
from pytest_gilprobe.scan.held_places import HeldPlace
from pytest_gilprobe.stats import event_loop, gil_share, holders, queued_samples, queueing
from pytest_gilprobe.stats.gil_samples import (
    LATE_NS,
    MAX_UNKNOWN_SHARE,
    MIN_SAMPLES,
    PROMPT_QUANTILE,
    SampledWindow,
    held_fraction,
    wilson,
)
from pytest_gilprobe.stats.rounds import QUIET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.stacks import Stack
    from pytest_gilprobe.scan.journal import Window

MOST_KEPT: Final = 4000
"""Maximum number of GIL samples kept of one running test call. If there are more, every second one is dropped."""

MOST_HOLDERS: Final = 3
"""Maximum number of places in the code kept for one call: those that hold the GIL longest. Reports show no more."""

_NUMBERS: Final = ("stack", "loop_stack")
_COLUMNS: Final = (
    "at_ns",
    "held",
    "late_ns",
    "holder",
    "switches",
    "runnable",
    "same_core",
    "queue_ns",
    "sleeps",
    *_NUMBERS,
)
_NONE: Final = GilSamples(method=GilMethod.MEMORY, at_ns=(), held=(), late_ns=())


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCounts:
    """How many samples of the GIL fell into one call, or into several, and what they found. Counts can be added.

    Attributes:
        samples: number of all samples.
        held: samples that found the GIL held, without the ``blind`` ones.
        blind: samples that came too late to show whether the GIL was held at the intended moment, because the test's
            thread occupied the CPU that the watcher process needed.
        running: samples that found the test's thread on a CPU or waiting for one.
        running_held: samples of ``running`` that found the GIL held.
    """

    samples: int = 0
    held: int = 0
    blind: int = 0
    running: int = 0
    running_held: int = 0

    def __add__(self, other: SampleCounts) -> SampleCounts:
        """Return the counts of both, added field by field."""
        names = [field.name for field in fields(self)]
        return SampleCounts(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedCall:
    """Readings of one test's call: one line of the watcher process's notes. Times are in nanoseconds.

    Attributes:
        nodeid: the test's node id; ``fixtures`` are the names of its fixtures.
        wall_ns: wall time of the call.
        cpu_ns: CPU time of the thread that ran the test; ``process_cpu_ns`` is that of all threads.
        run_queue_ns: how long the test's thread queued for a CPU; ``None`` if unknown.
        counts: how many samples of the GIL fell into the call, and what they found.
        held: the share of the call for which the GIL was held, from 0 to 1; ``None`` if there are too few samples.
        alone: whether only one thread was ever seen to hold the GIL. CPU time of other threads is then that of native
            threads, which never take the GIL.
        holders: the places in the code that held the GIL longest; ``None`` if there are too few samples.
        places: the places in the code that held the GIL, the most frequent one first; ``stacks`` is the number of
            samples in which they were counted.
        thinned: by which factor the pauses between samples were longer than usual, because the call was long; else 1.
        loop: how the call blocked event loops; ``None`` if no event loop was seen.
        collections: number of full garbage collections, which took ``collected_ns``; other fields leave them out.
    """

    nodeid: str
    fixtures: tuple[str, ...]
    wall_ns: int
    cpu_ns: int
    process_cpu_ns: int
    run_queue_ns: int | None
    counts: SampleCounts
    held: Estimate | None
    alone: bool
    holders: tuple[Holder, ...] | None = None
    places: tuple[HeldPlace, ...] = ()
    stacks: int = 0
    thinned: int = 1
    loop: EventLoop | None = None
    collections: int = 0
    collected_ns: int = 0


class PendingSamples:
    """Samples of the GIL that are not yet assigned to a test's call, because the call has not ended."""

    def __init__(self) -> None:
        self._samples = _NONE
        self._done = 0
        self._thinned = 1

    @property
    def thinned(self) -> int:
        """Factor by which the pauses between samples must be longer than usual: 1 at first; each `thin` doubles it."""
        return self._thinned

    def __len__(self) -> int:
        return len(self._samples.at_ns) - self._done

    def add(self, samples: GilSamples) -> None:
        """Append samples, which must be later than all samples kept so far, and drop the samples of ended calls."""
        rest = _part(self._samples, slice(self._done, None))
        self._samples, self._done = _join([part for part in (rest, samples) if part.at_ns]), 0

    def thin(self) -> None:
        """Drop every second sample; the caller must then sample half as often, to cover a long call evenly."""
        self._samples, self._done = _part(self._samples, slice(self._done, None, 2)), 0
        self._thinned *= 2

    def take(self, window: Window) -> ScannedCall:
        """Return what samples and clocks say of a test's call that has ended; drop all samples up to the call's end.

        ``window`` has the call's clocks. Pass calls in order of time. This resets `thinned` to 1 for the next call.
        """
        moments_ns = self._samples.at_ns
        first = bisect_left(moments_ns, window.start_ns, lo=self._done)
        self._done = bisect_right(moments_ns, window.end_ns, lo=first)
        around = _part(self._samples, slice(max(0, first - 1), self._done))
        collected_ns = sum(end_ns - begin_ns for begin_ns, end_ns in window.collections)
        if window.collections:
            around, window = collected.leave_out(around, window, _COLUMNS)
        inside = _part(around, slice(bisect_left(around.at_ns, window.start_ns), None))
        alone = len(set(inside.holder)) == 1
        stacks = _stacks(inside, window, alone=alone)
        thinned, self._thinned = self._thinned, 1
        return ScannedCall(
            nodeid=window.nodeid,
            fixtures=window.fixtures,
            wall_ns=window.end_ns - window.start_ns,
            cpu_ns=window.cpu_ns,
            process_cpu_ns=window.process_cpu_ns,
            run_queue_ns=_queued_ns(window),
            counts=count(inside),
            held=_held(inside, around, window),
            alone=alone,
            holders=_holders(stacks),
            places=held_places.count(stacks) if stacks else (),
            stacks=len(stacks),
            thinned=thinned,
            loop=_loop(SampledWindow(inside, window.start_ns, window.end_ns)),
            collections=len(window.collections),
            collected_ns=collected_ns,
        )


def count(samples: GilSamples) -> SampleCounts:
    """Return how many samples there are, how many found the GIL held, and how many came too late to tell ("blind").

    A late sample is blind if the test's thread sleeps now, but may have been on the CPU of the process that samples:
    it may have kept that process waiting, and may have released the GIL before the sample was taken.
    """
    if not samples.at_ns:
        return SampleCounts()
    prompt_ns = sorted(samples.late_ns)[int(len(samples.late_ns) * PROMPT_QUANTILE)]
    runnable = samples.runnable or (False,) * len(samples.at_ns)
    same_core = samples.same_core or (True,) * len(samples.at_ns)
    blind = [
        late_ns > prompt_ns + LATE_NS and near and not runs
        for late_ns, runs, near in zip(samples.late_ns, runnable, same_core, strict=True)
    ]
    return SampleCounts(
        samples=len(samples.at_ns),
        held=sum(held and not lost for held, lost in zip(samples.held, blind, strict=True)),
        blind=sum(blind),
        running=sum(runnable),
        running_held=sum(held and runs for held, runs in zip(samples.held, runnable, strict=True)),
    )


def held_share(counts: SampleCounts) -> Estimate | None:
    """Estimate the share of time (0 to 1) for which the GIL was held; ``None`` for under 16 or mostly blind samples.

    Blind samples came too late to tell. The estimate assumes that the GIL was held for them as often as for samples
    with the test's thread running (for half of them if there are none). The interval covers all cases: never to always.
    """
    if counts.samples < MIN_SAMPLES or counts.blind > MAX_UNKNOWN_SHARE * counts.samples:
        return None
    imputed = counts.running_held / counts.running if counts.running else 0.5
    low, high = counts.held / counts.samples, (counts.held + counts.blind) / counts.samples
    value = (counts.held + counts.blind * imputed) / counts.samples
    least, most = wilson(low, counts.samples)[0], wilson(high, counts.samples)[1]
    return Estimate(value=value, low=min(value, least), high=max(value, most))


def _held(inside: GilSamples, around: GilSamples, window: Window) -> Estimate | None:
    """Estimate the held share of a call: of the time without queueing, where other programs kept the call waiting.

    ``around`` begins with the sample before the call, if there is one. Why queueing is left out, and what is done where
    samples do not show it, is told in `pytest_gilprobe.stats.gil_share.without_queueing`.
    """
    found = held_fraction([SampledWindow(inside, window.start_ns, window.end_ns)])
    wall_ns, queued_ns = window.end_ns - window.start_ns, _queued_ns(window) or 0
    if found is None or queued_ns <= QUIET * wall_ns:
        return found
    split = queueing.split(SampledWindow(around, window.start_ns, window.end_ns), queued_ns)
    return gil_share.without_queueing(found, queued_ns / wall_ns, [split] if split is not None else [])


def _stacks(inside: GilSamples, window: Window, *, alone: bool) -> list[Stack]:
    """Return the stacks that were read in a call; of a single thread, without those read while it queued for a CPU."""
    if not inside.stack:
        return []
    around = SampledWindow(inside, window.start_ns, window.end_ns)
    queued = queued_samples.possible(around) if alone else frozenset()
    return [inside.stacks[number] for at, number in enumerate(inside.stack) if number >= 0 and at not in queued]


def _holders(stacks: Sequence[Stack]) -> tuple[Holder, ...] | None:
    found = holders.of_stacks([stack for stack in stacks if stack])
    return found[:MOST_HOLDERS] if found else None


def _loop(window: SampledWindow) -> EventLoop | None:
    """Return what the samples of a call saw of event loops, with the largest places only."""
    found = event_loop.of_call(window)
    return None if found is None else replace(found, blockers=(found.blockers or ())[:MOST_HOLDERS] or None)


def _queued_ns(window: Window) -> int | None:
    """Return how long a call queued for a CPU: no longer than it was not on one.

    The run queue is read just before and just after the call, so for a short call most of the difference is not its
    own.
    """
    if window.run_queue_ns is None:
        return None
    return min(window.run_queue_ns, max(0, window.end_ns - window.start_ns - window.cpu_ns))


def _join(parts: list[GilSamples]) -> GilSamples:
    """Lay samples end to end; a column that one of the parts lacks is dropped."""
    if len(parts) < 2:  # noqa: PLR2004 - nothing to join
        return parts[0] if parts else _NONE

    def column(name: str) -> tuple[Any, ...]:
        columns = [getattr(part, name) for part in parts]
        return tuple(chain.from_iterable(columns)) if all(columns) else ()

    columns: dict[str, Any] = {name: column(name) for name in _COLUMNS}
    columns |= _join_stacks(parts, [name for name in _NUMBERS if columns[name]])
    return GilSamples(method=GilMethod.MEMORY, **columns)


def _join_stacks(parts: list[GilSamples], names: list[str]) -> dict[str, Any]:
    """Return the columns of stacks' numbers, and the stacks: those that no sample has any more are dropped."""
    numbers: dict[str, list[int]] = {name: [] for name in names}
    stacks: list[Stack] = []
    for part in parts:
        seen = set().union(*(getattr(part, name) for name in names)) - {-1}
        used = {number: at for at, number in enumerate(sorted(seen), len(stacks))}
        for name in names:
            numbers[name] += [used.get(number, -1) for number in getattr(part, name)]
        stacks += [part.stacks[number] for number in used]
    return {**{name: tuple(column) for name, column in numbers.items()}, "stacks": tuple(stacks)}


def _part(samples: GilSamples, which: slice) -> GilSamples:
    columns: dict[str, Any] = {name: getattr(samples, name)[which] for name in _COLUMNS}
    return GilSamples(method=GilMethod.MEMORY, stacks=samples.stacks, **columns)
