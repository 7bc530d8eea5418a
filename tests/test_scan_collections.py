"""Full garbage collections belong to no test of a scanned suite: they are clocked, left out and told."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.model.scans import Scan
from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.observe import interpreter
from pytest_gilprobe.report import scan_layout
from pytest_gilprobe.scan.collector_clock import CollectionClock
from pytest_gilprobe.scan.journal import Journal, Window
from pytest_gilprobe.scan.samples import PendingSamples
from pytest_gilprobe.scan.suite import SuiteTotals

if TYPE_CHECKING:
    from pathlib import Path

MS = 1_000_000
CLOCKED = """
import gc, threading
from functools import partial
from pytest_gilprobe.scan.collector_clock import CollectionClock

def made(number):
    return [[at] for at in range(number)]

def tell(name):
    print(name, len(clock.take()))

keep = made(400_000)
clock = CollectionClock()
for _ in range(15):
    gc.collect(1)  # from here on, the oldest generation is always due
clock.start()
gc.collect()
tell("asked_for")
for _ in range(15):
    gc.collect(1)
gc.disable()
keep += made(3_000)
gc.collect()
gc.enable()
tell("disabled")
keep += made(300_000)
tell("by_itself")
others = threading.Thread(target=lambda: keep.extend(made(600_000)))
others.start()
others.join()
tell("other_thread")
clock.stop()
keep += made(600_000)
tell("stopped")
"""
GROWING = """
import gc, time
from pytest_gilprobe.scan.collector_clock import CollectionClock

clock = CollectionClock()
clock.start()
took = []
def note(phase, info):
    took.append(time.perf_counter_ns() * (1 if phase == "stop" else -1))
gc.callbacks.append(note)
keep = [[at] for at in range(1_500_000)]
noted = sum(end - begin for begin, end in clock.take())
print(noted < 0.5 * sum(took))
"""
WINDOW = Window(
    nodeid="a.py::test",
    fixtures=(),
    start_ns=10 * MS,
    end_ns=110 * MS,
    cpu_ns=100 * MS,
    process_cpu_ns=100 * MS,
    run_queue_ns=0,
    collections=((40 * MS, 90 * MS),),
)


def samples(held_from: int, *, queue: bool = False) -> GilSamples:
    """Make one sample a millisecond, the GIL held from so many milliseconds on, queueing half of the time if asked."""
    at = range(121)
    return GilSamples(
        method=GilMethod.MEMORY,
        at_ns=tuple(moment * MS for moment in at),
        held=tuple(moment >= held_from for moment in at),
        late_ns=(60_000,) * len(at),
        holder=(7,) * len(at),
        switches=(1,) * len(at),
        runnable=(True,) * len(at),
        same_core=(False,) * len(at),
        queue_ns=tuple(moment * MS // 2 if queue else 0 for moment in at),
    )


def test_collections_that_python_starts_are_clocked_and_those_of_a_test_are_not() -> None:
    """`gc.collect` in a test is the test's own, also where it disabled the collector, and other threads' are theirs."""
    done = subprocess.run([sys.executable, "-c", CLOCKED], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    noted = {name: int(number) for name, number in map(str.split, done.stdout.splitlines())}
    assert noted.pop("by_itself") > 0
    assert noted == {"asked_for": 0, "disabled": 0, "other_thread": 0, "stopped": 0}


@pytest.mark.skipif(interpreter.free_threaded_build(), reason="no young generation counts what a test makes")
def test_a_test_that_makes_the_objects_pays_for_them() -> None:
    """Where most objects are new, most of the time of a collection is the test's own."""
    done = subprocess.run([sys.executable, "-c", GROWING], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]


def test_a_callback_that_a_test_removed_is_not_missed() -> None:
    """A test may clear `gc.callbacks`: the scan goes on."""
    clock = CollectionClock()
    clock.stop()
    assert clock.take() == ()


def test_a_journal_keeps_the_collections_inside_of_a_call(tmp_path: Path) -> None:
    """One in set-up, and one that reaches beyond the call, are not the call's."""
    journal = Journal.create(tmp_path / "journal")
    journal.end((10, 30, 5, 6, 2), "a.py::test", "db", [(1, 4), (8, 12), (15, 20), (21, 30), (29, 31)])
    (window,) = journal.take()
    assert (window.nodeid, window.fixtures) == ("a.py::test", ("db",))
    assert window.collections == ((15, 20), (21, 30))


def test_a_call_is_told_without_its_collections() -> None:
    """Time, CPU time and samples: here the GIL is held during the collection, and for 20 ms of the other 50."""
    pending = PendingSamples()
    pending.add(samples(held_from=40))
    call = pending.take(WINDOW)
    assert (call.wall_ns, call.cpu_ns, call.process_cpu_ns) == (50 * MS, 50 * MS, 50 * MS)
    assert (call.collections, call.collected_ns) == (1, 50 * MS)
    assert call.held is not None
    assert call.held.value == pytest.approx(0.4, abs=0.03)
    assert call.counts.samples == 50
    assert len(pending) == 10


def test_a_collection_queues_for_a_cpu_as_the_rest_of_the_call_does() -> None:
    """Half of its time on a CPU is no CPU time, and what it queued is not the call's."""
    pending = PendingSamples()
    pending.add(samples(held_from=0, queue=True))
    call = pending.take(replace(WINDOW, cpu_ns=50 * MS, process_cpu_ns=50 * MS, run_queue_ns=50 * MS))
    assert (call.wall_ns, call.cpu_ns, call.run_queue_ns) == (50 * MS, 25 * MS, 25 * MS)
    assert call.held is not None
    assert call.held.high == pytest.approx(1, abs=0.01)


def test_a_collection_takes_no_more_cpu_time_than_it_can() -> None:
    """A call that sleeps most of the time queues for a CPU as often as it computes, collections included."""
    pending = PendingSamples()
    pending.add(samples(held_from=0))
    clocks: dict[str, Any] = {"cpu_ns": 20 * MS, "process_cpu_ns": 20 * MS, "run_queue_ns": 20 * MS}
    call = pending.take(replace(WINDOW, collections=((40 * MS, 60 * MS),), **clocks))
    assert (call.wall_ns, call.cpu_ns, call.run_queue_ns) == (80 * MS, 10 * MS, 10 * MS)


def test_a_call_that_was_all_collection_is_nothing() -> None:
    """No sample and no time is left, and nothing is divided by it."""
    pending = PendingSamples()
    pending.add(samples(held_from=0))
    call = pending.take(replace(WINDOW, collections=((10 * MS, 110 * MS),)))
    assert (call.wall_ns, call.cpu_ns, call.counts.samples, call.held) == (0, 0, 0, None)
    totals = SuiteTotals()
    totals.add(call)
    scan = totals.result(gil_absent=False).scan
    assert (scan.collections, scan.collected_s, scan.wall_s) == (1, 0.1, 0)


def test_collections_are_told_where_they_count() -> None:
    """From a hundredth of the tests' time on."""
    scan = Scan(tests=3, tests_alone=0, wall_s=10, cpu_s=10, collections=2, collected_s=0.5)
    assert list(scan_layout.cautions(scan)) == [
        "2 full garbage collections took 500 ms more, in whichever tests ran then: they are left out"
    ]
    assert list(scan_layout.cautions(replace(scan, collected_s=0.05))) == []
