"""The workloads of the corpus: small functions of every kind, from 5 us to 300 ms. See ``record.py``.

    pytest benchmarks/workloads.py --gilprobe-report -k http

Each is probed by the one test below. No answer is written here: the truth of each is measured, by ``truth.py``.
"""

from __future__ import annotations

import ast
import bz2
import datetime as dt
import hashlib
import json
import lzma
import os
import re
import select
import statistics
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
import workload_calls as calls
import workload_waits as waits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVER: Final = Path(__file__).resolve().parent.parent / "sample_workloads" / "server.py"

WORKLOADS: Final[dict[str, tuple[Callable[..., object], *tuple[Any, ...]]]] = {
    # Python code
    "loop-5us": (calls.loop, 80),
    "loop-50us": (calls.loop, 800),
    "loop-1ms": (calls.loop, 16_000),
    "loop-20ms": (calls.loop, 320_000),
    "loop-300ms": (calls.loop, 2_600_000),
    "fib": (calls.fib, 17),
    "dictionary": (calls.dictionary, 40_000),
    "words": (calls.words, calls.TEXT),
    "raising": (calls.raising, 5_000),
    "sort-by-key": (calls.by_key, calls.NUMBERS),
    "decimals": (calls.decimals, 4_000),
    "fractions": (calls.fractions, 150),
    "csv": (calls.rows_of_csv, 2_000),
    "difflib": (calls.similar, calls.TEXT[:500].split(), calls.TEXT[300:800].split()),
    "statistics": (statistics.fmean, calls.NUMBERS),
    # native code that holds the GIL
    "json-small": (json.dumps, calls.ROWS[0]),
    "json-large": (json.loads, calls.DOCUMENT),
    "regex": (re.sub, r"(\w+) (\w+)", r"\2 \1", calls.TEXT[:20_000]),
    "sorted": (sorted, calls.NUMBERS),
    "pickle": (calls.pickled, calls.ROWS),
    "big-power": (pow, 3, 20_001, 10**600 + 7),
    "big-product": (pow, 7, 60_000),
    "parse": (ast.parse, "x = [a + b for a, b in zip(c, d)]\n" * 200),
    "replace": (str.replace, calls.TEXT, "thread", "t"),
    "date": (dt.datetime.strptime, "2024-05-06 07:08", "%Y-%m-%d %H:%M"),
    # native code that lets go of the GIL
    "sha-4KiB": (hashlib.sha256, calls.BYTES[:4096]),
    "sha-64KiB": (hashlib.sha256, calls.BYTES[:65536]),
    "sha-1MiB": (hashlib.sha256, calls.BYTES),
    "sha-64MiB": (hashlib.sha256, calls.BYTES * 64),
    "pbkdf2": (hashlib.pbkdf2_hmac, "sha256", b"word", b"salt", 20_000),
    "zlib": (zlib.compress, calls.BYTES[:300_000]),
    "crc": (zlib.crc32, calls.BYTES),
    "bz2": (bz2.compress, calls.BYTES[:100_000]),
    "lzma": (lzma.compress, calls.BYTES[:60_000]),
    "numpy-sort": (np.sort, calls.VECTOR),
    "numpy-sqrt": (np.sqrt, calls.VECTOR),
    "numpy-fft": (np.fft.fft, calls.VECTOR[:65536]),
    "numpy-small-sum": (np.sum, calls.SMALL),
    # some of both
    "hash-and-parse": (calls.hash_and_parse,),
    "compress-and-loop": (calls.compress_and_loop,),
    "small-arrays": (calls.small_arrays, 2_000),
    "sqlite-recursion": (calls.sqlite_recursion,),
    "sqlite-rows": (calls.sqlite_rows,),
    # files
    "walk-and-stat": (calls.walk_and_stat,),
    "read-file": (calls.read_file,),
    "write-and-sync": (calls.write_and_sync,),
    # locks
    "hash-under-lock": (waits.hash_under_lock,),
    "hash-half-under-lock": (waits.hash_half_under_lock,),
    "sleep-under-lock": (waits.sleep_under_lock, 0.005),
    "sleep-half-under-lock": (waits.sleep_half_under_lock, 0.01),
    "sleep-under-limit": (waits.sleep_under_limit, 0.01),
    "cached-property": (waits.cached_property,),
    "log-20us": (waits.work_and_log, 200),
    "log-200us": (waits.work_and_log, 3_000),
    "queue": (waits.through_queue, 200),
    # waits
    "sleep-1ms": (time.sleep, 0.001),
    "sleep-10ms": (time.sleep, 0.01),
    "sleep-100ms": (time.sleep, 0.1),
    "sleep-300ms": (time.sleep, 0.3),
    "mostly-sleep": (waits.sleep_and_loop, 0.008, 30_000),
    "half-sleep": (waits.sleep_and_loop, 0.005, 80_000),
    "hardly-sleep": (waits.sleep_and_loop, 0.002, 130_000),
    "http-30ms": (waits.http_get, 30),
    "http-2ms": (waits.http_get, 2),
    "select": (select.select, [], [], [], 0.003),
    "socket-pair": (waits.socket_pair,),
    "child-that-waits": (waits.child_that_waits,),
    "child-that-computes": (waits.child_that_computes,),
    # helper threads
    "matrix-product": (calls.matrix_product,),
    "two-helpers": (waits.two_helpers,),
    "helper-that-waits": (waits.helper_that_waits,),
    # data to move
    "total-10k": (calls.total, list(range(10_000))),
    "total-200k": (calls.total, list(range(2**30, 2**30 + 200_000))),
    "count-10MiB": (calls.count, calls.BYTES * 10),
    "reverse-1MiB": (calls.reverse, calls.BYTES),
    "table": (calls.table, calls.ROWS),
    "array-4MiB": (np.cumsum, calls.VECTOR[:500_000]),
}
"""The function and the arguments of each workload, by its name."""


@pytest.fixture(scope="session", autouse=True)
def server() -> Iterator[None]:
    """Run a server that answers late in a process of its own, unless a process above has started one."""
    if waits.PORT in os.environ:
        yield
        return
    with subprocess.Popen([sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        os.environ[waits.PORT] = process.stdout.readline().decode().strip()
        try:
            yield
        finally:
            del os.environ[waits.PORT]


@pytest.mark.parametrize("name", WORKLOADS)
def test_workload(name: str, gilprobe: Any) -> None:
    """Call the function, which the probe then repeats."""
    func, *arguments = WORKLOADS[name]
    gilprobe(func, *arguments)
