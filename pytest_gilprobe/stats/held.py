"""From looks at a GIL to the share of time that it was held, with an interval.

*Which share.* That of the window that was watched: a batch of whole calls. Given what the worker did in the window,
the moments of a Poisson process in it are independent and uniform, so the number of looks that find the GIL held is
binomial with the window's true share, **however the workload alternates**: its rhythm makes looks depend on each other
only as a forecast of other windows. How calls differ from batch to batch is therefore not told by one batch at all; it
is the business of `pool`, which widens the interval by what the batches show.

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
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.model import Estimate, GilMethod
from pytest_gilprobe.stats.estimates import t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model import GilTrace

_CONFIDENCE: Final = 0.95
"""Of every interval in a report: by convention."""
_Z: Final = NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2)
"""How many standard errors that is on either side."""

_STUDENT_OF_FEW: Final = {1: 12.706, 2: 4.303}
"""Student's t at 97.5 % where its expansion does not hold."""

MIN_LOOKS: Final = 16
"""Fewer say nothing: at a share of one half, 16 looks leave an interval of 0.28 to 0.72."""

MAX_UNKNOWN_SHARE: Final = 0.5
"""When more than half of the looks came too late to tell, the rest is a guess."""

LATE_NS: Final = 20_000
"""A look is late if it is this much later than the promptest tenth of its batch. Timer slack and waking make all looks
late alike (70 to 100 us measured); a watcher that waits for a core is late by what is left of the worker's burst."""

_PROMPT_QUANTILE: Final = 0.1
"""The promptest tenth shows what a look costs where nothing was in the way, without being the single luckiest."""

