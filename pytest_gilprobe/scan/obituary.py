"""What a watcher says of a pytest that died: in which test, and what it had seen until then."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_gilprobe.reporters.screen import text
from pytest_gilprobe.scan.notes import Notes
from pytest_gilprobe.scan.orders import Farewell, Orders
from pytest_gilprobe.scan.telling import tell


def main(argv: Sequence[str]) -> int:
    """Say on standard error what a dead pytest's notes hold, write the report files if asked to, and remove the notes.

    ``argv`` is one argument, the watcher's `Orders` as JSON.
    """
    orders = Orders.from_text(argv[0])
    folder = Path(orders.notes).parent
    farewell = Farewell(
        width=80,
        encoding="ascii",
        tracers=(),
        gil_enabled=orders.gil_enabled,
        switch_interval_s=orders.switch_interval_s,
        refused=None,
    )
    found = Notes(folder).reduce(gil_absent=not orders.gil_enabled)
    died = f"pytest (process {orders.parent}) died in {found.scan.died_in}"
    sys.stderr.write(f"\ngilprobe: {died}; what was seen until then:\n")
    told = tell(found, farewell, Path(orders.report_folder) if orders.report_folder is not None else None)
    sys.stderr.write(text(told.segments, color=False))
    if told.unwritten is not None:
        sys.stderr.write(f"gilprobe: {told.unwritten}\n")
    shutil.rmtree(folder, ignore_errors=True)
    return 0
