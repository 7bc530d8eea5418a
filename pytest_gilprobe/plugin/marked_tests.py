"""Answer questions about a marked test (is it awaited, why is it not probed, what stays set up?); stop its timeouts."""

from __future__ import annotations

import faulthandler
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilprobe.model.words import CallKind
from pytest_gilprobe.workers import fixture
from pytest_gilprobe.workers.child import loops
from pytest_gilprobe.workers.repeatable import cannot_repeat

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def kind_of(item: pytest.Item) -> CallKind:
    """Return ``AWAITED`` if the call to probe is awaited in an event loop, else ``PLAIN``.

    The call to probe is the one that the test makes through the `gilprobe` fixture, or else that of the test function.
    """
    given = fixture.of(item)
    if given is not None and given.used:
        return CallKind.AWAITED if given.awaited else CallKind.PLAIN
    function = getattr(item, "obj", None)
    awaited = inspect.iscoroutinefunction(function) or (
        isinstance(item, pytest.Function) and hasattr(function, "hypothesis") and loops.is_drawn_coroutine(item)
    )
    return CallKind.AWAITED if awaited else CallKind.PLAIN


def why_not_probed(item: pytest.Item, report: pytest.TestReport) -> str | None:
    """Return why a test is not probed, such as ``skipped in its setup: ...``; ``None`` if ``report`` gives no reason.

    ``report`` is pytest's report of one phase of the test: set-up, call or tear-down.
    """
    if hasattr(report, "wasxfail"):
        return "it is expected to fail (xfail)"
    if report.skipped:
        return f"skipped in its {report.when}: {_skip_reason(report)}"
    if report.failed:
        verb = "failed" if report.when == "call" else "errored"
        return f"{verb} in its {report.when} when pytest ran it; mend that first"
    return _no_call_to_repeat(item) if report.when == "call" else None


def _no_call_to_repeat(item: pytest.Item) -> str | None:
    given = fixture.of(item)
    if given is not None and given.why_not:
        return given.why_not
    if not isinstance(item, pytest.Function):
        return f"not a Python test function but a {type(item).__name__}: there is no call to repeat"
    return cannot_repeat(item)


def _skip_reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return report.longreprtext


def stop_time_limits(item: pytest.Item) -> None:
    """Cancel the timeouts (pytest-timeout, faulthandler) of a test that has passed: its probe may exceed them."""
    hooks = item.config.hook
    if hasattr(hooks, "pytest_timeout_cancel_timer"):
        hooks.pytest_timeout_cancel_timer(item=item)
    if (
        item.config.pluginmanager.hasplugin("faulthandler")
        and float(item.config.getini("faulthandler_timeout") or 0) > 0
    ):
        faulthandler.cancel_dump_traceback_later()


def kept_collectors(items: Sequence[pytest.Item], marked: Collection[pytest.Item]) -> dict[pytest.Item, int]:
    """Return, for each test in ``marked``, how many of its collectors a worker may keep set up after the test.

    A worker is a process that repeats the marked tests. Collectors (session, package, module ...) are counted from the
    outermost one. A collector counts if it contains the test, the next marked test, and all tests between these two in
    ``items``, because pytest itself keeps it set up meanwhile. The number is 0 for the last marked test.
    """
    kept = {}
    upcoming: pytest.Item | None = None
    shared = 0
    chain: list[Any] = []
    for item in reversed(items):
        if upcoming is not None:
            own = item.listchain()
            common = next((n for n, (a, b) in enumerate(zip(own, chain, strict=False)) if a is not b), len(chain))
            shared = min(shared, common)
        if item in marked:
            kept[item] = shared if upcoming is not None else 0
            upcoming, chain = item, item.listchain()
            shared = len(chain)
    return kept
