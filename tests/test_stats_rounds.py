"""`pytest_gilprobe.stats.rounds`: each statistic against its definition, its laws, and its intervals against chance."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from statistics import fmean, median

import pytest
from evidence import PYTHON_LOOP, estimate, processes, reading, serial, thread, threads
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model import Round, Sample, Strategy, ThreadReading, Transfer
from pytest_gilprobe.stats import rounds

NOISE = st.floats(0.001, 0.5)
VALUES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12)
POSITIVE = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12)


# The centre and its interval


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(3, 3.18245), (4, 2.77645), (5, 2.57058), (10, 2.22814), (30, 2.04227), (1000, 1.96234)]
)
def test_t_quantile_is_that_of_the_tables(freedom: int, quantile: float) -> None:
    """The 97.5 % quantile agrees with printed tables to half a per cent, from three degrees of freedom on."""
    assert rounds.t_quantile(0.975, freedom) == pytest.approx(quantile, rel=0.005)


def test_t_quantile_refuses_what_it_cannot() -> None:
    """Under three degrees of freedom the expansion would be wrong, so there is none."""
    with pytest.raises(ValueError, match="3 degrees of freedom, found 2"):
        rounds.t_quantile(0.975, 2)


@pytest.mark.parametrize("estimator", [rounds.centre, rounds.positive_centre])
def test_nothing_has_no_centre(estimator: object) -> None:
    """Without values there is nothing to estimate."""
    with pytest.raises(ValueError, match="no values"):
        estimator([], 0.03)  # type: ignore[operator]


def test_positive_centre_refuses_what_is_not_positive() -> None:
    """A time of zero has no logarithm, and is an error rather than an answer."""
    with pytest.raises(ValueError, match=r"domain|positive|log"):
        rounds.positive_centre([1.0, 0.0], 0.03)


@given(values=VALUES, noise=NOISE)
def test_centre_is_the_mean_of_few_and_the_median_of_pairs_of_many(values: list[float], noise: float) -> None:
    """Up to four values count alike; from five on the middle one of the means of all pairs counts."""
    pairs = [(values[i] + values[j]) / 2 for i in range(len(values)) for j in range(i + 1)]
    expected = fmean(values) if len(values) < 5 else median(pairs)
    assert rounds.centre(values, noise).value == pytest.approx(expected)


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12), noise=NOISE, data=st.data())
def test_centre_rises_with_its_values(values: list[float], noise: float, data: st.DataObject) -> None:
    """No value that becomes larger makes the estimate smaller: extremes of every round stay on their sides."""
    more = [value + data.draw(st.floats(0, 10)) for value in values]
    assert rounds.centre(more, noise).value >= rounds.centre(values, noise).value - 1e-9


@given(values=VALUES, noise=NOISE, seed=st.integers())
def test_order_of_rounds_does_not_matter(values: list[float], noise: float, seed: int) -> None:
    """An estimate is the same whatever order the rounds came in."""
    shuffled = random.Random(seed).sample(values, len(values))
    ours, theirs = rounds.centre(values, noise), rounds.centre(shuffled, noise)
    assert (ours.low, ours.value, ours.high) == pytest.approx((theirs.low, theirs.value, theirs.high))


@given(values=VALUES, noise=NOISE, shift=st.floats(-1e3, 1e3))
def test_centre_moves_with_its_values(values: list[float], noise: float, shift: float) -> None:
    """Adding to every value adds to the estimate and leaves its width."""
    before, after = rounds.centre(values, noise), rounds.centre([value + shift for value in values], noise)
    assert after.value == pytest.approx(before.value + shift, abs=1e-6)
    assert after.high - after.low == pytest.approx(before.high - before.low, rel=1e-6, abs=1e-6)


@given(values=POSITIVE, noise=NOISE, scale=st.floats(1e-3, 1e3))
def test_positive_centre_does_not_depend_on_the_unit(values: list[float], noise: float, scale: float) -> None:
    """Seconds or milliseconds: the estimate scales with its values, interval and all."""
    before, after = rounds.positive_centre(values, noise), rounds.positive_centre([v * scale for v in values], noise)
    found = (after.low / scale, after.value / scale, after.high / scale)
    assert found == pytest.approx((before.low, before.value, before.high), rel=1e-6)


@given(values=POSITIVE, noise=NOISE)
def test_speedup_and_slowdown_are_one_thing(values: list[float], noise: float) -> None:
    """The estimate of the reciprocals is the reciprocal of the estimate: no side is favoured."""
    ours, theirs = rounds.positive_centre(values, noise), rounds.positive_centre([1 / v for v in values], noise)
    assert (1 / theirs.high, 1 / theirs.value, 1 / theirs.low) == pytest.approx(
        (ours.low, ours.value, ours.high), rel=1e-6
    )


def test_one_value_has_an_interval() -> None:
    """A single round is as uncertain as the assumed noise says: 3 % gives 2.78 times 3 % to each side."""
    found = rounds.centre([10.0], 0.03)
    assert found.high - found.value == pytest.approx(2.776 * 0.03, rel=0.005)


def test_values_that_agree_by_luck_are_not_exact() -> None:
    """Two equal values leave an interval: the assumed noise stands in for what two cannot tell."""
    found = rounds.centre([1.0, 1.0], 0.03)
    assert found.high - found.low > 0.05


def test_one_disturbed_round_of_many_moves_little() -> None:
    """From five rounds on, one that took ten times as long shifts the estimate by less than the noise."""
    quiet = [1.00, 1.01, 0.99, 1.02, 0.98]
    found = rounds.positive_centre([*quiet, 10.0], 0.03)
    assert found.value == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 8, 12])
@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_interval_covers_the_truth(number: int, factor: float) -> None:
    """Of 4,000 experiments whose noise is as assumed, or half of it, at least 93 % catch the truth."""
    chance = random.Random(number)
    hits = 0
    for _ in range(4000):
        found = rounds.centre([chance.gauss(1.0, 0.03 * factor) for _ in range(number)], 0.03)
        hits += found.low <= 1.0 <= found.high
    assert hits / 4000 >= 0.93


@pytest.mark.parametrize(("number", "least"), [(1, 0.75), (2, 0.80), (3, 0.83), (5, 0.85), (8, 0.88)])
def test_interval_degrades_slowly_when_noise_is_underestimated(number: int, least: float) -> None:
    """With twice the assumed noise the interval catches the truth less often, but never in less than three of four."""
    chance = random.Random(number)
    hits = 0
    for _ in range(4000):
        found = rounds.centre([chance.gauss(0.0, 0.06) for _ in range(number)], 0.03)
        hits += found.low <= 0.0 <= found.high
    assert hits / 4000 >= least


# What a sample says


def test_span_is_from_first_start_to_last_end() -> None:
    """A batch lasts from the first thread's start to the last one's end."""
    sample = Sample(strategy=Strategy.THREADS, readings=(reading(thread(0.1, start_s=0.0), thread(0.1, start_s=0.05)),))
    assert rounds.span_s(sample, less_queue=False) == pytest.approx(0.15)


def test_queueing_is_taken_out_of_the_span() -> None:
    """Time for which a thread was kept off the CPU by others does not count, where that is asked for."""
    sample = serial(0.2, cpu_s=0.1, queue_s=0.1)
    assert rounds.span_s(sample, less_queue=True) == pytest.approx(0.1)
    assert rounds.span_s(sample, less_queue=False) == pytest.approx(0.2)


def test_span_is_never_less_than_cpu_time() -> None:
    """A run queue that claims more than it can have does not make a batch faster than its computing."""
    assert rounds.span_s(serial(0.2, cpu_s=0.15, queue_s=0.2), less_queue=True) == pytest.approx(0.15)


def test_time_per_call_counts_all_workers() -> None:
    """Two workers that make 10 calls each in 0.1 s take 5 ms per call: the reciprocal of the throughput."""
    assert rounds.calls_in(processes(0.1)) == 20
    assert rounds.s_per_call(processes(0.1), less_queue=False) == pytest.approx(0.005)


READINGS = st.builds(
    lambda wall, cpu, queue, calls: thread(wall, cpu_s=cpu, queue_s=queue, calls=calls),
    st.floats(0, 10),
    st.floats(0, 10),
    st.none() | st.floats(0, 10),
    st.integers(1, 1000),
)


@given(lanes=st.lists(READINGS, min_size=1, max_size=4))
def test_shares_lie_between_0_and_1(lanes: list[ThreadReading]) -> None:
    """Whatever the clocks say, utilization and queueing are shares, and times are positive."""
    sample = Sample(strategy=Strategy.THREADS, readings=(reading(*lanes),))
    assert 0 <= rounds.cpu_utilization(sample) <= 1
    queued = rounds.queue_share([sample])
    assert queued is None or 0 <= queued <= 1
    assert rounds.native_cpu_share(sample) >= 0
    assert rounds.span_s(sample, less_queue=True) > 0
    assert rounds.lane_s_per_call(sample) > 0
    assert rounds.cores_used(sample) >= 0


@pytest.mark.parametrize(
    ("sample", "utilization"),
    [
        (serial(0.1, cpu_s=0.1), 1.0),
        (serial(0.1, cpu_s=0.0), 0.0),
        (serial(0.1, cpu_s=0.05), 0.5),
        (serial(0.2, cpu_s=0.05, queue_s=0.1), 0.5),
        (serial(0.1, cpu_s=0.11), 1.0),
        (serial(0.0, cpu_s=0.0), 0.0),
    ],
)
def test_utilization_is_cpu_time_of_time_not_queued(sample: Sample, utilization: float) -> None:
    """CPU utilization is CPU time / (wall time - time in the run queue), 1 at the most."""
    assert rounds.cpu_utilization(sample) == pytest.approx(utilization)


def test_unknown_run_queue_stays_unknown() -> None:
    """Where one thread's run queue is not told, the batch's share is None, not a part of it."""
    sample = Sample(strategy=Strategy.THREADS, readings=(reading(thread(0.1), thread(0.1, queue_s=None)),))
    assert rounds.queue_share([sample]) is None
    assert rounds.totals_s(sample)[2] is None


def test_no_time_has_no_queue_share() -> None:
    """A share of no time at all is None."""
    assert rounds.queue_share([serial(0.0)]) is None


def test_native_threads_are_cpu_that_no_python_thread_used() -> None:
    """A process that burnt 0.15 s while its only thread burnt 0.1 s has half a core of native threads."""
    sample = serial(0.1, native_s=0.05)
    assert rounds.native_cpu_share(sample) == pytest.approx(0.5)
    assert rounds.cores_used(sample) == pytest.approx(1.5)


def test_a_call_that_has_another_thread_compute_computes() -> None:
    """A caller that waits for a thread of its own is CPU-bound and uses one core; it is not parallel inside."""
    sample = serial(0.1, busy=0.01, native_s=0.099)
    assert rounds.cpu_utilization(sample) == pytest.approx(1.0)
    assert rounds.native_cpu_share(sample) == pytest.approx(0.0, abs=0.01)


def test_calls_of_two_durations_scatter() -> None:
    """Three equal values of five do not hide that the other two are three times as large."""
    found = rounds.positive_centre([1.0, 3.0, 1.0, 3.0, 1.0], 0.03)
    assert found.low < 1.55 < found.high, "their geometric mean"


# Quiet rounds


def test_round_without_disturbance_is_quiet() -> None:
    """Computing that queues nowhere and takes processes as long as one is quiet; so is waiting."""
    assert rounds.is_quiet(PYTHON_LOOP)
    assert rounds.is_quiet(Round(serial=serial(busy=0.01), threads=threads(0.1, 0.01), processes=processes(busy=0.01)))


@pytest.mark.parametrize(
    "one",
    [
        Round(serial=serial(queue_s=0.01), threads=threads()),
        Round(serial=serial(), processes=processes(queue_s=0.02)),
        Round(serial=serial(), processes=processes(0.12, cpu_s=0.12)),
        Round(serial=serial(0.2, cpu_s=0.05), processes=processes(0.1, cpu_s=0.05)),
    ],
)
def test_disturbed_round_is_not_quiet(one: Round) -> None:
    """Queueing, processes slower than the serial batch, or faster calls each give a disturbance away."""
    assert not rounds.is_quiet(one)


@pytest.mark.parametrize("sd", [0.01, 0.03, 0.05, 0.08, 0.15])
def test_noise_now_is_between_idle_and_restless(sd: float) -> None:
    """Never below the one or above the other; near the one that the times were drawn from, as the median of 200."""
    rng = random.Random(4)
    groups = [[[math.exp(rng.gauss(0, sd)) for _ in range(5)]] for _ in range(200)]
    found = sorted(rounds.noise_now(0.08, group) for group in groups)
    assert rounds.LEAST_NOISE <= found[0] <= found[-1] <= 0.08
    assert (found[100] < 0.04) == (sd <= 0.03)


@pytest.mark.parametrize("groups", [[], [[0.1]], [[0.1, 0.1]], [[0.1], [0.1], [0.1]]])
def test_noise_now_is_restless_where_little_tells(groups: list[list[float]]) -> None:
    """Two times that agree do so by chance."""
    assert rounds.noise_now(0.08, groups) == pytest.approx(0.08)


def test_noise_now_is_never_less_than_idle() -> None:
    """A survey that saw nothing is not believed."""
    assert rounds.noise_now(0.001, [[0.1] * 5]) == rounds.LEAST_NOISE


def test_threads_stand_beside_the_others_where_they_are_alike() -> None:
    """Threads that take what serial calls take add two times; threads that hinder each other add none."""
    alike = Round(serial=serial(), threads=threads(0.105), processes=processes())
    assert rounds.like_serial_s(alike) == pytest.approx([0.1, 0.1, 0.1, 0.105, 0.105])
    assert rounds.like_serial_s(PYTHON_LOOP) == pytest.approx([0.1, 0.1, 0.1])
    assert rounds.like_serial_s(Round(serial=serial())) == pytest.approx([0.1])


def test_unqueued_is_about_the_serial_batch() -> None:
    """A serial batch that had its CPU is unqueued, also where the system does not tell."""
    assert rounds.is_unqueued(Round(serial=serial()))
    assert rounds.is_unqueued(Round(serial=serial(queue_s=None)))
    assert not rounds.is_unqueued(Round(serial=serial(queue_s=0.05)))


# Pools


GAINS = st.floats(0.1, 8)


@given(gain=GAINS, call_s=st.floats(1e-8, 10), task_s=st.floats(1e-7, 1e-2))
def test_pool_finishes_a_call_every_longest_of_two(gain: float, call_s: float, task_s: float) -> None:
    """A pool's speed-up is call time / max(call time / speed-up, hand-out)."""
    found = rounds.pool_speedup(estimate(gain), estimate(call_s), task_s)
    assert found.value == pytest.approx(call_s / max(call_s / gain, task_s))


