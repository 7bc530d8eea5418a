"""`pytest_gilprobe.stats.blockers`: which code blocks an event loop, for how much of that time, and how."""

from __future__ import annotations

import random

import pytest

from pytest_gilprobe.model.loop_time import Blocker
from pytest_gilprobe.model.readings import BatchReading, GilSamples, LaneReading, WorkerReading
from pytest_gilprobe.model.stacks import Frame, Stack
from pytest_gilprobe.model.words import GilMethod, Sleep
from pytest_gilprobe.stats import blockers, event_loop
from pytest_gilprobe.stats.gil_samples import SampledWindow

SPAN_NS = 50_000_000


def own(function: str, line: int, code: str | None = None, *, is_async: bool = False) -> Frame:
    """Make a frame of the user's own code."""
    statement = f"x = {code}"
    return Frame(
        function=function, file="app.py", line=line, code=code, statement=statement, own=True, is_async=is_async
    )


def loop(function: str, file: str = "asyncio/events.py") -> Frame:
    """Make a frame of the event loop's own code."""
    return Frame(function=function, file=file, line=80, code="self._context.run(self._callback)")


RUNNING = (loop("Handle._run"), loop("BaseEventLoop._run_once", "asyncio/base_events.py"), loop("Runner.run"))
NAP: Stack = (own("query", 8, "time.sleep(1)"), own("handler", 15, "query()", is_async=True), *RUNNING)
COUNT: Stack = (own("count", 3, "i * i"), own("handler", 16, "count(9)", is_async=True), *RUNNING)
THREAD: Stack = (own("crunch", 30, "j * j"), Frame(function="Thread.run", file="threading.py", line=1))
RECEIVED: Stack = (Frame(function="Client.data_received", file="client/proto.py", line=5, code="parse(data)"), *RUNNING)

Row = tuple[Sleep, bool, Stack | None, Stack | None]
"""What the loop's thread slept in, whether the GIL was held, the stack of its holder, and the loop's."""
ASLEEP: Row = (Sleep.CALL, False, None, NAP)
COMPUTING: Row = (Sleep.AWAKE, True, COUNT, COUNT)
FREE: Row = (Sleep.EVENTS, False, None, None)


def samples(*rows: tuple[Row, int], seed: int = 1) -> GilSamples:
    """Make samples that found these rows so many times, in random order at random moments."""
    luck = random.Random(seed)
    each = [row for row, number in rows for _ in range(number)]
    luck.shuffle(each)
    stacks = tuple(dict.fromkeys(stack for row in each for stack in row[2:] if stack is not None))
    return GilSamples(
        method=GilMethod.MEMORY,
        at_ns=tuple(sorted(luck.randrange(SPAN_NS) for _ in each)),
        held=tuple(row[1] for row in each),
        late_ns=(0,) * len(each),
        sleeps=tuple(row[0] for row in each),
        stack=tuple(-1 if row[2] is None else stacks.index(row[2]) for row in each),
        loop_stack=tuple(-1 if row[3] is None else stacks.index(row[3]) for row in each),
        stacks=stacks,
    )


def batch(*rows: tuple[Row, int], cpu: float = 0.2, seed: int = 1) -> BatchReading:
    """Make a serial batch whose thread computed for a share of the time, with such samples."""
    lane = LaneReading(calls=5, start_ns=0, end_ns=SPAN_NS, cpu_ns=round(SPAN_NS * cpu), run_queue_ns=0)
    worker = WorkerReading(lanes=(lane,), process_cpu_ns=lane.cpu_ns, peak_rss_bytes=None, gil_enabled=True)
    return BatchReading(workers=(worker,), gil=samples(*rows, seed=seed))


def found(*batches: BatchReading) -> dict[str, Blocker]:
    """Return the blockers by their function."""
    told = blockers.blockers(batches)
    assert told is not None
    return {one.function: one for one in told}


def test_time_is_shared_out_by_the_clocks() -> None:
    """The thread computed for 0.2 and slept in a call for half of the rest, however many samples found it so."""
    told = found(*(batch((COMPUTING, 90), (ASLEEP, 40), (FREE, 40), seed=at) for at in range(3)))
    assert list(told) == ["query", "count"]
    assert told["query"].share.value == pytest.approx(0.4 / 0.6)
    assert told["query"].blocking == pytest.approx(0.4 / 0.6)
    assert (told["query"].computing, told["query"].gil_wait, told["query"].gil_held) == (0, 0, 0)
    assert told["count"].computing == pytest.approx(0.2 / 0.6)
    assert told["count"].gil_held == 1
    assert told["count"].share.low < 0.2 / 0.6 < told["count"].share.high


def test_names_the_place_and_the_call_that_leads_there() -> None:
    """The innermost code of the user's is the place; what the coroutine called there is what could be awaited."""
    told = found(batch((COMPUTING, 50), (ASLEEP, 50)))
    assert (told["query"].code, told["query"].line) == ("time.sleep(1)", 8)
    call = told["query"].call
    assert call is not None
    assert (call.code, call.function, call.line) == ("query()", "handler", 15)


