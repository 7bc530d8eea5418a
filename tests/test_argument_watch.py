"""`pytest_gilprobe.workers.child.argument_watch`: what calls do to their arguments, on a clock that only calls move."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, cast

import pytest
from fake_workers import Clock

from pytest_gilprobe.model.call_readings import ArgumentsReading
from pytest_gilprobe.model.readings import Measurement
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.verdict import same_call
from pytest_gilprobe.workers import arguments
from pytest_gilprobe.workers.child import workload
from pytest_gilprobe.workers.child.argument_watch import LOT, ArgumentWatch
from pytest_gilprobe.workers.naming import Given

CLOCK = Clock()
"""The clock of all calls here; a module's name, so that copies of objects share it."""


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "perf_counter_ns", CLOCK.read_ns)


class Client:
    """Connects in its first call; what it connects to is not copied."""

    def __init__(self, *, connect_s: float = 0.05) -> None:
        self.connect_s, self.connected, self.calls = connect_s, False, 0

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"connected": False}

    def get(self) -> None:
        if not self.connected:
            CLOCK.pass_s(self.connect_s)
        self.connected = True
        self.calls += 1
        CLOCK.pass_s(0.001)


def drain(heap: list[int]) -> None:
    CLOCK.pass_s(len(heap) * 1e-3)
    heap.clear()


def append(rows: list[int]) -> None:
    CLOCK.pass_s(0.001)
    rows.append(1)


def grow(rows: list[int]) -> None:
    CLOCK.pass_s(len(rows) * 1e-3)
    rows.extend([0] * 20)


def grow_quickly(rows: list[int]) -> None:
    CLOCK.pass_s(len(rows) * 1e-4)
    rows.extend([0] * 20)


def read(path: Path) -> Given:
    file = path.open(encoding="utf-8")

    def lines(rows: Iterable[str]) -> None:
        for _ in rows:
            CLOCK.pass_s(0.001)

    return Given(func=lines, args=(file,))


LASTING_S: list[float] = []
"""How long the next calls of `look_into` take; a module's name, so that no call's copy has one of its own."""


def look_into(file: IO[str]) -> None:
    file.read(1)
    CLOCK.pass_s(LASTING_S.pop(0) if LASTING_S else 0.001)


@functools.lru_cache
def cached(number: int) -> int:
    CLOCK.pass_s(0.1)
    return number


def compared(given: Given, calls: int = 1) -> ArgumentsReading:
    """Watch a call that is made so many times, then compare."""
    work = workload.Workload(item=cast("Any", None), call=workload.call_of(given), given=given)
    watch = ArgumentWatch(work)
    for _ in range(calls):
        work.call()
    return watch.compare()


def seen_with(reading: ArgumentsReading, first_call_s: float) -> Measurement:
    return Measurement(
        workers=2, rounds=(), ends={}, arguments=reading, first_call_s=first_call_s, normal_call_s=first_call_s
    )


def differs(reading: ArgumentsReading) -> bool:
    return same_call.differs(seen_with(reading, first_call_s=0.1))


def test_call_that_uses_its_argument_up() -> None:
    """Calls with copies take the whole time, calls with what is left take none."""
    found = compared(Given(func=drain, args=([0] * 20,)))
    assert found.changed == ("argument heap (a list)",)
    assert found.fresh_s == pytest.approx((0.02,) * LOT)
    assert found.used_s == (0.0,) * LOT
    assert differs(found)


def test_calls_that_differ_a_little_are_made_more_often() -> None:
    """As long as it is open whether the calls are alike, more are made."""
    found = compared(Given(func=grow_quickly, args=([0] * 20,)))
    assert found.fresh_s == pytest.approx((0.002,) * len(found.fresh_s))
    assert found.used_s == pytest.approx((0.004,) * len(found.used_s))
    assert len(found.fresh_s) > LOT
    assert differs(found)


def test_call_whose_argument_grows() -> None:
    """Later calls that take longer, because of what earlier ones left, are not the call that was meant either."""
    assert differs(compared(Given(func=grow, args=([0] * 10,)), calls=2))


