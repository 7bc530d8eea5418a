"""What a worker is started in: no main module or coverage of the user's and, on request, another GIL setting."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import types
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.workers.ownership import COVER_WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def without_coverage() -> Iterator[None]:
    """Hide the variables by which coverage, and pytest-cov, start themselves in every new Python: a worker is timed."""
    if COVER_WORKERS in os.environ:
        yield
        return
    names = [name for name in os.environ if name.startswith(("COV_CORE_", "COVERAGE_PROCESS_"))]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextlib.contextmanager
def allowed_to_start() -> Iterator[None]:
    """Have `multiprocessing` start a process where this one is daemonic, as in a ``Pool``; workers end with it anyway.

    Private access: ``_config`` holds what is inherited; the public ``daemon`` cannot be set once a process runs.
    """
    inherited: dict[str, Any] = getattr(multiprocessing.current_process(), "_config", {})
    before = inherited.pop("daemon", None)
    try:
        yield
    finally:
        if before is not None:
            inherited["daemon"] = before


@contextlib.contextmanager
def python_gil(gil: bool | None) -> Iterator[None]:  # noqa: FBT001 - its only argument
    """Set ``PYTHON_GIL``, which a new interpreter reads, while a process is started.

    Source: "Free-threaded CPython" in the Python documentation's how-tos.
    """
    if gil is None:
        yield
        return
    before = os.environ.get("PYTHON_GIL")
    os.environ["PYTHON_GIL"] = "1" if gil else "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHON_GIL"]
        else:
            os.environ["PYTHON_GIL"] = before


@contextlib.contextmanager
def without_main_module() -> Iterator[None]:
    """Hide ``__main__`` while a process is started.

    spawn and forkserver import the parent's main module again in the child. A script that calls ``pytest.main()``
    without the ``__main__`` guard would then run its whole suite in every worker; a worker does not need it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
