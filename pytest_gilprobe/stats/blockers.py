"""Estimate where in the code an event loop is blocked, from samples of the stack of the thread that runs the loop.

The loop is blocked while its thread computes, sleeps in a call or waits for the GIL, and free while its thread waits
for events. The thread's clocks tell exactly how long it computed and how long it slept. Samples tell which shares of
its sleep were in a call and in waiting for the GIL. Each of these three times is divided equally among the samples that
found the thread doing so. *Source:* post-stratification, W. G. Cochran, "Sampling Techniques", 1977, 5A.9.

A wait for the GIL is not due to the code that waits, so it counts for the code of the thread that held the GIL.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_gilprobe.model.loop_time import Blocker, CallSite
from pytest_gilprobe.model.stacks import Frame
from pytest_gilprobe.model.words import Sleep
from pytest_gilprobe.stats import holders, queued_samples, rounds
from pytest_gilprobe.stats.gil_samples import MIN_SAMPLES, SampledWindow
from pytest_gilprobe.stats.whole_stacks import WholeStacks

if TYPE_CHECKING:
    from pytest_gilprobe.model.holders import Holder
    from pytest_gilprobe.model.readings import BatchReading, GilSamples
    from pytest_gilprobe.model.stacks import Stack

MOST_BLOCKERS: Final = 20
"""Largest number of places in the code that are reported as having blocked the event loop."""
MOST_BATCHES: Final = 12
"""Only this many batches (calls timed together), the last ones, are searched for the code that blocked the event loop.
They have about 3,600 samples, which show shares to within 0.02. The search takes about a millisecond for each batch."""
FEWEST_IN_A_BLOCK: Final = 5
"""The place in the code that blocked an event loop is reported only if at least this many samples with a stack were
taken in blocks: times in which the loop could not look for events. The samples may come from several blocks."""
_DISPATCH: Final = {
    "asyncio/events.py": "Handle._run",
    "asyncio/base_events.py": "BaseEventLoop._run_once",
    "trio/_core/_run.py": "unrolled_run",
}
"""The functions by which loops run what is ready, by file: their callers only keep the loop running."""
LOOPS_OWN: Final = "the event loop's own code"
"""Reported instead of a function's name if a stack has no other code than that of asyncio or trio."""
_LOOP_FILES: Final = {"selectors.py": "asyncio", "asyncio": "asyncio", "trio": "trio", "outcome": "trio"}
"""The library of a loop, by the first part of a file's name, as `pytest_gilprobe.observe.source_code.short_file` is."""


class Kind(Enum):
    """What the event loop's thread did at a sample; `EVENTS` leaves the loop free, any other kind blocks it."""

    EVENTS = "waiting for events"
    COMPUTING = "computing"
    BLOCKING = "asleep in a call"
    GIL_WAIT = "waiting for the GIL"


class _Found(NamedTuple):
    """A sample that found the loop blocked: how, in which code, and whether the loop's thread held the GIL."""

    kind: Kind
    stack: Stack
    holds: bool


class Asleep(NamedTuple):
    """How many samples found the event loop's thread asleep, by what it slept in.

    ``events`` counts waits for events, which leave the loop free; ``calls`` counts sleep in a call such as
    `time.sleep`, and ``gil`` counts waits for the GIL.
    """

    events: int
    calls: int
    gil: int

    @property
    def number(self) -> int:
        """The number of all samples that found the event loop's thread asleep, whatever it slept in."""
        return sum(self)

    @property
    def blocked(self) -> int:
        """The number of samples that found the loop blocked: its thread asleep in a call or waiting for the GIL."""
        return self.calls + self.gil

    def share(self, number: int) -> float:
        """Return ``number`` divided by the number of all samples that found the thread asleep; 0 if none did."""
        return number / self.number if self.number else 0.0


def asleep(windows: Iterable[SampledWindow]) -> Asleep:
    """Count the samples in ``windows`` that found the event loop's thread asleep, by what it slept in."""
    kinds = Counter(kind(window.samples, at) for window in windows for at in window.inside)
    return Asleep(kinds[Kind.EVENTS], kinds[Kind.BLOCKING], kinds[Kind.GIL_WAIT])


