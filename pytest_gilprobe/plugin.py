"""pytest hooks, a few lines each, that call a room.

What most sessions need is only the options and the marker; everything else is imported and registered when a session turns out to
have a marked test.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_gilprobe import config as configuration

if TYPE_CHECKING:
    from pytest_gilprobe.config import Settings

SETTINGS = pytest.StashKey["Settings"]()



def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare flags and ini keys."""
    configuration.declare(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker and read the settings; what cannot be read is a usage error."""
    config.addinivalue_line("markers", configuration.MARKER_HELP)
    config.stash[SETTINGS] = configuration.Settings.from_pytest(config)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the options that differ from their defaults."""
    changed = config.stash[SETTINGS].changed
    return f"gilprobe: {', '.join(changed)}" if changed else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Find the marked tests that are left after all deselection, and start probing only if there are any."""
    settings = config.stash[SETTINGS]
    if settings.disable or configuration.INSIDE_WORKER in os.environ:
        return
    keywords = {}
    for item in items:
        if item.get_closest_marker(configuration.MARKER) is not None:
            keywords[item] = configuration.read_marks(item.nodeid, item.iter_markers(configuration.MARKER))
        elif settings.probe_all:
            keywords[item] = {}
    if not (keywords or settings.report) or config.option.collectonly:
        return
    from pytest_gilprobe.session import ProbeSession  # noqa: PLC0415 - sessions without a marked test stay light

    config.pluginmanager.register(ProbeSession(session, settings, keywords), "gilprobe-session")
