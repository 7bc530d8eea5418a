"""Set a test up for strategies that have a worker process of their own, and discard such a worker after a failure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gilprobe.model.extension_imports import ExtensionImport, joined, others_text
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe.own_gils import OwnGils
from pytest_gilprobe.workers.extension_messages import (
    ExtensionsListed,
    ExtensionsTried,
    ListExtensions,
    TryExtensions,
)
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.protocol import Batch, Done, Failed, Opened

if TYPE_CHECKING:
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.parent.group import WorkerGroup
    from pytest_gilprobe.workers.parent.worker import Worker
    from pytest_gilprobe.workers.protocol import Answer, Open


AT_ONCE = 4
"""Largest number of lanes (subinterpreters of a worker process) that one message asks the worker to add. Each message
has the whole time-out, so that adding many lanes, by several messages, does not exceed it."""


class Opening(NamedTuple):
    """How it went to set a test up in the worker process that one strategy has for itself.

    Attributes:
        bad: the worker's answer that tells of a failure; ``None`` if all went well.
        during: what failed, such as ``set-up``; empty if nothing did.
        start_up_s: seconds until the worker's lanes (such as subinterpreters) were ready for their first test; ``None``
            if they never were.
        lane_start_up_s: seconds to start one lane in the running worker; ``None`` if unknown.
        extensions: extension modules that the test uses, each with whether it loads in that worker; after a success,
            only those that do not load.
    """

    bad: Answer | Lost | None = None
    during: str = ""
    start_up_s: float | None = None
    lane_start_up_s: float | None = None
    extensions: tuple[ExtensionImport, ...] = ()

    def noted(self) -> dict[str, Any]:
        """Return the start-up times of the strategy's worker and the test's extension modules, for an `ApartReading`.

        The keys are ``start_up_s``, the seconds until the worker's lanes (such as subinterpreters) were ready for their
        first test; ``lane_start_up_s``, the seconds to start one lane; and ``extensions``, modules that the test uses,
        each with whether it loads in that worker. Times are ``None`` if unknown.
        """
        return {
            "start_up_s": self.start_up_s,
            "lane_start_up_s": self.lane_start_up_s,
            "extensions": self.extensions,
        }


@dataclass(slots=True, kw_only=True)
class _OpenWorker:
    """A strategy's own worker, in which a test is open in so many lanes; it was asked for at ``asked_ns``."""

    group: WorkerGroup
    worker: Worker
    asked_ns: int
    lanes: int = 0
    gil_addresses: tuple[int, ...] = ()
    lane_threads: tuple[int, ...] = ()


