"""Time a call in threads that share its objects, and in threads that have one object, or all objects, of their own.

The objects of a call are its arguments, or a test's fixtures and instance. A test's function-scoped fixtures and its
instance are made anew for each thread. All other objects are copied if possible. Threads that share objects share one
of the copies, so that the originals stay as they are.

The control, plain Python that shares nothing, is timed in between, in one thread and in all threads: it shows what
threads gain at best in this build of Python, on this machine, at that time.
"""

from __future__ import annotations

import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilprobe.model.sharing import ALL, ALONE, CONTROL, CONTROL_ALONE, SHARED, SharingReading
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers.arguments import Snapshot, is_constant
from pytest_gilprobe.workers.child import batch, control, fixture_sets, workload
from pytest_gilprobe.workers.child.argument_watch import arguments_of, described
from pytest_gilprobe.workers.child.suspects import suspects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_gilprobe.model.readings import WorkerReading
    from pytest_gilprobe.model.sharing import Suspect
    from pytest_gilprobe.workers.child.argument_watch import Arguments
    from pytest_gilprobe.workers.child.calls import Call
    from pytest_gilprobe.workers.child.workload import Workload
    from pytest_gilprobe.workers.sharing_messages import SweepSharing

MOST_OBJECTS = 6
"""Largest number of objects that are tried one by one. For each there is a timing in which every thread has its own
copy of this object and shares all others; each such timing prolongs every round (a round makes every timing once)."""
MOST_ROUNDS = 25
"""Largest number of rounds (a round makes every timing once): more rounds hardly narrow the confidence intervals."""
PARTS = 8
"""Number of rounds (a round makes every timing once) that should fit into the time allowed for them; if they would not,
each round makes fewer calls than asked for."""
FOLDER = "fixture tmp_path"
"""Name of the fixture ``tmp_path`` among the objects of a call. Each thread has a folder of its own, even in timings in
which threads share everything else."""
MOST_SET_UP = 0.25
"""Largest share of the time for all timings that making a test's fixtures for every thread may take. If it would take
longer, all threads share one set of fixtures."""


def sweep(work: Workload, question: SweepSharing) -> SharingReading:
    """Time the call of ``work`` in threads that share its objects, and in threads with objects of their own.

    Rounds of timings are made until the time is up. ``question`` says how long that is, in how many threads, and
    whether the control (plain Python that shares nothing) is timed, too. If no object can be copied or made anew,
    rounds are made only if the control is timed. For a coroutine test or a `unittest.TestCase`, there are no rounds.

    Raises `WorkloadError` if a call raises, and whatever the user's classes and fixtures raise while the objects are
    made. Fixtures that were made for the threads are torn down afterwards.
    """
    until_ns = clocks.perf_counter_ns() + round(question.most_s * 1e9)
    is_plain = work.coroutine is None and not isinstance(work.item.instance, unittest.TestCase)
    arguments = arguments_of(work) if is_plain else None
    suspected = _suspected(work, arguments, question)
    if arguments is None:
        return SharingReading(lanes=question.lanes, suspects=suspected)
    with _sets_of(work, arguments, question) as sets:
        tried = {name: value for name, value in sets[0].items() if name != FOLDER}
        anew = [name for name, value in tried.items() if value is not sets[-1][name] and not is_constant(value)]
        snapshot = Snapshot.of({name: value for name, value in tried.items() if name not in anew})
        own = (*anew, *snapshot.own)
        labels = {name: described(name, value) for name, value in sets[0].items()}
        kinds: dict[str, tuple[str, ...]] = {SHARED: (), ALL: own} if own else {SHARED: ()}
        kinds |= {labels[name]: (name,) for name in own[:MOST_OBJECTS]}
        rounds = []
        if own or question.control_calls:
            copies = _made_apart(snapshot.copied, question.lanes)
            trial = _Trial(arguments.call_with, [{**one, **made} for one, made in zip(sets, copies, strict=True)])
            rounds = trial.rounds(kinds, (question.calls, question.control_calls), until_ns)
    return SharingReading(
        lanes=question.lanes,
        rounds=tuple(rounds),
        not_copied={labels[name]: why for name, why in snapshot.not_copied.items()},
        not_tried=tuple(labels[name] for name in own[MOST_OBJECTS:]),
        suspects=suspected,
    )


