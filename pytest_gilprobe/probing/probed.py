"""The result of probing one function: its verdict and report, and how a prompt and a notebook show them."""

from __future__ import annotations

import html as markup
import os
import shutil
from dataclasses import dataclass

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.evidence import EvidenceRecord
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import Verdict, WorkloadResult
from pytest_gilprobe.strategies.registry import BUILT_IN


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Probed:
    """The result of probing one function: ``repr`` gives one line, ``print`` the whole report, a notebook shows a page.

    ``report`` is a report with this function as its only workload. ``evidence`` has the raw readings of the probe;
    ``None`` if they were not kept.
    """

    report: Report
    evidence: EvidenceRecord | None = None

    def write_evidence(self, path: str | os.PathLike[str]) -> None:
        """Write the raw readings of the probe to the file ``path``; ``gilprobe judge`` can read it.

        Raises:
            GilprobeError: the readings were not kept, or the file cannot be written.
        """
        from pytest_gilprobe.model import evidence_file  # noqa: PLC0415 - only for who keeps evidence

        if self.evidence is None:
            msg = "the raw readings were not kept: probe with Prober(evidence=True)"
            raise GilprobeError(msg)
        evidence_file.write(path, self.report, [self.evidence])

    @property
    def result(self) -> WorkloadResult:
        """Everything that was measured for the function, with the verdict."""
        return self.report.workloads[0]

    @property
    def verdict(self) -> Verdict:
        """The verdict: the strategy that is advised, and why."""
        return self.result.verdict

    def __repr__(self) -> str:
        """Format the verdict in one line."""
        from pytest_gilprobe.report import terminal  # noqa: PLC0415 - only for who wants to see it

        return terminal.one_line(self.result, BUILT_IN)

    def __str__(self) -> str:
        """Format the report as on a terminal, without colors."""
        from pytest_gilprobe.report import terminal  # noqa: PLC0415

        width = shutil.get_terminal_size().columns
        return terminal.text(terminal.draw(self.report, BUILT_IN, width=width), color=False).rstrip()

    def _repr_html_(self) -> str:
        """Draw the page, in a frame so that its style stays its own."""
        from pytest_gilprobe.report import html  # noqa: PLC0415

        page = markup.escape(html.draw(self.report, BUILT_IN))
        return f'<iframe srcdoc="{page}" style="width:100%;height:40em;border:0"></iframe>'
