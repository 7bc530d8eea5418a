"""Curves of the strategy ``interpreters``: more and more interpreters of one host, and what comes of their failures."""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import evidence as made
import pytest
import sessions
from evidence import evidence, machine, measurement, tried
from fake_workers import Behaviour, FakeGroup, FakeWorker, lost, plan
from test_scaling import IN_CALLS, IN_LOCKS, ladder

from pytest_gilprobe.model.apart_readings import ApartReading
from pytest_gilprobe.model.ladder import StretchReading
from pytest_gilprobe.model.machine import DispatchCosts
from pytest_gilprobe.model.results import Callee
from pytest_gilprobe.model.settings import Expectation
from pytest_gilprobe.model.values import doublings_to
from pytest_gilprobe.model.words import NextStep, Outcome, Sleep
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe import machine as this_machine
from pytest_gilprobe.observe.lane_sleeps import LaneSleeps
from pytest_gilprobe.probing import schedule
from pytest_gilprobe.probing.schedule import Job
from pytest_gilprobe.report import snippets
from pytest_gilprobe.strategies import interpreters
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict import scaling
from pytest_gilprobe.verdict.results import result_of
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
from pytest_gilprobe.workers.stretch_messages import MachineStretch, Stretch, Stretched
from pytest_gilprobe.workers.worker_spec import WorkerSpec

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import Measurement
    from pytest_gilprobe.workers.parent.group import WorkerGroup
    from pytest_gilprobe.workers.protocol import Answer, Question

INTERPRETERS = BUILT_IN["interpreters"]
HAS_THEM = sys.version_info >= (3, 14) and not sysconfig.get_config_var("Py_GIL_DISABLED")
needs_them = pytest.mark.skipif(not HAS_THEM, reason=interpreters.NEEDED)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="what threads sleep in is known on Linux only")

OUTSIDE = "outside the interpreters: a lock of their process, a server, a disk or the like"
TAKES_2 = "takes about 2.0 calls at a time, or 100 a second"
IN_EVENTS = {Sleep.EVENTS: 100}
LETS_THROUGH_2 = "it lets through 2.0 calls in the time of one (a lock held for 50 % of a call, or a pool of 2)"


# In the schedule, on a clock that moves only when a step says so


