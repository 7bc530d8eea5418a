"""Reports to and from JSON."""

from __future__ import annotations

import json
import math
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reports_fixture import HOSTILE_NODEID, rich_report
from strategies import reports, workloads

from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.report import SCHEMA_VERSION, Report
from pytest_gilprobe.model.report_json import ReportError, from_json, read, to_json, write_atomic
from pytest_gilprobe.model.results import WorkloadResult


@given(reports())
@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
def test_round_trip(report: Report) -> None:
    """What was written is read back equal, whatever names, numbers and gaps a report holds."""
    assert from_json(to_json(report), "r.json") == report


@given(workloads())
@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
def test_round_trip_of_a_workload(workload: WorkloadResult) -> None:
    """One workload travels as a single line of ASCII and is read back equal."""
    text = report_json.workload_to_json(workload)
    assert text.isascii()
    assert text.isprintable()
    assert report_json.workload_from_json(text, "w") == workload


def test_schema() -> None:
    """The JSON has the contract's keys: schema version, tool, environment, workloads with verdict and strategies."""
    found = json.loads(to_json(rich_report()))
    assert found["schema_version"] == SCHEMA_VERSION
    assert found["tool"] == {"name": "pytest-gilprobe", "version": "0.1.0"}
    assert {"python", "free_threaded_build", "gil_enabled", "scaling_ceiling"} <= found["environment"].keys()
    first = found["workloads"][0]
    parts = ["verdict", "strategies", "gil", "scaling", "sharing", "event_loop", "callee", "transfer", "bad_ends"]
    assert first.keys() == {"nodeid", "status", "reason", "workers", "probe_time_s", *parts}
    assert (first["reason"], first["scaling"], first["sharing"], first["gil"]["holders"]) == (None,) * 4
    assert (first["verdict"]["strategy"], first["verdict"]["candidates"]) == ("threads", {"threads": 1.0})
    assert list(first["strategies"]) == ["serial", "threads", "processes"]
    assert first["strategies"]["serial"]["speedup"] is None
    assert first["strategies"]["threads"]["speedup"] == {"value": 2.0, "low": 1.94, "high": 2.06, "confidence": 0.95}


def test_a_line_for_each_record() -> None:
    """A report under version control shows what changed: each record of a workload and each strategy has its line."""
    found = [line.split(":")[0].strip(' "') for line in to_json(rich_report()).splitlines()]
    start = found.index('{"nodeid')
    assert found[start + 1 : start + 7] == ["verdict", "strategies", "serial", "threads", "processes", "gil"]


def test_order_of_strategies() -> None:
    """Strategies keep their order, the cheapest first."""
    first, *others = rich_report().workloads
    turned = replace(first, strategies=dict(reversed([*first.strategies.items()])))
    report = from_json(to_json(replace(rich_report(), workloads=(turned, *others))), "r.json")
    assert list(report.workloads[0].strategies) == ["processes", "threads", "serial"]


def test_ascii_and_lone_surrogates() -> None:
    """A report is ASCII, so that a node id with a lone surrogate survives any file encoding."""
    text = to_json(rich_report())
    assert text.isascii()
    assert HOSTILE_NODEID in {workload.nodeid for workload in from_json(text, "r.json").workloads}


def test_unknown_keys_are_ignored() -> None:
    """A later minor version may add keys: they do not stop an older reader."""
    found = json.loads(to_json(rich_report()))
    found["later"] = found["environment"]["later"] = found["workloads"][0]["later"] = {"deep": [1]}
    assert from_json(json.dumps(found), "r.json") == rich_report()


def test_missing_key_with_a_default() -> None:
    """A key whose field has a default may be missing."""
    found = json.loads(to_json(rich_report()))
    del found["workloads"][0]["strategies"]["serial"]["first_call_s"]
    serial = from_json(json.dumps(found), "r.json").workloads[0].serial
    assert serial is not None
    assert serial.first_call_s is None


def test_whole_numbers_are_numbers() -> None:
    """A whole number stands for a float where another program wrote 2 for 2.0."""
    text = to_json(rich_report()).replace('"value": 2.0,', '"value": 2,', 1)
    assert from_json(text, "r.json") == rich_report()


def damage(top: Any, where: str | tuple[Any, ...], value: Any) -> str:
    """Set or remove one place, given as a path such as ``workloads.0.nodeid``, in a JSON value; write it as text."""
    parts = where.split(".") if isinstance(where, str) else where
    *path, last = (int(part) if isinstance(part, str) and part.isdigit() else part for part in parts)
    at = top
    for part in path:
        at = at[part]
    if value is KeyError:
        del at[last]
    else:
        at[last] = value
    return json.dumps(top)


