"""What a test has replaced is out of the way while it is probed, and back afterwards."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any
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
    reading, writing = os.pipe()
    try:
        watcher = watch.Watcher(os.getpid(), 0)
        assert not watcher.wait(reading, 0.001)
        os.write(writing, b"x")
        assert watcher.wait(reading, 60)
    finally:
        os.close(reading)
        os.close(writing)


def test_process_is_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Environment, search path, folder, recursion limit are the session's inside, and the test's outside."""
    originals = Originals()

    def settings() -> tuple[Any, ...]:
        return dict(os.environ), list(sys.path), sys.getrecursionlimit()

    before, folder, limit = settings(), Path.cwd(), sys.getrecursionlimit()
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("ODD", "x")
    monkeypatch.delenv("PATH")
    monkeypatch.setattr(sys, "path", [])
    sys.setrecursionlimit(limit + 1)
    try:
        changed = settings()
        with originals.in_place():
            assert settings() == before
            assert Path.cwd() == folder
        assert settings() == changed
        with pytest.raises(FileNotFoundError):
            Path.cwd()
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limits")
def test_limits_are_as_they_were() -> None:
    """A limit that a test has lowered is the session's inside, and the test's outside."""
    import resource  # noqa: PLC0415 - not every platform has it

    originals = Originals()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        with originals.in_place():
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft - 1, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="has no such timers")
def test_timers_stand_still() -> None:
    """A timer that is to end a test does not run inside; outside it goes on with what it had left."""
    signal.setitimer(signal.ITIMER_REAL, 1000.0, 7.0)
    try:
        with Originals().in_place():
            assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        delay, interval = signal.getitimer(signal.ITIMER_REAL)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert 0 < delay <= 1000
    assert interval == 7
