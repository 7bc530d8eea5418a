"""`pytest_gilprobe.stats.overlap`: what lanes of one process certainly gain beside other programs."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from evidence import PLAIN, lane, machine, measurement, processes, round_, serial, threads, worker
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.readings import BatchReading, Round
from pytest_gilprobe.stats import overlap
from pytest_gilprobe.stats.estimates import Noise
from pytest_gilprobe.stats.reduce import reduce

CALL_S = 1e-6
"""Of one call alone."""


def beside(first_s: float, both_s: float, gain: float, noise: float = 1.0) -> tuple[BatchReading, BatchReading]:
    """Make a serial batch and one of two lanes: each queued while the other ran, for ``first_s`` seconds.

    For ``both_s`` seconds both ran side by side and did ``gain`` times the calls of a lone lane.
    """
    wall = 2 * first_s + both_s
    calls = round((2 * first_s + both_s * gain) / CALL_S / 2)
    one = lane(wall, cpu_s=wall - first_s, queue_s=first_s, calls=calls)
    alone = lane(0.1, cpu_s=0.1, calls=round(0.1 / CALL_S / noise))
    return BatchReading(workers=(worker(alone),)), BatchReading(workers=(worker(one, one),), apart=False)


@given(
    first_s=st.floats(0.001, 0.1),
    both_s=st.floats(0.001, 0.1),
    gain=st.floats(0.3, 2.0),
    rounds=st.integers(3, 12),
    seed=st.integers(0, 1000),
)
def test_the_bound_is_below_the_truth(first_s: float, both_s: float, gain: float, rounds: int, seed: int) -> None:
    """Whatever share of the time the lanes ran side by side, their certain speed-up is not above the true one, or 1."""
    chance = random.Random(seed)
    pairs = [beside(first_s, both_s, gain, chance.lognormvariate(0, 0.01)) for _ in range(rounds)]
    found = overlap.certain([pairs], pairs, Noise(0.03))
    assert found.low <= max(1.0, gain) * 1.01


@pytest.mark.parametrize(("gain", "least"), [(2.0, 1.75), (1.5, 1.25)])
def test_lanes_that_ran_side_by_side_for_half_of_the_time_are_accounted_for(gain: float, least: float) -> None:
    """Long calls meet their neighbour in every batch: what they did beyond a lone lane they did side by side."""
    pairs = [beside(0.025, 0.05, gain) for _ in range(8)]
    found = overlap.certain([pairs], pairs, Noise(0.02))
    assert found.value == pytest.approx(gain, rel=0.01)
    assert found.low > least


@pytest.mark.parametrize(
    ("cpus", "waits", "known"),
    [(((0, 0), (1, 1)), 0, True), (((0, 0), (1, 0)), 0, False), (((0, 0), (1, 1)), 50, False), (((), ()), 0, False)],
)
def test_lanes_that_stay_on_a_cpu_each_run_side_by_side_by_chance(
    cpus: tuple[tuple[int, ...], ...], waits: int, *, known: bool
) -> None:
    """Beside a busy program on each CPU, lanes that queue for half of their time are both on a CPU for a quarter."""
    lanes = [replace(lane(0.2, cpu_s=0.1, queue_s=0.1, calls=100, waits=waits), cpus=where) for where in cpus]
    base = BatchReading(workers=(worker(lane(0.1, cpu_s=0.1, calls=100, waits=0)),))
    pairs = [(base, BatchReading(workers=(worker(*lanes),), apart=False))] * 8
    found = overlap.certain([pairs], pairs, Noise(0.02))
    assert (found.low > 1.75) is known


def test_undisturbed_bursts_are_selected() -> None:
    """Of short batches those count that queued least, and they replace batches that all queued."""
    turns = (serial(0.1, cpu_s=0.1), threads(0.2, cpu_s=0.1, queue_s=0.1))
    calm = Round(batches={"serial": serial(0.1, cpu_s=0.1), "threads": threads(0.1, cpu_s=0.1)})
    disturbed = Round(batches={"serial": turns[0], "threads": turns[1]})
    chosen = overlap.selected([turns] * 3, [disturbed] * 12 + [calm] * 4, "threads")
    assert len(chosen) == 4
    found = overlap.certain([[turns] * 3], chosen, Noise(0.03))
    assert found.value == pytest.approx(2.0, rel=0.01)
    assert found.low > 1.8


def test_calm_batches_are_preferred_to_bursts() -> None:
    """Where the machine has become quiet, batches of 50 ms show more: lanes begin each burst in step."""
    calm = (serial(0.1, cpu_s=0.1), threads(0.1, cpu_s=0.1))
    turns = (serial(0.1, cpu_s=0.1), threads(0.2, cpu_s=0.1, queue_s=0.1))
    burst = Round(batches={"serial": serial(0.1, cpu_s=0.1), "threads": threads(0.15, cpu_s=0.1)})
    assert len(overlap.selected([calm] * 3 + [turns] * 9, [burst] * 16, "threads")) == 3
    assert not overlap.by_bursts([calm] * 3, [burst] * 16, "threads")
    assert overlap.by_bursts([turns] * 3, [burst] * 16, "threads")
    assert not overlap.by_bursts([turns] * 3, [burst] * 2, "threads")


@pytest.mark.parametrize(
    ("held", "times", "most"),
    [(0.3, (1.0, 1.3), 2.0), (0.5, (1.0, 1.5), 2.0), (0.8, (1.0, 1.8), 1.25), (1.0, (1.0, 2.0), 1.0)],
)
def test_lanes_that_begin_in_step_wait_more_than_they_will(
    held: float, times: tuple[float, float], most: float
) -> None:
    """A call that holds a lock for a part of it waits for the other lane's once; later, they take turns."""
    base = BatchReading(workers=(worker(lane(1.0, cpu_s=1.0, calls=1)),))
    lanes = [lane(time, cpu_s=1.0, calls=1) for time in times]
    assert overlap.out_of_step([(base, BatchReading(workers=(worker(*lanes),), apart=False))] * 3) == pytest.approx(
        most
    )
    assert most == pytest.approx(min(2.0, 1 / held))


