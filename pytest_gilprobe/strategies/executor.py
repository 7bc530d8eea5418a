"""The strategies ``executor:NAME``: calls, with their data, through an executor that the user named.

A function of the user's, the factory, makes the executor. The executor's speed-up is measured, not predicted: serial
calls and the executor's tasks are timed in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.results import Caution
from pytest_gilprobe.model.thresholds import WORTH_IT
from pytest_gilprobe.model.words import EXECUTOR, STRATEGY_NAME
from pytest_gilprobe.report import pool_snippets
from pytest_gilprobe.strategies.contract import Strategy
from pytest_gilprobe.workers.protocol import Batch

if TYPE_CHECKING:
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.executors import ExecutorResult
    from pytest_gilprobe.model.readings import Evidence, WorkerReading
    from pytest_gilprobe.model.results import Callee, StrategyResult, Verdict
    from pytest_gilprobe.model.words import Bound, Gil, Outcome
    from pytest_gilprobe.stats.dispatch import PoolInputs
    from pytest_gilprobe.workers.child.workload import Workload
    from pytest_gilprobe.workers.executor_messages import StartExecutor


UNKNOWN_FACTORY = "?:?"
"""Placeholder for ``MODULE:FACTORY``, the function that makes an executor, if only the executor's name is known, from a
report."""


class ViaExecutor(Strategy):
    """The strategy that makes calls through an executor of the user's (``--gilprobe-executor=NAME=MODULE:FACTORY``)."""

    rank = 60
    moves_data = False  # what moving its data costs is measured with its tasks
    through_executor = True
    lane_nouns = ("worker", "workers")
    color = "orange"
    icon = "M8 1.5v5M8 6.5L3 11M8 6.5l5 4.5M1.5 11h3v3h-3zM11.5 11h3v3h-3z"

    def __init__(self, name: str, factory: str | Callable[[], Any], *, by_default: bool = True) -> None:
        """Name an executor, and what makes it.

        Args:
            name: the name; the strategy is called ``executor:`` and this name.
            factory: a function without arguments that returns an executor or a context manager of one, or
                ``MODULE:FACTORY``, which is imported only where the executor is started.
            by_default: whether the executor is tried if ``strategies=`` is not given.

        Raises:
            GilprobeError: the name is not a small letter followed by small letters, digits, ``-`` and ``_``; or
                ``factory`` is a text, but not ``MODULE:FACTORY``.
        """
        self.name = f"{EXECUTOR}{name}"
        if STRATEGY_NAME.fullmatch(self.name) is None:
            msg = f"an executor's name: found {name!r}, allowed: small letters, digits, - and _, a letter first"
            raise GilprobeError(msg)
        if isinstance(factory, str) and not all(factory.partition(":")):
            msg = f"the factory of {self.name}: found {factory!r}, allowed: MODULE:FACTORY, such as shop.pools:make"
            raise GilprobeError(msg)
        self.factory = factory
        self.default = by_default

    @property
    def factory_text(self) -> str:
        """The function that makes the executor, as ``MODULE:FACTORY``."""
        if isinstance(self.factory, str):
            return self.factory
        name = getattr(self.factory, "__qualname__", type(self.factory).__qualname__)
        return f"{getattr(self.factory, '__module__', None) or 'builtins'}:{name}"

    def default_for(self, kind: object) -> bool:
        """Return whether the executor is tried if ``strategies=`` is not given, whatever the ``kind`` of calls."""
        return self.default

    def refuses(self, work: Workload) -> str | None:
        """Return why the executor cannot make the calls of this test; ``None`` if it can.

        It can if the test gives a plain function, with its arguments, to the `gilprobe` fixture. It cannot call a whole
        test, nor a coroutine function.
        """
        if work.is_coroutine:
            return "an executor takes plain functions, and this test calls a coroutine function"
        if work.given is None:
            return "an executor is given a function, not a test: pass it by the fixture, gilprobe(function, ...)"
        return None

    def workers_needed(self, lanes: int) -> int:
        """Return 1: one worker process starts the executor, which has workers of its own."""
        return 1

    def questions(self, calls: int, lanes: int) -> tuple[Batch, ...]:
        """Return the message that asks for a batch (calls timed together): a `Batch` for the process with the executor.

        It asks for ``calls`` times ``lanes`` calls. The executor decides how many of these it makes at a time.
        """
        return (Batch(strategy=self.name, calls=calls, lanes=lanes),)

    def start(self, work: Workload, question: StartExecutor) -> None:
        """Make the user's executor in this worker process, and measure what the executor's tasks cost.

        The executor is kept in ``work.held``, where ``work`` is the test that is set up, until the test is torn down.
        ``question`` has the longest time that a task may take. Raises `ExecutorError` if the executor does not work.
        """
        from pytest_gilprobe.workers.child import executor_batch  # noqa: PLC0415 - only for who names an executor
        from pytest_gilprobe.workers.naming import resolved  # noqa: PLC0415

        factory = partial(_called, resolved, self.factory) if isinstance(self.factory, str) else self.factory
        work.held[self.name] = executor_batch.start(work, factory, self.factory_text, question.lanes, question.limit_s)

    def run(self, work: Workload, question: Batch) -> WorkerReading:
        """Make as many calls through the executor as ``question`` asks for; return the readings of the clocks."""
        from pytest_gilprobe.workers.child import executor_batch  # noqa: PLC0415 - only for who names an executor

        return executor_batch.run(work.held[self.name], question.calls, question.lanes)

    def longest_factor(self, lanes: int, cpus: int, busy: float) -> float:
        """Return twice ``lanes``: the longest time that a batch may take, as a multiple of a serial batch's time.

        A batch is a number of calls that are timed together. In the worst case, the executor makes one call at a time.
        It also makes each call twice: in a task of its own, and in a task of several calls.
        """
        return 2.0 * lanes

    def in_pool(self, speedup: Estimate, inputs: PoolInputs) -> Estimate:
        """Return the executor's measured speed-up with one call per task; ``speedup`` if only ``speedup`` was measured.

        ``inputs`` has the one-call speed-up. If several calls per task save time, ``speedup`` is the one with several.
        """
        executor = inputs.executor
        return speedup if executor is None or executor.single_speedup is None else executor.single_speedup

    # How it is told

    def lanes_text(self, workers: int) -> str:
        """Return the executor's name: it decides by itself how many workers it has, so ``workers`` is ignored."""
        return self.name

    def gain_text(self, workers: int, speedup: float) -> str:
        """Return the phrase for the executor's speed-up, such as ``executor:dask gives 1.9x``."""
        return f"{self.name} gives {numbers.about(speedup)}"

    def why_advised(self, evidence: Evidence, bound: Bound, gil: Gil) -> str:
        """Return why the executor is advised: how long dispatching a task takes, also as a share of a call's time."""
        part = evidence.results[self.name]
        if part.executor is None:
            return "its tasks were faster than serial calls"
        share = numbers.percent(min(1.0, part.executor.task_s / max(evidence.serial.call_s.value, 1e-12)))
        return f"dispatching a task takes {numbers.seconds(part.executor.task_s)}, {share} of a call"

    def costs_text(self, evidence: Evidence, verdict: Verdict) -> tuple[str, ...]:
        """Return a clause on how long a call must be, or how many calls a task must make, for this executor to pay off.

        The result is empty if the executor was not measured.
        """
        part = evidence.results[self.name]
        return () if part.executor is None else (self._pays_off(part, part.executor, evidence.serial),)

    def _pays_off(self, part: StrategyResult, found: ExecutorResult, serial: StrategyResult) -> str:
        single, call_s = found.single_speedup, serial.call_s.value
        if single is not None and single.low >= WORTH_IT:
            said = f"{numbers.seconds(call_s)} a call is enough for {self.name}"
            if found.pays_from_s is not None and found.pays_from_s < call_s:
                said += f", which would pay off from {numbers.seconds(found.pays_from_s)} (predicted)"
            return said
        if part.speedup is not None and part.speedup.low < WORTH_IT <= part.speedup.high:
            return f"from which size on {self.name} pays off is open"
        if found.pays_from_calls is None or found.pays_from_s is None:
            best = min(part.speedup.value, float(found.at_once)) if part.speedup is not None else 1.0
            return f"{self.name} does not pay off with any number of calls per task: {numbers.about(best)} at best"
        if found.pays_from_calls == 1:
            return f"{self.name} is about worth it with one call per task"
        return (
            f"{self.name} pays off from {numbers.seconds(found.pays_from_s)} a call, or from "
            f"{numbers.count(found.pays_from_calls, 'call')} per task"
        )

    def cautions(self, evidence: Evidence, verdict: Verdict) -> tuple[Caution, ...]:
        """Return a warning if the executor gains only with several calls per task; else an empty tuple."""
        found = evidence.results[self.name].executor
        if found is None or found.chunk_speedup is None or found.single_speedup is None:
            return ()
        if found.chunk_speedup.low < WORTH_IT or found.single_speedup.high >= found.chunk_speedup.low:
            return ()
        tasks = numbers.count(found.calls_per_task, "call")
        of_many, single = (
            numbers.about(gain.at_most(found.at_once).value) for gain in (found.chunk_speedup, found.single_speedup)
        )
        message = (
            f"{self.name} gives {of_many} with {tasks} per task, {single} with one: "
            f"dispatching a task takes {numbers.seconds(found.task_s)}"
        )
        return (Caution(slug="larger-tasks", message=message),)

    def when_broken(self, outcome: Outcome) -> Caution:
        """Return the warning that the call failed, hung or crashed in this executor; ``outcome`` says which."""
        return Caution(slug="fails-in-executor", message=f"in {self.name} it {outcome}: see the error below")

    def code(self, callee: Callee, workers: int, calls_per_task: int) -> list[str] | None:
        """Return source lines that make the user's executor, and make calls of ``callee`` in it.

        ``calls_per_task`` is how many calls one task makes; ``workers`` is ignored. The result is ``None`` if calls are
        awaited, or if code cannot import the function that makes the executor.
        """
        parts = self.factory_text.replace(":", ".").split(".")
        if callee.awaited or not all(part.isidentifier() for part in parts):
            return None
        return pool_snippets.named_executor(self.factory_text, callee, calls_per_task)


def _called(resolved: Callable[[str], Any], text: str) -> Any:
    return resolved(text)()


def from_text(text: str) -> ViaExecutor:
    """Return the strategy of an executor that the user named as ``NAME=MODULE:FACTORY``.

    ``FACTORY`` is the function that makes the executor. Raises `GilprobeError` if ``text`` is not of that form.
    """
    name, equals, factory = text.partition("=")
    if not equals:
        msg = f"an executor: found {text!r}, allowed: NAME=MODULE:FACTORY, such as dask=shop.pools:make"
        raise GilprobeError(msg)
    return ViaExecutor(name.strip(), factory.strip())
