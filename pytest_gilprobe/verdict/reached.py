"""Compare strategies with the speed-up that a marker expects: what they gave, what they may give, what would help."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model import gains, numbers
from pytest_gilprobe.model.error_text import summary
from pytest_gilprobe.model.results import StrategyResult
from pytest_gilprobe.model.words import NOT_ASKED, SERIAL, Outcome
from pytest_gilprobe.verdict import margins, pool_costs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.model.settings import Expectation
    from pytest_gilprobe.verdict.rule import Interval


class Reached(NamedTuple):
    """What one strategy reached of the speed-up that a marker expects.

    Attributes:
        gave: the speed-up or the outcome in words, such as ``processes 1.90x [1.84, 1.96]``.
        value: the speed-up in an executor; ``None`` if it is unknown.
        ends: the low and the high end of the wide interval that gates (checks that fail a test) use for the speed-up;
            ``None`` if the speed-up was not measured and may be anything.
        remedy: advice on how to raise the speed-up; empty if the speed-up was not measured.
        most: the high end of ``ends`` in words, such as ``2.00x``; empty if no speed-up was measured, and for serial
            calls.
    """

    gave: str
    value: float | None
    ends: Interval | None
    remedy: str
    most: str = ""

    @property
    def room(self) -> str:
        """What the strategy gave, and the most that it may give: ``processes 1.90x [1.84, 1.96], at most 2.00x``."""
        return f"{self.gave}, at most {self.most}" if self.most else self.gave


def each(expectation: Expectation, result: WorkloadResult) -> dict[str, Reached]:
    """Return the speed-up that each strategy reached, and advice on how to reach ``min_speedup``, by strategy name.

    ``expectation`` is what the test's marker asks for, such as ``min_speedup``. The result has the strategies that it
    names; if it names none, all parallel strategies that the user selected for the probe.
    """
    asked = [name for name, part in result.parallel.items() if part.error != NOT_ASKED]
    among = parts(expectation.strategies or asked or result.parallel, result)
    return {name: _reach(name, part, result, expectation.min_speedup or 0.0) for name, part in among.items()}


def _reach(name: str, part: StrategyResult, result: WorkloadResult, least: float) -> Reached:
    if name == SERIAL:
        return Reached("serial 1x", 1.0, (1.0, 1.0), "serial calls have a speed-up of 1 by definition")
    if part.pool_speedup is None and gives_nothing(part):
        return Reached(f"{name} {part.outcome}", None, (0.0, 0.0), f"{name} {ended(part)}; fix that")
    if part.pool_speedup is None:
        return Reached(f"{name} not measured", None, None, "")
    gave = f"{name} {numbers.speedup(gains.in_pool(part, result.workers))}"
    ends, remedy = margins.in_pool(part), _faster(part, result, least)
    most = "" if ends is None else numbers.times(min(ends[1], gains.at_once(part, result.workers)))
    return Reached(gave, part.pool_speedup.value, ends, remedy, most)


def _faster(part: StrategyResult, result: WorkloadResult, least: float) -> str:
    """Say what would bring a pool to the speed-up ``least``: larger tasks, less data, a free GIL, or nothing known."""
    serial, dispatch_s = result.serial, part.dispatch_s_per_call
    assert serial is not None  # noqa: S101 - of a workload that was not measured no gate is checked
    call_s, moved_s = serial.call_s.value, pool_costs.moved_s(part, result.transfer)
    costs = dispatch_s is not None and dispatch_s >= call_s * pool_costs.TAKES_MUCH
    if costs and pool_costs.in_larger_tasks(part, call_s, result.transfer) >= least:
        return f"put several calls into each task: dispatching one costs {numbers.seconds(dispatch_s)}"
    if moved_s >= call_s * pool_costs.MOVES_MUCH and part.speedup is not None and part.speedup.high >= least:
        return f"move less data: that of a call takes {numbers.seconds(moved_s)}, the call {numbers.seconds(call_s)}"
    waits = 0.0 if part.shares is None else part.shares.gil_wait or 0.0
    if waits >= pool_costs.TAKES_MUCH:
        return f"let the work release the GIL: calls wait for it for {numbers.percent(waits)} of their time"
    return "see the evidence, or lower min_speedup"


def may_give(name: str, part: StrategyResult, result: WorkloadResult) -> str:
    """Say what the strategy ``name`` may give: ``threads may still give 1.23x to 1.57x``.

    ``part`` is its result, ``result`` that of the workload. The interval is the one that gates (checks that fail a
    test) use, wider than the reported one.
    """
    ends = margins.in_pool(part)
    if ends is None:
        return f"{name} may still be the answer"
    low, high = (numbers.times(min(end, gains.at_once(part, result.workers))) for end in ends)
    return f"{name} may still give {low if low == high else f'{low} to {high}'}"


def parts(names: Iterable[str], result: WorkloadResult) -> dict[str, StrategyResult]:
    """Return the results of the strategies ``names``, the least costly first (threads before processes).

    A strategy that does not exist for this workload gets a result that says that it cannot be tried.
    """
    order = [*result.strategies, *sorted(names)]
    return {name: result.strategies.get(name, _ABSENT) for name in sorted(names, key=order.index)}


_ABSENT = StrategyResult(outcome=Outcome.SKIPPED, error="it does not exist for this workload", impossible=True)


def gives_nothing(part: StrategyResult) -> bool:
    """Return whether a strategy certainly gives nothing: it failed, hung or crashed, or can never be tried."""
    return part.broken or part.impossible


def ended(part: StrategyResult) -> str:
    """Say how a strategy ended, with its error in one line: ``failed: ValueError: no rows``."""
    return ": ".join(filter(None, [str(part.outcome), summary(part.error or "")]))
