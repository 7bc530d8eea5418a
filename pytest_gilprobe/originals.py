"""What a test has replaced, out of the way while it is probed: a probe begins before the test's fixtures are torn down.

A clock that stands still (freezegun replaces it in every module there is), a mocked ``os.kill`` or a file system in
memory (pyfakefs) are meant for the test. The parent, which waits, watches and kills on time, needs the real ones. A
worker keeps them: there they are the workload's.
"""

from __future__ import annotations

import contextlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OURS = "pytest_gilprobe"
BENEATH = (
    *("_io", "_thread", "builtins", "io", "os", "pathlib", "pickle", "psutil", "select", "selectors", "shutil"),
    *("signal", "socket", "subprocess", "tempfile", "threading", "time", "multiprocessing"),
)
"""The modules that the parent's side of a probe rests on, with their submodules."""
_GONE: Any = object()
_KINDS = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)


class Originals:
    """Functions, classes and modules as they stand now in this package and in what it rests on."""

    def __init__(self) -> None:
        """Take them down; no test may be under way."""
        self._kept = [(module, _replaceable(vars(module))) for module in _modules()]

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Put back what was replaced or removed since; at the end leave it as it was found."""
        found: list[tuple[dict[str, Any], str, Any]] = []
        for module, kept in self._kept:
            names = vars(module)
            changed = {name: value for name, value in kept.items() if names.get(name, _GONE) is not value}
            found += [(names, name, names.get(name, _GONE)) for name in changed]
            names.update(changed)
        try:
            yield
        finally:
            for names, name, value in found:
                if value is _GONE:
                    names.pop(name, None)
                else:
                    names[name] = value


def _modules() -> list[types.ModuleType]:
    tops = {OURS, *BENEATH}
    return [one for name, one in list(sys.modules.items()) if name.partition(".")[0] in tops and one is not None]


def _replaceable(names: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in names.items() if isinstance(value, _KINDS)}
