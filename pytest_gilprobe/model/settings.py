"""The user's settings for one workload: how to probe it, and the verdict that its marker expects."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.words import Bound, CallKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The verdict that a workload's marker expects; a field that is ``None`` or empty expects nothing.

    Attributes:
        strategies: the verdict must advise one of these.
        bound: the calls must be bound by this: ``io`` (they wait), ``cpu`` (they compute) or ``mixed``.
        min_speedup: at least one of ``strategies`` must reach this speed-up; if ``strategies`` is empty, at least one
            of the strategies that the user asked to try.
        max_loop_block: no call may block its event loop for longer than this number of seconds at a time.
        max_gil_held: serial calls may hold the GIL for at most this share of their time, from 0 to 1.
        max_gil_hold_s: native code may hold the GIL for at most this number of seconds without a break.
        scales_to: throughput must grow by 10 % or more with each doubling of the workers up to this number.
    """

    strategies: frozenset[str] = frozenset()
    bound: Bound | None = None
    min_speedup: float | None = None
    max_loop_block: float | None = None
    max_gil_held: float | None = None
    max_gil_hold_s: float | None = None
    scales_to: int | None = None

    @property
    def says_anything(self) -> bool:
        """Whether any field expects something, so that a verdict must be checked."""
        limits = (self.bound, self.min_speedup, self.max_gil_held, self.max_gil_hold_s, self.max_loop_block)
        return bool(self.strategies) or any(limit is not None for limit in (*limits, self.scales_to))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to probe one workload. The marker overrides a flag, a flag an ini key, and an ini key the default.

    Attributes:
        nodeid: the test's node id, or ``module:function`` of a function without a test.
        workers: how many threads, processes ... make calls at the same time.
        max_time_s: how many seconds the probe may usually take.
        timeout_s: the seconds after which a batch (calls timed together) counts as hung and is ended.
        proof_time_s: how many seconds the probe may take while it is undecided whether an expectation is met, or
            whether the result is worse than in an earlier report; ``max_time_s`` applies if it is longer.
        strategies: the names of the strategies to try, ``serial`` among them. Those that do not exist for calls of this
            ``kind`` are not tried.
        expectation: what the marker expects of the verdict.
        fresh: whether function-scoped fixtures are made anew for each call.
        kind: how calls are made: as plain calls, or awaited.
        scale: the numbers of workers for a curve of throughput by number of workers; if empty, they are chosen: 1, 2,
            4 ... and the number of CPUs, until more workers hardly gain; ``None`` for no curve.
    """

    nodeid: str
    workers: int
    max_time_s: float
    timeout_s: float
    proof_time_s: float = 0.0
    strategies: frozenset[str]
    expectation: Expectation
    fresh: bool = False
    kind: CallKind = CallKind.PLAIN
    scale: tuple[int, ...] | None = None