@given(gain=GAINS, call_s=st.floats(1e-8, 10), task_s=st.floats(0, 1e-2))
def test_handing_out_never_helps(gain: float, call_s: float, task_s: float) -> None:
    """A pool is never predicted to gain more than the bare calls did."""
    assert rounds.pool_speedup(estimate(gain), estimate(call_s), task_s).value <= gain * (1 + 1e-9)


def test_unknown_hand_out_costs_nothing() -> None:
    """Where the cost of handing out was not measured, the bare calls' speed-up stands."""
    assert rounds.pool_speedup(estimate(1.9), estimate(1e-9), None) == estimate(1.9)


def test_transfer_costs_on_both_sides() -> None:
    """Moving data loads the worker, which lengthens the call, and the parent, which lengthens the hand-out."""
    moved = Transfer(argument_bytes=1, result_bytes=1, pipe_s=0.0, queue_s=0.0, parent_s=0.0, worker_s=0.01)
    assert rounds.pool_speedup(estimate(2.0), estimate(0.01), 0.0, moved).value == pytest.approx(1.0)
    dear = replace(moved, parent_s=0.02)
    assert rounds.pool_speedup(estimate(2.0), estimate(0.01), 0.0, dear).value == pytest.approx(0.5)


def test_intervals_stay_in_order() -> None:
    """The prediction's interval is the calls' and the speed-up's, end by end."""
    found = rounds.pool_speedup(estimate(1.9, 1.7, 2.1), estimate(1e-4, 0.9e-4, 1.1e-4), 1e-4)
    assert (found.low, found.value, found.high) == pytest.approx((0.9, 1.0, 1.1))
    assert math.isclose(found.confidence, 0.95)


