"""The corpus: what is recorded is judged again by the code as it stands, and held against the truth."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import evidence as made
import pytest
from fake_workers import plan
from reports_fixture import rich_report

from pytest_gilprobe.model import evidence_file
from pytest_gilprobe.model.evidence import EvidenceRecord
from pytest_gilprobe.model.readings import BatchReading, ControlRound, Measurement, Round

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))
import record as recording  # noqa: E402 - a script's folder, found just above
import replay  # noqa: E402
import truth  # noqa: E402

LOOP = {"threads": 1.0, "processes": 1.98}
"""What pools truly give a Python loop."""


def moved(batch: BatchReading, by_s: float) -> BatchReading:
    """Move a batch in time."""
    by_ns = round(by_s * 1e9)
    workers = (
        replace(
            worker,
            lanes=tuple(replace(one, start_ns=one.start_ns + by_ns, end_ns=one.end_ns + by_ns) for one in worker.lanes),
        )
        for worker in batch.workers
    )
    return replace(batch, workers=tuple(workers))


def measurement(rounds: int = 6) -> Measurement:
    """Make rounds of a Python loop, one a second, with a control half a second after each."""
    some = [
        Round(batches={name: moved(batch, number) for name, batch in made.PYTHON_LOOP.batches.items()})
        for number in range(rounds)
    ]
    controls = tuple(
        ControlRound(alone=moved(made.control().alone, number + 0.5), together=made.control().together)
        for number in range(rounds)
    )
    return made.measurement(*some, controls=controls)


def record(nodeid: str = "a.py::test_a") -> EvidenceRecord:
    """Make the record of such a probe."""
    found = replace(rich_report().workloads[0], nodeid=nodeid)
    kept = EvidenceRecord.of(plan(), found, measurement(), made.machine())
    return replace(kept, strategies=tuple(one.name for one in made.PLAIN))


def true(**values: float) -> dict[str, Any]:
    """Make a truth."""
    speedups = {name: {"value": value, "error": 0.01} for name, value in values.items()}
    return {"disturbed": False, "bare": speedups, "pool": speedups}


def test_right_answer_is_right() -> None:
    """An answer that the truth allows is neither wrong nor open; the code stops when nothing is open to it."""
    found = replay.judged(record(), true(**LOOP), "3.11 idle")
    assert (found.strategy, found.wrong, found.open) == ("processes", False, False)
    assert found.right == {"processes"}
    assert 1 <= found.rounds <= found.recorded == 6
    assert {kind for kind, _ in found.caught} == {"bare", "pool"}


def test_wrong_answer_is_wrong() -> None:
    """An answer that no truth within 10 % allows is wrong, and an interval without the truth is counted as that."""
    found = replay.judged(record(), true(threads=1.9, processes=1.0), "3.11 idle")
    assert found.wrong
    assert found.right == {"threads"}
    assert not any(held for _, held in found.caught)


def test_truth_near_a_threshold_allows_both_answers() -> None:
    """Of a truth of 1.3x both sides of the limit are right."""
    found = replay.judged(record(), true(threads=1.0, processes=1.31), "3.11 idle")
    assert found.right == {"serial", "processes"}


def test_uncertain_truth_is_held_against_nothing() -> None:
    """A truth with a large error of its own allows more answers, and says nothing of intervals."""
    vague = true(threads=1.0, processes=1.6)
    vague["pool"]["processes"]["error"] = vague["bare"]["processes"]["error"] = 0.2
    found = replay.judged(record(), vague, "3.11 idle")
    assert found.right == {"serial", "processes"}
    assert len(found.caught) == 2


def test_code_sees_only_what_it_would_have_seen() -> None:
    """After a round, controls that were run after a later one are not known yet."""
    whole = measurement()
    first = replay.until(whole, 2)
    assert (len(first.rounds), len(first.controls)) == (2, 2)
    assert replay.until(whole, 6) is whole


def test_half_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each workload belongs to one half by its name; only one half is shown, and a disturbed truth is left out."""
    names = [f"a.py::test_{letter}" for letter in "abcdefgh"]
    evidence_file.write(tmp_path / "3.11-idle.jsonl.gz", rich_report(), map(record, names))
    truths = {name: true(**LOOP) for name in names[1:]}
    truths[names[1]]["disturbed"] = True
    recording.write_truths(tmp_path / "3.11-truth.json", {}, truths)
    halves = [{one.name for one in replay.replayed(tmp_path, held_out=held_out)} for held_out in (False, True)]
    assert all(halves)
    assert halves[0] | halves[1] == {name.rpartition("::")[2] for name in names[2:]}
    assert not halves[0] & halves[1]
    monkeypatch.setattr(sys, "argv", ["replay.py", "--folder", str(tmp_path), "--list"])
    assert replay.main() == 0
    shown = capsys.readouterr().out
    assert all(f"| {name} |" in shown for name in halves[0])
    assert not any(f"| {name} |" in shown for name in halves[1])


def test_recording_replaces_what_was_recorded_before(tmp_path: Path) -> None:
    """What is recorded anew stands in place of the old records of the same workload; the others stay."""
    path = tmp_path / "3.11-idle.jsonl.gz"
    header = evidence_file.header_of(rich_report())
    recording.keep(path, header, [record("a.py::test_a"), record("a.py::test_b")])
    recording.keep(path, header, [replace(record("a.py::test_b"), probe_time_s=9.0)] * 2)
    kept = list(evidence_file.read_records(path))
    assert [one.nodeid for one in kept] == ["a.py::test_a", "a.py::test_b", "a.py::test_b"]
    assert [one.probe_time_s for one in kept[1:]] == [9.0, 9.0]


def test_legs_that_queued_least_are_picked() -> None:
    """The choice goes by queueing alone, whatever the legs gave."""
    legs = [truth.Leg(s_per_call=1.0 + queued, queued=queued) for queued in range(20)]
    assert truth.picked(legs) == [1.0, 2.0, 3.0, 4.0]
    assert len(truth.picked([truth.Leg(s_per_call=1.0, queued=0.0)] * 20)) == 20
    found = truth.ratio([2.0, 2.1, 1.9], [1.0, 1.0, 1.0])
    assert found is not None
    assert found["value"] == 2.0
    assert 0.02 < found["error"] < 0.06
    assert truth.ratio([], [1.0]) is None


@pytest.fixture(scope="module")
def found() -> list[replay.Replayed]:
    """Judge one half of the small corpus of the repository, once."""
    return list(replay.replayed(replay.CORPUS, held_out=False))


class TestCorpus:
    """The small corpus of the repository, its half to work with."""

    def test_every_probe_is_judged(self, found: list[replay.Replayed]) -> None:
        """There are probes of several workloads, idle and beside a busy loop."""
        assert {one.condition.partition(" ")[2] for one in found} >= {"idle", "busy1"}
        assert len({one.name for one in found}) >= 5
        assert all(1 <= one.rounds <= one.recorded for one in found)

    def test_no_answer_of_an_idle_machine_is_wrong(self, found: list[replay.Replayed]) -> None:
        """What was recorded while no busy loop ran is answered as the truth has it, or left open."""
        assert [replay.line(one) for one in found if one.wrong and one.condition.endswith(" idle")] == []
