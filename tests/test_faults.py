"""Whatever a workload does wrong, the session goes on, the report says it, the next workload is measured, nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from faults import FAULTS, TIMEOUT_S, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = os.environ.get("GILPROBE_WRITE_FAULTS")
"""Where to write the table of `docs/faults.md`; unset, nothing is written."""
SESSION_S = 60
MARK = "GILPROBE_FAULT_SESSION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one session with a fault came to."""

    fault: Fault
    exit_status: int
    output: str
    workloads: dict[str, dict[str, Any]]
    left: tuple[str, ...]

    @property
    def faulty(self) -> dict[str, Any]:
        return self.workloads["test_it.py::test_fault"]

    @property
    def following(self) -> dict[str, Any]:
        return self.workloads["test_it.py::test_next"]

    def row(self) -> str:
        """Draw a line of the table."""
        said = self.faulty
        parts = [said["status"].replace("_", " ")]
        if said["reason"]:
            parts.append(_short(said["reason"]))
        for strategy in ("threads", "processes"):
            if said["status"] == "probed" and said[strategy]["outcome"] != "ok":
                parts.append(f"{strategy} {said[strategy]['outcome']}: {_short(said[strategy]['error'])}")
        parts += [_short(caution["message"]) for caution in said["verdict"]["cautions"] if caution["slug"] == "leaves-changed"]
        cells = (self.fault.name, "; ".join(parts), f"{said['probe_time_s']:.1f} s", self.following["status"], str(len(self.left)))
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _short(text: str) -> str:
    """Keep the first and the last line, which name what happened and with what."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1]}"
    return kept if len(kept) < 200 else kept[:120] + " ... " + kept[-70:]


def run(fault: Fault, folder: Path) -> Seen:
    """Run a session over the faulty test and one behind it."""
    (folder / "test_it.py").write_text(fault.source, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    mark = uuid.uuid4().hex
    limits = ["--gilprobe-max-time=0.5", f"--gilprobe-timeout={TIMEOUT_S}", "--gilprobe-workers=2", "--gilprobe-report"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *limits, *fault.arguments]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {MARK: mark}, capture_output=True, text=True, timeout=SESSION_S, check=False
    )
    report = folder / "reports" / "gilprobe.json"
    workloads = json.loads(report.read_text("utf-8"))["workloads"] if report.exists() else []
    return Seen(
        fault=fault,
        exit_status=done.returncode,
        output=done.stdout + done.stderr,
        workloads={workload["nodeid"]: workload for workload in workloads},
        left=left_of(mark),
    )


def left_of(mark: str) -> tuple[str, ...]:
    """Name the processes of a session that are still there, killed ones not counted, and end them."""
    time.sleep(0.05)
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
                process.kill()
        except psutil.Error:
            continue
    return tuple(found)


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Collect the rows; write the table down if that is asked for."""
    rows: list[str] = []
    yield rows
    if TABLE is not None and rows:
        head = (
            "# Faults\n\n"
            "Written by `GILPROBE_WRITE_FAULTS=docs/faults.md pytest tests/test_faults.py`. Each fault is one session of two tests, the faulty one\n"
            f"and one behind it, with `--gilprobe-max-time=0.5 --gilprobe-timeout={TIMEOUT_S}`. The faulty test passes in pytest's own run.\n"
            "*Time* is the faulty test's whole probe, with replacing of workers; *next* is what became of the test behind it; *left* is how many processes\n"
            f"were left when the session had ended. Python {sys.version.split()[0]} on {sys.platform}.\n\n"
            "| fault | what the report says | time | next | left |\n|---|---|---|---|---|\n"
        )
        Path(TABLE).write_text(head + "\n".join(rows) + "\n", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault(fault: Fault, tmp_path: Path, table: list[str]) -> None:
    """The session passes, the report tells the fault, the next test is probed in full, and no process is left."""
    seen = run(fault, tmp_path)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    faulty, text = seen.faulty, json.dumps(seen.faulty)
    assert fault.status in {faulty["status"], "any"}, text
    for strategy in ("threads", "processes"):
        assert getattr(fault, strategy) in {faulty[strategy]["outcome"], "any"}, text
    assert [words for words in fault.said if words not in text] == [], text
    assert "pytest_gilprobe" not in text, text
    following = seen.following
    assert (following["status"], following["threads"]["outcome"], following["processes"]["outcome"]) == ("probed", "ok", "ok"), following
    assert seen.left == ()
    table.append(seen.row())
