"""Describe what the GIL of a hung worker does: which thread holds it, in which line, and how many wait for it."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe.frame_reader import FrameReader
from pytest_gilprobe.observe.gil_address import HOLDER_OFFSET
from pytest_gilprobe.observe.gil_waiters import waiting_threads
from pytest_gilprobe.observe.source_code import Describer, is_plugins
from pytest_gilprobe.stats.holders import key

if TYPE_CHECKING:
    from pytest_gilprobe.observe.frame_layout import FrameLayout

READINGS: Final = 20
"""Readings of a hung worker's GIL: a thread that has it in all of them did not let go of it while others waited."""
PAUSE_S: Final = 0.01
"""Seconds between two readings: twice as long as a thread may keep the GIL that another one waits for."""
_WORDS: Final = struct.Struct("@PiL")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """The GIL's words at one moment, the holder's place in the code if known, and the threads that waited."""

    words: tuple[int, int, int]
    place: str | None
    waiting: frozenset[int] | None


def describe(pid: int, address: int | None, frames: FrameLayout | None) -> str:
    """Return what the GIL of a process does for a fifth of a second, in words; empty if that cannot be read.

    Args:
        pid: the process.
        address: the address that `pytest_gilprobe.observe.gil_address.locate` returned in it; ``None`` if unknown.
        frames: where the process keeps its frames; ``None`` if unknown.

    """
    if address is None:
        return ""
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        reader = None if frames is None else FrameReader(memory, frames, is_plugins)
        readings = []
        for _ in range(READINGS):
            readings.append(_reading(pid, memory, address, reader))
            clocks.sleep(PAUSE_S)
        return in_words(readings)
    except (OSError, struct.error):
        return ""
    finally:
        os.close(memory)


def _reading(pid: int, memory: int, address: int, reader: FrameReader | None) -> _Reading:
    words = _WORDS.unpack(os.pread(memory, _WORDS.size, address + HOLDER_OFFSET))
    place = None
    if reader is not None and words[1] == 1:
        stack = Describer(reader).stack(reader.stack(words[0]))
        if stack and _WORDS.unpack(os.pread(memory, _WORDS.size, address + HOLDER_OFFSET)) == words:
            at = key(stack)
            place = f"{safe_line(at.code or at.function)} at {safe_line(at.file)}:{at.line}"
    return _Reading(words=words, place=place, waiting=waiting_threads(pid, address))


def in_words(readings: list[_Reading]) -> str:
    """Say what these readings show: one thread held the GIL throughout, several took turns, or nobody held it."""
    held = [one for one in readings if one.words[1] == 1]
    if not held:
        return "no thread held the GIL"
    if len({one.words[0] for one in held}) > 1:
        return "its threads took turns with the GIL"
    if len(held) < len(readings):
        return "one thread held the GIL for part of the time"
    places = [one.place for one in held if one.place is not None]
    where = f", in {max(places, key=places.count)}" if places else ""
    waited = [one.waiting for one in readings if one.waiting is not None]
    number = len(frozenset.intersection(*waited)) if waited else 0
    who = f", and {number} other thread{'s' * (number > 1)} waited for it" if number else ""
    return f"one thread held the GIL all the time{where}{who}"
