"""Whatever a workload does wrong, the session goes on, the report says it, the next workload is measured.

Nothing is left.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import sessions
from faults import FAULTS, FOLLOWER, TIMEOUT_S, Fault

from pytest_gilprobe.model.words import NOT_ASKED
from pytest_gilprobe.workers.parent import cleanup

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = os.environ.get("GILPROBE_WRITE_FAULTS")
"""Where to write the table of `docs/faults.md`; unset, nothing is written."""
SESSION_S = 60
MARK = "GILPROBE_FAULT_SESSION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one session with a fault came to."""

    fault: Fault
    exit_status: int
    output: str
    workloads: dict[str, dict[str, Any]]
    left: tuple[str, ...]

    @property
    def faulty(self) -> dict[str, Any]:
        return self.workloads["test_it.py::test_fault"]

    @property
    def following(self) -> dict[str, Any]:
        return self.workloads["test_it.py::test_next"]

    def row(self) -> str:
        """Draw a line of the table."""
        said = self.faulty
        parts = [said["status"].replace("_", " ")]
        if said["reason"]:
            parts.append(_short(said["reason"]))
        parts += [
            f"{name} {part['outcome']}: {_short(part['error'])}"
            for name, part in said["strategies"].items()
            if said["status"] == "probed" and part["outcome"] != "ok" and part["error"] != NOT_ASKED
        ]
        parts += [
            _short(caution["message"]) for caution in said["verdict"]["cautions"] if caution["slug"] == "leaves-changed"
        ]
        cells = (
            self.fault.name,
            "; ".join(parts),
            f"{said['probe_time_s']:.1f} s",
            self.following["status"],
            str(len(self.left)),
        )
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _short(text: str) -> str:
    """Keep the first line and the one that says where or what: no paths or numbers of this machine or run."""
    plain = re.sub(r'"[^"]*/([^"/]+)"', r'"\1"', re.sub(r"0x[0-9a-f]+|(?<=process )\d+", "N", text))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    stack = "killed" in lines[0]
    where = [line for line in lines[1:] if line.startswith(('File "test_it.py"', 'File "conftest.py"'))]
    last = where[-1:] if stack and where else lines[-1:]
    return " ... ".join(dict.fromkeys([lines[0], *last]))


