"""Records of the frames and code objects of another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class RemoteCode:
    """A code object's qualified name, file, first line and line table; ``is_end`` if callers of it are not read."""

    function: str
    file: str
    first_line: int
    lines: bytes
    is_end: bool


class RemoteFrame(NamedTuple):
    """A frame: its code object, as a number for `FrameReader.code`, and its instruction's offset in bytes."""

    code: int
    instruction: int


class KnownCode(NamedTuple):
    """What was found at the address of a code object.

    ``identity`` are the fields by which the same code object is recognised, ``number`` is ``None`` if it is no Python
    function's. ``is_generator`` is whether it is a generator's or a coroutine's.
    ``proofs`` are further pieces of memory, as pairs of address and content, that must not have changed.
    """

    identity: bytes
    number: int | None
    is_generator: bool
    proofs: tuple[tuple[int, bytes], ...] = ()


class CopiedFrame(NamedTuple):
    """What a frame consists of: its address, those of its code object and next instruction, and its caller's frame."""

    address: int
    code: int
    instruction: int
    previous: int
