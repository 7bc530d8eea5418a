"""The truth of the workloads of a corpus: what plain pools give on an idle machine. ``record.py`` runs this.

    python benchmarks/truth.py truth.json benchmarks/workloads.py -k sleep

In place of each test's call, the call is made serially, in a thread pool and in a process pool of the standard library,
in many short legs in turn for some seconds. Of each kind of leg only the fifth counts whose lanes queued least for a
CPU, with those that queued hardly at all: a choice that does not depend on the outcome. Nothing of the project's own
measuring is used. Legs of a plain loop between them show whether the machine was idle; if not, the truth is marked as
``disturbed``.
"""

from __future__ import annotations

import gc
import json
import math
import multiprocessing
import os
import pickle
import platform
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, stdev
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS: Final = "GILPROBE_TRUTH_SECONDS"
LANES: Final = 2
LEG_S: Final = 0.004
LIMIT_S: Final = 30.0
"""Seconds after which a pool's task counts as hung."""
FEWEST: Final = ((0.03, 4), (0.1, 3), (math.inf, 2))
"""Least number of calls in a lane's leg, for calls up to so many seconds: in one call alone a lock is not met as often
as in many."""
AHEAD_S: Final = 0.003
"""How long before a leg its lanes are told to start together."""
FEWEST_ROUNDS: Final = 4
PICKED: Final = 0.2
TASKS_S: Final = 0.01
CONTROL_LOOPS: Final = 80_000
LEAST_CONTROL: Final = 1.85
"""Least speed-up of a plain loop in two processes for the machine to count as idle."""
HARDLY: Final = 0.002
"""Lanes that queued for no more than this share of their time are as good as undisturbed."""
MOST_QUEUED: Final = 0.03
"""Greatest share of its time for which a lane may have queued in the legs that count."""
MOST_TASKS: Final = 2000
ROOM: Final = 66_560
"""Slots that a frame asks for, to get a chunk of 1 MiB for itself and what it calls. Where a call meets the end of one
of CPython's usual chunks, which is luck of its depth in the stack, each call maps a new one, at several times the cost.
*Source:* ``push_chunk`` in ``pystate.c``."""

_given: Given | None = None
"""The call, where forked workers find it."""


class Given(NamedTuple):
    """A call: the function and its arguments; ``moved`` if a process pool can be handed them, and give the result."""

    func: Callable[..., object]
    args: tuple[Any, ...] = ()
    moved: bool = False


class Lane(NamedTuple):
    """When a lane began and ended, how long it queued for a CPU (also to begin), and which thread it was."""

    started_ns: int
    ended_ns: int
    queued_ns: int
    thread: int


RunLane = Callable[[int, int], Lane]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One leg of some lanes: seconds a call, all lanes together, and the share of the time that they queued."""

    s_per_call: float
    queued: float


def lane(calls: int, start_ns: int) -> Lane:
    """Make so many calls from a moment on."""
    queued, started = queued_ns(), waited_until(start_ns)
    repeated(calls)
    return Lane(started, time.perf_counter_ns(), queued_ns() - queued, threading.get_native_id())


def repeated(calls: int) -> None:
    """Make so many calls; see `ROOM`."""
    assert _given is not None
    func, args, _ = _given
    for _ in range(calls):
        func(*args)


repeated = FunctionType(repeated.__code__.replace(co_stacksize=ROOM), globals())


def control_lane(_: int, start_ns: int) -> Lane:
    """Run a plain loop from a moment on, as `lane` makes calls."""
    queued, started = queued_ns(), waited_until(start_ns)
    for _number in range(CONTROL_LOOPS):
        pass
    return Lane(started, time.perf_counter_ns(), queued_ns() - queued, threading.get_native_id())


def waited_until(start_ns: int) -> int:
    """Wait for a moment, and return the time then."""
    time.sleep(max(0.0, (start_ns - time.perf_counter_ns()) / 1e9))
    return time.perf_counter_ns()


def queued_ns() -> int:
    """Return for how long this thread has been runnable and not running; 0 if the system does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text("ascii").split()[1])
    except (OSError, IndexError):
        return 0