def test_parallel_samples_share_one_definition() -> None:
    """Threads and workers that did the same in the same time are the same to every statistic here."""
    one, other = threads(0.1, 1.0), processes(0.1, 1.0)
    assert rounds.s_per_call(one, less_queue=True) == rounds.s_per_call(other, less_queue=True)
    assert rounds.totals_s(one) == rounds.totals_s(other)


@given(values=st.lists(st.floats(0.1, 10), min_size=2, max_size=12))
def test_trend_is_what_its_definition_counts(values: list[float]) -> None:
    """Kendall's tau is the share of pairs that rise less the share that fall, and reverses with the order."""
    pairs = [(a, b) for i, a in enumerate(values) for b in values[i + 1 :]]
    expected = sum(1 for a, b in pairs if b > a) / len(pairs) - sum(1 for a, b in pairs if b < a) / len(pairs)
    assert rounds.kendall_tau(values) == pytest.approx(expected)
    assert rounds.kendall_tau(values[::-1]) == pytest.approx(-rounds.kendall_tau(values))


def test_trend_needs_two_values() -> None:
    """One value has no trend."""
    with pytest.raises(ValueError, match="found 1"):
        rounds.kendall_tau([1.0])


@given(groups=st.lists(POSITIVE, min_size=1, max_size=4), factor=st.floats(0.01, 100))
def test_scatter_is_of_ratios(groups: list[list[float]], factor: float) -> None:
    """Scatter ignores the scale of each group and the order within; values that are all alike leave what is assumed."""
    found = rounds.scatter(0.1, *groups)
    assert rounds.scatter(0.1, *([value * factor for value in reversed(group)] for group in groups)) == pytest.approx(
        found, rel=1e-6
    )
    assert rounds.scatter(0.1) == pytest.approx(0.1)
    assert rounds.scatter(0.1, *([group[0]] * len(group) for group in groups)) <= 0.1 + 1e-9


