"""The strategy ``processes``: N worker processes, which share nothing, so data must be moved to them and back."""

from __future__ import annotations

import math
import multiprocessing
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.error_text import summary
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.results import Caution
from pytest_gilprobe.model.words import INCONCLUSIVE, NOT_ASKED, Gil, Outcome
from pytest_gilprobe.report import async_snippets, pool_snippets, shared_snippets
from pytest_gilprobe.stats import dispatch
from pytest_gilprobe.strategies.contract import Strategy
from pytest_gilprobe.strategies.dispatch_trial import DispatchTrial
from pytest_gilprobe.verdict import judge, pool_costs
from pytest_gilprobe.verdict.lane_cautions import longer_wait
from pytest_gilprobe.workers.child.process import executor_process
from pytest_gilprobe.workers.protocol import Batch

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pytest_gilprobe.model.ladder import StretchReading
    from pytest_gilprobe.model.loop_time import EventLoop
    from pytest_gilprobe.model.readings import Evidence, WorkerReading
    from pytest_gilprobe.model.results import Callee, StrategyResult, Transfer, Verdict
    from pytest_gilprobe.model.words import Bound
    from pytest_gilprobe.stats.dispatch import PoolInputs
    from pytest_gilprobe.workers.child.workload import Workload
    from pytest_gilprobe.workers.stretch_messages import Stretch

NOT_IMPORTABLE = "not-importable"
"""Identifier of the warning that other processes cannot import the function to be called, such as a lambda."""
WORTH_TELLING = 0.05
"""Moving a call's data to a process and back is reported if it takes at least this share of the call's time."""
MANY_CALLS = 10
"""Starting the processes is reported as a cost if it takes at least this many calls to pay off."""
OVERLAP = 1.15
"""Speed-up of threads above which they are said to overlap a little, not to take turns."""
BLOCKS_LOOP = 0.2
"""If a call blocks the event loop for at least this share of its time, the report says that this holds tasks back."""
WAITS_HOLDING = 0.2
"""The report says that a call holds the GIL mostly while it waits if the share of its time for which it holds the GIL
exceeds its CPU utilization by more than this."""


