"""`pytest_gilprobe.stats.speedups`: what queueing is whose, and what the machine gives now.

What speed-ups come out of samples of known truth is held in ``test_stats_reduce.py``.
"""

from __future__ import annotations

import pytest
from evidence import control, machine, measurement, processes, round_, serial

from pytest_gilprobe.stats.speedups import correctable, scaling_now


@pytest.mark.parametrize(
    ("workers", "cpus", "native_s", "answer"),
    [(2, 2, 0.0, True), (4, 2, 0.0, False), (2, 1, 0.0, False), (2, 2, 0.1, False)],
)
def test_own_queueing_is_not_taken_out(workers: int, cpus: int, native_s: float, *, answer: bool) -> None:
    """Where a batch's own threads, native ones included, outnumber the CPUs, its queueing is its own."""
    seen = measurement(round_(serial(native_s=native_s)), workers=workers)
    assert correctable(seen, machine(cpus=cpus)) is answer


def test_scaling_is_the_freshest_known() -> None:
    """Controls between the rounds tell what the machine gives now; without any, the session's survey does."""
    assert scaling_now(measurement(), machine()) == machine().scaling
    fresh = control(serial(), processes(0.2))
    found = scaling_now(measurement(controls=(fresh,)), machine())
    assert found is not None
    assert found.value == pytest.approx(1.0)
    assert scaling_now(measurement(), machine(scaling=None)) is None
