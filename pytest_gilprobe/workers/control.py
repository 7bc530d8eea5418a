"""The control: a fixed pure-Python loop that shows what this machine can give at the moment."""

from __future__ import annotations

LOOPS = 20_000
"""Rounds of one call of the loop: about 0.5 to 1 ms on machines of the 2020s."""


def loop() -> int:
    """Compute in pure Python, in registers: no memory traffic, no allocation beyond small integers."""
    total = 0
    for number in range(LOOPS):
        total ^= number & 0xFF
    return total
