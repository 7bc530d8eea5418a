"""What a gate (a check that fails a test) found: why it fails, in words, and what it could not check."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.results import Caution

UNCHECKED = "expectation-unchecked"
"""Slug (short name) of the caution for an expectation that was neither confirmed nor refuted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One reason why a gate (a check that fails a test) fails, in words.

    ``expected`` is what was expected, ``found`` what was found instead, ``evidence`` the measurement or error that
    shows this, and ``remedy`` what the user can do.
    """

    expected: str
    found: str
    evidence: str
    remedy: str

    def headline(self) -> str:
        """Format what was expected and what was found on one line."""
        return f"expected {self.expected}; found {self.found}"

    def text(self) -> str:
        """Format the whole failure, with one labelled line for each field."""
        rows = ("expected", self.expected), ("found", self.found), ("evidence", self.evidence), ("remedy", self.remedy)
        return "\n".join(f"{label + ':':<10}{said}" for label, said in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gating:
    """The outcome of a gate (a check that fails a test); the gate passes if ``failures`` is empty.

    ``failures`` are the reasons why it fails; ``cautions`` tell which expectations could not be checked.
    """

    failures: tuple[Failure, ...] = ()
    cautions: tuple[Caution, ...] = ()
    wants_rounds: bool = False
    """Whether more rounds (one batch of calls of every strategy) are needed to confirm or exclude a failure."""


def unchecked(message: str) -> Caution:
    """Return the caution for an expectation that was neither confirmed nor refuted; ``message`` says which, and why."""
    return Caution(slug=UNCHECKED, message=message)
