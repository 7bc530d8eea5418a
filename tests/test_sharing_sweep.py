"""`workers.child.sharing.sweep`: which timings a round has, with and without the control, and what is suspected."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_gilprobe.model.sharing import ALL, ALONE, CONTROL, CONTROL_ALONE, SHARED
from pytest_gilprobe.workers.child import batch, control, sharing, workload
from pytest_gilprobe.workers.naming import Given
from pytest_gilprobe.workers.sharing_messages import SweepSharing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_gilprobe.model.readings import WorkerReading
    from pytest_gilprobe.model.sharing import SharingReading


class Till:
    """An object of the user's own, with a list that all tills share."""

    sold: list[int] = []  # noqa: RUF012 - that it is shared is the point

    def sell(self, price: int) -> None:
        """Write to the class's list."""
        self.sold.append(price)
        self.sold.clear()


def write(rows: list[int], till: Till) -> None:
    """Write to a list, and through an argument's method to one of its class."""
    rows.append(1)
    till.sell(2)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make two rounds at most."""
    monkeypatch.setattr(sharing, "MOST_ROUNDS", 2)


def nothing() -> None:
    """Need nothing."""


def swept(func: Callable[..., Any], *args: object, control_calls: int) -> SharingReading:
    """Sweep a call: few rounds, for which there is time on a busy machine, too."""
    given = Given(func=func, args=args)
    work = workload.Workload(item=cast("Any", SimpleNamespace(instance=None)), call=given.call, given=given)
    return sharing.sweep(work, SweepSharing(lanes=2, calls=3, most_s=20.0, control_calls=control_calls))


def test_control_is_timed_in_each_round() -> None:
    """Each round has the control alone and in as many threads, beside the call's own timings."""
    reading = swept(write, [1], Till(), control_calls=2)
    own = {ALONE, SHARED, ALL, "argument rows (a list)", "argument till (a Till)"}
    assert len(reading.rounds) == 2
    assert all(one.keys() == {*own, CONTROL, CONTROL_ALONE} for one in reading.rounds)
    assert all(value > 0 for one in reading.rounds for value in one.values())
    without = swept(write, [1], Till(), control_calls=0)
    assert {frozenset(one) for one in without.rounds} == {frozenset(own)}


def test_control_runs_in_as_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control's calls are made in a thread of its own, alone, and in as many as the call's threads."""
    batches: list[int] = []
    usual = batch.run_threads

    def run_threads(lanes: Sequence[batch.LaneContext], calls: int) -> WorkerReading:
        seen.clear()
        reading = usual(lanes, calls)
        batches.append(len(set(seen)))
        return reading

    seen: list[int] = []
    monkeypatch.setattr(batch, "run_threads", run_threads)
    monkeypatch.setattr(control, "loop", lambda: seen.append(threading.get_ident()))
    swept(nothing, control_calls=1)
    assert threading.get_ident() not in seen
    assert sorted(batches) == [0, 0] * 3 + [1] * 3 + [2] * 3  # a round to warm up, and two


def test_rounds_without_anything_to_copy() -> None:
    """A call of which nothing can be copied has rounds only where the control shows what it could gain."""
    assert swept(nothing, control_calls=0).rounds == ()
    reading = swept(nothing, control_calls=1)
    assert {frozenset(one) for one in reading.rounds} == {frozenset({ALONE, SHARED, CONTROL, CONTROL_ALONE})}


def test_methods_of_arguments_are_suspected_of_their_class() -> None:
    """What an argument's method writes to in its class is shared by all copies of it."""
    assert [one.name for one in swept(write, [1], Till(), control_calls=0).suspects] == ["Till.sold (a list)"]
