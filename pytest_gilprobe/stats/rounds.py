"""From rounds of samples to estimates: pure functions, each with its source."""

from __future__ import annotations

import math
from itertools import combinations, combinations_with_replacement, pairwise
from statistics import NormalDist, fmean, median
from typing import TYPE_CHECKING

from pytest_gilprobe.model import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model import Measurement, Round, Sample, Transfer

CONFIDENCE = 0.95
"""Of every interval in a report: by convention."""
LEAST_NOISE = 0.03
"""Standard deviation of the log of a 50 ms batch's time that is assumed at the least: what idle 2-core machines show.
"""
PRIOR_WEIGHT = 4
"""How many degrees of freedom the assumed noise counts for: about as many as the rounds of one probe."""
QUIET = 0.05
"""Run-queue share of a batch up to which no other program is taken to have disturbed it."""
QUIET_BESIDE = 0.15
"""The same for batches that use every CPU at once, which the watching parent and the system's first placing of threads
also disturb: up to 0.1 on an idle machine of two. It is taken out, and errs by `NOISE_OF_QUEUEING` of it."""
AGREEMENT = 0.12
"""How far times of calls that should be alike may differ in a quiet round: four times the least noise."""
OTHERS = 0.05
"""Share of its time for which other threads of the process must compute to count: less is the clocks' grain."""
COMPUTES_ALL = 0.8
"""CPU utilization from which a thread's own CPU time measures one core."""
HEAPS = 1.25
"""Standard deviations between neighbouring values that show two heaps: of 9 normal values such a gap lies among the
inner seven in 9 % of cases, of 12 in 3 %, of 20 in none of 1,000."""
_ROBUST_FROM = 5
"""From so many rounds on a robust centre and deviation are used: fewer cannot tell an outlier."""
_TELLS = 2
"""So many degrees of freedom tell a calm machine from a restless one: two times alike are so by chance."""
_MAD_TO_SD = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution: 1 / its quantile at 0.75."""
_PAIRS_SE = math.sqrt(math.pi / 3)
"""Standard error of the median of all pairs' means over that of a mean, of a normal distribution with many values."""