class Processes(Strategy):
    """The strategy of N worker processes, each with a GIL of its own."""

    name = "processes"
    rank = 40
    moves_data = True
    scales = True
    trial = DispatchTrial(work_s=400e-6, tasks=24, rounds=9, most_of_cpu=3)
    warmed_up_by_serial = True
    lane_nouns = ("process", "processes")
    color = "cyan"
    icon = "M1.5 4.5h5v7h-5zM9.5 4.5h5v7h-5z"

    def workers_needed(self, lanes: int) -> int:
        """Return ``lanes``: each lane is a worker process of its own."""
        return lanes

    def questions(self, calls: int, lanes: int) -> tuple[Batch, ...]:
        """Return the messages that ask for a batch (calls timed together): one for each of ``lanes`` worker processes.

        Each message asks for ``calls`` calls, one after the other.
        """
        return (Batch(strategy=self.name, calls=calls),) * lanes

    def run(self, work: Workload, question: Batch) -> WorkerReading:
        """Make as many calls in the main thread as ``question`` asks for; return the readings of the clocks."""
        return work.serial(question.calls, question.begin_ns, question.first_lane)

    def stretch(self, work: Workload, question: Stretch) -> StretchReading | None:
        """Make one call after the other for the time set by ``question``; return the moments at which they ended."""
        return work.stretch_of_one(question)

    def executor(self, workers: int, start_method: str) -> Executor | None:
        """Return a new process pool of ``workers`` processes, started by ``start_method``, such as ``fork``.

        The processes end when the process that calls this method ends.
        """
        from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415 - heavy, and not every session needs it

        context = multiprocessing.get_context(start_method)
        return ProcessPoolExecutor(workers, mp_context=context, initializer=executor_process)

    def in_pool(self, speedup: Estimate, inputs: PoolInputs) -> Estimate:
        """Return the speed-up to expect in a `ProcessPoolExecutor`, in which moving data takes CPU time from the calls.

        It is predicted from ``speedup``, that of the calls without an executor, and from the costs measured in
        ``inputs``.
        """
        found = dispatch.dispatched(speedup, inputs)
        if inputs.transfer is None:
            return found
        task = Estimate(value=inputs.task_s, low=inputs.task_s, high=inputs.task_s)
        lost = inputs.costs.lost_s if inputs.costs is not None else None
        beside, call_s, cpu_s = lost or task, inputs.serial.call_s, inputs.serial.call_cpu_s
        moving_s = inputs.transfer.parent_s + inputs.transfer.worker_s
        wanted = (
            (call_s.value, cpu_s.value + beside.value),
            (call_s.low, cpu_s.high + beside.high),
            (call_s.high, cpu_s.low + beside.low),
        )
        limits = (inputs.machine.cpus * call / max(busy + moving_s, 1e-12) for call, busy in wanted)
        return dispatch.capped_each(found, limits)

    def why_advised(self, evidence: Evidence, bound: Bound, gil: Gil) -> str:
        """Return why processes are advised: what went wrong with threads, or what keeps threads from gaining more."""
        if evidence.event_loop is not None:
            tasks = evidence.results.get("tasks")
            untried = tasks is not None and tasks.outcome is not Outcome.OK
            return _why_none("tasks", tasks) if untried else _why_not_in_the_loop(evidence.event_loop)
        threads = evidence.results.get("threads")
        if threads is None or threads.outcome is not Outcome.OK:
            return _why_none("threads", threads)
        return _why_threads_fall_short(evidence, gil, threads.speedup)

    def costs_text(self, evidence: Evidence, verdict: Verdict) -> tuple[str, ...]:
        """Return a clause for each cost that matters: the start of the processes, and moving data to them and back."""
        return tuple(filter(None, (self._pays_off(evidence, verdict), self._moving(evidence, verdict))))

    def cautions(self, evidence: Evidence, verdict: Verdict) -> tuple[Caution, ...]:
        """Return the warnings that apply: processes would pay off with shared memory, or cannot import the function."""
        found = (self._shared_memory(evidence, verdict), self._not_importable(evidence, verdict))
        return tuple(caution for caution in found if caution is not None)

    def when_broken(self, outcome: Outcome) -> Caution:
        """Return the warning that calls failed, hung or crashed in several processes at once, as ``outcome`` says."""
        return Caution(
            slug=f"fails-in-{self.name}",
            message=f"in {self.name} it {outcome}: several at once may not share what it uses",
        )

    def code(self, callee: Callee, workers: int, calls_per_task: int) -> list[str] | None:
        """Return source lines that make calls in a process pool, under the guard ``if __name__ == "__main__":``.

        ``workers`` is how many processes the pool has. ``calls_per_task`` is how many calls one task makes; it is
        ignored if the calls are awaited. This method never returns ``None``.
        """
        if callee.awaited:
            return async_snippets.in_executor("ProcessPoolExecutor", callee, workers)
        return pool_snippets.process_pool(callee, workers, calls_per_task)

    def code_with_shared_memory(self, callee: Callee, workers: int) -> list[str] | None:
        """Return source lines for calls in ``workers`` processes with arrays in shared memory; ``None`` if awaited."""
        return None if callee.awaited else shared_snippets.process_pool(callee, workers)

    # What processes cost, in words

    def _pays_off(self, evidence: Evidence, verdict: Verdict) -> str | None:
        costs, machine = evidence.costs_s(self), evidence.machine
        if verdict.strategy != self.name or verdict.speedup is None or costs is None or costs.start_up_s is None:
            return None
        measured = evidence.measurement.workers
        start_up_s = costs.start_up_s * (verdict.workers or measured) / measured + (machine.import_s or 0.0)
        calls = calls_to_pay_off(evidence.serial.call_s.value, verdict.speedup, start_up_s)
        if calls is None:
            return None
        callee, imported = evidence.measurement.callee, ""
        unknown = machine.import_s is None and machine.start_method not in {None, "fork"}
        if unknown:
            imported = ", and importing your modules more"
        elif machine.import_s and callee is not None:
            imported = f" with the import of {callee.module}"
        if calls < MANY_CALLS and not unknown:
            return None
        earliest = "at the earliest " if unknown else ""
        return (
            f"starting the {self.lane_nouns[1]} takes {numbers.seconds(start_up_s)}{imported}: "
            f"it pays off {earliest}from {numbers.calls(calls)} on"
        )

    def _moving(self, evidence: Evidence, verdict: Verdict) -> str | None:
        """Return the cost of moving data, once for all strategies; ``None`` if it is too small to be worth telling."""
        if self.name != next(one.name for one in evidence.strategies if one.moves_data):
            return None
        transfer, call_s = evidence.measurement.transfer, evidence.serial.call_s.value
        if transfer is None or transfer.pipe_s < call_s * WORTH_TELLING:
            return None
        size = numbers.size(transfer.argument_bytes + transfer.result_bytes)
        said = f"moving its data ({size}) to a process and back takes {numbers.seconds(transfer.pipe_s)} a call"
        if verdict.strategy == self.name:
            return said
        decides = verdict.strategy != INCONCLUSIVE and self._advised_with(evidence, None) is not None
        return f"{said}: do not use processes unless the data stays there" if decides else None

    def _advised_with(self, evidence: Evidence, transfer: Transfer | None) -> float | None:
        """Return the executor's speed-up at the moving cost ``transfer``; ``None`` if processes are not the advice."""
        found = evidence.results[self.name]
        if found.speedup is None or found.pool_speedup is None:
            return None
        inputs = pool_costs.pool_inputs(evidence, self)
        gain = self.in_pool(found.speedup, replace(inputs, transfer=transfer)).value
        return gain if judge.advised_if(evidence, {self.name: gain}) == self.name else None

    def _shared_memory(self, evidence: Evidence, verdict: Verdict) -> Caution | None:
        transfer = evidence.measurement.transfer
        if transfer is None or transfer.shared_parent_s is None or transfer.shared_worker_s is None:
            return None
        if verdict.strategy in {self.name, INCONCLUSIVE}:
            return None
        shared = replace(transfer, parent_s=transfer.shared_parent_s, worker_s=transfer.shared_worker_s)
        gain = self._advised_with(evidence, shared)
        if gain is None:
            return None
        cost = numbers.seconds(transfer.shared_parent_s + transfer.shared_worker_s)
        return Caution(
            slug="shared-memory-helps",
            message=f"with its arrays in multiprocessing.shared_memory ({cost} per call instead of "
            f"{numbers.seconds(transfer.pipe_s)}) processes would give {numbers.about(gain)}",
        )

    def _not_importable(self, evidence: Evidence, verdict: Verdict) -> Caution | None:
        callee = evidence.measurement.callee
        if callee is None or callee.importable or verdict.strategy != self.name:
            return None
        return Caution(
            slug=NOT_IMPORTABLE,
            message=f"{_whence(callee)}: processes find functions by their names, so move it to the top level of a "
            "module that they can import first",
        )


