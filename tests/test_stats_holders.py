"""`pytest_gilprobe.stats.holders`: shares of the held time, by whose code it is, and what is left unsaid."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pytest_gilprobe.model.readings import BatchReading, GilSamples, LaneReading, WorkerReading
from pytest_gilprobe.model.stacks import Frame, Stack
from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.stats import holders
from pytest_gilprobe.stats.holders import LEAST_CALL_S

CALL_S = 0.01
SPAN_NS = 50_000_000


def own(function: str, line: int, code: str | None = None, statement: str | None = None) -> Frame:
    """Make a frame of the user's own code."""
    return Frame(function=function, file="shop/orders.py", line=line, code=code, statement=statement, own=True)


def library(function: str, code: str | None = None) -> Frame:
    """Make a frame of the standard library."""
    return Frame(function=function, file="json/decoder.py", line=3, code=code, own=False)


LOADS: Stack = (
    library("raw_decode", "self.scan_once(s, idx)"),
    own("read", 10, "json.loads(raw)", "x = json.loads(raw)"),
)
LOOP: Stack = (own("total", 7, "i * i", "total += i * i"),)
LOOP_TOO: Stack = (own("total", 7, "total += i * i", "total += i * i"),)
SORT: Stack = (own("order", 20, "sorted(rows)", "return sorted(rows)"),)


def batch(*found: tuple[Stack, int], free: int = 0, torn: int = 0, seed: int = 1, queue: bool = False) -> BatchReading:
    """Make a serial batch whose samples found these stacks this many times, in random order at random moments."""
    luck = random.Random(seed)
    stacks = tuple(dict.fromkeys(stack for stack, _ in found))
    rows = [stacks.index(stack) for stack, number in found for _ in range(number)] + [-1] * free
    luck.shuffle(rows)
    at_ns = tuple(sorted(luck.randrange(SPAN_NS) for _ in rows))
    samples = GilSamples(
        method=GilMethod.MEMORY,
        at_ns=at_ns,
        held=tuple(at >= 0 for at in rows),
        late_ns=(0,) * len(rows),
        queue_ns=tuple(0 for _ in rows) if queue else (),
        stack=tuple(rows),
        stacks=stacks,
        torn=torn,
    )
    lane = LaneReading(calls=5, start_ns=0, end_ns=SPAN_NS, cpu_ns=SPAN_NS, run_queue_ns=0)
    worker = WorkerReading(lanes=(lane,), process_cpu_ns=SPAN_NS, peak_rss_bytes=None, gil_enabled=True)
    return BatchReading(workers=(worker,), gil=samples)


def test_shares_are_those_of_the_held_samples() -> None:
    """Samples of a free GIL do not count; the interval contains the truth; the largest comes first."""
    found = holders.holders([batch((LOADS, 120), (LOOP, 60), (SORT, 20), free=100, seed=at) for at in range(3)], CALL_S)
    assert found is not None
    assert [one.function for one in found] == ["read", "total", "order"]
    for one, truth in zip(found, (0.6, 0.3, 0.1), strict=True):
        assert one.share.low <= truth <= one.share.high
        assert one.share.value == pytest.approx(truth, abs=0.05)
    assert sum(one.share.value for one in found) == pytest.approx(1)


def test_a_call_is_told_with_what_it_calls_and_computing_by_its_line() -> None:
    """A library's time belongs to the user's expression that called it; parts of a line are one place."""
    found = holders.holders([batch((LOADS, 50), (LOOP, 30), (LOOP_TOO, 20), (SORT, 20))], CALL_S)
    assert found is not None
    told = {one.function: one for one in found}
    assert len(told) == len(found)
    assert (told["read"].code, told["read"].library) == ("json.loads(raw)", "json/decoder.py: raw_decode")
    assert told["read"].native == "self.scan_once"
    assert (told["total"].code, told["total"].native) == ("total += i * i", None)
    assert (told["order"].code, told["order"].native, told["order"].library) == ("sorted(rows)", "sorted", None)


def test_a_call_of_a_python_function_is_no_native_function() -> None:
    """An expression that was seen to call Python code holds the GIL for no native function, where it is innermost."""
    calling = own("work", 3, "total(9)", "n = total(9)")
    found = holders.holders([batch(((calling,), 30), ((*LOOP, calling), 30))], CALL_S)
    assert found is not None
    assert {one.function: one.native for one in found} == {"work": None, "total": None}


def test_code_that_is_nobodys_own_goes_to_the_outermost_library_function() -> None:
    """Where no frame is the user's, the share is not lost."""
    found = holders.holders([batch(((library("inner"), library("outer")), 40))], CALL_S)
    assert found is not None
    assert [one.function for one in found] == ["outer"]


