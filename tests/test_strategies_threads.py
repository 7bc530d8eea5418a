"""`pytest_gilprobe.strategies.threads`: what strategies that are nearly the same inherit."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from pytest_gilprobe.strategies.threads import Threads
from pytest_gilprobe.workers.burst_messages import MakeBursts
from pytest_gilprobe.workers.child import batch
from pytest_gilprobe.workers.stretch_messages import Stretch

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import WorkerReading
    from pytest_gilprobe.workers.protocol import Batch

BURSTS = MakeBursts(strategy="named", calls=3, lanes=2, number=2)
STRETCH = Stretch(strategy="named", lanes=2, begin_ns=0, until_ns=0, calls_per_mark=1)


class Named(Threads):
    """The same strategy by another name."""

    name = "named"


class OwnRun(Threads):
    """A strategy that makes its calls in its own way, here without the test's."""

    name = "own-run"

    def run(self, work: Any, question: Batch) -> WorkerReading:
        del work
        return batch.run_threads([nullcontext(lambda: None) for _ in range(question.lanes)], question.calls)


class Heir(OwnRun):
    """A strategy that inherits a `run` of its own."""

    name = "heir"


class Mixed(OwnRun):
    """A strategy that inherits a `run` of its own, and has its own `stretch`."""

    name = "mixed"

    def stretch(self, work: Any, question: Stretch) -> None:
        del work, question


class Insisting(OwnRun):
    """A strategy that says that it has curves."""

    name = "insisting"
    scales = True


def work(made: list[int]) -> Any:
    """Make an open test whose call is counted."""

    def call() -> None:
        made.append(1)

    return SimpleNamespace(
        lane=lambda _: nullcontext(call), serial=lambda calls, *_: batch.run_serial(call, calls), call=call
    )


def test_what_has_the_same_run_makes_bursts_and_curves_as_threads_do() -> None:
    """The calls are those of the test, in the same threads for all bursts."""
    made: list[int] = []
    Named().bursts(cast("Any", work(made)), BURSTS)
    assert len(made) >= BURSTS.calls * (BURSTS.number + 1)
    assert Named().stretch(cast("Any", work(made)), STRETCH) is not None


def test_what_has_a_run_of_its_own_makes_bursts_by_it_and_no_curve() -> None:
    """Otherwise the calls of plain threads would be taken for its own."""
    made: list[int] = []
    pairs = OwnRun().bursts(cast("Any", work(made)), BURSTS)
    assert [len(one.together.lanes) for one in pairs] == [2, 2]
    assert len(made) == BURSTS.calls * BURSTS.number  # the serial calls
    assert Named.scales
    assert not OwnRun.scales
    assert not Heir.scales
    assert Mixed.scales
    assert Insisting.scales
