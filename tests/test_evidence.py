"""Evidence that is kept: raw readings, written down, read and judged again."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

import evidence as made
import pytest
import sessions
from fake_workers import Behaviour, FakeGroup, lost, plan
from reports_fixture import rich_report

from pytest_gilprobe.cli import main
from pytest_gilprobe.model import codec, evidence_file, report_json
from pytest_gilprobe.model.apart_readings import ApartReading
from pytest_gilprobe.model.call_readings import ArgumentsReading, LoopBlock
from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.evidence import EvidenceRecord
from pytest_gilprobe.model.executors import ExecutorReading, ExecutorStart, TaskSeries
from pytest_gilprobe.model.extension_imports import ExtensionImport
from pytest_gilprobe.model.ladder import Ladder, Step, StretchReading
from pytest_gilprobe.model.own_gils import GilLooks
from pytest_gilprobe.model.pools import PoolRound
from pytest_gilprobe.model.readings import BatchReading, GilSamples, LoopPass
from pytest_gilprobe.model.report_json import ReportError
from pytest_gilprobe.model.results import Callee, Caution, Transfer
from pytest_gilprobe.model.settings import Expectation
from pytest_gilprobe.model.sharing import SharingReading, Suspect
from pytest_gilprobe.model.stacks import Frame
from pytest_gilprobe.model.words import GilMethod, Outcome, Sleep, Status
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.plugin.evidence import ProbeEvidence, SessionEvidence, as_text, from_text
from pytest_gilprobe.probing.prober import ProbeRunner
from pytest_gilprobe.probing.survey import Surveyor
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict import candidates, judge_again
from pytest_gilprobe.verdict.judge_again import judged_again

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.workers.parent.group import WorkerGroup

CPU = Behaviour(call_s=0.02, busy=1.0, gains={"threads": 1.0, "processes": 2.0})
WAITS = Behaviour(call_s=0.02, busy=0.02, gains={"threads": 2.0, "processes": 2.0})
NOTHING_HELPS = Behaviour(call_s=0.02, busy=1.0, gains={"threads": 1.0, "processes": 1.0})
UNDECIDED = Behaviour(call_s=0.02, busy=1.0, gains={"threads": 1.0, "processes": 1.3})
SERIAL_BATCH = ("measurement", "rounds", 0, "batches", "serial")
NO_LANES = r"line 2: measurement\.rounds\[0\]\.batches\.serial: a batch has lanes, each with calls that end, found none"
EXPECTED = Expectation(strategies=frozenset({"threads"}))


def probe(group: FakeGroup, **changes: Any) -> tuple[WorkloadResult, EvidenceRecord]:
    """Probe the pretended workload on a machine of two CPUs; return the result and what was kept."""
    kept: list[EvidenceRecord] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "usable_cpus", lambda: 2)
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        runner = ProbeRunner(
            group=cast("WorkerGroup", group),
            surveyor=Surveyor(cast("WorkerGroup", group)),
            strategies=BUILT_IN,
            progress=lambda _: None,
            keep_evidence=kept.append,
        )
        result = runner.probe(plan(**changes), keep=0, known_call_s=0.0)
    (record,) = kept
    return result, record


def through_executor(batch: BatchReading) -> BatchReading:
    """Return a batch as if its calls had gone through an executor that the user named."""
    single = TaskSeries(tasks=3, calls_per_task=1, wall_ns=5)
    start = ExecutorStart(
        factory="m:f",
        kind="m.Pool",
        workers=2,
        start_up_s=0.1,
        round_trip_s=0.2,
        task_s=0.3,
        data_s=0.4,
        curve=(single,),
    )
    read = ExecutorReading(start=start, single=single, chunked=replace(single, calls_per_task=8), rss_bytes=7)
    return replace(batch, workers=tuple(replace(one, executor=read) for one in batch.workers))


def full_record() -> EvidenceRecord:
    """Make a record with a value in each field that has one."""
    sampled = replace(
        made.gil_samples(0.5),
        holder=(1,) * 400,
        switches=(2,) * 400,
        runnable=(True,) * 400,
        same_core=(False,) * 400,
        queue_ns=(3,) * 400,
    )
    base = made.serial(gil=sampled, waits=3, preemptions=1)
    looked_at = replace(made.processes(), own_gils=GilLooks(at_ns=(1, 2), held=(3, 1)))
    measured = made.measurement(
        made.round_(base, threads=made.threads(), processes=through_executor(made.processes()), interpreters=looked_at),
        first_call_s=0.1,
        start_up_s=0.2,
        apart={
            "interpreters": ApartReading(
                start_up_s=0.3, lane_start_up_s=0.2, extensions=(ExtensionImport(name="a.b", loads=False),)
            )
        },
        holders_unread="this Python keeps its frames elsewhere",
        throttled_share=0.01,
        tracers=("coverage",),
        left_changed=("os.environ",),
        no_time_for=frozenset({"processes", "threads"}),
        controls=(made.control(),),
        heartbeat=made.serial(gil=made.gil_samples(0.4, method=GilMethod.HEARTBEAT)),
        callee=Callee(module="shop", name="work", awaited=True, awaited_by="trio"),
        transfer=Transfer(argument_bytes=1, result_bytes=2, pipe_s=0.1, parent_s=0.05, worker_s=0.05),
        arguments=ArgumentsReading(),
        awaited=True,
        loop_hidden="why",
        sharing=SharingReading(
            lanes=2,
            rounds=({"alone": 1e-3, "shared": 4e-3, "all of them": 1e-3, "control": 2e-3, "control alone": 1e-3},) * 4,
            not_copied={"argument file (a TextIOWrapper)": "an open file"},
            not_tried=("argument rows (a list)",),
            suspects=(Suspect(name="COUNTS (a dict)", file="shop/orders.py", line=12, held_share=0.6),),
        ),
        pool_rounds=(
            PoolRound(
                alone=TaskSeries(tasks=4, calls_per_task=1, wall_ns=9),
                pooled={"threads": TaskSeries(tasks=8, calls_per_task=1, wall_ns=7)},
                cpus_ns=3,
                cpus_idle_ns=2,
                own_cpu_ns=1,
            ),
        ),
        pools_ended="time was up",
        ladders={
            "threads": Ladder(
                steps=(
                    Step(
                        workers=2,
                        begin_ns=1,
                        settled_ns=2,
                        until_ns=9,
                        calls_per_mark=3,
                        readings=(StretchReading(marks_ns=((3, 10), (4, 11)), queued_ns=None, process_cpu_ns=5),),
                        sleeps={Sleep.LOCK: 3, Sleep.CALL: 1},
                        throttled_s=0.5,
                    ),
                ),
                failed_at=4,
                outcome=Outcome.FAILED,
                error="no",
                machine=(Step(workers=1, begin_ns=9, settled_ns=10, until_ns=12, calls_per_mark=1, readings=()),),
            )
        },
        loop_pass=LoopPass(
            blocks=(LoopBlock(start_ns=1, wall_ns=2, cpu_ns=3, queue_ns=4, waits=5),),
            samples=GilSamples(
                method=GilMethod.MEMORY,
                at_ns=(1,),
                held=(True,),
                late_ns=(2,),
                sleeps=(Sleep.EVENTS,),
                stack=(0,),
                loop_stack=(0,),
                stacks=((Frame(function="work", file="shop.py", line=1),),),
            ),
        ),
    )
    found = replace(rich_report().workloads[0], strategies={"serial": rich_report().workloads[0].strategies["serial"]})
    record = EvidenceRecord.of(plan(expectation=EXPECTED), found, measured, made.machine(noise=0.04))
    return replace(
        record, strategies=("threads", "processes"), added=(Caution(slug="not-importable", message="é \udc80"),)
    )


def write(path: Path, *records: EvidenceRecord) -> Path:
    """Write an evidence file."""
    evidence_file.write(path, rich_report(), records)
    return path


class TestJudgedAgain:
    @pytest.mark.parametrize("expectation", [Expectation(), EXPECTED], ids=["free", "expects threads"])
    @pytest.mark.parametrize("behaviour", [CPU, WAITS, NOTHING_HELPS, UNDECIDED])
    def test_result_is_that_of_the_session(
        self, behaviour: Behaviour, expectation: Expectation, tmp_path: Path
    ) -> None:
        """What a probe found follows from its evidence alone, written down and read: every field is equal."""
        found, record = probe(FakeGroup(behaviour), expectation=expectation)
        assert found.status is Status.PROBED
        (read,) = evidence_file.read_records(write(tmp_path / "e.jsonl.gz", record))
        again = judged_again(read, BUILT_IN.get)
        assert replace(again, verdict=found.verdict) == found
        extra = again.verdict.cautions[len(found.verdict.cautions) :]
        assert replace(again.verdict, cautions=found.verdict.cautions) == found.verdict
        assert {one.slug for one in extra} <= {"expectation-unchecked"}

    def test_workload_that_could_not_be_measured(self, tmp_path: Path) -> None:
        """A probe that found nothing to measure is in the evidence with its reason."""
        found, record = probe(FakeGroup(refuses=lost()))
        (read,) = evidence_file.read_records(write(tmp_path / "e.jsonl.gz", record))
        assert found.status is Status.NOT_PROBED
        assert judged_again(read, BUILT_IN.get) == found

    def test_error_of_this_tool(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Readings that the tool failed to judge are kept, and judged when the tool is mended."""
        with monkeypatch.context() as broken:
            broken.setattr(candidates, "left", lambda *_: 1 / 0)
            found, record = probe(FakeGroup(CPU))
            assert judged_again(record, BUILT_IN.get).status is Status.ERROR
        assert (found.status, record.status) == (Status.ERROR, Status.ERROR)
        assert "ZeroDivisionError" in (record.reason or "")
        again = judged_again(record, BUILT_IN.get)
        assert (again.status, again.verdict.strategy) == (Status.PROBED, "processes")

    def test_strategy_that_is_not_known_here(self) -> None:
        """A strategy of a plugin that the reader lacks is left out, and the result says so."""
        _, record = probe(FakeGroup(WAITS))
        again = judged_again(record, lambda name: None if name == "threads" else BUILT_IN.get(name))
        assert list(again.strategies) == ["serial", "threads", "processes", "interpreters"]
        assert (again.strategies["threads"].outcome, again.verdict.strategy) == (Outcome.SKIPPED, "processes")
        assert again.strategies["threads"].error == judge_again.NOT_KNOWN

    def test_caution_that_no_reading_shows(self) -> None:
        """A caution that the session had added is there again if the answer is the same, and only then."""
        _, record = probe(FakeGroup(WAITS))
        record = replace(record, added=(Caution(slug="not-importable", message="x"),))
        assert "not-importable" in {one.slug for one in judged_again(record, BUILT_IN.get).verdict.cautions}
        other = judged_again(replace(record, strategy="serial"), BUILT_IN.get)
        assert "not-importable" not in {one.slug for one in other.verdict.cautions}

    def test_last_line_counts(self, tmp_path: Path) -> None:
        """Of a test that was probed twice, as after a rerun, the report has the last probe."""
        _, first = probe(FakeGroup(CPU))
        _, second = probe(FakeGroup(WAITS))
        path = write(tmp_path / "e.jsonl.gz", first, second)
        (only,) = judge_again.report_again(path, BUILT_IN.get).workloads
        assert only.verdict.strategy == "threads"