def measured(script_apart: Any = lambda *_: None, **changes: Any) -> tuple[Measurement, FakeGroup]:
    """Measure a pretended workload in interpreters, with a curve."""
    law, busy, cpus = changes.pop("law", None), changes.pop("busy", 0.0), changes.pop("cpus", 2)
    group = FakeGroup(behaviour=Behaviour(busy=busy, gains={}, law=law), script_apart=script_apart)
    settings = {"scale": (), "strategies": frozenset({"serial", "interpreters"})} | changes
    job = Job(plan=plan(**settings), keep=0, cpus=cpus, known_call_s=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        patch.setattr(this_machine, "throttled_s", lambda: None)
        found = schedule.measure(
            job, cast("WorkerGroup", group), BUILT_IN, settled=lambda _: NextStep.STOP, progress=lambda *_: None
        )
    return found, group


def counts(found: Measurement) -> list[int]:
    return [step.workers for step in found.ladders["interpreters"].steps]


def of_host(group: FakeGroup, kind: type) -> list[Any]:
    """List the questions of one kind that the host of the interpreters was asked."""
    return [question for question, _ in group.groups["interpreters"].asked if isinstance(question, kind)]


def test_interpreters_are_tried_one_step_beyond_the_cpus() -> None:
    """Two CPUs: four interpreters of the host that the rounds had used; the further ones are opened and called once."""
    found, group = measured()
    assert counts(found) == [1, 2, 4, 4, 2, 1]
    assert [question.lanes for question in of_host(group, Open)] == [2, 4]
    assert [(one.calls, one.lanes) for one in of_host(group, Batch)][-1] == (1, 4)
    assert [one.lanes for one in of_host(group, Stretch)] == [1, 2, 4, 4, 2, 1]
    assert group.groups["interpreters"].started == 1
    assert group.started == 1
    assert not any(worker.is_open for worker in group.groups["interpreters"].workers)
    assert all(len(step.readings) == 1 for step in found.ladders["interpreters"].steps)
    assert found.apart["interpreters"].lane_start_up_s == 0.25


def test_machine_is_seen_between_their_steps() -> None:
    """What the machine gives to computing threads is seen in the usual worker, between the steps of the host."""
    found, group = measured(busy=1.0)
    curve = found.ladders["interpreters"]
    assert [step.workers for step in curve.machine] == [1, 2, 1, 2]
    begins = sorted(step.begin_ns for step in (*curve.steps, *curve.machine))
    assert [step.begin_ns for step in curve.machine] == [begins[1], begins[3], begins[6], begins[7]]
    assert of_host(group, MachineStretch) == []


def test_lanes_of_the_host_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads of as many interpreters as take part are looked at, in the host; not those that only wait there."""
    watched: list[tuple[int, ...]] = []

    class Watch(LaneSleeps):
        def __init__(self, *given: Any, threads: tuple[int, ...], **named: Any) -> None:
            super().__init__(*given, threads=threads, **named)
            watched.append(threads)
            self.found[Sleep.CALL] += 1

    def open_lanes(worker: FakeWorker, question: Any, _: int) -> Any:
        if not isinstance(question, Open):
            return None
        worker.is_open = True
        return Opened(lane_threads=tuple(range(7, 7 + question.lanes)))

    monkeypatch.setattr("pytest_gilprobe.probing.ladder.LaneSleeps", Watch)
    found, _ = measured(open_lanes)
    assert watched == [(7,), (7, 8), (7, 8, 9, 10), (7, 8, 9, 10), (7, 8), (7,)]
    assert all(step.sleeps == {Sleep.CALL: 1} for step in found.ladders["interpreters"].steps)


def test_numbers_of_the_user_are_all_tried() -> None:
    """The host opens as many as the next step needs, and no more."""
    found, group = measured(scale=(1, 2, 3, 5))
    assert counts(found) == [1, 2, 3, 5, 5, 3, 2, 1]
    assert [question.lanes for question in of_host(group, Open)] == [2, 3, 5]


def test_gate_has_them_tried_as_far_as_it_asks() -> None:
    """``scales_to`` of interpreters alone goes beyond the CPUs; after threads that scale so far, it need not."""
    expectation = Expectation(scales_to=16)
    alone, _ = measured(scale=doublings_to(16), expectation=expectation)
    assert max(counts(alone)) == 16
    both = frozenset({"serial", "threads", "interpreters"})
    beside, _ = measured(scale=doublings_to(16), expectation=expectation, strategies=both)
    assert max(counts(beside)) == 4


@pytest.mark.parametrize("kind", [Open, Batch, Stretch])
def test_failure_in_further_interpreters_ends_the_ladder_only(kind: Any) -> None:
    """A set-up, a first call or a step that fails with four is told; two still count, and the test is torn down."""

    def refuse(_: FakeWorker, question: Any, __: int) -> Any:
        return Failed(error="port in use") if isinstance(question, kind) and question.lanes == 4 else None

    found, group = measured(refuse)
    ladder_ = found.ladders["interpreters"]
    assert (ladder_.failed_at, ladder_.outcome, ladder_.error) == (4, Outcome.FAILED, "port in use")
    assert counts(found) == [1, 2]
    assert found.ends["interpreters"].outcome is Outcome.OK
    assert isinstance(group.groups["interpreters"].asked[-1][0], Close)


def test_wide_steps_start_in_portions() -> None:
    """Each portion has the whole time-out, and its interpreters are called once before the next ones start."""
    found, group = measured(scale=(1, 11))
    assert counts(found)[:2] == [1, 11]
    asked = [question for question, _ in group.groups["interpreters"].asked if isinstance(question, Open | Batch)]
    assert [(type(one), one.lanes) for one in asked[-6:]] == [
        (kind, lanes) for lanes in (6, 10, 11) for kind in (Open, Batch)
    ]


@pytest.mark.parametrize("outcome", [Outcome.HUNG, Outcome.CRASHED])
@pytest.mark.parametrize("kind", [Open, Stretch])
def test_lost_host_costs_the_ladder_only(kind: Any, outcome: Outcome) -> None:
    """A host that is lost is removed from its own group; usual workers stay, and nobody asks the host again.

    If it is the start of further interpreters that takes too long, no calls are said to have hung.
    """

    def lose(_: FakeWorker, question: Any, __: int) -> Any:
        return lost(outcome) if isinstance(question, kind) and question.lanes == 4 else None

    found, group = measured(lose)
    curve, is_start = found.ladders["interpreters"], kind is Open and outcome is Outcome.HUNG
    assert (curve.failed_at, curve.outcome) == (4, Outcome.FAILED if is_start else outcome)
    assert ("starting 2 more, and setting the test up there, took too long" in str(curve.error)) is is_start
    assert found.rounds[0].batches["interpreters"].lanes
    assert group.groups["interpreters"].workers == []
    assert [worker.alive for worker in group.workers] == [True]


@pytest.mark.parametrize("kind", [Open, Batch])
def test_strategy_that_ended_has_no_curve(kind: type) -> None:
    """Where no interpreter could be set up or called, the other strategies have their curves."""

    def refuse(_: FakeWorker, question: Any, __: int) -> Any:
        return Failed(error="no") if isinstance(question, kind) else None

    found, group = measured(refuse, strategies=frozenset({"serial", "threads", "interpreters"}))
    assert set(found.ladders) == {"threads"}
    assert of_host(group, Stretch) == []


# In the host, whose interpreters are pretended


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
@on_linux
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


# What is made of it


def judged(law: Any, sleeps: dict[Sleep, int] | None = None, **changes: Any) -> Any:
    """Judge a ladder of interpreters that gain more than anything else."""
    seen = measurement(
        ladders={"interpreters": ladder(law, (1, 2, 4), sleeps)},
        apart={"interpreters": ApartReading(start_up_s=3.0, lane_start_up_s=0.25)},
    )
    found = evidence(1.0, 1.0, seen=seen, **changes)
    results = {**found.results, "interpreters": tried(2.0)}
    return replace(found, results=results, strategies=(*found.strategies, INTERPRETERS))


def test_verdict_and_code_have_the_number_of_the_curve() -> None:
    """Four interpreters are enough: verdict, start-up and the code to paste have that number."""
    costs = DispatchCosts(task_s=1e-5, task_high_s=1e-5, start_up_s=0.5)
    found = judged(lambda n: 50 * n, on=machine(costs={"interpreters": costs, "processes": costs}))
    callee = Callee(module="shop", name="work", importable=True)
    result = result_of(plan(), replace(found, measurement=replace(found.measurement, callee=callee)))
    assert (result.verdict.strategy, result.verdict.workers) == ("interpreters", 4)
    assert "4 interpreters, the most tried, gain most" in result.verdict.reason
    assert "starting the interpreters takes 1.0 s" in result.verdict.reason
    assert result.scaling is not None
    assert result.scaling["interpreters"].start_up_s == 0.25
    assert "InterpreterPoolExecutor(max_workers=4)" in snippets.code(result, BUILT_IN).text


@pytest.mark.parametrize(
    ("sleeps", "limit"),
    [
        (None, f"{OUTSIDE} {TAKES_2}"),
        (IN_EVENTS, f"{OUTSIDE} {TAKES_2}"),
        ({Sleep.EVENTS: 40, Sleep.CALL: 60}, f"{OUTSIDE} {TAKES_2}"),
        ({Sleep.EVENTS: 10, Sleep.CALL: 90}, f"outside this process: a server, a disk or the like {TAKES_2}"),
        (IN_CALLS, f"outside this process: a server, a disk or the like {TAKES_2}"),
        (IN_LOCKS, f"a lock or pool in this process: {LETS_THROUGH_2}"),
        ({Sleep.AWAKE: 100}, None),
    ],
)
def test_limit_of_interpreters_that_wait(sleeps: dict[Sleep, int] | None, limit: str | None) -> None:
    """They share a process, so that what they wait for need not be outside of it; of a common GIL there is no word.

    A loop's wait for events tells nothing, since another thread of the interpreter may wait for a lock meanwhile.
    """
    found = scaling.curves(judged(lambda n: min(50 * n, 100), sleeps))
    assert found is not None
    assert found["interpreters"].limit == limit


# Real interpreters

SESSION = """
    import os
    import time

    import pytest

    def take(most):
        for number in range(most):
            try:
                os.mkdir(f"slot-{number}")
                return f"slot-{number}"
            except FileExistsError:
                pass
        raise OSError("too many connections")

    @pytest.mark.gilprobe(scale=(1, 2, 3, 5))
    def test_sleeps():
        time.sleep(0.005)

    @pytest.mark.gilprobe
    def test_two_at_a_time():
        slot = take(2)
        time.sleep(0.005)
        os.rmdir(slot)

    @pytest.mark.gilprobe(scale=(1, 3))
    def test_ended():
        try:
            slot = take(2)
        except OSError:
            os._exit(3)
        time.sleep(0.005)
        os.rmdir(slot)

    @pytest.mark.gilprobe
    def test_native():
        import psutil
        time.sleep(0.005)

    @pytest.mark.gilprobe(scale=(1, 2))
    def test_after():
        time.sleep(0.005)
"""


@needs_them
def test_curves_of_real_interpreters(tmp_path: Path) -> None:
    """Numbers that the user names are tried, failures with many cost the curve only, and the next test has one."""
    sessions.write(tmp_path, SESSION)
    arguments = ("--gilprobe-scale=1,2,4", "--gilprobe-strategies=interpreters", "--gilprobe-timeout=20")
    done = sessions.run(tmp_path, *arguments)
    assert done.exit_status == 0, done.output

    def curve(name: str) -> Any:
        return done.one(name)["scaling"]["interpreters"]

    def workers(name: str) -> list[int]:
        return [point["workers"] for point in curve(name)["points"]]

    assert workers("::test_sleeps") == [1, 2, 3, 5], curve("::test_sleeps")
    memory = [point["rss_bytes"] for point in curve("::test_sleeps")["points"]]
    assert memory == sorted(memory), "more interpreters take more memory"
    assert curve("::test_sleeps")["start_up_s"] > 0
    assert workers("::test_two_at_a_time") == [1, 2]
    assert (curve("::test_two_at_a_time")["failed_at"], curve("::test_two_at_a_time")["outcome"]) == (4, "failed")
    assert "too many connections" in curve("::test_two_at_a_time")["error"]
    assert (curve("::test_ended")["failed_at"], curve("::test_ended")["outcome"]) == (3, "crashed")
    assert done.one("::test_native")["strategies"]["interpreters"]["outcome"] == "skipped"
    assert done.one("::test_native")["scaling"] is None
    assert workers("::test_after") == [1, 2]


LOCKED = """
    import asyncio
    import ctypes
    import time

    import pytest

    libc = ctypes.CDLL(None)
    stream = ctypes.c_void_p.in_dll(libc, "stderr")

    def locked():
        time.sleep(0.002)
        libc.flockfile(stream)
        try:
            time.sleep(0.006)
        finally:
            libc.funlockfile(stream)

    @pytest.mark.gilprobe(scale=(1, 2, 4))
    def test_lock():
        locked()
"""
IN_HELPERS = """
    @pytest.mark.asyncio
    @pytest.mark.gilprobe(scale=(1, 2, 4))
    async def test_lock():
        await asyncio.to_thread(locked)
"""


def check_lock_limits(folder: Path, limit: str, *arguments: str) -> None:
    """Check that the limit of one test's interpreters begins so, or is not named: a busy machine may hide it."""
    done = sessions.run(folder, "--gilprobe-strategies=interpreters", *arguments)
    assert done.exit_status == 0, done.output
    found = done.one("::test_lock")["scaling"]["interpreters"]
    assert [point["workers"] for point in found["points"]] == [1, 2, 4], found
    assert found["limit"] is None or found["limit"].startswith(limit), found


@needs_them
@on_linux
def test_lock_of_their_process_limits_real_interpreters(tmp_path: Path) -> None:
    """A lock of the C library, held for 6 of 8 ms, lets one interpreter in at a time."""
    sessions.write(tmp_path, LOCKED)
    check_lock_limits(tmp_path, "a lock or pool in this process: it lets through")


@needs_them
@on_linux
def test_lock_of_their_helper_threads_is_not_called_outside(tmp_path: Path) -> None:
    """The thread of the event loop waits for events while a helper thread waits for the lock."""
    pytest.importorskip("pytest_asyncio")
    sessions.write(tmp_path, LOCKED + IN_HELPERS)
    check_lock_limits(tmp_path, OUTSIDE, "-p", "pytest_asyncio.plugin")
