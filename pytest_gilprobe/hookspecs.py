"""Specify the hooks that a conftest file or another plugin may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.strategies.contract import Strategy


@pytest.hookspec
def pytest_gilprobe_strategies(config: pytest.Config) -> Sequence[Strategy] | None:
    """Return further strategies (ways to run many calls); ``None`` adds none.

    The hook is called in pytest's process and in every worker process. Each strategy's name must differ from the names
    of all others. The setting ``strategies`` selects strategies by name; where it is not given, the strategies whose
    ``by_default`` is true are tried.
    """


@pytest.hookspec
def pytest_gilprobe_result(item: pytest.Item, result: WorkloadResult) -> None:
    """Receive the result of one test that pytest-gilprobe has probed or was asked to probe.

    The hook is called once the probe is over, or once it is known that the test is not probed; ``result`` then says
    why. The hook comes too late to change whether the test fails for a result that the user did not expect. Under
    pytest-xdist the hook is called in the worker that ran the test.
    """


@pytest.hookspec
def pytest_gilprobe_report(config: pytest.Config, report: Report) -> None:
    """Receive the session's report at the end of the session, before it is written to any file.

    Without ``--gilprobe-report``, the hook is called only if at least one test has a result. Under pytest-xdist the
    hook is called in the controller.
    """