def test_the_longest_of_several_lanes_waits_for_all_others() -> None:
    """Of four lanes, the last one waits for three; later, each waits for none."""
    base = BatchReading(workers=(worker(lane(1.0, cpu_s=1.0, calls=1)),))
    lanes = [lane(1.0 + 0.3 * number, cpu_s=1.0, calls=1) for number in range(4)]
    batch = BatchReading(workers=(worker(*lanes),), apart=False)
    assert overlap.out_of_step([(base, batch)]) == pytest.approx(1 / 0.3)


def test_lanes_that_compute_longer_do_not_gain_by_taking_turns() -> None:
    """What slows lanes side by side without making them wait (memory, caches) does so later, too."""
    base = BatchReading(workers=(worker(lane(1.0, cpu_s=1.0, calls=1)),))
    slow = BatchReading(workers=(worker(*[lane(1.6, cpu_s=1.6, calls=1)] * 2),), apart=False)
    assert overlap.out_of_step([(base, slow)] * 3) == pytest.approx(1.25)


def test_calm_batches_need_no_bursts() -> None:
    """Bursts are wanted where all batches of the threads of one process queued, and later where too few did not."""
    calm, queued = threads(0.1, cpu_s=0.1), threads(0.2, cpu_s=0.1, queue_s=0.1)
    base, apart = serial(0.1, cpu_s=0.1), processes(0.2, cpu_s=0.1, queue_s=0.1)
    assert not overlap.wanted(measurement(round_(base, threads=calm, processes=apart)), 2)
    for batches, more in (
        ((queued, calm), False),
        ((queued, calm, calm), True),
        ((queued, calm, calm, calm), False),
        ((queued, calm, calm, calm, queued), True),  # a surprising result would take five that did not queue
        ((queued, calm, calm, calm, calm, calm), False),
    ):
        assert overlap.wanted(measurement(*(round_(base, threads=one) for one in batches)), 2) == more
    assert overlap.wanted(measurement(round_(base, threads=queued)), 2)
    assert not overlap.wanted(measurement(round_(base, processes=apart)), 2)
    assert not overlap.wanted(measurement(round_(base, threads=queued)), 1)


def test_bursts_settle_what_batches_leave_open() -> None:
    """Beside a busy program, threads that gain 2x in undisturbed bursts are told so."""
    turns = round_(
        serial(0.1, cpu_s=0.1),
        threads=threads(0.2, cpu_s=0.1, queue_s=0.1),
        processes=processes(0.2, cpu_s=0.1, queue_s=0.1),
    )
    short = round_(serial(0.1, cpu_s=0.1), threads=threads(0.1, cpu_s=0.1))
    found = reduce(measurement(*[turns] * 3, bursts=(short,) * 8), machine(), PLAIN).results
    together, apart = found["threads"], found["processes"]
    assert together.speedup is not None
    assert together.speedup.low > 1.8
    assert apart.over["threads"].ratio.high < 1.15


def test_gains_of_bursts_are_not_compared_by_disturbed_rounds() -> None:
    """A lock that lets one thread through looks like 2x where lanes never overlapped; bursts say better."""
    turns = round_(
        serial(0.1, cpu_s=0.1),
        threads=threads(0.2, cpu_s=0.1, queue_s=0.1),
        processes=processes(0.1, cpu_s=0.1),
    )
    lanes = [lane(0.1, cpu_s=0.1), lane(0.2, cpu_s=0.1)]
    short = round_(serial(0.1, cpu_s=0.1), threads=BatchReading(workers=(worker(*lanes),), apart=False))
    found = reduce(measurement(*[turns] * 3, bursts=(short,) * 8), machine(), PLAIN).results
    assert found["threads"].speedup is not None
    assert found["threads"].speedup.high < 1.3
    assert found["processes"].over["threads"].ratio.low > 1.5
