"""Support ``--gilprobe-evidence``: keep the raw readings of each probe, and write them beside the report."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.evidence import EVIDENCE_FILE, EvidenceRecord
from pytest_gilprobe.model.evidence_file import EvidenceSpool, pack
from pytest_gilprobe.model.settings import Expectation
from pytest_gilprobe.model.words import Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.model.settings import Plan

EVIDENCE_WITH_GIL = "gilprobe-evidence-gil1.jsonl.gz"
"""Name of the second file of raw readings under ``--gilprobe-ab-gil``: those of the probes with the GIL."""


class ProbeEvidence:
    """Holds the raw readings of one test's probe until the probe's result is known.

    They are one record, or under ``--gilprobe-ab-gil`` two: first without the GIL, then with it.
    """

    def __init__(self) -> None:
        self._records: list[EvidenceRecord] = []

    def note(self, record: EvidenceRecord) -> None:
        """Keep ``record``, the raw readings of a probe that has just ended, until `packed` is called."""
        self._records.append(record)

    def packed(self, plan: Plan, result: WorkloadResult, halves: int) -> tuple[bytes, ...]:
        """Return the kept raw readings as compressed lines, one for each report of the session; then forget them.

        ``plan`` is how the test was probed, and ``result`` what the session reports about it. ``halves`` is how many
        reports the session makes: 2 under ``--gilprobe-ab-gil`` (without and with the GIL), else 1. If a probe broke
        off, so that readings are missing, all lines have ``plan`` and ``result`` but no readings. Only the first line
        has the marker's expectations: results with the GIL need not meet them.
        """
        noted, self._records = self._records, []
        own, *others = noted if len(noted) == halves else [EvidenceRecord.of(plan, result)] * halves
        if own.status is not Status.PROBED:
            own = replace(own, added=result.verdict.cautions)
        unbound = (replace(one, plan=replace(one.plan, expectation=Expectation())) for one in others)
        return tuple(map(_packed, (own, *unbound)))


def _packed(record: EvidenceRecord) -> bytes:
    try:
        return pack(record)
    except GilprobeError as error:
        return pack(replace(record, status=Status.ERROR, reason=str(error), measurement=None, machine=None))


def as_text(packed: bytes) -> str:
    """Return ``packed``, compressed raw readings of a probe, as ASCII text, which pytest-xdist can send."""
    return base64.b85encode(packed).decode("ascii")


def from_text(text: str) -> bytes:
    """Return the compressed raw readings that `as_text` made into ``text``."""
    return base64.b85decode(text)


class SessionEvidence:
    """Collects the evidence (raw readings) of all probes of a session, and writes it to the report folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spools: list[EvidenceSpool] = []
        self._problem: str | None = None

    @property
    def path(self) -> Path:
        """The path of the file of raw readings; under ``--gilprobe-ab-gil``, that of the readings without the GIL."""
        return self._folder / EVIDENCE_FILE

    def keep(self, packed: Sequence[bytes]) -> None:
        """Keep ``packed``, the raw readings of one test: a compressed line for each report of the session.

        If that fails, as on a full disk, nothing is raised: `write` returns the error.
        """
        try:
            while len(self._spools) < len(packed):
                self._spools.append(EvidenceSpool())
            for spool, line in zip(self._spools, packed, strict=True):
                spool.keep(line)
        except OSError as error:
            self._problem = f"--gilprobe-evidence: could not keep what was measured: {error}"

    def write(self, reports: Sequence[Report]) -> tuple[str, ...]:
        """Write a file of raw readings for each of ``reports``; return a tuple with an error message if that failed.

        The message may also be of an earlier failure of `keep`. The tuple is empty if all went well.
        """
        paths = (self.path, self._folder / EVIDENCE_WITH_GIL)
        try:
            while len(self._spools) < len(reports):
                self._spools.append(EvidenceSpool())
            for path, report, spool in zip(paths, reports, self._spools, strict=False):
                spool.write(path, report)
        except (GilprobeError, OSError) as error:
            self._problem = f"--gilprobe-evidence: could not write to {self._folder}: {error}"
        for spool in self._spools:
            spool.close()
        return () if self._problem is None else (self._problem,)
