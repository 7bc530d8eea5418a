"""A value with its confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its confidence interval, which reaches from ``low`` to ``high``.

    ``confidence`` is the probability that such an interval contains the true value. Raises `ValueError` unless
    ``low <= value <= high``, all three are finite, and ``confidence`` lies between 0 and 1.
    """

    value: float
    low: float
    high: float
    confidence: float = 0.95

    def __post_init__(self) -> None:
        """Raise `ValueError` unless this is a finite value in its interval, with a confidence between 0 and 1."""
        if not all(map(math.isfinite, (self.value, self.low, self.high))):
            msg = f"an estimate is finite, found {self.value!r} [{self.low!r}, {self.high!r}]"
            raise ValueError(msg)
        if not self.low <= self.value <= self.high:
            msg = f"an estimate lies in its interval, found {self.value!r} [{self.low!r}, {self.high!r}]"
            raise ValueError(msg)
        if not 0 < self.confidence < 1:
            msg = f"a confidence lies between 0 and 1, found {self.confidence!r}"
            raise ValueError(msg)

    def at_most(self, most: float) -> Estimate:
        """Return a copy in which ``value``, ``low`` and ``high`` are lowered to ``most`` where they are greater."""
        value, low, high = (min(one, most) for one in (self.value, self.low, self.high))
        return replace(self, value=value, low=low, high=high)