def t_quantile(probability: float, freedom: int) -> float:
    """Return a quantile of Student's t distribution, for 3 or more degrees of freedom, to 0.5 % or better.

    *Source:* Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    if freedom < 3:  # noqa: PLR2004 - the expansion's range
        msg = f"the expansion needs 3 degrees of freedom, found {freedom}"
        raise ValueError(msg)
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / float(freedom) ** power for power, term in enumerate(terms, 1))


def centre(values: Sequence[float], prior_sd: float) -> Estimate:
    """Estimate the centre of a few noisy values whose noise is roughly known beforehand.

    The variance is a weighted mean of the values' own and of ``prior_sd`` squared, the latter counting as
    `PRIOR_WEIGHT` degrees of freedom, so that one value has an interval at all, and two that agree by luck do not
    pass for exact. From 5 values on, the median of the means of all pairs and a deviation without the farthest fifth
    stand for mean and standard deviation: one disturbed round in five then moves little, at hardly any cost in
    precision (the plain median would cost a quarter).

    Raises `ValueError` without values. *Source:* moderated t: G. K. Smyth, Statistical Applications in Genetics and
    Molecular Biology 3(1), 2004, section 3; centre and its standard error, asymptotically sqrt(pi/3) that of the mean:
    J. L. Hodges, E. L. Lehmann, Annals of Mathematical Statistics 34, 1963.
    """
    if not values:
        msg = "no values to estimate from"
        raise ValueError(msg)
    number = len(values)
    if number < _ROBUST_FROM:
        middle, widen = fmean(values), 1.0
        own = sum((value - middle) ** 2 for value in values)
    else:
        middle, widen = _of_pairs(values), _PAIRS_SE
        own = _robust_sd(values) ** 2 * (number - 1)
    freedom = PRIOR_WEIGHT + number - 1
    spread = math.sqrt((PRIOR_WEIGHT * prior_sd**2 + own) / freedom)
    half = t_quantile((1 + CONFIDENCE) / 2, freedom) * spread * widen / math.sqrt(number)
    lowest, highest = _between_heaps(values, spread)
    return Estimate(
        value=middle, low=min(middle - half, lowest), high=max(middle + half, highest), confidence=CONFIDENCE
    )


def _between_heaps(values: Sequence[float], spread: float) -> tuple[float, float]:
    """Return the two values between which the median of what they are drawn from lies, whatever its distribution.

    Needed where values come in two heaps, as those of calls with two durations do: the median then jumps from one to
    the other, which no standard error tells. Heaps are apart by `HEAPS` times the standard deviation ``spread``, with
    nothing between; where there are none, or fewer than 9 values, so that the farthest one would be among the two, the
    value in the middle is returned twice. *Source:* order statistics, W. J. Conover, "Practical Nonparametric
    Statistics", 1999, section 3.2.
    """
    number, ordered = len(values), sorted(values)
    rank, below = 0, 0.5**number  # the probability that no more than so many values lie below the median
    while below <= (1 - CONFIDENCE) / 2:
        rank += 1
        below += math.comb(number, rank) * 0.5**number
    inner = ordered[rank - 1 : number - rank + 1] if rank >= 2 else []  # noqa: PLR2004 - not the farthest value
    if not any(after - before > HEAPS * spread for before, after in pairwise(inner)):
        return median(ordered), median(ordered)
    return inner[0], inner[-1]


def _of_pairs(values: Sequence[float]) -> float:
    """Return the median of the means of all pairs, each value with itself included."""
    return median((one + other) / 2 for one, other in combinations_with_replacement(values, 2))


def positive_centre(values: Sequence[float], prior_sd: float) -> Estimate:
    """Estimate the centre of positive values (times, ratios) on the scale of their logarithms.

    ``prior_sd`` is that of the logarithm: 0.03 is 3 %. Raises `ValueError` without values or with one that is not
    positive.
    """
    logs = centre([math.log(value) for value in values], prior_sd)
    return Estimate(value=math.exp(logs.value), low=math.exp(logs.low), high=math.exp(logs.high), confidence=CONFIDENCE)


def quotient(upper: Estimate, lower: Estimate) -> Estimate:
    """Divide one positive estimate by another that was measured apart from it.

    The distances to the ends, on the scale of logarithms, add as squares, each end of one with the opposite end of the
    other. Raises `ValueError` where an end is not positive. *Source:* propagation of independent errors; for ends
    that differ, A. Donner and G. Y. Zou, "Closed-form confidence intervals for functions", Statistical Methods in
    Medical Research 21(4), 2012.
    """
    if min(upper.low, lower.low) <= 0:
        msg = f"both estimates must be positive, found {upper.low} and {lower.low}"
        raise ValueError(msg)
    value = upper.value / lower.value
    down = math.hypot(math.log(upper.value / upper.low), math.log(lower.high / lower.value))
    up = math.hypot(math.log(upper.high / upper.value), math.log(lower.value / lower.low))
    return Estimate(value=value, low=value / math.exp(down), high=value * math.exp(up), confidence=upper.confidence)


def kendall_tau(values: Sequence[float]) -> float:
    """Return how steadily values rise in their order: 1 always, 0 no trend, -1 always fall. Ties count as neither.

    Raises `ValueError` for fewer than two values. *Source:* M. G. Kendall, "A new measure of rank correlation",
    Biometrika 30, 1938; against time it is Mann's test for trend, Econometrica 13, 1945.
    """
    pairs = len(values) * (len(values) - 1) // 2
    if not pairs:
        msg = f"a trend needs two values or more, found {len(values)}"
        raise ValueError(msg)
    return sum((late > early) - (late < early) for early, late in combinations(values, 2)) / pairs


def calls_in(sample: Sample) -> int:
    """Count a sample's calls over all threads and workers."""
    return sum(thread.calls for reading in sample.readings for thread in reading.threads)


