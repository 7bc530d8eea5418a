"""Estimate the share of time for which a GIL was held, with an interval, from samples of whether it was held.

*Which share.* The share is that of the sampled windows. A window is the time of a batch of whole calls. Samples are
taken at the moments of a Poisson process: given what the sampled process did in a window, these moments are independent
and uniform. So the number of samples that find the GIL held is binomial with the window's true share, **however the
workload alternates** between holding and releasing. A single window does not show how much calls differ from batch to
batch; `held_fraction` widens its interval by the differences between several windows.

*Sources.* Poisson moments: R. W. Wolff, "Poisson arrivals see time averages", Operations Research 30(2), 1982.
Interval: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927; its
coverage: L. D. Brown, T. T. Cai, A. DasGupta, "Interval estimation for a binomial proportion", Statistical Science
16(2), 2001. Weights by time: W. G. Cochran, "Sampling Techniques", 1977, 5A.9 (post-stratification). Over-dispersion:
P. McCullagh, J. A. Nelder, "Generalized Linear Models", 1989, section 4.5. Bounds under missing answers: C. F. Manski,
"Partial Identification of Probability Distributions", 2003, chapter 1.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from functools import lru_cache
from itertools import accumulate
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.stats.estimates import CONFIDENCE, t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.readings import GilSamples

_Z: Final = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
"""Half-width of a normal 95 % interval, in standard errors."""

MIN_SAMPLES: Final = 16
"""Fewest samples from which a share is estimated: at a share of one half, 16 samples leave an interval of 0.28 to
0.72."""

MAX_UNKNOWN_SHARE: Final = 0.5
"""A window of samples is left out if, for more than this share of its duration, the samples came too late to show
whether the GIL was held."""

LATE_NS: Final = 20_000
"""A sample is late if it was delayed by this many nanoseconds more than a sample that nothing disturbed. Timer slack
and waking up delay all samples alike, by 70 to 100 us. A sampler that must wait for a CPU is late by as long as the
sampled process keeps that CPU."""

PROMPT_QUANTILE: Final = 0.1
"""The delay of a sample that nothing disturbed is taken to be this quantile of the delays of all samples. The minimum
is not used, since it may be exceptionally short."""

SAMPLES_PER_BLOCK: Final = 16
"""Mean number of samples in a block, one of the equal parts into which `time_weights` divides the sampled time. With
16, an empty block is rare (probability 1e-7), and weighting reduces the effective number of samples by 6 % (1 / 16).
The blocks are still short enough to follow a load that comes and goes in 0.1 s."""


class SampledWindow(NamedTuple):
    """Samples of a GIL, of which only those from ``start_ns`` to ``end_ns`` count, both by `time.perf_counter_ns`."""

    samples: GilSamples
    start_ns: int
    end_ns: int

    @property
    def duration_ns(self) -> int:
        """The nanoseconds from ``start_ns`` to ``end_ns``."""
        return self.end_ns - self.start_ns

    @property
    def inside(self) -> range:
        """The indices of the samples that were taken from ``start_ns`` to ``end_ns``, both included."""
        moments_ns = self.samples.at_ns
        return range(bisect_left(moments_ns, self.start_ns), bisect_right(moments_ns, self.end_ns))


class _Share(NamedTuple):
    """The held share of one window, with its bounds: ``low`` if all unknown time was free, ``high`` if it was held.

    ``number`` is the number of independent samples that would scatter as much as these samples do.
    """

    low: float
    value: float
    high: float
    number: float
    duration_ns: int


def held_fraction(windows: Sequence[SampledWindow]) -> Estimate | None:
    """Estimate the share of the windows' time for which the GIL was held.

    A window is the time of one batch (calls timed together). Longer windows count more. A window is left out if, for
    more than half of its duration, the samples do not show whether the GIL was held. The interval is widened if windows
    differ by more than the random errors of sampling explain: by Pearson's over-dispersion factor and, if the
    differences are significant at the 1 % level, by Student's t distribution. So the interval holds for the workload,
    not only for these windows.

    Args:
        windows: Samples of one process's GIL, one window for each batch. Another process took them, or a heartbeat: a
            thread in the process that wakes up at random moments and asks for the GIL.

    Returns:
        A share from 0 to 1 with a 95 % interval; ``None`` if all samples together are worth fewer than 16
        (`MIN_SAMPLES`) independent samples of equal weight.
    """
    shares = [share for window in windows if (share := _share(window)) is not None]
    total_ns = sum(share.duration_ns for share in shares)
    weights = [share.duration_ns / total_ns for share in shares]
    number = effective_number(weights, [share.number for share in shares])
    if number < MIN_SAMPLES:
        return None
    low, value, high = (  # at most 1, whatever rounding adds
        min(1.0, math.fsum(weight * share[bound] for weight, share in zip(weights, shares, strict=True)))
        for bound in range(3)
    )
    number /= overdispersion([(share.value, share.number) for share in shares], value)
    return Estimate(
        value=value,
        low=min(value, wilson(low, number)[0]),
        high=max(value, wilson(high, number)[1]),
        confidence=CONFIDENCE,
    )


def wilson(share: float, number: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a ``share``, from 0 to 1, found in ``number`` (above 0) independent samples."""
    squared = _Z * _Z / number
    middle = (share + squared / 2) / (1 + squared)
    half = _Z * math.sqrt(share * (1 - share) / number + squared / (4 * number)) / (1 + squared)
    return max(0.0, middle - half), min(1.0, middle + half)


