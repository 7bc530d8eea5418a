"""Define the pytest hooks and the fixture, a few lines each, that call the other modules and packages.

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
"""Key of the session's settings; absent if no option is set, no test is marked and pytest-xdist is not used."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that other plugins and conftest files may implement."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the command-line flags and the ini keys."""
    options.declare(parser)


def pytest_load_initial_conftests(args: list[str]) -> None:
    """Change ``args`` so that a path after ``--gilprobe-scale``, whose value is optional, is not taken for the value.

    pytest parses ``args`` again after this hook.
    """
    options.separate_paths(args)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; read the options if any is set, and register the plugins that a scan and ``fail-on`` need.

    Raises `pytest.UsageError` for an invalid value.
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
    """Return a header line of the options that differ from their defaults; ``None`` if no option does."""
    if SETTINGS not in config.stash or not config.stash[SETTINGS].changed:
        return None
    return f"gilprobe: {', '.join(config.stash[SETTINGS].changed)}"


@pytest.hookimpl(tryfirst=True)
def pytest_gilprobe_strategies(config: pytest.Config) -> Sequence[Strategy]:
    """Return the strategies that come with this package, and the executors that the user named."""
    from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: PLC0415 - sessions without a marked test stay light

    return tuple(BUILT_IN.with_executors(_settings(config).executors))


@pytest.fixture
def gilprobe(request: pytest.FixtureRequest) -> Gilprobe:
    """Call ``gilprobe(func, *args, **kwargs)`` once in a test to probe that call, not the whole test.

    The call returns the result of ``func``.

    A test that requests this fixture is probed with or without the marker; the marker's keywords apply.
    """
    from pytest_gilprobe.workers.fixture import provide  # noqa: PLC0415 - sessions without a marked test stay light

    return provide(request)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Find the marked tests left after all deselection; register the probing plugin only if the session needs it."""
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
    from pytest_gilprobe.plugin.session import ProbeSession  # noqa: PLC0415 - see above

    probing = ProbeSession(session, settings, keywords)
    config.pluginmanager.register(probing, "gilprobe-session")
    if not xdist.is_distributed(config):
        config.pluginmanager.register(probing.reporting, "gilprobe-reporting")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Under pytest-xdist, register the plugin with which the controller gathers its workers' results."""
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