def test_call_that_takes_the_same_time() -> None:
    """An argument that changes without consequence is reported, with equal times."""
    found = compared(Given(func=append, args=([0],)), calls=5)
    assert found.changed == ("argument rows (a list)",)
    assert found.fresh_s == found.used_s
    assert not differs(found)


def test_connection_is_no_used_up_argument() -> None:
    """An object that connects in its first call is as slow in each copy: what is not copied is not compared."""
    client = Client()
    found = compared(Given(func=client.get), calls=3)
    assert found.changed == ("its object (a Client)",)
    assert not differs(found)
    assert client.calls == 3


def test_cache_that_no_argument_holds() -> None:
    """A cache of the function itself changes no argument, and no further call is made."""
    cached.cache_clear()
    assert compared(Given(func=cached, args=(3,))) == ArgumentsReading()


def test_open_file_is_read_again_from_where_it_was(tmp_path: Path) -> None:
    """A file that the call reads to its end is rewound for each further call, and left at its end."""
    path = tmp_path / "rows"
    path.write_text("row\n" * 30, encoding="utf-8")
    given = read(path)
    found = compared(given)
    assert found.fresh_s == pytest.approx((0.03,) * LOT)
    assert found.used_s == (0.0,) * LOT
    assert differs(found)
    assert given.args[0].read() == ""
    given.args[0].close()


def test_one_disturbed_call_with_an_open_file_is_no_proof(tmp_path: Path) -> None:
    """A busy machine may stop the one call with the file rewound: short calls are made several times here, too."""
    (tmp_path / "rows").write_text("row", encoding="utf-8")
    LASTING_S[:] = [0.001, 0.009]
    with (tmp_path / "rows").open(encoding="utf-8") as rows:
        found = compared(Given(func=look_into, args=(rows,)))
    assert found.changed
    assert max(found.fresh_s) == pytest.approx(0.009)
    assert not differs(found)


def test_argument_that_outgrows_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument that can no longer be copied stands for itself."""
    monkeypatch.setattr(arguments, "MOST_BYTES", 100)
    found = compared(Given(func=grow, args=([0] * 10,)), calls=3)
    assert found.changed == ("argument rows (a list)",)
    assert min(found.used_s) >= max(found.fresh_s) * 3


def test_long_calls_are_tried_once() -> None:
    """A call that takes seconds costs one more with a copy, and one with what is left."""
    found = compared(Given(func=drain, args=([0] * 3000,)))
    assert (len(found.fresh_s), len(found.used_s)) == (1, 1)
    assert differs(found)


def test_call_with_a_copy_that_fails() -> None:
    """An exception of such a call leaves it at that the argument changed; nothing is concluded."""
    rows = [0]
    original = id(rows)

    def only_original(given: list[int]) -> None:
        assert id(given) == original
        given.append(1)

    work = workload.Workload(
        item=cast("Any", None), call=lambda: only_original(rows), given=Given(func=only_original, args=(rows,))
    )
    watch = ArgumentWatch(work)
    work.call()
    found = watch.compare()
    assert found.changed == ("argument given (a list)",)
    assert found.fresh_s == ()
    assert watch.failed
    assert not differs(found)


def test_large_container_that_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is too large to be copied is judged by the time of later calls, as an iterator is."""
    monkeypatch.setattr(arguments, "MOST_BYTES", 10)
    found = compared(Given(func=drain, args=([0] * 100,)))
    assert found.iterators == ("argument heap (a list)",)
    assert differs(found)
    unlike = compared(Given(func=append, args=([0] * 100,)))
    assert unlike.iterators == ()  # a longer list has not been used up
    assert not same_call.differs(seen_with(unlike, first_call_s=0.001))


def test_large_object_is_no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object may connect or cache in its first call, so that its time alone is no proof."""
    monkeypatch.setattr(arguments, "MOST_BYTES", 10)
    found = compared(Given(func=Client().get))
    assert (tuple(found.unknown), found.iterators) == (("its object (a Client)",), ())
