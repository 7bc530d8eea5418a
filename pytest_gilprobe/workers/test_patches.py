"""Undo a test's monkeypatches in pytest's own process while the test is probed.

A probe begins before the test's fixtures are torn down, so what they changed is still changed: a clock that stands
still (freezegun replaces it in every module), a mocked ``os.kill``, a file system in memory (pyfakefs), environment
variables, the current folder, resource limits or timers. But pytest's own process starts worker processes, waits for
them and kills them on time: for this it needs the originals. In workers the patches stay, as part of the workload.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import types
from typing import TYPE_CHECKING, Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

RESTORED = (
    *("pytest_gilprobe", "_io", "_thread", "builtins", "io", "multiprocessing", "os", "pathlib", "pickle"),
    *("psutil", "select", "selectors", "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time"),
)
"""Top-level modules whose original functions and classes, also those of submodules, are put back during a probe:
this package, and the modules that a probe uses in pytest's own process."""
ABSENT: Any = object()
"""Value that stands for "this name is not defined"."""
_KINDS = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)


class TestPatches:
    """Undoes for a while what tests have replaced: functions and classes of certain modules, and process settings.

    The modules are those that a probe needs (`RESTORED`). The settings are environment variables, current folder, path
    of imports, and limits. The originals are those at the time when the object was created.
    """

    def __init__(self) -> None:
        """Remember the present functions, classes and process settings. Create the object while no test is running."""
        self._kept = [(module, _replaceable(vars(module))) for module in _modules()]
        self._environment = dict(os.environ)
        self._environ = os.environ
        self._folder = _quietly(os.getcwd)
        self._path = list(sys.path)
        self._recursion_limit = sys.getrecursionlimit()
        self._limits = {name: _limit(name) for name in dir(resource) if name.startswith("RLIMIT_")}

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """Undo for a ``with`` block what tests replaced since this object was made; then put the replacements back."""
        with contextlib.ExitStack() as restore:
            for module, kept in self._kept:  # first of all: the rest needs them
                names = vars(module)
                changed = {name: value for name, value in kept.items() if names.get(name, ABSENT) is not value}
                restore.enter_context(replaced(names, changed))
            restore.enter_context(paused_timers())
            self._reset_settings(restore)
            self._reset_limits(restore)
            self._reset_folder(restore)
            yield

    def _reset_settings(self, restore: contextlib.ExitStack) -> None:
        if sys.getrecursionlimit() != self._recursion_limit:
            restore.callback(_quietly, sys.setrecursionlimit, sys.getrecursionlimit())
            _quietly(sys.setrecursionlimit, self._recursion_limit)
        if (found := dict(self._environ)) != self._environment:
            restore.enter_context(replaced(self._environ, dict.fromkeys(found, ABSENT) | self._environment))
        if sys.path != self._path:
            restore.enter_context(replaced(vars(sys), {"path": list(self._path)}))

    def _reset_limits(self, restore: contextlib.ExitStack) -> None:
        for name, (kept_soft, kept_hard) in self._limits.items():
            soft, hard = _limit(name)
            if soft != kept_soft:
                restore.callback(_set_limit, name, (soft, hard))
                _set_limit(name, (kept_soft if hard == kept_hard else hard, hard))

    def _reset_folder(self, restore: contextlib.ExitStack) -> None:
        if self._folder is None or _quietly(os.getcwd) == self._folder or not hasattr(os, "fchdir"):
            return
        here = _quietly(os.open, ".", os.O_RDONLY)
        if here is not None:
            restore.callback(os.close, here)
            restore.callback(_quietly, os.fchdir, here)
            _quietly(os.chdir, self._folder)


@contextlib.contextmanager
def paused_timers() -> Iterator[None]:
    """Stop this process's timers, also ``signal.alarm``, for a ``with`` block; then start them with the time left.

    A time limit for one run of a test must not limit the test's probe, which takes longer.
    """
    kinds = [getattr(signal, f"ITIMER_{name}", None) for name in ("REAL", "VIRTUAL", "PROF")]
    left = [(kind, signal.setitimer(kind, 0)) for kind in kinds if kind is not None]
    try:
        yield
    finally:
        for kind, (delay, interval) in left:
            if delay > 0:
                signal.setitimer(kind, delay, interval)


@contextlib.contextmanager
def replaced(names: MutableMapping[str, Any], values: Mapping[str, Any]) -> Iterator[None]:
    """Put the entries of ``values`` into ``names`` for a ``with`` block; on exit, restore the former entries.

    An entry whose value in ``values`` is `ABSENT` is removed from ``names`` for that time.
    """
    before = {name: names.get(name, ABSENT) for name in values}
    _put(names, values)
    try:
        yield
    finally:
        _put(names, before)


def _put(names: MutableMapping[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if value is ABSENT:
            names.pop(name, None)
        else:
            names[name] = value


def _quietly(function: Callable[..., Any], *given: Any) -> Any:
    """Call a function; return None if it fails, as for a folder that is gone or a limit that cannot be set."""
    try:
        return function(*given)
    except (OSError, ValueError, RecursionError):
        return None


def _limit(name: str) -> tuple[int, int]:
    return resource.getrlimit(getattr(resource, name))


def _set_limit(name: str, wanted: tuple[int, int]) -> None:
    _quietly(resource.setrlimit, getattr(resource, name), wanted)


def _modules() -> list[types.ModuleType]:
    found = list(sys.modules.items())
    return [module for name, module in found if name.partition(".")[0] in RESTORED and module is not None]


def _replaceable(names: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in names.items() if isinstance(value, _KINDS)}
