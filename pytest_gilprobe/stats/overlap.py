"""Estimate what threads of one process certainly gain beside other programs.

Two lanes (threads that make calls) that were never on a CPU at the same moment do not show whether they hinder each
other. If their time in the run queue is simply subtracted, they seem to gain all that two CPUs can give. So undisturbed
batches are selected, and bounds are estimated:

* *Select.* Of many short batches (series of timed calls), those count whose lanes queued least for a CPU. A selection
  by queueing, which other programs cause, does not depend on how fast the calls were.
* *As seen.* While a lane queues, the others do at most what they would do without it. So the speed-up of a batch from
  whose time no queueing is subtracted is a lower bound of the true one, unless lanes side by side are slower than a
  lone lane: then it is at most 1, the speed-up of a lone lane.
* *Account.* For long calls, which other programs always disturb, a second lower bound follows from counting calls. In
  the time T(k) in which k of N lanes did not queue, they made at most k times the calls X(1) per second of a lone lane.
  All other calls were made while all N lanes ran: calls <= X(1) * sum(k * T(k), k < N) + X(N) * T(N). So X(N) / X(1) >=
  N - (U - calls / X(1)) / T(N), where U is the time of all lanes without queueing. T(N) is at least the time that the
  lanes have in common, less the queueing of each. Lanes queue independently if each stayed on a CPU of its own, they
  hardly waited for each other, and one other program cannot explain all their queueing: then T(N) is on average the
  common time multiplied by each lane's share of time without queueing.
"""

from __future__ import annotations

import math
from statistics import fmean, median
from typing import TYPE_CHECKING

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.thresholds import EXTRA_CORES
from pytest_gilprobe.stats import estimates, rounds
from pytest_gilprobe.stats.estimates import Noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.readings import BatchReading, Measurement, Round
    from pytest_gilprobe.stats.masking import Pairs

SELECTED = 0.2
"""Share of a strategy's batches that are selected as least disturbed: those whose threads queued least for a CPU. All
that queued for at most 15 % of their time (`rounds.QUIET_BESIDE`) are selected, too, if bursts are not used."""
LEAST_SELECTED = 3
"""Least number of batches that are selected: two may seem undisturbed by chance."""
LEAST_SURE = 5
"""Least number of undisturbed batches from which a surprising result is believed (`verdict.trust`): bursts (very short
batches of calls) are made if fewer of this many ordinary batches are undisturbed."""
ENOUGH_CALM = 16
"""Once a strategy has this many undisturbed bursts (very short batches of calls), no more bursts of it are made: one
more would narrow the interval of its speed-up by only 3 %."""
SIDE_BY_SIDE = 0.1
"""A lower bound of the speed-up of threads is computed from the numbers of calls. It is used only if, for at least this
share of the batches' time, no thread queued for a CPU. Otherwise, clock errors would be multiplied by over 10."""
ONE_PROGRAM = 0.6
"""Threads are taken to queue for a CPU independently only if their queueing times add up to more than this share of the
time in which all made calls. Less may be due to one other program; then no two threads queue at the same time."""
WAITS_PER_CALL = 0.2
"""Extra waits per call (voluntary context switches beyond those in one thread alone) above which lanes (threads) may
wait for each other. *Source:* beside two busy loops, hashing under one lock has 0.3 or more, hashing without it at
most 0.13."""
WAITS_PER_CPU_S = 20.0
"""Extra waits (voluntary context switches beyond those in one thread alone) for each second of CPU time above which
lanes (threads) may wait for each other: a handful of waits in a batch happens by chance, however short its calls."""
MOST_QUEUED = 0.5
"""If lanes (threads) queued for a CPU for more than this share of their time even in the least disturbed batches, only
the GIL and the number of workers bound the speed-up from above: it is unknown how long a lane waited for one that
queued."""
LEAST_GAIN = 0.01
"""A lower bound of the speed-up of threads is computed from the numbers of calls. A bound below this value is raised to
it; no gain is certain then."""


def wanted(measurement: Measurement, cpus: int) -> bool:
    """Return whether short batches (calls timed together) are needed, as other programs disturbed the ordinary ones.

    They are needed if a strategy's lanes (threads) run in one process and queued for a CPU for more than 15 % of their
    time (`rounds.QUIET_BESIDE`) in each of the strategy's batches, or if there are N batches or more, but fewer than N
    with less queueing; N is 3 (`LEAST_SELECTED`) or 5 (`LEAST_SURE`). The result is false if there are more lanes than
    ``cpus``, the usable CPUs, or if a call uses several cores: then the calls themselves cause queueing.
    """
    width = max(rounds.width(measurement.rounds), rounds.children_width(measurement.rounds) + 1)
    if measurement.workers > cpus or width > 1 + EXTRA_CORES:
        return False
    shared: dict[str, list[bool]] = {}
    for one in measurement.rounds:
        for name, batch in one.parallel.items():
            if not batch.apart:
                shared.setdefault(name, []).append(_is_calm(batch))
    few = (sum(calm) < least <= len(calm) for calm in shared.values() for least in (LEAST_SELECTED, LEAST_SURE))
    return any(few) or not all(map(any, shared.values()))


