"""`pytest_gilprobe.workers.pool` and `.child`: real workers, asked, hung, crashed and replaced."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pytest_gilprobe.model import Outcome, Strategy
from pytest_gilprobe.workers.last_words import users_part
from pytest_gilprobe.workers.pool import Pool
from pytest_gilprobe.workers.protocol import (
    Batch,
    Close,
    Closed,
    Control,
    Done,
    Failed,
    HandedOut,
    HandOut,
    Open,
    Opened,
    WorkerSpec,
)
from pytest_gilprobe.workers.worker import Lost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gilprobe.workers.worker import Worker

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
TIMEOUT_S = 30.0
SHORT_S = 1.0


def spec_of(folder: Path, tests: str = TESTS) -> WorkerSpec:
    """Describe workers for the tests of one file."""
    file = folder / "test_it.py"
    file.write_text(tests)
    names = [line.split("(")[0].removeprefix("def ") for line in tests.splitlines() if line.startswith("def test_")]
    return WorkerSpec(
        arguments=("-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(file)),
        overrides=("--capture=no", "--basetemp={folder}/tmp"),
        plugins=(),
        working_dir=str(folder),
        folder="",
        nodeids=frozenset(f"test_it.py::{name}" for name in names),
        files=frozenset({str(file)}),
    )


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """Give a pool of spawned workers without other plugins; end it whatever happened."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    made = Pool(spec=spec_of(tmp_path), start_method="spawn", timeout_s=TIMEOUT_S)
    yield made
    made.close()


def ready(pool: Pool, count: int = 1) -> list[Worker]:
    found = pool.ready(count)
    assert not isinstance(found, Lost), found.error
    return found


def opened(pool: Pool, name: str, count: int = 1) -> list[Worker]:
    """Open a test in so many workers."""
    workers = ready(pool, count)
    answers = pool.ask_all(workers, Open(nodeid=f"test_it.py::{name}", keep=0))
    assert {type(answer) for answer in answers} == {Opened}, answers
    return workers


def test_worker_serves_one_test_after_another(pool: Pool) -> None:
    """A worker sets a test up, runs batches serially and in threads, tears it down, and goes on to the next."""
    for name in ("test_quick", "test_sleeps"):
        (worker,) = opened(pool, name)
        serial = pool.ask(worker, Batch(calls=5))
        threads = pool.ask(worker, Batch(calls=5, threads=3))
        assert isinstance(serial, Done)
        assert isinstance(threads, Done)
        assert [one.calls for one in serial.reading.threads] == [5]
        assert [one.calls for one in threads.reading.threads] == [5, 5, 5]
        assert isinstance(pool.ask(worker, Close()), Closed)


def test_workers_run_at_the_same_time(pool: Pool) -> None:
    """A batch asked of several workers overlaps, on one clock."""
    workers = opened(pool, "test_sleeps", 2)
    answers = pool.ask_all(workers, Batch(calls=200))
    spans = [one.reading.threads[0] for one in answers if isinstance(one, Done)]
    assert len(spans) == 2
    assert max(span.start_ns for span in spans) < min(span.end_ns for span in spans)
    assert len({worker.ready.pid for worker in workers if worker.ready is not None} | {os.getpid()}) == 3


def test_start_up_is_timed_and_a_worker_is_reused(pool: Pool) -> None:
    """The time from asking for a worker to its being ready is kept; asked again, the same worker comes."""
    (worker,) = ready(pool)
    assert (worker.start_up_s or 0) > 0
    assert ready(pool) == [worker]


def test_unknown_test_is_a_failure_that_names_it(pool: Pool) -> None:
    """A test that the worker did not collect cannot be opened, and the worker goes on serving."""
    (worker,) = ready(pool)
    answer = pool.ask(worker, Open(nodeid="test_it.py::test_nowhere", keep=0))
    assert isinstance(answer, Failed)
    assert "test_it.py::test_nowhere" in answer.error
    opened(pool, "test_quick")


