"""Measure how long moving a call's data takes, for each strategy that moves data to other processes or interpreters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.readings import End
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.protocol import MeasureTransfer, TransferMeasured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.results import Transfer
    from pytest_gilprobe.probing.open_test import OpenTest
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.parent.group import WorkerGroup


def measure_moving(test: OpenTest, group: WorkerGroup) -> None:
    """Measure how long it takes to move a call's arguments and result to another process or interpreter and back.

    This is done only if the test passed a function and its arguments to the `gilprobe` fixture. The times are stored in
    ``test.seen``. A strategy is not measured further if its data cannot be moved, or if the worker process crashes or
    exceeds the time-out while it moves the data.
    """
    movers = [strategy for strategy in test.going_ones() if strategy.moves_data]
    if not test.given:
        return
    through_pipe = [strategy for strategy in movers if not strategy.moves_by_itself]
    transfer = _measured(test, group, through_pipe) if through_pipe else None
    test.seen = replace(test.seen, transfer=transfer or test.seen.transfer)
    for strategy in movers:
        if strategy.moves_by_itself and (transfer := _measured(test, group, [strategy])) is not None:
            test.note_apart(strategy, transfer=transfer)


def _measured(test: OpenTest, group: WorkerGroup, movers: Sequence[Strategy]) -> Transfer | None:
    """Measure it for strategies that move data in the same way; ``None`` if it failed, which ends them."""
    answer = group.ask(test.workers[0], MeasureTransfer(strategy=movers[0].name))
    if isinstance(answer, TransferMeasured) and answer.refused is None:
        return answer.transfer
    if isinstance(answer, TransferMeasured):
        for strategy in movers:
            test.end(strategy, End(outcome=Outcome.SKIPPED, error=answer.refused, impossible=True))
    elif isinstance(answer, Lost):
        if answer.outcome is Outcome.HUNG:  # moving did, no call
            answer = replace(answer, outcome=Outcome.SKIPPED)
        for strategy in movers:
            test.end_with(strategy, answer, "moving its data")
        test.mend()
    return None
