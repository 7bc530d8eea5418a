"""What a test has replaced is out of the way while it is probed, and back afterwards."""

from __future__ import annotations

import os
import select
import time
from unittest import mock

import pytest

from pytest_gilprobe import host
from pytest_gilprobe.gil import watch
from pytest_gilprobe.originals import Originals


def test_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions, classes and whole modules are the real ones inside, and the test's outside."""
    originals = Originals()
    real = os.kill, time.time, vars(watch)["os"]
    fake = mock.MagicMock(), mock.MagicMock(), mock.MagicMock()
    for (module, name), value in zip(((os, "kill"), (time, "time"), (watch, "os")), fake, strict=True):
        monkeypatch.setattr(module, name, value)
    with originals.in_place():
        assert (os.kill, time.time, vars(watch)["os"]) == real
    assert (os.kill, time.time, vars(watch)["os"]) == fake


def test_what_was_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is gone is there inside, and gone again outside; what is new is left alone."""
    originals = Originals()
    real = os.kill
    monkeypatch.delattr(os, "kill")
    monkeypatch.setattr(os, "new_name", len, raising=False)
    with originals.in_place():
        assert os.kill is real
        assert getattr(os, "new_name") is len  # noqa: B009 - a name that type checkers do not know
    assert not hasattr(os, "kill")


def test_an_error_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after an error the test's own are back."""
    originals = Originals()
    fake = mock.MagicMock()
    monkeypatch.setattr(os, "kill", fake)
    with pytest.raises(KeyboardInterrupt), originals.in_place():
        raise KeyboardInterrupt
    assert os.kill is fake


def test_clocks_are_not_to_be_found() -> None:
    """No clock of ours is the standard library's own object: freezegun replaces those in every module."""
    real = (time.perf_counter_ns, time.thread_time_ns, time.process_time_ns, time.sleep)
    assert not any(value is one for room in (host, watch) for value in vars(room).values() for one in real)


def test_watcher_has_clocks_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time and the pauses of whoever watches a GIL are real where a test's are not, and no probe has begun."""
    for name in ("perf_counter_ns", "sleep"):
        monkeypatch.setattr(time, name, mock.MagicMock(side_effect=AssertionError(name)))
    monkeypatch.setattr(select, "select", mock.MagicMock(side_effect=AssertionError("select")))
    reading, writing = os.pipe()
    try:
        watcher = watch.Watcher(os.getpid(), 0)
        assert not watcher.wait(reading, 0.001)
        os.write(writing, b"x")
        assert watcher.wait(reading, 60)
    finally:
        os.close(reading)
        os.close(writing)