def test_question_at_the_wrong_time_is_a_failure(pool: Pool) -> None:
    """A batch without an open test, or a control within one, is refused with a word."""
    (worker,) = ready(pool)
    refused = pool.ask(worker, Batch(calls=1))
    assert isinstance(refused, Failed)
    assert "no test is open" in refused.error
    opened(pool, "test_quick")
    late = pool.ask(worker, Open(nodeid="test_it.py::test_quick", keep=0))
    assert isinstance(late, Failed)
    assert "a test is open" in late.error


def test_call_that_raises_is_a_failure_with_its_traceback(pool: Pool) -> None:
    """A workload that fails in a batch answers with its traceback; the worker lives."""
    (worker,) = opened(pool, "test_fails_later")
    answer = pool.ask(worker, Batch(calls=5))
    assert isinstance(answer, Failed)
    assert "ValueError: no more" in answer.error
    assert "test_it.py" in answer.error
    assert worker.alive


def test_unsafe_fixture_is_told_at_opening(pool: Pool) -> None:
    """A test that asks for ``capsys`` says that it must not be run in threads."""
    (worker,) = ready(pool)
    answer = pool.ask(worker, Open(nodeid="test_it.py::test_captures", keep=0))
    assert isinstance(answer, Opened)
    assert "capsys" in (answer.unsafe_in_threads or "")


def test_hung_worker_is_killed_and_replaced(pool: Pool) -> None:
    """No answer within the time limit: the worker is killed, its stacks are told, and another takes its place."""
    (worker,) = opened(pool, "test_hangs_here_for_good")
    pid = worker.process.pid
    answer = pool.ask(worker, Batch(calls=1), SHORT_S)
    assert isinstance(answer, Lost)
    assert answer.outcome is Outcome.HUNG
    assert "test_hangs_here_for_good" in answer.error
    assert not worker.alive
    assert not psutil.pid_exists(pid)
    (fresh,) = opened(pool, "test_quick")
    assert fresh is not worker


@pytest.mark.parametrize(("name", "how"), [("test_exits", "exit status 3"), ("test_killed", "killed by SIGKILL")])
def test_dead_worker_is_noticed_and_replaced(pool: Pool, name: str, how: str) -> None:
    """A worker that ends in a batch is lost, with how it ended, and another takes its place."""
    (worker,) = opened(pool, name)
    answer = pool.ask(worker, Batch(calls=1))
    assert isinstance(answer, Lost)
    assert answer.outcome is Outcome.CRASHED
    assert how in answer.error
    assert isinstance(pool.ask(opened(pool, "test_quick")[0], Batch(calls=1)), Done)


def test_hung_worker_does_not_take_others_with_it(pool: Pool) -> None:
    """Of several workers asked at once only those that do not answer are lost."""
    workers = [*opened(pool, "test_hangs_here_for_good"), *ready(pool, 2)[1:]]
    assert isinstance(pool.ask(workers[1], Open(nodeid="test_it.py::test_quick", keep=0)), Opened)
    answers = pool.ask_all(workers, Batch(calls=1), SHORT_S)
    assert [type(answer) for answer in answers] == [Lost, Done]
    assert [worker.alive for worker in workers] == [False, True]


def test_part_of_an_answer_keeps_nobody_waiting(pool: Pool) -> None:
    """A workload that writes into the worker's own pipe has it killed when the time is up, not waited for for ever."""
    (worker,) = opened(pool, "test_writes_where_it_should_not")
    answer = pool.ask(worker, Batch(calls=1), SHORT_S)
    assert isinstance(answer, Lost)
    assert answer.outcome is Outcome.HUNG
    assert isinstance(pool.ask(opened(pool, "test_quick")[0], Batch(calls=1)), Done)


