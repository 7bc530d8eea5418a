"""Estimates with intervals: centres, scatter, noise, against their properties and by simulation."""

from __future__ import annotations

import math
import random
from statistics import fmean, median

import pytest
from evidence import estimate
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.stats import estimates

NOISE = st.floats(0.001, 0.5)
VALUES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12)
POSITIVE = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (5, 2.57058), (10, 2.22814), (30, 2.04227)],
)
def test_t_quantile_is_that_of_the_tables(freedom: int, quantile: float) -> None:
    """The 97.5 % quantile agrees with printed tables to half a per cent."""
    assert estimates.t_quantile(0.975, freedom) == pytest.approx(quantile, rel=0.005)


def test_t_quantile_refuses_what_it_cannot_compute() -> None:
    """Between 2 and 3 degrees of freedom the expansion would be wrong."""
    with pytest.raises(ValueError, match="3 degrees of freedom, found 2"):
        estimates.t_quantile(0.975, 2.5)


@pytest.mark.parametrize("estimator", [estimates.centre, estimates.positive_centre])
def test_nothing_has_no_centre(estimator: object) -> None:
    """Without values there is nothing to estimate."""
    with pytest.raises(ValueError, match="no values"):
        estimator([], 0.03)  # type: ignore[operator]


def test_positive_centre_refuses_what_is_not_positive() -> None:
    """A time of zero has no logarithm, and is an error rather than an answer."""
    with pytest.raises(ValueError, match=r"domain|positive|log"):
        estimates.positive_centre([1.0, 0.0], 0.03)


@given(values=VALUES, noise=NOISE)
def test_centre_is_the_mean_of_few_and_the_median_of_pairs_of_many(values: list[float], noise: float) -> None:
    """Up to four values count alike; from five on the middle one of the means of all pairs counts."""
    pairs = [(values[i] + values[j]) / 2 for i in range(len(values)) for j in range(i + 1)]
    expected = fmean(values) if len(values) < 5 else median(pairs)
    assert estimates.centre(values, noise).value == pytest.approx(expected)


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12), noise=NOISE, data=st.data())
def test_centre_rises_with_its_values(values: list[float], noise: float, data: st.DataObject) -> None:
    """No value that becomes larger makes the estimate smaller: extremes of every round stay on their sides."""
    more = [value + data.draw(st.floats(0, 10)) for value in values]
    assert estimates.centre(more, noise).value >= estimates.centre(values, noise).value - 1e-9


@given(values=VALUES, noise=NOISE, seed=st.integers())
def test_order_of_rounds_does_not_matter(values: list[float], noise: float, seed: int) -> None:
    """An estimate is the same whatever order the rounds came in."""
    shuffled = random.Random(seed).sample(values, len(values))
    ours, theirs = estimates.centre(values, noise), estimates.centre(shuffled, noise)
    assert (ours.low, ours.value, ours.high) == pytest.approx((theirs.low, theirs.value, theirs.high))


@given(values=VALUES, noise=NOISE, shift=st.floats(-1e3, 1e3))
def test_centre_moves_with_its_values(values: list[float], noise: float, shift: float) -> None:
    """Adding to every value adds to the estimate and leaves its width."""
    before, after = estimates.centre(values, noise), estimates.centre([value + shift for value in values], noise)
    assert after.value == pytest.approx(before.value + shift, abs=1e-6)
    assert after.high - after.low == pytest.approx(before.high - before.low, rel=1e-6, abs=1e-6)


@given(values=POSITIVE, noise=NOISE, scale=st.floats(1e-3, 1e3))
def test_positive_centre_does_not_depend_on_the_unit(values: list[float], noise: float, scale: float) -> None:
    """Seconds or milliseconds: the estimate scales with its values, interval and all."""
    before, after = (
        estimates.positive_centre(values, noise),
        estimates.positive_centre([v * scale for v in values], noise),
    )
    found = (after.low / scale, after.value / scale, after.high / scale)
    assert found == pytest.approx((before.low, before.value, before.high), rel=1e-6)


@given(values=POSITIVE, noise=NOISE)
def test_speedup_and_slowdown_are_one_thing(values: list[float], noise: float) -> None:
    """The estimate of the reciprocals is the reciprocal of the estimate: no side is favoured."""
    ours, theirs = estimates.positive_centre(values, noise), estimates.positive_centre([1 / v for v in values], noise)
    assert (1 / theirs.high, 1 / theirs.value, 1 / theirs.low) == pytest.approx(
        (ours.low, ours.value, ours.high), rel=1e-6
    )


