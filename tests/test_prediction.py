"""The prediction that advice rests on, held against real pools of the standard library."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports_fixture import probed, processes, serial, threads, verdict

from pytest_gilprobe.model.results import WorkloadResult
from pytest_gilprobe.model.words import Bound, Gil

ROOT = Path(__file__).resolve().parents[1]
LEAST_JUDGED = 6
"""So many workloads must have been probed and run undisturbed for the whole to count: half of those with a pool."""


def benchmark() -> Any:
    """Load ``benchmarks/prediction.py``."""
    spec = importlib.util.spec_from_file_location("prediction", ROOT / "benchmarks" / "prediction.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["prediction"] = module
    spec.loader.exec_module(module)
    return module


PREDICTION = benchmark()


def workload(predicted: float, *, queued: float = 0.0) -> WorkloadResult:
    """Make a result that advises processes with this speed-up."""
    said = verdict(Bound.CPU, Gil.HELD, "processes", predicted, "CPU-bound")
    own = replace(serial(0.01, 0.98, 0.9), run_queue_share=queued)
    return probed(
        "a.py::test_a",
        said,
        own,
        replace(threads(1.0), run_queue_share=0.0),
        replace(processes(predicted), run_queue_share=0.0),
    )


@pytest.mark.parametrize(
    ("predicted", "pool", "control", "queued", "expected"),
    [
        (1.9, 1.9, 2.0, 0.0, True),
        (1.9, 1.7, 2.0, 0.0, True),
        (1.9, 1.6, 2.0, 0.0, False),
        (1.5, 1.8, 1.9, 0.0, False),
        (1.9, 1.6, 1.7, 0.0, None),
        (1.9, 1.6, 2.4, 0.0, None),
        (1.9, 1.6, 2.0, 0.2, None),
        (1.9, 1.9, 1.7, 0.0, None),
    ],
)
def test_row(*, predicted: float, pool: float, control: float, queued: float, expected: bool | None) -> None:
    """A row fails beyond 15 % on a quiet machine, and says nothing on one that the control or the probe found busy."""
    gain = PREDICTION.Gain(pool=pool, control=control)
    assert PREDICTION.row(workload(predicted, queued=queued), gain)[1] is expected


def test_pool_that_could_not_be_run() -> None:
    """A workload whose advised pool came to nothing is a failure, not a row to leave out."""
    assert PREDICTION.row(workload(1.9), None)[1] is False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the real process pool is forked")
def test_real_pools_do_what_was_predicted() -> None:
    """Each sample workload's real pool lands within 15 % of the prediction, if not at once then in a second try.

    A busy machine proves nothing.
    """
    rows = list(PREDICTION.compared("test", 5))
    again = [line.split()[1] for line, within in rows if within is False]
    off = [line for name in again for line, within in PREDICTION.compared(name, 5) if within is False]
    assert off == []
    judged = [line for line, within in rows if within]
    if len(judged) < LEAST_JUDGED:
        busy = "\n".join(line for line, within in rows if within is None)
        pytest.skip(f"the machine was busy: only {len(judged)} workloads could be judged; not these:\n{busy}")
