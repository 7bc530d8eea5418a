"""The process that hosts subinterpreters, with pretended ones: what it asks them, what it reads, how it grows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import evidence as made
import pytest
from with_interpreters import INTERPRETERS, needs_them

from pytest_gilprobe.model.ladder import StretchReading
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe import machine as this_machine
from pytest_gilprobe.workers.child import (
    batch,
    host_growth,
    host_memory,
    hosted_interpreter,
    hosted_interpreters,
    interpreter_host,
    leftovers,
)
from pytest_gilprobe.workers.child.hosted_interpreter import RefusedError
from pytest_gilprobe.workers.child.interpreter_server import InterpreterServer
from pytest_gilprobe.workers.protocol import (
    Batch,
    Close,
    Closed,
    Done,
    Failed,
    Open,
    Opened,
    Ready,
    Unable,
)
from pytest_gilprobe.workers.stretch_messages import Stretch, Stretched
from pytest_gilprobe.workers.worker_spec import WorkerSpec

if TYPE_CHECKING:
    from pytest_gilprobe.workers.protocol import Answer, Question


class Hosted:
    """An interpreter as its host sees it; ``refuses`` may answer a question, or its start (``None``), in its place."""

    refuses: Any = staticmethod(lambda *_: None)
    allocated = 0

    def __init__(self, number: int, *_: Any) -> None:
        self.number = number
        self.imports = ()
        self.gil_address = number
        self.start_up_s = 0.1 * number
        self.thread = SimpleNamespace(native_id=100 + number, is_alive=lambda: True)
        self.asked: list[Question] = []
        ready = Ready(pid=1, nodeids=frozenset(), gil_address=number, gil_reason=None, gil_enabled=True)
        self._answers: list[Answer] = [self.refuses(number, None) or ready]

    def send(self, question: Question) -> None:
        self.asked.append(question)
        answer = self.refuses(self.number, question)
        self._answers.append(answer if answer is not None else self._answer(question))

    def receive(self) -> Answer:
        return self._answers.pop(0)

    def _answer(self, question: Question) -> Answer:
        match question:
            case Open():
                return Opened(tracers=(f"of {self.number}",))
            case Stretch():
                Hosted.allocated += 7
                reading = StretchReading(
                    marks_ns=((self.number,),), queued_ns=10, process_cpu_ns=10**15, peak_rss_bytes=10**15
                )
                return Stretched(reading=reading)
            case Batch():
                Hosted.allocated += 7
                return Done(reading=made.serial(waits=self.number).workers[0])
            case Close():
                return Closed()
        raise AssertionError(question)


@pytest.fixture(name="host")
def pretended_host(monkeypatch: pytest.MonkeyPatch) -> interpreter_host.Host:
    """Make a host whose process takes 100 bytes, 50 more with each interpreter, and 7 more during each call."""
    monkeypatch.setattr(hosted_interpreters, "HostedInterpreter", Hosted)
    monkeypatch.setattr(Hosted, "refuses", staticmethod(lambda *_: None))
    sizes: list[interpreter_host.Host] = []

    def peak() -> int:
        return 100 + Hosted.allocated + 50 * len(sizes[0]._interpreters.started) if sizes else 100

    monkeypatch.setattr(this_machine, "reset_peak_rss", lambda: setattr(Hosted, "allocated", 0))
    monkeypatch.setattr(this_machine, "peak_rss_bytes", peak)
    sizes.append(interpreter_host.Host(INTERPRETERS, cast("Any", None), cast("Any", None), 0))
    return sizes[0]


def stretch_of(lanes: int) -> Stretch:
    """Ask for a stretch that is over, as far as the clock goes."""
    return Stretch(strategy="interpreters", lanes=lanes, begin_ns=0, until_ns=1, calls_per_mark=1)


def opened(host: Any, lanes: int) -> Any:
    return host._answer(Open(nodeid="it", keep=0, lanes=lanes))


def test_host_opens_further_interpreters(host: Any) -> None:
    """Each is opened once; the answer is that of the first, which started alone, with the GILs of all."""
    of_first = Opened(tracers=("of 1",), lane_start_up_s=0.1)
    assert opened(host, 2) == replace(of_first, gil_addresses=(1, 2), lane_threads=(101, 102))
    again = opened(host, 4)
    assert again == replace(of_first, gil_addresses=(1, 2, 3, 4), lane_threads=(101, 102, 103, 104))
    assert [[type(one) for one in hosted.asked] for hosted in host._interpreters.started] == [[Open]] * 4


def test_stretch_is_that_of_the_first_interpreters(host: Any) -> None:
    """Marks and time in the run queue are the lanes'; CPU time and memory are read once for the process.

    Idle interpreters take memory as those that call do, but what calls allocate is no part of theirs.
    """
    opened(host, 4)
    answer = host._answer(stretch_of(2))
    assert isinstance(answer, Stretched)
    assert answer.reading.marks_ns == ((1,), (2,))
    assert answer.reading.queued_ns == 20
    assert answer.reading.process_cpu_ns < 10**12
    assert answer.reading.peak_rss_bytes == 100 + 2 * (50 + 7)
    whole = host._answer(stretch_of(4))
    assert isinstance(whole, Stretched)
    assert whole.reading.peak_rss_bytes == 100 + 4 * (50 + 7)
    assert [len(hosted.asked) for hosted in host._interpreters.started] == [3, 3, 2, 2]


def test_batch_is_that_of_the_first_interpreters(host: Any) -> None:
    """Interpreters that a curve has opened beyond those of a batch neither take part nor count in its memory."""
    opened(host, 4)
    answer = host._answer(Batch(strategy="interpreters", calls=1, lanes=2))
    assert isinstance(answer, Done)
    assert [lane.waits for lane in answer.reading.lanes] == [1, 2]
    assert answer.reading.peak_rss_bytes == (100 + 2 * (50 + 7)) // 2


def test_memory_is_not_known_or_never_below_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host may give memory back, even below what it took at first; some systems do not report any."""
    peaks: list[int | None] = [100, 90, 80]
    monkeypatch.setattr(this_machine, "reset_peak_rss", lambda: None)
    monkeypatch.setattr(this_machine, "peak_rss_bytes", lambda: peaks.pop(0))
    memory = host_memory.HostMemory()
    memory.begin()
    assert memory.peak_bytes(1, 2) == 100
    peaks += [None, 90]
    memory.begin()
    assert memory.peak_bytes(1, 2) is None


