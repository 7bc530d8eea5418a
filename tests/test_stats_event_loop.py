"""`pytest_gilprobe.stats.event_loop`: for which share of the time calls block their event loop, and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from evidence import START_NS, measurement, round_, serial

from pytest_gilprobe.model.call_readings import LoopBlock
from pytest_gilprobe.model.readings import BatchReading, GilSamples, LoopPass, Measurement
from pytest_gilprobe.model.words import GilMethod, Sleep
from pytest_gilprobe.stats import event_loop

WALL_S = 0.1


def samples(*sleeps: Sleep, held: bool = False, every_ns: int = 100_000) -> GilSamples:
    """Make samples at even moments from the batch's start on."""
    return GilSamples(
        method=GilMethod.MEMORY,
        at_ns=tuple(START_NS + at * every_ns for at in range(len(sleeps))),
        held=(held,) * len(sleeps),
        late_ns=(0,) * len(sleeps),
        sleeps=sleeps,
    )


def batch(busy: float, *sleeps: Sleep, held: bool = False, queue_s: float = 0.0) -> BatchReading:
    """Make a serial batch of 0.1 s that computed for a share of it, with samples."""
    return replace(serial(WALL_S, busy, queue_s=queue_s), gil=samples(*sleeps, held=held))


def seen(*batches: BatchReading, **changes: Any) -> Measurement:
    """Make the measurement of calls that were awaited."""
    return replace(measurement(*(round_(one) for one in batches)), awaited=True, **changes)


def block(wall_ms: float, cpu_ms: float = 0.0, queue_ms: float | None = 0.0, start_ms: float = 0.0) -> LoopBlock:
    return LoopBlock(
        start_ns=START_NS + round(start_ms * 1e6),
        wall_ns=round(wall_ms * 1e6),
        cpu_ns=round(cpu_ms * 1e6),
        queue_ns=None if queue_ms is None else round(queue_ms * 1e6),
    )


def test_plain_calls_have_no_loop() -> None:
    """Calls that are not awaited block no event loop."""
    assert event_loop.of(measurement(round_(serial()))) is None


def test_half_computing_half_waiting() -> None:
    """Calls that compute for half of their time block the loop for half of it, and tasks gain twice at most."""
    found = event_loop.of(seen(batch(0.5, *[Sleep.EVENTS, Sleep.AWAKE] * 150)))
    assert found is not None
    assert found.blocked_fraction is not None
    assert found.blocked_fraction.value == pytest.approx(0.5)
    assert found.blocked_fraction.low < 0.5 < found.blocked_fraction.high < 0.6
    assert found.tasks_ceiling == pytest.approx(2.0)
    assert found.shares is not None
    assert [found.shares.waiting, found.shares.computing] == pytest.approx([0.5, 0.5])


def test_sleep_that_is_not_awaited() -> None:
    """Calls that sleep in a system call of their own block the loop all the time, although they compute nothing."""
    found = event_loop.of(seen(batch(0.0, *[Sleep.CALL] * 300)))
    assert found is not None
    assert found.blocked_fraction is not None
    assert found.blocked_fraction.low > 0.98
    assert found.shares is not None
    assert found.shares.blocking == pytest.approx(1.0)


def test_lock_counts_as_the_gil_only_while_that_is_held() -> None:
    """A thread that sleeps for a lock waits for the GIL if someone holds it, else for another lock."""
    for held, gil_wait, blocking in ((True, 0.5, 0.0), (False, 0.0, 0.5)):
        sleeps = [Sleep.EVENTS, Sleep.LOCK] * 150
        found = event_loop.of(seen(batch(0.0, *sleeps, held=held)))
        assert found is not None
        assert found.shares is not None
        assert found.shares.gil_wait == pytest.approx(gil_wait)
        assert found.shares.blocking == pytest.approx(blocking)


def test_queueing_is_no_block() -> None:
    """Time in which the thread waited for a core is taken out: neighbours change nothing."""
    quiet = event_loop.of(seen(batch(0.25, *[Sleep.EVENTS] * 300)))
    busy = event_loop.of(seen(batch(0.125, *[Sleep.EVENTS] * 150, *[Sleep.AWAKE] * 150, queue_s=WALL_S / 2)))
    assert quiet is not None
    assert busy is not None
    assert quiet.blocked_fraction is not None
    assert busy.blocked_fraction is not None
    assert busy.blocked_fraction.value == pytest.approx(quiet.blocked_fraction.value)


def test_calls_that_only_compute_need_no_samples_asleep() -> None:
    """The thread's clock alone shows that calls which compute block the loop all the time."""
    found = event_loop.of(seen(batch(1.0, *[Sleep.AWAKE] * 300)))
    assert found is not None
    assert found.blocked_fraction is not None
    assert found.blocked_fraction.low > 0.98


