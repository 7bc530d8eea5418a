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
    """Return further strategies; ``None`` adds none. Called in pytest's process and in every worker process.

    Each name must differ from the names of all other strategies; ``strategies=`` selects a strategy by its name. A
    strategy with ``by_default`` is also tried if ``strategies=`` is not set.
    """


@pytest.hookspec
def pytest_gilprobe_result(item: pytest.Item, result: WorkloadResult) -> None:
    """Receive a test's result when its probe is over and its gates (what the user expects of it) were applied.

    Under pytest-xdist this hook is called in the worker that ran the test.
    """


@pytest.hookspec
def pytest_gilprobe_report(config: pytest.Config, report: Report) -> None:
    """Receive the session's report at the end of the session, before its files are written, if the user asked for them.

    Under pytest-xdist this hook is called in the controller.
    """
