"""From a few noisy values to an estimate with an interval: pure functions on numbers, each with its source."""

from __future__ import annotations

import math
from itertools import combinations, combinations_with_replacement, pairwise
from statistics import NormalDist, fmean, median
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95
"""Of every interval in a report: by convention."""
LEAST_NOISE = 0.03
"""Standard deviation of the log of a 50 ms batch's time that is assumed at the least: what idle 2-core machines show.
"""
PRIOR_WEIGHT = 4
"""How many degrees of freedom the assumed noise counts for: about as many as the rounds of one probe."""
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


class Noise(NamedTuple):
    """How far equal things differ: a standard deviation, and how many degrees of freedom it is known with."""

    sd: float
    freedom: float = PRIOR_WEIGHT

    def beside(self, other: Noise) -> Noise:
        """Return the noise of a sum whose other part has noise of its own.

        *Source:* degrees of freedom of a sum of variances: Satterthwaite, Biometrics Bulletin 2(6), 1946; Welch 1947.
        """
        own, more = self.sd**2, other.sd**2
        freedom = (own + more) ** 2 / max(own**2 / self.freedom + more**2 / other.freedom, 1e-300)
        return Noise(math.sqrt(own + more), max(freedom, min(self.freedom, other.freedom)))


def t_quantile(probability: float, freedom: float) -> float:
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


def centre(values: Sequence[float], noise: Noise | float) -> Estimate:
    """Estimate the centre of a few noisy values whose noise is roughly known beforehand.

    A plain number for ``noise`` is a standard deviation known with `PRIOR_WEIGHT` degrees of freedom.

    The variance is a weighted mean of the values' own and of that of ``noise``, each counting by its degrees of
    freedom, so that one value has an interval at all, and two that agree by luck do not
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
    noise = noise if isinstance(noise, Noise) else Noise(noise)
    number = len(values)
    if number < _ROBUST_FROM:
        middle, widen = fmean(values), 1.0
        own = sum((value - middle) ** 2 for value in values)
    else:
        middle, widen = _of_pairs(values), _PAIRS_SE
        own = _robust_sd(values) ** 2 * (number - 1)
    freedom = noise.freedom + number - 1
    spread = math.sqrt((noise.freedom * noise.sd**2 + own) / freedom)
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


def positive_centre(values: Sequence[float], noise: Noise | float) -> Estimate:
    """Estimate the centre of positive values (times, ratios) on the scale of their logarithms.

    ``noise`` is that of the logarithm: 0.03 is 3 %. Raises `ValueError` without values or with one that is not
    positive.
    """
    logs = centre([math.log(value) for value in values], noise)
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


def scatter(assumed: float, *groups: Sequence[float]) -> Noise:
    """Return the noise of the logarithms within groups of positive values that should be alike.

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
    return Noise(math.sqrt(squares / freedom), freedom)


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
