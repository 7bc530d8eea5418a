"""Describe what a new worker process must know before it gets its first question from pytest's own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """What a new worker process needs to know to repeat the pytest session of its parent (pytest's own process).

    ``arguments`` is the parent's command line; the options in ``overrides`` are appended to it. ``plugins`` names the
    plugins that were passed to ``pytest.main`` by name. The session runs in ``working_dir``; ``folder`` is this
    worker's own folder for temporary files. ``nodeids`` are the tests to probe, and ``files`` the absolute paths of
    their files. With ``prune``, the worker collects only these files; else every file, as the parent does. ``forked``
    is whether the worker is a fork of the parent. ``gil_switched_on_by`` names the modules whose import had switched
    the GIL on in the parent. ``holders`` is whether to find out where in the code the GIL is held.
    """

    arguments: tuple[str, ...]
    overrides: tuple[str, ...]
    plugins: tuple[str, ...]
    working_dir: str
    folder: str
    nodeids: frozenset[str]
    files: frozenset[str]
    prune: bool = True
    forked: bool = False
    gil_switched_on_by: tuple[str, ...] = ()
    holders: bool = True


WorkerMain = Callable[["Connection", "Connection", tuple[Any, ...], WorkerSpec], None]
"""The main function of a new worker process. Its arguments are the channel for questions and answers, the lifeline (a
pipe that closes when the parent ends), the parent's own ends of pipes, which a fork must close, and the description of
the session to run; see `pytest_gilprobe.workers.child.server.serve`."""
