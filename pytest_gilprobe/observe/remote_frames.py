"""Records of the frames and code objects of another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class RemoteCode:
    """A code object of another process: the qualified name of its ``function``, its ``file`` and its ``first_line``.

    ``lines`` is the line table as ``co_linetable`` returns it. If ``is_end`` is true, a frame of this code is the last
    one that is read of a stack: its callers are left out.
    """

    function: str
    file: str
    first_line: int
    lines: bytes
    is_end: bool


class RemoteFrame(NamedTuple):
    """A frame of another process. ``code`` is the number by which `FrameReader.code` returns the frame's code object.

    ``instruction`` is the offset in bytes, in the bytecode, of the instruction that the frame executes; negative if it
    lies outside of the bytecode.
    """

    code: int
    instruction: int


class KnownCode(NamedTuple):
    """What was found in another process's memory at the address of a code object.

    Attributes:
        identity: the bytes that were found there. If they have changed, another code object lies there now.
        number: the number by which `FrameReader.code` returns the code object; ``None`` if it belongs to no Python
            function.
        is_generator: whether the code object belongs to a generator, a coroutine or an asynchronous generator.
        proofs: further pieces of memory, as pairs of an address and the bytes found there. If one has changed, the code
            object is no longer the same, even if ``identity`` is.
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