@pytest.mark.parametrize("size", [3, 12])
def test_scatter_estimates_the_noise(size: int) -> None:
    """Over many groups of known noise, scatter finds it, whatever had been assumed."""
    chance = random.Random(size)
    groups = [[math.exp(chance.gauss(0, 0.2)) for _ in range(size)] for _ in range(3000)]
    assert rounds.scatter(0.5, *groups) == pytest.approx(0.2, rel=0.1)


def test_hand_out_has_an_interval() -> None:
    """Between its best round and the middle one lies what handing out costs: near the line the low end says so."""
    found = rounds.pool_speedup(estimate(2.0), estimate(2e-4), 1e-4, task_high_s=2e-4)
    assert (found.low, found.value, found.high) == pytest.approx((1.0, 2.0, 2.0))
    far = rounds.pool_speedup(estimate(2.0), estimate(1e-2), 1e-4, task_high_s=2e-4)
    assert far == estimate(2.0)


@pytest.mark.parametrize("number", [9, 12, 20, 40])
def test_interval_covers_the_median_of_values_in_heaps(number: int) -> None:
    """Ratios of calls with two durations come in heaps, and the median between two of them is still caught."""
    chance = random.Random(number)
    heaps = [math.log(value) for value in (0.67, 0.67, 0.67, 2.0, 2.0, 2.0, 2.0, 6.0)]
    hits = 0
    for _ in range(1000):
        found = rounds.centre([chance.choice(heaps) for _ in range(number)], 0.03)
        hits += found.low <= math.log(2.0) <= found.high
    assert hits >= 930


