"""Estimate a value and its interval from a few noisy numbers: pure functions whose docstrings cite their sources."""

from __future__ import annotations

import math
from itertools import combinations, combinations_with_replacement, pairwise
from statistics import NormalDist, fmean, median
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95
"""The confidence of every interval in a report, by convention: the probability that the interval has the true value."""
LEAST_NOISE = 0.03
"""The least standard deviation assumed for the logarithm of the time of a batch (calls timed together) of 50 ms, as
seen on idle machines with 2 CPUs."""
PRIOR_WEIGHT = 4
"""Weight, in degrees of freedom, of a standard deviation that is assumed before measuring. It is about the number of
times that one workload's measurement is repeated."""
CLUSTER_GAP = 1.25
"""Values form two clusters if two neighbours, in order of size, differ by more than this many of the values' standard
deviations. Only values within the 95 % interval of the median are searched for such a gap. A sample of 9 normally
distributed values has a gap by chance in 9 % of cases, one of 12 values in 3 %, one of 20 values in less than 0.3 %."""
_ROBUST_FROM = 5
"""The number of values from which robust estimators are used: fewer values do not show which one is an outlier."""
_TELLS_NOISE = 2
"""Degrees of freedom needed to distinguish an idle machine from a busy one: two times may be alike by chance."""
_MAD_TO_SD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation (MAD): 1 / its quantile at 0.75."""
_PAIRS_SE = math.sqrt(math.pi / 3)
"""Standard error of the median of all pairs' means over that of the mean, for many values of a normal distribution."""


class Noise(NamedTuple):
    """How much measurements of one quantity differ: the standard deviation ``sd``, with its degrees of freedom."""

    sd: float
    freedom: float = PRIOR_WEIGHT

    def beside(self, other: Noise) -> Noise:
        """Return the noise of the sum of two independent values, one with this noise and one with the ``other`` noise.

        *Source:* degrees of freedom of a sum of variances: F. E. Satterthwaite, Biometrics Bulletin 2(6), 1946.
        """
        own, more = self.sd**2, other.sd**2
        freedom = (own + more) ** 2 / max(own**2 / self.freedom + more**2 / other.freedom, 1e-300)
        return Noise(math.sqrt(own + more), max(freedom, min(self.freedom, other.freedom)))


def t_quantile(probability: float, freedom: float) -> float:
    """Return a quantile of Student's t distribution: exact for 1 and 2 degrees of freedom, to 0.5 % from 3 on.

    ``probability`` lies between 0 and 1. Raises `ValueError` if ``freedom`` is below 3 and neither 1 nor 2. *Source:*
    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5; the closed forms for 1 and 2 follow from 26.7.3
    and 26.7.4.
    """
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:  # noqa: PLR2004 - two degrees of freedom
        return (2 * probability - 1) / math.sqrt(2 * probability * (1 - probability))
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


def centre(values: Sequence[float], noise: Noise | float) -> Estimate:
    """Estimate the centre of one or more noisy values of the same quantity, with a 95 % interval.

    ``noise`` is the scatter of such values that is assumed before measuring; a plain number is a standard deviation
    with `PRIOR_WEIGHT` degrees of freedom. The variance is the mean of the values' own variance and that of ``noise``,
    weighted by their degrees of freedom. So a single value has an interval too, and two values that agree by chance do
    not count as exact. Fewer than 5 values are described by their mean and standard deviation. From 5 values on, the
    centre is the median of the means of all pairs, and the standard deviation leaves out the farthest fifth of the
    values: one disturbed value in five then has little effect, at hardly any cost in precision (the plain median would
    cost a quarter).

    Raises `ValueError` if ``values`` is empty. *Source:* moderated t: G. K. Smyth, Statistical Applications in Genetics
    and Molecular Biology 3(1), 2004, section 3; centre and its standard error, asymptotically sqrt(pi/3) that of the
    mean: J. L. Hodges, E. L. Lehmann, Annals of Mathematical Statistics 34, 1963.
    """
    if not values:
        msg = "no values to estimate from"
        raise ValueError(msg)
    noise = noise if isinstance(noise, Noise) else Noise(noise)
    number = len(values)
    if number < _ROBUST_FROM:
        middle, widen = fmean(values), 1.0
        own = sum((value - middle) ** 2 for value in values)
    else:
        middle, widen = _hodges_lehmann(values), _PAIRS_SE
        own = _robust_sd(values) ** 2 * (number - 1)
    freedom = noise.freedom + number - 1
    spread = math.sqrt((noise.freedom * noise.sd**2 + own) / freedom)
    half = t_quantile((1 + CONFIDENCE) / 2, freedom) * spread * widen / math.sqrt(number)
    lowest, highest = _median_of_clusters(values, spread)
    return Estimate(
        value=middle, low=min(middle - half, lowest), high=max(middle + half, highest), confidence=CONFIDENCE
    )


