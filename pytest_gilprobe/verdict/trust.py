"""Decide whether measurements suffice for a verdict: how often they must be repeated, and what makes them doubtful."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_gilprobe.model.thresholds import EXTRA_CORES, WORTH_IT
from pytest_gilprobe.model.words import Bound, Outcome
from pytest_gilprobe.stats.overlap import undisturbed
from pytest_gilprobe.stats.rounds import AGREEMENT, children_width, gil_was_on, is_quiet, is_unqueued, lanes_s
from pytest_gilprobe.stats.rounds import width as threads_width
from pytest_gilprobe.stats.speedups import BEYOND_CEILING, beyond, correctable, scaling_now
from pytest_gilprobe.verdict import candidates, reasons
from pytest_gilprobe.verdict.rule import at_corners, rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.model.readings import ControlRound, Evidence, Measurement, Round

SCALING_TO_JUDGE = 0.7
"""If the control (a fixed pure-Python loop in all workers) reaches less than this share of an ideal machine's speed-up,
and no strategy helps calls that compute, the verdict stays open: the cause may be the machine. If nothing else that a
probe knows of explains it, the control must reach the share `APART_FALLS_SHORT`."""
EXPLAINS = 0.5
"""If lanes (such as threads) of one process take longer than serial calls, and calls hold the GIL for at least this
share of their time, the GIL explains the longer time, so that fewer rounds (one batch of calls of every strategy)
suffice."""
ROUNDS_WHEN_DISTURBED = 3
"""Number of rounds (one batch of calls of every strategy) that are needed to believe a result if other programs
disturbed every round: two rounds can be disturbed alike."""
ROUNDS_TO_BELIEVE = 2
"""Number of runs of the control (a fixed pure-Python loop that shows how fast the machine is) that are needed to
believe that no strategy helps, if no run was disturbed. A single run may have met a bad moment."""
ROUNDS_WHEN_SURPRISING = 5
"""Number of rounds (one batch of calls of every strategy) that are needed to believe what nothing else explains, such
as threads that gain far less than the GIL allows: one outlier must not decide."""
SLOWED_AGAIN = 2.0
"""Serial calls were slowed by a factor F or more if N workers seem to do N times F the work of one worker. A strategy
is then recommended only if it is still the best one with all speed-ups divided by F, and with all divided by F to the
power of this exponent."""
APART_FALLS_SHORT = 0.85
"""Workers in processes of their own share nothing that a probe knows of, so they gain as much as there are workers, or
CPUs if these are fewer. If they gain less than this share of it, the machine may be why: controls are run."""
FALLS_SHORT = 0.75
"""A strategy with lanes (such as threads) in one process falls short if its speed-up is less than this share of the
largest speed-up that the GIL and the number of workers allow. Its speed-up is believed only after 5
(`ROUNDS_WHEN_SURPRISING`) rounds (one batch of calls of every strategy)."""


def disturbed(evidence: Evidence, strategy: str) -> reasons.Because | None:
    """Return the reason why the rounds so far do not suffice to recommend ``strategy``; ``None`` if they do.

    A round is one batch (calls timed together) of every strategy. It is undisturbed if no thread of it had to wait for
    a CPU because of other programs. The first of these cases that applies says how many rounds suffice:

    1. N workers seem to do N times F the work of one, with F clearly above 1: serial calls were slowed down. It takes 5
       rounds (`ROUNDS_WHEN_SURPRISING`), and ``strategy`` must stay the best one both with all speed-ups divided by F,
       and with all divided by F squared.
    2. Lanes (such as threads) of one process gain far less than the GIL allows: 5 rounds, and 5 undisturbed batches or
       bursts (very short batches) of that strategy.
    3. One round was undisturbed, and its lanes of one process took no longer than serial calls, or took longer since
       the GIL is held: 1 round.
    4. In all other cases: 3 rounds (`ROUNDS_WHEN_DISTURBED`).
    """
    results = evidence.results.items()
    seen = evidence.measurement.rounds
    too_fast = any(part.speedup is not None and beyond(part.speedup, evidence.at_once(name)) for name, part in results)
    if too_fast and (len(seen) < ROUNDS_WHEN_SURPRISING or not _survives_faster_serial(evidence, strategy)):
        return reasons.too_fast(evidence)
    if _too_surprising(evidence):
        return reasons.too_few_rounds(evidence)
    if len(seen) >= ROUNDS_WHEN_DISTURBED or any(is_quiet(one) and _explained(one, evidence) for one in seen):
        return None
    return reasons.too_few_rounds(evidence)


def _survives_faster_serial(evidence: Evidence, strategy: str) -> bool:
    """Tell whether a strategy stays the best one if all speed-ups are lower, since serial calls were slowed down."""
    excess = max(
        part.speedup.value / evidence.at_once(name)
        for name, part in evidence.results.items()
        if part.speedup is not None
    )
    slowed = [max(1.0, excess) ** times for times in (0.0, 1.0, SLOWED_AGAIN)]
    return all(at_corners(candidates.intervals(evidence, slowed=factor)) == {strategy} for factor in slowed)


def _too_surprising(evidence: Evidence) -> bool:
    """Tell whether lanes of one process gain far less than the GIL allows, by too few rounds to believe it.

    A lock, shared data, or an outlier may be why. Beside other programs, only undisturbed batches count if the GIL
    would let the strategy be worth it: among many disturbed ones, the few that seem undisturbed may have lost time in a
    way that no clock shows.
    """
    measurement = evidence.measurement
    most, rounds = float(measurement.workers), len(measurement.rounds)
    for strategy in evidence.strategies:
        part, ceiling = evidence.results[strategy.name], strategy.ceiling(evidence.gil, evidence.event_loop)
        allowed = most if ceiling is None else min(most, ceiling.low)
        known = ceiling is not None or evidence.gil.held_fraction is not None
        several = strategy.one_process and not strategy.one_thread
        if several and known and part.speedup is not None and part.speedup.value < allowed * FALLS_SHORT:
            matters = allowed >= WORTH_IT and correctable(measurement, evidence.machine)
            made = min(rounds, undisturbed(measurement, strategy.name)) if matters else rounds
            if made < ROUNDS_WHEN_SURPRISING:
                return True
    return False


def _explained(one: Round, evidence: Evidence) -> bool:
    """Tell whether lanes of one process took what serial calls did, or longer since the GIL was held for long.

    Lanes that are slower for no reason seen may have had the slow ones of calls that are not alike.
    """
    alone = max(lanes_s(one.serial))
    shared = [max(lanes_s(batch)) for batch in one.bare.values() if not batch.apart]
    if all(longest <= alone * (1 + AGREEMENT) for longest in shared):
        return True
    held = evidence.gil.held_fraction
    return held is not None and held.value >= EXPLAINS


def contradicts(evidence: Evidence) -> reasons.Because | None:
    """Return a reason to doubt the evidence if a strategy certainly gained more than the GIL allows; else ``None``.

    The evidence is doubtful even on a busy machine: advice that rests on an impossible speed-up is always wrong.
    """
    for strategy in evidence.strategies:
        part, ceiling = evidence.results[strategy.name], strategy.ceiling(evidence.gil, evidence.event_loop)
        if part.speedup is None or ceiling is None:
            continue
        if part.speedup.low > max(1.0, ceiling.high) * BEYOND_CEILING:
            return reasons.ceiling_beaten(evidence, strategy)
    return None


def needs_cpus(evidence: Evidence, bound: Bound) -> bool:
    """Return whether idle CPUs could make an executor worth it (1.3x or more) for calls with this ``bound``.

    Idle CPUs make no difference to calls that wait (``io``), unless the calls wait for child processes that compute. A
    call that costs less than its dispatch does not gain on any machine.
    """
    if bound is Bound.IO and children_width(evidence.measurement.rounds) <= EXTRA_CORES:
        return False
    call_s = evidence.serial.call_s.value
    best_case = [
        min(evidence.at_once(strategy.name), math.inf if costs is None else call_s / costs.task_s)
        for strategy, costs in ((one, evidence.costs_s(one)) for one in evidence.strategies)
        if evidence.results[strategy.name].outcome is Outcome.OK
    ]
    return max(best_case, default=0.0) >= WORTH_IT


def unexplained(evidence: Evidence) -> bool:
    """Return whether bare calls in processes are not worth it (1.3x), though there is a CPU for each call.

    Such calls share only what the machine has once, such as its memory, or a file; a machine that other programs slow
    down looks the same, even where it gives the control, a fixed pure-Python loop that needs no memory, nearly all.
    """
    measurement = evidence.measurement
    if evidence.machine.cpus / _width(measurement) * APART_FALLS_SHORT < WORTH_IT:
        return False
    apart = [one for one in evidence.strategies if not one.one_process and not one.through_executor]
    gains = [part.speedup for one in apart if (part := evidence.results[one.name]).speedup is not None]
    return any(0 < gain.value < WORTH_IT for gain in gains)


def controls_wanted(measurement: Measurement) -> int:
    """Return how many runs of the control (a fixed pure-Python loop) are needed to believe that no strategy helps.

    These are 2 (`ROUNDS_TO_BELIEVE`) if no control was disturbed and serial calls hardly queued for a CPU, else 3.
    """
    calm = all(map(is_unqueued, measurement.rounds)) and all(map(_is_calm, measurement.controls))
    return ROUNDS_TO_BELIEVE if calm else ROUNDS_WHEN_DISTURBED


def _is_calm(control: ControlRound) -> bool:
    return is_quiet(control.as_round())


def cannot_tell(evidence: Evidence) -> reasons.Because | None:
    """Return why it may be the machine's fault that no strategy helps; ``None`` if the machine can be trusted.

    The control is a fixed pure-Python loop in all workers. If it did not run, the machine is trusted. Else the machine
    is not trusted if it gave the control less than the share `SCALING_TO_JUDGE` of an ideal machine's speed-up, or less
    than `APART_FALLS_SHORT` if that processes do not help is `unexplained`. Nor is it if a strategy might be worth it
    (1.3x) on a machine that gives the control the whole of an ideal machine's speed-up.
    """
    scaling = scaling_now(evidence.measurement, evidence.machine)
    if scaling is None:
        return None
    ideal = _ideal(evidence)
    wanted = APART_FALLS_SHORT if unexplained(evidence) else SCALING_TO_JUDGE
    highest = max((high for _, high in candidates.intervals(evidence).values()), default=0.0)
    if scaling.value < ideal * wanted or _in_full(highest, scaling.high, ideal) >= WORTH_IT:
        return reasons.machine_too_small(evidence, scaling)
    return None


def processes_fall_short(evidence: Evidence, strategy: str) -> bool:
    """Return whether ``strategy`` is the best one only since workers in processes of their own gained little.

    The result is false if ``strategy`` itself gained nearly all that there is: then the machine could give it. It is
    false, too, if the GIL leaves ``strategy`` room for all that, and processes did not gain more for certain: then
    the machine holds both back alike, as one does whose CPUs are two threads of one core.
    """
    ideal, own = _ideal(evidence), evidence.results[strategy].speedup
    if own is not None and own.value >= min(ideal, float(evidence.machine.cpus)) * APART_FALLS_SHORT:
        return False
    if own is not None and _has_room(evidence, strategy, ideal) and own.high >= _most_apart(evidence):
        return False
    return _best_if(evidence, lambda _: ideal) not in {None, strategy}


def may_be_the_machine(evidence: Evidence, strategy: str) -> reasons.Because | None:
    """Return why it may be the machine's fault that processes gain too little to be better than ``strategy``.

    The result is ``None`` if ``strategy`` would still be the best one on a machine that gives the control, a fixed
    pure-Python loop in all workers, its full speed-up. It is ``None``, too, if the control did not run, or may have
    gained all of that.
    """
    scaling, ideal = scaling_now(evidence.measurement, evidence.machine), _ideal(evidence)
    if scaling is None or scaling.high >= ideal:
        return None
    best = _best_if(evidence, lambda gain: max(gain, _in_full(gain, scaling.high, ideal)))
    return None if best in {None, strategy} else reasons.machine_too_small(evidence, scaling)


def _ideal(evidence: Evidence) -> float:
    return float(min(evidence.measurement.workers, max(evidence.machine.cpus, 2)))


def _width(measurement: Measurement) -> float:
    """Return how many CPUs one call uses, at least 1."""
    return max(1.0, threads_width(measurement.rounds) + children_width(measurement.rounds))


def _has_room(evidence: Evidence, name: str, gain: float) -> bool:
    """Tell whether the GIL certainly lets the lanes of strategy ``name`` gain so much."""
    strategy = next(one for one in evidence.strategies if one.name == name)
    ceiling = strategy.ceiling(evidence.gil, evidence.event_loop)
    if ceiling is not None:
        return ceiling.low >= gain
    held = evidence.gil.held_fraction
    return held.high * gain <= 1 if held is not None else not gil_was_on(evidence.measurement)


def _most_apart(evidence: Evidence) -> float:
    """Return the most that workers in processes of their own gained, with bare calls; 0 if none were tried."""
    apart = [one for one in evidence.strategies if not one.one_process and not one.through_executor]
    gains = (evidence.results[one.name].speedup for one in apart)
    return max((gain.value for gain in gains if gain is not None), default=0.0)


def _best_if(evidence: Evidence, gain: Callable[[float], float]) -> str | None:
    """Return the best strategy if processes that gained little gained what a function of that gives, with bare calls.

    The result is ``None`` if no processes gained little.
    """
    gains, ideal, short = {}, _ideal(evidence), False
    room = min(ideal, max(evidence.machine.cpus, 2) / _width(evidence.measurement))
    for strategy in evidence.strategies:
        part = evidence.results[strategy.name]
        bare, pool = part.speedup, part.pool_speedup
        if bare is None or pool is None:
            continue
        gains[strategy.name] = min(pool.value, evidence.at_once(strategy.name))
        apart = not strategy.one_process and not strategy.through_executor
        if apart and 0 < bare.value < ideal * APART_FALLS_SHORT:
            short = True
            most = max(room, gains[strategy.name])
            gains[strategy.name] = min(pool.value * gain(bare.value) / bare.value, most)
    return rule(gains) if short else None


def _in_full(speedup: float, scaling: float, ideal: float) -> float:
    """Return what ``speedup`` would be if the machine gave computing workers ``ideal`` times the speed of one.

    It gave them ``scaling`` times that, so a part P of the work was done side by side: 1 / speedup = 1 - P + P /
    scaling. *Source:* Amdahl, "Validity of the single processor approach" (1967).
    """
    if speedup <= 1 or scaling >= ideal:
        return speedup
    side_by_side = (1 - 1 / speedup) / (1 - 1 / max(scaling, speedup))
    return 1 / (1 - side_by_side * (1 - 1 / ideal))
