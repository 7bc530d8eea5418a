"""`pytest_gilprobe.observe.interpreter`: what this Python is, and what slows it."""

from __future__ import annotations

import gc
import sys
import sysconfig

import pytest

from pytest_gilprobe.observe import interpreter


def test_gil_is_on_unless_this_python_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pythons before 3.13 do not know the question: their GIL is on."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert interpreter.gil_enabled() is False
    monkeypatch.delattr(sys, "_is_gil_enabled")
    assert interpreter.gil_enabled() is True


@pytest.mark.parametrize(("variable", "free"), [(1, True), (0, False), (None, False)])
def test_build_is_known_by_its_configuration(monkeypatch: pytest.MonkeyPatch, variable: object, free: object) -> None:
    """A free-threaded build is one with ``Py_GIL_DISABLED``, whatever its GIL does now."""
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _: variable)
    assert interpreter.free_threaded_build() is free


def test_environment_is_this_one() -> None:
    """It describes the running Python and keeps what it is given."""
    found = interpreter.environment(start_method="spawn", scaling_ceiling=1.9, ceiling_workers=2)
    assert found.python == sys.version.split()[0].rstrip("+")
    assert (found.start_method, found.scaling_ceiling, found.ceiling_workers) == ("spawn", 1.9, 2)
    assert found.cpus_usable >= 1
    assert found.switch_interval_s == sys.getswitchinterval()


def test_tracers_are_named() -> None:
    """A trace function, a profile function and a stopped garbage collector are each named."""
    before = sys.gettrace(), sys.getprofile(), gc.isenabled()
    try:
        sys.settrace(lambda *_: None)
        sys.setprofile(lambda *_: None)
        gc.disable()
        found = interpreter.tracers()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
        if before[2]:
            gc.enable()
    assert {"sys.settrace", "sys.setprofile", "gc.disable"} <= set(found)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_monitoring_tools_are_named() -> None:
    """A tool that uses ``sys.monitoring`` is named by its name."""
    monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    monitoring.use_tool_id(3, "nosy")
    try:
        assert "sys.monitoring (nosy)" in interpreter.tracers()
    finally:
        monitoring.free_tool_id(3)
