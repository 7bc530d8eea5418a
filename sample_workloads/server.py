"""A small HTTP server that answers late, for the workloads that wait for a network.

Run as a program it picks a free port on the loopback address, prints it as its only line and serves until its
standard input ends: a parent that dies, even by SIGKILL, closes that pipe and so leaves no server behind.

``GET /file?wait_ms=30`` waits 30 ms and answers with 256 KiB, any other path with a small JSON document. Requests
wait side by side: one event loop serves hundreds of them, and costs each well under a millisecond of CPU.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from contextlib import closing, suppress
from urllib.parse import parse_qs, urlsplit

FILE_BYTES = 256 * 1024
FILE = bytes(range(256)) * (FILE_BYTES // 256)
LONGEST_WAIT_MS = 10_000
LONGEST_QUEUE = 1_000
"""Connections that may wait to be accepted; the system's own limit may be lower."""


def answer(path: str) -> tuple[str, bytes]:
    """Return the content type and the body for ``path``."""
    if path == "/file":
        return "application/octet-stream", FILE
    user = {"path": path, "name": "Ada", "languages": ["Python", "Analytical Engine"], "active": True}
    return "application/json", json.dumps(user).encode()


def wait_s(query: str) -> float:
    """Return how long to wait, in seconds from 0 to 10: ``wait_ms`` in the query, else not at all."""
    milliseconds = float(parse_qs(query).get("wait_ms", ["0"])[0])
    return min(max(milliseconds, 0.0), LONGEST_WAIT_MS) / 1000


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read one request, wait, answer it and close the connection. A client that leaves early is no error."""
    with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError):
        request = await reader.readuntil(b"\r\n\r\n")
        url = urlsplit(request.split(maxsplit=2)[1].decode("ascii"))
        await asyncio.sleep(wait_s(url.query))
        content_type, body = answer(url.path)
        head = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.writelines((b"HTTP/1.1 200 OK\r\n", head.encode("ascii"), body))
        await writer.drain()


async def serve() -> None:
    """Print the port, then serve until standard input ends."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_at_end_of_input() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop.set)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=LONGEST_QUEUE)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - the port is what this program has to say
    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