def _whence(callee: Callee) -> str:
    """Say where a function is from that no other process can import."""
    if callee.name == "lambda":
        return "the function is a lambda"
    if callee.module == "__main__":
        return f"{callee.name} is defined at a prompt, in a notebook or inside another function"
    return f"{callee.name} is made inside another function"


def calls_to_pay_off(call_s: float, speedup: float, start_up_s: float) -> int | None:
    """Return the smallest number of calls, at least 2, for which an executor is faster than serial calls.

    n serial calls take n * ``call_s`` seconds, an executor takes ``start_up_s`` + n * ``call_s`` / ``speedup``. Both
    are equal at n = ``start_up_s`` / (``call_s`` * (1 - 1 / ``speedup``)). ``None`` if the executor is never faster.
    """
    if speedup <= 1 or call_s <= 0:
        return None
    return max(2, math.ceil(start_up_s / (call_s * (1 - 1 / speedup))))


def _why_not_in_the_loop(loop: EventLoop) -> str:
    """Return why calls that are awaited in one event loop gain less there: what blocks it, as far as that is known."""
    shares = loop.shares
    if loop.blocked_fraction is None or shares is None:
        return "several calls at once in one event loop gain less"
    blocked = numbers.percent(loop.blocked_fraction.value)
    if loop.blocked_fraction.value < BLOCKS_LOOP:
        return f"a call blocks the event loop for only {blocked} of its time, so something else lets one in at a time"
    parts = {
        "computing": shares.computing,
        "a blocking call": shares.blocking,
        "waiting for the GIL": shares.gil_wait,
    }
    return f"the loop is blocked for {blocked} of a call's time, mostly by {max(parts, key=parts.__getitem__)}"


def _why_none(name: str, part: StrategyResult | None) -> str:
    """Say that a strategy, such as threads, was not asked for or not tried, or how it ended."""
    if part is None:
        return f"{name} were not tried"
    if part.error == NOT_ASKED:
        return f"{name} were not asked for"
    return f"{name} are out: {summary(part.error or str(part.outcome))}"


def _why_threads_fall_short(evidence: Evidence, gil: Gil, threads: Estimate | None) -> str:
    held, used = evidence.gil.held_fraction, evidence.serial.utilization.value
    if gil in {Gil.RELEASED, Gil.ABSENT}:
        return "not the GIL but a lock, shared data or memory holds the threads back"
    part = evidence.results.get("threads")
    waits = None if part is None else longer_wait(part, evidence.serial)
    if gil is Gil.PARTIAL and waits is not None:
        share = numbers.percent(waits)
        return f"the threads wait for a lock or a limit for {share} of their time, which is more than for the GIL"
    if held is None:
        held_by = "the GIL" if gil is Gil.HELD else "the GIL or a lock"
        return f"the threads hold each other back, by {held_by}"
    share, overlap = numbers.percent(held.value), threads is None or threads.value > OVERLAP
    if gil is Gil.HELD and used + WAITS_HOLDING < held.value:
        return f"a call holds the GIL for {share} of the time, mostly while it waits"
    if gil is Gil.HELD and not overlap:
        return f"the threads take turns: the GIL is held for {share} of the time"
    handing = "holds" if overlap else "and handing it over hold"
    return f"the GIL, held for {share} of the time, {handing} the threads back"
