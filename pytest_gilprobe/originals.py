"""What a test has replaced, out of the way while it is probed: a probe begins before the test's fixtures are torn down.

A clock that stands still (freezegun replaces it in every module there is), a mocked ``os.kill`` or a file system in
memory (pyfakefs) are meant for the test. So are its environment, current folder and limits, in which a new worker
would begin, and a timer that is to end it. The parent, which waits, watches and kills on time, needs the real ones. A
worker keeps them: there they are the workload's.
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
    from collections.abc import Callable, Iterator, Mapping

OURS = "pytest_gilprobe"
BENEATH = (
    *("_io", "_thread", "builtins", "io", "os", "pathlib", "pickle", "psutil", "select", "selectors", "shutil"),
    *("signal", "socket", "subprocess", "tempfile", "threading", "time", "multiprocessing"),
)
"""The modules that the parent's side of a probe rests on, with their submodules."""
_GONE: Any = object()
_KINDS = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)


class Originals:
    """Functions, classes and modules as they stand now in this package and in what it rests on; and the process."""

    def __init__(self) -> None:
        """Take them down; no test may be under way."""
        self._kept = [(module, _replaceable(vars(module))) for module in _modules()]
        self._environment = dict(os.environ)
        self._environ = os.environ
        self._folder = _quietly(os.getcwd)
        self._path = list(sys.path)
        self._recursion_limit = sys.getrecursionlimit()
        self._limits = {name: _limit(name) for name in _limit_names()}

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Put back what was replaced, removed or set since; at the end leave it as it was found."""
        with contextlib.ExitStack() as later:
            # The modules first: the rest needs them.
            for module, kept in self._kept:
                names = vars(module)
                changed = {name: value for name, value in kept.items() if names.get(name, _GONE) is not value}
                if changed:
                    later.callback(_give_back, names, {name: names.get(name, _GONE) for name in changed})
                    names.update(changed)
            later.enter_context(paused_timers())
            self._set_process(later)
            yield

    def _set_process(self, later: contextlib.ExitStack) -> None:
        """Have the process as it was, as far as the system allows; ``later`` is told how to undo that."""
        if sys.getrecursionlimit() != self._recursion_limit:
            later.callback(_quietly, sys.setrecursionlimit, sys.getrecursionlimit())
            _quietly(sys.setrecursionlimit, self._recursion_limit)
        if (found := dict(self._environ)) != self._environment:
            later.callback(_set_environment, self._environ, found)
            _set_environment(self._environ, self._environment)
        if sys.path != self._path:
            later.callback(setattr, sys, "path", sys.path)
            sys.path = list(self._path)
        for name, kept in self._limits.items():
            soft, hard = _limit(name)
            if soft != kept[0]:
                later.callback(_set_limit, name, (soft, hard))
                _set_limit(name, (kept[0] if hard == kept[1] else hard, hard))
        if self._folder is not None and _quietly(os.getcwd) != self._folder and hasattr(os, "fchdir"):
            here = _quietly(os.open, ".", os.O_RDONLY)
            if here is not None:
                later.callback(os.close, here)
                later.callback(_quietly, os.fchdir, here)
                _quietly(os.chdir, self._folder)


@contextlib.contextmanager
def paused_timers() -> Iterator[None]:
    """Stop this process's timers, ``signal.alarm`` included; at the end let them go on with the time they had left.

    What limits the time of one run of a test is no limit on its probe.
    """
    kinds = [getattr(signal, f"ITIMER_{name}", None) for name in ("REAL", "VIRTUAL", "PROF")]
    left = [(kind, signal.setitimer(kind, 0)) for kind in kinds if kind is not None]
    try:
        yield
    finally:
        for kind, (delay, interval) in left:
            if delay > 0:
                signal.setitimer(kind, delay, interval)


def _quietly(function: Callable[..., Any], *given: Any) -> Any:
    """Call a function; None where it fails: a folder that is gone, a limit that cannot be set any more."""
    try:
        return function(*given)
    except (OSError, ValueError, RecursionError):
        return None


def _give_back(names: dict[str, Any], found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        if value is _GONE:
            names.pop(name, None)
        else:
            names[name] = value


def _set_environment(environ: os._Environ[str], wanted: Mapping[str, str]) -> None:
    for name in set(environ) - set(wanted):
        del environ[name]
    environ.update({name: value for name, value in wanted.items() if environ.get(name) != value})


def _limit_names() -> tuple[str, ...]:
    return tuple(name for name in dir(resource) if name.startswith("RLIMIT_")) if resource is not None else ()


def _limit(name: str) -> tuple[int, int]:
    return resource.getrlimit(getattr(resource, name))


def _set_limit(name: str, wanted: tuple[int, int]) -> None:
    _quietly(resource.setrlimit, getattr(resource, name), wanted)


def _modules() -> list[types.ModuleType]:
    tops = {OURS, *BENEATH}
    return [one for name, one in list(sys.modules.items()) if name.partition(".")[0] in tops and one is not None]


def _replaceable(names: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in names.items() if isinstance(value, _KINDS)}
