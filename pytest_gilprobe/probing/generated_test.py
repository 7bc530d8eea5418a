"""Generate a test for a function that has none, and bring the function to the worker processes that run the test.

A worker is a pytest session, so a probed function needs a test: a file in a temporary folder, kept while the probe
runs, that passes the function to the `gilprobe` fixture. A forked worker inherits the function. Any other worker
imports it by its name, as a process pool would; if it is defined in ``__main__``, the worker runs the script again.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import runpy
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from pytest_gilprobe.workers.naming import Given
from pytest_gilprobe.workers.worker_spec import WorkerSpec

TEST_FILE = "test_workload.py"
NODEID = f"{TEST_FILE}::test_workload"
_TEST = """\
from pytest_gilprobe.probing.generated_test import received
from pytest_gilprobe.workers.event_loops import is_awaited


def test_workload(gilprobe):
    given = received(__file__)

    def call():
        if given.make is not None:
            return gilprobe.fresh(given.func, given.make)
        return gilprobe(given.func, *given.args, **given.kwargs)

    if not is_awaited(given.func):
        call()
        return
    import asyncio

    async def main():
        await call()

    asyncio.run(main())
"""
_inherited: dict[str, Given] = {}
"""What forked workers find in their copy of this memory, by the folder of their test; emptied after the probe."""


@contextlib.contextmanager
def session_folder() -> Iterator[Path]:
    """Create a temporary folder for the generated test; yield the folder's path, and remove it at the end."""
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="gilprobe-run-")))
    try:
        (folder / TEST_FILE).write_text(_TEST, encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        yield folder
    finally:
        _inherited.pop(str(folder), None)
        shutil.rmtree(folder, ignore_errors=True)


def spec_of(folder: Path, executors: Sequence[str] = ()) -> WorkerSpec:
    """Describe workers that run only the generated test in ``folder``, without the user's settings and plugins.

    ``executors`` are the executors that the user named, each as a text like ``NAME=MODULE:FACTORY``.
    """
    named = (f"--gilprobe-executor={text}" for text in executors)
    test = str(folder / TEST_FILE)
    own = ("-c", str(folder / "pytest.ini"), f"--rootdir={folder}", "--import-mode=importlib")
    return WorkerSpec(
        arguments=(test, *own, "--disable-plugin-autoload", "-p", "no:cacheprovider", *named),
        overrides=("--color=no", "--capture=no", "--basetemp={folder}/tmp"),
        plugins=("pytest_gilprobe.plugin",),
        working_dir=str(Path.cwd()),
        folder="",
        nodeids=frozenset({NODEID}),
        files=frozenset({test}),
    )


def send(given: Given, folder: Path, *, forked: bool) -> None:
    """Store ``given``, a function with its arguments, where the workers that run the test in ``folder`` find it.

    ``forked`` is whether these workers are forks of this process, which inherit function and arguments. If they are
    not, function and arguments must be picklable.
    """
    if forked:
        _inherited[str(folder)] = given
        return
    state = {"path": [os.fspath(entry) for entry in sys.path], "script": _script()}
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    (folder / "given.pickle").write_bytes(pickle.dumps(_parts(given)))


def received(test_file: str) -> Given:
    """Return, in a worker process, the function and the arguments that the parent has stored for it with `send`.

    ``test_file`` is the path of the generated test that the worker runs.
    """
    folder = Path(os.path.realpath(test_file)).parent
    if str(folder) in _inherited:
        return _inherited[str(folder)]
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    sys.path[:] = [*state["path"], *(entry for entry in sys.path if entry not in state["path"])]
    if state["script"] is not None:
        _run_script_again(state["script"])
    func, args, kwargs, make = pickle.loads((folder / "given.pickle").read_bytes())  # noqa: S301 - written by the parent
    return Given(func=func, args=args, kwargs=kwargs, make=make)


def _parts(given: Given) -> tuple[object, ...]:
    """Return what another process needs: of arguments that are made anew, only how they are made."""
    return (given.func, () if given.make is not None else given.args, given.kwargs, given.make)


def why_unreachable(given: Given) -> str | None:
    """Return why ``given`` cannot be sent to a process that is no fork of this one; ``None`` if it can.

    ``given`` is a function with its arguments.
    """
    try:
        pickle.dumps(_parts(given))
    except Exception as error:  # noqa: BLE001 - whatever the user's classes raise
        return f"{type(error).__name__}: {error}"
    if getattr(given.func, "__module__", None) == "__main__" and _script() is None:
        return "it is defined in a notebook or an interactive session"
    return None


def _script() -> str | None:
    """Return the path of the script that runs as ``__main__``; None for a notebook, a prompt or ``-c``."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return os.path.realpath(path) if path is not None and Path(path).is_file() else None


def _run_script_again(path: str) -> None:
    """Make a script's names those of ``__main__`` here, without its guarded part, as under spawn."""
    module = ModuleType("__mp_main__")
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    module.__dict__.update(runpy.run_path(path, run_name="__mp_main__"))