def span_s(sample: Sample, *, less_queue: bool, holding: float = 0.0) -> float:
    """Return a batch's wall time in seconds: from the first start to the last end.

    With ``less_queue``, each thread's end is moved forward by the time that it was runnable without running: the span
    as it would be if nobody else wanted the CPUs. ``holding``, from 0 to 1, is the share of their CPU time for which
    the other threads hold a lock that it needs: queueing during that time is not taken out. Never less than the
    longest CPU time of a thread.
    """
    threads = [thread for reading in sample.readings for thread in reading.threads]
    first = min(thread.start_ns for thread in threads)
    busy = sum(thread.cpu_ns for thread in threads)
    last = max(
        thread.end_ns - max(0.0, (thread.run_queue_ns or 0) - holding * (busy - thread.cpu_ns))
        if less_queue
        else thread.end_ns
        for thread in threads
    )
    return max(last - first, *(thread.cpu_ns for thread in threads), 1) / 1e9


def s_per_call(sample: Sample, *, less_queue: bool) -> float:
    """Return a batch's span per call, all threads' and workers' calls counted: the reciprocal of its throughput."""
    return span_s(sample, less_queue=less_queue) / calls_in(sample)


def totals_s(sample: Sample) -> tuple[float, float, float | None]:
    """Return wall, CPU and run-queue seconds, each summed over all threads; the last is None where untold."""
    threads = [thread for reading in sample.readings for thread in reading.threads]
    wall = sum(thread.end_ns - thread.start_ns for thread in threads) / 1e9
    cpu = sum(thread.cpu_ns for thread in threads) / 1e9
    waits = [thread.run_queue_ns for thread in threads]
    queue = None if None in waits else sum(wait or 0 for wait in waits) / 1e9
    return wall, cpu, None if queue is None else min(queue, wall)


def cpu_utilization(sample: Sample) -> float:
    """Return CPU time / (wall time - run-queue time), per thread: 0 waits, 1 computes, never above 1.

    CPU time is the process's where other threads computed for the caller: a call that hands its work to a thread and
    waits for it computes. A difference below `OTHERS` is the clocks' grain.
    """
    wall, cpu, queue = totals_s(sample)
    running = max(wall - (queue or 0.0), cpu, 1e-9)
    whole = sum(reading.process_cpu_ns for reading in sample.readings) / 1e9
    return min(1.0, (whole if whole - cpu > running * OTHERS else cpu) / running)


def queue_share(samples: Sequence[Sample]) -> float | None:
    """Return the share of wall time for which the samples' threads were runnable but not running."""
    wall = queue = 0.0
    for sample in samples:
        sample_wall, _, sample_queue = totals_s(sample)
        if sample_queue is None:
            return None
        wall, queue = wall + sample_wall, queue + sample_queue
    return queue / wall if wall else None


def native_cpu_share(sample: Sample) -> float:
    """Return how many cores more than one a serial batch kept busy: 0 none, 1 one more.

    Those are its own threads: native helpers, or a pool that the call starts. Never negative.
    """
    return max(0.0, cores_used(sample) - 1.0)


def cores_used(sample: Sample) -> float:
    """Return how many cores a serial batch kept busy, or would have: 1 computes, more has native helper threads.

    What one core is, the calling thread tells by its own CPU time if it computes all the while, else by the time for
    which it was not queueing: of the two clocks the first is not blurred by other programs.
    """
    wall, cpu, queue = totals_s(sample)
    total = sum(reading.process_cpu_ns for reading in sample.readings) / 1e9
    running = max(wall - (queue or 0.0), 1e-9)
    return total / (cpu if cpu > running * COMPUTES_ALL else running)


def children_share(sample: Sample) -> float:
    """Return how many cores child processes of a serial batch kept busy: 0 none, 1 one all the time."""
    wall, _, queue = totals_s(sample)
    children = sum(reading.children_cpu_ns for reading in sample.readings) / 1e9
    return children / max(wall - (queue or 0.0), 1e-9)


