"""What the workloads of the corpus call: locks, sleeps, a server, programs, helper threads."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final

from workload_calls import BYTES, loop

PORT: Final = "GILPROBE_WORKLOADS_PORT"
LOCK: Final = threading.Lock()
LIMIT: Final = threading.Semaphore(2)
LOG: Final = logging.getLogger("gilprobe.workloads")
LOG.propagate = False
LOG.setLevel(logging.INFO)
LOG.addHandler(logging.FileHandler(os.devnull))

# Locks


def hash_under_lock() -> bytes:
    """Hold a lock for all of the work, which lets go of the GIL."""
    with LOCK:
        return hashlib.sha256(BYTES * 2).digest()


def hash_half_under_lock() -> bytes:
    """Hold a lock for half of the work."""
    with LOCK:
        first = hashlib.sha256(BYTES).digest()
    return first + hashlib.sha256(BYTES).digest()


def sleep_under_lock(seconds: float) -> None:
    """Hold a lock for all of a wait."""
    with LOCK:
        time.sleep(seconds)


def sleep_half_under_lock(seconds: float) -> None:
    """Hold a lock for half of a wait."""
    with LOCK:
        time.sleep(seconds / 2)
    time.sleep(seconds / 2)


def sleep_under_limit(seconds: float) -> None:
    """Wait where two at a time may."""
    with LIMIT:
        time.sleep(seconds)


class Cached:
    """Has a value that is computed on first use, under a lock of the class up to Python 3.11."""

    @functools.cached_property
    def value(self) -> int:
        """Wait for the value."""
        time.sleep(0.006)
        return 1


def cached_property() -> int:
    """Use a value that is computed on first use."""
    return Cached().value


def work_and_log(times: int) -> None:
    """Work a little, then write a log record: handlers have a lock."""
    loop(times)
    LOG.info("done %s", times)


def through_queue(times: int) -> int:
    """Put into a queue and take from it."""
    box: queue.Queue[int] = queue.Queue()
    for number in range(times):
        box.put(number)
    return sum(box.get() for _ in range(times))


# Waits


def sleep_and_loop(seconds: float, times: int) -> int:
    """Wait, then compute."""
    time.sleep(seconds)
    return loop(times)


def http_get(wait_ms: int) -> bytes:
    """Get a page from a server in another process."""
    with urllib.request.urlopen(f"http://127.0.0.1:{os.environ[PORT]}/page?wait_ms={wait_ms}") as answer:
        found: bytes = answer.read()
    return found


def socket_pair() -> int:
    """Send to itself through a pair of sockets."""
    left, right = socket.socketpair()
    with closing(left), closing(right):
        left.sendall(b"x" * 1000)
        return len(right.recv(1000))


def child_that_waits() -> int:
    """Start a program that sleeps, and wait for it."""
    return subprocess.run(["sleep", "0.02"], check=True).returncode  # noqa: S607 - wherever it is


def child_that_computes() -> int:
    """Start a program that computes, and wait for it."""
    return subprocess.run([sys.executable, "-S", "-c", "sum(range(2_000_000))"], check=True).returncode


# Helper threads


def two_helpers() -> int:
    """Hash in two threads of its own."""
    with ThreadPoolExecutor(2) as pool:
        return len(list(pool.map(lambda _: hashlib.sha256(BYTES * 4).digest(), range(2))))


def helper_that_waits() -> None:
    """Start a thread that sleeps, and wait for it."""
    helper = threading.Thread(target=time.sleep, args=(0.005,))
    helper.start()
    helper.join()