@pytest.mark.parametrize("kind", ["<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>"])
def test_a_comprehension_belongs_to_the_function_in_which_it_is_written(kind: str) -> None:
    """Its time is that of the expression that runs it; one of another function stays a place of its own."""
    runs = own("read", 10, "sum(parse(row) for row in rows)")
    inside = own(f"read.<locals>.{kind}", 10, "parse(row)")
    strange = own(f"other.<locals>.{kind}", 30, "parse(row)")
    seen = batch(((inside, runs), 60), ((library("decode"), inside, runs), 20), ((strange, runs), 20))
    found = holders.holders([seen], CALL_S)
    assert found is not None
    told = {(one.function, one.code): one.share.value for one in found}
    assert told[("read", "sum(parse(row) for row in rows)")] == pytest.approx(0.8, abs=0.01)
    assert told[(f"other.<locals>.{kind}", "parse(row)")] == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    ("seen", "call_s", "why"),
    [
        (batch((LOOP, 10)), CALL_S, "fewer than 16 samples found it held and read a stack"),
        (batch((LOOP, 100)), LEAST_CALL_S / 2, "calls are shorter than 20 \u00b5s"),
        (batch((LOOP, 100), torn=150), CALL_S, "most stacks changed while they were read, or were too deep"),
        (batch(((), 100)), CALL_S, "fewer than 16 samples found it held and read a stack"),
        (batch(free=100), CALL_S, "fewer than 16 samples found it held and read a stack"),
        (replace(batch((LOOP, 100)), gil=None), CALL_S, "no stacks were read"),
    ],
    ids=["few samples", "short calls", "mostly torn", "frames of pytest only", "never held", "not watched"],
)
def test_too_little_evidence_names_nobody(seen: BatchReading, call_s: float, why: str) -> None:
    """Few samples, calls of microseconds, stacks that were mostly dropped: no holder rather than a guess, and why."""
    assert holders.holders([seen], call_s) is None
    assert holders.why_none([seen], call_s) == why
    assert holders.why_none([batch((LOOP, 100))], CALL_S) is None


def test_samples_before_and_after_the_calls_do_not_count() -> None:
    """A busy machine may leave a batch without a sample in it: that batch says nothing, the others do."""
    read = batch((LOOP, 50))
    samples = read.gil
    assert samples is not None
    late = replace(samples, at_ns=tuple(at + SPAN_NS for at in samples.at_ns))
    outside = replace(read, gil=late)
    assert holders.holders([outside], CALL_S) is None
    assert holders.stacks([outside]) is None
    found = holders.holders([read, outside], CALL_S)
    assert found is not None
    assert [one.function for one in found] == ["total"]


def test_batches_that_differ_widen_the_interval() -> None:
    """One batch all in one place and one all in another leave an interval wider than their samples' scatter."""
    alike = holders.holders([batch((LOADS, 100), (LOOP, 100), seed=at) for at in range(2)], CALL_S)
    unlike = holders.holders([batch((LOADS, 200)), batch((LOOP, 200))], CALL_S)
    assert alike is not None
    assert unlike is not None
    assert unlike[0].share.high - unlike[0].share.low > 2 * (alike[0].share.high - alike[0].share.low)


def test_a_wait_for_a_cpu_does_not_count() -> None:
    """Samples in a stretch of the run queue, or that may be, belong to no place: 19 are certain, 2 doubtful."""
    read = batch((LOOP, 50), (SORT, 50), queue=True)
    samples = read.gil
    assert samples is not None
    middle = len(samples.at_ns) // 2
    waited_ns = samples.at_ns[middle] - samples.at_ns[middle - 20]
    queue_ns = tuple(waited_ns if at >= middle else 0 for at in range(len(samples.at_ns)))
    waiting = replace(read, gil=replace(samples, queue_ns=queue_ns))
    assert len(holders.held_samples([read])[0]) - len(holders.held_samples([waiting])[0]) == 21


def test_stacks_are_merged_by_line_and_start_at_the_outermost_function() -> None:
    """What an icicle draws: shares that add up to 1, of stacks that differ in a line or more."""
    found = holders.stacks([batch((LOADS, 60), (LOOP, 20), (LOOP_TOO, 20))])
    assert found is not None
    assert [[frame.function for frame in one.frames] for one in found] == [["read", "raw_decode"], ["total"]]
    assert sum(one.share for one in found) == pytest.approx(1)
    assert holders.stacks([batch(free=10)]) is None
