"""`pytest_gilprobe.workers.parent.group` and `.child`: real workers, asked, hung, crashed and replaced."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.workers import exit_report
from pytest_gilprobe.workers.executor_messages import DispatchMeasured, MeasureDispatch
from pytest_gilprobe.workers.exit_report import users_frames, users_part
from pytest_gilprobe.workers.parent.group import WorkerGroup
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.protocol import (
    Batch,
    Close,
    Closed,
    Control,
    Done,
    Failed,
    Open,
    Opened,
)
from pytest_gilprobe.workers.worker_spec import WorkerSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_gilprobe.workers.parent.worker import Worker

TESTS = """
import os, signal, threading, time
import pytest

calls = 0

def test_quick():
    pass

def test_sleeps():
    time.sleep(0.001)

def test_fails_later():
    global calls
    calls += 1
    if calls > 2:
        raise ValueError("no more")

def test_hangs_here_for_good():
    threading.Event().wait()

def test_hangs_with_the_gil():
    import ctypes
    ctypes.PyDLL(None).sleep(600)

def test_exits():
    os._exit(3)

def test_killed():
    os.kill(os.getpid(), signal.SIGKILL)

def test_captures(capsys):
    pass

def test_writes_where_it_should_not():
    import stat
    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                os.write(number, b"x\\0\\0\\0"[:3])
                os.write(number, b"x" if os.environ.get("WHOLE") else b"")
        except OSError:
            pass
    threading.Event().wait()

@pytest.fixture(scope="session")
def broken_at_first():
    global calls
    calls += 1
    assert calls > 1, "not yet"

def test_broken_at_first(broken_at_first):
    pass
"""
MARK = "GILPROBE_KILLED_SESSION"
TIMEOUT_S = 30.0
HAS_GIL = (
    sys.platform == "linux" and sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
)
SHORT_S = 1.0


def spec_of(folder: Path, tests: str) -> WorkerSpec:
    """Describe workers for the tests of one file."""
    file = folder / "test_it.py"
    file.write_text(tests)
    names = [line.split("(")[0].removeprefix("def ") for line in tests.splitlines() if line.startswith("def test_")]
    return WorkerSpec(
        arguments=("-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(file)),
        overrides=("--capture=no", "--basetemp={folder}/tmp"),
        plugins=("pytest_gilprobe.plugin",),
        working_dir=str(folder),
        folder="",
        nodeids=frozenset(f"test_it.py::{name}" for name in names),
        files=frozenset({str(file)}),
    )


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], WorkerGroup]]:
    """Make groups of spawned workers, without other plugins, for the tests of a file; end them whatever happened."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    groups: list[WorkerGroup] = []

    def one(tests: str) -> WorkerGroup:
        groups.append(WorkerGroup(spec=spec_of(tmp_path, tests), start_method="spawn", timeout_s=TIMEOUT_S))
        return groups[-1]

    yield one
    for group in groups:
        group.close()


