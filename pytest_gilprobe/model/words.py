"""Define the fixed words of settings, probes and reports as enums, such as the words for how calls spend their time."""

from __future__ import annotations

import re
from enum import Enum, StrEnum

SERIAL = "serial"
"""Name of the strategy that makes one call after the other; every speed-up is relative to it."""
EXECUTOR = "executor:"
"""Prefix of the name of a strategy that makes its calls in the user's own executor."""
STRATEGY_NAME = re.compile(r"[a-z][a-z0-9_-]*|executor:[a-z][a-z0-9_-]*")
"""The pattern that the whole of a strategy's name must match."""
INCONCLUSIVE = "inconclusive"
"""The text in place of an advised strategy's name if the evidence does not decide."""
NOT_ASKED = "not among the strategies asked for"
"""The text that tells the user why a strategy was skipped, if the setting ``strategies`` does not name it."""


class CallKind(StrEnum):
    """How a workload is called: as a plain function, or as a coroutine function, which is awaited in an event loop."""

    PLAIN = "plain"
    AWAITED = "awaited"


class Bound(StrEnum):
    """How a call spends its time: waiting (``io``), computing (``cpu``) or both (``mixed``).

    ``inconclusive`` means that the evidence does not decide.
    """

    IO = "io"
    CPU = "cpu"
    MIXED = "mixed"
    INCONCLUSIVE = "inconclusive"


class Gil(StrEnum):
    """Whether a workload's calls hold the GIL.

    ``held``: for most of their CPU time, or of all their time if they mostly wait. ``released``: for little of it.
    ``partial``: in between. ``absent``: the GIL is disabled. ``unknown``: the measurements do not decide.
    """

    HELD = "held"
    RELEASED = "released"
    PARTIAL = "partial"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """How one strategy's calls ended.

    ``ok``: they returned. ``failed``: one raised an error. ``hung``: they took longer than the time limit. ``crashed``:
    the worker process ended. ``skipped``: the strategy was not measured, for a reason that is given as its error.
    """

    OK = "ok"
    FAILED = "failed"
    HUNG = "hung"
    CRASHED = "crashed"
    SKIPPED = "skipped"


BROKEN = frozenset({Outcome.FAILED, Outcome.HUNG, Outcome.CRASHED})
"""The outcomes of a strategy that was tried and failed, hung or crashed."""


class Status(StrEnum):
    """Whether a workload was measured.

    ``probed``: strategies were tried. ``scanned``: pytest ran the test once while a scan measured it, and no strategy
    was tried. ``not_probed``: nothing was tried, for a reason that is given. ``error``: this tool failed, not the test.
    """

    PROBED = "probed"
    SCANNED = "scanned"
    NOT_PROBED = "not_probed"
    ERROR = "error"


class GilMethod(StrEnum):
    """The method that measured for which share of the time the GIL is held.

    ``memory``: another process read the worker's memory. ``heartbeat``: a thread in the worker, which sleeps for about
    2 ms at a time, recorded whether it had to wait for the GIL when it woke.
    """

    MEMORY = "memory"
    HEARTBEAT = "heartbeat"


class Sleep(StrEnum):
    """What a thread slept in at one moment.

    Attributes:
        AWAKE: it did not sleep: it was on a core, or waited for one.
        EVENTS: a wait for events.
        LOCK: a lock, on a system where the GIL's lock cannot be told from others.
        GIL: the GIL's lock.
        OTHER_LOCK: a lock that is not the GIL's.
        CALL: any other system call.
    """

    AWAKE = "awake"
    EVENTS = "events"
    LOCK = "lock"
    GIL = "gil"
    OTHER_LOCK = "other-lock"
    CALL = "call"


class FailOn(StrEnum):
    """Findings that fail a test or the session only if the user asks for it.

    Attributes:
        UNSAFE: calls fail, hang or crash if several are made in one process at the same time, for instance by threads.
        HUNG: calls hang in any strategy.
        INCONCLUSIVE: it stays open which strategy is best, or whether the calls meet the marker's ``expect_bound``.
        REGRESSION: something is worse than in the baseline, an earlier report.
        GIL_SWITCHED_ON: a module switched the GIL on in a free-threaded Python.
    """

    UNSAFE = "unsafe"
    HUNG = "hung"
    INCONCLUSIVE = "inconclusive"
    REGRESSION = "regression"
    GIL_SWITCHED_ON = "gil-switched-on"


class NextStep(Enum):
    """What a probe should do next to settle what its measurements leave open.

    Attributes:
        STOP: nothing; no question is open, or more measurements would not settle it.
        ROUND: time another round of calls (some calls in every strategy, one strategy after the other).
        PROOF: as ``ROUND``, but with more time allowed, to decide whether an expectation of the user is met, or whether
            the result is worse than an earlier one.
        CONTROL: time a fixed pure-Python loop, serial and in parallel, to see which speed-up the machine can give now.
        POOL: time calls in executors such as `ThreadPoolExecutor`, because what it costs to submit calls and to move
            data decides which strategy is best.
    """

    STOP = "nothing is open, or nothing would settle it"
    ROUND = "another round"
    PROOF = "another round, in the time of a proof: something that was expected is contradicted or open"
    CONTROL = "a control: could the machine have done better just now?"
    POOL = "a round in real executors: what dispatching or moving data costs decides"
