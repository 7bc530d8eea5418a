"""Probe one function that has no test: for a script, a notebook and the command ``gilprobe run``."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_gilprobe import INSIDE_WORKER
from pytest_gilprobe.model import values
from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.evidence import EvidenceRecord
from pytest_gilprobe.model.readings import LaneReading
from pytest_gilprobe.model.results import Caution, WorkloadResult
from pytest_gilprobe.model.settings import Expectation, Plan
from pytest_gilprobe.model.words import EXECUTOR, SERIAL, CallKind, Status
from pytest_gilprobe.observe import machine
from pytest_gilprobe.probing import generated_test
from pytest_gilprobe.probing.assembly import environment_of, report_of
from pytest_gilprobe.probing.probed import Probed
from pytest_gilprobe.probing.prober import ProbeRunner
from pytest_gilprobe.probing.survey import Surveyor
from pytest_gilprobe.strategies.processes import NOT_IMPORTABLE
from pytest_gilprobe.strategies.registry import BUILT_IN, Strategies
from pytest_gilprobe.workers import event_loops, given_arguments, repeatable
from pytest_gilprobe.workers.arguments import Snapshot
from pytest_gilprobe.workers.naming import Given, arguments_made, unfit_maker, with_arguments, without_partials
from pytest_gilprobe.workers.normal_run import NormalRun
from pytest_gilprobe.workers.parent.group import WorkerGroup
from pytest_gilprobe.workers.parent.own_watch import OwnWatch

UNGUARDED = (
    "probe() was reached again while a worker process imported this script: put the code that calls it under "
    "`if __name__ == '__main__':`, since a new process imports the script to find the function"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prober:
    """Settings for each call of the methods `probe` and `fresh`; raises `GilprobeError` for an invalid value.

    Attributes:
        workers: number of threads, processes and so on that make calls at the same time, from 2 to 256; ``"auto"`` is
            the number of usable CPUs, but at least 2 and at most 4.
        max_time: seconds that one probe may take.
        strategies: one strategy's name or several, such as ``("threads", "processes")``; serial calls are always
            measured. ``None`` means the strategies that are tried by default.
        timeout: seconds after which a batch (a timed series of calls) is ended as hung.
        start_method: how worker processes start: ``"fork"``, ``"forkserver"`` or ``"spawn"``; ``None`` is
            multiprocessing's default, or ``"fork"`` if only a forked worker could get the function.
        evidence: whether the raw readings are kept, for `Probed.write_evidence`.
        executors: executors to try, each as ``NAME=MODULE:FACTORY``, where the factory takes nothing and returns a
            `concurrent.futures.Executor` or a context manager of one. They are tried in addition to ``strategies``.
        scale: numbers of workers with which throughput is also measured, as ``(1, 2, 4)`` or ``"1,2,4"``. ``True``
            chooses the numbers 1, 2, 4 ...; ``False`` leaves this out.
    """

    workers: int | str = "auto"
    max_time: float = 5.0
    strategies: str | Sequence[str] | None = None
    timeout: float = 60.0
    start_method: str | None = None
    evidence: bool = False
    executors: str | Sequence[str] = ()
    scale: bool | str | Sequence[int] = False

    def __post_init__(self) -> None:
        """Check the settings; raise `GilprobeError` for a value that is not allowed."""
        self._plan(None)
        if self.start_method is not None:
            available = multiprocessing.get_all_start_methods()
            values.check("start_method", values.start_method, self.start_method, available)

    def probe(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Probed:
        """Measure whether many calls of ``func(*args, **kwargs)`` would be faster in threads, processes and so on.

        The function is called once in this process, then repeatedly in worker processes; calls of a coroutine function
        are awaited in an event loop. Forked workers inherit the function; other workers import it by its name. In a
        script, call this under ``if __name__ == "__main__":``.

        Raises:
            GilprobeError: the call cannot be repeated, no worker can get the function, or a worker process called this.
            Exception: whatever ``func`` raises.
        """
        if INSIDE_WORKER in os.environ:
            raise GilprobeError(UNGUARDED)
        given = Given(func=func, args=args, kwargs=kwargs)
        _refuse(given)
        return self._measure(without_partials(given))

    def fresh(self, func: Callable[..., Any], make: Callable[[], object]) -> Probed:
        """Measure whether calls of ``func`` would be faster in parallel; each call gets new arguments from ``make()``.

        ``make`` is not timed. It returns a tuple of positional arguments; anything else counts as the only argument. If
        ``func`` is a coroutine function, ``make`` may be one, too: it is awaited in the same event loop. Worker
        processes must be able to import ``make``, or inherit it by a fork, as they do with ``func``. Raises
        `GilprobeError` if the calls cannot be measured, and whatever ``func`` and ``make`` raise.
        """
        if INSIDE_WORKER in os.environ:
            raise GilprobeError(UNGUARDED)
        if (unfit := unfit_maker(func, make)) is not None:
            msg = f"fresh(func, make) found {unfit}"
            raise GilprobeError(msg)
        given = Given(func=func, make=make)
        _refuse(given)
        return self._measure(given if event_loops.is_awaited(func) else replace(given, args=arguments_made(make)))

    @property
    def _texts(self) -> tuple[str, ...]:
        texts = [self.executors] if isinstance(self.executors, str) else list(self.executors)
        found: tuple[str, ...] = values.check("executors", values.executors, texts)
        return found

    @property
    def _known(self) -> Strategies:
        return BUILT_IN.with_executors(self._texts)

    def _plan(self, kind: CallKind | None) -> Plan:
        """Return the plan for calls of this kind; ``None`` just checks the settings, for a function not yet known."""
        known = self._known if kind is None else self._known.existing_for(kind)
        workers = values.check("workers", values.workers, self.workers)
        asked = known.default_names if self.strategies is None else self.strategies
        named = {name for name in known.names if name.startswith(EXECUTOR)}
        return Plan(
            nodeid=generated_test.NODEID,
            workers=workers if workers is not None else values.automatic_workers(machine.usable_cpus()),
            max_time_s=values.check("max_time", values.seconds, self.max_time),
            timeout_s=values.check("timeout", values.seconds, self.timeout),
            strategies=values.check("strategies", values.strategies, asked, known.names) | {SERIAL} | named,
            expectation=Expectation(),
            kind=known.kind,
            scale=values.check("scale", values.scale, self.scale),
        )

    def _measure(self, given: Given) -> Probed:
        """Start the workers, make one call here while they start, then have them repeat it.

        Workers forked before that call find its arguments as it did. One of them samples this process's GIL, in case
        that the call is too long to be repeated.
        """
        plan = self._plan(_kind_of(given))
        with generated_test.session_folder() as folder:
            group = WorkerGroup(
                spec=generated_test.spec_of(folder, self._texts),
                start_method=_start_method(given, self.start_method),
                timeout_s=plan.timeout_s,
            )
            kept: list[EvidenceRecord] = []
            runner = ProbeRunner(
                group=group,
                surveyor=Surveyor(group),
                strategies=self._known,
                progress=lambda _: None,
                keep_evidence=kept.append if self.evidence else None,
                own_watch=OwnWatch(group, holders=True),
            )
            end = group.abandon
            try:
                before = Snapshot.of(given_arguments.named(given) if given.make is None else {})
                is_forked = group.start_method == "fork"
                _send(given, folder, forked=is_forked)
                runner.start(plan.workers)
                runner.watch()
                run = _run_once(given)
                if is_forked:
                    _send(_as_before(given, before), folder, forked=True)
                result = runner.probe(plan, keep=0, known_call_s=_undisturbed_s(run), run=run)
                end = group.close
            finally:
                end()
        if result.status is not Status.PROBED and UNGUARDED in (result.reason or ""):
            raise GilprobeError(UNGUARDED)
        added = self._warning(result, given)
        cautions = (*result.verdict.cautions, *added)
        result = replace(result, nodeid=_name(given.func), verdict=replace(result.verdict, cautions=cautions))
        evidence = [replace(one, nodeid=result.nodeid, added=(*one.added, *added)) for one in kept]
        return Probed(report=report_of([result], environment_of(runner)), evidence=evidence[0] if evidence else None)

    def _warning(self, result: WorkloadResult, given: Given) -> tuple[Caution, ...]:
        """Return that an executor would not find the function, where only a forked worker of the probe could.

        Where executors fork by themselves, or the user asked for workers that do, there is nothing to warn of.
        """
        usual = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
        advised = self._known.get(result.verdict.strategy)
        if self.start_method is not None or usual == "fork" or advised is None or not advised.moves_data:
            return ()
        why = generated_test.why_unreachable(given)
        if why is None or any(caution.slug == NOT_IMPORTABLE for caution in result.verdict.cautions):
            return ()
        warning = Caution(
            slug=NOT_IMPORTABLE,
            message=f"a process pool starts its workers by {usual} here, and those do not find the function ({why}): "
            "put it into a module, or give the pool mp_context=multiprocessing.get_context('fork')",
        )
        return (warning,)


def probe(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Probed:
    """Measure whether many calls of ``func(*args, **kwargs)`` would be faster in parallel, with default settings.

    Raises `GilprobeError` if the calls cannot be measured, and whatever ``func`` raises.
    """
    return Prober().probe(func, *args, **kwargs)


def _kind_of(given: Given) -> CallKind:
    return CallKind.AWAITED if event_loops.is_awaited(given.func) else CallKind.PLAIN


def _run_once(given: Given) -> LaneReading:
    """Make one call here and return its clocks; raise `GilprobeError` if its result cannot be had again."""
    if _kind_of(given) is CallKind.AWAITED:
        run, result = _awaited(given)
    else:
        watched = NormalRun()
        result = given.call()
        run = watched.end()
    _stop(given, repeatable.unfinished(result))
    return run


def _refuse(given: Given) -> None:
    func = given.func
    if not callable(func):
        msg = f"probe(func, *args, **kwargs) found {func!r}, allowed: something to call; "
        msg += "pass the function, not its result"
        raise GilprobeError(msg)
    _stop(given, repeatable.used_up(given.args, given.kwargs))


def _undisturbed_s(run: LaneReading) -> float:
    """Return how long a call took without waiting for a CPU: workers may have been starting beside it."""
    return (run.end_ns - run.start_ns - (run.run_queue_ns or 0)) / 1e9


def _as_before(given: Given, before: Snapshot) -> Given:
    """Return a call with the arguments as they were before its first call, for workers that are forked after it."""
    if not before.changed():
        return given
    try:
        return given_arguments.replaced(given, before.copied())
    except Exception:  # noqa: BLE001 - whatever the user's classes raise: then workers get the arguments as they are
        return given


def _awaited(given: Given) -> tuple[LaneReading, Any]:
    """Run one call of a coroutine function in an event loop of its own, and return its clocks and its result.

    Arguments that a function makes for each call are made in that loop, before the clocks. Where a loop runs already,
    as in a notebook, the call gets a thread of its own.
    """
    import asyncio  # noqa: PLC0415 - heavy, and few functions are coroutine functions

    async def run_once() -> tuple[LaneReading, Any]:
        one = await with_arguments(given)
        watched = NormalRun()
        result = await one.call()
        return watched.end(), result

    if event_loops.running() is None:
        return asyncio.run(run_once())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(run_once())).result()


def _stop(given: Given, why: str | None) -> None:
    if why is not None:
        msg = f"{_name(given.func)} cannot be probed: {why}"
        raise GilprobeError(msg)


def _start_method(given: Given, asked: str | None) -> str | None:
    """Choose how workers start: as asked; forked where nothing else can bring them the function."""
    if asked is not None or "fork" not in multiprocessing.get_all_start_methods():
        return asked
    return "fork" if generated_test.why_unreachable(given) is not None else None


def _send(given: Given, folder: Path, *, forked: bool) -> None:
    why = None if forked else generated_test.why_unreachable(given)
    if why is not None:
        msg = (
            f"{_name(given.func)} cannot be sent to a worker process ({why}): put the function into a module "
            "and import it, with arguments that can be pickled"
        )
        raise GilprobeError(msg)
    generated_test.send(given, folder, forked=forked)


def _name(func: object) -> str:
    while isinstance(func, functools.partial):
        func = func.func
    return f"{getattr(func, '__module__', None) or 'builtins'}:{getattr(func, '__qualname__', type(func).__qualname__)}"
