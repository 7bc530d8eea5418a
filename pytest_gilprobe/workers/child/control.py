"""The control: a fixed pure-Python loop that shows how fast this machine is now, and how far it scales."""

from __future__ import annotations

LOOPS = 20_000
"""Iterations in one call of the control: about 0.5 to 1 ms on machines of the 2020s."""


def loop() -> int:
    """Compute with small integers in pure Python, without memory traffic and allocation, and return the result."""
    total = 0
    for number in range(LOOPS):
        total ^= number & 0xFF
    return total