LOOKS_PER_BLOCK: Final = 16
"""Looks are weighed by blocks of time that hold so many on average: enough that an empty block is rare (1e-7) and the
weights cost 6 % of the looks (1 / 16), few enough to follow a neighbour's load that comes and goes in 0.1 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tally:
    """One window, counted: its held share if the unknown looks were free, are imputed, or were held."""

    looks: float
    low: float
    value: float
    high: float
    duration_ns: int


def held_fraction(trace: GilTrace, start_ns: int, end_ns: int) -> Estimate | None:
    """Estimate the share of the time from ``start_ns`` to ``end_ns`` that the GIL was held.

    Args:
        trace: Looks of a watcher or of a heartbeat; those outside the window do not count.
        start_ns: Start of the window, `time.perf_counter_ns`.
        end_ns: Its end, after the start.

    Returns:
        A share of 0 to 1 with a 95 % interval for the share in this window, ``None`` where fewer than `MIN_LOOKS`
        looks fall into it, or more than `MAX_UNKNOWN_SHARE` of them came too late to tell.

    """
    tally = _tally(trace, start_ns, end_ns)
    if tally is None or tally.looks < MIN_LOOKS:
        return None
    return _estimate(tally.low, tally.value, tally.high, tally.looks)


def pool(windows: Sequence[tuple[GilTrace, int, int]]) -> Estimate | None:
    """Estimate the held share over several batches, each given as (trace, start_ns, end_ns).

    Every window counts by its duration. The interval has the looks' own scatter times what the batches differ beyond
    it: the looks are divided by Pearson's over-dispersion factor where that is above 1. Where batches that are alike
    would differ so much once in a hundred times, Student's t of one less than there are batches takes the normal
    distribution's place. It is thus an interval for the workload, not only for these windows, as good as the number of
    batches is large.

    Returns:
        As `held_fraction`; ``None`` also where there is no window. Windows that can tell nothing are left out.

    """
    tallies = [tally for window in windows if (tally := _tally(*window)) is not None]
    looks = _effective([tally.duration_ns for tally in tallies], [tally.looks for tally in tallies])
    if looks < MIN_LOOKS:
        return None
    total_ns = sum(tally.duration_ns for tally in tallies)
    low, value, high = (
        math.fsum(getattr(tally, name) * tally.duration_ns for tally in tallies) / total_ns
        for name in ("low", "value", "high")
    )
    return _estimate(low, value, high, looks / _overdispersion(tallies, value))


def longest_hold_s(trace: GilTrace, start_ns: int, end_ns: int) -> float | None:
    """Tell the longest time, in seconds, that one thread was seen holding the GIL without a break.

    From a watcher: from the first to the last of consecutive looks that found it held, with no hand-over between; the
    hold was longer by up to two pauses. A release that no other thread took, between two looks, is not seen, so
    that a serial batch of Python code counts as one hold: the number speaks of native code only where another
    thread asked for the GIL all the while, which Python code grants within the switch interval. From a
    heartbeat, which does ask: the longest that it waited for the GIL, of which up to one switch interval is due to
    any code, so that only a multiple of that is a native hold.

    Returns:
        0.0 where the GIL was never found held twice running, ``None`` where no look fell into the window.

    """
    looks = _inside(trace, start_ns, end_ns)
    if not looks:
        return None
    if trace.method is GilMethod.HEARTBEAT:
        return max((max(0, trace.late_ns[at]) for at in looks if trace.held[at]), default=0) * 1e-9
    longest_ns, since = 0, -1
    for before, at in zip([-1, *looks], looks, strict=False):
        if not trace.held[at]:
            since = -1
        elif since < 0 or _handed_over(trace, before, at):
            since = at
        if since >= 0:
            longest_ns = max(longest_ns, trace.at_ns[at] - trace.at_ns[since])
    return longest_ns * 1e-9


def _handed_over(trace: GilTrace, before: int, at: int) -> bool:
    """Whether the GIL was known to pass to another thread between two looks."""
    return any(column[before] != column[at] for column in (trace.holder, trace.switches) if column)


def _inside(trace: GilTrace, start_ns: int, end_ns: int) -> range:
    """Give the numbers of the looks from ``start_ns`` to ``end_ns``, both included; they are in order."""
    return range(bisect_left(trace.at_ns, start_ns), bisect_right(trace.at_ns, end_ns))


def _tally(trace: GilTrace, start_ns: int, end_ns: int) -> _Tally | None:
    """Count one window; ``None`` where it can tell nothing."""
    looks = _inside(trace, start_ns, end_ns)
    if not looks or end_ns <= start_ns:
        return None
    count = _count_beats if trace.method is GilMethod.HEARTBEAT else _count_looks
    return count(trace, looks, start_ns, end_ns)


def _count_looks(trace: GilTrace, looks: range, start_ns: int, end_ns: int) -> _Tally | None:
    """Weigh a watcher's looks by the time that they stand for, and bound what the unknown ones may have missed.

    While it waited for the worker's core, the watcher missed other moments too. That time is taken out of the clock
    on which the looks are Poisson, and counts like an unknown look: the worker ran in all of it.
    """
    waited_ns = _waits_ns(trace, looks, start_ns)
    clock_ns = [trace.at_ns[at] - gone for at, gone in zip(looks, accumulate(waited_ns), strict=True)]
    waited = sum(waited_ns) / (end_ns - start_ns)
    weights = [(1 - waited) * weight for weight in _weights(clock_ns, start_ns, end_ns - sum(waited_ns))]
    rows = list(zip(weights, looks, waited_ns, strict=True))
    lost = waited + math.fsum(weight for weight, _, wait in rows if wait)
    if lost > MAX_UNKNOWN_SHARE:
        return None
    held = math.fsum(weight for weight, at, wait in rows if trace.held[at] and not wait)
    running = [trace.held[at] for at in looks if trace.runnable and trace.runnable[at]]
    imputed = sum(running) / len(running) if running else 0.5
    seen = _effective(weights, [1] * len(weights))
    return _Tally(
        looks=seen / (1 + seen * _unseen(trace, looks, start_ns, end_ns)),
        low=min(1.0, held),
        value=min(1.0, held + lost * imputed),
        high=min(1.0, held + lost),
        duration_ns=end_ns - start_ns,
    )


def _waits_ns(trace: GilTrace, looks: range, start_ns: int) -> list[int]:
    """Tell how long each look was kept from the moment meant for it by the worker itself; 0 for looks that stand.

    Kept were those that were late, on the worker's own core, and found the worker asleep: the watcher waited until
    the worker left the core by itself, so the worker was running at the moment meant, and what the look found is what
    comes after running. To be imputed is then the held share of the looks that found it running or ready to run; half,
    where there is none. A late look that found it ready to run followed a preemption, which strikes at any moment of
    running, and stands. So does one on another core, whose owner has nothing to do with the worker.
    """
    delays_ns = _delays_ns(trace, looks, start_ns)
    return [0 if _stands(trace, at) else delay_ns for at, delay_ns in zip(looks, delays_ns, strict=True)]


def _stands(trace: GilTrace, at: int) -> bool:
    """Whether a look counts even if it came late: see `_waits_ns`."""
    return bool((trace.runnable and trace.runnable[at]) or (trace.same_core and not trace.same_core[at]))


def _delays_ns(trace: GilTrace, looks: range, start_ns: int) -> list[int]:
    """Tell how much later than a prompt look each one came, inside the window; 0 for those that were not late."""
    prompt_ns = sorted(trace.late_ns[at] for at in looks)[int(len(looks) * _PROMPT_QUANTILE)]
    excess_ns = [trace.late_ns[at] - prompt_ns for at in looks]
    return [
        max(1, min(late_ns, trace.at_ns[at] - start_ns)) if late_ns > LATE_NS else 0
        for at, late_ns in zip(looks, excess_ns, strict=True)
    ]


def _unseen(trace: GilTrace, looks: range, start_ns: int, end_ns: int) -> float:
    """Tell the variance, in units of share x (1 - share), of what other programs kept the watcher from seeing.

    Each stretch that it could not see is one unknown of its share of the window, as if drawn anew: a workload that
    alternates faster has less variance than that, none has more.
    """
    delays_ns = _delays_ns(trace, looks, start_ns)
    unseen = [
        delay_ns / (end_ns - start_ns) for delay_ns, at in zip(delays_ns, looks, strict=True) if _stands(trace, at)
    ]
    return math.fsum(stretch * stretch for stretch in unseen)


def _weights(moments_ns: Sequence[int], start_ns: int, end_ns: int) -> list[float]:
    """Weigh looks, summing to 1, so that equal times count equally, however many looks fell into them.

    A watcher starved by other programs looks seldom while they run, which is when the worker is slow too: counted
    plainly, its looks would stand for the quiet times. The time of an empty block goes to the nearest blocks on
    both sides.
    """
    blocks = max(1, len(moments_ns) // LOOKS_PER_BLOCK)
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


def _count_beats(trace: GilTrace, looks: range, start_ns: int, end_ns: int) -> _Tally | None:
    """Count a heartbeat's wakings for its sleeps, and its waits for the GIL as what they are: held throughout.

    Its moments are Poisson in the time that it sleeps, so that the share of wakings which found the GIL held is the
    held share of that time only. The rest of the time it waited. Without this, held time would count too
    little, as a heartbeat that waits sleeps less often.
    """
    held = sum(trace.held[at] for at in looks)
    waited_ns = sum(trace.late_ns[at] for at in looks if trace.held[at])
    first = looks[0]
    begun_ns = trace.at_ns[first - 1] if first else trace.at_ns[0] - trace.late_ns[0]
    slept_ns = trace.at_ns[looks[-1]] - begun_ns - waited_ns
    if slept_ns <= 0:
        return None
    share = (held / len(looks) * slept_ns + waited_ns) / (slept_ns + waited_ns)
    return _Tally(looks=len(looks), low=share, value=share, high=share, duration_ns=end_ns - start_ns)


def _effective(weights: Sequence[float], looks: Sequence[float]) -> float:
    """Tell how many equal looks scatter as these weighted means do.

    *Source:* L. Kish, "Survey Sampling", 1965, section 11.7.
    """
    spread = math.fsum(weight * weight / count for weight, count in zip(weights, looks, strict=True))
    return math.fsum(weights) ** 2 / spread if spread else 0.0


def _overdispersion(tallies: Sequence[_Tally], share: float) -> float:
    """Tell how much more than their looks' scatter the windows differ, as a variance ratio of 1 or more."""
    if len(tallies) < 2 or not 0 < share < 1:  # noqa: PLR2004 - one window differs from none
        return 1.0
    pearson = math.fsum(tally.looks * (tally.value - share) ** 2 for tally in tallies) / (share * (1 - share))
    freedom = len(tallies) - 1
    factor = max(1.0, pearson / freedom)
    return factor if pearson <= _by_chance(freedom) else factor * (_student(freedom) / _Z) ** 2


