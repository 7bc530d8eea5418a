"""Support ``--gilprobe-fail-on=gil-switched-on``: a session fails if an import switched a free-threaded build's GIL on.

A probe sees only what one test's calls import in worker processes. The check in this module also sees pytest's own
process and the processes of pytest-xdist's workers. It works in a scan (``--gilprobe-scan``), too, and for tests that
could not be probed.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_gilprobe import INSIDE_WORKER
from pytest_gilprobe.model.words import FailOn
from pytest_gilprobe.observe import interpreter
from pytest_gilprobe.observe.gil_switch import SwitchedOnBy

if TYPE_CHECKING:
    import warnings
    from collections.abc import Iterable

    from pytest_gilprobe.plugin.config import Settings

NAME: Final = "gilprobe-gil-switch-gate"
_OUTPUT: Final = "gilprobe_gil_switched_on_by"


def register(config: pytest.Config, settings: Settings) -> None:
    """Register `GilSwitchGate` if ``fail-on`` has ``gil-switched-on``, and this Python is a free-threaded build.

    Do not register it if the session runs no tests, if ``--gilprobe-disable`` is set, or in a worker process of a
    probe.
    """
    idle = settings.disable or config.option.collectonly or INSIDE_WORKER in os.environ
    if FailOn.GIL_SWITCHED_ON in settings.fail_on and interpreter.free_threaded_build() and not idle:
        config.pluginmanager.register(GilSwitchGate(), NAME)


def note_workers(config: pytest.Config, modules: Iterable[str]) -> None:
    """Tell the session's `GilSwitchGate` that ``modules`` switched the GIL on in worker processes of a probe.

    Do nothing if the session has no `GilSwitchGate`.
    """
    gate: GilSwitchGate | None = config.pluginmanager.get_plugin(NAME)
    if gate is not None:
        gate.note_modules(modules)


class GilSwitchGate:
    """Plugin that makes a session fail if an import switched the GIL on in any of the session's processes."""

    def __init__(self) -> None:
        """Start with no module recorded; pytest passes earlier warnings to this plugin when it registers the plugin."""
        self._by = SwitchedOnBy()
        self._modules: dict[str, None] = {}
        self._switched_on = False

    def note_modules(self, modules: Iterable[str]) -> None:
        """Record that imports of ``modules`` switched the GIL on, in any process; do nothing if there are none."""
        self._modules.update(dict.fromkeys(modules))
        self._switched_on |= bool(self._modules)

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Record the module whose import switched the GIL on, if CPython warns of that; ignore any other warning.

        Warnings of pytest-xdist's workers arrive here, too.
        """
        self._by.note(warning_message.message)
        self.note_modules(self._by.names)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Record the modules that switched the GIL on in the process of ``node``, a pytest-xdist worker that ended."""
        found = (getattr(node, "workeroutput", None) or {}).get(_OUTPUT)
        if found is not None:
            self._switched_on = True
            self.note_modules(found)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Make a session that passed fail if the GIL was switched on.

        In a worker of pytest-xdist, send the names of the modules that switched the GIL on to the controller instead,
        whose session then fails.
        """
        self._switched_on |= interpreter.gil_enabled() and _python_decided()
        if not self._switched_on:
            return
        output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_OUTPUT] = list(self._modules)
            return
        from pytest_gilprobe.plugin import gate_failures  # noqa: PLC0415 - heavy, and rarely needed

        gate_failures.fail_session(session, "GIL switched on", 1)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print an error line if the GIL was switched on: by which modules, as far as CPython's warnings name them."""
        if self._switched_on:
            found = ", ".join(self._modules)
            what = f"load {found}" if found else "import a module that no warning names (did a filter hide it?)"
            terminalreporter.line(
                f"ERROR: --gilprobe-fail-on=gil-switched-on: the GIL was switched on to {what}; use a build of it for "
                "free-threaded Python, or PYTHON_GIL=0 at your own risk",
                red=True,
            )


def _python_decided() -> bool:
    """Return whether Python starts without the GIL and leaves it to imports: neither PYTHON_GIL nor -X gil says so."""
    return getattr(sys.flags, "gil", 1) is None