def test_nonsense_is_no_answer(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload that writes a whole length and more into the worker's own pipe has it killed at once."""
    monkeypatch.setenv("WHOLE", "yes")
    (worker,) = opened(pool, "test_writes_where_it_should_not")
    answer = pool.ask(worker, Batch(calls=1))
    assert isinstance(answer, Lost)
    assert answer.outcome is Outcome.CRASHED
    assert "spoilt its connection" in answer.error


def test_fixture_that_failed_is_tried_again(pool: Pool) -> None:
    """A session's fixture that failed in a worker is not failed for good there."""
    (worker,) = ready(pool)
    asked = Open(nodeid="test_it.py::test_broken_at_first", keep=1)
    first = pool.ask(worker, asked)
    assert isinstance(first, Failed)
    assert "not yet" in first.error
    assert isinstance(pool.ask(worker, asked), Opened)


def test_control_and_hand_out_are_measured(pool: Pool) -> None:
    """Between tests a worker runs the control loop and times the standard library's pools."""
    (worker,) = ready(pool)
    answer = pool.ask(worker, Control(calls=3))
    assert isinstance(answer, Done)
    assert answer.reading.threads[0].calls == 3
    for strategy in (Strategy.THREADS, Strategy.PROCESSES):
        cost = pool.ask(worker, HandOut(strategy=strategy, workers=2, start_method="spawn"))
        assert isinstance(cost, HandedOut), cost
        assert 0 < cost.task_s < 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads another process's memory")
def test_watched_batch_has_a_trace_or_a_reason(pool: Pool) -> None:
    """Watched from outside, a batch comes with looks at its GIL, or with why there are none."""
    (worker,) = opened(pool, "test_sleeps")
    answer, trace, why = pool.ask_watched(worker, Batch(calls=50), 0.0005)
    assert isinstance(answer, Done)
    assert (trace is None) == (why is not None)


def test_broken_conftest_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose pytest session cannot start is lost with pytest's own words."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "conftest.py").write_text("raise RuntimeError('broken conftest')")
    pool = Pool(spec=spec_of(tmp_path), start_method="spawn", timeout_s=TIMEOUT_S)
    try:
        found = pool.ready(1)
    finally:
        pool.close()
    assert isinstance(found, Lost)
    assert found.error.startswith("a worker process could not start: ")
    assert "broken conftest" in found.error


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_end_leaves_no_process_and_no_file(pool: Pool, end: str) -> None:
    """Politely or by force, the workers are gone, and so are their folders."""
    workers = opened(pool, "test_quick", 2)
    pids = [worker.process.pid for worker in workers]
    folders = [worker.folder for worker in workers]
    assert all(folder.is_dir() for folder in folders)
    getattr(pool, end)()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not any(folder.exists() or folder.parent.exists() for folder in folders)
    assert not list(Path(tempfile.gettempdir()).glob("gilprobe-*"))


def test_daemonic_process_has_workers(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pytest runs in a daemonic process, as a task of a ``multiprocessing.Pool`` does, workers start as ever."""
    monkeypatch.setitem(vars(multiprocessing.current_process())["_config"], "daemon", 1)
    ready(pool)
    assert multiprocessing.current_process().daemon


def test_module_that_is_skipped_in_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason why a worker did not collect a test is told whenever the test is asked for."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    skipped = "import pytest\npytest.skip('not twice', allow_module_level=True)\n"
    pool = Pool(spec=spec_of(tmp_path, skipped + "def test_quick(): pass\n"), start_method="spawn", timeout_s=TIMEOUT_S)
    try:
        (worker,) = ready(pool)
        answers = [pool.ask(worker, Open(nodeid="test_it.py::test_quick", keep=0)) for _ in range(2)]
    finally:
        pool.close()
    for answer in answers:
        assert isinstance(answer, Failed)
        assert "test_it.py: Skipped: not twice" in answer.error


def test_default_start_method_is_multiprocessings(tmp_path: Path) -> None:
    """Without a wish, workers start as this Python's `multiprocessing` does."""
    made = Pool(spec=spec_of(tmp_path), start_method=None, timeout_s=TIMEOUT_S)
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
