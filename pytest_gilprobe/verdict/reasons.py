"""Format the reason of a verdict: what was measured, and why a strategy is advised or the answer is still open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model import gains, numbers
from pytest_gilprobe.model.error_text import summary
from pytest_gilprobe.model.thresholds import CLOSE, EXTRA_CORES, WORTH_IT
from pytest_gilprobe.model.words import NOT_ASKED, SERIAL, Bound, Gil, Outcome
from pytest_gilprobe.verdict import candidates, pool_costs, settling
from pytest_gilprobe.verdict.rule import at_corners

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.model.results import StrategyResult, Verdict
    from pytest_gilprobe.strategies.contract import Strategy

WORTH_A_WORD = 1.03
"""If another strategy is more than this many times as fast as the advised one, the reason for the advice says why the
other one is not advised."""
WHOLE_CORE = 0.995
"""If a call's own threads keep less than this many cores busy beyond the first, the reason says how busy a second core
is, in percent. Otherwise, the reason says how many cores are busy."""
WORTH_DISPATCHING = 10
"""If larger tasks are advised, a task of the advised size lasts this many times as long as its dispatch."""
_BOUNDS = {
    Bound.IO: "I/O-bound",
    Bound.CPU: "CPU-bound",
    Bound.MIXED: "half waiting, half computing",
    Bound.INCONCLUSIVE: "between two kinds",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """The reason for a verdict (``why``) and the advice that follows from it (``advice``, may be empty), as clauses."""

    why: str
    advice: str = ""

    @property
    def said(self) -> str:
        """The reason and the advice, as one clause."""
        return "; ".join(filter(None, (self.why, self.advice)))


def in_words(evidence: Evidence, verdict: Verdict, why_open: Because | None = None) -> Verdict:
    """Return ``verdict`` with its reason in words.

    The reason says whether calls wait or compute, which speed-up each strategy gave, why one is advised or none is, and
    what the strategies cost. The cautions of ``verdict`` may still be missing. ``why_open`` is the reason for a verdict
    that is inconclusive; if it is ``None``, a general phrase is used.
    """
    used = numbers.percent(evidence.serial.utilization.value)
    gave = ", ".join(_gave(strategy, part, evidence) for strategy, part in _parts(evidence))
    found = _why(evidence, verdict) or why_open or Because(why="the evidence does not decide")
    costs = [clause for strategy in evidence.strategies for clause in strategy.costs_text(evidence, verdict)]
    advice = "; ".join([*filter(None, [found.advice]), *costs])
    clauses = "; ".join(filter(None, [gave, found.why, advice]))
    reason = f"{_BOUNDS[verdict.bound]} ({used} of one core): {clauses}"
    return replace(verdict, reason=reason, why=found.why, advice=advice)


def _parts(evidence: Evidence) -> Iterable[tuple[Strategy, StrategyResult]]:
    """Pair the strategies that were asked for with their results."""
    pairs = [(strategy, evidence.results[strategy.name]) for strategy in evidence.strategies]
    return [(strategy, part) for strategy, part in pairs if part.error != NOT_ASKED]


def _gave(strategy: Strategy, part: StrategyResult, evidence: Evidence) -> str:
    if (gain := gains.in_pool(part, evidence.measurement.workers)) is not None:
        return strategy.gain_text(evidence.measurement.workers, gain.value)
    return f"{strategy.name} {'not tried' if part.outcome is Outcome.SKIPPED else part.outcome}"


# Why a strategy is the advice


def _why(evidence: Evidence, verdict: Verdict) -> Because | None:
    if verdict.strategy == SERIAL:
        return why_serial(evidence, verdict.gil)
    advised = next((one for one in evidence.strategies if one.name == verdict.strategy), None)
    if advised is None:
        return None
    why = advised.why_advised(evidence, verdict.bound, verdict.gil)
    return Because(why=f"{why}{_although_slower(evidence, advised, verdict.speedup)}")


def _although_slower(evidence: Evidence, advised: Strategy, speedup: float | None) -> str:
    """Tell the rule of 15 % where it decides: another strategy has a higher speed-up than the one that is advised.

    ``speedup`` is that of the verdict, which may be of more workers, as a curve has it: then nothing need be faster.
    """
    pools = {one: part.pool_speedup for one, part in _parts(evidence) if part.pool_speedup is not None}
    chosen = pools.get(advised)
    if chosen is None:
        return ""
    gains = {one: min(pool.value, evidence.at_once(one.name)) for one, pool in pools.items()}
    faster = [one for one, gain in gains.items() if gain > gains[advised] * WORTH_A_WORD]
    better = max(faster, key=lambda one: pools[one].value, default=None)
    within = f"{(CLOSE - 1) * 100:.0f} %"
    if better is None or (speedup is not None and speedup >= gains[better]):
        return ""
    return f"; {better.name} cost more and are less than {within} faster"


def why_serial(evidence: Evidence, gil: Gil) -> Because:
    """Say why no parallel strategy is worth it; ``gil`` is whether calls hold the GIL."""
    if all_break(evidence):
        return Because(why=f"nothing else works: {_ends(evidence)}")
    call_s, extra = evidence.serial.call_s.value, evidence.serial.extra_cores
    costs = [cost.task_s for strategy in evidence.strategies if (cost := evidence.costs_s(strategy)) is not None]
    if costs and (call_s / min(costs) < WORTH_IT or _dispatch_decides(evidence)):
        return _too_short(evidence)
    if extra is not None and extra > EXTRA_CORES:
        return Because(why=own_threads(extra))
    tried = [strategy for strategy, part in _parts(evidence) if part.speedup is not None]
    if gil is Gil.HELD and tried and all(one.one_process and not one.one_thread for one in tried):
        return Because(why=f"the GIL serialises {_listed(one.name for one in tried)}, and nothing else could be tried")
    return Because(why=f"no pool reaches {numbers.about(WORTH_IT)}, the least that is worth its effort")


def all_break(evidence: Evidence) -> bool:
    """Return whether every strategy that was asked for was tried, and failed, hung or crashed."""
    parts = [part for _, part in _parts(evidence)]
    return bool(parts) and all(part.broken for part in parts)


def _ends(evidence: Evidence) -> str:
    """Say how each strategy ended: ``threads hung: no answer, processes crashed: no reason known``."""
    return ", ".join(
        f"{strategy.name} {part.outcome}: {summary(part.error or 'no reason known')}"
        for strategy, part in _parts(evidence)
    )


def own_threads(extra: float) -> str:
    """Say how many cores a call's own threads keep busy; ``extra`` is the number of cores beyond the first."""
    if extra < WHOLE_CORE:
        return f"its own threads already keep {numbers.percent(extra)} of a second core busy"
    return f"its own threads already keep {numbers.cores(1 + extra)} cores busy"


