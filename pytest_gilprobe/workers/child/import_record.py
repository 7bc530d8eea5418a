"""Record which extension modules are imported in this interpreter, whether they load, and which code imports them.

Most extension modules do not load in a subinterpreter with a GIL of its own. The code that imports such a module may
hide the `ImportError`, by catching it or raising another exception. So Python's two loaders of native code are watched.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.extension_imports import REFUSED, ExtensionImport

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, ModuleType


_NOT_THE_USERS = ("_pytest", "pytest_gilprobe")
"""Packages whose own imports say nothing of the workload."""


class ImportRecord:
    """Records the extension modules (of native code) imported after its creation, except by pytest and this package."""

    def __init__(self) -> None:
        """From now on, watch Python's two loaders of native code, for as long as this interpreter exists."""
        self._found: dict[str, ExtensionImport] = {}
        extensions: Any = importlib.machinery.ExtensionFileLoader
        built_in: Any = importlib.machinery.BuiltinImporter
        extensions.create_module = self._watched(extensions.create_module)
        built_in.create_module = staticmethod(self._watched(built_in.create_module))

    def all(self) -> tuple[ExtensionImport, ...]:
        """Return the imports recorded so far, in the order in which they ended: for each module only the last one."""
        return tuple(self._found.values())

    def _watched(self, create: Callable[..., ModuleType]) -> Callable[..., ModuleType]:
        def create_module(*given: Any) -> ModuleType:
            name = given[-1].name
            try:
                module = create(*given)
            except ImportError as error:
                if REFUSED.search(str(error)):
                    self._note(name, loads=False)
                raise
            self._note(name, loads=True)
            return module

        return create_module

    def _note(self, name: str, *, loads: bool) -> None:
        frame = asking(name, sys._getframe(2))  # noqa: SLF001 - the only way to see who imports
        if frame is not None and frame.f_globals.get("__name__", "").startswith(_NOT_THE_USERS):
            return
        by = None if frame is None else f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"  # noqa: PTH119
        self._found.pop(name, None)
        self._found[name] = ExtensionImport(name=name, loads=loads, imported_by=by)


def asking(name: str, frame: FrameType | None) -> FrameType | None:
    """Return the frame of the code that imports the module ``name``; ``None`` if there is none.

    The search goes from ``frame`` outwards. The result is the first frame that belongs neither to the module's own
    top-level package nor to Python's import system.
    """
    package = name.partition(".")[0]
    while frame is not None:
        asked_by, file = frame.f_globals.get("__name__", ""), frame.f_code.co_filename
        own = asked_by == package or asked_by.startswith((f"{package}.", "importlib"))
        if not own and not file.startswith("<frozen importlib"):
            return frame
        frame = frame.f_back
    return None