@pytest.fixture
def group(make: Callable[[str], WorkerGroup]) -> WorkerGroup:
    """Make a group for the usual tests."""
    return make(TESTS)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerGroup]:
    """Make one group for all tests that leave their workers as they found them, with no test open."""
    spec = spec_of(tmp_path_factory.mktemp("shared"), TESTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        one = WorkerGroup(spec=spec, start_method="spawn", timeout_s=TIMEOUT_S)
        yield one
        one.close()


def closed(group: WorkerGroup, worker: Worker) -> None:
    """Close the open test."""
    answer = group.ask(worker, Close())
    assert isinstance(answer, Closed), answer


def ready(group: WorkerGroup, count: int = 1) -> list[Worker]:
    found = group.ready(count)
    assert not isinstance(found, Lost), found.error
    return found


def opened(group: WorkerGroup, name: str, count: int = 1) -> list[Worker]:
    """Open a test in so many workers."""
    workers = ready(group, count)
    answers = group.ask_all(workers, Open(nodeid=f"test_it.py::{name}", keep=0))
    assert {type(answer) for answer in answers} == {Opened}, answers
    return workers


def test_worker_serves_one_test_after_another(shared: WorkerGroup) -> None:
    """A worker sets a test up, runs batches serially and in threads, tears it down, and goes on to the next."""
    for name in ("test_quick", "test_sleeps"):
        (worker,) = opened(shared, name)
        serial = shared.ask(worker, Batch(strategy="serial", calls=5))
        threads = shared.ask(worker, Batch(strategy="threads", calls=5, lanes=3))
        assert isinstance(serial, Done)
        assert isinstance(threads, Done)
        assert [one.calls for one in serial.reading.lanes] == [5]
        assert [one.calls for one in threads.reading.lanes] == [5, 5, 5]
        assert isinstance(shared.ask(worker, Close()), Closed)


def test_workers_run_at_the_same_time(group: WorkerGroup) -> None:
    """A batch asked of several workers overlaps, on one clock."""
    workers = opened(group, "test_sleeps", 2)
    answers = group.ask_all(workers, Batch(strategy="serial", calls=200))
    spans = [one.reading.lanes[0] for one in answers if isinstance(one, Done)]
    assert len(spans) == 2
    assert max(span.start_ns for span in spans) < min(span.end_ns for span in spans)
    assert len({worker.ready.pid for worker in workers if worker.ready is not None} | {os.getpid()}) == 3


def test_start_up_is_timed_and_a_worker_is_reused(shared: WorkerGroup) -> None:
    """The time from asking for a worker to its being ready is kept; asked again, the same worker comes."""
    (worker,) = ready(shared)
    assert (worker.start_up_s or 0) > 0
    assert ready(shared) == [worker]


def test_unknown_test_is_a_failure_that_names_it(shared: WorkerGroup) -> None:
    """A test that the worker did not collect cannot be opened, and the worker goes on serving."""
    (worker,) = ready(shared)
    answer = shared.ask(worker, Open(nodeid="test_it.py::test_nowhere", keep=0))
    assert isinstance(answer, Failed)
    assert "test_it.py::test_nowhere" in answer.error
    opened(shared, "test_quick")
    closed(shared, worker)


def test_question_at_the_wrong_time_is_a_failure(shared: WorkerGroup) -> None:
    """A batch without an open test, or a control within one, is refused with a word."""
    (worker,) = ready(shared)
    refused = shared.ask(worker, Batch(strategy="serial", calls=1))
    assert isinstance(refused, Failed)
    assert "no test is open" in refused.error
    opened(shared, "test_quick")
    late = shared.ask(worker, Open(nodeid="test_it.py::test_quick", keep=0))
    assert isinstance(late, Failed)
    assert "a test is open" in late.error
    closed(shared, worker)


def test_call_that_raises_is_a_failure_with_its_traceback(group: WorkerGroup) -> None:
    """A workload that fails in a batch answers with its traceback; the worker lives."""
    (worker,) = opened(group, "test_fails_later")
    answer = group.ask(worker, Batch(strategy="serial", calls=5))
    assert isinstance(answer, Failed)
    assert "ValueError: no more" in answer.error
    assert "test_it.py" in answer.error
    assert worker.alive


def test_strategy_that_must_not_be_tried_is_reported_at_opening(shared: WorkerGroup) -> None:
    """A test that asks for ``capsys`` says that it must not be run in threads, and only in threads."""
    (worker,) = ready(shared)
    answer = shared.ask(worker, Open(nodeid="test_it.py::test_captures", keep=0))
    assert isinstance(answer, Opened)
    assert set(answer.refused) - {"tasks", "interpreters"} == {"threads"}
    assert "capsys" in answer.refused["threads"]
    closed(shared, worker)


def test_stacks_show_the_users_frames_only() -> None:
    """Neither of one thread nor of two whose lines are mixed, since they crashed at once."""
    ours = str(Path(exit_report.__file__).parent / "child" / "server.py")
    one = "Thread 0x1 (most recent call first):\n"
    stack = f'{one}  File "a.py", line 1 in f\n  File "{ours}", line 2 in run\n  File "runpy.py", line 3 in main\n'
    assert users_frames(stack) == f'{one}  File "a.py", line 1 in f'
    mixed = f'Current threadThread 0x1 0x2\n  File "a.py", line 1 in f\n+  File 0x"4{ours} ["0x, line 7\n103  Binary'
    assert users_frames(mixed) == 'Current threadThread 0x1 0x2\n  File "a.py", line 1 in f\n103  Binary'


def test_hung_worker_is_killed_and_replaced(group: WorkerGroup) -> None:
    """No answer within the time limit: the worker is killed, its stacks are reported, and another takes its place."""
    (worker,) = opened(group, "test_hangs_here_for_good")
    pid = worker.process.pid
    answer = group.ask(worker, Batch(strategy="serial", calls=1), SHORT_S)
    assert isinstance(answer, Lost)
    assert answer.outcome is Outcome.HUNG
    assert "test_hangs_here_for_good" in answer.error
    assert ("no thread held the GIL\nits threads then" in answer.error) == HAS_GIL
    assert not worker.alive
    assert not psutil.pid_exists(pid)
    (fresh,) = opened(group, "test_quick")
    assert fresh is not worker


@pytest.mark.thorough
@pytest.mark.skipif(not HAS_GIL, reason="needs Linux and a CPython with its GIL enabled")
def test_hung_worker_reports_which_line_holds_the_gil(group: WorkerGroup) -> None:
    """Native code that sleeps with the GIL is found from outside: no thread of the worker could report it."""
    (worker,) = opened(group, "test_hangs_with_the_gil")
    answer = group.ask(worker, Batch(strategy="serial", calls=1), SHORT_S)
    assert isinstance(answer, Lost)
    assert "the main thread held the GIL all the time, in ctypes.PyDLL(None).sleep(600) at " in answer.error
    line = 1 + TESTS.splitlines().index("    ctypes.PyDLL(None).sleep(600)")
    assert f"test_it.py:{line}" in answer.error


@pytest.mark.parametrize(("name", "how"), [("test_exits", "exit status 3"), ("test_killed", "killed by SIGKILL")])
def test_dead_worker_is_noticed_and_replaced(group: WorkerGroup, name: str, how: str) -> None:
    """A worker that ends in a batch is lost, the answer says how it ended, and another takes its place."""
    (worker,) = opened(group, name)
    answer = group.ask(worker, Batch(strategy="serial", calls=1))
    assert isinstance(answer, Lost)
    assert answer.outcome is Outcome.CRASHED
    assert how in answer.error
    assert isinstance(group.ask(opened(group, "test_quick")[0], Batch(strategy="serial", calls=1)), Done)


@pytest.mark.thorough
def test_hung_worker_does_not_take_others_with_it(group: WorkerGroup) -> None:
    """Of several workers asked at once only those that do not answer are lost."""
    workers = [*opened(group, "test_hangs_here_for_good"), *ready(group, 2)[1:]]
    assert isinstance(group.ask(workers[1], Open(nodeid="test_it.py::test_quick", keep=0)), Opened)
    answers = group.ask_each([(one, Batch(strategy="serial", calls=1)) for one in workers], SHORT_S)
    assert [type(answer) for answer in answers] == [Lost, Done]
    assert [worker.alive for worker in workers] == [False, True]


@pytest.mark.thorough
def test_part_of_an_answer_keeps_nobody_waiting(group: WorkerGroup) -> None:
    """A worker whose workload writes a part of a message into its pipe is killed as hung when the time is up."""
    (worker,) = opened(group, "test_writes_where_it_should_not")
    answer = group.ask(worker, Batch(strategy="serial", calls=1), SHORT_S)
    assert isinstance(answer, Lost)
    assert answer.outcome is Outcome.HUNG
    assert isinstance(group.ask(opened(group, "test_quick")[0], Batch(strategy="serial", calls=1)), Done)


def test_nonsense_is_no_answer(group: WorkerGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose workload writes a whole length and more into its pipe is killed at once."""
    monkeypatch.setenv("WHOLE", "yes")
    (worker,) = opened(group, "test_writes_where_it_should_not")
    answer = group.ask(worker, Batch(strategy="serial", calls=1))
    assert isinstance(answer, Lost)
    assert answer.outcome is Outcome.CRASHED
    assert "something else than an answer" in answer.error


def test_fixture_that_failed_is_tried_again(group: WorkerGroup) -> None:
    """A session's fixture that failed in a worker is not failed for good there."""
    (worker,) = ready(group)
    asked = Open(nodeid="test_it.py::test_broken_at_first", keep=1)
    first = group.ask(worker, asked)
    assert isinstance(first, Failed)
    assert "not yet" in first.error
    assert isinstance(group.ask(worker, asked), Opened)


def test_control_and_dispatch_are_measured(shared: WorkerGroup) -> None:
    """Between tests a worker runs the control loop and times the standard library's executors."""
    (worker,) = ready(shared)
    answer = shared.ask(worker, Control(calls=3))
    assert isinstance(answer, Done)
    assert answer.reading.lanes[0].calls == 3
    for strategy in ("threads", "processes"):
        cost = shared.ask(worker, MeasureDispatch(strategy=strategy, workers=2, start_method="spawn"))
        assert isinstance(cost, DispatchMeasured), cost
        assert 0 < cost.task_s < 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads another process's memory")
def test_sampled_batch_has_samples_or_a_reason(shared: WorkerGroup) -> None:
    """A batch comes with samples of its worker's GIL, or with why there are none."""
    (worker,) = opened(shared, "test_sleeps")
    answer, samples, why = shared.ask_sampled(worker, Batch(strategy="serial", calls=50), 0.0005)
    assert isinstance(answer, Done)
    assert (samples is None) == (why is not None)
    closed(shared, worker)


def test_broken_conftest_is_the_reason(make: Callable[[str], WorkerGroup], tmp_path: Path) -> None:
    """If a worker's pytest session cannot start, the reason is in pytest's own words; no other worker is started."""
    (tmp_path / "conftest.py").write_text("raise RuntimeError('broken conftest')")
    group = make(TESTS)
    found = group.ready(1)
    assert isinstance(found, Lost)
    assert found.error.startswith("a worker process could not start: ")
    assert "broken conftest" in found.error
    (tmp_path / "conftest.py").unlink()
    assert group.ready(1) is found


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_end_leaves_no_process_and_no_file(
    group: WorkerGroup, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Politely or by force, the workers are gone, and so are their folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    workers = opened(group, "test_quick", 2)
    pids = [worker.process.pid for worker in workers]
    folders = [worker.folder for worker in workers]
    assert all(folder.is_dir() for folder in folders)
    getattr(group, end)()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not any(folder.exists() or folder.parent.exists() for folder in folders)
    assert not list(tmp_path.glob("gilprobe-*"))


def test_daemonic_process_has_workers(group: WorkerGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pytest runs in a daemonic process, as a task of a ``multiprocessing.Pool`` does, workers start as ever."""
    monkeypatch.setitem(vars(multiprocessing.current_process())["_config"], "daemon", 1)
    ready(group)
    assert multiprocessing.current_process().daemon


def test_module_that_is_skipped_in_a_worker(make: Callable[[str], WorkerGroup]) -> None:
    """Whenever a test that a worker did not collect is asked for, the answer says why it did not."""
    skipped = "import pytest\npytest.skip('not twice', allow_module_level=True)\n"
    group = make(skipped + "def test_quick(): pass\n")
    (worker,) = ready(group)
    for _ in range(2):
        answer = group.ask(worker, Open(nodeid="test_it.py::test_quick", keep=0))
        assert isinstance(answer, Failed)
        assert "test_it.py: Skipped: not twice" in answer.error


def test_default_start_method_is_multiprocessings(tmp_path: Path) -> None:
    """Unless a start method is asked for, workers start as this Python's `multiprocessing` does."""
    made = WorkerGroup(spec=spec_of(tmp_path, TESTS), start_method=None, timeout_s=TIMEOUT_S)
    made.close()
    assert made.start_method == multiprocessing.get_context().get_start_method()


def test_traceback_begins_where_pytest_called_the_user() -> None:
    """What pytest and this package did before is left out; what the user's code called stays, whoever wrote it."""
    source = "def call(inner): inner()"
    names = ("_pytest.runner", "test_it", "pluggy._callers")
    ours, users, theirs = spaces = tuple(dict[str, Any](__name__=name) for name in names)
    for space in spaces:
        exec(source, space)  # noqa: S102 - makes frames of modules of any name

    def end() -> None:
        raise KeyboardInterrupt

    def deep() -> None:
        users["call"](end)

    try:
        ours["call"](lambda: theirs["call"](deep))
    except KeyboardInterrupt as error:
        part = users_part(error.__traceback__)
    assert part is not None
    assert part.tb_frame.f_code is deep.__code__
    assert users_part(None) is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes by their environment in /proc")
@pytest.mark.parametrize("start_method", ["fork", "forkserver", "spawn"])
def test_killed_session_leaves_no_process(tmp_path: Path, start_method: str) -> None:
    """If pytest dies at any moment while executors are surveyed, its workers and the executors' processes end too."""
    (tmp_path / "test_it.py").write_text("import pytest\n@pytest.mark.gilprobe\ndef test_quick(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    moments = ((0.0, signal.SIGKILL), (0.03, signal.SIGTERM), (0.1, signal.SIGKILL), (0.3, signal.SIGKILL))
    left = {moment: left_by_killed_session(tmp_path, start_method, *moment) for moment in moments}
    assert not any(left.values()), left


def left_by_killed_session(folder: Path, start_method: str, after_s: float, how: signal.Signals) -> list[str]:
    """Kill a session so long after its first worker began to start an executor's processes; name what is left."""
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "pytest", "-q", "--gilprobe-workers=2", f"--gilprobe-start-method={start_method}"]
    changes = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_gilprobe.plugin", "TMPDIR": str(folder)}
    with subprocess.Popen(command, cwd=folder, env=os.environ | changes | {MARK: mark}) as session:
        try:
            wait_for(lambda: depth(psutil.Process(session.pid)) > (3 if start_method == "forkserver" else 2))
            time.sleep(after_s)
        finally:
            session.send_signal(how)
    try:
        wait_for(lambda: not marked(mark))
    except TimeoutError:
        return [" ".join(process.cmdline()) for process in marked(mark)]
    finally:
        for process in marked(mark):
            process.kill()
    return []


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it holds; raise TimeoutError after `TIMEOUT_S`."""
    until = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.005)


def depth(process: psutil.Process) -> int:
    """Count the generations of a process and its descendants: 1 for a process without children."""
    try:
        return 1 + max(map(depth, process.children()), default=0)
    except psutil.NoSuchProcess:
        return 0


def marked(mark: str) -> list[psutil.Process]:
    """List the processes, zombies excepted, that inherited a session's mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