def enough(measurement: Measurement, name: str) -> bool:
    """Return whether strategy ``name`` has 16 undisturbed bursts (very short batches): more would tell little."""
    return len(_calm(measurement.bursts, name)) >= ENOUGH_CALM


def undisturbed(measurement: Measurement, name: str) -> int:
    """Return how many batches of strategy ``name`` other programs left undisturbed: ordinary ones or bursts, if more.

    A burst is a very short batch (calls timed together).
    """
    ordinary = sum(_is_calm(batch) for _, batch in pairs_of(measurement.rounds, name))
    return max(ordinary, len(_calm(measurement.bursts, name)))


def selected(pairs: Pairs, bursts: Sequence[Round], name: str) -> Pairs:
    """Return the batches of the strategy ``name`` that other programs disturbed least, each paired with a serial batch.

    ``pairs`` has the strategy's ordinary batches (calls timed together), ``bursts`` has bursts (very short batches) of
    each strategy. A batch is undisturbed if its threads queued for a CPU for at most 15 % of their time (in bursts,
    serial calls: 5 %). The result has the undisturbed ordinary batches if there are at least 3 (`LEAST_SELECTED`), else
    the undisturbed bursts if there are 3, else the batches of both kinds that queued least.
    """
    if by_bursts(pairs, bursts, name):
        return _calm(bursts, name)
    calm = [(base, batch) for base, batch in pairs if _is_calm(batch)]
    return calm if len(calm) >= LEAST_SELECTED else _least_queued([*pairs, *pairs_of(bursts, name)])


def by_bursts(pairs: Pairs, bursts: Sequence[Round], name: str) -> bool:
    """Return whether other programs left too few ordinary batches undisturbed, but enough bursts (very short batches).

    ``pairs`` has the ordinary batches (calls timed together) of the strategy ``name``, ``bursts`` has bursts of each
    strategy. At least 3 (`LEAST_SELECTED`) are enough. Ordinary batches are preferred: in a burst, lanes (threads)
    begin at the same moment, unlike in a long series of calls.
    """
    calm = sum(_is_calm(batch) for _, batch in pairs)
    return calm < LEAST_SELECTED <= len(_calm(bursts, name))


def out_of_step(pairs: Pairs) -> float:
    """Return the largest speed-up that lanes (threads) may have in a long series of calls, judged by short series.

    ``pairs`` has pairs of short batches: one lane alone, and all N lanes, which begin at the same moment. Lanes that
    hold a lock or the GIL for a part f of a call's time wait for each other at their first calls; in a long series they
    later take turns without waiting, if f is small. So all waiting may vanish. But N lanes never make more than 1 / f
    calls in the time of one call. The longest wait is at most (N-1)*f of a call's time, so it shows how small f can be.
    """
    return median(_out_of_step(base, batch) for base, batch in pairs)


def _out_of_step(base: BatchReading, batch: BatchReading) -> float:
    calls, number = batch.lanes[0].calls, len(batch.lanes)
    call_s = rounds.lane_s_per_call(base)
    alone_s = call_s - rounds.totals_s(base)[1] / rounds.calls_in(base)  # the waiting of a call that nobody hinders
    times_s = [one / calls for one in rounds.lanes_s(batch)]
    waits_s = [
        max(0.0, time_s - lane.cpu_ns / 1e9 / calls - alone_s)
        for time_s, lane in zip(times_s, batch.lanes, strict=True)
    ]
    without_waiting = number * call_s / max(fmean(times_s) - fmean(waits_s), 1e-12)
    return max(1.0, min(float(number), without_waiting, (number - 1) * call_s / max(*waits_s, 1e-12)))


def certain(kinds: Sequence[Pairs], chosen: Pairs, noise: Noise) -> Estimate:
    """Return the largest of several lower bounds of the speed-up of lanes (threads) of one process, with its interval.

    ``kinds`` has all batches (calls timed together), each with its serial batch: ordinary ones, and bursts (very short
    ones), if there are any. ``chosen`` has the least disturbed of them. ``noise`` is that of the time of one batch. In
    one case the true speed-up may be below the bound: if lanes side by side are slower than one lane alone. The bound
    is then at most 1.
    """
    bounds = [_as_seen(chosen, noise), *(_accounted(pairs, noise) for pairs in kinds)]
    return max((one for one in bounds if one is not None), key=lambda one: one.low)


def pairs_of(seen: Sequence[Round], name: str) -> Pairs:
    """Return a pair for each round in which strategy ``name`` was timed: the serial batch and the strategy's batch.

    A round is one batch (calls timed together) of each strategy.
    """
    return [(one.serial, one.batches[name]) for one in seen if name in one.batches]