def test_a_wait_for_the_gil_counts_for_its_holder() -> None:
    """Asleep for a lock while another thread holds the GIL: that thread's code blocks, no call is to await."""
    told = found(batch(((Sleep.LOCK, True, THREAD, NAP), 60), (FREE, 60), cpu=0.0))
    assert list(told) == ["crunch"]
    assert told["crunch"].gil_wait == pytest.approx(1)
    assert (told["crunch"].gil_held, told["crunch"].call) == (None, None)


def test_computing_without_the_gil_is_told() -> None:
    """A call that computes while nobody, or another thread, holds the GIL can run beside the loop."""
    told = found(batch(((Sleep.AWAKE, False, None, COUNT), 30), ((Sleep.AWAKE, True, THREAD, COUNT), 30), cpu=1.0))
    assert told["count"].computing == pytest.approx(1)
    assert told["count"].gil_held == 0


def test_the_loops_own_frames_call_nothing_of_the_users() -> None:
    """What a library does for the loop is the library's; what the loop does for itself is one place."""
    waking: Stack = (loop("EpollSelector.select", "selectors.py"), *RUNNING[1:])
    rows = [(Sleep.AWAKE, True, stack, stack) for stack in (RECEIVED, RUNNING, waking)]
    told = found(batch((rows[0], 40), (rows[1], 20), (rows[2], 15)))
    assert list(told) == ["Client.data_received", blockers.LOOPS_OWN]
    assert told[blockers.LOOPS_OWN].file == "asyncio"
    assert told["Client.data_received"].call is None


def test_a_generator_expression_belongs_to_the_function_around_it() -> None:
    """Even if it is found without a caller, as in the moment in which it yields."""
    inner = own("count.<locals>.<genexpr>", 3)
    around = own("count", 3, "sum(i for i in n)")
    whole = (inner, around, own("handler", 16, "count(9)", is_async=True))
    told = found(batch(((Sleep.AWAKE, True, whole, whole), 30), ((Sleep.AWAKE, True, (inner,), (inner,)), 30)))
    assert list(told) == ["count"]
    assert told["count"].code == "sum(i for i in n)"
    assert told["count"].call is not None


def test_too_few_samples_say_nothing() -> None:
    """A handful of samples that found the loop blocked, or none with a stack, name no code."""
    assert blockers.blockers([batch((ASLEEP, 8), (FREE, 200))]) is None
    assert blockers.blockers([batch(((Sleep.CALL, False, None, None), 200))]) is None


def test_the_place_of_a_block() -> None:
    """The place in which most samples of a block were taken; ``None`` for a handful of samples."""
    seen = samples((COMPUTING, 30), (ASLEEP, 10))
    place = blockers.place_of_block([SampledWindow(seen, 0, SPAN_NS)])
    assert place is not None
    assert place.function == "count"
    assert blockers.place_of_block([SampledWindow(samples((COMPUTING, 4)), 0, SPAN_NS)]) is None


def test_places_are_those_of_the_last_batches() -> None:
    """However many rounds a probe makes, counting them takes no longer."""
    early = [batch((ASLEEP, 40), (FREE, 40), seed=at) for at in range(3)]
    late = [batch((COMPUTING, 40), (FREE, 40), seed=at) for at in range(blockers.MOST_BATCHES)]
    assert list(found(*early, *late)) == ["count"]


def test_a_call_in_which_a_loop_runs_for_a_while() -> None:
    """Of one run of a test, only samples under the loop's own frames found it blocked; the rest is no loop's."""
    setting_up = (own("prepare", 40, "connect()"),)
    rows = [(ASLEEP, 30), (COMPUTING, 20), (FREE, 30), ((Sleep.CALL, False, None, setting_up), 20)]
    seen = event_loop.of_call(SampledWindow(samples(*rows), 0, SPAN_NS))
    assert seen is not None
    assert seen.blocked_fraction is not None
    assert seen.blocked_fraction.value == pytest.approx(0.5)
    assert seen.blockers is not None
    assert [(one.function, one.share.value) for one in seen.blockers] == [("query", 0.6), ("count", 0.4)]


def test_a_call_without_a_loop_has_none() -> None:
    """Waiting and computing outside of any loop says nothing of one, nor do a few samples."""
    outside = (own("prepare", 40, "connect()"),)
    rows = [((Sleep.CALL, False, None, outside), 60), ((Sleep.AWAKE, True, outside, outside), 60)]
    assert event_loop.of_call(SampledWindow(samples(*rows), 0, SPAN_NS)) is None
    assert event_loop.of_call(SampledWindow(samples((ASLEEP, 5)), 0, SPAN_NS)) is None
    assert event_loop.of_call(SampledWindow(samples((FREE, 50)), 0, SPAN_NS)) is not None


def test_a_sample_whose_loop_was_not_seen_does_not_count_as_blocked_in_a_call() -> None:
    """Of a loop that ran for a part of a call only, a sample without the loop's stack does not tell where it was."""
    unseen: Row = (Sleep.GIL, True, THREAD, None)
    seen: Row = (Sleep.GIL, True, THREAD, COUNT)
    window = SampledWindow(samples((seen, 20), (unseen, 30), (COMPUTING, 10)), 0, SPAN_NS)
    assert blockers.in_loops(window).samples == 30
