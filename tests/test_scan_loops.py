"""Event loops in a scan: what blocks the loop in which a test runs, for how long, and how the report says so."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
from test_scan_samples import _window
from test_scan_suite import _call
from test_stats_blockers import ASLEEP, FREE, SPAN_NS, samples

from pytest_gilprobe.model.loop_time import EventLoop
from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.report import scan_layout, workload_notes
from pytest_gilprobe.scan.messages import from_text, to_text
from pytest_gilprobe.scan.samples import PendingSamples, ScannedCall
from pytest_gilprobe.scan.suite import SuiteTotals


def later(found: GilSamples, by_ns: int) -> GilSamples:
    """Move samples to a later time."""
    return replace(found, at_ns=tuple(at + by_ns for at in found.at_ns))


def test_samples_of_a_call_tell_what_blocked_its_loop() -> None:
    """Stacks of several batches of samples are kept apart, and the record survives the watcher's notes."""
    pending = PendingSamples()
    pending.add(samples((ASLEEP, 30), (FREE, 30)))
    pending.add(later(samples((FREE, 30), (ASLEEP, 30), seed=2), SPAN_NS))
    call = pending.take(_window(0, 2 * SPAN_NS))
    assert call.loop is not None
    assert call.loop.blocked_fraction is not None
    assert call.loop.blocked_fraction.value == pytest.approx(0.5)
    assert call.loop.blockers is not None
    assert [one.code for one in call.loop.blockers] == ["time.sleep(1)"]
    assert from_text(ScannedCall, to_text(call)) == call


def blocking(nodeid: str, wall_ms: float, blocked: float) -> ScannedCall:
    """Make a call that blocked its event loop for a share of its time."""
    pending = PendingSamples()
    pending.add(samples((ASLEEP, round(200 * blocked)), (FREE, round(200 * (1 - blocked)))))
    loop: EventLoop | None = pending.take(_window(0, SPAN_NS)).loop
    return replace(_call(nodeid, wall_ms=wall_ms), loop=loop)


def test_tests_that_block_their_loop_are_found_the_longest_first() -> None:
    """Half of a second is longer than all of a tenth; a few milliseconds, and tests without a loop, are no finding."""
    totals = SuiteTotals()
    for call in (
        blocking("t.py::test_short", 110, 1.0),
        blocking("t.py::test_long", 1000, 0.5),
        blocking("t.py::test_fine", 1000, 0.01),
        _call("t.py::test_sync", wall_ms=500),
    ):
        totals.add(call)
    found = totals.result(gil_absent=False)
    (finding,) = [one for one in found.scan.findings if one.slug == "scan-blocks-loop"]
    assert finding.names == ("t.py::test_long", "t.py::test_short")
    said = {one.nodeid: scan_layout.largest_blocker(one) for one in found.results}
    assert said["t.py::test_long"] == "500 ms of 1.0 s, 100 % of that in time.sleep(1) at app.py:8"
    assert said["t.py::test_fine"] is None
    assert said["t.py::test_sync"] is None


def test_a_scan_of_loops_that_nothing_blocks_says_so() -> None:
    """One sentence in every medium; nothing of a suite without event loops, or whose loops are blocked."""
    totals = SuiteTotals()
    totals.add(blocking("t.py::test_fine", 1000, 0.01))
    found = totals.result(gil_absent=False)
    said = "no test is seen to block its event loop for 50 ms or more (1 test with a loop)"
    assert scan_layout.calm_loops(found.results) == said
    assert [note.lines for note in scan_layout.notes(found.scan, found.results) if note.label == "event loops"] == [
        (said,)
    ]
    assert scan_layout.calm_loops(()) is None
    totals.add(blocking("t.py::test_long", 1000, 0.5))
    assert scan_layout.calm_loops(totals.result(gil_absent=False).results) is None


@pytest.mark.parametrize(
    ("blocked", "words"), [(0.1, "its calls would overlap in tasks"), (0.9, "its calls would not overlap in tasks")]
)
def test_a_coroutine_that_waits_is_told_of_tasks(blocked: float, words: str) -> None:
    """Threads are not what one would write for it."""
    totals = SuiteTotals()
    waits = _call("t.py::test_waits", wall_ms=1000, cpu=0.01, held=0.01)
    totals.add(replace(waits, loop=blocking("", 1000, blocked).loop))
    found = totals.result(gil_absent=False)
    (result,) = found.results
    assert result.verdict.reason.endswith(words)
    assert any(one.slug == "scan-waits" for one in found.scan.findings) is (blocked < 0.5)


def test_a_test_with_a_line_of_its_own_says_what_to_write() -> None:
    """The notes of a scanned test name the place and the remedy, without a gain: a scan tries no strategy."""
    totals = SuiteTotals()
    totals.add(blocking("t.py::test_long", 1000, 0.5))
    (result,) = totals.result(gil_absent=False).results
    notes = {note.kind: note.lines for note in workload_notes.notes(result)}
    assert notes["loop"] == ("blocked for 50 % of a call's time",)
    assert notes["blocker"][-1] == "query() at app.py:15 lets go of the GIL: write await asyncio.to_thread(query)"


@pytest.mark.skipif(
    sys.platform != "linux"
    or sys.implementation.name != "cpython"
    or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="needs Linux and a CPython with its GIL enabled",
)
def test_a_scan_names_what_blocks_a_loop(pytester: pytest.Pytester) -> None:
    """One run shows which line blocks the loop of a test, also where the test runs the loop itself."""
    pytester.makepyfile(
        """
        import asyncio
        import time

        async def main():
            await asyncio.sleep(0.05)
            time.sleep(0.5)

        def test_blocks():
            time.sleep(0.05)
            asyncio.run(main())

        def test_plain():
            time.sleep(0.2)
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--gilprobe-scan", "--gilprobe-report")
    assert done.ret == pytest.ExitCode.OK
    report = json.loads((pytester.path / "reports/gilprobe.json").read_text("utf-8"))
    loops = {one["nodeid"].rpartition("::")[2]: one["event_loop"] for one in report["workloads"]}
    assert loops["test_plain"] is None
    if loops["test_blocks"] is None or loops["test_blocks"]["blockers"] is None:
        pytest.skip("too busy a machine: too few samples")
    first: dict[str, object] = loops["test_blocks"]["blockers"][0]
    assert (first["function"], first["code"]) == ("main", "time.sleep(0.5)")
    assert loops["test_blocks"]["blocked_fraction"]["low"] > 0
