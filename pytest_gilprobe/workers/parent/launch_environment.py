"""Change this process's environment and settings for as long as it takes to start a worker process."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import types
import warnings
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.workers.child.process import COVER_WORKERS
from pytest_gilprobe.workers.test_patches import ABSENT, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator


def start_method_of(asked: str | None) -> str:
    """Return the start method of `multiprocessing` for workers: the one that is ``asked`` for, or the default.

    This does not fix the default, unlike `get_context`: the user can still call `set_start_method` afterwards.
    """
    default = multiprocessing.get_start_method(allow_none=True)
    return asked or default or multiprocessing.get_all_start_methods()[0]


@contextlib.contextmanager
def ready_to_start(gil: bool | None) -> Iterator[None]:  # noqa: FBT001 - its only argument
    """Change the settings that a new worker process would inherit from this process; on exit, restore them.

    * ``__main__`` is hidden: spawn and forkserver would import it again in the worker, and a script that calls
      ``pytest.main()`` without the ``__main__`` guard would run its whole suite there.
    * The environment variable ``PYTHON_GIL``, by which a new interpreter runs with the GIL or without, is set to 1 if
      ``gil`` is true, and to 0 if it is false; with ``None``, it is left as it is. *Source:* "Python support for free
      threading" in the Python documentation's how-tos.
    * The variables by which coverage and pytest-cov start in every new Python are hidden: coverage would slow a worker.
    * `multiprocessing` forgets that this process is daemonic (as a process of ``multiprocessing.Pool`` is), because a
      daemonic process may not have children. Private access: the public ``daemon`` cannot be set. A worker ends with
      its parent in any case.
    * The `DeprecationWarning` about a fork while other threads run is hidden: the forked worker only begins a session
      of its own.
    """
    environment: dict[str, Any] = {} if gil is None else {"PYTHON_GIL": "1" if gil else "0"}
    if COVER_WORKERS not in os.environ:
        starters = (name for name in os.environ if name.startswith(("COV_CORE_", "COVERAGE_PROCESS_")))
        environment |= dict.fromkeys(starters, ABSENT)
    process: dict[str, Any] = getattr(multiprocessing.current_process(), "_config", {})
    with (
        replaced(sys.modules, {"__main__": types.ModuleType("__main__")}),
        replaced(os.environ, environment),
        replaced(process, {"daemon": ABSENT}),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
