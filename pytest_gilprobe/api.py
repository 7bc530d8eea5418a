"""One function, probed without a test: for a script, a notebook and ``gilprobe run``.

A worker is a pytest session, so the function gets a test for as long as it takes: a file in a temporary folder that
hands it to the `gilprobe` fixture. Workers find the function by its name, as a process pool would. For one that
lives in ``__main__`` they run the script again, or inherit it where workers are forked.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import inspect
import json
import os
import pickle
import runpy
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest_gilprobe
from pytest_gilprobe import host, options, repeatable
from pytest_gilprobe.config import Expectation, Plan, check
from pytest_gilprobe.machine import Surveyor
from pytest_gilprobe.model import Caution, GilprobeError, Recommendation, Report, Strategy, Verdict, WorkloadResult
from pytest_gilprobe.price import NOT_IMPORTABLE
from pytest_gilprobe.probe import Prober
from pytest_gilprobe.workers.naming import Given
from pytest_gilprobe.workers.pool import Pool
from pytest_gilprobe.workers.protocol import WorkerSpec

TEST_FILE = "test_workload.py"
NODEID = f"{TEST_FILE}::test_workload"
_TEST = """\
from pytest_gilprobe.api import handed_over


def test_workload(gilprobe):
    given = handed_over(__file__)
    gilprobe(given.func, *given.args, **given.kwargs)
