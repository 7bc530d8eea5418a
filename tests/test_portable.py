"""The main job where a system offers no ``/proc``, no fork, no parent-death signal and no reading of memory."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from evidence import estimate, evidence
from reports_fixture import probed, processes, serial, threads, verdict
from sessions import Session, run, write

from pytest_gilprobe.model.words import Bound, Gil
from pytest_gilprobe.verdict import margins
from pytest_gilprobe.verdict.judge import judge

HERE = Path(__file__).parent
PARTS = (serial(0.02, 0.02, 0.02), threads(1.9), processes(1.9))
TESTS = """
    import time

    import pytest


    @pytest.mark.gilprobe(expect_bound="io")
    def test_waits():
        time.sleep(0.01)


    @pytest.mark.gilprobe(expect_bound="cpu")
    def test_computes():
        sum(at * at for at in range(60_000))


    def test_given(gilprobe):
        gilprobe(sorted, list(range(50_000, 0, -1)))


    @pytest.mark.gilprobe(max_time=0.2)
    def test_long():
        time.sleep(0.3)
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Probe a few tests in a session, and in workers, that are refused all that only Linux has."""
    folder = tmp_path_factory.mktemp("portable")
    write(folder, TESTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE / "portable"), prepend=":")
        return run(folder, budget_s=2.0)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["test_waits", "test_computes", "test_given"])
def test_workloads_are_probed(session: Session, name: str) -> None:
    """Spawned workers measure what they can: times, CPU time, speed-ups; the gates do not fail for what is unknown."""
    workload = session.one(name)
    assert session.exit_status == 0, session.output
    assert workload["status"] == "probed", session.output
    assert workload["strategies"]["serial"]["run_queue_share"] is None
    assert workload["gil"]["method"] in {"heartbeat", None}
    assert workload["gil"]["holders"] is None


@pytest.mark.thorough
def test_answers_are_those_of_the_textbook(session: Session) -> None:
    """Waiting is told by the clocks alone, and threads are advised."""
    waits = session.one("test_waits")["verdict"]
    assert waits["bound"] in {"io", "inconclusive"}
    assert waits["strategy"] in {"threads", "inconclusive"}
    assert session.one("test_computes")["verdict"]["bound"] in {"cpu", "inconclusive"}


@pytest.mark.thorough
def test_long_call_is_told_by_its_own_clocks(session: Session) -> None:
    """A call that is too long keeps its times and its bound; the GIL's part is not known."""
    workload = session.one("test_long")
    assert (workload["status"], workload["verdict"]["bound"]) == ("not_probed", "io")
    assert workload["gil"]["held_fraction"] is None


@pytest.mark.thorough
def test_what_is_missing_is_said_once(session: Session) -> None:
    """The report says what the system does not tell at its top, and not beside each workload."""
    said = " ".join(session.output.split())
    assert said.count("does not tell how long a thread waits for a CPU") == 1
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    assert said.count("the GIL could not be sampled from outside") == int(has_gil)
    slugs = [one["slug"] for one in session.one("test_waits")["verdict"]["cautions"]]
    assert slugs.count("queueing-unseen") == 1


# What follows from a run queue that is not known


def test_unseen_queueing_may_look_like_waiting() -> None:
    """*Mixed* is not told where a thread may have queued unseen; waiting and computing are."""
    seen = {
        used: judge(evidence(cpu_utilization=estimate(used, used, used), run_queue_share=None)).verdict.bound
        for used in (0.01, 0.5, 0.99)
    }
    assert seen == {0.01: Bound.IO, 0.5: Bound.INCONCLUSIVE, 0.99: Bound.CPU}
    assert judge(evidence(cpu_utilization=estimate(0.5, 0.5, 0.5), run_queue_share=0.0)).verdict.bound is Bound.MIXED


@pytest.mark.parametrize(
    ("run_queue_share", "possible"), [(0.0, {Bound.IO}), (None, set(Bound) - {Bound.INCONCLUSIVE})]
)
def test_gate_on_the_bound_allows_for_unseen_queueing(run_queue_share: float | None, possible: set[Bound]) -> None:
    """A call that seems to wait may compute, so no such expectation fails."""
    found = probed("a::b", verdict(Bound.IO, Gil.HELD, "threads", 1.9, "because"), *PARTS)
    base = replace(found.strategies["serial"], run_queue_share=run_queue_share)
    assert margins.possible_bounds(replace(found, strategies={"serial": base})) == possible
