"""The records of a scan: measurements of a whole test suite during one ordinary run."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.estimate import Estimate

BETWEEN_TESTS = "between two tests"
"""The value of `Scan.died_in` if no test was running when a pytest process died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanGroup:
    """The sums of several tests of a scan that are too short to be reported one by one.

    Attributes:
        kind: ``file`` for the short tests of one file, ``fixture`` for the short tests that use one fixture.
        name: the name of that file or fixture.
        tests: the number of the group's tests.
        wall_s: the sum of the wall times in seconds of the tests' call phases (without set-up and teardown).
        cpu_utilization: CPU time divided by wall time, from which waits for a CPU are subtracted.
        gil_held_fraction: share of the call phases' time for which the GIL was held; ``None`` if unknown.
    """

    kind: str
    name: str
    tests: int
    wall_s: float
    cpu_utilization: float
    gil_held_fraction: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldingFunction:
    """A function that holds the GIL in the call phases of a suite's tests.

    In each stack of a thread that holds the GIL, up to two functions count. One is the innermost function of the
    project: the time of libraries that it calls is included. The other is the innermost function of an installed
    package that the project's function called, directly or through other functions.

    Attributes:
        share: the function's share of the time for which the GIL is held in all tests together, from 0 to 1.
        function: the qualified name.
        file: the file, relative to the working directory or to where packages are installed.
        package: the installed package; ``None`` for a function of the project.
        calls: number of call phases (one for each test) in which the function was seen while its thread held the GIL.
        line: the line of the function in which it was seen most often; ``None`` if unknown.
        code: the text of ``line``, or of the call in it; ``None`` if unknown.
        line_share: the share of ``line`` in the time for which the GIL is held in all tests together, from 0 to 1.
    """

    share: Estimate
    function: str
    file: str
    package: str | None
    calls: int
    line: int | None
    code: str | None
    line_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFinding:
    """One remark of a scan about the test suite.

    ``message`` is the remark, and ``slug`` the name under which ``docs/messages.md`` explains remarks of its kind.
    ``names`` are the node ids of the tests concerned; empty if the remark is about the suite as a whole.
    """

    slug: str
    message: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRun:
    """A predicted run of the suite by ``pytest -n N``, where N is ``workers``.

    ``wall_s`` is the time in seconds from the start of pytest to the end of the last test. ``idle`` is the share of the
    workers' time, between the first test and the last, in which a worker has no test left to run.
    """

    workers: int
    wall_s: float
    idle: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTest:
    """A test that still runs near the end of a parallel run of the suite, when another worker has no test left.

    ``wall_s`` is the time in seconds of its set-up, call and teardown, without fixtures that tests share.
    """

    nodeid: str
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteWorkers:
    """Predicted times of the scanned suite on this machine under pytest-xdist (``pytest -n N``).

    Attributes:
        wall_s: seconds of the serial run, from the start of pytest to the end of the last test, without waits for a
            CPU.
        start_s: the part of ``wall_s`` before the session began, which each worker repeats.
        collection_s: the part of ``wall_s`` in which tests were collected, which each worker repeats.
        fixtures_s: the part of ``wall_s`` in fixtures of a scope wider than one function; each worker sets such
            fixtures up for itself.
        cpu_s: seconds of CPU time of the serial run. If it is much less than ``wall_s``, the suite mostly waits.
        cpus: how many CPUs the workers would share.
        runs: the predicted runs, for increasing numbers of workers.
        enough_workers: the smallest number of workers that gives 90 % of the best speed; 1 stands for a run without
            pytest-xdist.
        long_tests: up to five long tests that still run when another worker has no test left, the longest first. They
            are those of the run with ``enough_workers`` workers, or with 2 if that is 1.
    """

    wall_s: float
    start_s: float
    collection_s: float
    fixtures_s: float
    cpu_s: float
    cpus: float
    runs: tuple[SuiteRun, ...]
    enough_workers: int
    long_tests: tuple[LongTest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A scan's measurements of a test suite: the call phases of ``tests`` tests, without set-up and teardown.

    All times and shares exclude the full garbage collections that Python started in the call phases: chance decides in
    which test such a collection runs, and most of what it visits belongs to pytest.

    Attributes:
        tests: number of tests that were measured.
        tests_alone: number of tests that were long enough to be reported one by one; the other tests are summed up in
            ``groups``, by file and by fixture.
        wall_s: sum of the wall times of all call phases, in seconds.
        cpu_s: seconds of CPU time of the whole process in the call phases.
        run_queue_s: how many seconds the tests waited for a CPU; ``None`` if unknown.
        gil_held_fraction: share of the call phases' time for which the GIL was held; ``None`` if unknown.
        unwatched: why the GIL was not sampled; ``None`` if it was.
        lost: number of tests that left no record, since the memory for records was full.
        died_in: the node id of the test in which a pytest process died, or `BETWEEN_TESTS`; ``None`` if no process
            died.
        findings: remarks about the suite.
        groups: the sums of the tests that were too short to be reported one by one.
        suite_workers: predicted times under pytest-xdist; ``None`` if the session already ran with it, did not run all
            collected tests, or had fewer than two tests.
        functions: the functions that hold the GIL for longest; ``None`` if too few stacks of GIL holders were read.
        collections: number of the full garbage collections that took 1 ms or more.
        collected_s: the time in seconds of the full garbage collections that took 1 ms or more.
    """

    tests: int
    tests_alone: int
    wall_s: float
    cpu_s: float
    run_queue_s: float | None = None
    gil_held_fraction: Estimate | None = None
    unwatched: str | None = None
    lost: int = 0
    died_in: str | None = None
    findings: tuple[ScanFinding, ...] = ()
    groups: tuple[ScanGroup, ...] = ()
    suite_workers: SuiteWorkers | None = None
    functions: tuple[HoldingFunction, ...] | None = None
    collections: int = 0
    collected_s: float = 0.0