def leg(pool: Executor | None, lanes: int, calls: int, run: RunLane = lane) -> Leg | None:
    """Run one leg, in this thread if there is no pool; ``None`` if one thread ran two lanes."""
    start_ns = time.perf_counter_ns() + round(AHEAD_S * 1e9)
    if pool is None:
        times = [run(calls, start_ns)]
    else:
        times = [future.result(LIMIT_S) for future in [pool.submit(run, calls, start_ns) for _ in range(lanes)]]
    if len({one.thread for one in times}) < lanes:
        return None
    span = max(one.ended_ns for one in times) - min(one.started_ns for one in times)
    spent = sum(one.ended_ns - one.started_ns for one in times)
    return Leg(s_per_call=span / 1e9 / calls / lanes, queued=sum(one.queued_ns for one in times) / spent)


def task(_: object) -> None:
    """Make one call in a pool: nothing is moved."""
    assert _given is not None
    _given.func(*_given.args)


def moving_task(args: tuple[Any, ...]) -> object:
    """Make one call in a pool with arguments that came along, and give its result back."""
    assert _given is not None
    return _given.func(*args)


def tasks(pool: Executor, number: int, *, moved: bool) -> float:
    """Return the seconds a call of so many tasks of one call each."""
    assert _given is not None
    started = time.perf_counter()
    if moved:
        list(pool.map(moving_task, [_given.args] * number, timeout=LIMIT_S))
    else:
        list(pool.map(task, range(number), timeout=LIMIT_S))
    return (time.perf_counter() - started) / number


