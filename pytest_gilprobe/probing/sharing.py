"""Ask a worker which objects of a call cost speed because threads share them, if threads gain less than they could."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.probing.open_test import NotProbed
from pytest_gilprobe.stats import holders, rounds, sharing
from pytest_gilprobe.verdict import same_call
from pytest_gilprobe.workers.sharing_messages import SharingSwept, SweepSharing

if TYPE_CHECKING:
    from pytest_gilprobe.model.settings import Plan
    from pytest_gilprobe.probing.open_test import OpenTest
    from pytest_gilprobe.workers.parent.group import WorkerGroup

SWEEP_S = 2.5
"""Most seconds of a sweep (a trial of one shared object after the other). They are added to the time of the probe,
since an open verdict has used all of that."""
MOST_PART = 0.5
"""A sweep may also not take longer than this share of the time that the probe may take."""
LEAST_CALLS = 20
"""A sweep is begun only if there is time for this many calls of each lane (thread), one after the other."""
PATIENCE_S = 5.0
"""Seconds beyond the planned end after which a sweep counts as hung: a fixture may wait for what its first set-up
holds."""
BATCH_S = 0.015
"""Seconds that the calls of one lane (thread) alone should take in one batch: few, as a round has many batches."""


def sweep_sharing(test: OpenTest, group: WorkerGroup, plan: Plan, cpus: int, control_s: float) -> None:
    """Time the test's call with copies of one shared object after the other, if its threads gain less than they could.

    The reading is kept in ``test.seen`` if it says anything. ``cpus`` is the number of usable CPUs. The control, a call
    of which takes about ``control_s`` seconds, is timed only where there is no GIL: with one, plain Python gains
    nothing by threads, and calls are swept only if they wait, of which no fixed work shows the best.

    The first worker must not be asked anything else afterwards: the fixtures of a marked test are torn down then. If a
    call fails, or the worker is lost, there is no reading, since copies may not work in place of the originals. The
    worker is then replaced, since what failed may have left something behind.
    """
    seen = test.seen
    if seen.fresh or not seen.rounds or same_call.differs(seen) or group.hung_fixtures.together(plan.nodeid):
        return
    several = [one for one in test.going_ones() if one.one_process and not one.one_thread and one.scales]
    gil_on = rounds.gil_was_on(seen)
    if not any(sharing.falls_short(seen.rounds, one.name, plan.workers, cpus, gil_on=gil_on) for one in several):
        return
    most_s, call_s = min(SWEEP_S, MOST_PART * plan.max_time_s), rounds.lane_s_per_call(seen.rounds[-1].serial)
    if most_s < LEAST_CALLS * plan.workers * call_s:
        return
    question = SweepSharing(
        lanes=plan.workers,
        calls=max(1, int(BATCH_S / call_s)),
        most_s=most_s,
        control_calls=0 if gil_on else max(1, int(BATCH_S / control_s)),
        held=holders.stacks([one.serial for one in seen.rounds]) or (),
    )
    answer = group.ask(test.workers[0], question, min(plan.timeout_s, most_s + PATIENCE_S))
    if isinstance(answer, SharingSwept):
        test.seen = replace(test.seen, sharing=answer.reading if answer.reading.tells else None)
        return
    with contextlib.suppress(NotProbed):  # there is no other worker: the rounds still count
        test.mend(distrusted=test.workers[0])
