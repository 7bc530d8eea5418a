"""The user's settings for one workload: how to probe it, and the verdict that its marker expects."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.words import Bound, CallKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The verdict that a workload's marker expects; a field that is ``None`` or empty expects nothing.

    The verdict may advise any of ``strategies``, and at least one of them must reach the speed-up ``min_speedup``;
    without ``strategies``, any strategy that was asked for may reach it. Serial calls may hold the GIL for the share
    ``max_gil_held`` of their time, and native code for ``max_gil_hold_s`` seconds without a break. No call may block
    its event loop for longer than ``max_loop_block`` seconds at a time. Throughput must grow by 10 % or more with each
    doubling of the workers up to ``scales_to``.
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
        """Whether any field expects something of a verdict."""
        limits = (self.bound, self.min_speedup, self.max_gil_held, self.max_gil_hold_s, self.max_loop_block)
        return bool(self.strategies) or any(limit is not None for limit in (*limits, self.scales_to))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to probe one workload. The marker overrides a flag, a flag an ini key, and an ini key the default.

    ``strategies`` are the names of the strategies to try, ``serial`` among them. A probe may take ``max_time_s``
    seconds, or ``proof_time_s`` if that is longer and an expectation or a comparison with the baseline is still
    undecided. A batch (a timed series of calls) is ended after ``timeout_s``. ``fresh`` makes function-scoped fixtures
    anew for each call. Strategies that do not exist for calls of this ``kind`` are not tried. ``scale`` are the numbers
    of workers of a curve; empty: 1, 2, 4 ... as far as they gain; ``None``: no curve.
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
