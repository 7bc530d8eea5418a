"""`pytest_gilprobe.stats.held`: shares, intervals and holds from traces with known truths."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gilprobe.model import GilMethod, GilTrace
from pytest_gilprobe.stats import held as room
from pytest_gilprobe.stats.held import held_fraction, longest_hold_s, pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MS = 1_000_000
END_NS = 200 * MS


def _trace(
    held: Sequence[bool],
    at_ns: Sequence[int] | None = None,
    late_ns: Sequence[int] | None = None,
    method: GilMethod = GilMethod.MEMORY,
    **columns: Sequence[int] | Sequence[bool],
) -> GilTrace:
    """Make a trace; without moments, a look every half millisecond, all equally late."""
    looks = len(held)
    return GilTrace(
        method=method,
        at_ns=tuple(at_ns if at_ns is not None else range(MS // 2, (looks + 1) * MS // 2, MS // 2)),
        held=tuple(held),
        late_ns=tuple(late_ns if late_ns is not None else [80_000] * looks),
        **{name: tuple(column) for name, column in columns.items()},  # type: ignore[arg-type]
    )


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
        found = held_fraction(_trace([workload.held(at) for at in moments], moments), 0, END_NS)
        assert found is not None
        covered += found.low <= workload.truth() <= found.high
        errors.append(found.value - workload.truth())
    assert covered >= 0.9 * windows
    assert abs(math.fsum(errors) / windows) < 3 * 0.5 / math.sqrt(400 * windows)


@pytest.mark.parametrize(("batches", "scatter", "least"), [(8, 0.1, 0.9), (5, 0.2, 0.9), (3, 0.2, 0.8), (3, 0.0, 0.93)])
def test_pooled_batches_cover_the_workload_though_batches_differ(batches: int, scatter: float, least: float) -> None:
    """Of 200 workloads whose batches scatter, the interval holds most true shares: the more, the more batches."""
    rng = random.Random(8)
    covered = 0
    for _ in range(200):
        share, windows = rng.uniform(0.3, 0.7), []
        for _ in range(batches):
            own = min(1.0, max(0.0, rng.gauss(share, scatter)))
            moments = _moments(rng, 50 * MS)
            windows.append((_trace([rng.random() < own for _ in moments], moments), 0, 50 * MS))
        found = pool(windows)
        assert found is not None
        covered += found.low <= share <= found.high
    assert covered >= least * 200


def test_pooling_counts_each_window_by_its_duration() -> None:
    """A long window that was looked at seldom is not outvoted by a short one that was looked at often."""
    often = (_trace([True] * 400, range(0, 400 * MS // 4, MS // 4)), 0, 100 * MS)
    seldom = (_trace([False] * 100, range(0, 900 * MS, 9 * MS)), 0, 900 * MS)
    found = pool([often, seldom])
    assert found is not None
    assert found.value == pytest.approx(0.1)
    assert pool([]) is None


@given(st.lists(st.booleans(), min_size=room.MIN_LOOKS, max_size=200))
def test_evenly_spread_looks_give_the_plain_share(held: list[bool]) -> None:
    """Where every block of time has as many looks, weights change nothing, and the interval lies within 0 to 1."""
    looks = len(held) - len(held) % room.LOOKS_PER_BLOCK
    found = held_fraction(_trace(held[:looks]), 0, looks * MS // 2 + 1)
    assert found is not None
    assert found.value == pytest.approx(sum(held[:looks]) / looks, abs=0.5 / room.LOOKS_PER_BLOCK)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(
    held=st.lists(st.booleans(), min_size=room.MIN_LOOKS, max_size=100),
    shift_ns=st.integers(0, 10**15),
    scale=st.integers(1, 50),
)
def test_neither_the_clocks_zero_nor_its_rate_matters(held: list[bool], shift_ns: int, scale: int) -> None:
    """The same looks, later or further apart, give the same estimate."""
    end_ns = (len(held) + 1) * MS // 2
    plain = _trace(held)
    moved = _trace(held, [at * scale + shift_ns for at in plain.at_ns])
    assert held_fraction(plain, 0, end_ns) == held_fraction(moved, shift_ns, end_ns * scale + shift_ns)


@given(st.lists(st.booleans(), min_size=room.MIN_LOOKS, max_size=100))
def test_held_and_free_mirror_each_other(held: list[bool]) -> None:
    """The share of the opposite trace is one minus the share, and so are the ends of its interval."""
    end_ns = (len(held) + 1) * MS // 2
    one, other = (held_fraction(_trace([found is wanted for found in held]), 0, end_ns) for wanted in (True, False))
    assert one is not None
    assert other is not None
    assert (one.value, one.low, one.high) == pytest.approx((1 - other.value, 1 - other.high, 1 - other.low))


def test_only_looks_inside_the_window_count() -> None:
    """Looks before the first start and after the last end are other people's business."""
    trace = _trace([False] * 50 + [True] * 50 + [False] * 50)
    found = held_fraction(trace, trace.at_ns[50], trace.at_ns[99])
    assert found is not None
    assert found.value == 1.0
    assert found.low > 0.9


