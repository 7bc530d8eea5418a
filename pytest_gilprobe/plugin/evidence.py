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
"""Name of the second evidence file of ``--gilprobe-ab-gil``: of the probes with the GIL."""


class ProbeEvidence:
    """Holds the records of one test's probe until its result is known: one record, two under ``--gilprobe-ab-gil``."""

    def __init__(self) -> None:
        self._records: list[EvidenceRecord] = []

    def note(self, record: EvidenceRecord) -> None:
        """Keep ``record``, which a `ProbeRunner` made, until `packed` is called."""
        self._records.append(record)

    def packed(self, plan: Plan, result: WorkloadResult, halves: int) -> tuple[bytes, ...]:
        """Return the noted records as compressed lines, one for each report of the session, and forget them.

        ``plan`` and ``result`` are the test's, as the session reports them. ``halves`` is how many reports the session
        makes: 2 under ``--gilprobe-ab-gil``, else 1. If fewer records were noted, because a probe did not come to its
        end, all of them are replaced by records without readings. The record of the second half has no expectation:
        only the first half must meet what the marker expects.
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
    """Return the compressed line ``packed`` as ASCII text, which pytest-xdist can send."""
    return base64.b85encode(packed).decode("ascii")


def from_text(text: str) -> bytes:
    """Return the compressed line that `as_text` made into text."""
    return base64.b85decode(text)


class SessionEvidence:
    """Collects the evidence (raw readings) of all probes of a session, and writes it to the report folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spools: list[EvidenceSpool] = []
        self._problem: str | None = None

    @property
    def path(self) -> Path:
        """The evidence file of the session's own report."""
        return self._folder / EVIDENCE_FILE

    def keep(self, packed: Sequence[bytes]) -> None:
        """Keep the compressed lines of one test, one for each report of the session.

        If that fails, as on a full disk, `write` returns the error.
        """
        try:
            while len(self._spools) < len(packed):
                self._spools.append(EvidenceSpool())
            for spool, line in zip(self._spools, packed, strict=True):
                spool.keep(line)
        except OSError as error:
            self._problem = f"--gilprobe-evidence: could not keep what was measured: {error}"

    def write(self, reports: Sequence[Report]) -> tuple[str, ...]:
        """Write an evidence file for each of ``reports``; return a message if anything failed, else an empty tuple."""
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
