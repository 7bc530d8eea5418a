"""Run a pytest session of its own over a given test file, and read what it reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

SESSION_S = 120
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_gilprobe.plugin"}
"""The environment of a session with this plugin and no other: it begins in half the time."""
QUIET = ("-p", "no:cacheprovider", "-p", "no:randomly", "-W", "ignore::pytest.PytestDeprecationWarning")
"""No folder for a cache, the tests in their order, and no word on a setting of pytest-asyncio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a session came to."""

    exit_status: int
    output: str
    workloads: dict[str, dict[str, Any]]

    def one(self, name: str) -> dict[str, Any]:
        """Return the only workload whose node id ends like this."""
        found = [workload for nodeid, workload in self.workloads.items() if nodeid.endswith(name)]
        assert len(found) == 1, f"{name} in {sorted(self.workloads)}\n{self.output}"
        return found[0]

    def outcomes(self, name: str, shared: str = "threads") -> tuple[str, str, str]:
        """Return status and the outcomes in threads, or another strategy that shares a process, and in processes.

        A strategy for which there was no time has the outcome that it would have had.
        """
        workload = self.one(name)
        together, apart = (
            "ok" if is_late(workload["strategies"][strategy]) else workload["strategies"][strategy]["outcome"]
            for strategy in (shared, "processes")
        )
        return workload["status"], together, apart


def is_late(result: dict[str, Any]) -> bool:
    """Tell whether a strategy was not tried because a busy machine left no time for it."""
    error = result["error"] or ""
    return result["outcome"] == "skipped" and ("time was up" in error or "did not fit into" in error)


def write(folder: Path, source: str, name: str = "test_it.py", ini: str = "") -> None:
    """Write a test file, and an ini file so that the folder is the root."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(textwrap.dedent(source), encoding="utf-8")
    (folder / "pytest.ini").write_text(f"[pytest]\n{textwrap.dedent(ini)}", encoding="utf-8")


def budget(seconds: float) -> float:
    """Return the budget of a probe that takes so many seconds on an idle machine: more, the busier this one is."""
    return round(seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), 2)


def quick() -> tuple[str, ...]:
    """Return the flags of a session whose probes have half a second each on an idle machine."""
    return ("-p", "no:cacheprovider", f"--gilprobe-max-time={budget(0.5)}", "--gilprobe-workers=2")


def command(*flags: str) -> list[str]:
    """Return the command line of a session with small budgets and a report."""
    limits = ["--gilprobe-report", "--gilprobe-workers=2"]
    return [sys.executable, "-m", "pytest", *QUIET, *limits, *flags]


def run(folder: Path, *flags: str, budget_s: float = 0.7, alone: bool = True, inside: Sequence[str] = ()) -> Session:
    """Run a session in ``folder``; ``alone`` says whether without the other plugins that are installed.

    ``inside`` is a command that runs it elsewhere, such as in a network namespace.
    """
    reports = folder / "gilprobe-reports"
    limits = (f"--gilprobe-max-time={budget(budget_s)}", f"--gilprobe-report-dir={reports}", "--gilprobe-timeout=10")
    done = subprocess.run(
        [*inside, *command(*limits, *flags)],
        cwd=folder,
        env=os.environ | (ALONE if alone else {}),
        capture_output=True,
        text=True,
        timeout=SESSION_S,
        check=False,
    )
    path = reports / "gilprobe.json"
    workloads = json.loads(path.read_text("utf-8"))["workloads"] if path.exists() else []
    return Session(
        exit_status=done.returncode,
        output=done.stdout + done.stderr,
        workloads={workload["nodeid"]: workload for workload in workloads},
    )