def _median_of_clusters(values: Sequence[float], spread: float) -> tuple[float, float]:
    """Return a 95 % interval of the median, for any distribution, if the values form two clusters.

    Calls with two durations give such values: their median jumps from one cluster to the other, which no standard error
    shows. Two clusters are separated by a gap of more than `CLUSTER_GAP` times the standard deviation ``spread``.
    Without such a gap, or with fewer than 9 values, whose interval would reach to the farthest value, the median is
    returned twice. *Source:* order statistics, W. J. Conover, "Practical Nonparametric Statistics", 1999, section 3.2.
    """
    number, ordered = len(values), sorted(values)
    rank, below = 0, 0.5**number  # the probability that no more than so many values lie below the median
    while below <= (1 - CONFIDENCE) / 2:
        rank += 1
        below += math.comb(number, rank) * 0.5**number
    inner = ordered[rank - 1 : number - rank + 1] if rank >= 2 else []  # noqa: PLR2004 - not the farthest value
    if not any(after - before > CLUSTER_GAP * spread for before, after in pairwise(inner)):
        return median(ordered), median(ordered)
    return inner[0], inner[-1]


def _hodges_lehmann(values: Sequence[float]) -> float:
    """Return the median of the means of all pairs of values, the pair of each value with itself included."""
    return median((one + other) / 2 for one, other in combinations_with_replacement(values, 2))


def positive_centre(values: Sequence[float], noise: Noise | float) -> Estimate:
    """Estimate the centre of positive values (times, ratios), with a 95 % interval, on the scale of their logarithms.

    The result is what `centre` gives for the logarithms, turned back into values; from 5 values on, outliers have
    little effect. ``noise`` is the scatter that is assumed for the logarithms before measuring: 0.03 is 3 %. Raises
    `ValueError` if there are no values or a value is not above 0.
    """
    logs = centre([math.log(value) for value in values], noise)
    return Estimate(value=math.exp(logs.value), low=math.exp(logs.low), high=math.exp(logs.high), confidence=CONFIDENCE)


def quotient(upper: Estimate, lower: Estimate) -> Estimate:
    """Return the quotient of two positive estimates that were measured independently.

    The widths of the two intervals are combined on the scale of logarithms, as the root of the sum of squares. The
    result's low end combines the lower half of ``upper``'s interval with the upper half of ``lower``'s, its high end
    the other two halves. Raises `ValueError` if an interval reaches 0. *Source:* propagation of independent errors; for
    intervals that are not symmetric, A. Donner and G. Y. Zou, "Closed-form confidence intervals for functions",
    Statistical Methods in Medical Research 21(4), 2012.
    """
    if min(upper.low, lower.low) <= 0:
        msg = f"both estimates must be positive, found {upper.low} and {lower.low}"
        raise ValueError(msg)
    value = upper.value / lower.value
    down = math.hypot(math.log(upper.value / upper.low), math.log(lower.high / lower.value))
    up = math.hypot(math.log(upper.high / upper.value), math.log(lower.value / lower.low))
    return Estimate(value=value, low=value / math.exp(down), high=value * math.exp(up), confidence=upper.confidence)