def damaged(where: str | tuple[Any, ...], value: Any) -> str:
    """Damage one place of the fixed report's JSON."""
    return damage(json.loads(to_json(rich_report())), where, value)


@pytest.mark.parametrize(
    ("change", "value", "message"),
    [
        (
            "workloads.3.strategies.serial.calls",
            "x",
            'workloads[3].strategies.serial.calls: found "x", allowed: a whole number',
        ),
        (
            "workloads.3.strategies.serial.calls",
            1.5,
            "workloads[3].strategies.serial.calls: found 1.5, allowed: a whole number",
        ),
        (
            "workloads.3.strategies.serial.calls",
            True,
            "workloads[3].strategies.serial.calls: found true, allowed: a whole number",
        ),
        ("workloads.0.probe_time_s", True, "workloads[0].probe_time_s: found true, allowed: a number"),
        ("workloads.0.probe_time_s", 10**400, "workloads[0].probe_time_s: found 1000"),
        ("workloads.0.nodeid", None, "workloads[0].nodeid: found null, allowed: text"),
        ("workloads.0.verdict", [], "workloads[0].verdict: found a list, allowed: an object"),
        ("workloads", {}, "workloads: found an object, allowed: a list"),
        ("environment.gil_enabled", 1, "environment.gil_enabled: found 1, allowed: true or false"),
        ("environment.python", KeyError, 'environment: the key "python" is missing'),
        ("tool.version", 3, "tool.version: found 3, allowed: text"),
        ("workloads.0.verdict.bound", "gpu", 'workloads[0].verdict.bound: found "gpu", allowed: one of io, cpu, '),
        ("workloads.1.verdict.cautions.0.slug", 7, "workloads[1].verdict.cautions[0].slug: found 7, allowed: text"),
        (
            "workloads.0.strategies.threads.speedup.low",
            9,
            "workloads[0].strategies.threads.speedup: an estimate lies in its interval, ",
        ),
        ("workloads.0.strategies", [], "workloads[0].strategies: found a list, allowed: an object"),
        ("workloads.0.strategies.a\nb", {"outcome": "ok"}, "workloads[0]: a strategy's name looks like "),
        ("workloads.0.strategies.a\nb", {}, 'workloads[0].strategies.a\\nb: the key "outcome" is missing'),
        ("workloads.0.strategies.serial.cpu_utilization", None, "workloads[0]: serial calls that ended well have "),
        ("workloads.0.verdict.candidates.threads", "x", 'workloads[0].verdict.candidates.threads: found "x", '),
        ("schema_version", 3, 'schema_version: found 3, allowed: 1 or 2; made by a newer pytest-gilprobe ("0.1.0"), '),
        ("schema_version", 0, "schema_version: found 0, allowed: 1 or 2"),
        ("schema_version", "2", 'schema_version: found "2", allowed: a whole number'),
        ("schema_version", KeyError, 'the key "schema_version" is missing'),
    ],
)
def test_wrong_value(change: str, value: Any, message: str) -> None:
    """A wrong value is refused in one line: file, key path, what was found, what is allowed."""
    with pytest.raises(ReportError) as caught:
        from_json(damaged(change, value), "reports/a.json")
    assert str(caught.value).startswith(f"reports/a.json: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.json: line 1, column 1: not JSON: "),
        ("[1]", "a.json: found a list, allowed: an object"),
        ('{"x": NaN}', "a.json: not JSON: found NaN, allowed: finite numbers and null"),
        ('{"x": -Infinity}', "a.json: not JSON: found -Infinity"),
        ("[" * 100_000, "a.json: not a report: nested too deeply"),
        ("9" * 5_000, "a.json: "),
    ],
)
def test_not_a_report(text: str, message: str) -> None:
    """Text that is no report at all is refused in one line."""
    with pytest.raises(ReportError) as caught:
        from_json(text, "a.json")
    assert str(caught.value).startswith(message)


def test_infinity_by_overflow() -> None:
    """A number too large for a float is not read as infinity."""
    text = to_json(rich_report()).replace('"probe_time_s": 1.2', '"probe_time_s": 1e999', 1)
    with pytest.raises(ReportError, match=r"workloads\[0\]\.probe_time_s: found Infinity, allowed: a finite number"):
        from_json(text, "a.json")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_not_finite_is_not_written(number: float) -> None:
    """NaN and infinity, which JSON does not have, are refused when writing, with the place."""
    first, *others = rich_report().workloads
    report = replace(rich_report(), workloads=(*others, replace(first, probe_time_s=number)))
    with pytest.raises(ReportError, match=r"workloads\[8\]\.probe_time_s: found -?(nan|inf), allowed: a finite number"):
        to_json(report)
    with pytest.raises(ReportError, match=r"^probe_time_s: found"):
        report_json.workload_to_json(replace(first, probe_time_s=number))


