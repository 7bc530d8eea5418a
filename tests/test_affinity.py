"""`pytest_gilprobe.observe.affinity`: where a thread runs is read, and its CPU is avoided."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.observe import affinity as room
from pytest_gilprobe.observe.affinity import CpuAvoider, parse_stat


def _stat(name: bytes, state: bytes, cpu: int) -> bytes:
    """Write a line as Linux does: 35 fields lie between state and CPU."""
    return b"17 (" + name + b") " + state + b" 7" * 35 + b" %d 0 0\n" % cpu


@given(name=st.binary(max_size=64), state=st.sampled_from([b"R", b"S", b"D"]), cpu=st.integers(0, 4095))
def test_parses_state_and_cpu_after_any_name(name: bytes, state: bytes, cpu: int) -> None:
    """A name with parentheses, spaces or digits in it shifts nothing."""
    assert parse_stat(_stat(name, state, cpu)) == (state == b"R", cpu)


@pytest.mark.parametrize("text", [b"", b"17 (x) R", b"17 (x) R 7 7"])
def test_text_cut_short_is_unknown(text: bytes) -> None:
    """Half a line is no state."""
    assert parse_stat(text) == (None, None)


class Cpus:
    """A system with these CPUs, which may refuse to change an affinity."""

    def __init__(self, *allowed: int, refuses: bool = False) -> None:
        self.allowed: set[int] = set(allowed)
        self.moves: list[set[int]] = []
        self.refuses = refuses

    def put_in_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _thread: set(self.allowed), raising=False)
        monkeypatch.setattr(os, "sched_setaffinity", self._set, raising=False)

    def _set(self, thread: int, cpus: set[int]) -> None:
        assert thread == 0, "only the calling thread may be moved"
        if self.refuses:
            raise PermissionError
        self.moves.append(set(cpus))
        self.allowed = set(cpus)


def test_avoids_a_cpu_until_it_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """It moves only when it might share the CPU, returns whether it might, and ends where it began."""
    cpus = Cpus(0, 1, 2)
    cpus.put_in_place(monkeypatch)
    avoider = CpuAvoider()
    assert avoider.avoid(1) is True
    assert avoider.avoid(1) is False
    assert avoider.avoid(2) is True
    avoider.restore()
    avoider.restore()
    assert cpus.moves == [{0, 2}, {0, 1}, {0, 1, 2}]


@pytest.mark.parametrize("cpus", [Cpus(0), Cpus(0, 1, refuses=True)], ids=["one CPU", "refused"])
def test_returns_that_it_could_not_move(monkeypatch: pytest.MonkeyPatch, cpus: Cpus) -> None:
    """Where it cannot move, it shares the CPU each time, and there is nothing to undo."""
    cpus.put_in_place(monkeypatch)
    avoider = CpuAvoider()
    assert [avoider.avoid(0), avoider.avoid(0)] == [True, True]
    avoider.restore()
    assert cpus.moves == []


def test_an_unknown_cpu_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an unknown CPU, nor a system without affinity, counts as another CPU."""
    Cpus(0, 1).put_in_place(monkeypatch)
    assert CpuAvoider().avoid(None) is None
    monkeypatch.delattr(os, "sched_getaffinity")
    assert CpuAvoider().avoid(0) is None
    assert room._affinity() == frozenset()