class WorkersApart:
    """The worker processes that a single strategy uses, such as one with subinterpreters, while a test is set up there.

    A worker that hung, crashed or failed is discarded, and its strategy gets no other one until the next test.
    """

    def __init__(self, group: WorkerGroup) -> None:
        """Prepare for a test; ``group`` has the session's usual workers."""
        self._group = group
        self._open: dict[str, _OpenWorker] = {}

    def opened(self, strategy: Strategy, question: Open, usual: Worker) -> Opening:
        """Set the test up in the strategy's own worker process, make the first calls there, and return how that went.

        ``question`` is the message that asks the worker to set the test up. ``usual`` is another worker, in which the
        test is set up and has been called. If an extension module does not load in the strategy's worker, ``usual`` is
        asked which extension modules the test needs.
        """
        group, asked_ns = self.group(strategy), clocks.perf_counter_ns()
        ready = group.ready(1)
        if isinstance(ready, Lost):
            return Opening(ready, "start")
        (worker,) = ready
        known = self._open[strategy.name] = _OpenWorker(group=group, worker=worker, asked_ns=asked_ns)
        found = _entered(strategy, known, question)
        if isinstance(found, Opened):
            return Opening(
                start_up_s=worker.lanes_ready_s,
                lane_start_up_s=found.lane_start_up_s,
                extensions=tuple(one for one in found.imports if not one.loads),
            )
        if not isinstance(found.bad, Failed) or not found.bad.impossible:
            self.leave(strategy)
            return found
        refused = self._refused(group, worker, found.bad, usual)
        if known.lanes:
            self.leave(strategy)
        else:  # the worker is as good as before
            del self._open[strategy.name]
        return refused

    def widened(self, strategy: Strategy, question: Open) -> Answer | Lost | None:
        """Set the test up in further lanes (such as interpreters) of a strategy's own worker, and call it in all lanes.

        ``question`` says in how many lanes the test must be set up in all; nothing is done if it is set up in as many.
        At most `AT_ONCE` lanes are started at a time. Returns the worker's answer if it tells of a failure; ``None`` if
        all went well. After a failure, the test stays set up in the lanes in which it was before, unless the worker is
        lost.
        """
        known = self._open[strategy.name]
        while (before := known.lanes) < question.lanes:
            lanes = min(before + AT_ONCE, question.lanes)
            found = _entered(strategy, known, replace(question, lanes=lanes))
            if isinstance(found, Opening):
                return _of_start(found.bad, lanes - before) if known.lanes == before else found.bad
        return None

    def _refused(self, group: WorkerGroup, worker: Worker, bad: Failed, usual: Worker) -> Opening:
        """Find out of all extension modules that the test needs whether they load, since one did not."""
        listed = self._group.ask(usual, ListExtensions(forked=self._group.start_method == "fork"))
        files = listed.files if isinstance(listed, ExtensionsListed) else {}
        tried = group.ask(worker, TryExtensions(files=files)) if files else None
        loads = tried.loads if isinstance(tried, ExtensionsTried) else {}
        table = joined(bad.imports, loads)
        return Opening(replace(bad, error=bad.error + others_text(table, bad.error)), "set-up", extensions=table)

    def group(self, strategy: Strategy) -> WorkerGroup:
        """Return the group of worker processes in which a strategy's batches (timed series of calls) run.

        It is the strategy's own group if the strategy has a worker process for itself, else the group that strategies
        share.
        """
        main = strategy.worker_main()
        return self._group if main is None else self._group.apart(strategy.name, main)

    def worker(self, strategy: Strategy) -> Worker:
        """Return a strategy's own worker process, in which the test is set up; raise `KeyError` if there is none."""
        return self._open[strategy.name].worker

    def lane_threads(self, strategy: Strategy, lanes: int) -> tuple[int, ...]:
        """Return the system's ids of the threads that run the first ``lanes`` lanes of a strategy's own worker process.

        A lane is a subinterpreter that makes calls. The result is empty if the ids are not known.
        """
        known = self._open.get(strategy.name)
        return () if known is None else known.lane_threads[:lanes]

    def own_gils(self, strategy: Strategy, mean_s: float) -> OwnGils | None:
        """Return an object that samples the GILs of a strategy's subinterpreters, on average every ``mean_s`` seconds.

        The result is ``None`` unless the strategy makes its calls in subinterpreters of one process, each with its own
        GIL.
        """
        known = self._open.get(strategy.name)
        pid = known.worker.process.pid if known is not None and known.gil_addresses else None
        return None if known is None or pid is None else OwnGils(pid, known.gil_addresses, mean_s=mean_s)

    def leave(self, strategy: Strategy) -> bool:
        """Discard, after a failure, the worker process that a strategy has for itself, if there is one.

        Return whether the strategy makes its calls in a worker of its own, and not in those that strategies share.
        """
        known = self._open.pop(strategy.name, None)
        if known is not None and known.worker.alive:
            known.group.discard(known.worker)
        return strategy.worker_main() is not None

    def open_ones(self) -> list[tuple[WorkerGroup, Worker]]:
        """List the worker processes in which the test is set up and which a single strategy has for itself.

        Each is given as a pair: the group that the worker belongs to, and the worker.
        """
        return [(known.group, known.worker) for known in self._open.values()]


def _entered(strategy: Strategy, known: _OpenWorker, question: Open) -> Opened | Opening:
    """Open the test in all lanes of ``question`` that are missing, and call it once in all; return what went wrong.

    If nothing did, return the answer of the opened test.
    """
    group, worker = known.group, known.worker
    answer = group.ask(worker, question)
    if not isinstance(answer, Opened):
        return Opening(answer, "set-up")
    if worker.lanes_ready_s is None:
        worker.lanes_ready_s = (clocks.perf_counter_ns() - known.asked_ns) / 1e9
    known.gil_addresses = known.gil_addresses or answer.gil_addresses  # batches have no further lanes
    known.lanes, known.lane_threads = question.lanes, answer.lane_threads
    first = group.ask(worker, Batch(strategy=strategy.name, calls=1, lanes=question.lanes))
    return answer if isinstance(first, Done) else Opening(first, "its first call")


def _of_start(bad: Answer | Lost | None, more: int) -> Answer | Lost | None:
    """Say of an answer that did not come in time that no calls hung: ``more`` lanes did not start, or not soon."""
    if not isinstance(bad, Lost) or bad.outcome is not Outcome.HUNG:
        return bad
    why = f"starting {more} more, and setting the test up there, took too long: {bad.error}"
    return Failed(error=why)