SCRAPS: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 1.5, 1e308, 10**400, "", "x", "\ud800\n", [], {}, [[]], {"value": 1}, "nan", KeyError]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the path of every value inside a JSON value."""
    keys = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in keys for place in [(*path, key), *places(item, (*path, key))]]


PLACES = places(json.loads(to_json(rich_report())))


@given(st.sampled_from(PLACES), SCRAPS)
@settings(max_examples=14 * settings().max_examples)
def test_damaged_values(path: tuple[Any, ...], scrap: Any) -> None:
    """A report with any of its values replaced or removed is read, or refused in one line with file and reason."""
    refused_in_one_line(damaged(path, scrap))


@given(st.data())
@settings(max_examples=7 * settings().max_examples)
def test_damaged_text(data: st.DataObject) -> None:
    """A report with a stretch of its text cut out or overwritten is read, or refused in one line."""
    text = to_json(rich_report())
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    refused_in_one_line(text[:start] + data.draw(st.text(max_size=5)) + text[end:])


def refused_in_one_line(text: str) -> None:
    """Read a report that may be damaged: it may be fine, or be refused as promised, and nothing else."""
    try:
        report = from_json(text, "damaged.json")
    except ReportError as error:
        message = str(error)
        assert message.startswith("damaged.json: ")
        assert message.isprintable()
    else:
        assert from_json(to_json(report), "again.json") == report


@pytest.mark.parametrize(
    ("text", "message"), [("x", "line 1, column 1: not JSON"), ("{}", "the key "), ("3", "found 3, ")]
)
def test_damaged_workload(text: str, message: str) -> None:
    """A damaged workload is refused as a damaged report is."""
    with pytest.raises(ReportError, match=f"^gw0: {message}"):
        report_json.workload_from_json(text, "gw0")


# Files


def test_write_and_read(tmp_path: Path) -> None:
    """A report written to a file, its folder made on the way, is read back equal."""
    path = tmp_path / "new" / "gilprobe.json"
    write_atomic(path, to_json(rich_report()))
    assert read(path) == rich_report()
    assert [entry.name for entry in path.parent.iterdir()] == ["gilprobe.json"]


def test_write_replaces(tmp_path: Path) -> None:
    """An old file is replaced; a file that was a symbolic link stays one."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    write_atomic(link, "new")
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "new"


def test_write_respects_the_umask(tmp_path: Path) -> None:
    """A new file gets the permissions that any program's would, not those of a private temporary file."""
    write_atomic(tmp_path / "ours", "x")
    (tmp_path / "theirs").write_text("x", encoding="utf-8")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "theirs").stat().st_mode)


def test_write_to_a_device() -> None:
    """A device is written to, not replaced by a file."""
    write_atomic(os.devnull, "x")
    assert not Path(os.devnull).is_file()


def test_write_lone_surrogates(tmp_path: Path) -> None:
    """Text that UTF-8 cannot hold is written as a visible escape."""
    write_atomic(tmp_path / "x", "a\ud800b")
    assert (tmp_path / "x").read_bytes() == b"a\\ud800b"


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk gives up, the old file stays, no temporary file does, and the error names the path."""
    path = tmp_path / "gilprobe.json"
    path.write_text("old", encoding="utf-8")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportError, match="cannot be written: No space left on device") as caught:
        write_atomic(path, "new")
    assert str(path) in str(caught.value)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_below_a_file(tmp_path: Path) -> None:
    """A folder that cannot be made is one line."""
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ReportError, match="cannot be written: "):
        write_atomic(tmp_path / "file" / "gilprobe.json", "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read: No such file"), (b"\xff", "byte 0 is not UTF-8"), (b"{}", 'the key "schema_version"')],
)
def test_unreadable(tmp_path: Path, content: bytes | None, message: str) -> None:
    """A file that is missing, is not UTF-8 or holds something else is one line that starts with its name."""
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReportError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_byte_order_mark(tmp_path: Path) -> None:
    """A byte order mark, which editors on Windows leave, is no damage."""
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + to_json(rich_report()).encode())
    assert read(path) == rich_report()