def kind(samples: GilSamples, at: int) -> Kind:
    """Return what the event loop's thread did at the sample with the index ``at`` in ``samples``.

    Some systems cannot tell the GIL's lock from other locks. There, a thread that sleeps for a lock while the GIL is
    held counts as waiting for the GIL.
    """
    sleep = samples.sleeps[at]
    if sleep is Sleep.EVENTS:
        return Kind.EVENTS
    if sleep is Sleep.AWAKE:
        return Kind.COMPUTING
    is_gil = sleep is Sleep.GIL or (sleep is Sleep.LOCK and samples.held[at])
    return Kind.GIL_WAIT if is_gil else Kind.BLOCKING


def blockers(batches: Sequence[BatchReading]) -> tuple[Blocker, ...] | None:
    """Return the places in the code that blocked the event loop, those with the largest share first.

    Args:
        batches: Batches (calls timed together) of serial calls, with samples of what the loop's thread did. Only the
            last 12 (`MOST_BATCHES`) count.

    Returns:
        The places, each with its share of the time for which the loop was blocked. ``None`` if fewer than 16
        (`MIN_SAMPLES`) samples found the loop blocked.
    """
    batches = batches[-MOST_BATCHES:]
    windows = [
        SampledWindow(batch.gil, lane.start_ns, lane.end_ns)
        for batch in batches
        for lane in batch.lanes
        if batch.gil is not None and batch.gil.sleeps
    ]
    found = _all_found(windows)
    if sum(map(len, found)) < MIN_SAMPLES:
        return None
    weights_ns = _weights_ns(batches, windows, found)
    return _largest([[(one, weights_ns[one.kind]) for one in each] for each in found])


class InLoops(NamedTuple):
    """What the samples of one call show of an event loop that ran during the call.

    ``samples`` is the number of samples that found the loop blocked. ``blockers`` has the places in the code that
    blocked it, those with the largest share first; ``None`` for fewer than 16 (`MIN_SAMPLES`) samples.
    """

    samples: int
    blockers: tuple[Blocker, ...] | None


def in_loops(window: SampledWindow) -> InLoops:
    """Count the samples of one call that found an event loop blocked, and estimate which places in the code blocked it.

    ``window`` begins and ends with the call, and has its samples; the loop may have run for a part of the call only. A
    sample found the loop blocked if the loop's thread was not waiting for events, and its stack has the frame in which
    asyncio or trio runs a callback or a task that is ready. Samples in which the thread certainly queued for a CPU are
    left out.
    """
    whole = WholeStacks(window.samples.stacks)
    in_loop = tuple(any(map(_dispatches, stack)) for stack in window.samples.stacks)
    found = [(one, 1.0) for one in _found(window, whole, in_loop)]
    return InLoops(len(found), _largest([found]) if len(found) >= MIN_SAMPLES else None)


def _largest(shown: Sequence[Sequence[tuple[_Found, float]]]) -> tuple[Blocker, ...] | None:
    places = holders.by_place([[holders.Held(weight, one.stack) for one, weight in each] for each in shown])
    told = sorted((one for one in places if one.share.value >= holders.LEAST_SHARE), key=lambda one: -one.share.value)
    return tuple(_split(told[:MOST_BLOCKERS], [pair for each in shown for pair in each])) or None


def _weights_ns(
    batches: Sequence[BatchReading], windows: Sequence[SampledWindow], found: Iterable[Iterable[_Found]]
) -> dict[Kind, float]:
    """Return how much time, in nanoseconds, a sample of each kind stands for."""
    times = [rounds.running_s(batch) for batch in batches]
    computing_s = sum(cpu for _, cpu in times)
    asleep_s = sum(max(0.0, running - cpu) for running, cpu in times)
    counted = asleep(windows)
    spent_s = {
        Kind.COMPUTING: computing_s,
        Kind.BLOCKING: asleep_s * counted.share(counted.calls),
        Kind.GIL_WAIT: asleep_s * counted.share(counted.gil),
    }
    read = Counter(one.kind for each in found for one in each)
    return {one: seconds * 1e9 / read[one] if read[one] else 0.0 for one, seconds in spent_s.items()}