@contextmanager
def killed(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Kill a pool's workers if one hangs: it would never end, since a fork beside other threads may be stuck."""
    try:
        yield
    except TimeoutError:
        for process in list(pool._processes.values()):  # noqa: SLF001 - there is no other way before CPython 3.14
            process.kill()
        raise


def measure(given: Given, seconds: float) -> dict[str, Any]:
    """Measure one call for so many seconds."""
    global _given  # noqa: PLW0603 - see there
    _given = given
    given.func(*given.args)
    gc.collect()
    gc.freeze()  # what pytest and other tests have imported costs the call's collections nothing, as in a probe
    cpu, started = time.process_time(), time.perf_counter()
    first = [_timed(given) for _ in range(3)]
    used, call_s = (time.process_time() - cpu) / (time.perf_counter() - started), min(first)
    fewest = next(number for limit, number in FEWEST if call_s <= limit)
    calls = max(fewest, math.ceil(LEG_S / call_s))
    number = min(MOST_TASKS, max(4 * LANES if call_s < FEWEST[0][0] else 2 * LANES, math.ceil(TASKS_S / call_s)))
    legs: defaultdict[str, list[Leg]] = defaultdict(list)
    pooled: defaultdict[str, list[float]] = defaultdict(list)
    with ProcessPoolExecutor(LANES, mp_context=multiprocessing.get_context("fork")) as processes, killed(processes):
        list(processes.map(task, range(4 * LANES)))  # all workers are forked before there are threads
        with ThreadPoolExecutor(LANES) as threads:
            list(threads.map(task, range(4 * LANES)))
            end, rounds = time.perf_counter() + seconds, 0
            kinds: tuple[tuple[str, Executor | None, int, RunLane], ...] = (
                ("serial", None, 1, lane),
                ("threads", threads, LANES, lane),
                ("alone", processes, 1, lane),
                ("processes", processes, LANES, lane),
                ("control alone", processes, 1, control_lane),
                ("control", processes, LANES, control_lane),
            )
            while time.perf_counter() < end or rounds < FEWEST_ROUNDS:
                for name, pool, lanes, run in kinds:
                    done = leg(pool, lanes, calls, run)
                    if done is not None and rounds:  # the first round warms up
                        legs[name].append(done)
                pooled["serial"].append(_serially(number))
                pooled["threads"].append(tasks(threads, number, moved=False))
                pooled["processes"].append(tasks(processes, number, moved=given.moved))
                rounds += 1
    control = ratio(picked(legs["control alone"]), picked(legs["control"]))
    queued = max((best_queue(some) for some in legs.values()), default=0.0)
    return {
        "call_s": call_s,
        "cpu": used,
        "rounds": rounds,
        "moved": given.moved,
        "disturbed": control is None or control["value"] < LEAST_CONTROL or queued > MOST_QUEUED,
        "control": control,
        "queued": round(queued, 4),
        "bare": {
            "threads": ratio(picked(legs["serial"]), picked(legs["threads"])),
            "processes": ratio(picked(legs["alone"]), picked(legs["processes"])),
        },
        "pool": {name: ratio(least(pooled["serial"]), least(pooled[name])) for name in ("threads", "processes")},
    }


def _timed(given: Given) -> float:
    started = time.perf_counter()
    given.func(*given.args)
    return time.perf_counter() - started


def _serially(number: int) -> float:
    done = lane(number, 0)
    return (done.ended_ns - done.started_ns) / 1e9 / number


def picked(legs: Sequence[Leg]) -> list[float]:
    """Return the seconds a call of the legs that queued least, with all that queued no longer than those."""
    limit = max(HARDLY, sorted(one.queued for one in legs)[: fifth(legs)][-1]) if legs else 0.0
    return [one.s_per_call for one in legs if one.queued <= limit]


def best_queue(legs: Sequence[Leg]) -> float:
    """Return the median queueing of the legs that queued least."""
    return median(sorted(one.queued for one in legs)[: fifth(legs)])


def least(times: Sequence[float]) -> list[float]:
    """Return the shortest times: in a pool, which hands out tasks in a thread of its own, others only slow it."""
    return sorted(times)[: fifth(times)]


def fifth(every: Sequence[object]) -> int:
    """Return how many of these are a fifth, but three at least."""
    return max(3, round(len(every) * PICKED))


def ratio(base: Sequence[float], other: Sequence[float]) -> dict[str, float] | None:
    """Return how much faster the other is, and the relative standard error of that; ``None`` if there are no legs."""
    if not base or not other:
        return None
    error = math.hypot(
        *(1.25 * stdev(map(math.log, one)) / math.sqrt(len(one)) for one in (base, other) if len(one) > 1)
    )
    return {"value": round(median(base) / median(other), 4), "error": round(error, 4)}


class Measured:
    """A plugin that measures each test's call in its place."""

    def __init__(self, seconds: float) -> None:
        """Keep what is found."""
        self.seconds = seconds
        self.found: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        """Find the call: the one that is given to the fixture ``gilprobe``, or the whole test; measure it."""
        names = pyfuncitem._fixtureinfo.argnames  # noqa: SLF001 - as pytest's own call does
        values = {name: pyfuncitem.funcargs[name] for name in names}
        passed: list[Given] = []

        def fixture(func: Callable[..., object], /, *args: Any, **keywords: Any) -> object:
            if not keywords:
                passed.append(Given(func, args))
            return func(*args, **keywords)

        if "gilprobe" in values:
            values["gilprobe"] = fixture
        pyfuncitem.obj(**values)
        given = passed[0] if passed else Given(lambda: pyfuncitem.obj(**values))
        given = given._replace(moved=bool(passed) and can_be_moved(given))
        try:
            self.found[pyfuncitem.nodeid] = measure(given, self.seconds)
        except TimeoutError:
            print(f"{pyfuncitem.nodeid}: a pool hung; its truth is not known", file=sys.stderr)
        return True


def can_be_moved(given: Given) -> bool:
    """Tell whether a process pool can be handed the arguments, and give back the result."""
    try:
        pickle.dumps((given.args, given.func(*given.args)))
    except Exception:  # noqa: BLE001 - anything may raise where something cannot be pickled
        return False
    return True


def main() -> None:
    """Measure, and write the file."""
    path, *arguments = sys.argv[1:]
    measured = Measured(float(os.environ.get(SECONDS, "4")))
    flags = ["-q", "-p", "no:cacheprovider", "--gilprobe-disable", "-W", "ignore"]
    pytest.main([*flags, *arguments], plugins=[measured])
    head = {"python": platform.python_version(), "cpus": os.cpu_count()}
    Path(path).write_text(json.dumps({**head, "workloads": measured.found}, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
