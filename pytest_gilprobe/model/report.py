"""The records of a whole report, and of the machine on which the report was made."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.results import WorkloadResult
from pytest_gilprobe.model.scans import Scan

SCHEMA_VERSION = 2
"""Version of the format in which ``gilprobe.json`` is written. Version 1 had separate records for serial calls, threads
and processes; version 2 has a mapping with the same record for every strategy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine and the Python with which a report was made.

    Attributes:
        python: the version, such as ``3.13.1``.
        implementation: the implementation, such as ``CPython``.
        free_threaded_build: whether Python is built to run without a GIL. Its GIL may still be on.
        gil_enabled: whether the GIL was on.
        compiler: the compiler of this Python, which distinguishes builds of one version.
        platform: the operating system with its version, and the C library.
        machine: the architecture, such as ``x86_64``.
        cpus_usable: the number of CPUs that this process may use; ``cpus_logical`` is the number that the machine has.
        start_method: how worker processes were started, such as ``spawn``.
        switch_interval_s: the GIL's switch interval in seconds.
        load_average_1min: the system's load average; ``None`` if unknown.
        scaling_ceiling: the speed-up of a fixed pure-Python loop in ``ceiling_workers`` processes, which this machine
            could give at the time; both are ``None`` if not measured.
        gil_switched_on_by: the modules whose import switched the GIL on in pytest's own process.
    """

    python: str
    implementation: str
    free_threaded_build: bool
    gil_enabled: bool
    compiler: str
    platform: str
    machine: str
    cpus_usable: int
    cpus_logical: int
    start_method: str
    switch_interval_s: float
    load_average_1min: float | None
    scaling_ceiling: float | None
    ceiling_workers: int | None
    gil_switched_on_by: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """A short name for the Python, such as ``3.13``; ``3.13t`` or ``3.13t GIL on`` if it is free-threaded."""
        version = ".".join(self.python.split(".")[:2])
        if not self.free_threaded_build:
            return version if self.gil_enabled else f"{version} GIL off"
        return f"{version}t GIL on" if self.gil_enabled else f"{version}t"

    @property
    def system(self) -> str:
        """The operating system: ``platform`` without the name of the C library."""
        return self.platform.partition("-with-")[0]

    def looks_like(self, other: Environment) -> bool:
        """Return whether ``self`` and ``other`` look like one machine, so that times in seconds may be compared.

        The result is ``True`` for the same system, architecture and CPU counts. That is no proof: two machines may be
        alike.
        """
        here, there = ((one.system, one.machine, one.cpus_usable, one.cpus_logical) for one in (self, other))
        return here == there


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of the reports that ``gilprobe merge`` joined into one.

    ``created`` is when the report was made, as UTC time in ISO 8601, ``environment`` is the machine and the Python, and
    ``workloads`` has the node ids of the report's workloads.
    """

    created: str
    environment: Environment
    workloads: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole report: the contents of ``gilprobe.json``.

    Attributes:
        schema_version: the version of the file's format.
        tool_version: the version of this package that made the report.
        created: the UTC time in ISO 8601, to the second.
        environment: the machine and the Python.
        workloads: the results, one for each workload.
        scan: measurements of a whole test suite in one ordinary run; ``None`` unless the session was such a scan.
        shards: the reports that this one was joined from; empty unless ``gilprobe merge`` has made it.
    """

    schema_version: int = SCHEMA_VERSION
    tool_version: str
    created: str
    environment: Environment
    workloads: tuple[WorkloadResult, ...]
    scan: Scan | None = None
    shards: tuple[Shard, ...] = ()
