"""What a watcher says of a pytest that died: in which test, and what it had seen until then."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_gilprobe.model import GilprobeError
from pytest_gilprobe.reporters import scan_terminal
from pytest_gilprobe.reporters.screen import text
from pytest_gilprobe.scan.files import scan_report, write_files
from pytest_gilprobe.scan.notes import Notes


def main(argv: Sequence[str]) -> int:
    """Say on standard error what a dead pytest's notes hold, write the report files if asked to, and remove the notes.

    ``argv`` is one argument, JSON: the folder of the notes, pytest's process id, the report folder or null.
    """
    folder, pid, report_folder = json.loads(argv[0])
    found = Notes(Path(folder)).reduce()
    report = scan_report(found)
    sys.stderr.write(f"\ngilprobe: pytest (process {pid}) died in {found.scan.died_in}; what was seen until then:\n")
    sys.stderr.write(text(scan_terminal.draw(report, width=80, encoding="ascii"), color=False))
    if report_folder is not None:
        try:
            write_files(report, Path(report_folder))
        except GilprobeError as error:
            sys.stderr.write(f"gilprobe: {error}\n")
    shutil.rmtree(folder, ignore_errors=True)
    return 0
