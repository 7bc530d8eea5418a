"""Collect tests in a worker process as pytest's own process did, but only from the files with tests to probe."""

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
"""Names of those options of pytest and of plugins which make them write files or send results to a server. A worker
process clears these options."""
INTERACTIVE = ("usepdb", "trace", "collectonly", "setuponly", "setupplan", "version", "help")
"""Names of options of pytest that wait for a person, or prevent tests from running: a worker process switches them
off."""


class Collection:
    """Plugin of a worker process that collects the tests to probe (to measure).

    ``items`` maps node ids to the collected tests. ``errors`` has a text for each file or class that was not collected.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        """Prepare to collect the tests that ``spec`` names."""
        self._spec = spec
        self._folders = frozenset(str(folder) for file in spec.files for folder in Path(file).parents)
        self.items: dict[str, pytest.Item] = {}
        self.errors: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Switch off each option that would wait for a person, would keep tests from running, or would write a file."""
        for names, off in ((INTERACTIVE, False), (WRITERS, None)):
            for name in names:
                if hasattr(config.option, name):
                    setattr(config.option, name, off)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """If Hypothesis is loaded, have it draw the same examples in every worker process, without its database."""
        settings = getattr(sys.modules.get("hypothesis"), "settings", None)
        if settings is not None:
            settings.register_profile("gilprobe", parent=settings(), database=None, deadline=None, derandomize=True)
            settings.load_profile("gilprobe")

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Return ``True``, to skip the path, if it contains no test to probe; else ``None``: pytest decides."""
        path = str(collection_path)
        if not self._spec.prune:
            return None
        if path in self._folders or path in self._spec.files or collection_path.name == "__init__.py":
            return None
        return True

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Store the tests to probe in ``items``, by the node ids that they have in pytest's own process."""
        self.items = {}
        for item in session.items:
            for nodeid in (item.nodeid, escaped_once(item.nodeid)):
                if nodeid in self._spec.nodeids:
                    self.items.setdefault(nodeid, item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """If a file or class failed to be collected, or was skipped, add a text to ``errors`` that says why."""
        if report.failed or report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self.errors.append(f"{report.nodeid}: {why}")


def escaped_once(nodeid: str) -> str:
    """Undo one level of pytest's escapes in the bracketed part of a node id; return it unchanged if it has none.

    pytest stores the escaped ids of ``ids=`` in the function's mark. A worker that was forked with the module loaded
    collects the same function again, and pytest then escapes the stored ids a second time.
    """
    path, bracket, ids = nodeid.partition("[")
    try:
        return path + bracket + ids.encode("ascii").decode("unicode_escape")
    except UnicodeError:
        return nodeid


class Placeholder(pytest.Item):
    """A test that does nothing, but keeps the collectors (module, class ...) of the test before it set up.

    pytest must know the next test when a test starts, but a worker process is told later. Passed to pytest as the next
    test, a placeholder keeps the fixtures of its collectors set up. Run before the real next test, it makes pytest tear
    down the fixtures that the real next test does not need.
    """

    def runtest(self) -> None:
        """Do nothing."""

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return the location that pytest reports for this test: its path, no line number, and its name."""
        return self.path, None, self.name
