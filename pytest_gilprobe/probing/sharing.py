"""Find out which objects of a call slow threads down because the threads share them, if threads gain too little."""

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
"""Longest sweep, in seconds. A sweep tries one shared object after the other: each thread gets a copy of the object.
The sweep does not count for the time limit of the probe."""
MOST_PART = 0.5
"""Longest sweep (a trial of one shared object after the other), as a share of the time that the probe may take."""
LEAST_CALLS = 20
"""A sweep (a trial of one shared object after the other) is begun only if the time that it may take suffices for this
many calls of each thread, all one after the other."""
PATIENCE_S = 5.0
"""A sweep (a trial of one shared object after the other) counts as hung this many seconds after its planned end. It may
hang because it sets fixtures up a second time: the second set-up may wait for something that the first one holds, such
as a lock."""
BATCH_S = 0.015
"""Seconds that one thread alone should need for its calls in one timing of a sweep (a trial of one shared object after
the other): few, since a sweep has many timings."""


def sweep_sharing(test: OpenTest, group: WorkerGroup, plan: Plan, cpus: int, control_s: float) -> None:
    """Find out which shared objects slow threads down: give each thread a copy of one object after the other.

    This is done only if threads gain less than CPUs and GIL allow, and if there is time. The first worker process times
    the test's call with the copies. The reading is stored in ``test.seen`` if it says anything. ``cpus`` is the number
    of usable CPUs. ``control_s`` is about how many seconds a call of the control (a fixed pure-Python loop) takes. The
    control is timed as well if the GIL is off, to show what threads could gain at best.

    Do not ask the first worker to call the test afterwards: the fixtures of a marked test are torn down. If a call with
    copies fails, or the worker is lost, there is no reading, and the worker is replaced.
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