def _made_apart(make: Callable[[], dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """Call ``make`` in so many threads that run at the same time, each of which allocates from memory of its own.

    Small objects that one thread makes one after the other lie side by side, in one line of a CPU's cache: CPUs that
    write to different ones of them hinder each other as if they shared one. *Source:* free-threaded CPython allocates
    by mimalloc, from pages of each thread.
    """
    together = threading.Barrier(number)

    def made() -> dict[str, Any]:
        together.wait()
        return make()

    with ThreadPoolExecutor(number) as executor:
        try:
            futures = [executor.submit(made) for _ in range(number)]
        except RuntimeError:  # the system refuses a thread
            together.abort()
            raise
        return [one.result() for one in futures]


def _suspected(work: Workload, arguments: Arguments | None, question: SweepSharing) -> tuple[Suspect, ...]:
    """Return the suspects of a call; none where the user's objects cannot be looked at."""
    named = {} if arguments is None else arguments.named
    given = {name.rpartition(" ")[2]: value for name, value in named.items()}  # without the word argument, or fixture
    try:
        return suspects(work.given.func if work.given is not None else work.item.obj, given, question.held)
    except Exception:  # noqa: BLE001 - whatever the user's classes raise
        return ()


@contextmanager
def _sets_of(work: Workload, arguments: Arguments, question: SweepSharing) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Make the objects of a call for each lane: a marked test's function-scoped fixtures anew, else the same.

    If a fixture cannot be made again while another is in use, as one that binds a port, or takes long to make, all
    lanes have the same, too. ``tmp_path`` is each lane's own.
    """
    item, lanes = work.item, range(question.lanes)
    if work.given is not None or not fixture_sets.has_fixtures(item) or fixture_sets.one_at_a_time(item):
        yield [_with_folder(arguments.named, number) for number in lanes]
        return
    made: list[Mapping[str, Any]] = []

    def bound() -> Call:
        now = arguments_of(work)
        made.append({} if now is None else now.named)
        return work.call

    fixtures = fixture_sets.FixtureSets(item, bound)
    try:
        started_ns = clocks.perf_counter_ns()
        fixtures.new()
        took_s = (clocks.perf_counter_ns() - started_ns) / 1e9
        try:
            for _ in lanes[1:] if took_s * len(lanes) <= question.most_s * MOST_SET_UP else ():
                fixtures.new()
        except (Exception, pytest.skip.Exception, pytest.fail.Exception):  # noqa: BLE001 - of the user's fixtures
            del made[1:]
        yield [_with_folder(made[min(number, len(made) - 1)], number) for number in lanes]
    finally:
        fixtures.tear_down()


def _with_folder(named: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """Return the objects with a folder of this lane's own in the place of ``tmp_path``."""
    if FOLDER not in named:
        return named
    return {**named, FOLDER: workload.for_lane({"tmp_path": named[FOLDER]}, number)["tmp_path"]}


class _Trial:
    """The objects of a call, one set for each lane, and timings with them, and of the control."""

    def __init__(self, call_with: Callable[[Mapping[str, Any]], Call], sets: Sequence[Mapping[str, Any]]) -> None:
        self._call_with = call_with
        self._sets = sets

    def rounds(
        self, kinds: Mapping[str, tuple[str, ...]], most: tuple[int, int], until_ns: int
    ) -> list[dict[str, float]]:
        """Make rounds of each kind of timing, in a rotating order; the first only warms up and sets the calls.

        ``most`` are the most calls of a lane in one batch, of the call and of the control.
        """
        warm_s = self._round(kinds, most, 0)[1]
        left_s = (until_ns - clocks.perf_counter_ns()) / 1e9
        part = min(1.0, left_s / PARTS / warm_s)
        calls, of_control = max(1, int(most[0] * part)), most[1] and max(1, int(most[1] * part))
        found: list[dict[str, float]] = []
        longest_s = 0.0
        while len(found) < MOST_ROUNDS and clocks.perf_counter_ns() + longest_s * 1e9 < until_ns:
            times, round_s = self._round(kinds, (calls, of_control), len(found))
            found.append(times)
            longest_s = max(longest_s, round_s)
        return found

    def _round(
        self, kinds: Mapping[str, tuple[str, ...]], number: tuple[int, int], turn: int
    ) -> tuple[dict[str, float], float]:
        """Return the seconds per call of one lane for each kind, and the seconds of the whole round.

        One lane alone is a new thread, too: free-threaded Python counts references to an object faster in the thread
        that made it, and takes a new thread at the same address for that. The main thread has made none of the copies.
        """
        started_ns = clocks.perf_counter_ns()
        calls, of_control = number
        order = [ALONE, *kinds, *((CONTROL_ALONE, CONTROL) if of_control else ())]
        at = turn % len(order)
        times: dict[str, float] = {}
        for kind in order[at:] + order[:at]:
            if kind in {CONTROL, CONTROL_ALONE}:
                lanes = self._sets if kind == CONTROL else self._sets[:1]
                reading = batch.run_threads([nullcontext(control.loop) for _ in lanes], of_control)
                times[kind] = _span_s(reading) / of_control
            elif kind == ALONE:
                reading = batch.run_threads([nullcontext(self._call_with(self._sets[0]))], calls)
                times[kind] = _span_s(reading) / calls
            else:
                times[kind] = _span_s(self._together(kinds[kind], calls)) / calls
        return times, (clocks.perf_counter_ns() - started_ns) / 1e9

    def _together(self, own: tuple[str, ...], calls: int) -> WorkerReading:
        """Make calls in threads that share the first set of objects but for what each has of its ``own``."""
        shared = self._sets[0]
        own = (*own, FOLDER) if FOLDER in shared else own
        sets = [{**shared, **{name: one[name] for name in own}} for one in self._sets]
        return batch.run_threads([nullcontext(self._call_with(one)) for one in sets], calls)


def _span_s(reading: WorkerReading) -> float:
    return (max(lane.end_ns for lane in reading.lanes) - min(lane.start_ns for lane in reading.lanes)) / 1e9
