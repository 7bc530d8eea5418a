"""Probe every test of well-known projects' suites and compare each outcome with a run without the plugin.

Usage: ``python benchmarks/suites.py FOLDER [-o docs/suites.md] [--only NAME ...] [--most N]``, where FOLDER holds the
projects' source distributions (``--help`` names them; more are no harm)::

    pip download --no-binary :all: --no-deps -d FOLDER pluggy attrs more-itertools click jinja2 h11 python-dateutil ...

It makes a virtual environment with this checkout in it, runs each suite twice, whole, with the settings that its
project gives it, and counts the outcomes that differ, the statuses of the probes and the processes that are left.
``--most N`` probes about N tests of each suite, chosen by their node ids' checksums. Exit status 1 if anything
differs, fails inside, has no reason or is left. Of suites that are not run, the lines that OUTPUT has are kept.

A whole suite takes about 0.4 s a test: all of them three hours. Why tests were not probed is printed, and counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
import venv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
MARK = "GILPROBE_SUITES"
SHARE = "GILPROBE_SUITES_SHARE"
SUITE_S = 7200
BUDGET_S = 0.3
TIMEOUT_S = 10
"""Some suites cannot be set up twice on one machine (a server on a fixed port) and wait for ever instead of failing."""
SOME = f"""
import os, zlib

def pytest_collection_modifyitems(config, items):
    most = float(os.environ["{SHARE}"]) * 2**32
    left = [item for item in items if zlib.crc32(item.nodeid.encode()) >= most]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if zlib.crc32(item.nodeid.encode()) < most]
"""
"""A plugin that runs the same share of the tests in every session, workers' included."""

OLD_NAMES = """
import _pytest.monkeypatch

_pytest.monkeypatch.notset = _pytest.monkeypatch.NOTSET
"""
"""A plugin with a name that pytest 9 has no more, for suites written for older ones."""

PLUGINS = {
    "pytest-asyncio": "asyncio",
    "pytest-benchmark": "benchmark",
    "pytest-timeout": "timeout",
    "pytest-cov": "pytest_cov",
}
"""The pytest plugins among what suites need; the others' sessions are to be as if they were not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A project's tests: the name its distribution starts with, what to run, and what that needs to be installed."""

    name: str
    tests: tuple[str, ...] = ("tests",)
    needs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


