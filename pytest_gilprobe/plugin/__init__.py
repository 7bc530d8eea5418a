"""Define this plugin's pytest hooks and its fixture; each takes a few lines and calls other modules of the package.

Most sessions need only the hook specifications, the options and the marker. Everything else is imported and registered
only when a session has something to measure.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilprobe import INSIDE_WORKER, hookspecs
from pytest_gilprobe.plugin import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.plugin.config import Settings
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.fixture import Gilprobe

SETTINGS = pytest.StashKey["Settings"]()
"""Key under which ``config.stash`` keeps the session's settings (the values of all options). The entry is missing in a
session that sets no option, has no marked test and does not use pytest-xdist."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare this plugin's own hooks (``pytest_gilprobe_...``), which conftest files and plugins may implement."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare this plugin's command-line flags (``--gilprobe-...``) and ini keys (``gilprobe_...``)."""
    options.declare(parser)


def pytest_load_initial_conftests(args: list[str]) -> None:
    """Change ``args`` so that a path after the flag ``--gilprobe-scale`` is not taken for the flag's optional value.

    ``args`` is pytest's command line, which pytest parses again after this hook. ``--gilprobe-scale tests`` becomes
    ``--gilprobe-scale=auto tests``.
    """
    options.separate_paths(args)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker ``gilprobe``; if any option of this plugin is set, read the options.

    Also register the plugins behind ``--gilprobe-scan`` and ``--gilprobe-fail-on=gil-switched-on``, if these are set.
    Raises `pytest.UsageError` for an option with an invalid value.
    """
    config.addinivalue_line("markers", options.MARKER_HELP)
    if not options.asked(config):
        return
    settings = _settings(config)
    if settings.fail_on:
        from pytest_gilprobe.plugin import gil_switch_gate  # noqa: PLC0415 - rarely asked for

        gil_switch_gate.register(config, settings)
    if settings.scan and not (settings.disable or config.option.collectonly or INSIDE_WORKER in os.environ):
        from pytest_gilprobe.scan import session  # noqa: PLC0415 - only a scan needs it

        session.register(config, settings)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Return a line for pytest's header with the options that differ from their defaults; ``None`` if none does."""
    if SETTINGS not in config.stash or not config.stash[SETTINGS].changed:
        return None
    return f"gilprobe: {', '.join(config.stash[SETTINGS].changed)}"


@pytest.hookimpl(tryfirst=True)
def pytest_gilprobe_strategies(config: pytest.Config) -> Sequence[Strategy]:
    """Return the built-in strategies (ways to run calls, such as threads), and one for each ``--gilprobe-executor``."""
    from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: PLC0415 - sessions without a marked test stay light

    return tuple(BUILT_IN.with_executors(_settings(config).executors))


@pytest.fixture
def gilprobe(request: pytest.FixtureRequest) -> Gilprobe:
    """Call ``gilprobe(func, *args, **kwargs)`` once in a test to probe that call, not the whole test.

    The call returns the result of ``func``. To probe is to repeat the call serially, in threads and in processes after
    the test has passed, and to say which is fastest.

    A test that requests this fixture is probed with or without the marker ``gilprobe``. The keywords of a marker apply.
    """
    from pytest_gilprobe.workers.fixture import provide  # noqa: PLC0415 - sessions without a marked test stay light

    return provide(request)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Find the marked tests that are still selected; register the plugin that probes them if it has anything to do.

    If this process is one of several pytest-xdist workers, nothing is probed; the controller only gets the number of
    these tests. Raises `pytest.UsageError` for a marker with invalid keywords.
    """
    asked = config.stash.get(SETTINGS, None)
    if INSIDE_WORKER in os.environ or (asked is not None and (asked.disable or asked.scan)):
        return
    marked = list(options.marked(items))
    if not (marked or (asked is not None and (asked.probe_all or asked.report))):
        return
    from pytest_gilprobe.plugin.config import read_marks, strategies_of  # noqa: PLC0415 - see above

    settings, names = _settings(config), strategies_of(config).names
    keywords: dict[pytest.Item, dict[str, Any]] = {item: {} for item in items} if settings.probe_all else {}
    keywords |= {item: read_marks(item.nodeid, item.iter_markers(options.MARKER), names) for item in marked}
    if config.option.collectonly:
        return
    from pytest_gilprobe.plugin import xdist  # noqa: PLC0415 - see above

    if xdist.is_one_of_several(config):
        xdist.send_count(config, len(keywords))
        return
    from pytest_gilprobe.plugin.fixtures_beside import FixturesBeside  # noqa: PLC0415 - see above
    from pytest_gilprobe.plugin.session import ProbeSession  # noqa: PLC0415 - see above
    from pytest_gilprobe.workers.parent.launch_environment import start_method_of  # noqa: PLC0415 - see above

    probing = ProbeSession(session, settings, keywords)
    config.pluginmanager.register(probing, "gilprobe-session")
    if start_method_of(settings.start_method) == "fork":
        beside = FixturesBeside(probing.groups, probing.patches.undone)
        config.pluginmanager.register(beside, "gilprobe-fixtures")
    if not xdist.is_distributed(config):
        config.pluginmanager.register(probing.reporting, "gilprobe-reporting")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Register, in pytest-xdist's controller only, the plugin that gathers the results of pytest-xdist's workers."""
    config = session.config
    asked = config.stash.get(SETTINGS, None)
    if not config.pluginmanager.hasplugin("dsession") or INSIDE_WORKER in os.environ:
        return
    if asked is not None and (asked.disable or asked.scan):
        return
    from pytest_gilprobe.plugin.xdist import Controller  # noqa: PLC0415 - only under pytest-xdist

    controller = Controller(config, lambda: _settings(config))
    if asked is not None:
        controller.start_reporting()
    config.pluginmanager.register(controller, "gilprobe-controller")


def _settings(config: pytest.Config) -> Settings:
    """Read the settings once."""
    from pytest_gilprobe.plugin.config import Settings  # noqa: PLC0415 - see above

    if SETTINGS not in config.stash:
        settings = config.stash[SETTINGS] = Settings.from_pytest(config)
        if settings.ab_gil:
            from pytest_gilprobe.plugin import ab_gil  # noqa: PLC0415 - rarely asked for

            ab_gil.check(settings)
    return config.stash[SETTINGS]