class TestFile:
    def test_roundtrip(self, tmp_path: Path) -> None:
        """Every field of every record survives."""
        record = full_record()
        path = write(tmp_path / "e.jsonl.gz", record, record)
        assert list(evidence_file.read_records(path)) == [record, record]
        header, report = evidence_file.read_header(path), rich_report()
        assert (header.environment, header.created) == (report.environment, report.created)

    def test_every_field_is_tried(self) -> None:
        """The roundtrip above would notice a field that is not written, whenever it was added."""
        seen = {type(one) for one in walk(full_record())}
        for kind in kinds(EvidenceRecord):
            assert kind in seen or kind.__name__ in {"BadEnd", "Estimate", "Contrast"}, kind
            assert callable(codec.decoder(cast("Any", kind)))

    def test_uncompressed(self, tmp_path: Path) -> None:
        """A file that somebody has unpacked is read, too."""
        path = write(tmp_path / "e.jsonl.gz", full_record())
        (tmp_path / "e.jsonl").write_bytes(gzip.decompress(path.read_bytes()))
        assert list(evidence_file.read_records(tmp_path / "e.jsonl")) == [full_record()]

    def test_unknown_key_is_ignored(self, tmp_path: Path) -> None:
        """Readings that a later release has added do not keep an earlier one from reading the rest."""
        first, second = lines(write(tmp_path / "e.jsonl.gz", full_record()))
        second["measurement"]["new"] = second["new"] = [1]
        path = save(tmp_path, first, second)
        assert list(evidence_file.read_records(path)) == [full_record()]

    @pytest.mark.parametrize(
        ("keys", "value", "said"),
        [
            ((0, "format"), "x", 'line 1: format: found "x", allowed: "gilprobe-evidence", a file that --gilprobe-'),
            ((0, "version"), 2, r"line 1: version: found 2, allowed: 1; made by a newer pytest-gilprobe \("),
            ((0, "version"), "1", 'line 1: version: found "1", allowed: 1$'),
            ((0, "environment"), [], "line 1: environment: found a list, allowed: an object"),
            ((0, "tool"), {}, "line 1: tool_version: found null, allowed: text"),
            ((1, "status"), "x", 'line 2: status: found "x", allowed: one of probed, scanned, not_probed, error'),
            ((1, "strategies"), ["?"], r"line 2: a strategy's name looks like .*, found '\?'"),
            ((1, "strategies"), ["new"], "line 2: measurement.ends says how .* ended, found nothing of new"),
            ((1, "machine"), None, "line 2: a workload that was probed has a machine and a measurement"),
            ((1, "measurement", "rounds", 0, "batches"), 3, r"line 2: measurement\.rounds\[0\]\.batches: found 3, al"),
            ((1, "measurement", "rounds", 0, "batches"), {}, r"rounds\[0\]: a round has a batch of serial calls"),
            ((1, *SERIAL_BATCH, "workers"), [], NO_LANES),
            (
                (1, *SERIAL_BATCH, "workers", 0, "lanes", 0, "calls"),
                0,
                NO_LANES,
            ),
            (
                (1, *SERIAL_BATCH, "workers", 0, "lanes", 0, "end_ns"),
                0,
                NO_LANES,
            ),
            ((1, "measurement", "workers"), 10**40, r"measurement\.workers: found 10+\.*, allowed: 1 to 4096"),
            ((1, "plan", "workers"), "2", 'line 2: plan.workers: found "2", allowed: a whole number'),
        ],
    )
    def test_wrong_value(self, keys: tuple[Any, ...], value: object, said: str, tmp_path: Path) -> None:
        """A wrong value is refused with file, line, path, what was found and what is allowed."""
        members = lines(write(tmp_path / "e.jsonl.gz", full_record()))
        place: Any = members
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        path = save(tmp_path, *members)
        with pytest.raises(ReportError, match=said) as caught:
            list(evidence_file.read_records(path))
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "line 1: column 1: not JSON"),
            (b"{", "line 1: column 2: not JSON"),
            (b"[]", "line 1: found a list, allowed: an object"),
            (b'{"a": NaN}', "line 1: not JSON: found NaN, allowed: finite numbers and null"),
            (b"\xff\xfe\x00", "line 1: not JSON text, allowed: a file that --gilprobe-evidence has written"),
            (b"\x1f\x8b", "after line 0: the file is damaged or not complete"),
            (gzip.compress(b"{}", mtime=0)[:-4], "the file is damaged or not complete"),
            (gzip.compress(b"x" * 100, mtime=0)[:-12] + b"\xff" * 12, "the file is damaged or not complete"),
        ],
    )
    def test_wrong_file(self, content: bytes, said: str, tmp_path: Path) -> None:
        """What is no evidence file is refused in one line."""
        (tmp_path / "e").write_bytes(content)
        with pytest.raises(ReportError, match=said):
            evidence_file.read_header(tmp_path / "e")

    def test_missing_file(self, tmp_path: Path) -> None:
        """A file that is not there is named."""
        with pytest.raises(ReportError, match="none: cannot be read: No such file or directory"):
            evidence_file.read_header(tmp_path / "none")

    def test_number_that_is_not_finite(self) -> None:
        """A number that JSON cannot hold is refused with its path, and a session keeps the reason in its place."""
        record = replace(full_record(), probe_time_s=1.0, machine=made.machine(noise=float("nan")))
        with pytest.raises(ReportError, match=r"machine\.noise: found nan, allowed: a finite number; it was not kept"):
            evidence_file.pack(record)
        noted = ProbeEvidence()
        noted.note(record)
        (packed,) = noted.packed(record.plan, rich_report().workloads[0], 1)
        assert json.loads(gzip.decompress(packed))["reason"].endswith("it was not kept")