def test_one_disturbed_round_of_nine_widens_little() -> None:
    """The farthest of nine rounds is not among those between which the median is bound to lie."""
    calm = [1.0 + 0.01 * number for number in range(9)]
    found, disturbed = rounds.centre(calm, 0.03), rounds.centre([*calm[:-1], 9.0], 0.03)
    assert disturbed.high - disturbed.low < 2 * (found.high - found.low)


@pytest.mark.parametrize(("lanes", "late"), [(1, 0.0), (2, 0.5642), (3, 0.8463), (4, 1.0294), (8, 1.4236)])
def test_slowest_lane_is_as_late_as_the_largest_of_so_many(lanes: int, late: float) -> None:
    """The mean of the largest of N normal values, as tables have it, to 5 %."""
    assert rounds.slowest_of(lanes) == pytest.approx(late, rel=0.05, abs=1e-9)


def test_quotient_adds_errors_as_squares() -> None:
    """Two estimates with 10 % each have a quotient with 14 %; an exact one adds nothing."""
    upper, lower = estimate(2.0, 2.0 / 1.1, 2.2), estimate(1.0, 1 / 1.1, 1.1)
    found = rounds.quotient(upper, lower)
    assert (found.low, found.value, found.high) == pytest.approx((2 / 1.1**1.4142, 2.0, 2 * 1.1**1.4142), rel=1e-3)
    assert rounds.quotient(upper, estimate(2.0)).high == pytest.approx(1.1)


def test_quotient_needs_positive_ends() -> None:
    """A logarithm of nothing is refused."""
    for one, other in ((estimate(1.0, 0.0, 2.0), estimate(1.0)), (estimate(1.0), estimate(1.0, 0.0, 2.0))):
        with pytest.raises(ValueError, match="must be positive"):
            rounds.quotient(one, other)
