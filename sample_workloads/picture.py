"""The picture that the image workloads work on, and how it was made.

``python sample_workloads/picture.py`` draws ``picture.png`` again, pixel for pixel. Reading and writing take the
standard library alone, so that the pixel-by-pixel workload needs no package; they know just the plainest kind of PNG,
the one written here.

Source: W3C, "Portable Network Graphics (PNG) Specification", sections 5 (datastream) and 9 (filtering).
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).with_name("picture.png")
WIDTH, HEIGHT = 240, 160
SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Pixels in rows from the top, three bytes each: red, green, blue."""

    width: int
    height: int
    pixels: bytes


def draw() -> Picture:
    """Draw rings of changing colour over a slope of colours: flat parts and edges, as in a drawing."""
    pixels = bytearray()
    for y in range(HEIGHT):
        for x in range(WIDTH):
            distance = math.hypot(x - WIDTH / 3, y - HEIGHT / 2)
            ring = 64 if int(distance / 12) % 2 else 0
            pixels += bytes(
                (x * 12 // WIDTH * 16 + ring, y * 12 // HEIGHT * 16 + ring, int(distance / 12) % 192 + ring),
            )
    return Picture(width=WIDTH, height=HEIGHT, pixels=bytes(pixels))


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a PNG chunk: length, kind, body, checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def to_png(picture: Picture) -> bytes:
    """Write ``picture`` as a PNG of 8 bits a channel whose rows are all unfiltered."""
    head = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    row = picture.width * 3
    rows = b"".join(b"\0" + picture.pixels[y * row : (y + 1) * row] for y in range(picture.height))
    return SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def from_png(png: bytes) -> Picture:
    """Read what `to_png` wrote; any other kind of PNG is a `ValueError`."""
    kinds: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kinds[png[at + 4 : at + 8]] = png[at + 8 : at + 8 + length]
        at += length + 12
    width, height, *kind = struct.unpack(">IIBBBBB", kinds[b"IHDR"])
    rows = zlib.decompress(kinds[b"IDAT"])
    row = width * 3 + 1
    if kind != [8, 2, 0, 0, 0] or any(rows[::row]):
        msg = f"expected an unfiltered PNG of 8 bits a channel (8, 2, 0, 0, 0), found {tuple(kind)}"
        raise ValueError(msg)
    return Picture(
        width=width,
        height=height,
        pixels=b"".join(rows[y * row + 1 : (y + 1) * row] for y in range(height)),
    )


if __name__ == "__main__":
    PATH.write_bytes(to_png(draw()))
