"""Name what limits the throughput of many workers: the CPUs, the GIL, an event loop, a lock, shared data, a server."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.words import Sleep
from pytest_gilprobe.stats import rounds, scaling, throughput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.ladder import Ladder, Step
    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.model.scaling import ScalingPoint
    from pytest_gilprobe.strategies.contract import Strategy

GROWS = 1.10
"""A curve (throughput by number of workers) is still growing at its end if each doubling of the workers up to there
raised the throughput by at least this factor."""
APART = 1.4
"""To see whether a curve (throughput by number of workers) still grows, its last point is compared with earlier points.
Earlier points are left out if the last point has less than this many times their workers, unless none would remain."""
BUSY = 0.8
"""If calls keep at least this share of the usable CPUs busy, the CPUs are the limit; a CPU quota counts as fewer
CPUs."""
WHOLE = 0.85
"""CPUs count as whole cores if threads that compute without a GIL have a speed-up of at least this share of the number
of CPUs. Otherwise, a report that names the CPUs as the limit adds that speed-up."""
IN_USE = 0.85
"""The GIL, or the event loop, is the limit if it is in use for at least this share of the time at the highest
throughput. The share in use is computed: the speed-up over one worker, times the share of a call's time for which a
call needs the GIL or the loop."""
MAYBE_IN_USE = 0.4
"""The GIL, or the event loop, may be the limit if it may be in use for at least this share of the time at the highest
throughput. If the share is certainly smaller, the GIL or the loop is ruled out."""
WASTED = 0.6
"""If CPUs are busy, and the CPU time of a call that runs alone is less than this share of its CPU time beside other
calls, the limit is shared data or memory, not the number of CPUs."""
LOOKS = 20
"""Fewest samples that suffice to tell whether lanes (threads) sleep in a lock of the process or in something outside. A
sample shows what one lane sleeps in at one moment."""
MOSTLY = 0.5
"""Calls in parallel take longer than a call alone. If lanes (threads) sleep in one thing, such as a lock, for at least
this share of the additional time, it is named as the limit."""
HARDLY = 0.15
"""Calls in parallel take longer than a call alone. If lanes (threads) wait for the GIL for less than this share of the
additional time, the GIL is not the limit."""
WAITS_ALONE = 0.2
"""If a call that runs alone sleeps in a lock in at least this share of the samples, the call waits for other threads of
its process, such as those of a pool. The report then adds that the limit may be outside the process, such as a server
for which these threads wait."""
SINGLE = 1.4
"""If the highest throughput is less than this many times that of one worker, the report says that the limit lets
through one call at a time."""


def limit(strategy: Strategy, ladder: Ladder, points: Sequence[ScalingPoint], evidence: Evidence) -> str | None:
    """Return what limits a strategy's throughput, as a phrase; ``None`` if that cannot be told.

    Args:
        strategy: The strategy, such as threads.
        ladder: The raw readings of the strategy, tried with more and more workers.
        points: The throughput by number of workers, estimated from ``ladder``: at least two points, the fewest workers
            first.
        evidence: What is known of serial calls and of the machine.
    """
    found, top = _limit(strategy, ladder, points, evidence), scaling.highest(points)
    if found is None or not scaling.retrograde(points):
        return found
    return f"{found}; throughput falls beyond {strategy.lanes_text(top.workers)}"


def _limit(strategy: Strategy, ladder: Ladder, points: Sequence[ScalingPoint], evidence: Evidence) -> str | None:
    last, top = points[-1], scaling.highest(points)
    gain, cpus = scaling.speedup(points, top.workers), evidence.machine.cpus
    busy = next((at for at in (top, last) if _cpus_used(ladder.steps, at.workers) >= BUSY * cpus), None)
    if _grows(points) and busy is None:
        if ladder.failed_at is not None:
            return f"with {strategy.lanes_text(ladder.failed_at)} it {ladder.outcome}"
        more = "" if ladder.complete else ", and there was no time for more"
        return f"none found up to {last.workers}{more}"
    if gain is None:
        return None
    ceiling = strategy.ceiling(evidence.gil, evidence.event_loop)
    if ceiling is not None and gain / ceiling.value >= IN_USE:
        return f"{strategy.bottleneck} for {numbers.percent(min(1.0, 1 / ceiling.value))} of its time"
    if busy is not None:
        return _why_busy(ladder.steps, busy, gain, cpus)
    return _who_waits(strategy, ladder.steps, points, gain, evidence)


def _grows(points: Sequence[ScalingPoint]) -> bool:
    """Return whether the last point is above all others by what its distance from them in doublings demands."""
    *earlier, last = points
    fewer = [point for point in earlier if point.workers * APART <= last.workers] or earlier
    doublings = math.log2(last.workers / fewer[-1].workers)
    return last.throughput.value >= math.pow(GROWS, doublings) * max(point.throughput.value for point in fewer)


# Busy CPUs


def _cpus_used(steps: Sequence[Step], workers: int) -> float:
    return max((throughput.cpus_used(step) for step in steps if step.workers == workers), default=0.0)


def _why_busy(steps: Sequence[Step], point: ScalingPoint, gain: float, cpus: int) -> str:
    """Tell CPUs that do useful work from those that make up for shared data, by a call's CPU time beside that alone."""
    alone, beside = _cpu_s_per_call(steps, 1), _cpu_s_per_call(steps, point.workers)
    if alone and beside and alone < WASTED * beside:
        used = numbers.count(round(_cpus_used(steps, point.workers)), "busy CPU")
        return (
            f"shared data or memory: {used} gain only {numbers.about(gain)}, since a call takes "
            f"{beside / alone:.1f} times the CPU time that it takes alone"
        )
    if point.machine_gain is not None and point.workers >= cpus and point.machine_gain < WHOLE * cpus:
        gives = f"which give threads that compute without a GIL {numbers.about(point.machine_gain)}"
        return f"the CPUs ({cpus} usable, {gives})"
    return f"the CPUs ({cpus} usable)"


