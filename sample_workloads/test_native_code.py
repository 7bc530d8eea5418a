"""Calls into C: whether the code there lets go of the GIL decides, and that is not to be seen from Python."""

from __future__ import annotations

import bz2
import ctypes
import hashlib
import json
import re
import sqlite3
import sys
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from sample_workloads.expected import AROUND_THE_GIL, AROUND_THE_GIL_SHARING

if TYPE_CHECKING:
    from pathlib import Path

ONE_MEBIBYTE = bytes(range(256)) * 4096


@pytest.mark.gilprobe(expect="threads", expect_bound="cpu")
def test_hashing() -> None:
    """CPU-bound outside the GIL, so threads: `hashlib` lets go of it while it works through 1 MiB.

    Source: CPython documentation, `hashlib`: "the Python GIL is released for data larger than 2047 bytes".
    """
    assert hashlib.sha512(ONE_MEBIBYTE).hexdigest().startswith("ac1d097b")


@pytest.mark.gilprobe(expect="threads", expect_bound="cpu")
def test_zlib_compression(text: str) -> None:
    """CPU-bound outside the GIL, so threads: `zlib` lets go of it while it compresses.

    Source: CPython documentation, C API, on releasing the GIL from extension code: "the standard zlib and hashlib
    modules release the GIL when compressing or hashing data".
    """
    words = text[:400_000].encode()
    assert len(zlib.compress(words)) < len(words)


@pytest.mark.gilprobe(expect="threads", expect_bound="cpu")
def test_bz2_compression(text: str) -> None:
    """CPU-bound outside the GIL, so threads: `bz2` does as `zlib` does.

    Source: CPython, ``Modules/_bz2module.c``, which allows threads around ``BZ2_bzCompress``.
    """
    words = text[:200_000].encode()
    assert len(bz2.compress(words)) < len(words)


@pytest.mark.gilprobe(expect="threads", expect_bound="cpu")
def test_image_scaling(photo: Any) -> None:
    """CPU-bound outside the GIL, so threads: Pillow scales a picture in C, and lets go of the GIL for it.

    Source: Pillow, ``src/libImaging/Resample.c``, whose loops run between ``ImagingSectionEnter`` and
    ``ImagingSectionLeave``.
    """
    assert photo.resize((960, 640)).size == (960, 640)


@pytest.mark.gilprobe(expect=AROUND_THE_GIL_SHARING, expect_bound="cpu")
def test_json_parsing(document: str) -> None:
    """CPU-bound inside the GIL, so processes: the parser is C, but all it does is to make Python objects.

    Source: CPython, ``Modules/_json.c``, which never allows threads.
    """
    assert len(json.loads(document)) == 4_000


@pytest.mark.gilprobe(expect=AROUND_THE_GIL_SHARING, expect_bound="cpu")
def test_regular_expressions(text: str) -> None:
    """CPU-bound inside the GIL, so processes: `re` matches in C without letting go of it.

    Source: CPython, ``Modules/_sre/sre.c``, which never allows threads.
    """
    assert len(re.findall(r"\b(\d+)-(\d+)-(\d+)\b", text)) > 1_000


@pytest.mark.skipif(sys.platform == "win32", reason="needs usleep of the C library")
@pytest.mark.gilprobe(expect=AROUND_THE_GIL, expect_bound="io")
def test_waiting_inside_the_gil() -> None:
    """I/O-bound, and yet processes: this call waits 20 ms without letting go of the GIL, so all threads wait.

    The rule "waiting, so threads" holds only if the wait is outside the GIL. A hand-written binding can easily get
    this wrong.

    Source: CPython documentation, `ctypes.PyDLL`: "the Python GIL is not released during the function call".
    """
    ctypes.PyDLL(None).usleep(20_000)


@pytest.mark.gilprobe(expect="threads", expect_bound="cpu")
def test_sqlite_totals(database: Path) -> None:
    """CPU-bound mostly outside the GIL, so threads: the work is one long step of SQLite's, and one row comes back.

    Each call opens a connection of its own, since a connection belongs to the thread that made it.

    Source: CPython, ``Modules/_sqlite``, which allows threads around ``sqlite3_step``; CPython documentation,
    `sqlite3.connect`, on ``check_same_thread``.
    """
    query = "SELECT city, sum(price) FROM orders GROUP BY city ORDER BY 2 DESC LIMIT 1"
    with closing(sqlite3.connect(database)) as connection:
        assert len(connection.execute(query).fetchall()) == 1


@pytest.mark.gilprobe(expect=AROUND_THE_GIL_SHARING, expect_bound="cpu")
def test_sqlite_rows(database: Path) -> None:
    """CPU-bound, and processes although the GIL is released: 20,000 times a call, a microsecond each time.

    Every row is a step, after which the thread needs the GIL back to make Python objects, and two threads that hand
    it to and fro so often are slower than one: 0.6x in two threads, 0.3x in four, with CPython 3.13 on 2 cores.

    Source: as for totals; the measurement.
    """
    with closing(sqlite3.connect(database)) as connection:
        assert len(connection.execute("SELECT id, city, price FROM orders").fetchall()) == 20_000
