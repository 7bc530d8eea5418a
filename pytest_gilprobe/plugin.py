"""pytest hooks, a few lines each, that call a room.

What most sessions need is only the options and the marker; everything else is imported and registered when a session
turns out to have something to measure.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilprobe import options

if TYPE_CHECKING:
    from pytest_gilprobe.config import Settings
    from pytest_gilprobe.fixture import Gilprobe

SETTINGS = pytest.StashKey["Settings"]()
"""The settings, kept only where a flag or an ini key asked for something or a test is marked."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare flags and ini keys."""
    options.declare(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker and read what was asked for; what cannot be read is a usage error."""
    config.addinivalue_line("markers", options.MARKER_HELP)
    if not options.asked(config):
        return
    settings = _settings(config)
    if settings.scan and not (settings.disable or config.option.collectonly or options.INSIDE_WORKER in os.environ):
        from pytest_gilprobe.scan import session  # noqa: PLC0415 - only a scan needs it

        session.register(config, settings)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the options that differ from their defaults."""
    if SETTINGS not in config.stash or not config.stash[SETTINGS].changed:
        return None
    return f"gilprobe: {', '.join(config.stash[SETTINGS].changed)}"


@pytest.fixture
def gilprobe(request: pytest.FixtureRequest) -> Gilprobe:
    """Call ``gilprobe(func, *args, **kwargs)`` once.

    It returns the result, and that call is what is probed, not the whole test.

    A test that asks for it is probed, with the marker or without; the marker's keywords apply.
    """
    from pytest_gilprobe.fixture import provide  # noqa: PLC0415 - sessions without a marked test stay light

    return provide(request)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Find the marked tests that are left after all deselection, and start probing only if there are any."""
    asked = config.stash.get(SETTINGS, None)
    if options.INSIDE_WORKER in os.environ or (asked is not None and (asked.disable or asked.scan)):
        return
    marked = list(options.marked(items))
    if not (marked or (asked is not None and (asked.probe_all or asked.report))):
        return
    from pytest_gilprobe.config import read_marks  # noqa: PLC0415 - sessions without a marked test stay light

    settings = _settings(config)
    keywords: dict[pytest.Item, dict[str, Any]] = {item: {} for item in items} if settings.probe_all else {}
    keywords |= {item: read_marks(item.nodeid, item.iter_markers(options.MARKER)) for item in marked}
    if config.option.collectonly:
        return
    from pytest_gilprobe import distributed  # noqa: PLC0415

    if distributed.has_company(config):
        distributed.send_count(config, len(keywords))
        return
    from pytest_gilprobe.session import ProbeSession  # noqa: PLC0415

    probing = ProbeSession(session, settings, keywords)
    config.pluginmanager.register(probing, "gilprobe-session")
    if not distributed.is_distributed(config):
        config.pluginmanager.register(probing.reporting, "gilprobe-reporting")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Under pytest-xdist, have the controller gather what its workers measure."""
    config = session.config
    asked = config.stash.get(SETTINGS, None)
    if not config.pluginmanager.hasplugin("dsession") or options.INSIDE_WORKER in os.environ:
        return
    if asked is not None and (asked.disable or asked.scan):
        return
    from pytest_gilprobe.distributed import Controller  # noqa: PLC0415 - only under pytest-xdist
    from pytest_gilprobe.reporting import Reporting  # noqa: PLC0415

    settings = _settings(config)
    if settings.ab_gil:
        from pytest_gilprobe import abgil  # noqa: PLC0415 - rarely asked for

        abgil.refuse_distribution(settings)
    reporting = Reporting(config, settings)
    config.pluginmanager.register(reporting, "gilprobe-reporting")
    config.pluginmanager.register(Controller(reporting), "gilprobe-controller")


def _settings(config: pytest.Config) -> Settings:
    """Read the settings once."""
    from pytest_gilprobe.config import Settings  # noqa: PLC0415

    if SETTINGS not in config.stash:
        settings = config.stash[SETTINGS] = Settings.from_pytest(config)
        if settings.ab_gil:
            from pytest_gilprobe import abgil  # noqa: PLC0415 - rarely asked for

            abgil.check(settings)
    return config.stash[SETTINGS]