@lru_cache(maxsize=256)
def _share(window: SampledWindow) -> _Share | None:
    """Return the held share of one window; ``None`` if its samples do not show it.

    It is kept: after each round of a probe, all its batches are reduced again.
    """
    if not window.inside or window.duration_ns <= 0:
        return None
    return (_of_heartbeat if window.samples.method is GilMethod.HEARTBEAT else _of_memory)(window)


def _of_memory(window: SampledWindow) -> _Share | None:
    """Weight samples of memory by the time that they stand for, and bound the held share in the unknown time.

    A late sample is unknown if it was taken on the worker's own CPU and found the worker asleep: the sampler waited
    until the worker left that CPU by itself. So the worker was running at the intended moment, but the sample shows the
    time after that. The best guess of the held share of unknown samples is that of the samples that found the worker
    running or runnable; one half without such samples. While it waited, the sampler missed other moments too: that time
    is taken out of the clock by which samples are Poisson, and counts like an unknown sample.

    Any other late sample counts like a prompt one. A sample that found the worker runnable followed a preemption, which
    can happen at any moment of running; a sample on another CPU waited for a program unrelated to the worker.
    """
    samples, inside, start_ns = window.samples, window.inside, window.start_ns
    delays_ns = _delays_ns(window)
    counts = [
        bool((samples.runnable and samples.runnable[at]) or (samples.same_core and not samples.same_core[at]))
        for at in inside
    ]
    waits_ns = [0 if known else delay_ns for known, delay_ns in zip(counts, delays_ns, strict=True)]
    clock_ns = [samples.at_ns[at] - gone for at, gone in zip(inside, accumulate(waits_ns), strict=True)]
    waited = sum(waits_ns) / window.duration_ns
    weights = [(1 - waited) * weight for weight in time_weights(clock_ns, start_ns, window.end_ns - sum(waits_ns))]
    rows = list(zip(weights, inside, waits_ns, strict=True))
    unknown = waited + math.fsum(weight for weight, _, wait_ns in rows if wait_ns)
    if unknown > MAX_UNKNOWN_SHARE:
        return None
    held = math.fsum(weight for weight, at, wait_ns in rows if samples.held[at] and not wait_ns)
    running = [samples.held[at] for at in inside if samples.runnable and samples.runnable[at]]
    likely = sum(running) / len(running) if running else 0.5
    # What other programs kept the sampler from seeing adds variance, in units of share x (1 - share): each such stretch
    # is one unknown of its share of the window, as if drawn anew. No workload has more variance than that.
    unseen = math.fsum(
        (delay_ns / window.duration_ns) ** 2 for known, delay_ns in zip(counts, delays_ns, strict=True) if known
    )
    number = effective_number(weights, [1] * len(weights))
    return _Share(
        low=min(1.0, held),
        value=min(1.0, held + unknown * likely),
        high=min(1.0, held + unknown),
        number=number / (1 + number * unseen),
        duration_ns=window.duration_ns,
    )


def _delays_ns(window: SampledWindow) -> list[int]:
    """Return each sample's delay beyond that of a prompt sample, in nanoseconds; 0 for a sample that is not late."""
    samples, inside = window.samples, window.inside
    prompt_ns = sorted(samples.late_ns[at] for at in inside)[int(len(inside) * PROMPT_QUANTILE)]
    excess_ns = [samples.late_ns[at] - prompt_ns for at in inside]
    return [
        max(1, min(late_ns, samples.at_ns[at] - window.start_ns)) if late_ns > LATE_NS else 0
        for at, late_ns in zip(inside, excess_ns, strict=True)
    ]