def _split(places: Iterable[Holder], samples: Sequence[tuple[_Found, float]]) -> Iterator[Blocker]:
    """Split the share of each place by what the loop's thread did there, and find the call that leads there."""
    total_ns = sum(weight for _, weight in samples)
    parts: defaultdict[tuple[object, Kind, bool], float] = defaultdict(float)
    calls: defaultdict[object, Counter[CallSite | None]] = defaultdict(Counter)
    alike: defaultdict[tuple[int, Kind, bool], list[tuple[_Found, float]]] = defaultdict(list)
    for one, weight in samples:
        alike[id(one.stack), one.kind, one.holds].append((one, weight))
    for group in alike.values():
        first, at = group[0][0], holders.key(group[0][0].stack)
        parts[at, first.kind, first.holds] += sum(weight for _, weight in group) / total_ns
        calls[at][None if first.kind is Kind.GIL_WAIT else _call(first.stack)] += len(group)
    for place in places:
        at = holders.Place(place.function, place.file or "", place.line, place.code)
        spent = {one: [parts[at, one, holds] for holds in (True, False)] for one in Kind if one is not Kind.EVENTS}
        own = [*spent[Kind.COMPUTING], *spent[Kind.BLOCKING]]
        yield Blocker(
            share=place.share,
            function=place.function,
            file=place.file,
            line=place.line,
            code=place.code,
            native=place.native,
            library=place.library,
            computing=sum(spent[Kind.COMPUTING]),
            blocking=sum(spent[Kind.BLOCKING]),
            gil_wait=sum(spent[Kind.GIL_WAIT]),
            gil_held=sum(own[::2]) / sum(own) if sum(own) else None,
            call=calls[at].most_common(1)[0][0],
        )


def _call(stack: Stack) -> CallSite | None:
    """Return what the innermost coroutine of the user's calls; ``None`` without one, or if it is not known to call."""
    found = next((frame for frame in stack if frame.own and frame.is_async), None)
    if found is None or found.code is None or holders.callee(found.code) is None:
        return None
    return CallSite(function=found.function, file=found.file, line=found.line, code=found.code)


def place_of_block(windows: Sequence[SampledWindow]) -> Blocker | None:
    """Return the place in the code in which the largest number of samples was taken while the event loop was blocked.

    ``windows`` has the samples of one or more blocks: times in which the loop could not look for events. The result is
    ``None`` if fewer than 5 (`FEWEST_IN_A_BLOCK`) of these samples read a stack.
    """
    found = [(one, 1.0) for each in _all_found(windows) for one in each]
    if len(found) < FEWEST_IN_A_BLOCK:
        return None
    place = holders.most_frequent([holders.Held(weight, one.stack) for one, weight in found])
    return None if place is None else next(_split([place], found))


def _all_found(windows: Sequence[SampledWindow]) -> list[list[_Found]]:
    whole = WholeStacks(stack for window in windows for stack in window.samples.stacks)
    return [list(_found(window, whole)) for window in windows]


def _found(window: SampledWindow, whole: WholeStacks, in_loop: Sequence[bool] | None = None) -> Iterator[_Found]:
    """Yield the samples that read the stack that blocked the loop, without time in which its thread queued.

    ``in_loop`` is of each stack whether it counts if it is that of the loop's thread; with ``None``, all do.
    """
    samples = window.samples
    if not samples.loop_stack:
        return
    queued = queued_samples.certain(window)
    inner = tuple(_in_loop(whole.of(stack)) for stack in samples.stacks)
    for at in window.inside:
        found = kind(samples, at)
        number = samples.stack[at] if found is Kind.GIL_WAIT else samples.loop_stack[at]
        if found is Kind.EVENTS or number < 0 or at in queued or not inner[number]:
            continue
        if in_loop is not None and (samples.loop_stack[at] < 0 or not in_loop[samples.loop_stack[at]]):
            continue
        holds = samples.held[at] and samples.stack[at] == number and found is not Kind.GIL_WAIT
        yield _Found(found, inner[number], holds)


def _in_loop(stack: Stack) -> Stack:
    """Cut off the frames that only keep a loop running, and put one in the place of all if there is nothing else."""
    libraries = {_LOOP_FILES.get(frame.file.partition("/")[0]) for frame in stack}
    if len(libraries) == 1 and (library := libraries.pop()) is not None:
        return (Frame(function=LOOPS_OWN, file=library, line=None),)
    end = next((at for at, frame in enumerate(stack) if _dispatches(frame)), len(stack))
    return stack[:end] or stack[:1]


def _dispatches(frame: Frame) -> bool:
    return any(frame.file.endswith(file) and frame.function == function for file, function in _DISPATCH.items())
