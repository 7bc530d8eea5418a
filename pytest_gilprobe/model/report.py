"""The records of a whole report, and of the machine on which the report was made."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.results import WorkloadResult
from pytest_gilprobe.model.scans import Scan

SCHEMA_VERSION = 2
"""Version of the format of ``gilprobe.json`` that is written. Version 1 had separate records for serial calls, threads
and processes; version 2 has a mapping with the same record for every strategy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine and the Python with which a report was made.

    ``free_threaded_build`` and ``gil_enabled`` are two facts: a free-threaded build may run with its GIL on.
    ``scaling_ceiling`` is the speed-up of a fixed pure-Python loop in ``ceiling_workers`` processes: the speed-up that
    this machine could give at the time, ``None`` if not measured. ``compiler`` distinguishes builds of one version.
    ``gil_switched_on_by`` names the modules whose import switched the GIL on in pytest's own process.
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
        """A short name for the Python: ``3.13``; free-threaded ``3.13t``, or ``3.13t GIL on`` if its GIL is enabled."""
        version = ".".join(self.python.split(".")[:2])
        if not self.free_threaded_build:
            return version if self.gil_enabled else f"{version} GIL off"
        return f"{version}t GIL on" if self.gil_enabled else f"{version}t"

    @property
    def system(self) -> str:
        """The operating system: ``platform`` without the name of the C library."""
        return self.platform.partition("-with-")[0]

    def looks_like(self, other: Environment) -> bool:
        """Return whether both environments look like one machine, so that their absolute times may be compared.

        ``True`` does not prove it: two machines with the same system, architecture and CPU counts look alike.
        """
        here, there = ((one.system, one.machine, one.cpus_usable, one.cpus_logical) for one in (self, other))
        return here == there


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of the reports that were joined into one: when and where it was made, and the node ids of its workloads."""

    created: str
    environment: Environment
    workloads: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole report: the contents of ``gilprobe.json``.

    ``created`` is the UTC time in ISO 8601, to the second. ``scan`` is ``None`` unless the session was a scan.
    ``shards`` are the reports that this one was joined from; empty unless ``gilprobe merge`` has made it.
    """

    schema_version: int = SCHEMA_VERSION
    tool_version: str
    created: str
    environment: Environment
    workloads: tuple[WorkloadResult, ...]
    scan: Scan | None = None
    shards: tuple[Shard, ...] = ()