def test_without_samples_nothing_is_guessed() -> None:
    """What cannot be seen from outside is unknown, with the reason that is nearest to the user."""
    found = event_loop.of(seen(serial(), loop_hidden="it is hidden", gil_unwatched="no right"))
    assert found is not None
    assert (found.blocked_fraction, found.tasks_ceiling, found.shares) == (None, None, None)
    assert found.why_unknown == "it is hidden"
    found = event_loop.of(seen(serial(), gil_unwatched="no right"))
    assert found is not None
    assert found.why_unknown == "no right"


def test_blocks_of_single_calls() -> None:
    """The longest block is the longest; the repeated one is what three calls reached, without time in the queue."""
    blocks = (block(90, 90), block(31, 1, 10), block(20, 20), block(20.5, 20), block(5, 5), block(5, 5))
    found = event_loop.of(seen(batch(0.5, Sleep.EVENTS), loop_pass=LoopPass(blocks=blocks)))
    assert found is not None
    assert found.longest_block_s == pytest.approx(0.09)
    assert found.repeated_block is not None
    assert found.repeated_block.length_s == pytest.approx(0.0205)
    assert found.repeated_block.blocking_s == pytest.approx(0.0005)
    assert found.repeated_block.calls == 3


def test_time_that_no_clock_explains_is_not_the_codes() -> None:
    """A thread that never gave its core up did not sleep, and one that samples find awake hardly did."""
    stolen = replace(block(30, 5), waits=0)
    found = event_loop.of(seen(batch(0.5, Sleep.EVENTS), loop_pass=LoopPass(blocks=(stolen, stolen))))
    assert found is not None
    assert found.longest_block_s == pytest.approx(0.005)
    woken = replace(block(30, 5), waits=1)
    looks = samples(*[Sleep.AWAKE] * 299, Sleep.CALL)
    found = event_loop.of(seen(batch(0.5, Sleep.EVENTS), loop_pass=LoopPass(blocks=(woken, woken), samples=looks)))
    assert found is not None
    assert found.repeated_block is not None
    assert found.repeated_block.length_s == pytest.approx(0.0051)


def test_single_call_is_no_repetition() -> None:
    """One call cannot show that its block comes again."""
    found = event_loop.of(seen(batch(0.5, Sleep.EVENTS), loop_pass=LoopPass(blocks=(block(90, 90),))))
    assert found is not None
    assert found.longest_block_s == pytest.approx(0.09)
    assert found.repeated_block is None


def test_block_that_waits_for_the_gil() -> None:
    """Samples inside a block tell which part of its sleep was a wait for the GIL."""
    blocks = (block(10, 2), block(10, 2))
    looks = samples(*[Sleep.LOCK] * 99, held=True)
    found = event_loop.of(seen(batch(0.5, Sleep.EVENTS), loop_pass=LoopPass(blocks=blocks, samples=looks)))
    assert found is not None
    assert found.repeated_block is not None
    assert found.repeated_block.gil_wait_s == pytest.approx(0.008)
    assert found.repeated_block.blocking_s == pytest.approx(0.0)
    assert found.repeated_block.computing_s == pytest.approx(0.002)


def waiting(*switches: int, at_ms: float = 0.0, every_ms: float = 1.0) -> GilSamples:
    """Make samples of a thread that waits for the GIL, with the number of times that the GIL had changed hands."""
    every = samples(*[Sleep.LOCK] * len(switches), held=True, every_ns=round(every_ms * 1e6))
    return replace(every, at_ns=tuple(at + round(at_ms * 1e6) for at in every.at_ns), switches=switches)


def call_with(found: LoopBlock, start_ms: float, end_ms: float) -> LoopBlock:
    """Give a block the call in which it was the longest."""
    start_ns, end_ns = (START_NS + round(at * 1e6) for at in (start_ms, end_ms))
    return replace(found, call_start_ns=start_ns, call_end_ns=end_ns)


def test_wait_for_the_gil_before_the_loop_goes_on() -> None:
    """The loop waits for the GIL after its wait for events, in no block: samples show for how long, at least."""
    calls = tuple(call_with(block(1, 1, start_ms=at), at, at + 40) for at in (0, 40))
    looks = waiting(*[7] * 80)
    found = event_loop.of(seen(batch(0.5, Sleep.EVENTS), loop_pass=LoopPass(blocks=calls, samples=looks)))
    assert found is not None
    assert found.repeated_block is not None
    assert found.repeated_block.gil_wait_s == pytest.approx(0.039, abs=0.0011)
    assert found.repeated_block.length_s == found.repeated_block.gil_wait_s
    assert found.longest_block_s == pytest.approx(0.04, abs=0.0011)


def test_waits_between_which_the_gil_changed_hands_are_several() -> None:
    """Whoever took the GIL may have been the loop, so the waits before and after are not added up."""
    calls = tuple(call_with(block(1, 1, start_ms=at), at, at + 40) for at in (0, 40))
    looks = waiting(*[at // 5 for at in range(80)])
    found = event_loop.of(seen(batch(0.5, Sleep.EVENTS), loop_pass=LoopPass(blocks=calls, samples=looks)))
    assert found is not None
    assert found.repeated_block is not None
    assert found.repeated_block.gil_wait_s == pytest.approx(0.004)
