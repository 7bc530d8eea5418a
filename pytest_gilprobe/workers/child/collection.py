"""Collect the parent's tests again in a worker process, but only from the files with tests to probe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_gilprobe.workers.worker_spec import WorkerSpec

_PYTEST_WRITERS = ("xmlpath", "pastebin")
_PLUGIN_WRITERS = ("htmlpath", "report_log", "allure_report_dir", "json_report", "benchmark_json", "benchmark_autosave")
WRITERS = _PYTEST_WRITERS + _PLUGIN_WRITERS
"""Options of pytest and of plugins that name a file to write, or switch writing on: a worker clears them."""
INTERACTIVE = ("usepdb", "trace", "collectonly", "setuponly", "setupplan", "version", "help")
"""Options of pytest that wait for a person, or prevent tests from running: a worker switches them off."""


class Collection:
    """Plugin that collects in a worker: ``items`` has the tests by node id, ``errors`` the failures of collecting."""

    def __init__(self, spec: WorkerSpec) -> None:
        """Prepare to collect the tests that ``spec`` names."""
        self._spec = spec
        self._folders = frozenset(str(folder) for file in spec.files for folder in Path(file).parents)
        self.items: dict[str, pytest.Item] = {}
        self.errors: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Switch off the options in `INTERACTIVE` and `WRITERS`."""
        for names, off in ((INTERACTIVE, False), (WRITERS, None)):
            for name in names:
                if hasattr(config.option, name):
                    setattr(config.option, name, off)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Have Hypothesis draw the same examples in every worker, without its database."""
        settings = getattr(sys.modules.get("hypothesis"), "settings", None)
        if settings is not None:
            settings.register_profile("gilprobe", parent=settings(), database=None, deadline=None, derandomize=True)
            settings.load_profile("gilprobe")

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Return True for a file or folder without a test to probe; None leaves the decision to pytest."""
        path = str(collection_path)
        if not self._spec.prune:
            return None
        if path in self._folders or path in self._spec.files or collection_path.name == "__init__.py":
            return None
        return True

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Store the tests to probe in ``items``, by their node ids in the parent."""
        self.items = {}
        for item in session.items:
            for nodeid in (item.nodeid, escaped_once(item.nodeid)):
                if nodeid in self._spec.nodeids:
                    self.items.setdefault(nodeid, item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Add the reason to ``errors`` if a file or class failed to be collected, or was skipped."""
        if report.failed or report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self.errors.append(f"{report.nodeid}: {why}")


def escaped_once(nodeid: str) -> str:
    """Return a node id as it was before pytest escaped it a second time, or unchanged if it is not escaped.

    pytest stores the escaped ids of ``ids=`` in the function's mark. A worker that was forked with the module loaded
    collects the same function again, and pytest then escapes the stored ids again.
    """
    path, bracket, ids = nodeid.partition("[")
    try:
        return path + bracket + ids.encode("ascii").decode("unicode_escape")
    except UnicodeError:
        return nodeid


class Placeholder(pytest.Item):
    """Keep the collectors of a test (module, class ...) set up until the next test is known.

    pytest must know the next test when a test starts, but a worker is told later. A placeholder is a test that does
    nothing: passed as the next test, it keeps the fixtures of its collectors set up; run before the real next test, it
    makes pytest tear down the fixtures that the real next test does not need.
    """

    def runtest(self) -> None:
        """Do nothing."""

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return the placeholder's path and name."""
        return self.path, None, self.name
