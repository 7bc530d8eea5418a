"""Sum up the notes of watcher processes: files with one line for each test and one for how the watching ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_gilprobe.scan.messages import from_text
from pytest_gilprobe.scan.samples import ScannedCall
from pytest_gilprobe.scan.suite import ScanResult, SuiteTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEnd:
    """How the watching of one pytest process by its watcher process ended.

    ``died_in`` is the test that was running when pytest died, or a text that says that none was; ``None`` if pytest did
    not die. ``lost`` is how many test calls left no record. ``unwatched`` is why the GIL was not sampled; ``None`` if
    it was.
    """

    died_in: str | None = None
    lost: int = 0
    unwatched: str | None = None


def sum_up(folder: Path, *, gil_absent: bool) -> ScanResult | None:
    """Return the results of a scan, added up from the files ``*.notes`` in ``folder``; ``None`` without such files.

    Each file was written by the watcher process of one pytest process, with a line for each test. A line that was not
    finished is skipped. ``gil_absent`` is whether the tests ran without a GIL.
    """
    paths = sorted(folder.glob("*.notes"))
    totals = SuiteTotals()
    ends = []
    for path in paths:
        with path.open(encoding="ascii") as lines:
            for line in lines:
                if line.startswith('{"nodeid"') and line.endswith("\n"):
                    totals.add(from_text(ScannedCall, line))
                elif line.endswith("\n"):
                    ends.append(from_text(WatchEnd, line))
    if not paths:
        return None
    return totals.result(
        gil_absent=gil_absent,
        unwatched=next((end.unwatched for end in ends if end.unwatched is not None), None),
        lost=sum(end.lost for end in ends),
        died_in=next((end.died_in for end in ends if end.died_in is not None), None),
    )
