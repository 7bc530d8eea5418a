"""Reports of schema version 1, made by the program that wrote them: read, and drawn and compared like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_serialize import SCRAPS, damage, places, refused_in_one_line

from pytest_gilprobe.model import report_json, report_v1
from pytest_gilprobe.model.report import SCHEMA_VERSION, Report
from pytest_gilprobe.model.report_json import ReportError, from_json, to_json
from pytest_gilprobe.model.results import StrategyResult
from pytest_gilprobe.model.words import NOT_ASKED, GilMethod, Outcome, Status
from pytest_gilprobe.report import html, markdown, terminal
from pytest_gilprobe.report.compare import compare
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict import baseline

DATA = Path(__file__).parent / "data"
FILES = sorted(DATA.glob("v1_*.json"))
RENAMED = {
    "native_cpu_share": "extra_cores",
    "hand_out_s_per_call": "dispatch_s_per_call",
    "pool_speedup_least": "pool_speedup_at_worst",
    "pool_speedup_most": "pool_speedup_at_best",
}
OF_GIL = {"gil_held_fraction": "held_fraction", "gil_method": "method", "longest_hold_s": "longest_hold_s"}


def old(name: str) -> Any:
    """Load a file of version 1 as it is."""
    return json.loads((DATA / name).read_text("utf-8"))


def new(name: str) -> Report:
    """Read a file of version 1."""
    return report_json.read(DATA / name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_values_survive(path: Path) -> None:
    """Every number that version 1 had of a strategy or of the GIL is where version 2 has it."""
    found = json.loads(to_json(new(path.name)))
    assert found["schema_version"] == SCHEMA_VERSION
    assert found["environment"] == old(path.name)["environment"]
    for before, after in zip(old(path.name)["workloads"], found["workloads"], strict=True):
        assert list(after["strategies"]) == ["serial", "threads", "processes"]
        for name, key, value in values_of(before):
            if name == "serial" and key in OF_GIL:
                assert after["gil"][OF_GIL[key]] == value
            elif key == "ceiling":
                assert after["gil"]["threads_ceiling"] == value
            elif key.startswith("over_threads"):
                assert value in after["strategies"]["processes"]["over"]["threads"].values()
            elif (name, key) != ("threads", "gil_held_fraction"):
                assert after["strategies"][name][RENAMED.get(key, key)] == value
        kept = before.keys() & {"nodeid", "status", "reason", "workers", "callee", "bad_ends"}
        assert all(after[key] == before[key] for key in kept - {"callee"})
        assert (before["callee"] or {}).items() <= (after["callee"] or {}).items()


def values_of(workload: Any) -> list[tuple[str, str, Any]]:
    """List what version 1 had of each strategy: its name, the key, the value."""
    return [
        (name, key, value)
        for name in ("serial", "threads", "processes")
        for key, value in (workload[name] or {}).items()
        if value is not None
    ]


def test_verdict() -> None:
    """Advice of version 1 is certain, and is for as many workers as were tried; an open verdict leaves all open."""
    for workload in (*new("v1_py313.json").workloads, *new("v1_ends.json").workloads):
        verdict = workload.verdict
        if verdict.strategy == "inconclusive":
            assert (verdict.candidates, verdict.workers) == ({}, None)
        else:
            assert verdict.candidates == {verdict.strategy: 1.0}
            assert verdict.workers == (1 if verdict.strategy == "serial" else workload.workers)


def test_bad_ends() -> None:
    """Strategies that failed, crashed or were not asked for say so, and so does what could not be probed."""
    fails, crashes, skipped, cannot, unwanted, function = sorted_as_in_the_file("v1_ends.json")
    assert fails.parallel["threads"].outcome is Outcome.FAILED
    assert crashes.parallel["threads"].outcome is Outcome.CRASHED
    assert (skipped.status, skipped.serial) == (Status.NOT_PROBED, None)
    assert skipped.strategies["serial"] == StrategyResult(outcome=Outcome.SKIPPED, error=skipped.reason)
    assert [(end.strategy, end.outcome) for end in cannot.bad_ends] == [("processes", Outcome.CRASHED)]
    assert unwanted.parallel["threads"].error == NOT_ASKED
    assert function.transfer is not None
    assert function.transfer.pipe_s > 0
    assert function.gil.method is GilMethod.MEMORY


def sorted_as_in_the_file(name: str) -> list[Any]:
    """Give the workloads by the order in which their tests stand in the file that made the report."""
    order = ("fails_in", "crashes_in_threads", "skipped", "crashes_in_a_worker", "not_asked", "function")
    workloads = new(name).workloads
    return [next(each for each in workloads if part in each.nodeid) for part in order]


def test_scan() -> None:
    """A scan of version 1 keeps its groups of short tests, which it called pools."""
    scan = new("v1_scan.json").scan
    assert scan is not None
    assert [group.name for group in scan.groups] == [pool["name"] for pool in old("v1_scan.json")["scan"]["pools"]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_drawn(path: Path) -> None:
    """A report of version 1 is drawn in every medium."""
    report = new(path.name)
    assert terminal.text(terminal.draw(report, BUILT_IN, width=80), color=False)
    assert markdown.draw(report, BUILT_IN)
    assert html.draw(report, BUILT_IN)


def test_compared() -> None:
    """Reports of version 1 are compared with each other and with what version 2 makes of them, and gated."""
    standard, free_threaded = new("v1_py313.json"), new("v1_py313t.json")
    again = from_json(to_json(standard), "again.json")
    moved = compare([("a", standard), ("b", free_threaded)]).changes
    assert {(change.before, change.after) for change in moved} >= {("processes", "threads")}
    assert compare([("a", standard), ("b", again)]).changes == ()
    assert baseline.since(standard, again).findings == ()


@pytest.mark.parametrize(
    ("change", "value", "message"),
    [
        ("workloads.3.serial.calls", "x", 'workloads[3].serial.calls: found "x", allowed: a whole number'),
        ("workloads.3.serial.gil_method", 1, "workloads[3].serial.gil_method: found 1, allowed: one of memory, "),
        ("workloads.3.threads.ceiling", "x", 'workloads[3].threads.ceiling: found "x", allowed: a number'),
        ("workloads.3.threads.hand_out_s_per_call", "x", "workloads[3].threads.hand_out_s_per_call: found "),
        ("workloads.3.processes.over_threads.low", "x", "workloads[3].processes.over_threads.low: found "),
        ("workloads.3.processes", [], "workloads[3].processes: found a list, allowed: an object"),
        ("workloads.3.verdict.bound", 1, "workloads[3].verdict.bound: found 1, "),
        ("workloads", 3, "workloads: found 3, allowed: a list"),
        ("environment.python", KeyError, 'environment: the key "python" is missing'),
    ],
)
def test_wrong_value(change: str, value: Any, message: str) -> None:
    """A wrong value is refused in one line with the path that it has in the file of version 1."""
    with pytest.raises(ReportError) as caught:
        from_json(damage(old("v1_py313.json"), change, value), "a.json")
    assert str(caught.value).startswith(f"a.json: {message}")


def test_wrong_value_in_a_scan() -> None:
    """A wrong value in a scan is named by the path in the file, too."""
    with pytest.raises(ReportError, match=r"^a\.json: scan\.pools\[0\]\.tests: found "):
        from_json(damage(old("v1_scan.json"), "scan.pools.0.tests", "x"), "a.json")


PLACES = places(old("v1_ends.json"))


@given(st.sampled_from(PLACES), SCRAPS)
@settings(max_examples=300, deadline=None)
def test_damaged_values(path: tuple[Any, ...], scrap: Any) -> None:
    """A report of version 1 with any of its values replaced or removed is read, or refused in one line."""
    refused_in_one_line(damage(old("v1_ends.json"), path, scrap))


def test_keys_of_version_2_in_version_1() -> None:
    """A key that version 1 did not know is ignored, also one that version 2 has."""
    top = old("v1_py313.json")
    expected = report_v1.upgraded(old("v1_py313.json"))["workloads"][0]
    top["workloads"][0].update(strategies="x", gil=3)
    top["workloads"][0]["processes"]["over"] = "x"
    assert report_v1.upgraded(top)["workloads"][0] == expected
