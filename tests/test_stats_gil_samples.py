"""`pytest_gilprobe.stats.gil_samples`: shares, intervals and holds from samples with known truths."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import pytest
from evidence import START_NS, threads
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.stats import gil_samples as room
from pytest_gilprobe.stats.gil_holds import LONGEST_CALL, longest_hold, longest_hold_s
from pytest_gilprobe.stats.gil_samples import SampledWindow, held_fraction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_gilprobe.model.estimate import Estimate

MS = 1_000_000
END_NS = 200 * MS


def _samples(
    held: Sequence[bool],
    at_ns: Sequence[int] | None = None,
    late_ns: Sequence[int] | None = None,
    method: GilMethod = GilMethod.MEMORY,
    **columns: Sequence[int] | Sequence[bool],
) -> GilSamples:
    """Make samples; without moments, one every half millisecond, all equally late."""
    count = len(held)
    return GilSamples(
        method=method,
        at_ns=tuple(at_ns if at_ns is not None else range(MS // 2, (count + 1) * MS // 2, MS // 2)),
        held=tuple(held),
        late_ns=tuple(late_ns if late_ns is not None else [80_000] * count),
        **{name: tuple(column) for name, column in columns.items()},  # type: ignore[arg-type]
    )


def share_of(samples: GilSamples, start_ns: int, end_ns: int) -> Estimate | None:
    """Estimate the held share of one window."""
    return held_fraction([SampledWindow(samples, start_ns, end_ns)])


def longest_of(samples: GilSamples, start_ns: int, end_ns: int) -> float | None:
    """Return the longest hold in one window, in seconds."""
    hold = longest_hold(SampledWindow(samples, start_ns, end_ns))
    return None if hold is None else hold.duration_s


class Alternation:
    """A workload that holds and releases in turn, for times drawn from ``hold`` and ``free`` (nanoseconds)."""

    def __init__(self, hold: Callable[[], float], free: Callable[[], float], end_ns: int, phase: float) -> None:
        lengths = [phase * (hold() + free())]
        while sum(lengths) < end_ns:
            lengths += [hold(), free()]
        self.changes = list(accumulate(lengths))
        self.end_ns = end_ns

    def held(self, at_ns: float) -> bool:
        return bisect_right(self.changes, at_ns) % 2 == 1

    def truth(self) -> float:
        edges = [0.0, *(change for change in self.changes if change < self.end_ns), float(self.end_ns)]
        spans = pairwise(edges)
        return math.fsum(after - before for before, after in spans if self.held(before)) / self.end_ns


def _moments(rng: random.Random, end_ns: int, mean_ns: float = MS / 2) -> list[int]:
    """Draw the moments of a Poisson process."""
    moments, now = [], rng.expovariate(1 / mean_ns)
    while now < end_ns:
        moments.append(int(now))
        now += rng.expovariate(1 / mean_ns)
    return moments


def _alternations(rng: random.Random, law: str, period_ms: float, share: float) -> Alternation:
    """Make one of three kinds of alternation: strict periods, exponential phases, or phases that differ tenfold."""
    hold_ns, free_ns = period_ms * MS * share, period_ms * MS * (1 - share)
    draw: dict[str, Callable[[float], float]] = {
        "periodic": lambda mean_ns: mean_ns,
        "exponential": lambda mean_ns: rng.expovariate(1 / mean_ns),
        "tenfold": lambda mean_ns: mean_ns * rng.choice((2 / 11, 20 / 11)),
    }
    return Alternation(lambda: draw[law](hold_ns), lambda: draw[law](free_ns), END_NS, rng.random())


@pytest.mark.parametrize("law", ["periodic", "exponential", "tenfold"])
@pytest.mark.parametrize("period_ms", [0.5, 4.0, 30.0])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_interval_covers_the_truth_however_the_workload_alternates(
    law: str, period_ms: float, share: float
) -> None:
    """Of 200 windows, at least 90 % have their true share in the 95 % interval, and the estimate is not biased.

    Over 1,500 windows coverage is 0.943 to 0.955: 0.90 of 200 leaves three standard errors.
    """
    rng = random.Random(f"{law} {period_ms} {share}")
    windows, covered, errors = 200, 0, []
    for _ in range(windows):
        workload = _alternations(rng, law, period_ms, share)
        moments = _moments(rng, END_NS)
        found = share_of(_samples([workload.held(at) for at in moments], moments), 0, END_NS)
        assert found is not None
        covered += found.low <= workload.truth() <= found.high
        errors.append(found.value - workload.truth())
    assert covered >= 0.9 * windows
    assert abs(math.fsum(errors) / windows) < 3 * 0.5 / math.sqrt(400 * windows)


@pytest.mark.parametrize(("batches", "scatter", "least"), [(8, 0.1, 0.9), (5, 0.2, 0.9), (3, 0.2, 0.8), (3, 0.0, 0.93)])
def test_several_batches_cover_the_workload_though_they_differ(batches: int, scatter: float, least: float) -> None:
    """Of 200 workloads whose batches scatter, the interval covers most true shares: the more, the more batches."""
    rng = random.Random(8)
    covered = 0
    for _ in range(200):
        share, windows = rng.uniform(0.3, 0.7), []
        for _ in range(batches):
            own = min(1.0, max(0.0, rng.gauss(share, scatter)))
            moments = _moments(rng, 50 * MS)
            seen = _samples([rng.random() < own for _ in moments], moments)
            windows.append(SampledWindow(seen, 0, 50 * MS))
        found = held_fraction(windows)
        assert found is not None
        covered += found.low <= share <= found.high
    assert covered >= least * 200


def test_each_window_counts_by_its_duration() -> None:
    """A long window that was sampled seldom is not outvoted by a short one that was sampled often."""
    often = SampledWindow(_samples([True] * 400, range(0, 400 * MS // 4, MS // 4)), 0, 100 * MS)
    seldom = SampledWindow(_samples([False] * 100, range(0, 900 * MS, 9 * MS)), 0, 900 * MS)
    found = held_fraction([often, seldom])
    assert found is not None
    assert found.value == pytest.approx(0.1)
    assert held_fraction([]) is None


@given(st.lists(st.booleans(), min_size=room.MIN_SAMPLES, max_size=200))
def test_evenly_spread_samples_give_the_plain_share(held: list[bool]) -> None:
    """Where every block of time has as many samples, weights change nothing, and the interval lies within 0 to 1."""
    count = len(held) - len(held) % room.SAMPLES_PER_BLOCK
    found = share_of(_samples(held[:count]), 0, count * MS // 2 + 1)
    assert found is not None
    assert found.value == pytest.approx(sum(held[:count]) / count, abs=0.5 / room.SAMPLES_PER_BLOCK)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(
    held=st.lists(st.booleans(), min_size=room.MIN_SAMPLES, max_size=100),
    shift_ns=st.integers(0, 10**15),
    scale=st.integers(1, 50),
)
def test_neither_the_clocks_zero_nor_its_rate_matters(held: list[bool], shift_ns: int, scale: int) -> None:
    """The same samples, later or further apart, give the same estimate."""
    end_ns = (len(held) + 1) * MS // 2
    plain = _samples(held)
    moved = _samples(held, [at * scale + shift_ns for at in plain.at_ns])
    assert share_of(plain, 0, end_ns) == share_of(moved, shift_ns, end_ns * scale + shift_ns)


@given(st.lists(st.booleans(), min_size=room.MIN_SAMPLES, max_size=100))
def test_held_and_free_mirror_each_other(held: list[bool]) -> None:
    """The share of the opposite samples is one minus the share, and so are the ends of its interval."""
    end_ns = (len(held) + 1) * MS // 2
    one, other = (share_of(_samples([found is wanted for found in held]), 0, end_ns) for wanted in (True, False))
    assert one is not None
    assert other is not None
    assert (one.value, one.low, one.high) == pytest.approx((1 - other.value, 1 - other.high, 1 - other.low))


def test_only_samples_inside_the_window_count() -> None:
    """Samples before the start and after the end of a window have no effect."""
    samples = _samples([False] * 50 + [True] * 50 + [False] * 50)
    found = share_of(samples, samples.at_ns[50], samples.at_ns[99])
    assert found is not None
    assert found.value == 1.0
    assert found.low > 0.9


@pytest.mark.parametrize("count", [0, room.MIN_SAMPLES - 1])
def test_too_few_samples_give_no_estimate(count: int) -> None:
    """There is no estimate from a handful, however clear it is."""
    assert share_of(_samples([True] * count), 0, END_NS) is None


def test_an_empty_window_gives_no_estimate() -> None:
    """A window that ends where it starts has no share."""
    samples = _samples([True] * 40, [5] * 40)
    assert share_of(samples, 5, 5) is None


def test_quiet_times_do_not_outvote_starved_ones() -> None:
    """A sampler that sampled ten times as often in one half of the window still counts both halves alike."""
    moments = [*range(0, 100 * MS, MS // 4), *range(100 * MS, 200 * MS, 10 * MS // 4)]
    found = share_of(_samples([at < 100 * MS for at in moments], moments), 0, 200 * MS)
    assert found is not None
    assert found.value == pytest.approx(0.5, abs=0.02)
    assert found.high - found.low > 2 * 1.96 * 0.5 / math.sqrt(len(moments))


def _on_one_core(rng: random.Random, share: float) -> tuple[GilSamples, float]:
    """Sample a worker that computes and sleeps, 4 ms in all, on the only CPU: a sample waits until it sleeps."""
    workload = _alternations(rng, "exponential", 4.0, share)
    at_ns, late_ns = [], []
    now = 0.0
    while True:
        meant = now + rng.expovariate(2 / MS)
        if meant >= END_NS:
            break
        now = meant
        if workload.held(meant) and rng.random() < 0.6:
            now = workload.changes[bisect_right(workload.changes, meant)]
        at_ns.append(math.ceil(now) + 80_000)
        late_ns.append(int(now - meant) + 80_000)
    held = [workload.held(at - 80_000) for at in at_ns]
    return _samples(held, at_ns, late_ns, runnable=held, same_core=[True] * len(held)), workload.truth()


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_a_sampler_that_waits_for_its_workers_cpu_is_corrected(share: float) -> None:
    """Plain counting gives far too little; corrected, the bias all but vanishes and the interval covers the truth."""
    rng = random.Random(3)
    plain, corrected, covered, windows = [], [], 0, 100
    for _ in range(windows):
        samples, truth = _on_one_core(rng, share)
        found = share_of(samples, 0, END_NS)
        assert found is not None
        plain.append(sum(samples.held) / len(samples.held) - truth)
        corrected.append(found.value - truth)
        covered += found.low <= truth <= found.high
    assert math.fsum(plain) / windows < -0.5 * share
    assert abs(math.fsum(corrected) / windows) < 0.1 * share
    assert covered >= 0.95 * windows


@pytest.mark.parametrize(
    ("runnable", "same_core", "counts"),
    [(True, True, True), (False, False, True), (True, False, True), (False, True, False)],
)
def test_a_late_sample_is_unknown_only_where_the_worker_left_a_shared_cpu_by_itself(
    runnable: bool,  # noqa: FBT001 - a parameter
    same_core: bool,  # noqa: FBT001
    counts: bool,  # noqa: FBT001
) -> None:
    """On another CPU, or after a preemption, a late sample is as good as any; else it widens the interval."""
    late = [at % 4 == 0 for at in range(160)]
    samples = _samples(
        [False] * 160,
        late_ns=[80_000 + room.LATE_NS * 2 * is_late for is_late in late],
        runnable=[runnable] * 160,
        same_core=[same_core] * 160,
    )
    found = share_of(samples, 0, 81 * MS)
    assert found is not None
    assert (found.high < 0.05) is counts
    assert (found.value == 0) is counts


def test_a_sampler_that_mostly_waits_gives_no_estimate() -> None:
    """Where the worker computes most of the time on the only CPU, samples show too little for an estimate."""
    samples, truth = _on_one_core(random.Random(3), 0.75)
    assert truth > 0.5
    assert share_of(samples, 0, END_NS) is None


def test_what_other_programs_hid_widens_the_interval() -> None:
    """Long waits on another CPU leave the value alone and widen the interval, until there is no estimate."""
    held = [at % 2 == 0 for at in range(160)]
    widths = []
    for wait_ms in (0, 3, 60):
        late_ns = [80_000 + wait_ms * MS * (at % 16 == 15) for at in range(160)]
        samples = _samples(held, late_ns=late_ns, runnable=[False] * 160, same_core=[False] * 160)
        found = share_of(samples, 0, 81 * MS)
        widths.append(None if found is None else found.high - found.low)
    prompt, delayed, starved = widths
    assert prompt is not None
    assert delayed is not None
    assert prompt < delayed
    assert starved is None


def test_mostly_unknown_samples_give_no_estimate() -> None:
    """When more than half of the samples may have missed what they were for, there is no estimate."""
    late_ns = [80_000 + room.LATE_NS * 2 * (at % 5 > 0) for at in range(100)]
    assert share_of(_samples([False] * 100, late_ns=late_ns), 0, 51 * MS) is None


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.3, 1.0]))
def test_a_heartbeats_waits_count_as_held(seed: int, share: float) -> None:
    """A heartbeat that waits for the GIL sleeps less often, and yet finds the share of time, within four errors."""
    rng = random.Random(seed)
    at_ns, late_ns, held = [], [], []
    now = slept = waited = 0.0
    while now < 2000 * MS:
        pause = rng.expovariate(0.5 / MS)
        blocked = rng.random() < share
        wait = 5 * MS if blocked else 0
        now += pause + wait
        slept, waited = slept + pause, waited + wait
        at_ns.append(int(now))
        late_ns.append(wait)
        held.append(blocked)
    found = share_of(_samples(held, at_ns, late_ns, GilMethod.HEARTBEAT), 0, at_ns[-1])
    assert found is not None
    truth = (share * slept + waited) / (slept + waited)
    assert found.value == pytest.approx(truth, abs=4 * 0.5 / math.sqrt(len(at_ns)))


def test_the_longest_hold_ends_at_a_release_and_at_a_switch() -> None:
    """Consecutive samples of one holder are one hold; a free GIL, another holder or a switch ends it."""
    held = [True, True, False, True, True, True, True, True]
    holder = [1, 1, 1, 1, 1, 1, 2, 2]
    switches = [0, 0, 0, 0, 0, 0, 1, 3]
    samples = _samples(held, holder=holder, switches=switches)
    assert longest_of(samples, 0, END_NS) == pytest.approx(0.001)
    assert longest_of(_samples(held), 0, END_NS) == pytest.approx(0.002)
    assert longest_of(samples, samples.at_ns[4], END_NS) == pytest.approx(0.0005)


def test_the_longest_hold_stays_in_one_place_of_the_code() -> None:
    """Python code that holds the GIL while the others sleep moves on; native code does not. Unread places are open."""
    held = [True] * 8
    assert longest_of(_samples(held, stack=[0, 1, 2, 2, 2, 3, 4, 5]), 0, END_NS) == pytest.approx(0.001)
    assert longest_of(_samples(held, stack=[0, -1, 0, -1, 0, 1, -1, 1]), 0, END_NS) == pytest.approx(0.002)
    assert longest_of(_samples(held, stack=[-1] * 8), 0, END_NS) == pytest.approx(0.0035)


def test_no_hold_is_zero_and_no_sample_is_unknown() -> None:
    """Never held is a finding, never sampled is none."""
    assert longest_of(_samples([False] * 5), 0, END_NS) == 0.0
    assert longest_of(_samples([]), 0, END_NS) is None


def test_wilson_gives_the_textbook_interval() -> None:
    """For 81 of 263, the worked example of Newcombe (Statistics in Medicine 17, 1998): 0.2553 to 0.3662."""
    assert room.wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def held_throughout(span_s: float) -> GilSamples:
    """Make samples of a GIL that one thread holds from the start of a batch on."""
    count = round(span_s * 1e4)
    at_ns = tuple(START_NS + round(number * 1e5) for number in range(1, count))
    return _samples([True] * len(at_ns), at_ns, holder=[1] * len(at_ns), switches=[0] * len(at_ns))


def test_a_hold_is_no_longer_than_a_call_can_be() -> None:
    """Python code between two calls lets go of the GIL for a thread that waits: a longer hold kept nobody waiting."""
    long_calls = threads(0.2, calls=1, gil=held_throughout(0.2))
    assert longest_hold_s([long_calls]) == pytest.approx(0.2, rel=0.01)
    short_calls = threads(0.2, calls=1000, gil=held_throughout(0.2))
    assert longest_hold_s([short_calls]) == pytest.approx(LONGEST_CALL * 0.2 / 1000)


def test_a_holder_that_queues_for_a_cpu_does_not_hold_for_that_long() -> None:
    """How long the lanes queued is taken off the hold: the code of the workload is not the reason for it."""
    queued = threads(0.2, calls=1, queue_s=0.003, gil=held_throughout(0.2))
    assert longest_hold_s([queued]) == pytest.approx(0.197, rel=0.01)