def test_clocks_of_the_process_are_read_before_a_stretch_begins(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that waited until the interpreters begin, and woke up late, would miss what they used until then."""
    opened(host, 1)
    done: list[str] = []

    class Usage(batch.Usage):
        def __init__(self) -> None:
            super().__init__()
            done.append("clocks")

    monkeypatch.setattr(batch, "Usage", Usage)
    monkeypatch.setattr(clocks, "sleep", lambda _: done.append("sleep"))
    host._answer(replace(stretch_of(1), begin_ns=2**62))
    assert done == ["clocks"]


def test_host_may_grow_with_its_interpreters(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What starts take is left out, and each interpreter may keep what a worker may; with more the host is replaced."""
    kept = 0
    each, most = leftovers.MOST_MEMORY // 4, leftovers.MOST_MEMORY
    monkeypatch.setattr(leftovers, "_memory", lambda: kept + each * len(host._interpreters.started))
    host._growth = host_growth.HostGrowth()
    opened(host, 8)
    assert host._answer(Close()) == Closed()
    kept = 8 * most
    opened(host, 8)
    assert host._answer(Close()) == Closed()
    kept += 1
    opened(host, 8)
    assert host._answer(Close()) == Closed(spoilt=True)


@pytest.mark.parametrize("question", [Batch(strategy="interpreters", calls=1, lanes=2), stretch_of(2)])
def test_calls_that_eat_the_memory_are_told_by_the_host(
    question: Question, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starts and set-ups are no calls; calls that keep more than is left are the last, and the host is replaced."""
    kept = 0
    monkeypatch.setattr(leftovers, "_memory", lambda: kept + 2**30 * len(host._interpreters.started))
    monkeypatch.setattr(this_machine, "memory_left_bytes", lambda: 2**30)
    host._growth = host_growth.HostGrowth()
    opened(host, 2)
    opened(host, 4)
    assert not isinstance(host._answer(question), Failed)
    kept = 2**31
    answer = host._answer(question)
    assert isinstance(answer, Failed)
    assert "its calls kept 2.0 GiB of memory" in answer.error
    assert host._answer(Close()) == Closed(spoilt=True)


def test_memory_and_descriptors_are_not_judged_within_interpreters() -> None:
    """There they are those of the whole process, whose other interpreters have started or make calls."""
    start = leftovers.ResourceUse.now(shared=True)
    grown = replace(start, descriptors=10**6, memory=2**50, children=frozenset(range(100)))
    assert not start.outgrown_by(grown)
    assert replace(start, memory=-(2**60)).disturbance() is None
    assert start.outgrown_by(replace(start, threads=frozenset(range(1000))))
    assert InterpreterServer.shared


def test_bad_start_is_not_tried_again(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five, the second does not start: the others stay, are numbered anew, and no more are started."""
    opened(host, 1)
    no, starts = Failed(error="no"), []

    def refuse(number: int, question: Question | None) -> Answer | None:
        if question is None:
            starts.append(number)
        return no if question is None and number == 2 else None

    monkeypatch.setattr(Hosted, "refuses", staticmethod(refuse))
    assert opened(host, 5) == no
    assert starts == [2, 3, 4, 5]
    assert host._answer(Close()) == Closed()
    assert opened(host, 5) == no
    assert starts == [2, 3, 4, 5]
    assert [one.number for one in host._interpreters.living] == [1, 2, 3, 4]
    assert host._interpreters.started == host._interpreters.living
    answer = opened(host, 4)
    assert isinstance(answer, Opened)
    assert answer.lane_threads == (101, 103, 104, 105)


def test_memory_of_what_did_not_start_is_not_that_of_others(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that fails stays until the host ends, and keeps its memory, unless its thread has ended."""
    monkeypatch.setattr(Hosted, "refuses", staticmethod(lambda number, asked: no if number > 2 and not asked else None))
    no = Failed(error="no")
    opened(host, 2)
    assert opened(host, 4) == no
    assert host._interpreters.taking_memory == 4
    monkeypatch.setattr(this_machine, "peak_rss_bytes", lambda: 100 + 4 * 50 + Hosted.allocated)
    answer = host._answer(stretch_of(2))
    assert isinstance(answer, Stretched)
    assert answer.reading.peak_rss_bytes == 100 + 2 * (50 + 7)
    host._interpreters._left[0].is_alive = lambda: False
    assert host._interpreters.taking_memory == 3


def test_start_that_raises_is_told_once_the_others_have_started(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that do start are kept, and stay in step with the host."""

    def refuse(number: int, question: Question | None) -> None:
        if question is None and number == 3:
            msg = "no"
            raise ValueError(msg)

    monkeypatch.setattr(Hosted, "refuses", staticmethod(refuse))
    bad = opened(host, 4)
    assert isinstance(bad, Failed)
    assert "ValueError: no" in bad.error
    assert [one.number for one in host._interpreters.living] == [1, 2]
    assert isinstance(opened(host, 2), Opened)


def test_refused_start_makes_the_host_unable(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses a thread or a file: as with threads, the worker is not used any more."""

    def refuse(number: int, question: Question | None) -> None:
        if question is None and number == 3:
            msg = "the system refused subinterpreter 3: no"
            raise RefusedError(msg)

    opened(host, 1)
    monkeypatch.setattr(Hosted, "refuses", staticmethod(refuse))
    assert opened(host, 4) == Unable(error="the system refused subinterpreter 3: no")


@needs_them
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
@pytest.mark.parametrize("refused", ["thread", "pipe", "folder"])
def test_refused_start_leaves_nothing(refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system refuses a part of an interpreter, its other parts are taken back, and the next one can start."""
    from concurrent import interpreters as library  # type: ignore[attr-defined] # noqa: PLC0415

    def refuse(*_: object, **__: object) -> None:
        msg = "can't start new thread" if refused == "thread" else "Too many open files"
        raise RuntimeError(msg) if refused == "thread" else OSError(24, msg)

    where = {"thread": "threading.Thread.start", "pipe": "multiprocessing.Pipe", "folder": "tempfile.mkdtemp"}[refused]
    folder, none = str(tmp_path), frozenset[str]()
    spec = WorkerSpec(
        arguments=(), overrides=(), plugins=(), working_dir=folder, folder=folder, nodeids=none, files=none
    )
    before = library.list_all(), len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(where, refuse)
            with pytest.raises(RefusedError, match="the system refused subinterpreter 3"):
                hosted_interpreter.HostedInterpreter(3, spec, 2)
    assert (library.list_all(), len(list(Path("/proc/self/fd").iterdir()))) == before
    assert list(tmp_path.iterdir()) == []


def test_stretch_of_more_than_are_open_is_refused(host: Any) -> None:
    """Fewer interpreters than asked for never stand for them."""
    opened(host, 2)
    assert isinstance(host._answer(stretch_of(3)), Failed)


def test_failed_stretch_is_told_once_all_have_ended(host: Any, monkeypatch: Any) -> None:
    """No answer of another interpreter is left for the next question."""
    opened(host, 2)
    no = Failed(error="no")
    monkeypatch.setattr(Hosted, "refuses", staticmethod(lambda number, _: no if number == 1 else None))
    assert host._answer(stretch_of(2)) == no
    monkeypatch.setattr(Hosted, "refuses", staticmethod(lambda *_: None))
    assert isinstance(host._answer(stretch_of(2)), Stretched)


def test_failed_opening_closes_what_it_opened(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three, one fails: the others are closed, and can be opened for the next test."""
    no = Failed(error="no")
    monkeypatch.setattr(Hosted, "refuses", staticmethod(lambda number, asked: no if number == 2 and asked else None))
    assert opened(host, 3) == no
    assert [[type(one) for one in hosted.asked] for hosted in host._interpreters.started] == [
        [Open, Close],
        [Open],
        [Open, Close],
    ]
    monkeypatch.setattr(Hosted, "refuses", staticmethod(lambda *_: None))
    assert isinstance(opened(host, 3), Opened)


def test_failed_widening_leaves_the_test_open(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a further interpreter fails, all in which the test is open are closed with the test."""
    opened(host, 2)
    no = Failed(error="no")
    monkeypatch.setattr(Hosted, "refuses", staticmethod(lambda number, asked: no if number == 3 and asked else None))
    assert opened(host, 4) == no
    assert isinstance(host._answer(stretch_of(2)), Stretched)
    assert host._answer(Close()) == Closed()
    assert [any(isinstance(one, Close) for one in hosted.asked) for hosted in host._interpreters.started] == [
        True,
        True,
        False,
        True,
    ]