class TestSession:
    def test_memory_does_not_hold_the_lines(self, tmp_path: Path) -> None:
        """A session's lines are on disk until the file is written, whole, in one step, from all of them."""
        kept, packed = SessionEvidence(tmp_path), evidence_file.pack(full_record())
        for _ in range(3):
            kept.keep([from_text(as_text(packed))])
        assert not kept.path.exists()
        assert kept.write([rich_report()]) == ()
        assert list(evidence_file.read_records(kept.path)) == [full_record()] * 3
        assert [path.name for path in tmp_path.iterdir()] == [kept.path.name]

    def test_with_the_gil_and_without(self, tmp_path: Path) -> None:
        """Under ``--gilprobe-ab-gil`` each half has its file, and only the first its marker's expectation."""
        record = full_record()
        noted = ProbeEvidence()
        noted.note(record)
        noted.note(record)
        kept = SessionEvidence(tmp_path)
        kept.keep(noted.packed(record.plan, rich_report().workloads[0], 2))
        assert kept.write([rich_report(), rich_report()]) == ()
        own, other = (next(evidence_file.read_records(path)) for path in sorted(tmp_path.iterdir(), reverse=True))
        assert (own.plan.expectation, other.plan.expectation) == (EXPECTED, Expectation())

    def test_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        """What could not be written is said in one line that names the flag."""
        (tmp_path / "file").write_text("")
        kept = SessionEvidence(tmp_path / "file")
        (said,) = kept.write([rich_report()])
        assert said.startswith("--gilprobe-evidence: could not write to ")

    def test_probe_that_was_interrupted(self) -> None:
        """A test without a complete probe has a record that says so."""
        noted, result = ProbeEvidence(), rich_report().workloads[0]
        noted.note(full_record())
        packed = noted.packed(plan(), replace(result, status=Status.NOT_PROBED, reason="why"), 2)
        assert [json.loads(gzip.decompress(one))["reason"] for one in packed] == ["why", "why"]
        assert [json.loads(gzip.decompress(one))["measurement"] for one in packed] == [None, None]


