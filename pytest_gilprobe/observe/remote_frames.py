"""Records of the frames and code objects of another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class RemoteCode:
    """A code object of another process: the qualified name of its ``function``, its ``file`` and its ``first_line``.

    ``lines`` is the line table as ``co_linetable`` returns it. ``is_end`` is true if this code ends a stack: the frames
    of its callers are not read.
    """

    function: str
    file: str
    first_line: int
    lines: bytes
    is_end: bool


class RemoteFrame(NamedTuple):
    """A frame: ``code`` is the number of its code object, for `FrameReader.code`.

    ``instruction`` is the offset in bytes of its instruction in the bytecode; negative if it lies outside of the
    bytecode.
    """

    code: int
    instruction: int


class KnownCode(NamedTuple):
    """What was found at the address of a code object.

    Attributes:
        identity: the bytes by which the same code object is recognized.
        number: the code object's number for `FrameReader.code`; ``None`` if it belongs to no Python function.
        is_generator: whether it belongs to a generator, a coroutine or an asynchronous generator.
        proofs: further pieces of memory that must not have changed, as pairs of address and content.
    """

    identity: bytes
    number: int | None
    is_generator: bool
    proofs: tuple[tuple[int, bytes], ...] = ()


class CopiedFrame(NamedTuple):
    """A copy of a frame of another process; all fields are addresses in that process.

    Attributes:
        address: where the frame lies.
        code: the frame's code object.
        instruction: the instruction that the frame executes.
        previous: the caller's frame; 0 if there is none.
    """

    address: int
    code: int
    instruction: int
    previous: int
