"""Collect the stacks that a sampler reads: of threads that held the GIL, and of a thread that runs an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_gilprobe.observe.source_code import HERE, Describer, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.model.stacks import Stack
    from pytest_gilprobe.observe.frame_reader import FrameReader
    from pytest_gilprobe.observe.remote_frames import RemoteFrame

MOST_CODES: Final = 20_000
"""Maximum number of code objects that are remembered from one batch of samples to the next: about 20 MB."""


class HeldStacks:
    """Read stacks of one process's threads, and keep each different stack once, under a number.

    ``torn`` counts the stacks that `read` could not keep: the thread had no frames, or the GIL changed hands meanwhile.
    """

    def __init__(self, reader: FrameReader, place: Place = HERE) -> None:
        """Start without a stack; ``reader`` reads the process, whose files lie at ``place``."""
        self._reader = reader
        self._describer = Describer(reader, place)
        self._numbers: dict[tuple[RemoteFrame, ...], int] = {}
        self.torn = 0

    def read(self, thread_state: int, is_same: Callable[[], bool]) -> int:
        """Read the stack of a thread that holds the GIL; return the stack's number, or -1 if the stack is torn.

        ``thread_state`` is the address of the thread's state. ``is_same`` returns whether that thread has held the GIL
        all the time. If it has not, or if no frames could be read, the stack is torn and counted in ``torn``.
        """
        number = self.read_beside(thread_state, is_same)
        self.torn += number < 0
        return number

    def read_beside(self, thread_state: int, is_same: Callable[[], bool]) -> int:
        """Read the stack of a thread that need not hold the GIL; return the stack's number, or -1 if the stack is torn.

        The arguments are those of `read`, but a torn stack is not counted in ``torn``. While ``is_same`` returns true,
        the GIL has not changed hands, and so a thread without the GIL has not run any Python code.
        """
        frames = self._reader.stack(thread_state, is_same)
        return self._numbers.setdefault(frames, len(self._numbers)) if frames else -1

    def described(self) -> tuple[Stack, ...]:
        """Return the descriptions of all stacks, in the order of their numbers."""
        return tuple(map(self._describer.stack, self._numbers))

    def restart(self) -> None:
        """Forget all stacks and set ``torn`` to 0; also forget all code objects if there are more than `MOST_CODES`."""
        self._numbers.clear()
        self.torn = 0
        if len(self._reader) > MOST_CODES:
            self._reader.forget()
            self._describer.forget()