def time_weights(moments_ns: Sequence[int], start_ns: int, end_ns: int) -> list[float]:
    """Return a weight for each sample, with the sum 1, such that equal parts of the sampled time have equal weights.

    ``moments_ns`` are the samples' moments, all from ``start_ns`` to ``end_ns``. Other programs that compete for the
    CPUs make samples rare while they run, and slow the sampled process down at the same time. Without weights, the
    samples would show mostly the time in which no such program ran. So the time is divided into blocks of equal length,
    and the samples of a block share its weight. The weight of a block without samples goes to the nearest blocks with
    samples.
    """
    blocks = max(1, len(moments_ns) // SAMPLES_PER_BLOCK)
    span_ns = max(1, end_ns - start_ns)
    block_of = [max(0, min(blocks - 1, (moment - start_ns) * blocks // span_ns)) for moment in moments_ns]
    counts = Counter(block_of)
    filled = sorted(counts)
    time_of = dict.fromkeys(filled, 0.0)
    for block in range(blocks):
        before = filled[max(0, bisect_right(filled, block) - 1)]
        after = filled[min(len(filled) - 1, bisect_left(filled, block))]
        time_of[before] += 0.5 / blocks
        time_of[after] += 0.5 / blocks
    return [time_of[block] / counts[block] for block in block_of]


def _of_heartbeat(window: SampledWindow) -> _Share | None:
    """Count a heartbeat's wakings for the time that it slept, and its waits for the GIL as time in which it was held.

    Its moments are Poisson in the time that it sleeps, so the share of wakings that found the GIL held is the held
    share of that time only. During the rest of the time the heartbeat waited for the GIL. Without this correction held
    time would count too little, as a heartbeat that waits sleeps less often.
    """
    samples, inside = window.samples, window.inside
    held = sum(samples.held[at] for at in inside)
    waited_ns = sum(samples.late_ns[at] for at in inside if samples.held[at])
    first = inside[0]
    begun_ns = samples.at_ns[first - 1] if first else samples.at_ns[0] - samples.late_ns[0]
    slept_ns = samples.at_ns[inside[-1]] - begun_ns - waited_ns
    if slept_ns <= 0:
        return None
    share = (held / len(inside) * slept_ns + waited_ns) / (slept_ns + waited_ns)
    return _Share(low=share, value=share, high=share, number=len(inside), duration_ns=window.duration_ns)


def effective_number(weights: Sequence[float], numbers: Sequence[float]) -> float:
    """Return how many equally weighted samples would give a mean as precise as a given weighted mean.

    The weighted mean is over groups of samples: ``weights`` has the weight of each group, ``numbers`` its number of
    samples. The result is 0 without groups. *Source:* L. Kish, "Survey Sampling", 1965, section 11.7.
    """
    spread = math.fsum(weight * weight / number for weight, number in zip(weights, numbers, strict=True))
    return math.fsum(weights) ** 2 / spread if spread else 0.0


def overdispersion(shares: Sequence[tuple[float, float]], mean: float) -> float:
    """Return by which factor, 1 or more, the variance of several shares exceeds what random sampling explains.

    ``shares`` has pairs: a share from 0 to 1, seen in one window of time, and the number of independent samples that it
    rests on. ``mean`` is the share over all windows. If the windows differ significantly (at the 1 % level), the factor
    is multiplied by the square of the ratio of Student's t to the normal distribution's quantile for so few windows.
    """
    if len(shares) < 2 or not 0 < mean < 1:  # noqa: PLR2004 - one window differs from none
        return 1.0
    pearson = math.fsum(number * (value - mean) ** 2 for value, number in shares) / (mean * (1 - mean))
    freedom = len(shares) - 1
    factor = max(1.0, pearson / freedom)
    if pearson <= _by_chance(freedom):
        return factor
    return factor * (t_quantile(0.5 + CONFIDENCE / 2, freedom) / _Z) ** 2


def _by_chance(freedom: int) -> float:
    """Return the value that Pearson's statistic exceeds once in a hundred times if all windows have the same share.

    *Source:* E. B. Wilson, M. M. Hilferty, "The distribution of chi-square", PNAS 17, 1931; 1 % off at the most.
    """
    part = 2 / (9 * freedom)
    return freedom * float(1 - part + NormalDist().inv_cdf(0.99) * math.sqrt(part)) ** 3