def _dispatch_decides(evidence: Evidence) -> bool:
    """Tell whether bare calls gain in parallel, and would in an executor if dispatching them cost nothing."""
    if evidence.measurement.transfer is not None:
        return False
    return any(part.speedup is not None and part.speedup.low >= WORTH_IT for _, part in _parts(evidence))


def _too_short(evidence: Evidence) -> Because:
    """Compare a short call with its dispatch, and say how many calls a task needs where larger tasks may gain."""
    costs = pool_costs.dispatch_s(evidence)
    gaining = {one: costs[one] for one in pool_costs.gaining_in_larger_tasks(evidence) if one in costs}
    why = _dispatch_costs(gaining or costs)
    if not gaining and (moving := _moving(evidence)):
        return Because(why=f"{why}; {moving}", advice="keep it serial")
    if not gaining:
        return Because(why=f"{why}; larger tasks would not help, since {_no_gain(evidence)}", advice="keep it serial")
    fewest = numbers.calls(max(gaining.values()) * WORTH_DISPATCHING / evidence.serial.call_s.value)
    return Because(why=why, advice=f"keep it serial, or hand a pool {fewest} at a time")


def _moving(evidence: Evidence) -> str:
    """Say how long moving a call's data takes where that keeps larger tasks from being worth it; else empty."""
    moved_s = pool_costs.outweighed_by_moving_s(evidence)
    return "" if moved_s is None else f"moving the data of a call takes {numbers.seconds(moved_s)}"


def _dispatch_costs(costs: dict[Strategy, float]) -> str:
    """Say what it takes to dispatch a call: ``dispatching a call takes 10 µs to threads, 380 µs to processes``."""
    each = ", ".join(f"{numbers.seconds(cost)} to {strategy.name}" for strategy, cost in costs.items())
    return f"dispatching a call takes {each}"


def _no_gain(evidence: Evidence) -> str:
    """Say of each strategy why bare calls, whatever an executor costs, gain nothing in it."""
    words = {Outcome.SKIPPED: "cannot be used", Outcome.OK: "were not measured"}
    return _listed(
        f"even without dispatch {strategy.gain_text(evidence.measurement.workers, gain.value)}"
        if (gain := gains.alone(part, evidence.measurement.workers)) is not None
        else f"{strategy.name} {words.get(part.outcome, str(part.outcome))}"
        for strategy, part in _parts(evidence)
    )


