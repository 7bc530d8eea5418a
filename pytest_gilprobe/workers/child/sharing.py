"""Time a call in threads that share its objects, and in threads each of which has a copy of one object, or of all.

Each thread makes its call from objects that are put together for this thread alone, also where all of them are shared:
what differs between two timings is only whose copy a thread uses. Copies stand in for the originals in every timing, so
that the originals stay as they are.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from pytest_gilprobe.model.sharing import ALL, ALONE, SHARED, SharingReading
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers.arguments import Snapshot
from pytest_gilprobe.workers.child import batch
from pytest_gilprobe.workers.child.argument_watch import arguments_of, described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gilprobe.model.readings import WorkerReading
    from pytest_gilprobe.workers.child.argument_watch import Arguments
    from pytest_gilprobe.workers.child.workload import Workload
    from pytest_gilprobe.workers.sharing_messages import SweepSharing

MOST_OBJECTS = 6
"""Most objects that are tried one by one: each costs a batch in each round."""
MOST_ROUNDS = 15
"""Most rounds: further ones hardly narrow the intervals."""
PARTS = 8
"""The time is planned to hold so many rounds."""


def sweep(work: Workload, question: SweepSharing) -> SharingReading:
    """Make rounds of timings until the time of the question is up; none if there is nothing to copy.

    Raises `WorkloadError` if a call with copies raises, and whatever the user's classes raise while they are copied.
    """
    until_ns = clocks.perf_counter_ns() + round(question.most_s * 1e9)
    arguments = arguments_of(work) if work.coroutine is None else None
    if arguments is None:
        return SharingReading(lanes=question.lanes)
    snapshot = Snapshot.of(arguments.named)
    labels = {name: described(name, value) for name, value in arguments.named.items()}
    found = SharingReading(
        lanes=question.lanes,
        not_copied={labels[name]: why for name, why in snapshot.not_copied.items()},
        not_tried=tuple(labels[name] for name in snapshot.own[MOST_OBJECTS:]),
    )
    if not snapshot.own:
        return found
    trial = _Trial(arguments, [snapshot.copied() for _ in range(question.lanes)])
    kinds: dict[str, tuple[str, ...]] = {SHARED: (), ALL: snapshot.own}
    kinds |= {labels[name]: (name,) for name in snapshot.own[:MOST_OBJECTS]}
    rounds = tuple(trial.rounds(kinds, question.calls, until_ns))
    return SharingReading(lanes=found.lanes, rounds=rounds, not_copied=found.not_copied, not_tried=found.not_tried)


class _Trial:
    """The copies of a call's objects, one set for each lane, and timings with them."""

    def __init__(self, arguments: Arguments, copies: list[dict[str, object]]) -> None:
        self._arguments = arguments
        self._copies = copies

    def rounds(self, kinds: Mapping[str, tuple[str, ...]], calls: int, until_ns: int) -> list[dict[str, float]]:
        """Make rounds of each kind of timing, in a rotating order; the first only warms up and sets the calls."""
        warm_s = self._round(kinds, calls, 0)[1]
        left_s = (until_ns - clocks.perf_counter_ns()) / 1e9
        calls = max(1, int(calls * min(1.0, left_s / PARTS / warm_s)))
        found: list[dict[str, float]] = []
        longest_s = 0.0
        while len(found) < MOST_ROUNDS and clocks.perf_counter_ns() + longest_s * 1e9 < until_ns:
            times, round_s = self._round(kinds, calls, len(found))
            found.append(times)
            longest_s = max(longest_s, round_s)
        return found

    def _round(self, kinds: Mapping[str, tuple[str, ...]], calls: int, turn: int) -> tuple[dict[str, float], float]:
        """Return the seconds per call of one lane for each kind, and the seconds of the whole round."""
        started_ns = clocks.perf_counter_ns()
        order = [ALONE, *kinds]
        at = turn % len(order)
        times: dict[str, float] = {}
        for kind in order[at:] + order[:at]:
            if kind == ALONE:
                reading = batch.run_serial(self._arguments.call_with(self._copies[0]), calls)
            else:
                reading = self._together(kinds[kind], calls)
            times[kind] = _span_s(reading) / calls
        return times, (clocks.perf_counter_ns() - started_ns) / 1e9

    def _together(self, own: tuple[str, ...], calls: int) -> WorkerReading:
        """Make calls in threads that share the first set of copies but for what each has of its ``own``."""
        shared = self._copies[0]
        sets = [{**shared, **{name: copies[name] for name in own}} for copies in self._copies]
        return batch.run_threads([nullcontext(self._arguments.call_with(one)) for one in sets], calls)


def _span_s(reading: WorkerReading) -> float:
    return (max(lane.end_ns for lane in reading.lanes) - min(lane.start_ns for lane in reading.lanes)) / 1e9