def _as_seen(chosen: Pairs, noise: Noise) -> Estimate:
    ratios = [
        rounds.s_per_call(base, less_queue=True) / rounds.s_per_call(batch, less_queue=False) for base, batch in chosen
    ]
    return estimates.positive_centre(ratios, Noise(noise.sd * math.sqrt(2), noise.freedom))


def _accounted(pairs: Pairs, noise: Noise) -> Estimate | None:
    """Return the bound by accounting, over all batches together; ``None`` if the lanes hardly ran side by side.

    *Source:* its standard error is that of the jackknife: J. W. Tukey, Annals of Mathematical Statistics 29, 1958.
    """
    if len(pairs) < LEAST_SELECTED:
        return None
    lanes = float(len(pairs[0][1].lanes))
    found = [
        (_unqueued_s(batch) - rounds.calls_in(batch) * rounds.lane_s_per_call(base), beside, batch)
        for base, batch in pairs
        if (beside := _side_by_side_s(base, batch)) > 0
    ]
    number, beside_s = len(found), math.fsum(beside for _, beside, _ in found)
    whole_s = math.fsum(rounds.span_s(batch, less_queue=False) for _, _, batch in found)
    if number < LEAST_SELECTED or beside_s < SIDE_BY_SIDE * whole_s:
        return None
    lost_s = math.fsum(lost for lost, _, _ in found)
    without = [(lost_s - lost) / (beside_s - beside) for lost, beside, _ in found]
    variance = (number - 1) / number * math.fsum((one - fmean(without)) ** 2 for one in without)
    unqueued_s = math.fsum(_unqueued_s(batch) for _, _, batch in found)
    assumed = noise.sd * math.sqrt(2 / number) * unqueued_s / beside_s
    freedom = max(noise.freedom, number - 1)
    half = estimates.t_quantile((1 + estimates.CONFIDENCE) / 2, freedom) * math.sqrt(max(variance, assumed**2))
    middle = lanes - lost_s / beside_s
    low, value, high = (min(lanes, max(LEAST_GAIN, end)) for end in (middle - half, middle, middle + half))
    return Estimate(value=value, low=low, high=high, confidence=estimates.CONFIDENCE)


def _least_queued(pairs: Pairs) -> Pairs:
    ordered = sorted(pairs, key=lambda pair: _queued(pair[1]))
    calm = sum(_is_calm(batch) for _, batch in ordered)
    return ordered[: max(LEAST_SELECTED, calm, math.ceil(len(ordered) * SELECTED))]


def _calm(bursts: Sequence[Round], name: str) -> Pairs:
    """Return the bursts of a strategy in which no lane was held up much, each with its serial burst."""
    return [
        (base, batch) for base, batch in pairs_of(bursts, name) if _queued(base) <= rounds.QUIET and _is_calm(batch)
    ]


def _is_calm(batch: BatchReading) -> bool:
    """Tell whether the lanes of a batch that uses every CPU hardly queued."""
    return _queued(batch) <= rounds.QUIET_BESIDE


def _queued(batch: BatchReading) -> float:
    return rounds.queue_share([batch]) or 0.0


def _unqueued_s(batch: BatchReading) -> float:
    return sum(lane.end_ns - lane.start_ns - (lane.run_queue_ns or 0) for lane in batch.lanes) / 1e9


def _side_by_side_s(base: BatchReading, batch: BatchReading) -> float:
    """Return for how long no lane of the batch queued, in seconds: at least, or on average where that is known."""
    common_ns = min(lane.end_ns for lane in batch.lanes) - max(lane.start_ns for lane in batch.lanes)
    least_ns = common_ns - sum(lane.run_queue_ns or 0 for lane in batch.lanes)
    if not _apart(base, batch) or common_ns - least_ns <= ONE_PROGRAM * common_ns:
        return least_ns / 1e9
    shares = (max(0.0, 1 - (lane.run_queue_ns or 0) / max(lane.end_ns - lane.start_ns, 1)) for lane in batch.lanes)
    return max(least_ns, common_ns * math.prod(shares)) / 1e9


def _apart(base: BatchReading, batch: BatchReading) -> bool:
    """Return whether lanes ended on the CPUs on which they began, one each, and hardly waited for each other.

    A thread that waits for another may be woken on that one's CPU.
    """
    cpus = [lane.cpus for lane in batch.lanes]
    if not all(cpus) or any(len(set(seen)) > 1 for seen in cpus) or len({seen[0] for seen in cpus}) < len(cpus):
        return False
    alone, together = rounds.waits_per_call(base), rounds.waits_per_call(batch)
    if alone is None or together is None:
        return False
    by_chance = max(1.0, WAITS_PER_CPU_S * rounds.totals_s(batch)[1])
    return together - alone <= WAITS_PER_CALL and (together - alone) * rounds.calls_in(batch) <= by_chance