def kendall_tau(values: Sequence[float]) -> float:
    """Return Kendall's tau of values in their order: 1 if they always rise, 0 without a trend, -1 if they always fall.

    A pair of equal values counts as neither rising nor falling. Raises `ValueError` for fewer than two values.
    *Source:* M. G. Kendall, "A new measure of rank correlation", Biometrika 30, 1938; for values in order of time this
    is Mann's test for trend, Econometrica 13, 1945.
    """
    pairs = len(values) * (len(values) - 1) // 2
    if not pairs:
        msg = f"a trend needs two values or more, found {len(values)}"
        raise ValueError(msg)
    return sum((late > early) - (late < early) for early, late in combinations(values, 2)) / pairs


def scatter(assumed: float, *groups: Sequence[float]) -> Noise:
    """Return the noise of the logarithms of positive values, from groups of values that should be equal.

    Values of different groups may differ. ``assumed`` is a standard deviation of the logarithm assumed before
    measuring; its weight is `PRIOR_WEIGHT` degrees of freedom, added to those of the groups. A group of 5 or more
    values counts without its farthest fifth, so that one disturbed value has little effect. *Source:* pooled variance,
    moderated as in `centre`.
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
    return Noise(math.sqrt(squares / freedom), freedom)


def noise_now(busy_sd: float, groups: Sequence[Sequence[float]]) -> float:
    """Estimate the present standard deviation of the logarithm of the time of a batch (calls timed together).

    The result lies between 0.03 (`LEAST_NOISE`) and ``busy_sd``, the standard deviation seen on this machine before.
    Each of the ``groups`` has times that should be equal. Two hypotheses are weighted by how well they explain how much
    these times differ: an idle machine, and a machine as noisy as before. This needs three times in one group, or two
    times in each of two groups; with fewer times, the machine counts as noisy as before.

    *Source:* Bayes' rule for two normal distributions of unknown mean and equal prior probability; estimating the mean
    costs each group one degree of freedom.
    """
    logs = [[math.log(value) for value in group] for group in groups]
    freedom = sum(max(0, len(group) - 1) for group in logs)
    if freedom < _TELLS_NOISE or busy_sd <= LEAST_NOISE:
        return max(busy_sd, LEAST_NOISE)
    squares = math.fsum((value - fmean(group)) ** 2 for group in logs if group for value in group)
    # likelihood of one standard deviation s: s ** -freedom * exp(-squares / (2 s^2)), in logarithms
    idle, busy = (-freedom * math.log(sd) - squares / (2 * sd * sd) for sd in (LEAST_NOISE, busy_sd))
    weight = 1 / (1 + math.exp(min(busy - idle, 700.0)))
    return math.sqrt(weight * LEAST_NOISE**2 + (1 - weight) * busy_sd**2)


def _robust_sd(values: Sequence[float]) -> float:
    """Return the standard deviation without the fifth of the values that lies farthest from the median.

    The result is never below what the median absolute deviation (MAD) indicates, as one of the two is small by chance
    more often than both. The MAD alone is 0 if three of five values are equal, as in calls with two durations.
    *Source:* small samples of the MAD: C. Croux and P. J. Rousseeuw, Computational Statistics, 1992.
    """
    number, middle = len(values), median(values)
    apart = sorted(abs(value - middle) for value in values)
    kept = apart[: number - number // _ROBUST_FROM]
    trimmed = math.sqrt(math.fsum(one * one for one in kept) / (len(kept) - 1))
    return max(trimmed, _MAD_TO_SD * median(apart) * number / (number - 0.8))


def slowest_of(lanes: int) -> float:
    """Return by how many standard deviations the slowest of N lanes (threads or processes) is slower than average.

    The standard deviation is that of a lane's time. The result is a mean over many cases, and 0 for one lane. ``lanes``
    is N. *Source:* mean of the largest of N normal values, to 5 %: G. Blom, "Statistical Estimates and Transformed
    Beta-Variables", 1958.
    """
    return NormalDist().inv_cdf((lanes - 0.375) / (lanes + 0.25))
