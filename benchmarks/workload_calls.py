"""What the workloads of the corpus call: Python and native code, files, data."""

from __future__ import annotations

import ast
import csv
import difflib
import hashlib
import io
import json
import logging
import os
import pickle
import random
import sqlite3
import threading
import zlib
from contextlib import closing
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

RANDOM: Final = random.Random(0)
BYTES: Final = RANDOM.randbytes(1 << 20)
TEXT: Final = " ".join(RANDOM.choice(("thread", "process", "lock", "wait", "core", "0.5")) for _ in range(60_000))
WORDS: Final = ["thread", "process"]
ROWS: Final = [{"id": number, "name": f"user {number}", "tags": ["a", "b"]} for number in range(3000)]
DOCUMENT: Final = json.dumps(ROWS)
NUMBERS: Final = [RANDOM.random() for _ in range(100_000)]
MATRIX: Final = np.random.default_rng(0).random((400, 400))
VECTOR: Final = np.random.default_rng(0).random(1_000_000)
SMALL: Final = np.arange(50.0)

# Python code


def loop(times: int) -> int:
    """Add in a loop."""
    total = 0
    for number in range(times):
        total += number * number & 7
    return total


def fib(number: int) -> int:
    """Call itself."""
    return number if number < 2 else fib(number - 1) + fib(number - 2)


def dictionary(size: int) -> int:
    """Fill a dictionary and count in it."""
    counts: dict[int, int] = {}
    for number in range(size):
        counts[number % 97] = counts.get(number % 97, 0) + 1
    return len(counts)


def words(text: str) -> str:
    """Split, change and join words."""
    return "-".join(word.title() for word in text.split() if not word.startswith("0"))


def raising(times: int) -> int:
    """Raise and catch errors."""
    caught = 0
    for number in range(times):
        try:
            WORDS.index(str(number))
        except ValueError:
            caught += 1
    return caught


def by_key(numbers: list[float]) -> list[float]:
    """Sort by a function."""
    return sorted(numbers, key=lambda number: -number)


def decimals(times: int) -> Decimal:
    """Compute in decimal numbers."""
    total = Decimal(0)
    for number in range(1, times):
        total += Decimal(1) / number
    return total


def fractions(times: int) -> Fraction:
    """Compute in fractions."""
    return sum((Fraction(1, number) for number in range(1, times)), Fraction(0))


def similar(first: list[str], second: list[str]) -> float:
    """Compare two lists of words."""
    return difflib.SequenceMatcher(None, first, second).ratio()


def rows_of_csv(times: int) -> int:
    """Write and read a table."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows((number, "x" * 20) for number in range(times))
    buffer.seek(0)
    return sum(len(row) for row in csv.reader(buffer))


def pickled(data: object) -> Any:
    """Pickle there and back."""
    return pickle.loads(pickle.dumps(data))  # noqa: S301 - its own data


# Native code, and both


def hash_and_parse() -> Any:
    """Let go of the GIL for half of the time."""
    hashlib.sha256(BYTES * 4).digest()
    return json.loads(DOCUMENT)


def compress_and_loop() -> int:
    """Let go of the GIL, then compute in Python for as long."""
    return len(zlib.compress(BYTES[:200_000], 1)) + loop(80_000)


def small_arrays(times: int) -> float:
    """Call NumPy often, on little data."""
    total = 0.0
    for _ in range(times):
        total += float(np.dot(SMALL, SMALL))
    return total


def matrix_product() -> Any:
    """Use the threads of NumPy's BLAS."""
    return MATRIX @ MATRIX


def sqlite_recursion() -> Any:
    """Count in SQLite, which lets go of the GIL and has a mutex of its own."""
    with closing(sqlite3.connect(":memory:")) as database:
        query = "with recursive n(x) as (select 1 union all select x+1 from n where x<40000) select sum(x) from n"
        return database.execute(query).fetchone()


def sqlite_rows() -> int:
    """Read rows, each of which becomes Python objects."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("create table t (a integer, b text)")
        database.executemany("insert into t values (?, ?)", ((number, "x") for number in range(3000)))
        return len(database.execute("select * from t order by a desc").fetchall())


# Files


def walk_and_stat() -> int:
    """Walk a tree of files and look at each: the GIL changes hands at each entry."""
    total = 0
    for folder, _, names in os.walk(Path(logging.__file__).parent.parent / "email"):
        total += sum(os.stat(os.path.join(folder, name)).st_size for name in names)  # noqa: PTH116, PTH118 - as people do
    return total


def read_file() -> int:
    """Read a file of the standard library."""
    return len(Path(ast.__file__).read_bytes())


def write_and_sync() -> None:
    """Write a file and wait until it is on the disk."""
    path = Path(f"/dev/shm/gilprobe-{os.getpid()}-{threading.get_ident()}")  # noqa: S108 - memory, where there is one
    path = path if path.parent.is_dir() else Path(path.name)
    with path.open("wb") as file:
        file.write(BYTES[:100_000])
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


# Data to move


def total(data: list[int]) -> int:
    """Work on data that came with the call."""
    return sum(number * number for number in data)


def count(data: bytes) -> int:
    """Hardly work at all."""
    return data.count(b"a")


def reverse(data: bytes) -> bytes:
    """Send it all back."""
    return data[::-1]


def table(rows: list[dict[str, Any]]) -> dict[int, str]:
    """Turn rows into a mapping."""
    return {row["id"]: row["name"].upper() for row in rows}
