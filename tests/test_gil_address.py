"""`pytest_gilprobe.observe.gil_address`: an address where there is a GIL, else a reason, and nothing left changed."""

from __future__ import annotations

import os
import struct
import sys
import threading

import pytest

from pytest_gilprobe.observe import gil_address as room
from pytest_gilprobe.observe.gil_address import HOLDER_OFFSET, Location, locate

HAS_GIL = (
    sys.platform == "linux" and sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
)
SWITCHES_OFFSET = struct.calcsize("@L")
"""Bytes from ``locked`` to the count of switches: the int is padded to the alignment of an ``unsigned long``."""
needs_gil = pytest.mark.skipif(not HAS_GIL, reason="needs Linux and a CPython with its GIL enabled")


def _word(address: int, layout: str) -> int:
    """Read one word of this process's memory."""
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        (value,) = struct.unpack(layout, os.pread(memory, struct.calcsize(layout), address))
    finally:
        os.close(memory)
    return int(value)


@needs_gil
def test_finds_one_place_again_and_again() -> None:
    """The GIL state does not move: every search gives the same address and no reason."""
    found = {locate() for _ in range(3)}
    assert len(found) == 1
    (place,) = found
    assert place.address is not None
    assert place.reason is None


@needs_gil
def test_the_place_behaves_as_a_gil() -> None:
    """With two threads that both want the GIL, it passes from one holder to the other, and the count of it grows."""
    address = locate().address
    assert address is not None
    switches_before = _word(address + SWITCHES_OFFSET, "@L")
    turn = threading.Barrier(2)

    def take_turns() -> None:
        for _ in range(20):
            turn.wait()

    thread = threading.Thread(target=take_turns)
    thread.start()
    take_turns()
    thread.join()
    assert _word(address, "@i") in (0, 1)
    assert _word(address + HOLDER_OFFSET, "@P") != 0
    assert _word(address + SWITCHES_OFFSET, "@L") > switches_before


@needs_gil
def test_other_threads_do_not_confuse_it() -> None:
    """Threads that compete for the GIL during the search do not change the answer."""
    expected = locate()
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            pass

    threads = [threading.Thread(target=spin) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert locate() == expected
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@needs_gil
@pytest.mark.parametrize("interval_us", [1, 29, 57, 4_909, 5_000, 5_407, 100_000])
def test_restores_the_switch_interval_exactly(interval_us: int) -> None:
    """Any interval is restored to the microsecond, the two that the search sets included."""
    original = sys.getswitchinterval()
    expected = locate()
    try:
        sys.setswitchinterval((interval_us + 0.5) * 1e-6)
        before = sys.getswitchinterval()
        assert round(before * 1e6) == interval_us
        assert locate() == expected
        assert sys.getswitchinterval() == before
    finally:
        sys.setswitchinterval(original)


@needs_gil
def test_a_failure_is_a_reason_and_restores_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle of the search is reported, not raised, and the switch interval is the old one."""
    before = sys.getswitchinterval()
    seen_s = []

    def fail(_address: int, _size: int) -> bytes:
        seen_s.append(sys.getswitchinterval())
        msg = "no such luck"
        raise OSError(msg)

    monkeypatch.setattr(room, "_read_own_memory", fail)
    place = locate()
    assert place.address is None
    assert place.reason == "cannot search this process's memory: no such luck"
    assert seen_s != [before]
    assert sys.getswitchinterval() == before


@needs_gil
@pytest.mark.parametrize("found", ["nothing", "twice"])
def test_no_hit_or_two_is_no_answer(monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    """It never guesses: without exactly one place that fits, there is a reason instead of an address."""
    search = room._offsets

    def wrong(memory: bytes, word: bytes) -> list[int]:
        return [] if found == "nothing" else list(search(memory, word)) * 2

    monkeypatch.setattr(room, "_offsets", wrong)
    place = locate()
    assert place.address is None
    assert place.reason is not None
    assert place.reason.startswith("no place" if found == "nothing" else "2 places")


def test_no_gil_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A free-threaded build with its GIL disabled has nothing to find, and says so."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert locate() == Location(
        address=None,
        reason="free-threaded build with the GIL disabled: there is no GIL",
    )


def test_no_proc_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without /proc/self/mem gives a reason before anything is touched."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    monkeypatch.setattr(os.path, "exists", lambda _path: False)
    assert locate() == Location(address=None, reason="this system has no /proc/self/mem")


@pytest.mark.parametrize(("address", "reason"), [(None, None), (1, "found")])
def test_a_location_is_an_address_or_a_reason(address: int | None, reason: str | None) -> None:
    """Neither and both are refused."""
    with pytest.raises(ValueError, match="an address or a reason"):
        Location(address=address, reason=reason)


def test_offsets_are_aligned_and_leave_room_for_the_words_after() -> None:
    """A word across a boundary, or too near the end for holder and lock, is no candidate."""
    word = struct.pack("@L", 4_909)
    lies = len(word)
    memory = b"\0" * lies + word + b"\0" * 3 + word + b"\0" * (4 * lies - 3) + word
    assert list(room._offsets(memory, word)) == [lies]
