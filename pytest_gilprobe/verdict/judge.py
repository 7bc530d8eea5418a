"""Judge evidence: turn estimates into a verdict.

A decision is taken only if every point of the estimates' intervals leads to the same decision. Otherwise the verdict is
*inconclusive* and says what could settle it. Evidence that contradicts itself also makes the verdict inconclusive; it
is never averaged away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.results import Verdict
from pytest_gilprobe.model.thresholds import CLOSE, EXTRA_CORES, WORTH_IT, bound_at, gil_at
from pytest_gilprobe.model.words import INCONCLUSIVE, SERIAL, Bound, Gil, NextStep, Outcome
from pytest_gilprobe.stats import pools
from pytest_gilprobe.stats.rounds import cores_used, gil_was_on
from pytest_gilprobe.stats.speedups import throttled
from pytest_gilprobe.verdict import candidates, cautions, pool_costs, reasons, same_call, trust
from pytest_gilprobe.verdict.kept import kept_in_pools
from pytest_gilprobe.verdict.rule import Interval, at_corners, rule

if TYPE_CHECKING:
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.readings import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The ``verdict`` on a workload, and the ``next_step`` that the probe should take to settle what is still open."""

    verdict: Verdict
    next_step: NextStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The ``strategy`` that is chosen, or ``inconclusive`` with the reason in ``why_not``.

    ``next_step`` is what the probe should do next to settle or confirm the choice.
    """

    strategy: str
    why_not: reasons.Because | None = None
    next_step: NextStep = NextStep.STOP


def judge(evidence: Evidence) -> Judgement:
    """Return the verdict that the evidence supports, and what the probe should do next.

    The verdict's ``candidates`` (the strategies that may still be the answer, with their probabilities) are left empty;
    `candidates.left` computes them.
    """
    if same_call.differs(evidence.measurement):
        return _not_the_same_call(evidence)
    seen_as, gil = bound_of(evidence.serial.utilization), gil_of(evidence)
    # what queued unseen for a CPU looks as if it waited for something else; more rounds do not tell
    unseen = seen_as is Bound.MIXED and evidence.serial.run_queue_share is None
    bound = Bound.INCONCLUSIVE if unseen else seen_as
    choice = choose(evidence, bound)
    verdict = Verdict(
        bound=bound,
        gil=gil,
        strategy=choice.strategy,
        speedup=_promised(choice.strategy, evidence),
        workers=_workers(choice.strategy, evidence),
        reason="",
    )
    verdict = reasons.in_words(evidence, replace(verdict, cautions=cautions.of(evidence, verdict)), choice.why_not)
    undecided = seen_as is Bound.INCONCLUSIVE and choice.next_step is NextStep.STOP
    return Judgement(verdict=verdict, next_step=NextStep.ROUND if undecided else choice.next_step)


def _not_the_same_call(evidence: Evidence) -> Judgement:
    """Judge nothing, since the calls that were timed are not the call that was meant; more rounds would not help."""
    why, advice = same_call.why_no_verdict(evidence.measurement), same_call.remedy(evidence.measurement)
    found = Verdict(
        bound=Bound.INCONCLUSIVE,
        gil=Gil.UNKNOWN,
        strategy=INCONCLUSIVE,
        speedup=None,
        reason=f"{why}; {advice}",
        why=why,
        advice=advice,
    )
    verdict = replace(found, cautions=same_call.cautions(evidence))
    return Judgement(verdict=verdict, next_step=NextStep.STOP)


def bound_of(utilization: Estimate) -> Bound:
    """Classify calls by their CPU utilization as waiting (``io``), computing (``cpu``) or ``mixed``.

    The result is ``inconclusive`` if the two ends of the utilization's interval are classified differently.
    """
    found = {bound_at(utilization.low), bound_at(utilization.high)}
    return found.pop() if len(found) == 1 else Bound.INCONCLUSIVE


def gil_of(evidence: Evidence) -> Gil:
    """Return whether calls hold the GIL (``held``), release it (``released``) or do each in part (``partial``).

    This depends on the share of CPU time for which the GIL is held, or on the share of all time if calls mostly wait.
    The result is ``absent`` if the GIL was off. It is ``unknown`` if the share is missing or its interval reaches from
    *released* to *held*.
    """
    if not gil_was_on(evidence.measurement):
        return Gil.ABSENT
    return gil_at(evidence.gil.held_fraction, evidence.serial.utilization.value)


# The choice


def advised_if(evidence: Evidence, gains: Mapping[str, float]) -> str:
    """Return the strategy that would be advised if the speed-ups in ``gains`` were exactly true.

    ``gains`` maps a strategy's name to its speed-up in an executor. For a strategy that is missing there, the value
    measured in ``evidence`` counts, without its interval.
    """
    known = {
        strategy.name: part.pool_speedup.value
        for strategy in evidence.strategies
        if (part := evidence.results[strategy.name]).pool_speedup is not None
    }
    merged = {**known, **gains}
    names = [one.name for one in evidence.strategies if one.name in merged]
    return rule({name: min(merged[name], evidence.at_once(name)) for name in names})


def choose(evidence: Evidence, bound: Bound) -> Choice:
    """Choose the least costly strategy (threads before processes) whose speed-up is within 15 % of the highest.

    Serial calls are chosen if no speed-up reaches 1.3. This rule is evaluated at every corner of the speed-ups'
    intervals (each combination of their low and high ends). It is monotone in each speed-up, so if all corners give the
    same answer, so do all points between them. If the corners differ, strategies are compared directly with each other.
    The choice is *inconclusive* if that does not decide either, or if the measurements cannot be believed yet.
    ``bound`` says whether the calls wait or compute.
    """
    intervals = candidates.intervals(evidence)
    if not intervals:
        return _without_comparison(evidence)
    found = at_corners(intervals)
    strategy = found.pop() if len(found) == 1 else _by_direct_comparison(evidence, intervals)
    if strategy is None:
        return _undecided(evidence, bound)
    if strategy == SERIAL and _costs_rule_out(evidence):
        return Choice(strategy=strategy)
    if strategy == SERIAL and trust.needs_cpus(evidence, bound):
        choice = _believe_serial(evidence)
    else:
        choice = _believed(evidence, strategy, bound)
    hangs = choice.next_step is NextStep.STOP and choice.strategy == strategy and pool_costs.decide(evidence, strategy)
    return replace(choice, next_step=NextStep.POOL) if hangs and pools.may_tell_more(evidence.measurement) else choice


def _believed(evidence: Evidence, strategy: str, bound: Bound) -> Choice:
    """Choose a strategy if it can be believed; else say what is wanted first."""
    if doubt := trust.disturbed(evidence, strategy) or trust.contradicts(evidence):
        return Choice(strategy=INCONCLUSIVE, why_not=doubt, next_step=NextStep.ROUND)
    if trust.needs_cpus(evidence, bound) and trust.processes_fall_short(evidence, strategy):
        return _believe_with_controls(evidence, strategy, trust.may_be_the_machine(evidence, strategy))
    return Choice(strategy=strategy)


def _without_comparison(evidence: Evidence) -> Choice:
    """Choose serial if calls break in whatever else was asked for; else nothing is known."""
    if reasons.all_break(evidence):
        return Choice(strategy=SERIAL)
    return Choice(strategy=INCONCLUSIVE, why_not=reasons.nothing_to_compare(evidence))


def _to_try_in_pools(evidence: Evidence) -> Choice:
    return Choice(strategy=INCONCLUSIVE, why_not=reasons.straddles(evidence), next_step=NextStep.POOL)


def _undecided(evidence: Evidence, bound: Bound) -> Choice:
    """Say why the intervals decide nothing yet: of what a CPU quota holds back, many rounds more will not either."""
    seen, rounds = evidence.measurement, len(evidence.measurement.rounds)
    if throttled(seen) and trust.needs_cpus(evidence, bound):
        why_not, more = reasons.held_back_by_quota(evidence), rounds < trust.ROUNDS_WHEN_DISTURBED
    elif rounds >= trust.ROUNDS_WHEN_DISTURBED and (left := pool_costs.left_open(evidence)):
        if pools.may_tell_more(seen):
            return _to_try_in_pools(evidence)
        if pool_costs.tried(evidence):
            why_not, more = reasons.straddles(evidence), False
        elif SERIAL in left:
            why_not, more = reasons.dispatch_unknown(evidence), False
        else:
            why_not, more = reasons.straddles(evidence), True
    elif rounds >= trust.ROUNDS_WHEN_SURPRISING and pool_costs.matter(evidence) and pools.may_tell_more(seen):
        return _to_try_in_pools(evidence)
    else:
        why_not, more = reasons.straddles(evidence), True
    return Choice(strategy=INCONCLUSIVE, why_not=why_not, next_step=NextStep.ROUND if more else NextStep.STOP)


# Strategies against each other


def _by_direct_comparison(evidence: Evidence, intervals: Mapping[str, Interval]) -> str | None:
    """Choose between strategies by comparing them with each other, when one of them is worth it for certain.

    That comparison is free of the serial calls' noise; it holds only where dispatch is not what limits executors. The
    cheapest strategy that is for certain within 15 % of each other one, if every cheaper one is for certain not.
    """
    if max(low for low, _ in intervals.values()) < WORTH_IT:
        return None
    names = list(intervals)
    for at, name in enumerate(names):
        close = [_within_reach(evidence, name, other) for other in names[at + 1 :]]
        if all(close):
            return name
        if False not in close:
            return None
    return None


def _within_reach(evidence: Evidence, cheaper: str, dearer: str) -> bool | None:
    """Tell whether a strategy is within 15 % of a dearer one; ``None`` while that is open."""
    one, other = evidence.results[cheaper], evidence.results[dearer]
    contrast, kept = other.over.get(cheaper), kept_in_pools(one, other)
    if contrast is None or kept is None:
        return None
    if contrast.ratio.high * kept[1] <= CLOSE:
        return True
    return False if contrast.ratio.low * kept[0] > CLOSE else None


# Serial


def _costs_rule_out(evidence: Evidence) -> bool:
    """Tell whether dispatching a call alone takes so long that no executor can be worth it, whatever disturbed rounds.

    Other programs can only make the calls seem longer, and the dispatch's best round is the shortest.
    """
    costs = [
        evidence.costs_s(strategy)
        for strategy in evidence.strategies
        if evidence.results[strategy.name].outcome is Outcome.OK
    ]
    call_s = evidence.serial.call_s.high
    return bool(costs) and all(cost is not None and call_s < cost.task_s * WORTH_IT for cost in costs)


def _believe_serial(evidence: Evidence) -> Choice:
    """Believe that nothing helps a call that computes only if it could have been seen to help.

    A call that itself used so many CPUs that too few are left shows that they were there. Else it takes controls.
    """
    width = min(cores_used(one.serial) for one in evidence.measurement.rounds)
    if width > 1 + EXTRA_CORES and 1 < evidence.machine.cpus < width * WORTH_IT:
        return Choice(strategy=SERIAL)
    choice = _believe_with_controls(evidence, SERIAL, trust.cannot_tell(evidence))
    few = len(evidence.measurement.rounds) < trust.ROUNDS_WHEN_SURPRISING
    if choice.strategy == SERIAL and few and trust.unexplained(evidence):
        return Choice(strategy=INCONCLUSIVE, why_not=reasons.too_few_rounds(evidence), next_step=NextStep.ROUND)
    return choice


def _believe_with_controls(evidence: Evidence, strategy: str, blind: reasons.Because | None) -> Choice:
    """Choose a strategy unless it may be the machine's fault that others gained less, as ``blind`` says.

    It takes a control beside each of several rounds: two where nothing disturbed serial calls and controls, else three.
    The parallel batches are no witnesses here, since calls that are parallel inside queue behind each other.
    """
    seen = evidence.measurement
    wanted = trust.controls_wanted(seen)
    if len(seen.controls) < min(len(seen.rounds), wanted):
        why = reasons.too_few_rounds(evidence)
        return Choice(strategy=INCONCLUSIVE, why_not=why, next_step=NextStep.CONTROL)
    if blind is not None:
        more = NextStep.ROUND if evidence.machine.cpus > 1 else NextStep.STOP
        return Choice(strategy=INCONCLUSIVE, why_not=blind, next_step=more)
    if len(seen.controls) < wanted:
        return Choice(strategy=INCONCLUSIVE, why_not=reasons.too_few_rounds(evidence), next_step=NextStep.ROUND)
    return Choice(strategy=strategy)


# What is promised


def _promised(strategy: str, evidence: Evidence) -> float | None:
    """Return what the advised strategy promises: what was measured, but never more than one call for each worker."""
    if strategy == SERIAL:
        return 1.0
    chosen = evidence.results.get(strategy)
    if chosen is None or chosen.pool_speedup is None:
        return None
    return min(chosen.pool_speedup.value, evidence.at_once(strategy))


def _workers(strategy: str, evidence: Evidence) -> int | None:
    if strategy == INCONCLUSIVE:
        return None
    return 1 if strategy == SERIAL else int(evidence.at_once(strategy))
