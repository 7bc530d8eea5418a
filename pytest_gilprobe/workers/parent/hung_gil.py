"""Describe the GIL of a hung worker process: which thread holds it, in which line, and which threads wait for it."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe.frame_reader import FrameReader
from pytest_gilprobe.observe.gil_address import HOLDER_OFFSET
from pytest_gilprobe.observe.gil_waiters import waiting_threads
from pytest_gilprobe.observe.source_code import Describer, is_plugins
from pytest_gilprobe.stats.holders import key

if TYPE_CHECKING:
    from pytest_gilprobe.workers.protocol import Ready

READINGS: Final = 20
"""Number of times that a hung worker's GIL is read: a thread that holds it each time is said to hold it throughout."""
PAUSE_S: Final = 0.01
"""Seconds between two readings of a hung worker's GIL: twice as long as a thread may keep a GIL for which another
waits."""
WAITED_IN: Final = 0.5
"""A thread counts as waiting for the GIL if more than this share of the readings, 10 of 20, found it waiting. While a
thread keeps the GIL, a waiting one wakes up every 5 ms to ask for it and sleeps again: about one reading in 20 finds it
awake. A thread that does not wait for the GIL is found waiting in no reading."""
MOST_NAMED: Final = 3
"""Largest number of waiting threads that a description of a hung worker's GIL names, so that it fits into a line."""
_WORDS: Final = struct.Struct("@PiL")
_STATE: Final = struct.Struct("@64P")
"""The first words of a thread's state, among them the system's number of the thread, at the same place in each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """The GIL's words at one moment, the holder's place in the code if known, and the threads that waited."""

    words: tuple[int, int, int]
    place: str | None
    waiting: frozenset[int] | None


def describe(ready: Ready) -> str:
    """Watch the GIL of a hung worker for a fifth of a second; return a phrase that says who holds it and who waits.

    ``ready`` is the message by which the worker reported where its GIL is. The result is empty if the GIL cannot be
    read.
    """
    if ready.gil_address is None:
        return ""
    try:
        memory = os.open(f"/proc/{ready.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        reader = None if ready.frames is None else FrameReader(memory, ready.frames, is_plugins)
        readings = []
        for _ in range(READINGS):
            readings.append(_reading(ready.pid, memory, ready.gil_address, reader))
            clocks.sleep(PAUSE_S)
        last = next((one for one in reversed(readings) if one.words[1] == 1), readings[-1])
        holder = thread_name(ready.pid, memory, last.words[0], ready.main_thread)
        return in_words(readings, holder, names_of(ready.pid, waited(readings)))
    except (OSError, struct.error):
        return ""
    finally:
        os.close(memory)


def _reading(pid: int, memory: int, address: int, reader: FrameReader | None) -> _Reading:
    def read() -> tuple[int, int, int]:
        return _WORDS.unpack(os.pread(memory, _WORDS.size, address + HOLDER_OFFSET))

    words, place = read(), None
    if reader is not None and words[1] == 1:
        stack = Describer(reader).stack(reader.stack(words[0], lambda: read() == words))
        if stack:
            at = key(stack)
            place = f"{safe_line(at.code or at.function)} at {safe_line(at.file)}:{at.line}"
    return _Reading(words=words, place=place, waiting=waiting_threads(pid, address))


def thread_name(pid: int, memory: int, state: int, main_state: int | None) -> str:
    """Return what a thread is called in a sentence, such as ``the main thread`` or ``the thread loader``.

    A thread that has no name and is not the main one is ``another thread than the main one``. If it is unknown which
    thread is the main one, each is ``one thread``.

    Args:
        pid: the id of the process.
        memory: a file descriptor by which the memory of the process can be read.
        state: the address of the state that Python keeps for the thread.
        main_state: the address of the main thread's state; ``None`` if unknown.
    """
    if main_state is None:
        return "one thread"
    if state == main_state:
        return "the main thread"
    try:
        words = _STATE.unpack(os.pread(memory, _STATE.size, main_state))
        (at,) = (at for at, word in enumerate(words) if word == pid)
        tid = _STATE.unpack(os.pread(memory, _STATE.size, state))[at]
        own, mains = (Path(f"/proc/{pid}/task/{one}/comm").read_text("utf-8", "replace").strip() for one in (tid, pid))
    except (OSError, ValueError, struct.error):
        return "another thread than the main one"
    return f"the thread {safe_line(own)}" if own and own != mains else "another thread than the main one"


def names_of(pid: int, threads: Iterable[int]) -> list[str]:
    """Return the names of at most `MOST_NAMED` of the ``threads`` (thread ids) of the process ``pid``.

    The main thread is ``the main thread``. A thread without a name of its own is left out: only CPython 3.14 and later
    give the system the names of threads.
    """
    names = []
    for tid in sorted(threads):
        try:
            own, mains = (
                Path(f"/proc/{pid}/task/{one}/comm").read_text("utf-8", "replace").strip() for one in (tid, pid)
            )
        except OSError:
            continue
        if tid == pid:
            names.append("the main thread")
        elif own and own != mains:
            names.append(safe_line(own))
    return names[:MOST_NAMED]


def in_words(readings: list[_Reading], thread: str, waiters: Sequence[str] = ()) -> str:
    """Say what ``readings`` of a GIL show: one thread held it throughout, several took turns, or no thread held it.

    ``thread`` is the name of the thread that held the GIL, and ``waiters`` are names of threads that waited for it.
    """
    held = [one for one in readings if one.words[1] == 1]
    if not held:
        return "no thread held the GIL"
    if len({one.words[0] for one in held}) > 1:
        return "its threads took turns with the GIL"
    if len(held) < len(readings):
        return f"{thread} held the GIL for part of the time"
    places = [one.place for one in held if one.place is not None]
    where = f", in {max(places, key=places.count)}" if places else ""
    number = len(waited(readings))
    names = f" ({', '.join([*waiters, *(['...'] if len(waiters) < number else [])])})" if waiters else ""
    who = f", and {number} other thread{'s' * (number > 1)} waited for it{names}" if number else ""
    return f"{thread} held the GIL all the time{where}{who}"


def waited(readings: list[_Reading]) -> frozenset[int]:
    """Return the ids of the threads that waited for the GIL in more than half of ``readings`` (see `WAITED_IN`).

    Readings that do not show which threads wait are not counted.
    """
    shown = [one.waiting for one in readings if one.waiting is not None]
    counts = Counter(thread for waiting in shown for thread in waiting)
    return frozenset(thread for thread, number in counts.items() if number > WAITED_IN * len(shown))
