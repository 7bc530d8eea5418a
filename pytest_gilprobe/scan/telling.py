"""The end of a scan: its report, drawn for the terminal and written to files."""

from __future__ import annotations

from pathlib import Path

from pytest_gilprobe.model import GilprobeError
from pytest_gilprobe.reporters import scan_terminal
from pytest_gilprobe.scan.files import scan_report, write_files
from pytest_gilprobe.scan.orders import Farewell, Told
from pytest_gilprobe.scan.reduce import Scanned


def tell(found: Scanned, farewell: Farewell, report_folder: Path | None) -> Told:
    """Draw what was found, and write the report files where a folder is given; what cannot be written is said."""
    report = scan_report(found, farewell)
    unwritten = None
    if report_folder is not None:
        try:
            write_files(report, report_folder)
        except GilprobeError as error:
            unwritten = str(error)
    drawn = scan_terminal.draw(report, width=farewell.width, encoding=farewell.encoding, tracers=farewell.tracers)
    return Told(segments=tuple(drawn), unwritten=unwritten)