SUITES = (
    Suite(name="pluggy", tests=("testing",), needs=("pytest-benchmark",)),
    Suite(name="attrs", needs=("hypothesis", "cloudpickle", "pympler")),
    Suite(name="more_itertools"),
    Suite(name="click"),
    Suite(name="jinja2", needs=("trio", "markupsafe")),
    Suite(name="h11", tests=("h11/tests",)),
    Suite(name="python_dateutil", needs=("attrs", "hypothesis", "freezegun", "six", "tzdata", "pytest-cov")),
    Suite(name="packaging", needs=("pretend", "tomli_w", "hypothesis")),
    Suite(
        name="httpx",
        needs=(
            *("httpcore", "certifi", "idna", "h11", "anyio", "trio", "uvicorn", "trustme", "cryptography", "chardet"),
            *("brotli", "zstandard", "rich", "click", "pygments"),
        ),
    ),
    Suite(
        name="werkzeug",
        # itself, for the servers that it starts: it waits for ever for one that cannot import it
        needs=("cryptography", "ephemeral-port-reserve", "pytest-timeout", "watchdog", "markupsafe", "werkzeug"),
        flags=("--ignore=tests/test_serving.py",),  # waits for ever for a reloader, also without the plugin
    ),
    Suite(
        name="tornado",
        tests=("tornado/test",),
        flags=("-o", "python_files=*_test.py"),
    ),
    Suite(name="itsdangerous", needs=("freezegun",)),
    Suite(name="markupsafe"),
    Suite(name="toolz", tests=("toolz",)),
    Suite(name="cachetools"),
    Suite(name="wrapt"),
    Suite(name="blinker", needs=("pytest-asyncio",), flags=("-o", "asyncio_default_fixture_loop_scope=function")),
    Suite(name="tenacity", needs=("tornado", "trio")),
    Suite(
        name="flask",
        needs=("flask", "asgiref", "greenlet", "python-dotenv"),
        flags=("-p", "gilprobe_old_names"),
    ),
    Suite(name="structlog", needs=("pytest-asyncio", "simplejson", "time-machine", "rich")),
    Suite(name="networkx", tests=("networkx/algorithms/tests",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a suite: each test's outcome, and what was left behind."""

    outcomes: dict[str, str]
    silent: tuple[str, ...]
    took_s: float
    left: int
    output: str


def main() -> int:
    """Run the suites that are there and print the table."""
    names = [suite.name for suite in SUITES]
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"Suites: {', '.join(names)}.", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--most", type=int, help="probe about so many tests of each suite; default: all")
    parser.add_argument("--environment", type=Path, help="keep the virtual environment here, or use the one here")
    asked = parser.parse_args()
    chosen = [suite for suite in SUITES if suite.name in asked.only and archives(suite, asked.folder)]
    good = bool(chosen)
    with tempfile.TemporaryDirectory(prefix="suites-") as name:
        folder = Path(name)
        (folder / "gilprobe_some.py").write_text(SOME, encoding="utf-8")
        (folder / "gilprobe_old_names.py").write_text(OLD_NAMES, encoding="utf-8")
        python = environment(asked.environment or folder / "venv", chosen)
        for suite in chosen:
            row, fine = compared(suite, unpack(suite, asked.folder, folder), python, asked.most)
            good = good and fine
            print(row, flush=True)
            if asked.output is not None:
                table = kept_rows(asked.output) | {suite.name: row}
                text = head() + "\n".join(table[name] for name in names if name in table)
                asked.output.write_text(text + "\n" + rest_of(asked.output), encoding="utf-8")
    return 0 if good else 1


def kept_rows(document: Path) -> dict[str, str]:
    """Return the lines of the table that a document has already, by suite."""
    lines = document.read_text("utf-8").splitlines() if document.exists() else []
    return {line.split()[1]: line for line in lines if line.startswith("| ") and not line.startswith("| project")}


def rest_of(document: Path) -> str:
    """Return what stands below the table in a document that is there already."""
    text = document.read_text("utf-8") if document.exists() else ""
    return "\n## " + text.split("\n## ", 1)[1] if "\n## " in text else ""


def head() -> str:
    """Say what the table shows and how it was made."""
    return f"""# Other projects' suites

Written by `python benchmarks/suites.py FOLDER -o docs/suites.md`, which tells how to fill FOLDER: each suite is run
without the plugin, and with `--gilprobe-all --gilprobe-max-time={BUDGET_S} --gilprobe-timeout={TIMEOUT_S}`, with its
project's own settings. *Of* is how many tests the suite has and *tests* how many of them were run: of long suites
as many as `--most N` says, by their node ids' checksums.
*Differ* counts tests whose outcome is not that of the run without the plugin,
*not* those not probed for a reason given, *errors* failures inside the plugin, *silent* those neither probed nor with
a reason, *left* processes that outlived the session. Python {sys.version.split()[0]}, {os.cpu_count()} CPUs.

| project | tests | of | passed | failed | skipped | differ | probed | not | errors | silent | left | without | with |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def environment(folder: Path, suites: Sequence[Suite]) -> Path:
    """Have a virtual environment with this checkout and what the suites need in it; return its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    needs = sorted({need for suite in suites for need in suite.needs})
    subprocess.run([python, "-m", "pip", "install", "-q", "-e", str(ROOT), *needs], check=True)
    return python


def archives(suite: Suite, sources: Path) -> list[Path]:
    """Find a suite's source distribution; none if it was not put there."""
    return sorted(sources.glob(f"{suite.name}-[0-9]*.tar.gz"))


def unpack(suite: Suite, sources: Path, folder: Path) -> Path:
    """Unpack a suite's newest source distribution; return its folder."""
    archive = archives(suite, sources)[-1]
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def compared(suite: Suite, folder: Path, python: Path, most: int | None) -> tuple[str, bool]:
    """Run a suite without and with the plugin; return a line of the table, and whether all is well."""
    share = 1.0
    plain = run(suite, folder, python, share, "-p", "no:gilprobe")
    whole = len(plain.outcomes)
    if most is not None and whole > most:
        share = most / whole
        plain = run(suite, folder, python, share, "-p", "no:gilprobe")
    reports = folder / "gilprobe-reports"
    flags = ["--gilprobe-all", f"--gilprobe-max-time={BUDGET_S}", f"--gilprobe-timeout={TIMEOUT_S}"]
    flags += ["--gilprobe-report", f"--gilprobe-report-dir={reports}"]
    probed = run(suite, folder, python, share, *flags)
    path = reports / "gilprobe.json"
    workloads = json.loads(path.read_text("utf-8"))["workloads"] if path.exists() else []
    statuses = Counter(workload["status"] for workload in workloads)
    differ = sorted(
        name for name in plain.outcomes | probed.outcomes if plain.outcomes.get(name) != probed.outcomes.get(name)
    )
    unexplained = [one["nodeid"] for one in workloads if one["status"] != "probed" and not one["reason"]]
    silent = [*probed.silent, *unexplained]
    for name in differ:
        print(f"{suite.name}: {name}: {plain.outcomes.get(name)} without, {probed.outcomes.get(name)} with")
    for name in silent:
        print(f"{suite.name}: {name}: neither probed nor with a reason")
    for workload in workloads:
        if workload["status"] == "error":
            print(f"{suite.name}: {workload['nodeid']}: {workload['reason']}")
    why = Counter(in_short(one["reason"]) for one in workloads if one["status"] == "not_probed")
    for reason, count in why.most_common():
        print(f"{suite.name}: {count} not probed: {reason}")
    if differ or not workloads or "INTERNALERROR" in probed.output:
        print(probed.output)
    counts = Counter(plain.outcomes.values())
    cells = [suite.name, len(plain.outcomes), whole, counts["passed"], counts["failed"], counts["skipped"], len(differ)]
    cells += [statuses["probed"], statuses["not_probed"], statuses["error"], len(silent), probed.left]
    cells += [f"{plain.took_s:.1f} s", f"{probed.took_s:.0f} s"]
    good = bool(workloads) and not (differ or silent or statuses["error"] or probed.left)
    return "| " + " | ".join(map(str, cells)) + " |", good


def in_short(reason: str) -> str:
    """Return a reason's first and last lines, where it has a traceback, with numbers left out."""
    lines = [line.strip() for line in reason.splitlines() if line.strip() and not line.startswith("(A forked worker")]
    return re.sub(r"\d+(?:\.\d+)?", "N", " ... ".join(dict.fromkeys([lines[0], lines[-1]]))) if lines else ""


def run(suite: Suite, folder: Path, python: Path, share: float, *flags: str) -> Run:
    """Run a suite once, with its own settings."""
    mark, result = uuid.uuid4().hex, folder / "gilprobe-junit.xml"
    result.unlink(missing_ok=True)
    paths = os.pathsep.join([str(folder / "src"), str(folder / "lib"), str(folder), str(folder.parent)])
    known = os.environ | {MARK: mark, SHARE: str(share), "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    some = () if share == 1 else ("-p", "gilprobe_some")
    absent = [f"-pno:{plugin}" for need, plugin in PLUGINS.items() if need not in suite.needs]
    quiet = ("-q", "-p", "no:cacheprovider", f"--junitxml={result}")
    command = [str(python), "-m", "pytest", *quiet, *absent, *some, *suite.flags, *flags, *suite.tests]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=folder, env=known, capture_output=True, text=True, timeout=SUITE_S, check=False
        )
        output = done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        output = f"not within {SUITE_S} s"
    took = time.perf_counter() - started
    outcomes, silent = outcomes_in(result) if result.exists() else ({}, ())
    return Run(outcomes=outcomes, silent=silent, took_s=took, left=left_of(mark), output=output)


def outcomes_in(result: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read each test's outcome from JUnit XML, and which of them have no word on their probe."""
    found, silent = {}, []
    for case in ET.parse(result).iter("testcase"):  # noqa: S314 - written by the run before
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if kinds else "passed"
        name = f"{case.get('classname')}::{case.get('name')}"
        found[name] = outcome
        said = {one.get("name") for one in case.iter("property")}
        if case.get("classname") and "gilprobe_status" not in said:  # a file that could not be collected has no class
            silent.append(name)
    return found, tuple(silent)


def left_of(mark: str) -> int:
    """Count, and end, the processes of a run that are still there."""
    time.sleep(0.2)
    left = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                left += 1
                process.kill()
        except psutil.Error:
            continue
    return left


if __name__ == "__main__":
    sys.exit(main())
