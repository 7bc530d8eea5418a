"""What every test file has: pytester, reproducible properties, and a check that nothing is left behind."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import psutil
import pytest
from sessions import ALONE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["pytester"]

EXAMPLES = int(os.environ.get("GILPROBE_EXAMPLES", "25"))
"""Of each property test: more of them take longer, and find the same as long as nothing has changed."""
hypothesis.settings.register_profile("here", deadline=None, derandomize=True, max_examples=EXAMPLES)
hypothesis.settings.load_profile("here")

MARK = "GILPROBE_TEST_SESSION"
"""In the environment of every process that this session starts, so that what is left of them can be found."""
FAREWELL_S = 5.0
ALLOWED = ("resource_tracker", "forkserver")
"""Processes of the standard library that live as long as the one that first needed them: this one."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in two processes, file by file, unless ``-n`` says otherwise.

    Not by ``addopts``: that would hold for the sample workloads, too, whose probes must not disturb each other.
    """
    option = config.option
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    is_worker = hasattr(config, "workerinput") or "PYTEST_XDIST_WORKER" in os.environ
    if whole and not is_worker and getattr(option, "numprocesses", 0) is None:
        option.numprocesses, option.dist = 2, "loadfile"


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave thorough tests out wherever slow ones are."""
    if item.get_closest_marker("thorough") is not None:
        item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Give the session a temporary folder and a mark of its own; fail it if workers or their files outlive it."""
    mark, before = uuid.uuid4().hex, tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="tests-of-gilprobe-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, mark)
        patch.setenv("PYTEST_DEBUG_TEMPROOT", before)
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", None)
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # else each Python that is started compiles all anew
        yield
        files = sorted(path.name for path in folder.glob("gilprobe-*"))
        processes = _left_over(mark)
    shutil.rmtree(folder, ignore_errors=True)
    assert not processes, f"processes left behind: {processes}"
    assert not files, f"folders left behind: {files}"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what else is installed out of the sessions that a test starts: they begin in half the time."""
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)


def _left_over(mark: str) -> list[str]:
    """Name the processes that carry the mark, or are children of this one, after they had time to end."""
    until = time.monotonic() + FAREWELL_S
    while True:
        found = [line for process in psutil.process_iter() if (line := _carries(process, mark)) is not None]
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.1)


def _carries(process: psutil.Process, mark: str) -> str | None:
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return None
        if process.ppid() != os.getpid() and process.environ().get(MARK) != mark:
            return None
        line = " ".join(process.cmdline())
    except psutil.Error:  # gone, or somebody else's
        return None
    return None if any(word in line for word in ALLOWED) else f"{process.pid}: {line}"