@pytest.mark.parametrize("looks", [0, room.MIN_LOOKS - 1])
def test_too_few_looks_say_nothing(looks: int) -> None:
    """There is no estimate from a handful, however clear they are."""
    assert held_fraction(_trace([True] * looks), 0, END_NS) is None
    assert pool([(_trace([True] * looks), 0, END_NS)]) is None


def test_an_empty_window_says_nothing() -> None:
    """A window that ends where it starts has no share."""
    trace = _trace([True] * 40, [5] * 40)
    assert held_fraction(trace, 5, 5) is None


def test_quiet_times_do_not_outvote_starved_ones() -> None:
    """A watcher that looked ten times as often in one half of the window still counts both halves alike."""
    moments = [*range(0, 100 * MS, MS // 4), *range(100 * MS, 200 * MS, 10 * MS // 4)]
    found = held_fraction(_trace([at < 100 * MS for at in moments], moments), 0, 200 * MS)
    assert found is not None
    assert found.value == pytest.approx(0.5, abs=0.02)
    assert found.high - found.low > 2 * 1.96 * 0.5 / math.sqrt(len(moments))


def _on_one_core(rng: random.Random, share: float) -> tuple[GilTrace, float]:
    """Watch a worker that computes and sleeps, 4 ms in all, on the only core: a look waits until it sleeps."""
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
    return _trace(held, at_ns, late_ns, runnable=held, same_core=[True] * len(held)), workload.truth()


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_a_watcher_that_waits_for_its_workers_core_is_put_right(share: float) -> None:
    """Plain counting reads far too low there; put right, the bias all but goes and the interval holds the truth."""
    rng = random.Random(3)
    plain, put_right, covered, windows = [], [], 0, 100
    for _ in range(windows):
        trace, truth = _on_one_core(rng, share)
        found = held_fraction(trace, 0, END_NS)
        assert found is not None
        plain.append(sum(trace.held) / len(trace.held) - truth)
        put_right.append(found.value - truth)
        covered += found.low <= truth <= found.high
    assert math.fsum(plain) / windows < -0.5 * share
    assert abs(math.fsum(put_right) / windows) < 0.1 * share
    assert covered >= 0.95 * windows


@pytest.mark.parametrize(
    ("runnable", "same_core", "counts"),
    [(True, True, True), (False, False, True), (True, False, True), (False, True, False)],
)
def test_a_late_look_is_unknown_only_where_the_worker_left_a_shared_core_by_itself(
    runnable: bool,  # noqa: FBT001 - a parameter
    same_core: bool,  # noqa: FBT001
    counts: bool,  # noqa: FBT001
) -> None:
    """On another core, or after a preemption, a late look is as good as any; else it widens the interval."""
    late = [at % 4 == 0 for at in range(160)]
    trace = _trace(
        [False] * 160,
        late_ns=[80_000 + room.LATE_NS * 2 * is_late for is_late in late],
        runnable=[runnable] * 160,
        same_core=[same_core] * 160,
    )
    found = held_fraction(trace, 0, 81 * MS)
    assert found is not None
    assert (found.high < 0.05) is counts
    assert (found.value == 0) is counts


def test_a_watcher_that_is_mostly_kept_waiting_says_nothing() -> None:
    """Where the worker computes most of the time on the only core, the looks tell too little for an estimate."""
    trace, truth = _on_one_core(random.Random(3), 0.75)
    assert truth > 0.5
    assert held_fraction(trace, 0, END_NS) is None


def test_what_other_programs_hid_widens_the_interval() -> None:
    """Long waits on another core leave the value alone, widen the interval, and at last leave nothing to say."""
    held = [at % 2 == 0 for at in range(160)]
    widths = []
    for wait_ms in (0, 3, 60):
        late_ns = [80_000 + wait_ms * MS * (at % 16 == 15) for at in range(160)]
        trace = _trace(held, late_ns=late_ns, runnable=[False] * 160, same_core=[False] * 160)
        found = held_fraction(trace, 0, 81 * MS)
        widths.append(None if found is None else found.high - found.low)
    prompt, delayed, starved = widths
    assert prompt is not None
    assert delayed is not None
    assert prompt < delayed
    assert starved is None


def test_mostly_unknown_looks_say_nothing() -> None:
    """When more than half of the looks may have missed what they were for, there is no estimate."""
    late_ns = [80_000 + room.LATE_NS * 2 * (at % 5 > 0) for at in range(100)]
    assert held_fraction(_trace([False] * 100, late_ns=late_ns), 0, 51 * MS) is None


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
    found = held_fraction(_trace(held, at_ns, late_ns, GilMethod.HEARTBEAT), 0, at_ns[-1])
    assert found is not None
    truth = (share * slept + waited) / (slept + waited)
    assert found.value == pytest.approx(truth, abs=4 * 0.5 / math.sqrt(len(at_ns)))


def test_the_longest_hold_ends_at_a_release_and_at_a_hand_over() -> None:
    """Looks that found one holder running count as one hold; a free look, another holder or a hand-over end it."""
    held = [True, True, False, True, True, True, True, True]
    holder = [1, 1, 1, 1, 1, 1, 2, 2]
    switches = [0, 0, 0, 0, 0, 0, 1, 3]
    trace = _trace(held, holder=holder, switches=switches)
    assert longest_hold_s(trace, 0, END_NS) == pytest.approx(0.001)
    assert longest_hold_s(_trace(held), 0, END_NS) == pytest.approx(0.002)
    assert longest_hold_s(trace, trace.at_ns[4], END_NS) == pytest.approx(0.0005)


def test_the_longest_hold_of_a_heartbeat_is_its_longest_wait() -> None:
    """How late it woke counts only where it waited for the GIL."""
    trace = _trace([False, True, True], late_ns=[9 * MS, 5 * MS, 7 * MS], method=GilMethod.HEARTBEAT)
    assert longest_hold_s(trace, 0, END_NS) == pytest.approx(0.007)
    assert longest_hold_s(trace, 0, trace.at_ns[1]) == pytest.approx(0.005)


@pytest.mark.parametrize("method", list(GilMethod))
def test_no_hold_is_zero_and_no_look_is_unknown(method: GilMethod) -> None:
    """Never held is a finding, never looked is none."""
    assert longest_hold_s(_trace([False] * 5, method=method), 0, END_NS) == 0.0
    assert longest_hold_s(_trace([], method=method), 0, END_NS) is None


def test_wilson_gives_the_textbook_interval() -> None:
    """For 81 of 263, the worked example of Newcombe (Statistics in Medicine 17, 1998): 0.2553 to 0.3662."""
    assert room.wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
