"""Start a session's worker processes, send them questions (messages), replace and end them.

If a worker hangs or dies, the result of a question is `Lost`, and the worker is killed with every process that it
started; `WorkerGroup.ready` starts another worker in its place. `WorkerGroup.close` leaves no process and no file
behind. If this process dies, its workers die, too.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe.descriptors import OpenFile, open_files
from pytest_gilprobe.observe.gil_sampler import GilSampler, SamplingError
from pytest_gilprobe.workers.child import server
from pytest_gilprobe.workers.parent.cleanup import new_folder
from pytest_gilprobe.workers.parent.hung_fixtures import HungFixtures
from pytest_gilprobe.workers.parent.launch_environment import ready_to_start, start_method_of
from pytest_gilprobe.workers.parent.worker import Lost, Watch, Worker, wait_for_end
from pytest_gilprobe.workers.protocol import Answer, Closed, Failed, Opened, Question, Ready, Stop
from pytest_gilprobe.workers.worker_spec import WorkerSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.workers.worker_spec import WorkerMain

RETIRE_S = 1.0
"""Longest wait, in seconds, for a replaced worker to end; a slower one ends while other workers time calls."""


class WorkerGroup:
    """The worker processes of one pytest session: start, ask, replace and end them."""

    def __init__(
        self,
        *,
        spec: WorkerSpec,
        start_method: str | None,
        timeout_s: float,
        gil: bool | None = None,
        hung_fixtures: HungFixtures | None = None,
    ) -> None:
        """Prepare to start worker processes, without starting any.

        Args:
            spec: the pytest session that each worker runs.
            start_method: start method of `multiprocessing`; ``None`` means the default of this process.
            timeout_s: seconds without an answer after which a worker is killed as hung, in start-up and per question.
            gil: whether workers run with the GIL (free-threaded build and ``spawn`` only); ``None``: as Python decides.
            hung_fixtures: record of the fixtures that hung; with ``None``, no hung fixture is remembered.
        """
        self.start_method = start_method_of(start_method)
        self._context: Any = multiprocessing.get_context(self.start_method)
        self.hung_fixtures = hung_fixtures or HungFixtures()
        self._spec = spec
        self._timeout_s = timeout_s
        self._gil = gil
        self._folder: Path | None = None
        self._lock: int | None = None
        self._started, self._any_was_ready = 0, False
        self._workers: list[Worker] = []
        self._retired: list[Worker] = []
        self._given_up: Lost | None = None
        self._main: WorkerMain = server.serve
        self._family: dict[str, WorkerGroup] = {"": self}
        self._ours: set[OpenFile] = set()  # what this process has open for its workers
        self.gil_switched_on_by: dict[str, None] = {}  # the modules that did so in a worker, in order

    def apart(self, name: str, main: WorkerMain) -> WorkerGroup:
        """Return an additional group of workers, whose processes run ``main``; it is made once for each ``name``.

        When this group is closed or abandoned, the additional groups are, too.
        """
        if name not in self._family:
            new = WorkerGroup(spec=self._spec, start_method=self.start_method, timeout_s=self._timeout_s, gil=self._gil)
            new._main, new._family, new.gil_switched_on_by = main, self._family, self.gil_switched_on_by
            new._ours = self._ours
            self._family[name] = new
        return self._family[name]

    # Start

    def start(self, count: int) -> None:
        """Start workers until there are ``count``, without waiting for them; replace the workers that have ended.

        Starts none if `ready` failed before any worker was ready. Raises `OSError` if processes or memory are refused.
        """
        idle = [worker for worker in self._workers if worker.ready is not None]
        self._discard([worker for worker in [*self._retired, *idle] if not worker.running])
        while len(self._workers) < count and self._given_up is None:
            self._workers.append(self._start_one())

    def _start_one(self) -> Worker:
        self._started += 1
        before = open_files()
        folder = self._own_folder() / f"worker-{self._started}"
        folder.mkdir()
        channel, channel_end = self._context.Pipe(duplex=True)
        lifeline_end, lifeline = self._context.Pipe(duplex=False)
        spec = dataclasses.replace(
            self._spec,
            folder=str(folder),
            forked=self.start_method == "fork",
            overrides=tuple(flag.replace("{folder}", str(folder)) for flag in self._spec.overrides),
        )
        ends = (channel, lifeline, *(end for _, one in self.everyone for end in (one.channel, one.lifeline)))
        given = (channel_end, lifeline_end, ends if spec.forked else (), spec)
        process = self._context.Process(target=self._main, args=given, name=f"gilprobe-worker-{self._started}")
        with ready_to_start(self._gil):
            process.start()
        channel_end.close()
        lifeline_end.close()
        inherited = before - self._ours if spec.forked else frozenset()
        self._ours |= open_files() - before
        return Worker(process, channel, lifeline, folder, inherited)

    def _own_folder(self) -> Path:
        """Make this session's temporary folder, and lock it for as long as this process lives."""
        if self._folder is None:
            self._folder, self._lock = new_folder()
        return self._folder

    def ready(self, count: int) -> list[Worker] | Lost:
        """Return ``count`` workers that have collected their tests, started as needed; `Lost` if one cannot start.

        At first they collect only the files with tests to probe. If a conftest file or plugin then fails, or selects
        other tests than in the parent, all start again, once a session, and collect every file.
        """
        if self._given_up is not None:
            return self._given_up
        found = self._wait_for(count)
        if self._spec.prune and self._needs_every_file(found):
            self._spec = dataclasses.replace(self._spec, prune=False)
            self._discard(self._workers)
            found = self._wait_for(count)
        if isinstance(found, Lost) and not self._any_was_ready:
            self._given_up = found
            self._discard(self._workers)
        return found

    def _needs_every_file(self, found: list[Worker] | Lost) -> bool:
        if isinstance(found, Lost):
            return found.outcome is not Outcome.HUNG
        return any(worker.ready is not None and worker.ready.nodeids != self._spec.nodeids for worker in found)

    def _wait_for(self, count: int) -> list[Worker] | Lost:
        try:
            self.start(count)
        except OSError as error:
            return Lost(outcome=Outcome.CRASHED, error=f"a worker process could not be started: {error}")
        chosen = self._workers[:count]
        for worker in chosen:
            if worker.ready is None and (failure := self._wait_for_one(worker)) is not None:
                return failure
        return chosen

    def _wait_for_one(self, worker: Worker) -> Lost | None:
        answer = self._checked(self._receive(worker, self._deadline(self._timeout_s)))
        if isinstance(answer, Ready):
            worker.ready = answer
            worker.start_up_s = (clocks.perf_counter_ns() - worker.started_ns) / 1e9
            self._any_was_ready = True
            return None
        why, log = answer.error if isinstance(answer, Failed | Lost) else f"it answered {answer!r}", worker.log()
        self.discard(worker)
        outcome = answer.outcome if isinstance(answer, Lost) else Outcome.CRASHED
        return Lost(outcome=outcome, error=f"a worker process could not start: {why}" + f"\n{log}" * (log not in why))

    def _checked(self, answer: Answer | Lost) -> Answer | Lost:
        """Refuse a worker whose GIL is not as wanted: ``-X gil`` on its command line overrides the environment."""
        if not isinstance(answer, Ready) or self._gil in {None, answer.gil_enabled}:
            return answer
        on, wanted = ("on" if state else "off" for state in (answer.gil_enabled, self._gil))
        return Failed(error=f"its GIL is {on} although it was started to have it {wanted}")

    @property
    def everyone(self) -> list[tuple[WorkerGroup, Worker]]:
        """All workers that have not been ended, also those of other groups of the session, each with its group."""
        return [(own, one) for own in self._family.values() for one in own._workers + own._retired]  # noqa: SLF001

    # Ask

    def ask(
        self, worker: Worker, question: Question, timeout_s: float | None = None, watch: Watch | None = None
    ) -> Answer | Lost:
        """Ask a worker and return its answer, or `Lost` if the worker died or did not answer in ``timeout_s`` seconds.

        With ``None``, the session's limit holds. Until the answer comes, ``watch`` samples the worker, such as its GIL.
        """
        worker.send(question)
        return self._receive(worker, self._deadline(timeout_s or self._timeout_s), watch)

    def ask_all(self, workers: Sequence[Worker], question: Question) -> list[Answer | Lost]:
        """Send these workers the same question; return their answers in the workers' order, `Lost` for lost ones."""
        return self.ask_each([(worker, question) for worker in workers])

    def ask_each(self, asked: Sequence[tuple[Worker, Question]], timeout_s: float | None = None) -> list[Answer | Lost]:
        """Send each worker its own question, then wait for all answers and return them in the same order.

        The answer is `Lost` if a worker dies or is killed after ``timeout_s`` seconds (``None``: the session's limit).
        """
        for worker, question in asked:
            worker.send(question)
        deadline = self._deadline(timeout_s or self._timeout_s)
        return [self._receive(worker, deadline) for worker, _ in asked]

    def ask_sampled(
        self, worker: Worker, question: Question, mean_s: float, *, watch_loop: bool = False
    ) -> tuple[Answer | Lost, GilSamples | None, str | None]:
        """Ask one worker, and sample the state of its GIL (held or free) until it answers.

        Returns the answer, and the samples or why there are none. ``mean_s`` is the mean seconds between samples. With
        ``watch_loop``, a sample also says what the worker's main thread sleeps in, and in which code.
        """
        ready = worker.ready
        if ready is None or ready.gil_address is None:
            return self.ask(worker, question), None, "the worker is not ready" if ready is None else ready.gil_reason
        deadline = self._deadline(self._timeout_s)
        try:
            watch = GilSampler(ready.pid, ready.gil_address, mean_interval_s=mean_s, frames=ready.frames)
            with watch.watch_loop(ready.main_thread, worker.events_fd) if watch_loop else watch as sampler:
                worker.send(question)
                return self._receive(worker, deadline, sampler), sampler.samples(), None
        except SamplingError as error:
            return self.ask(worker, question), None, str(error)

    def tell(self, question: Question) -> Worker | None:
        """Send any one worker a message that needs no answer; return that worker, or ``None`` if there is none."""
        worker = next((one for one in self._workers if one.alive), None)
        if worker is not None:
            worker.send(question)
        return worker

    @staticmethod
    def _deadline(timeout_s: float) -> int:
        return clocks.perf_counter_ns() + round(timeout_s * 1e9)

    def _receive(self, worker: Worker, deadline_ns: int, sampler: Watch | None = None) -> Answer | Lost:
        """Wait for a worker's answer until the deadline; kill a worker that gives none."""
        answer = worker.receive(deadline_ns, sampler)
        if isinstance(answer, Ready | Closed):
            self.gil_switched_on_by.update(dict.fromkeys(answer.gil_switched_on_by))
        if isinstance(answer, Opened):
            worker.events_fd = answer.events_fd
        if isinstance(answer, Lost):
            self.discard(worker)
        return answer

    # End

    def retire(self, worker: Worker) -> None:
        """Tell a worker to tear its fixtures down and end; the next call of `start` starts another in its place."""
        self._workers.remove(worker)
        self._retired.append(worker)
        worker.send(Stop())
        worker.process.join(RETIRE_S)
        if not worker.running:
            self.discard(worker)

    def discard(self, worker: Worker) -> None:
        """Kill a worker and every process that it started, and remove the worker from the group."""
        for workers in (self._workers, self._retired):
            if worker in workers:
                workers.remove(worker)
        worker.end()

    def _discard(self, workers: Sequence[Worker]) -> None:
        for worker in tuple(workers):
            self.discard(worker)

    def close(self) -> None:
        """Let idle workers tear fixtures down, for at most `END_S` seconds; then kill all and remove their files."""
        for group in [*self._family.values()][1:] if self._family[""] is self else ():
            group.close()
        idle = [worker for worker in self._workers if worker.ready is not None]
        try:
            for worker in idle:
                worker.send(Stop())
            wait_for_end([*idle, *self._retired])
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Kill all workers without tearing fixtures down, as after Ctrl-C, and remove their files."""
        for group in [*self._family.values()][1:] if self._family[""] is self else ():
            group.abandon()
        self._discard([*self._workers, *self._retired])
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
