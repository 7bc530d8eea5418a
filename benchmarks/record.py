"""Record a corpus: the evidence of many probes, idle and beside other programs, and the truth of each workload.

    python benchmarks/record.py                              # all workloads, idle and beside 1, 2 and 4 busy loops
    python benchmarks/record.py --select "sleep or sqlite" --busy 1 --no-truth
    python benchmarks/record.py --folder corpus --quota 1.5 --repeat 5

The corpus is in ``benchmarks/corpus``: an evidence file for each Python and condition, such as ``3.11-busy1.jsonl.gz``,
and the truths, such as ``3.11-truth.json``. What is recorded anew replaces what was recorded of the same workload in
the same condition. A probe goes on for all of its time, so that ``replay.py`` can judge after every round whether the
code as it stands would have stopped there. Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from verdicts import busy_loops  # noqa: E402 - the checkout beside this file

from pytest_gilprobe.model import evidence_file, report_json  # noqa: E402
from pytest_gilprobe.model.evidence import EVIDENCE_FILE, EvidenceHeader, EvidenceRecord  # noqa: E402
from pytest_gilprobe.model.report import Report  # noqa: E402
from pytest_gilprobe.model.words import Status  # noqa: E402
from pytest_gilprobe.plugin.reporting import Reporting  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gilprobe.model.results import WorkloadResult

CORPUS: Final = ROOT / "benchmarks" / "corpus"
SUITES: Final = ("benchmarks/workloads.py", "sample_workloads")
PERIOD_US: Final = 100_000


def pytest_configure() -> None:
    """Have probes go on for all of their time: this module is a plugin of the sessions that it starts."""

    def is_open(self: Reporting, result: WorkloadResult) -> bool:  # noqa: ARG001 - as the method's own
        return True

    Reporting.is_open = is_open  # type: ignore[method-assign] # so that no question ever settles


def label() -> str:
    """Return the version of this Python, such as ``3.13t``."""
    free = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return f"{sys.version_info.major}.{sys.version_info.minor}{free}"


def probe(select: str, max_time_s: float, started_in: Path | None) -> tuple[EvidenceHeader, list[EvidenceRecord]]:
    """Probe the selected workloads in a session of their own; return the evidence of those that could be probed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "record", *SUITES]
        command += ["-k", select, "--gilprobe-evidence", f"--gilprobe-report-dir={folder}"]
        command += [f"--gilprobe-max-time={max_time_s:g}", "--gilprobe-workers=2"]
        if started_in is not None:  # the shell joins the group, and becomes the session
            command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(started_in / "cgroup.procs"), *command]
        path = os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT)])
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
        file = Path(folder, EVIDENCE_FILE)
        if not file.exists():
            msg = f"the probing session failed:\n{done.stdout}\n{done.stderr}"
            raise SystemExit(msg)
        records = [one for one in evidence_file.read_records(file) if one.status is Status.PROBED]
        return evidence_file.read_header(file), records


@contextlib.contextmanager
def quota(cpus: float | None) -> Iterator[Path | None]:
    """Make a control group with a quota of so many CPUs, and remove it. *Source:* the kernel's cgroup-v1 and -v2."""
    if cpus is None:
        yield None
        return
    parent = next(
        (one for one in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")) if os.access(one, os.W_OK)), None
    )
    if parent is None:
        msg = "--quota: this system does not let this user limit CPU time"
        raise SystemExit(msg)
    group = parent / f"gilprobe-record-{os.getpid()}"
    group.mkdir()
    try:
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{round(cpus * PERIOD_US)} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(round(cpus * PERIOD_US)))
        yield group
    finally:
        group.rmdir()


def keep(path: Path, header: EvidenceHeader, fresh: list[EvidenceRecord]) -> None:
    """Put fresh records into a file of the corpus, in place of older ones of the same workloads."""
    old = list(evidence_file.read_records(path)) if path.exists() else []
    names = {one.nodeid for one in fresh}
    records = [one for one in old if one.nodeid not in names] + fresh
    report = Report(
        tool_version=header.tool_version, created=header.created, environment=header.environment, workloads=()
    )
    evidence_file.write(path, report, sorted(records, key=lambda one: one.nodeid))
    print(f"{path.name}: {len(fresh)} probes recorded, {len(records)} in all, {path.stat().st_size / 1000:.0f} KB")


def keep_truth(path: Path, select: str, seconds: float) -> None:
    """Measure the truth of the selected workloads, and put it into the corpus."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "truth.json")
        command = [sys.executable, str(ROOT / "benchmarks" / "truth.py"), str(file), *SUITES, "-k", select]
        environment = {**os.environ, "GILPROBE_TRUTH_SECONDS": f"{seconds:g}", "PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
        fresh: dict[str, Any] = json.loads(file.read_text("ascii"))
    bad = [name for name, one in fresh["workloads"].items() if one["disturbed"]]
    print("".join(f"disturbed, another program was at work: {name}\n" for name in bad), end="")
    write_truths(path, {key: value for key, value in fresh.items() if key != "workloads"}, fresh["workloads"])
    print(f"{path.name}: the truth of {len(fresh['workloads'])} workloads measured, of {len(bad)} in vain")


def write_truths(path: Path, head: dict[str, Any], fresh: dict[str, Any]) -> None:
    """Add truths to a file of the corpus; one that was disturbed does not replace another."""
    old = json.loads(path.read_text("ascii"))["workloads"] if path.exists() else {}
    every = old | {name: one for name, one in fresh.items() if not one["disturbed"] or name not in old}
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in sorted(every.items()))
    above = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
    report_json.write_atomic(path, f'{{\n{above} "workloads": {{\n{rows}\n}}}}\n')


def main() -> None:
    """Record what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=CORPUS, help="where the corpus is (default: benchmarks/corpus)")
    parser.add_argument("--select", default="test", metavar="EXPR", help="workloads, as for pytest -k (default: all)")
    parser.add_argument("--busy", type=int, nargs="*", default=[0, 1, 2, 4], help="busy loops beside the probes")
    parser.add_argument(
        "--quota", type=float, metavar="CPUS", help="also probe under a CPU quota, if the system allows it"
    )
    parser.add_argument("--repeat", type=int, default=1, help="probes of each workload in each condition (default: 1)")
    parser.add_argument("--max-time", type=float, default=5, metavar="S", help="time of each probe (default: 5)")
    parser.add_argument("--truth-time", type=float, default=6, metavar="S", help="time of each truth (default: 6)")
    parser.add_argument("--no-truth", action="store_true", help="keep the truths that there are")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if not asked.no_truth:
        keep_truth(asked.folder / f"{label()}-truth.json", asked.select, asked.truth_time)
    conditions: list[tuple[str, int, float | None]] = [
        (f"busy{busy}" if busy else "idle", busy, None) for busy in asked.busy
    ]
    conditions += [(f"quota{asked.quota:g}", 0, asked.quota)] if asked.quota else []
    for name, busy, limit in conditions:
        records: list[EvidenceRecord] = []
        for _ in range(asked.repeat):
            with busy_loops(busy), quota(limit) as group:
                header, fresh = probe(asked.select, asked.max_time, group)
            records += fresh
            keep(asked.folder / f"{label()}-{name}.jsonl.gz", header, records)


if __name__ == "__main__":
    main()