def _by_chance(freedom: int) -> float:
    """Return what Pearson's statistic of windows that are alike passes once in a hundred times.

    *Source:* E. B. Wilson, M. M. Hilferty, "The distribution of chi-square", PNAS 17, 1931; 1 % off at the most.
    """
    part = 2 / (9 * freedom)
    return freedom * float(1 - part + NormalDist().inv_cdf(0.99) * math.sqrt(part)) ** 3


def _student(freedom: int) -> float:
    """Return how many standard errors 95 % are on either side where those are known from so many differences."""
    known = _STUDENT_OF_FEW.get(freedom)
    return t_quantile(0.5 + _CONFIDENCE / 2, freedom) if known is None else known


def _estimate(low: float, value: float, high: float, looks: float) -> Estimate:
    """Put Wilson's interval around both ends of what the unknown looks leave open."""
    return Estimate(
        value=value,
        low=min(value, wilson(low, looks)[0]),
        high=max(value, wilson(high, looks)[1]),
        confidence=_CONFIDENCE,
    )


def wilson(share: float, looks: float) -> tuple[float, float]:
    """Give Wilson's 95 % interval of a share of ``looks`` independent looks, a real number above 0."""
    squared = _Z * _Z / looks
    middle = (share + squared / 2) / (1 + squared)
    half = _Z * math.sqrt(share * (1 - share) / looks + squared / (4 * looks)) / (1 + squared)
    return max(0.0, middle - half), min(1.0, middle + half)
