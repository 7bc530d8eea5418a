"""The calls that ``executors.py`` and ``which_strategy.py`` make, in a module that a subinterpreter can import, too."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from sample_workloads import picture  # noqa: E402 - the checkout beside this file

BYTES: Final = 1 << 20
BLOCK: Final = bytes(BYTES)


def digest(size: int) -> bytes:
    """Hash so many bytes, which lets go of the GIL from 2 KiB on."""
    found = hashlib.sha256()
    whole, rest = divmod(size, BYTES)
    for _ in range(whole):
        found.update(BLOCK)
    found.update(memoryview(BLOCK)[:rest])
    return found.digest()


def many(count: int, size: int) -> None:
    """Make calls, in one task."""
    for _ in range(count):
        digest(size)


def download(port: int, path: str) -> int:
    """Fetch a path from the late server; return how many bytes came."""
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", path)
        return len(connection.getresponse().read())


async def download_awaited(port: int, path: str) -> int:
    """Fetch the same as a coroutine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    found = len(await reader.read())
    writer.close()
    return found


def grey() -> int:
    """Turn the picture grey, pixel by pixel."""
    image = picture.from_png(picture.PATH.read_bytes())
    pixels = bytearray()
    for at in range(0, len(image.pixels), 3):
        red, green, blue = image.pixels[at : at + 3]
        pixels.append((red * 299 + green * 587 + blue * 114) // 1000)
    return len(pixels)


async def grey_awaited() -> int:
    """Do the same in a coroutine, which awaits nothing."""
    return grey()


def crunch(laps: int) -> int:
    """Add squares."""
    return sum(lap * lap for lap in range(laps))


async def crunch_awaited(laps: int) -> int:
    """Do the same in a coroutine, which awaits nothing."""
    return crunch(laps)


def script(text: str) -> int:
    """Read a few settings."""
    return int(dict(line.split(" = ") for line in text.splitlines())["pages"])


async def script_awaited(text: str) -> int:
    """Do the same in a coroutine, which awaits nothing."""
    return script(text)


def with_data(data: bytes) -> bytes:
    """Compute for some milliseconds, and give back what was given."""
    crunch(50_000)
    return data[:-1] + b"."


async def with_data_awaited(data: bytes) -> bytes:
    """Do the same in a coroutine, which awaits nothing."""
    return with_data(data)
