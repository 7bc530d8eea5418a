"""Collect the stacks that a sampler reads: of threads that held the GIL, and of one that runs an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_gilprobe.observe.source_code import HERE, Describer, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.model.stacks import Stack
    from pytest_gilprobe.observe.frame_reader import FrameReader
    from pytest_gilprobe.observe.remote_frames import RemoteFrame

MOST_CODES: Final = 20_000
"""Most code objects that are remembered from one batch of samples to the next: about 20 MB."""


class HeldStacks:
    """The stacks that were read, each different one once; ``torn`` counts those of threads that lost the GIL."""

    def __init__(self, reader: FrameReader, place: Place = HERE) -> None:
        """Start without a stack; ``reader`` reads the process, whose files lie at ``place``."""
        self._reader = reader
        self._describer = Describer(reader, place)
        self._numbers: dict[tuple[RemoteFrame, ...], int] = {}
        self.torn = 0

    def read(self, thread_state: int, is_same: Callable[[], bool]) -> int:
        """Read the stack of a thread that holds the GIL; return its number, or -1 if that is torn.

        That is if the thread has no stack, or if ``is_same`` denies that the GIL was held by that thread all the time.
        """
        number = self.read_beside(thread_state, is_same)
        self.torn += number < 0
        return number

    def read_beside(self, thread_state: int, is_same: Callable[[], bool]) -> int:
        """Read the stack of a thread that need not hold the GIL, as `read` does, without counting it as torn.

        As long as ``is_same`` says that the GIL did not change hands, a thread without it runs no Python code.
        """
        frames = self._reader.stack(thread_state, is_same)
        return self._numbers.setdefault(frames, len(self._numbers)) if frames else -1

    def described(self) -> tuple[Stack, ...]:
        """Return all stacks, in the order of their numbers."""
        return tuple(map(self._describer.stack, self._numbers))

    def restart(self) -> None:
        """Start without a stack again, and forget code objects if they have become many."""
        self._numbers.clear()
        self.torn = 0
        if len(self._reader) > MOST_CODES:
            self._reader.forget()
            self._describer.forget()
