"""pytest-xdist: its workers measure, its controller reports.

Several workers on one machine would disturb each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilprobe import serialize
from pytest_gilprobe.model import Environment, Report

if TYPE_CHECKING:
    from pytest_gilprobe.reporting import Reporting

PROPERTY = "gilprobe"
"""The user property that carries a whole result, as JSON; shorter ones beside it start with this and an underscore."""
CONTROLLER_PLUGIN = "dsession"
"""The name under which pytest-xdist registers its controller's half."""
_ENVIRONMENT = "gilprobe_environment"
_NOT_PROBED = "gilprobe_not_probed"


def is_distributed(config: pytest.Config) -> bool:
    """Tell whether this is a pytest-xdist worker."""
    return hasattr(config, "workerinput")


def has_company(config: pytest.Config) -> bool:
    """Tell whether this is one of several pytest-xdist workers: then what it times would be the others' load."""
    given: dict[str, Any] = getattr(config, "workerinput", {})
    return int(given.get("workercount", 1)) > 1


def send_count(config: pytest.Config, marked: int) -> None:
    """Tell the controller how many tests would have been probed."""
    config.workeroutput[_NOT_PROBED] = marked  # type: ignore[attr-defined]  # set by pytest-xdist


def send_environment(config: pytest.Config, environment: Environment) -> None:
    """Tell the controller where the results were measured, as a report without workloads."""
    report = Report(tool_version="", created="", environment=environment, workloads=())
    config.workeroutput[_ENVIRONMENT] = serialize.to_json(report)  # type: ignore[attr-defined]  # set by pytest-xdist


class Controller:
    """Gathers what pytest-xdist's workers measured."""

    def __init__(self, reporting: Reporting) -> None:
        """Report through ``reporting``, a plugin of its own."""
        self._reporting = reporting
        self._not_probed = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the result out of a test's user properties."""
        for name, value in report.user_properties:
            if name == PROPERTY:
                result = serialize.workload_from_json(str(value), f"{report.nodeid}: user property {PROPERTY}")
                self._reporting.results[result.nodeid] = result

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker says at its end; one that crashed says nothing."""
        output: dict[str, Any] = getattr(node, "workeroutput", None) or {}
        self._not_probed = max(self._not_probed, int(output.get(_NOT_PROBED, 0)))
        if _ENVIRONMENT in output:
            self._reporting.environment = serialize.from_json(output[_ENVIRONMENT], "a pytest-xdist worker").environment

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the files; where nothing was to be measured there is nothing to report."""
        if self._not_probed:
            session.config.pluginmanager.unregister(self._reporting)
        else:
            self._reporting.finish(session)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say in one line why marked tests were not probed, if there are any."""
        if self._not_probed and terminalreporter.verbosity > -2:  # noqa: PLR2004 - -qq asks for silence
            tests = "marked test was" if self._not_probed == 1 else "marked tests were"
            terminalreporter.line(
                f"gilprobe: {self._not_probed} {tests} not probed, nor any gate checked: several pytest-xdist workers "
                "disturb each other; use -n 0 or -n 1"
            )