def lane_s_per_call(sample: Sample) -> float:
    """Return the wall time of one call as the thread that makes it sees it, its time in the run queue taken out."""
    wall, cpu, queue = totals_s(sample)
    return max(wall - (queue or 0.0), cpu, 1e-9) / calls_in(sample)


def lanes_s(sample: Sample) -> list[float]:
    """Return the wall time of each thread's whole batch in seconds, its time in the run queue taken out."""
    threads = [thread for reading in sample.readings for thread in reading.threads]
    walls = [(thread.end_ns - thread.start_ns - (thread.run_queue_ns or 0)) / 1e9 for thread in threads]
    return [max(wall, thread.cpu_ns / 1e9, 1e-9) for wall, thread in zip(walls, threads, strict=True)]


def scatter(assumed: float, *groups: Sequence[float]) -> float:
    """Return the standard deviation of the logarithms within groups of positive values that should be alike.

    What was ``assumed`` beforehand counts as `PRIOR_WEIGHT` degrees of freedom beside the groups' own. Groups of 5 or
    more are told without their farthest fifth, so that one disturbed value moves little. *Source:* pooled
    variance, moderated as in `centre`.
    """
    squares, freedom = PRIOR_WEIGHT * assumed**2, float(PRIOR_WEIGHT)
    for group in groups:
        logs = [math.log(value) for value in group]
        freedom += max(0, len(logs) - 1)
        if len(logs) >= _ROBUST_FROM:
            squares += _robust_sd(logs) ** 2 * (len(logs) - 1)
        elif logs:
            middle = fmean(logs)
            squares += sum((value - middle) ** 2 for value in logs)
    return math.sqrt(squares / freedom)


