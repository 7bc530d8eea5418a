"""The parent's side of the workers: which there are, asked one by one or at once, retired, replaced.

What the rest may rely on:

* A question to a worker always comes back: as its answer, or as `Lost` when the worker hung or died. Then it has been
  killed with all that it started, and `Pool.ready` starts another in its place.
* `Pool.close` leaves no process and no file behind. So does the death of this process: see `ownership.die_with_parent`.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gilprobe import host
from pytest_gilprobe.gil.watch import Watcher, WatchError
from pytest_gilprobe.model import GilTrace, Outcome
from pytest_gilprobe.workers import child
from pytest_gilprobe.workers.protocol import Answer, Failed, Question, Ready, Stop, WorkerSpec
from pytest_gilprobe.workers.remains import LOCK, PREFIX, locked, sweep
from pytest_gilprobe.workers.stuck import Stuck
from pytest_gilprobe.workers.surroundings import allowed_to_start, python_gil, without_coverage, without_main_module
from pytest_gilprobe.workers.worker import FAREWELL_S, Lost, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

RETIRE_S = 1.0
"""How long to wait for a worker that is replaced; after that it tears down beside what is timed next."""


class Pool:
    """The workers of one session."""

    def __init__(
        self,
        *,
        spec: WorkerSpec,
        start_method: str | None,
        timeout_s: float,
        gil: bool | None = None,
        stuck: Stuck | None = None,
    ) -> None:
        """Prepare to start workers as ``spec`` says; ``timeout_s`` bounds start-up, set-up and each batch.

        ``gil`` has them run with their GIL on or off, which only a free-threaded build under ``spawn`` can; None
        leaves that to Python.
        """
        # `get_context(None)` would fix the default for good, and the user's own `set_start_method` would fail.
        default = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
        self.start_method = start_method or default
        self._context: Any = multiprocessing.get_context(self.start_method)
        self.stuck = stuck or Stuck()
        self._spec = spec
        self._timeout_s = timeout_s
        self._gil = gil
        self._folder: Path | None = None
        self._lock: int | None = None
        self._started = 0
        self._workers: list[Worker] = []
        self._leaving: list[Worker] = []
        self._was_ready = False
        self._hopeless: Lost | None = None

    # Start

    def start(self, count: int) -> None:
        """Have at least ``count`` workers started, also for those that were ended from outside; do not wait for them.

        Raises OSError where no more processes, files or memory are to be had.
        """
        idle = [worker for worker in self._workers if worker.ready is not None]
        for worker in [gone for gone in [*self._leaving, *idle] if not gone.running]:
            self.discard(worker)
        while len(self._workers) < count and self._hopeless is None:
            self._workers.append(self._start_one())

    def _start_one(self) -> Worker:
        self._started += 1
        folder = self._own_folder() / f"worker-{self._started}"
        folder.mkdir()
        ours, theirs = self._context.Pipe(duplex=True)
        end, lifeline = self._context.Pipe(duplex=False)
        inherited = [ours, lifeline, *(held for worker in self._workers for held in (worker.channel, worker.lifeline))]
        spec = dataclasses.replace(
            self._spec,
            folder=str(folder),
            forked=self.start_method == "fork",
            overrides=tuple(flag.replace("{folder}", str(folder)) for flag in self._spec.overrides),
        )
        process = self._context.Process(
            target=child.serve,
            args=(theirs, end, tuple(inherited) if spec.forked else (), spec),
            name=f"gilprobe-worker-{self._started}",
        )
        with (
            without_main_module(),
            without_coverage(),
            python_gil(self._gil),
            allowed_to_start(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: the child only starts a session
            process.start()
        theirs.close()
        end.close()
        return Worker(process, ours, lifeline, folder)

    def _own_folder(self) -> Path:
        """Make this session's temporary folder, and lock it for as long as this process lives."""
        if self._folder is None:
            sweep(Path(tempfile.gettempdir()))
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._lock = locked(self._folder / LOCK)
        return self._folder

    def ready(self, count: int) -> list[Worker] | Lost:
        """Return ``count`` workers that have collected, starting what is missing, or why there are not so many.

        A conftest file or plugin may choke on a collection with files left out, or select by what it finds in all of
        them. Then, once a session, all workers are started again to collect as the parent did. Where none ever came
        to be ready even so, no more are started: each would cost its time-out.
        """
        if self._hopeless is not None:
            return self._hopeless
        found = self._ready(count)
        chokes = found.outcome is not Outcome.HUNG if isinstance(found, Lost) else any(map(self._misses, found))
        if self._spec.prune and chokes:
            self._spec = dataclasses.replace(self._spec, prune=False)
            for worker in list(self._workers):
                self.discard(worker)
            found = self._ready(count)
        if isinstance(found, Lost) and not self._was_ready:
            self._hopeless = found
            for worker in list(self._workers):
                self.discard(worker)
        return found

    def _misses(self, worker: Worker) -> bool:
        return worker.ready is not None and worker.ready.nodeids != self._spec.nodeids

    def _ready(self, count: int) -> list[Worker] | Lost:
        try:
            self.start(count)
        except OSError as error:  # no more processes, descriptors or memory to be had
            return Lost(outcome=Outcome.CRASHED, error=f"a worker process could not be started: {error}")
        chosen = self._workers[:count]
        for worker in chosen:
            if worker.ready is not None:
                continue
            answer = self._checked(self._hear(worker, self._deadline(self._timeout_s)))
            if isinstance(answer, Ready):
                worker.ready = answer
                self._was_ready = True
                worker.start_up_s = (host.perf_counter_ns() - worker.asked_ns) / 1e9
                continue
            why = answer.error if isinstance(answer, Failed | Lost) else f"it answered {answer!r}"
            log = worker.log()
            self.discard(worker)
            outcome = answer.outcome if isinstance(answer, Lost) else Outcome.CRASHED
            shown = "" if log in why else f"\n{log}"
            return Lost(outcome=outcome, error=f"a worker process could not start: {why}{shown}")
        return chosen

    def _checked(self, answer: Answer | Lost) -> Answer | Lost:
        """Refuse a worker whose GIL is not as it was asked for.

        ``-X gil`` on the command line goes before the environment.
        """
        if not isinstance(answer, Ready) or self._gil in {None, answer.gil_enabled}:
            return answer
        on, wanted = ("on" if state else "off" for state in (answer.gil_enabled, self._gil))
        return Failed(error=f"its GIL is {on} although it was started to have it {wanted}")

    # Ask

    def ask(self, worker: Worker, question: Question, timeout_s: float | None = None) -> Answer | Lost:
        """Ask one worker and wait for its answer."""
        return self.ask_all([worker], question, timeout_s)[0]

    def ask_all(
        self, workers: Sequence[Worker], question: Question, timeout_s: float | None = None
    ) -> list[Answer | Lost]:
        """Ask several workers at once and wait for all answers, in their order."""
        return self.ask_each([(worker, question) for worker in workers], timeout_s)

    def ask_each(self, asked: Sequence[tuple[Worker, Question]], timeout_s: float | None = None) -> list[Answer | Lost]:
        """Ask several workers at once, each its own question, and wait for all answers, in their order."""
        for worker, question in asked:
            worker.tell(question)
        deadline = self._deadline(timeout_s or self._timeout_s)
        return [self._hear(worker, deadline) for worker, _ in asked]

    def ask_watched(
        self, worker: Worker, question: Question, mean_interval_s: float
    ) -> tuple[Answer | Lost, GilTrace | None, str | None]:
        """Ask one worker and watch its GIL until it answers; the third value says why it could not be watched."""
        if worker.ready is None or worker.ready.gil_address is None:
            reason = worker.ready.gil_reason if worker.ready is not None else "the worker is not ready"
            return self.ask(worker, question), None, reason
        deadline = self._deadline(self._timeout_s)
        try:
            with Watcher(worker.ready.pid, worker.ready.gil_address, mean_interval_s=mean_interval_s) as watcher:
                self._tell([worker], question)
                answer = self._hear(worker, deadline, watcher)
                return answer, watcher.trace(), None
        except WatchError as error:
            return self.ask(worker, question), None, str(error)

    @staticmethod
    def _tell(workers: Sequence[Worker], question: Question) -> None:
        for worker in workers:
            worker.tell(question)

    @staticmethod
    def _deadline(timeout_s: float) -> int:
        return host.perf_counter_ns() + round(timeout_s * 1e9)

    def _hear(self, worker: Worker, deadline_ns: int, watcher: Watcher | None = None) -> Answer | Lost:
        """Wait for a worker's answer until the deadline; a worker that gives none is killed."""
        answer = worker.hear(deadline_ns, watcher)
        if isinstance(answer, Lost):
            self.discard(worker)
        return answer

    # End

    def retire(self, worker: Worker) -> None:
        """Have a worker tear its fixtures down and end; the next `start` replaces it."""
        self._workers.remove(worker)
        self._leaving.append(worker)
        self._tell([worker], Stop())
        worker.process.join(RETIRE_S)
        if not worker.running:
            self.discard(worker)

    def discard(self, worker: Worker) -> None:
        """Kill a worker and all that it started, and forget it."""
        for workers in (self._workers, self._leaving):
            if worker in workers:
                workers.remove(worker)
        worker.end()

    def close(self) -> None:
        """End every worker: politely where it is idle, then by force; remove all files."""
        idle = [worker for worker in self._workers if worker.ready is not None]
        idle += self._leaving
        try:
            self._tell(idle, Stop())
            deadline = self._deadline(FAREWELL_S)
            for worker in idle:
                worker.process.join(max(0.0, (deadline - host.perf_counter_ns()) / 1e9))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End every worker by force, now: the user wants out."""
        for worker in [*self._workers, *self._leaving]:
            self.discard(worker)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