class TestCommand:
    @pytest.mark.parametrize(("name", "start"), [("x.md", "## "), ("x.html", "<!DOCTYPE html>"), ("x.txt", "CPython ")])
    def test_judge_draws_as_render(self, name: str, start: str, tmp_path: Path) -> None:
        """``gilprobe judge`` draws a report in each form, and writes it as JSON if asked."""
        found, record = probe(FakeGroup(CPU))
        path = write(tmp_path / "e.jsonl.gz", record)
        assert main(["judge", str(path), "-o", str(tmp_path / name), "--json", str(tmp_path / "r.json")]) == 0
        assert (tmp_path / name).read_text("utf-8").startswith(start)
        report = report_json.read(tmp_path / "r.json")
        assert report.workloads == (found,)
        assert (report.created, report.environment) == (rich_report().created, rich_report().environment)

    def test_judge_wrong_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A report in place of evidence is refused with status 2 and one line."""
        report_json.write_atomic(tmp_path / "a.json", report_json.to_json(rich_report()))
        assert main(["judge", str(tmp_path / "a.json")]) == 2
        assert capsys.readouterr().err.startswith(f"gilprobe: error: {tmp_path / 'a.json'}: line 1: column ")

    def test_nothing_was_kept(self, tmp_path: Path) -> None:
        """Evidence that was not asked for cannot be written."""
        from pytest_gilprobe.probing.probed import Probed  # noqa: PLC0415 - only here

        with pytest.raises(GilprobeError, match=r"not kept: probe with Prober\(evidence=True\)"):
            Probed(report=rich_report()).write_evidence(tmp_path / "e")


def test_who_keeps_no_evidence_imports_none_of_it() -> None:
    """A session that probes without the flag does not load what keeps evidence, nor gzip."""
    code = (
        "import sys; import pytest_gilprobe.plugin.session, pytest_gilprobe.plugin.xdist; "
        "print([name for name in sys.modules if 'evidence' in name or name == 'gzip'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


SUITE = """
import time
import pytest

