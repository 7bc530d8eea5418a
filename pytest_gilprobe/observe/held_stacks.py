"""Collect the stacks that a GIL sampler reads: of threads that hold the GIL, and of a thread with an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_gilprobe.observe.source_code import HERE, Describer, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.model.stacks import Stack
    from pytest_gilprobe.observe.frame_reader import FrameReader
    from pytest_gilprobe.observe.remote_frames import RemoteFrame

MOST_CODES: Final = 20_000
"""Maximum number of code objects that are kept between two batches (calls timed together): about 20 MB. If there are
more, all are forgotten."""


class HeldStacks:
    """Read stacks of another process's threads, and keep each different stack once, under a number.

    A stack has the functions being executed at one moment, each called by the next one. ``torn`` counts the stacks that
    `read` could not keep: no frames could be read, or the GIL changed hands during the reading.
    """

    def __init__(self, reader: FrameReader, place: Place = HERE) -> None:
        """Start empty; ``reader`` reads the other process's memory, ``place`` says where its source files lie."""
        self._reader = reader
        self._describer = Describer(reader, place)
        self._numbers: dict[tuple[RemoteFrame, ...], int] = {}
        self.torn = 0

    def read(self, thread_state: int, is_same: Callable[[], bool]) -> int:
        """Read the stack of a thread that holds the GIL; return the stack's number, or -1 if the stack is torn.

        ``thread_state`` is the address of the thread's ``PyThreadState``. ``is_same`` returns whether that thread has
        held the GIL all the time. If it has not, or if no frames could be read, the stack is torn and counted in
        ``torn``.
        """
        number = self.read_beside(thread_state, is_same)
        self.torn += number < 0
        return number

    def read_beside(self, thread_state: int, is_same: Callable[[], bool]) -> int:
        """Read the stack of a thread that need not hold the GIL; return the stack's number, or -1 if it cannot be read.

        ``thread_state`` is the address of the thread's ``PyThreadState``. ``is_same`` returns true if the GIL has not
        changed hands during the reading: a thread without the GIL has then run no Python code meanwhile, and its stack
        is whole. Otherwise the result is -1. Unlike in `read`, ``torn`` does not count such a failure.
        """
        frames = self._reader.stack(thread_state, is_same)
        return self._numbers.setdefault(frames, len(self._numbers)) if frames else -1

    def described(self) -> tuple[Stack, ...]:
        """Return all stacks that are kept, in order of their numbers, with function, file and line of each frame."""
        return tuple(map(self._describer.stack, self._numbers))

    def restart(self) -> None:
        """Forget all stacks, and set ``torn`` (the number of stacks that `read` could not keep) to 0.

        Also forget all code objects if there are more than `MOST_CODES`.
        """
        self._numbers.clear()
        self.torn = 0
        if len(self._reader) > MOST_CODES:
            self._reader.forget()
            self._describer.forget()