def test_one_value_has_an_interval() -> None:
    """A single round is as uncertain as the assumed noise says: 3 % gives 2.78 times 3 % to each side."""
    found = estimates.centre([10.0], 0.03)
    assert found.high - found.value == pytest.approx(2.776 * 0.03, rel=0.005)


def test_values_that_agree_by_luck_are_not_exact() -> None:
    """Two equal values leave an interval: the assumed noise stands in for what two cannot tell."""
    found = estimates.centre([1.0, 1.0], 0.03)
    assert found.high - found.low > 0.05


def test_one_disturbed_round_of_many_moves_little() -> None:
    """From five rounds on, one that took ten times as long shifts the estimate by less than the noise."""
    quiet = [1.00, 1.01, 0.99, 1.02, 0.98]
    found = estimates.positive_centre([*quiet, 10.0], 0.03)
    assert found.value == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 8, 12])
@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_interval_covers_the_truth(number: int, factor: float) -> None:
    """Of 4,000 experiments whose noise is as assumed, or half of it, at least 93 % catch the truth."""
    chance = random.Random(number)
    hits = 0
    for _ in range(4000):
        found = estimates.centre([chance.gauss(1.0, 0.03 * factor) for _ in range(number)], 0.03)
        hits += found.low <= 1.0 <= found.high
    assert hits / 4000 >= 0.93


@pytest.mark.parametrize(("number", "least"), [(1, 0.75), (2, 0.80), (3, 0.83), (5, 0.85), (8, 0.88)])
def test_interval_degrades_slowly_when_noise_is_underestimated(number: int, least: float) -> None:
    """With twice the assumed noise the interval catches the truth less often, but never in less than three of four."""
    chance = random.Random(number)
    hits = 0
    for _ in range(4000):
        found = estimates.centre([chance.gauss(0.0, 0.06) for _ in range(number)], 0.03)
        hits += found.low <= 0.0 <= found.high
    assert hits / 4000 >= least


def test_calls_of_two_durations_scatter() -> None:
    """Three equal values of five do not hide that the other two are three times as large."""
    found = estimates.positive_centre([1.0, 3.0, 1.0, 3.0, 1.0], 0.03)
    assert found.low < 1.55 < found.high, "their geometric mean"


@pytest.mark.parametrize("sd", [0.01, 0.03, 0.05, 0.08, 0.15])
def test_noise_now_is_between_idle_and_busy(sd: float) -> None:
    """Never below the one or above the other; near the one that the times were drawn from, as the median of 200."""
    rng = random.Random(4)
    groups = [[[math.exp(rng.gauss(0, sd)) for _ in range(5)]] for _ in range(200)]
    found = sorted(estimates.noise_now(0.08, group) for group in groups)
    assert estimates.LEAST_NOISE <= found[0] <= found[-1] <= 0.08
    assert (found[100] < 0.04) == (sd <= 0.03)


@pytest.mark.parametrize("groups", [[], [[0.1]], [[0.1, 0.1]], [[0.1], [0.1], [0.1]]])
def test_noise_now_is_that_of_before_where_little_is_known(groups: list[list[float]]) -> None:
    """Two times that agree do so by chance."""
    assert estimates.noise_now(0.08, groups) == pytest.approx(0.08)


def test_noise_now_is_never_less_than_idle() -> None:
    """A survey that found less noise than idle machines have is not believed."""
    assert estimates.noise_now(0.001, [[0.1] * 5]) == estimates.LEAST_NOISE


@given(values=st.lists(st.floats(0.1, 10), min_size=2, max_size=12))
def test_trend_is_what_its_definition_counts(values: list[float]) -> None:
    """Kendall's tau is the share of pairs that rise less the share that fall, and reverses with the order."""
    pairs = [(a, b) for i, a in enumerate(values) for b in values[i + 1 :]]
    expected = sum(1 for a, b in pairs if b > a) / len(pairs) - sum(1 for a, b in pairs if b < a) / len(pairs)
    assert estimates.kendall_tau(values) == pytest.approx(expected)
    assert estimates.kendall_tau(values[::-1]) == pytest.approx(-estimates.kendall_tau(values))


def test_trend_needs_two_values() -> None:
    """One value has no trend."""
    with pytest.raises(ValueError, match="found 1"):
        estimates.kendall_tau([1.0])


