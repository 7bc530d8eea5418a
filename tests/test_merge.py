"""``gilprobe merge``: the reports of parts of one suite become one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from reports_fixture import rich_report

from pytest_gilprobe.cli import main
from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.words import Status
from pytest_gilprobe.report.merge import MergeError, merge

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = rich_report()
LATER = "2999-01-01T00:00:00+00:00"


def part(start: int, end: int, **changes: Any) -> Report:
    """Make a report of some of the workloads; changes are of the environment, but ``created``."""
    created = changes.pop("created", WHOLE.created)
    environment = replace(WHOLE.environment, **changes)
    return replace(WHOLE, workloads=WHOLE.workloads[start:end], environment=environment, created=created)


def test_parts_become_the_whole() -> None:
    """Shards that have each workload once give the report of the whole suite, and their environments are kept."""
    first, second = part(0, 3), part(3, None or len(WHOLE.workloads), load_average_1min=7.0, created=LATER)
    joined = merge([("a", first), ("b", second)])
    assert joined.workloads == WHOLE.workloads
    assert [shard.environment for shard in joined.shards] == [first.environment, second.environment]
    assert [len(shard.workloads) for shard in joined.shards] == [3, len(WHOLE.workloads) - 3]
    assert (joined.created, joined.environment.load_average_1min) == (LATER, None)
    assert joined.environment.scaling_ceiling == WHOLE.environment.scaling_ceiling


def test_each_workload_is_there_once() -> None:
    """A workload that several shards have is taken from one that probed it, and of these from the newest."""
    probed = next(one for one in WHOLE.workloads if one.status is Status.PROBED)
    older, newer = (replace(probed, probe_time_s=seconds) for seconds in (1.0, 2.0))
    skipped = replace(probed, status=Status.NOT_PROBED)
    reports = [
        replace(WHOLE, workloads=(newer,), created="2024-01-02"),
        replace(WHOLE, workloads=(older,), created="2024-01-01"),
        replace(WHOLE, workloads=(skipped,), created=LATER),
    ]
    for order in (reports, reports[::-1]):
        assert merge([("x", report) for report in order]).workloads == (newer,)


def test_joined_report_can_be_joined_again() -> None:
    """The shards of a joined report are its own, so that they are kept however the reports are joined."""
    a, b, c = part(0, 1), part(1, 2, load_average_1min=5.0), part(2, 3, load_average_1min=6.0)
    step = merge([("a", a), ("b", b)])
    assert merge([("ab", step), ("c", c)]) == merge([("a", a), ("b", b), ("c", c)])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"python": "3.99.0"},
            "b.json: Python: found CPython 3.99.0, allowed: CPython .*, as in a.json; gilprobe compare",
        ),
        ({"free_threaded_build": True}, "b.json: build: found 3.13t GIL on, allowed: 3.13, as in a.json"),
        ({"machine": "riscv64"}, "b.json: system: found .* riscv64, allowed: "),
    ],
)
def test_what_does_not_belong_together_is_refused(changes: dict[str, Any], said: str) -> None:
    """Reports of different Pythons, builds or systems are no parts of one run."""
    with pytest.raises(MergeError, match=said):
        merge([("a.json", part(0, 1)), ("b.json", part(1, 2, **changes))])


def test_another_release_is_refused() -> None:
    """Reports of different releases were judged by different code."""
    with pytest.raises(MergeError, match="b: version of pytest-gilprobe: found 99, allowed: "):
        merge([("a", part(0, 1)), ("b", replace(part(1, 2), tool_version="99"))])


def test_single_report_is_refused() -> None:
    """There is nothing to join."""
    with pytest.raises(MergeError, match="nothing to merge: found 1 report, needed: at least 2"):
        merge([("a", WHOLE)])


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes JSON that is read as it was, and that the other commands draw."""
    first, second = part(0, 2), part(2, 4, load_average_1min=7.0)
    report_json.write_atomic(tmp_path / "a.json", report_json.to_json(first))
    report_json.write_atomic(tmp_path / "b.json", report_json.to_json(second))
    files = [str(tmp_path / name) for name in ("a.json", "b.json")]
    assert main(["merge", *files, "-o", str(tmp_path / "all.json")]) == 0
    assert report_json.read(tmp_path / "all.json") == merge(list(zip(files, (first, second), strict=True)))
    assert main(["render", str(tmp_path / "all.json"), "--format", "markdown"]) == 0
    assert "joined from: 2 reports" in capsys.readouterr().out
    assert main(["merge", files[0]]) == 2
    assert capsys.readouterr().err == "gilprobe: error: nothing to merge: found 1 report, needed: at least 2\n"