def noise_now(restless: float, groups: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation of the logarithm of a batch's time: between `LEAST_NOISE` and ``restless``.

    ``restless`` is what the machine has shown earlier; whether it is so now, the ``groups`` tell: each holds times that
    should be alike. A machine's noise comes in spells, so two things are weighed against each other by how well they
    explain how near these times lie to each other: an idle machine, and the restless one. Fewer than three times tell
    nothing, and then the machine is taken to be restless.

    *Source:* Bayes' rule for two normal distributions of unknown mean and equal prior weight; the mean's uncertainty
    leaves one degree of freedom less to each group.
    """
    logs = [[math.log(value) for value in group] for group in groups]
    freedom = sum(max(0, len(group) - 1) for group in logs)
    if freedom < _TELLS or restless <= LEAST_NOISE:
        return max(restless, LEAST_NOISE)
    squares = math.fsum((value - fmean(group)) ** 2 for group in logs if group for value in group)
    # likelihood of one standard deviation s: s ** -freedom * exp(-squares / (2 s^2)), in logarithms
    idle, busy = (-freedom * math.log(sd) - squares / (2 * sd * sd) for sd in (LEAST_NOISE, restless))
    weight = 1 / (1 + math.exp(min(busy - idle, 700.0)))
    return math.sqrt(weight * LEAST_NOISE**2 + (1 - weight) * restless**2)


def _robust_sd(values: Sequence[float]) -> float:
    """Return the standard deviation without the one value in five that lies farthest from the median.

    But no less than the median absolute deviation tells: one of the two is small by chance more often than both. The
    median absolute deviation alone is 0 for three equal values of five, as calls with two durations give them.
    *Source:* small samples of the MAD: Croux and Rousseeuw, Computational Statistics, 1992.
    """
    number, middle = len(values), median(values)
    apart = sorted(abs(value - middle) for value in values)
    kept = apart[: number - number // _ROBUST_FROM]
    trimmed = math.sqrt(math.fsum(one * one for one in kept) / (len(kept) - 1))
    return max(trimmed, _MAD_TO_SD * median(apart) * number / (number - 0.8))


def slowest_of(lanes: int) -> float:
    """Return how late the slowest of so many lanes is on average, in standard deviations of one; 0 for one lane.

    *Source:* mean of the largest of N normal values, to 5 %: G. Blom, "Statistical Estimates and Transformed
    Beta-Variables", 1958.
    """
    return NormalDist().inv_cdf((lanes - 0.375) / (lanes + 0.25))


def waits_per_call(sample: Sample) -> float | None:
    """Return how often a call made its thread wait, in voluntary context switches; None where untold."""
    waits = [thread.waits for reading in sample.readings for thread in reading.threads]
    return None if None in waits else sum(wait or 0 for wait in waits) / calls_in(sample)


def gil_was_on(measurement: Measurement) -> bool:
    """Tell whether the GIL was on when serial calls or threads ran: from the start, or since an import switched it on.

    No reading at all says what the start says.
    """
    samples = [sample for one in measurement.rounds for sample in (one.serial, one.threads) if sample is not None]
    readings = [reading for sample in samples for reading in sample.readings]
    return measurement.gil_on_at_start or any(reading.gil_enabled for reading in readings)


def is_unqueued(one: Round) -> bool:
    """Tell whether the serial batch of a round had the CPUs that it wanted."""
    share = queue_share([one.serial])
    return share is None or share <= QUIET


def is_quiet(one: Round) -> bool:
    """Tell whether nothing is seen to have disturbed a round.

    Three things must agree: no thread queued for more than `QUIET` of its time, or `QUIET_BESIDE` where all workers
    ran at once; each process, which shares nothing with the others, took as long as the serial batch, or calls are not
    alike; and no call was faster beside others than alone. A round that fails may just be a workload whose calls
    hinder each other: so a disturbed round is no reason to drop it, but to want more.
    """
    if not is_unqueued(one):
        return False
    parallel = [sample for sample in (one.threads, one.processes) if sample is not None]
    if any((queue_share([sample]) or 0.0) > QUIET_BESIDE for sample in parallel):
        return False
    if one.processes is not None and not _alike([*lanes_s(one.serial), *lanes_s(one.processes)]):
        return False
    return all(lane_s_per_call(one.serial) <= lane_s_per_call(sample) * (1 + AGREEMENT) for sample in parallel)


def like_serial_s(one: Round) -> list[float]:
    """List the wall times of a round's batches that should be alike, in seconds, each less its time in the run queue.

    The serial batch and those of processes, which share nothing, should; threads' stand beside them where they are,
    since threads that hinder each other are no noise.
    """
    apart = [*lanes_s(one.serial), *(lanes_s(one.processes) if one.processes is not None else [])]
    together = [*apart, *(lanes_s(one.threads) if one.threads is not None else [])]
    return together if _alike(together) else apart


def _alike(values: Sequence[float]) -> bool:
    return max(values) <= min(values) * (1 + AGREEMENT)


def pool_speedup(
    speedup: Estimate,
    call_s: Estimate,
    task_s: float | None,
    transfer: Transfer | None = None,
    *,
    task_high_s: float | None = None,
) -> Estimate:
    """Predict the speed-up of a pool from that of the bare calls and the cost of handing one call out.

    A pool finishes a call every max(call / speed-up, hand-out): one thread hands out, the workers work beside it.
    ``task_s`` None costs nothing; the low end is that of ``task_high_s``, where it is known. A ``transfer`` adds its
    two sides: the workers' to the call, the parent's to the hand-out.
    """
    if task_s is None and transfer is None:
        return speedup
    moving_s, beside = (transfer.parent_s, transfer.worker_s) if transfer is not None else (0.0, 0.0)
    best = task_s or 0.0
    value, low, high = (
        min(gain * (call / (call + beside)), call / max(task + moving_s, 1e-12))
        for gain, call, task in (
            (speedup.value, call_s.value, best),
            (speedup.low, call_s.low, max(best, task_high_s or 0.0)),
            (speedup.high, call_s.high, best),
        )
    )
    return Estimate(value=value, low=low, high=high, confidence=speedup.confidence)