def _cpu_s_per_call(steps: Sequence[Step], workers: int) -> float | None:
    pairs = [(throughput.cpus_used(step), throughput.calls_per_s(step)) for step in steps if step.workers == workers]
    found = [used / rate for used, rate in pairs if rate]
    return sum(found) / len(found) if found else None


# Lanes that wait


class _Asleep(NamedTuple):
    """The shares of looks that found a lane asleep in any lock, in that of the GIL, in events, and in another call.

    ``events`` are waits for events. ``gil`` is ``None`` if the GIL is not told from other locks. The rest was awake, or
    waited for a CPU.
    """

    lock: float
    gil: float | None
    events: float
    call: float

    def beyond(self, alone: _Asleep | None, longer: float) -> _Asleep:
        """Return the same shares of the time by which calls take longer than alone, a share ``longer`` of their time.

        What a lane sleeps in alone is a smaller part of a longer call. If that is not known, it is taken to be calls.
        """
        before = alone or _Asleep(lock=0.0, gil=None, events=0.0, call=1.0)

        def of_it(now: float, then: float) -> float:
            return (now - then * (1 - longer)) / longer

        return _Asleep(
            lock=of_it(self.lock, before.lock),
            gil=None if self.gil is None else of_it(self.gil, before.gil or 0.0),
            events=of_it(self.events, before.events),
            call=of_it(self.call, before.call),
        )


def _who_waits(
    strategy: Strategy, steps: Sequence[Step], points: Sequence[ScalingPoint], gain: float, evidence: Evidence
) -> str | None:
    """Tell a lock of this process from what is outside of it; ``None`` if that cannot be told."""
    width = "one call at a time" if gain < SINGLE else f"about {gain:.1f} calls at a time"
    takes = f"takes {width}, or {scaling.highest(points).throughput.value:.0f} a second"
    if not strategy.one_process and _asleep(steps, points[-1].workers) is None:
        return f"{strategy.outside} {takes}"
    if strategy.one_thread:
        blocked = None if evidence.event_loop is None else evidence.event_loop.blocked_fraction
        loop = ", the event loop" if _maybe_in_use(blocked, gain) else ""
        return f"the other side (a server, a disk or the like){loop}, or a lock or pool that tasks share: it {takes}"
    return _what_threads_wait_for(strategy, steps, points, gain, evidence, takes=takes)


def _what_threads_wait_for(  # noqa: PLR0913 - all that is known of a curve
    strategy: Strategy,
    steps: Sequence[Step],
    points: Sequence[ScalingPoint],
    gain: float,
    evidence: Evidence,
    *,
    takes: str,
) -> str | None:
    """Name what lanes sleep in for most of the time by which calls take longer than alone.

    Of lanes that share a process but no interpreter, one thread each is looked at. If that thread waits for events, as
    an event loop does, another thread may have work or wait for a lock: then a lock of the process cannot be told from
    what is outside.
    """
    last = points[-1].workers
    alone, beside = _asleep(steps, 1), _asleep(steps, last)
    longer = 1 - (scaling.speedup(points, last) or 1.0) / last
    if beside is None or longer <= 0:
        return None
    extra = beside.beyond(alone, longer)
    outside = extra.call + extra.events
    if outside >= MOSTLY and (strategy.one_process or extra.call >= MOSTLY):
        return f"outside this process: a server, a disk or the like {takes}"
    if outside >= MOSTLY:
        return f"{strategy.outside} {takes}"
    if extra.gil is not None and extra.gil >= MOSTLY:
        return f"the GIL, for which threads wait for {numbers.percent(beside.gil)} of their time"
    if extra.lock < MOSTLY:  # lanes were awake, or waited for a CPU
        return None
    side = " or the other side (not told apart)" if alone is None or alone.lock >= WAITS_ALONE else ""
    if strategy.one_process and rounds.gil_was_on(evidence.measurement):
        gil = _maybe_in_use(evidence.gil.held_fraction, gain) if extra.gil is None else extra.gil >= HARDLY
        side = f"{side}, {'or' if gil else 'not'} the GIL"
    return f"a lock or pool in this process{side}: {_let_through(gain)}"


def _let_through(gain: float) -> str:
    """Say how many calls a lock or pool lets through: how wide it is, or how long it is held, looks the same."""
    if gain < SINGLE:
        return "it lets through one call at a time"
    either = f"a lock held for {numbers.percent(1 / gain)} of a call, or a pool of {round(gain)}"
    return f"it lets through {gain:.1f} calls in the time of one ({either})"


def _maybe_in_use(needed: Estimate | None, gain: float) -> bool:
    """Return whether what calls need for a share of their time may be in use too much to be excluded, or is unknown."""
    return needed is None or gain * needed.high >= MAYBE_IN_USE


def _asleep(steps: Sequence[Step], workers: int) -> _Asleep | None:
    """Return the shares of looks that found a lane asleep; ``None`` if there were too few looks."""
    found = [step.sleeps for step in steps if step.workers == workers]
    looks = sum(sum(sleeps.values()) for sleeps in found)
    if looks < LOOKS:
        return None

    def share(*kinds: Sleep) -> float:
        return sum(sleeps.get(kind, 0) for sleeps in found for kind in kinds) / looks

    return _Asleep(
        lock=share(Sleep.LOCK, Sleep.GIL, Sleep.OTHER_LOCK),
        gil=None if share(Sleep.LOCK) else share(Sleep.GIL),
        events=share(Sleep.EVENTS),
        call=share(Sleep.CALL),
    )
