"""A worker's collection: that of its parent's command line, but only of the files that hold marked tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_gilprobe.workers.protocol import WorkerSpec

WRITERS = (
    "xmlpath",
    "htmlpath",
    "report_log",
    "allure_report_dir",
    "json_report",
    "pastebin",
    "benchmark_json",
    "benchmark_autosave",
)
"""Options of pytest and of plugins that name a file to be written, or switch writing on."""


class Collection:
    """The worker's plugin that collects; ``items`` are the marked tests by their node ids, ``errors`` what failed."""

    def __init__(self, spec: WorkerSpec) -> None:
        """Collect what ``spec`` names."""
        self._spec = spec
        self._folders = frozenset(str(folder) for file in spec.files for folder in Path(file).parents)
        self.items: dict[str, pytest.Item] = {}
        self.errors: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Switch off what would wait for a person."""
        for name in ("usepdb", "trace", "collectonly", "setuponly", "setupplan", "version", "help"):
            if hasattr(config.option, name):
                setattr(config.option, name, False)
        for name in WRITERS:
            if hasattr(config.option, name):
                setattr(config.option, name, None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Have Hypothesis draw the same examples in every worker, and keep no database."""
        settings = getattr(sys.modules.get("hypothesis"), "settings", None)
        if settings is not None:
            settings.register_profile("gilprobe", parent=settings(), database=None, deadline=None, derandomize=True)
            settings.load_profile("gilprobe")

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave out every file and folder without a marked test."""
        path = str(collection_path)
        if not self._spec.prune:
            return None
        if path in self._folders or path in self._spec.files or collection_path.name == "__init__.py":
            return None
        return True

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep the marked tests by their node ids."""
        self.items = {}
        for item in session.items:
            for nodeid in (item.nodeid, escaped_once(item.nodeid)):
                if nodeid in self._spec.nodeids:
                    self.items.setdefault(nodeid, item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember why something could not be collected."""
        if report.failed or report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self.errors.append(f"{report.nodeid}: {why}")


def escaped_once(nodeid: str) -> str:
    """Return a node id as it was before pytest escaped it a second time; one without backslashes is as it is.

    pytest keeps the ids that it drew from ``ids=`` on the function's mark, escaped. A worker that was forked with the
    module loaded collects the same function again, and so has them escaped again.
    """
    path, bracket, ids = nodeid.partition("[")
    try:
        return path + bracket + ids.encode("ascii").decode("unicode_escape")
    except UnicodeError:
        return nodeid