def run(fault: Fault, folder: Path) -> Seen:
    """Run a session over the faulty test and one behind it."""
    (folder / "test_it.py").write_text(fault.source, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    mark = uuid.uuid4().hex
    limits = ["--gilprobe-max-time=0.5", f"--gilprobe-timeout={TIMEOUT_S}", "--gilprobe-workers=2", "--gilprobe-report"]
    command = [sys.executable, "-m", "pytest", *sessions.QUIET, *limits, *fault.arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | sessions.ALONE | {MARK: mark} | fault.environment,
        capture_output=True,
        text=True,
        timeout=SESSION_S,
        check=False,
    )
    report = folder / "reports" / "gilprobe.json"
    workloads = json.loads(report.read_text("utf-8"))["workloads"] if report.exists() else []
    return Seen(
        fault=fault,
        exit_status=done.returncode,
        output=done.stdout + done.stderr,
        workloads={workload["nodeid"]: workload for workload in workloads},
        left=left_of(mark),
    )


def left_of(mark: str) -> tuple[str, ...]:
    """Name the processes of a session that are still there, killed ones not counted, and end them."""
    time.sleep(0.05)
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
                process.kill()
        except psutil.Error:
            continue
    return tuple(found)


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Collect the rows; write the table down if that is asked for."""
    rows: list[str] = []
    yield rows
    if TABLE is not None and rows:
        head = (
            "# Faults\n\n"
            "Written by `GILPROBE_WRITE_FAULTS=docs/faults.md pytest tests/test_faults.py`. Each fault is one session "
            "of two tests, the faulty one\n"
            f"and one behind it, with `--gilprobe-max-time=0.5 --gilprobe-timeout={TIMEOUT_S}`. The faulty test "
            "passes in pytest's own run.\n"
            "*Time* is the faulty test's whole probe, with replacing of workers; *next* is what became of the test "
            "behind it; *left* is how many processes\n"
            f"were left when the session had ended. Python {sys.version.split()[0]} on {sys.platform}.\n\n"
            "| fault | what the report says | time | next | left |\n|---|---|---|---|---|\n"
        )
        Path(TABLE).write_text(head + "\n".join(rows) + "\n", encoding="utf-8")


def assert_as_if_nothing_had_happened(following: dict[str, Any]) -> None:
    """On a busy machine a strategy may not fit into the time; nothing else may be wrong."""
    assert following["status"] == "probed", following
    for part in following["strategies"].values():
        assert part["outcome"] == "ok" or part["impossible"] or sessions.is_late(part), following


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault(fault: Fault, tmp_path: Path, table: list[str]) -> None:
    """The session passes, the report tells the fault, the next test is probed in full, and no process is left."""
    seen = run(fault, tmp_path)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    faulty, text = seen.faulty, json.dumps(seen.faulty)
    assert fault.status in {faulty["status"], "any"}, text
    for strategy in ("threads", "processes"):
        expected = getattr(fault, strategy)
        part = faulty["strategies"][strategy]
        as_expected = expected in {part["outcome"], "any"}
        assert as_expected or (expected == "ok" and sessions.is_late(part)), text
    assert [words for words in fault.said if words not in text] == [], text
    assert "pytest_gilprobe" not in text, text
    assert_as_if_nothing_had_happened(seen.following)
    assert seen.left == ()
    table.append(seen.row())


LONG = """
import time
import pytest

@pytest.mark.gilprobe(max_time=1)
def test_quick():
    time.sleep(0.005)

@pytest.mark.gilprobe(max_time=1)
def test_long(stage):
    stage("batch")
    time.sleep(0.005)

@pytest.mark.gilprobe
def test_last():
    pytest.skip("so workers keep their session's fixtures until the end")
"""
CONFTEST = """
import os, pathlib, time
import pytest

def reached(name, in_worker=True):
    if ("PYTEST_GILPROBE_WORKER" in os.environ) is in_worker and name == os.environ["STAGE"]:
        pathlib.Path(os.environ["REACHED"]).touch()
        time.sleep(60)

reached("start-up")

def pytest_collectstart():
    reached("collection")

def pytest_runtest_setup(item):
    if item.name == "test_last":
        reached("idle", in_worker=False)

@pytest.fixture(scope="session")
def whole_session():
    yield
    reached("end")

@pytest.fixture
def stage(whole_session):
    reached("set-up")
    yield reached
    reached("tear-down")
"""
STAGES = ("start-up", "collection", "set-up", "batch", "tear-down", "idle", "end")
SOON_S = 10
"""Far less than what the stages last; how long it takes in fact is in the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """How a session ended that was sent a signal."""

    status: int
    took_s: float
    output: str
    left: tuple[str, ...]


def stop(folder: Path, stage: str, number: signal.Signals, *flags: str) -> Stopped:
    """Start a session, send a signal to its process group when a worker reaches ``stage``, and see how it ends."""
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_it.py").write_text(LONG, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    mark, reached = uuid.uuid4().hex, folder / "reached"
    own = {MARK: mark, "STAGE": stage, "REACHED": str(reached), "TMPDIR": str(folder)}
    command = sessions.command("--gilprobe-timeout=30", "-v", *flags)
    with (folder / "out.txt").open("w+b") as out:
        session = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | sessions.ALONE | own,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        until = time.monotonic() + SESSION_S
        while not reached.exists():
            assert session.poll() is None, (folder / "out.txt").read_text("utf-8")
            assert time.monotonic() < until, (folder / "out.txt").read_text("utf-8")
            time.sleep(0.02)
        sent = time.monotonic()
        os.killpg(session.pid, number)
        status = session.wait(SOON_S)
        took = time.monotonic() - sent
    time.sleep(0.2)
    return Stopped(status=status, took_s=took, output=(folder / "out.txt").read_text("utf-8"), left=left_of(mark))


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c(stage: str, tmp_path: Path, table: list[str]) -> None:
    """Ctrl-C ends the session at once, whatever the workers are busy with.

    What was measured is reported and written.
    """
    reports = tmp_path / "reports"
    seen = stop(tmp_path, stage, signal.SIGINT, f"--gilprobe-report-dir={reports}")
    status = pytest.ExitCode.OK if stage == "end" else pytest.ExitCode.INTERRUPTED
    assert seen.status == status, seen.output
    workloads = json.loads((reports / "gilprobe.json").read_text("utf-8"))["workloads"]
    statuses = {workload["nodeid"].partition("::")[2]: workload["status"] for workload in workloads}
    probed = {"start-up": 0, "collection": 0, "idle": 2, "end": 2}.get(stage, 1)
    expected = ["probed"] * probed + ["not_probed"] * (stage != "idle")
    assert statuses == dict(zip(["test_quick", "test_long", "test_last"], expected, strict=False))
    assert ("test_last SKIPPED" in seen.output) is (stage == "end")
    assert seen.left == ()
    table.append(
        f"| Ctrl-C, workers at {stage} | reported and written so far, exit status {status} | {seen.took_s:.1f} s | - "
        "| 0 |"
    )


KILLER = """
import os, pathlib, threading, time
import pytest

REACHED = pathlib.Path("reached")
IN_WORKER = "PYTEST_GILPROBE_WORKER" in os.environ

def kill_who_reaches():
    import signal
    while not (REACHED.exists() and REACHED.read_text()):
        time.sleep(0.01)
    os.kill(int(REACHED.read_text()), signal.SIGKILL)
    REACHED.with_name("killed").touch()

if not IN_WORKER:
    threading.Thread(target=kill_who_reaches, daemon=True).start()

def reached(name):
    if IN_WORKER and name == os.environ["STAGE"]:
        try:
            file = open(REACHED, "x")
        except FileExistsError:
            return
        with file:
            file.write(str(os.getpid()))
        if name != "idle":
            time.sleep(60)

reached("start-up")

def pytest_collectstart():
    reached("collection")

@pytest.fixture(scope="session")
def whole_session():
    yield
    reached("end")

@pytest.fixture
def stage(whole_session):
    reached("set-up")
    yield reached
    reached("tear-down")

def pytest_runtest_logfinish(nodeid):
    if IN_WORKER and "test_fault" in nodeid:
        reached("idle")
"""
KILLED = """
import os, pathlib, time
import pytest

@pytest.mark.gilprobe
def test_fault(stage):
    stage("batch")
    time.sleep(0.01)

def test_between():
    until = time.monotonic() + 10
    while os.environ["STAGE"] == "idle" and not pathlib.Path("killed").exists() and time.monotonic() < until:
        time.sleep(0.01)

@pytest.mark.gilprobe
def test_next(stage):
    time.sleep(0.01)
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_worker(stage: str, tmp_path: Path, table: list[str]) -> None:
    """A worker that is killed from outside, whatever it is at, is replaced; later tests never notice."""
    (tmp_path / "conftest.py").write_text(KILLER, encoding="utf-8")
    name = f"a worker is killed from outside at {stage}"
    fault = Fault(name=name, body="", text=KILLED, environment={"STAGE": stage})
    seen = run(fault, tmp_path)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    assert (tmp_path / "killed").exists(), seen.output
    text = json.dumps(seen.faulty)
    told = stage in {"set-up", "batch"}
    assert ("SIGKILL" in text) is told, text
    if not told:
        assert_as_if_nothing_had_happened(seen.faulty)
    assert_as_if_nothing_had_happened(seen.following)
    assert seen.left == ()
    table.append(seen.row())


@pytest.mark.thorough
def test_hang_in_collection(tmp_path: Path, table: list[str]) -> None:
    """Workers that hang while they collect cost the session one time-out, and the report shows where they hung."""
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    text = "import time, pytest\n" + FOLLOWER + FOLLOWER.replace("test_next", "test_fault")
    fault = Fault(
        name="hangs in collection",
        body="",
        text=text,
        environment={"STAGE": "collection", "REACHED": str(tmp_path / "reached")},
    )
    seen = run(fault, tmp_path)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    for workload in (seen.faulty, seen.following):
        assert workload["status"] == "not_probed"
        assert "killed" in workload["reason"]
        assert "in pytest_collectstart" in workload["reason"]
        assert "conftest.py" in workload["reason"]
    assert seen.faulty["probe_time_s"] < TIMEOUT_S / 2, "the second test waited again"
    assert seen.left == ()
    table.append(seen.row())


ONLY_ONE = """
import fcntl, os, time
import pytest

@pytest.fixture(scope="session")
def only_one():
    with open(__file__) as file:
        if "PYTEST_GILPROBE_WORKER" in os.environ:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield

@pytest.mark.gilprobe
def test_fault(only_one):
    time.sleep(0.01)

@pytest.mark.gilprobe
def test_next(only_one):
    time.sleep(0.01)
"""


@pytest.mark.thorough
def test_fixture_that_hangs_in_the_second_process(tmp_path: Path, table: list[str]) -> None:
    """A session's fixture that one process only can have costs one time-out, and both tests are measured in one."""
    seen = run(
        Fault(name="hangs in set-up of a session's fixture in a second process", body="", text=ONLY_ONE), tmp_path
    )
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    for workload, outcome in ((seen.faulty, "hung"), (seen.following, "skipped")):
        assert workload["status"] == "probed", workload
        threads = workload["strategies"]["threads"]
        assert threads["outcome"] == "ok" or sessions.is_late(threads), workload
        assert workload["strategies"]["processes"]["outcome"] == outcome, workload
    assert "in only_one" in seen.faulty["strategies"]["processes"]["error"]
    assert "its fixture only_one hung there" in seen.following["strategies"]["processes"]["error"]
    assert seen.following["probe_time_s"] < TIMEOUT_S, "the second test waited again"
    assert seen.left == ()
    table.append(seen.row())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_killed(method: str, number: signal.Signals, tmp_path: Path, table: list[str]) -> None:
    """When pytest itself is killed, or its terminal goes away, no worker outlives it, however it was started."""
    seen = stop(tmp_path, "batch", number, f"--gilprobe-start-method={method}")
    assert seen.status == -number, seen.output
    assert seen.left == ()
    table.append(
        f"| {number.name} to pytest, workers by {method} | nothing: pytest is gone | {seen.took_s:.1f} s | - | 0 |"
    )


@pytest.mark.parametrize(
    ("where", "conftest"),
    [
        ("/proc/no-such-folder", ""),
        (
            "full",
            "import errno, os\ndef full(fd): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\nos.fsync = full\n",
        ),
    ],
    ids=["a folder that cannot be made", "a full disk"],
)
def test_unwritable(where: str, conftest: str, tmp_path: Path) -> None:
    """Where the files cannot be written the screen still has the report, and the session says why and fails."""
    (tmp_path / "conftest.py").write_text(conftest, encoding="utf-8")
    sessions.write(tmp_path, SKIPPED)
    done = subprocess.run(
        sessions.command(f"--gilprobe-report-dir={where}", "--gilprobe-max-time=1"),
        cwd=tmp_path,
        env=os.environ | sessions.ALONE,
        capture_output=True,
        text=True,
        timeout=SESSION_S,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout
    assert "ERROR: --gilprobe-report-dir" in done.stdout
    assert "test_it.py" in done.stdout
    assert not [path for path in (tmp_path / "full").glob("*") if path.name.startswith(".")]


def test_folder_of_a_killed_session(tmp_path: Path) -> None:
    """The temporary folder of a session that was killed is removed by a later one.

    That of a session that runs is not.
    """
    killed, running = tmp_path / "gilprobe-killed", tmp_path / "gilprobe-running"
    for folder in (killed, running):
        folder.mkdir()
        (folder / "lock").touch()
        os.utime(folder / "lock", (0, 0))
    with (running / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        cleanup.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["gilprobe-running"]


def test_half_written_report(tmp_path: Path) -> None:
    """A broken report of an earlier run is replaced."""
    sessions.write(tmp_path, SKIPPED)
    (tmp_path / "gilprobe-reports").mkdir()
    (tmp_path / "gilprobe-reports" / "gilprobe.json").write_text('{"schema_version": 1, "workl', encoding="utf-8")
    seen = sessions.run(tmp_path)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    assert list(seen.workloads) == ["test_it.py::test_next"]


SKIPPED = "import pytest\n@pytest.mark.gilprobe\n@pytest.mark.skip\ndef test_next(): pass\n"


@pytest.mark.parametrize(
    "name",
    [
        "raises in threads: an assertion",
        "os._exit",
        pytest.param("changes the environment", marks=pytest.mark.thorough),
    ],
)
def test_some_faults(name: str, tmp_path: Path) -> None:
    """Three faults that are quick to provoke, for every run of these tests."""
    (fault,) = [fault for fault in FAULTS if fault.name == name]
    seen = run(fault, tmp_path)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    assert seen.faulty["status"] == fault.status
    threads = seen.faulty["strategies"]["threads"]
    assert threads["outcome"] == fault.threads or (fault.threads == "ok" and sessions.is_late(threads))
    assert_as_if_nothing_had_happened(seen.following)
    assert seen.left == ()