"""
UNGUARDED = (
    "probe() was reached again while a worker process imported this script: put the code that calls it under "
    "`if __name__ == '__main__':`, since a new process imports the script to find the function"
)
_inherited: dict[str, Given] = {}
"""What forked workers find in their copy of this memory, by the folder of their test; emptied after the probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What a probe of one function found. ``print`` it for the report; a notebook shows it as such."""

    report: Report

    @property
    def result(self) -> WorkloadResult:
        """Everything that was measured."""
        return self.report.workloads[0]

    @property
    def verdict(self) -> Verdict:
        """The answer."""
        return self.result.verdict

    def __str__(self) -> str:
        """Draw the report as on a terminal, without colours."""
        from pytest_gilprobe.reporters import terminal  # noqa: PLC0415 - only for who wants to see it

        width = shutil.get_terminal_size().columns
        return terminal.text(terminal.draw(self.report, width=width), color=False).rstrip()

    def _repr_markdown_(self) -> str:
        from pytest_gilprobe.reporters import markdown  # noqa: PLC0415

        return markdown.draw(self.report, limit=None)


def probe(
    func: Callable[..., Any],
    /,
    *args: Any,
    gilprobe_workers: int | str = "auto",
    gilprobe_max_time: float = 5.0,
    gilprobe_timeout: float = 60.0,
    gilprobe_start_method: str | None = None,
    **kwargs: Any,
) -> Probed:
    """Tell whether ``func(*args, **kwargs)``, called many times, would gain from threads or from processes.

    It is called once here, then again and again in worker processes. In a script, call `probe` under ``if __name__
    == "__main__":``.

    Args:
        func: what to call; found by its name in workers, or inherited where they are forked.
        args: its positional arguments; they must be picklable unless workers are forked.
        gilprobe_workers: threads and processes to try, from 2, or ``"auto"``.
        gilprobe_max_time: seconds that the probe may take.
        gilprobe_timeout: seconds after which a batch of calls is killed as hung.
        gilprobe_start_method: ``"fork"``, ``"forkserver"`` or ``"spawn"``; default: multiprocessing's.
        kwargs: its keyword arguments.

    Raises:
        GilprobeError: a setting is wrong, the function cannot reach a worker, or this is one.
        Exception: whatever ``func`` raises.
    """
    if options.INSIDE_WORKER in os.environ:
        raise GilprobeError(UNGUARDED)
    given = Given(func=func, args=args, kwargs=kwargs)
    workers = check("gilprobe_workers", "workers", gilprobe_workers)
    plan = Plan(
        nodeid=NODEID,
        workers=workers if workers is not None else min(4, max(2, host.usable_cpus())),
        max_time_s=check("gilprobe_max_time", "seconds", gilprobe_max_time),
        timeout_s=check("gilprobe_timeout", "seconds", gilprobe_timeout),
        strategies=frozenset(Strategy),
        expectation=Expectation(),
    )
    method = (
        None if gilprobe_start_method is None else check("gilprobe_start_method", "start_method", gilprobe_start_method)
    )
    _refuse(given)
    started = host.perf_counter_ns()
    result = given.call()
    call_s = (host.perf_counter_ns() - started) / 1e9
    _stop(given, repeatable.unfinished(result))
    with _folder() as folder:
        found = _probe(plan, given, _method(given, method), folder, call_s)
    return _warned(found, given, method)


def _refuse(given: Given) -> None:
    func = given.func
    if not callable(func):
        msg = f"probe(func, *args, **kwargs) found {func!r}, allowed: something to call; "
        msg += "pass the function, not its result"
        raise GilprobeError(msg)
    if inspect.iscoroutinefunction(func):
        msg = f"probe found the coroutine function {func!r}, allowed: a plain one; wrap it in asyncio.run"
        raise GilprobeError(msg)
    _stop(given, repeatable.used_up(given.args, given.kwargs))


def _stop(given: Given, why: str | None) -> None:
    if why is not None:
        msg = f"{_name(given.func)} cannot be probed: {why}"
        raise GilprobeError(msg)


def _method(given: Given, asked: str | None) -> str | None:
    """Choose how workers start: as asked; forked where nothing else can bring them the function."""
    import multiprocessing  # noqa: PLC0415 - heavy

    if asked is not None or _picklable(given) is None or "fork" not in multiprocessing.get_all_start_methods():
        return asked
    return "fork"


def _warned(found: Probed, given: Given, asked: str | None) -> Probed:
    """Add that a process pool would not find the function, where only a forked worker of the probe could.

    Where pools fork by themselves, or the user asked for workers that do, there is nothing to warn of.
    """
    import multiprocessing  # noqa: PLC0415 - heavy

    usual = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    result = found.result
    advised = result.verdict.strategy is Recommendation.PROCESSES
    known = any(caution.slug == NOT_IMPORTABLE for caution in result.verdict.cautions)
    why = _picklable(given) if asked is None and usual != "fork" and advised and not known else None
    if why is None:
        return found
    warning = Caution(
        slug=NOT_IMPORTABLE,
        message=f"a process pool starts its workers by {usual} here, and those do not find the function ({why}): put "
        "it into a module, or give the pool mp_context=multiprocessing.get_context('fork')",
    )
    verdict = replace(result.verdict, cautions=(*result.verdict.cautions, warning))
    return replace(found, report=replace(found.report, workloads=(replace(result, verdict=verdict),)))


def _picklable(given: Given) -> str | None:
    """Say why a function and its arguments cannot reach a worker that is not forked, or None."""
    try:
        pickle.dumps((given.func, given.args, given.kwargs))
    except Exception as error:  # noqa: BLE001 - whatever the user's classes raise
        return f"{type(error).__name__}: {error}"
    module = getattr(given.func, "__module__", None)
    if module == "__main__" and _script() is None:
        return "it is defined in a notebook or an interactive session"
    return None


def _script() -> str | None:
    """Return the path of the script that runs as ``__main__``; None for a notebook, a prompt or ``-c``."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return os.path.realpath(path) if path is not None and Path(path).is_file() else None


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="gilprobe-run-")))
    try:
        (folder / TEST_FILE).write_text(_TEST, encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        yield folder
    finally:
        _inherited.pop(str(folder), None)
        shutil.rmtree(folder, ignore_errors=True)


def _probe(plan: Plan, given: Given, method: str | None, folder: Path, call_s: float) -> Probed:
    pool = Pool(spec=_spec(folder), start_method=method, timeout_s=plan.timeout_s)
    surveyor = Surveyor(pool)
    end = pool.abandon
    try:
        _hand_over(given, pool.start_method, folder)
        found = Prober(pool=pool, surveyor=surveyor, progress=lambda _: None).probe(plan, keep=0, known_call_s=call_s)
        end = pool.close
    finally:
        end()
    if found.serial is None and UNGUARDED in (found.reason or ""):
        raise GilprobeError(UNGUARDED)
    known = surveyor.any_machine()
    return Probed(
        report=Report(
            tool_version=pytest_gilprobe.__version__,
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            environment=host.environment(
                start_method=pool.start_method,
                scaling_ceiling=known.scaling.value if known.scaling is not None else None,
                ceiling_workers=known.scaling_workers,
            ),
            workloads=(replace(found, nodeid=_name(given.func)),),
        )
    )


def _name(func: object) -> str:
    while isinstance(func, functools.partial):
        func = func.func
    return f"{getattr(func, '__module__', None) or 'builtins'}:{getattr(func, '__qualname__', type(func).__qualname__)}"


def _spec(folder: Path) -> WorkerSpec:
    """Describe a session of the one test that knows no configuration and no plugin but this one."""
    test = str(folder / TEST_FILE)
    arguments = (
        test,
        "-c",
        str(folder / "pytest.ini"),
        f"--rootdir={folder}",
        "--disable-plugin-autoload",
        "-p",
        "no:cacheprovider",
    )
    return WorkerSpec(
        arguments=(*arguments, "--import-mode=importlib"),
        overrides=("--color=no", "--capture=no", "--basetemp={folder}/tmp"),
        plugins=("pytest_gilprobe.plugin",),
        working_dir=str(Path.cwd()),
        folder="",
        nodeids=frozenset({NODEID}),
        files=frozenset({test}),
    )


def _hand_over(given: Given, method: str, folder: Path) -> None:
    """Put the function where workers find it."""
    if method == "fork":
        _inherited[str(folder)] = given
        return
    why = _picklable(given)
    if why is not None:
        msg = (
            f"{_name(given.func)} cannot be handed to a worker process ({why}): put the function into a module "
            "and import it, with arguments that can be pickled"
        )
        raise GilprobeError(msg)
    state = {"path": [os.fspath(entry) for entry in sys.path], "script": _script()}
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    (folder / "given.pickle").write_bytes(pickle.dumps((given.func, given.args, given.kwargs)))


def handed_over(test_file: str) -> Given:
    """Return, in a worker, the function that this worker was started for."""
    folder = Path(os.path.realpath(test_file)).parent
    if str(folder) in _inherited:
        return _inherited[str(folder)]
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    sys.path[:] = [*state["path"], *(entry for entry in sys.path if entry not in state["path"])]
    if state["script"] is not None:
        _run_script_again(state["script"])
    func, args, kwargs = pickle.loads((folder / "given.pickle").read_bytes())  # noqa: S301 - written by the parent
    return Given(func=func, args=args, kwargs=kwargs)


def _run_script_again(path: str) -> None:
    """Make a script's names those of ``__main__`` here, without its guarded part, as under spawn."""
    module = ModuleType("__mp_main__")
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    module.__dict__.update(runpy.run_path(path, run_name="__mp_main__"))
