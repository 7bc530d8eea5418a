"""Make bursts: series of calls so short that some run undisturbed although other programs use the CPUs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.readings import BatchReading, Round
from pytest_gilprobe.model.words import SERIAL
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.stats import overlap
from pytest_gilprobe.workers.burst_messages import BurstPair, BurstsMade, MakeBursts

if TYPE_CHECKING:
    from pytest_gilprobe.probing.budget import Budget
    from pytest_gilprobe.probing.open_test import OpenTest
    from pytest_gilprobe.probing.pace import Pace
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.parent.group import WorkerGroup

LONGEST_CALL_S = 0.025
"""Calls that take longer than this many seconds are not repeated in bursts (very short series of calls)."""
IN_A_ROW = 16
"""Number of pairs of bursts (very short series of calls: one in a single thread, then one in several) that a worker is
asked to make at a time: about 50 ms of short calls."""
SPENT_S = 0.25
"""Seconds after which one call of `make` asks for no more bursts (very short series of calls) of a strategy."""
MOST_BURSTS = 320
"""Number of pairs of bursts (very short series of calls: one in a single thread, then one in several), of all
strategies, after which a probe makes no more."""
PAUSES_S = 0.004
"""Seconds that two bursts (one in a single thread, then one in several) take in addition to their calls: before each,
threads sleep, then wait for each other."""


def make(test: OpenTest, group: WorkerGroup, pace: Pace, budget: Budget) -> None:
    """Make bursts of each strategy whose threads share a process, and of serial calls; store the times in ``test``.

    A burst is a very short series of calls. Those of a strategy are made for about `SPENT_S` seconds, or until enough
    of them were hardly disturbed by other programs. ``pace`` says how long a call takes. A strategy that fails
    is not tried again.
    """
    short, lanes = pace.of_burst(), test.seen.workers
    pair_s = short.batch_s * (lanes + 1) + PAUSES_S
    affordable = short.most * lanes // (short.calls * (lanes + 1)) - 1  # if each has arguments of its own
    number = min(IN_A_ROW, math.floor(SPENT_S / pair_s) - 1, affordable)
    threads = [one for one in test.going_ones() if one.one_process and not one.one_thread and one.worker_main() is None]
    for strategy in threads if number > 0 else ():
        question = MakeBursts(strategy=strategy.name, calls=short.calls, lanes=lanes, number=number)
        until_ns = clocks.perf_counter_ns() + SPENT_S * 1e9
        while clocks.perf_counter_ns() < until_ns:
            enough = overlap.enough(test.seen, strategy.name) or len(test.seen.bursts) >= MOST_BURSTS
            if enough or budget.left_s() < pair_s * (number + 1):
                break
            if not _made(test, group, strategy, question, budget):
                break


def _made(test: OpenTest, group: WorkerGroup, strategy: Strategy, question: MakeBursts, budget: Budget) -> bool:
    """Have a strategy make bursts; return whether any were made. If it fails, the strategy ends."""
    started_ns = clocks.perf_counter_ns()
    worker = test.workers_of(strategy)[0]
    answer = group.ask(worker, question)
    if not isinstance(answer, BurstsMade):
        calls = numbers.count(question.calls, "call", "calls")
        test.end_with(strategy, answer, f"{question.number} batches of {calls}")
        test.mend(distrusted=worker)
        budget.give_back(started_ns)  # what a strategy that hangs costs is not taken from the others' time
        return False
    more = tuple(_round(strategy, one) for one in answer.pairs)
    test.seen = replace(test.seen, bursts=(*test.seen.bursts, *more))
    return bool(more)


def _round(strategy: Strategy, pair: BurstPair) -> Round:
    readings = {SERIAL: pair.alone, strategy.name: pair.together}
    return Round(batches={name: BatchReading(workers=(one,)) for name, one in readings.items()})
