"""From a test that is set up to the callables that a batch repeats: one for each thread.

What threads share follows what the user's own threads would share: fixture values, the test's instance, module and
class state. Two things differ: ``tmp_path`` is a folder of each thread's own, and a test that itself asks for a fixture known to be
unsafe in threads is not run in threads at all.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from pytest_gilprobe.workers.batch import Call

UNSAFE_IN_THREADS = frozenset(
    {"capfd", "capfdbinary", "caplog", "capsys", "capsysbinary", "capteesys", "monkeypatch", "recwarn", "request"}
)
"""Fixtures that change or read state of the whole process, or pytest's own, without a lock."""


def argument_names(item: pytest.Function) -> tuple[str, ...]:
    """Return the fixtures that pytest passes to the test function itself.

    Private access: ``_fixtureinfo``, as in pytest's own ``pytest_pyfunc_call``; a signature does not tell (defaults,
    ``mock.patch``), and no public name does.
    """
    return tuple(item._fixtureinfo.argnames)  # noqa: SLF001 - see above


def arguments(item: pytest.Function) -> dict[str, Any]:
    """Return the fixture values that the test function is called with."""
    return {name: item.funcargs[name] for name in argument_names(item)}


def call_for(item: pytest.Function, lane: int | None = None) -> Call:
    """Return the callable that makes one call of the test.

    ``lane`` is the number of the thread that will make the calls, from 0; None is the serial batch.
    """
    passed = arguments(item)
    if lane is not None and isinstance(folder := passed.get("tmp_path"), Path):
        own = folder / f"gilprobe-thread-{lane}"
        own.mkdir(exist_ok=True)
        passed["tmp_path"] = own
    return partial(item.obj, **passed) if passed else item.obj


def unsafe_in_threads(item: pytest.Function) -> str | None:
    """Say why this test must not be run in threads, or None if nothing is known against it."""
    found = sorted(UNSAFE_IN_THREADS.intersection(argument_names(item)))
    if not found:
        return None
    return f"it uses {', '.join(found)}, which must not be used by several threads at once"