def _listed(words: Iterable[str]) -> str:
    """Join words as in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


# Why nothing is advised


def straddles(evidence: Evidence) -> Because:
    """Say that several answers are possible: what each executor may give, and what would settle the verdict."""
    return Because(why=f"{_in_pools(evidence)}{_close_pools(evidence)}", advice=settling.remedy(evidence))


def _close_pools(evidence: Evidence) -> str:
    """Tell the rule of 15 % where it is open which of two pools is the answer."""
    answers = at_corners(candidates.intervals(evidence))
    pools = [one.name for one, part in _parts(evidence) if one.name in answers and part.pool_speedup is not None]
    within = f"{(CLOSE - 1) * 100:.0f} %"
    return f"; {pools[-1]} count only if {within} faster than {pools[0]}" if len(pools) > 1 else ""


def _in_pools(evidence: Evidence) -> str:
    """Say what a pool gives, and of which it is certain that it pays: ``a pool pays: processes 2.0x for certain``."""
    spans = _spans(evidence)
    if not spans:
        return "no pool's speed-up is known"
    certain = [strategy for strategy, part in _parts(evidence) if pool_costs.certainly_pays(evidence, part)]
    untried = [f"{one.name} not tried" for one in evidence.strategies if one.name in evidence.measurement.no_time_for]
    if not certain:
        return f"in a pool: {', '.join([*spans.values(), *untried])}"
    sure = f"{_listed(spans.pop(strategy) for strategy in certain)} for certain"
    return f"a pool pays: {', '.join([sure, *(f'perhaps {one}' for one in spans.values()), *untried])}"


def _spans(evidence: Evidence) -> dict[Strategy, str]:
    """Format the interval of the speed-up of each executor whose speed-up is known."""
    return {
        strategy: f"{strategy.name} {span(part.pool_speedup, int(evidence.at_once(strategy.name)))}"
        for strategy, part in _parts(evidence)
        if part.pool_speedup is not None
    }


def span(pool: Estimate, workers: int) -> str:
    """Format a speed-up's interval, such as ``1.2x to 1.8x``; neither end is shown above the number of ``workers``."""
    low, high = (numbers.times(min(end, float(workers))) for end in (pool.low, pool.high))
    return low if low == high else f"{low} to {high}"


def dispatch_unknown(evidence: Evidence) -> Because:
    """Say that the answer depends on the cost to dispatch calls or move data, which is known only roughly."""
    larger, moving = pool_costs.gaining_in_larger_tasks(evidence), _moving(evidence)
    costs = moving if moving and not larger else _dispatch_costs(pool_costs.dispatch_s(evidence))
    advice = "put several calls into each task" if larger else "move less data" if moving else "keep it serial"
    return Because(why=f"{_in_pools(evidence)}; {costs}, which decides and is known only roughly", advice=advice)


def held_back_by_quota(evidence: Evidence) -> Because:
    """Say that a CPU quota hid a speed-up, and for which share of its time the quota stopped the probe."""
    share = numbers.percent(evidence.measurement.throttled_share)
    why = f"a CPU quota stopped the probe for {share} of its time, so computing in parallel looks slower than it is"
    return Because(why=why, advice="raise the quota")


def nothing_to_compare(evidence: Evidence) -> Because:
    """Say why no parallel strategy could be compared with serial calls."""
    return Because(why=f"nothing to compare serial calls with ({_ends(evidence) or 'no other strategy exists'})")


def too_few_rounds(evidence: Evidence) -> Because:
    """Say what each executor seems to give, and that the rounds (one batch of every strategy) are too few to decide."""
    rounds = numbers.count(evidence.serial.rounds or 0, "round")
    why = f"timings vary too much to decide after {rounds} (busy machine, or calls that differ)"
    if spans := _spans(evidence):
        why = f"a pool seems to give {', '.join(spans.values())}, but {why}"
    return Because(why=why, advice=settling.more_time(evidence))


def too_fast(evidence: Evidence) -> Because:
    """Say that workers gained more than their number allows, so the serial calls must have been disturbed."""
    workers = evidence.measurement.workers
    why = f"the serial calls were slowed down: {workers} workers seem to do more than {workers} times their work"
    return Because(why=why, advice=settling.more_time(evidence))


def ceiling_beaten(evidence: Evidence, strategy: Strategy) -> Because:
    """Say that a strategy's speed-up contradicts the measured GIL-held share."""
    held, part = evidence.gil.held_fraction, evidence.results[strategy.name]
    share = numbers.percent(None if held is None else held.value)
    return Because(
        why=f"the measurements contradict each other: the GIL was held for {share} of the time, yet {strategy.name} "
        f"gave {numbers.speedup(gains.alone(part, evidence.measurement.workers))}",
        advice=settling.more_time(evidence),
    )


def machine_too_small(evidence: Evidence, scaling: Estimate) -> Because:
    """Say that this machine cannot show whether parallel computing helps.

    ``scaling`` is the speed-up of a plain Python loop that all workers ran at the same time.
    """
    cpus = numbers.count(evidence.machine.cpus, "usable CPU")
    workers = numbers.count(evidence.measurement.workers, "process", "processes")
    return Because(
        why=f"this machine cannot show it: with {cpus} it gave a plain Python loop only {numbers.times(scaling.value)} "
        f"in {workers}",
        advice=f"try on a machine with {max(2, evidence.measurement.workers)} idle CPUs or more",
    )