@pytest.mark.gilprobe(expect="processes")
def test_waits():
    time.sleep(0.02)

@pytest.mark.gilprobe(strategies="threads")
def test_passes_a_function(gilprobe):
    gilprobe(sorted, list(range(10_000)))

@pytest.mark.gilprobe(expect="threads")
@pytest.mark.skip
def test_skipped(): pass
"""


@pytest.mark.parametrize(
    "flags",
    [pytest.param((), id="alone"), pytest.param(("-p", "xdist", "-n1"), id="xdist", marks=pytest.mark.thorough)],
)
def test_session_and_judge_agree(
    flags: tuple[str, ...], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report judged again from a real session's evidence is the session's report, alone and under pytest-xdist."""
    if flags:
        pytest.importorskip("xdist")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_gilprobe.plugin")
    pytester.makepyfile(SUITE)
    asked = (
        "-p",
        "no:cacheprovider",
        f"--gilprobe-max-time={sessions.budget(0.5)}",
        "--gilprobe-report",
        "--gilprobe-evidence",
    )
    result = pytester.runpytest_subprocess(*asked, *flags, timeout=120)
    result.stdout.fnmatch_lines(["gilprobe: the evidence is kept in reports/gilprobe-evidence.jsonl.gz"])
    session = report_json.read(pytester.path / "reports" / "gilprobe.json")
    assert [one.status for one in session.workloads] == [Status.PROBED, Status.PROBED, Status.NOT_PROBED]
    again = judge_again.report_again(pytester.path / "reports" / "gilprobe-evidence.jsonl.gz", BUILT_IN.get)
    assert again == session


