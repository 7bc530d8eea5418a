"""What the workloads work on: a server that answers late, a picture, a text, a table, a matrix."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sample_workloads.picture import PATH as PICTURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray


SERVER = Path(__file__).with_name("server.py")
PATIENCE_S = 10
WORDS = ("wait", "compute", "thread", "process", "lock", "queue", "pool", "core", "2024-05-17", "10:42", "17 %", "GIL")
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@pytest.fixture(scope="session")
def port() -> Iterator[int]:
    """Return the port of the late server.

    Each pytest process that asks has a server process of its own: waiting there costs the caller nothing but time.
    """
    command = [sys.executable, str(SERVER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:  # noqa: S603 - our own file
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.terminate()


@pytest.fixture(scope="session")
def get(port: int) -> Callable[[str], bytes]:
    """Return a function that fetches a path from the late server, over a new connection each time."""

    def get(path: str) -> bytes:
        with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read()

    return get


@pytest.fixture(scope="session")
def photo() -> Any:
    """Return the picture in ``picture.png`` as Pillow reads it."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow, which the extra 'samples' installs")
    with image.open(PICTURE) as photo:
        photo.load()
        return photo


@pytest.fixture(scope="session")
def text() -> str:
    """Return 100,000 words and figures, the same at every run."""
    return " ".join(random.Random(2024).choices(WORDS, k=100_000))  # noqa: S311 - a text, not a secret


@pytest.fixture(scope="session")
def document() -> str:
    """Return a JSON document of 4,000 orders, about 250 KiB."""
    return json.dumps(
        [{"id": n, "city": f"city {n % 97}", "prices": [n, n / 7], "paid": n % 3 == 0} for n in range(4_000)],
    )


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite file with 20,000 orders."""
    path = tmp_path_factory.mktemp("sqlite") / "orders.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, city TEXT, price REAL)")
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?, ?)",
            ((n, f"city {n % 97}", n / 7) for n in range(20_000)),
        )
    return path


@pytest.fixture(scope="session")
def matrix() -> NDArray[np.float64]:
    """Return a matrix of 1,000 rows and columns, where NumPy multiplies such on all cores."""
    numpy = pytest.importorskip("numpy")
    for name in BLAS_THREADS:
        if os.environ.get(name) == "1":
            pytest.skip(f"{name}=1 keeps NumPy to one core: then the answer is another one")
    return numpy.random.default_rng(1).random((1_000, 1_000))  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def numbers_in_10_ms() -> int:
    """Return how many numbers ``sum(i * i for i in range(n))`` takes 10 ms for, on this machine with this Python.

    So a workload that mixes waiting and computing is the same mixture everywhere. CPU time, and the least of 20
    runs: what else the machine does can only add to it.
    """
    n = 20_000  # about 1 ms, short enough to pass undisturbed now and then
    least_s = min(cpu_s(lambda: sum(i * i for i in range(n))) for _ in range(20))
    return int(n * 0.010 / least_s)


def cpu_s(func: Callable[[], object]) -> float:
    """Return the CPU time of one call in seconds, that of this thread alone."""
    start = time.thread_time()
    func()
    return time.thread_time() - start
