"""`pytest_gilprobe.workers.test_patches`: a test's patches are undone while it is probed, and back afterwards."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from pytest_gilprobe.observe import clocks, gil_sampler
from pytest_gilprobe.workers import test_patches


def test_replaced_names_are_the_real_ones_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions, classes and whole modules are the real ones inside, and the test's outside."""
    patches = test_patches.TestPatches()
    real = os.kill, time.time, vars(gil_sampler)["os"]
    fake = mock.MagicMock(), mock.MagicMock(), mock.MagicMock()
    for (module, name), value in zip(((os, "kill"), (time, "time"), (gil_sampler, "os")), fake, strict=True):
        monkeypatch.setattr(module, name, value)
    with patches.undone():
        assert (os.kill, time.time, vars(gil_sampler)["os"]) == real
    assert (os.kill, time.time, vars(gil_sampler)["os"]) == fake


def test_removed_names_are_back_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is gone is there inside, and gone again outside; what is new is left alone."""
    patches = test_patches.TestPatches()
    real = os.kill
    monkeypatch.delattr(os, "kill")
    monkeypatch.setattr(os, "new_name", len, raising=False)
    with patches.undone():
        assert os.kill is real
        assert getattr(os, "new_name") is len  # noqa: B009 - a name that type checkers do not know
    assert not hasattr(os, "kill")


def test_patches_are_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error inside, the test's patches are in force again."""
    patches = test_patches.TestPatches()
    fake = mock.MagicMock()
    monkeypatch.setattr(os, "kill", fake)
    with pytest.raises(KeyboardInterrupt), patches.undone():
        raise KeyboardInterrupt
    assert os.kill is fake


def test_clocks_are_not_to_be_found() -> None:
    """No clock of ours is the standard library's own object: freezegun replaces those in every module."""
    real = (time.perf_counter_ns, time.thread_time_ns, time.process_time_ns, time.sleep)
    assert not any(value is one for room in (clocks, gil_sampler) for value in vars(room).values() for one in real)


def test_gil_sampler_has_clocks_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sampler reads real clocks and really pauses, even if a test has replaced both before any probe began."""
    for name in ("perf_counter_ns", "sleep"):
        monkeypatch.setattr(time, name, mock.MagicMock(side_effect=AssertionError(name)))
    reading, writing = os.pipe()
    try:
        sampler = gil_sampler.GilSampler(os.getpid(), 0, mean_interval_s=0.0005)
        assert not sampler.sample_until(reading, 0.001)
        os.write(writing, b"x")
        assert sampler.sample_until(reading, 60)
    finally:
        os.close(reading)
        os.close(writing)


def test_process_is_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Environment, search path, folder, recursion limit are the session's inside, and the test's outside."""
    patches = test_patches.TestPatches()

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
        with patches.undone():
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

    patches = test_patches.TestPatches()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        with patches.undone():
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft - 1, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="has no such timers")
def test_timers_are_paused() -> None:
    """A timer that is to end a test does not run inside; outside it goes on with what it had left."""
    signal.setitimer(signal.ITIMER_REAL, 1000.0, 7.0)
    try:
        with test_patches.TestPatches().undone():
            assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        delay, interval = signal.getitimer(signal.ITIMER_REAL)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert 0 < delay <= 1000
    assert interval == 7
