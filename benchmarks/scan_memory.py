"""What memory a scan takes as a suite grows: pytest's own with the scan beside bare pytest's, and its watcher's.

    python benchmarks/scan_memory.py                     suites of 2,000 and 10,000 tests
    python benchmarks/scan_memory.py 1000 40000          others

The last test of each suite reads the peak of resident memory (``VmHWM`` in ``proc_pid_status(5)``) of pytest and of the
watcher beside it. The exit status is 1 if the largest suite takes a scan more than `FLAT_KIB` beyond the smallest one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

SUITES: Final = (2_000, 10_000)
TESTS_PER_FILE: Final = 100
FLAT_KIB: Final = 1_024
LAST: Final = """
import json, os, pathlib
def peak(path):
    lines = (path / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
def test_last():
    watchers = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"PPid:\\t{os.getpid()}\\n" in (path / "status").read_text():
                if b"scan.watcher" in (path / "cmdline").read_bytes():
                    watchers.append(peak(path))
        except OSError:
            pass
    found = {"pytest": peak(pathlib.Path("/proc/self")), "watcher": sum(watchers)}
    pathlib.Path("peaks.json").write_text(json.dumps(found))
"""


def main(suites: tuple[int, ...]) -> int:
    """Run each suite bare and scanned, print a line for each, and say whether memory stays flat."""
    print("peak of resident memory, KiB")
    print(f"{'tests':>8}{'pytest, bare':>16}{'pytest, scan':>16}{'more':>8}{'watcher':>10}")
    extra = []
    for tests in suites:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            _write(folder, tests)
            bare, scanned = _peaks(folder), _peaks(folder, "--gilprobe-scan")
        more = scanned["pytest"] - bare["pytest"]
        extra.append((more, scanned["watcher"]))
        print(f"{tests:>8}{bare['pytest']:>16}{scanned['pytest']:>16}{more:>8}{scanned['watcher']:>10}")
    flat = all(last - first <= FLAT_KIB for first, last in zip(extra[0], extra[-1], strict=True))
    print(f"flat, within {FLAT_KIB} KiB from {suites[0]} to {suites[-1]} tests: {'yes' if flat else 'NO'}")
    return 0 if flat else 1


def _write(folder: Path, tests: int) -> None:
    """Write trivial tests, a hundred to a file, and one after them that reads the peaks."""
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    for number in range(tests // TESTS_PER_FILE):
        body = "".join(f"def test_{case}():\n    pass\n\n\n" for case in range(TESTS_PER_FILE))
        (folder / f"test_{number:06}.py").write_text(body, "utf-8")
    (folder / "test_zzz.py").write_text(LAST, "utf-8")


def _peaks(folder: Path, *flags: str) -> dict[str, int]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, int] = json.loads((folder / "peaks.json").read_text("utf-8"))
    return found


if __name__ == "__main__":
    sys.exit(main(tuple(map(int, sys.argv[1:])) or SUITES))
