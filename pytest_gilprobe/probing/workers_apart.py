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
"""Maximum number of further lanes (interpreters) that are started together when throughput is measured with growing
numbers of lanes. Each such portion has the whole time-out, so that many lanes do not time out just for their number."""


class Opening(NamedTuple):
    """How setting a test up in a strategy's own worker process went.

    Attributes:
        bad: the worker's answer that tells of a failure; ``None`` if all went well.
        during: what failed, such as ``set-up``; empty if nothing did.
        start_up_s: seconds until the worker's lanes (such as interpreters) were ready for their first test; ``None`` if
            they never were.
        lane_start_up_s: seconds that starting one further lane took in the running worker; ``None`` if unknown.
        extensions: the test's extension modules of which it is known whether they load in that worker.
    """

    bad: Answer | Lost | None = None
    during: str = ""
    start_up_s: float | None = None
    lane_start_up_s: float | None = None
    extensions: tuple[ExtensionImport, ...] = ()

    def noted(self) -> dict[str, Any]:
        """Return the values to store as readings, by the names of fields of `ApartReading`."""
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
    """The worker processes of strategies that have one of their own, as far as a test is open (set up) in them.

    A worker that hung, crashed or failed is discarded, and its strategy gets no other one until the next test.
    """

    def __init__(self, group: WorkerGroup) -> None:
        """Prepare for a test; ``group`` has the session's usual workers."""
        self._group = group
        self._open: dict[str, _OpenWorker] = {}

    def opened(self, strategy: Strategy, question: Open, usual: Worker) -> Opening:
        """Open the test in the strategy's own worker, make the first calls there, and return how that went.

        ``question`` is the message that opens the test. ``usual`` is a worker in which the test is open and has been
        called: that worker knows which modules the test needs.
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

        ``question`` says in how many lanes the test must be set up in all; nothing is done if it is. At most `AT_ONCE`
        lanes are started at a time. Returns the answer that tells what went wrong; ``None`` if nothing did. After a
        failure, the test stays set up in the lanes in which it was, unless the worker is lost.
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
        """Return the group of workers in which a strategy's batches run.

        It is the strategy's own group if the strategy has a worker process of its own, else the session's usual group.
        """
        main = strategy.worker_main()
        return self._group if main is None else self._group.apart(strategy.name, main)

    def worker(self, strategy: Strategy) -> Worker:
        """Return a strategy's own worker, in which the test is open; raise `KeyError` if there is none."""
        return self._open[strategy.name].worker

    def lane_threads(self, strategy: Strategy, lanes: int) -> tuple[int, ...]:
        """Return the system's ids of the threads in which the first ``lanes`` lanes of a strategy's own worker run.

        The result is empty if they are not known.
        """
        known = self._open.get(strategy.name)
        return () if known is None else known.lane_threads[:lanes]

    def own_gils(self, strategy: Strategy, mean_s: float) -> OwnGils | None:
        """Return an object that samples the GILs of a strategy's subinterpreters, on average every ``mean_s`` seconds.

        The result is ``None`` unless the strategy's lanes are subinterpreters of one process, each with its own GIL.
        """
        known = self._open.get(strategy.name)
        pid = known.worker.process.pid if known is not None and known.gil_addresses else None
        return None if known is None or pid is None else OwnGils(pid, known.gil_addresses, mean_s=mean_s)

    def leave(self, strategy: Strategy) -> bool:
        """Discard the worker of a strategy's own after a failure there, if there is one.

        Return whether the strategy uses a worker process of its own instead of the session's usual ones.
        """
        known = self._open.pop(strategy.name, None)
        if known is not None and known.worker.alive:
            known.group.discard(known.worker)
        return strategy.worker_main() is not None

    def open_ones(self) -> list[tuple[WorkerGroup, Worker]]:
        """List the strategies' own workers in which the test is open (set up), each after its group."""
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
