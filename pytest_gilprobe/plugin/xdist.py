"""Support pytest-xdist: a single worker probes, the controller reports; several workers do not probe.

The controller is the process that starts the workers. Several workers would disturb each other's measurements. A result
travels as JSON in an attribute of the test's report, which pytest serializes with the report. If no worker sends
anything, the controller imports no more of this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.model.report import Environment
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.plugin.config import Settings
    from pytest_gilprobe.plugin.reporting import Reporting

_RESULT = "gilprobe_result"
"""The attribute of a report that carries a whole result."""
_EVIDENCE = "gilprobe_evidence"
_ENVIRONMENT = "gilprobe_environment"
_NOT_PROBED = "gilprobe_not_probed"


def is_distributed(config: pytest.Config) -> bool:
    """Return whether this process is a pytest-xdist worker."""
    return hasattr(config, "workerinput")


def is_one_of_several(config: pytest.Config) -> bool:
    """Return whether this process is one of several pytest-xdist workers, whose load would distort its measurements."""
    given: dict[str, Any] = getattr(config, "workerinput", {})
    return int(given.get("workercount", 1)) > 1


def send_count(config: pytest.Config, marked: int) -> None:
    """Send pytest-xdist's controller ``marked``: how many tests are not probed because there are other workers."""
    config.workeroutput[_NOT_PROBED] = marked  # type: ignore[attr-defined]  # set by pytest-xdist


def send_result(report: pytest.TestReport, result: WorkloadResult) -> None:
    """Attach ``result``, that of a test's probe, to the ``report`` that pytest-xdist sends to its controller."""
    from pytest_gilprobe.model import report_json  # noqa: PLC0415 - see this module's first lines

    setattr(report, _RESULT, report_json.workload_to_json(result))


def send_evidence(report: pytest.TestReport, packed: bytes) -> None:
    """Attach ``packed``, compressed raw readings of a probe, to the ``report`` sent to pytest-xdist's controller."""
    from pytest_gilprobe.plugin.evidence import as_text  # noqa: PLC0415 - only for those who keep it

    setattr(report, _EVIDENCE, as_text(packed))


def send_environment(config: pytest.Config, environment: Environment) -> None:
    """Send pytest-xdist's controller a description of the machine and the Python that the results were measured on.

    It is sent as a report without results, when this worker of pytest-xdist ends.
    """
    from pytest_gilprobe.model import report_json  # noqa: PLC0415 - see this module's first lines
    from pytest_gilprobe.probing.assembly import report_of  # noqa: PLC0415

    config.workeroutput[_ENVIRONMENT] = report_json.to_json(report_of((), environment))  # type: ignore[attr-defined]  # set by pytest-xdist


class Controller:
    """Plugin, in pytest-xdist's controller, that gathers the workers' results for the plugin that reports them."""

    def __init__(self, config: pytest.Config, settings: Callable[[], Settings]) -> None:
        """Prepare to gather results; ``settings()`` returns the session's settings, and is called only when needed."""
        self._config = config
        self._settings = settings
        self._not_probed = 0
        self._reporting: Reporting | None = None

    def start_reporting(self) -> Reporting:
        """Return the plugin that reports results; make and register it at the first call.

        Raises `pytest.UsageError` under ``--gilprobe-ab-gil``: a worker can send one report, not two.
        """
        if self._reporting is None:
            from pytest_gilprobe.plugin.config import refuse  # noqa: PLC0415 - see this module's first lines
            from pytest_gilprobe.plugin.reporting import Reporting  # noqa: PLC0415

            settings = self._settings()
            if settings.ab_gil:
                refuse("--gilprobe-ab-gil: not under pytest-xdist; use -n 0")
            self._reporting = Reporting(self._config, settings)
            self._config.pluginmanager.register(self._reporting, "gilprobe-reporting")
        return self._reporting

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the result and raw readings from a worker's ``report``, and pass them to the plugin that reports."""
        text = vars(report).pop(_RESULT, None)
        if text is not None:
            from pytest_gilprobe.model import report_json  # noqa: PLC0415 - see this module's first lines

            result = report_json.workload_from_json(text, f"{report.nodeid}: result from a pytest-xdist worker")
            self.start_reporting().results[result.nodeid] = result
        kept = vars(report).pop(_EVIDENCE, None)
        if kept is not None:
            from pytest_gilprobe.plugin.evidence import from_text  # noqa: PLC0415 - only for those who keep it

            self.start_reporting().keep_evidence([from_text(kept)])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Keep what the pytest-xdist worker ``node`` sent when it ended.

        A worker sends how many marked tests it did not probe, or a description of its machine and its Python; a worker
        that crashes sends nothing.
        """
        output: dict[str, Any] = getattr(node, "workeroutput", None) or {}
        self._not_probed = max(self._not_probed, int(output.get(_NOT_PROBED, 0)))
        if _ENVIRONMENT in output:
            from pytest_gilprobe.model import report_json  # noqa: PLC0415 - see this module's first lines

            found = report_json.from_json(output[_ENVIRONMENT], "a pytest-xdist worker")
            self.start_reporting().environments = [found.environment]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Report the results, if they are those of a single pytest-xdist worker.

        Several workers do not probe: then report nothing, and make a session that passed fail if ``fail-on`` has
        ``inconclusive``.
        """
        if self._reporting is not None:
            if not self._not_probed:
                self._reporting.finish(session)
                return
            session.config.pluginmanager.unregister(self._reporting)
        if self._fails and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @property
    def _fails(self) -> bool:
        if not self._not_probed:
            return False
        from pytest_gilprobe.model.words import FailOn  # noqa: PLC0415 - see this module's first lines

        return FailOn.INCONCLUSIVE in self._settings().fail_on

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print one line on why marked tests were not probed, if there are several pytest-xdist workers."""
        if not self._not_probed or (terminalreporter.verbosity < -1 and not self._fails):
            return
        from pytest_gilprobe.model import numbers  # noqa: PLC0415 - see this module's first lines

        tests = numbers.count(self._not_probed, "marked test was", "marked tests were")
        start = "ERROR: --gilprobe-fail-on=inconclusive: " if self._fails else "gilprobe: "
        terminalreporter.line(
            f"{start}{tests} not probed, nor any gate checked: several pytest-xdist workers disturb each other; "
            "use -n 0 or -n 1",
            red=self._fails,
        )