@given(groups=st.lists(POSITIVE, min_size=1, max_size=4), factor=st.floats(0.01, 100))
def test_scatter_is_of_ratios(groups: list[list[float]], factor: float) -> None:
    """Scatter ignores the scale of each group and the order within; values that are all alike leave what is assumed."""
    found = estimates.scatter(0.1, *groups).sd
    assert estimates.scatter(
        0.1, *([value * factor for value in reversed(group)] for group in groups)
    ).sd == pytest.approx(found, rel=1e-6)
    assert estimates.scatter(0.1).sd == pytest.approx(0.1)
    assert estimates.scatter(0.1, *([group[0]] * len(group) for group in groups)).sd <= 0.1 + 1e-9


@pytest.mark.parametrize("size", [3, 12])
def test_scatter_estimates_the_noise(size: int) -> None:
    """Over many groups of known noise, scatter finds it, whatever had been assumed."""
    chance = random.Random(size)
    groups = [[math.exp(chance.gauss(0, 0.2)) for _ in range(size)] for _ in range(3000)]
    assert estimates.scatter(0.5, *groups).sd == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("number", [9, 12, 20, 40])
def test_interval_covers_the_median_of_values_in_clusters(number: int) -> None:
    """Ratios of calls with two durations come in clusters, and the interval still covers the median between them."""
    chance = random.Random(number)
    clusters = [math.log(value) for value in (0.67, 0.67, 0.67, 2.0, 2.0, 2.0, 2.0, 6.0)]
    hits = 0
    for _ in range(1000):
        found = estimates.centre([chance.choice(clusters) for _ in range(number)], 0.03)
        hits += found.low <= math.log(2.0) <= found.high
    assert hits >= 930


def test_one_disturbed_round_of_nine_widens_little() -> None:
    """The farthest of nine rounds is not among those between which the median is bound to lie."""
    calm = [1.0 + 0.01 * number for number in range(9)]
    found, disturbed = estimates.centre(calm, 0.03), estimates.centre([*calm[:-1], 9.0], 0.03)
    assert disturbed.high - disturbed.low < 2 * (found.high - found.low)


@pytest.mark.parametrize(("lanes", "late"), [(1, 0.0), (2, 0.5642), (3, 0.8463), (4, 1.0294), (8, 1.4236)])
def test_slowest_lane_is_as_late_as_the_largest_of_so_many(lanes: int, late: float) -> None:
    """The mean of the largest of N normal values, as tables have it, to 5 %."""
    assert estimates.slowest_of(lanes) == pytest.approx(late, rel=0.05, abs=1e-9)


def test_quotient_adds_errors_as_squares() -> None:
    """Two estimates with 10 % each have a quotient with 14 %; an exact one adds nothing."""
    upper, lower = estimate(2.0, 2.0 / 1.1, 2.2), estimate(1.0, 1 / 1.1, 1.1)
    found = estimates.quotient(upper, lower)
    assert (found.low, found.value, found.high) == pytest.approx((2 / 1.1**1.4142, 2.0, 2 * 1.1**1.4142), rel=1e-3)
    assert estimates.quotient(upper, estimate(2.0)).high == pytest.approx(1.1)


def test_quotient_needs_positive_ends() -> None:
    """A logarithm of nothing is refused."""
    for one, other in ((estimate(1.0, 0.0, 2.0), estimate(1.0)), (estimate(1.0), estimate(1.0, 0.0, 2.0))):
        with pytest.raises(ValueError, match="must be positive"):
            estimates.quotient(one, other)


def test_noise_that_is_known_better_gives_narrower_intervals() -> None:
    """Degrees of freedom count in the quantile; what stands beside takes some away."""
    wide, narrow = (estimates.centre([1.0], estimates.Noise(0.03, freedom)) for freedom in (4, 40))
    assert (narrow.high - narrow.low) / (wide.high - wide.low) == pytest.approx(2.021 / 2.776, rel=0.01)
    assert estimates.centre([1.0], 0.03) == wide


@given(
    sds=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)), freedoms=st.tuples(st.floats(4, 100), st.floats(4, 100))
)
def test_noises_add_as_squares(sds: tuple[float, float], freedoms: tuple[float, float]) -> None:
    """The sum is known with no fewer degrees of freedom than the worse known part, and no more than both have."""
    one, other = map(estimates.Noise, sds, freedoms)
    both = one.beside(other)
    assert both.sd == pytest.approx(math.hypot(*sds))
    assert min(freedoms) * (1 - 1e-9) <= both.freedom <= sum(freedoms) * (1 + 1e-9)
    assert one.beside(estimates.Noise(0.0)).freedom == pytest.approx(one.freedom)