POOLS = """
from concurrent.futures import ThreadPoolExecutor

def pool():
    return ThreadPoolExecutor(2)
"""


@pytest.mark.thorough
def test_executors_and_interpreters_are_judged_again(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the executor's factory nor a Python that has interpreters is needed to judge what was read."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_gilprobe.plugin")
    pytester.makepyfile(pools=POOLS, test_it="def test_it(gilprobe):\n    gilprobe(sorted, list(range(10_000)))\n")
    asked = ("--gilprobe-strategies=interpreters,executor:mine", "--gilprobe-executor=mine=pools:pool")
    kept = (
        "-p",
        "no:cacheprovider",
        "--gilprobe-all",
        f"--gilprobe-max-time={sessions.budget(2.0)}",
        "--gilprobe-evidence",
    )
    pytester.syspathinsert()
    pytester.runpytest_subprocess(*asked, *kept, "--gilprobe-report", timeout=120).assert_outcomes(passed=1)
    session = report_json.read(pytester.path / "reports" / "gilprobe.json")
    assert {"interpreters", "executor:mine"} <= session.workloads[0].strategies.keys()
    again = judge_again.report_again(pytester.path / "reports" / "gilprobe-evidence.jsonl.gz", BUILT_IN.get)
    assert again == session


# What the tests above go through


def lines(path: Path) -> list[dict[str, Any]]:
    """Read the lines of an evidence file as they are."""
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def save(folder: Path, *members: dict[str, Any]) -> Path:
    """Write such lines."""
    path = folder / "changed.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, members)).encode("ascii")))
    return path


def kinds(hint: Any) -> Iterator[type[Any]]:
    """List the record classes that a type hint is made of, with those of their fields."""
    if is_dataclass(hint):
        yield cast("type[Any]", hint)
        for inner in get_type_hints(hint).values():
            yield from kinds(inner)
    for inner in get_args(hint):
        yield from kinds(inner)


def walk(value: Any) -> Iterator[Any]:
    """List the records within a record."""
    if is_dataclass(value):
        yield value
        for field in fields(value):
            yield from walk(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from walk(item)
    elif hasattr(value, "values"):
        for item in value.values():
            yield from walk(item)
