"""What it costs to move a call's data to another process: pickled, through a Pipe, through a Queue, by shared memory.

Measured inside one worker, a thread at each end: the system calls, the copies and the pickling are those between
two processes, and both ends let go of the GIL while they wait (``benchmarks/transfer.py`` holds this against two
real processes).
"""

from __future__ import annotations

import inspect
import multiprocessing
import pickle
import statistics
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any

from pytest_gilprobe import host
from pytest_gilprobe.model import Transfer
from pytest_gilprobe.workers import sharing
from pytest_gilprobe.workers.naming import Given, given_first, without_partials
from pytest_gilprobe.workers.protocol import Shipped

ROUNDS = 5
ENOUGH_S = 0.1
"""No further round of one measurement is begun after this: large data is measured once or twice."""
TOO_LONG_S = 1.0
"""Data that takes so long through a Pipe is not sent through a Queue as well."""
DEEPEST = 20
"""Levels down to which an object that cannot be pickled is looked for."""
CANNOT = "cannot be handed to a process"
_ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None))


def _found_by_name(func: object) -> bool:
    try:
        ForkingPickler.dumps(func)
    except Exception:  # noqa: BLE001 - whatever pickling raises
        return False
    return True


def _named(given: Given) -> dict[str, Any]:
    """Return the arguments by the names of the parameters that take them."""
    try:
        bound = inspect.signature(given.func).bind(*given.args, **given.kwargs).arguments
    except (TypeError, ValueError):
        return {f"argument_{at}": value for at, value in enumerate(given.args, 1)} | given.kwargs
    return dict(bound)


def measure(given: Given, result: object) -> Shipped:
    """Measure what one call's arguments and its result cost to move.

    The arguments are all that a pool must be handed: those inside a `functools.partial`, the object of a bound method,
    or one that is called itself. What cannot be moved is named in the answer's ``refused``.
    """
    given = without_partials(given)
    owner = given_first(given.func)
    payload = (owner, given.args, given.kwargs)
    there = _pickled(payload, _named(given) | ({"self": owner} if owner is not None else {}), "its argument")
    if isinstance(there, str):
        return Shipped(refused=there)
    back = _pickled(result, {"result": result}, "its")
    if isinstance(back, str):
        return Shipped(refused=back)
    return Shipped(transfer=_transfer(payload, result, (there, back)))


def _transfer(payload: Any, result: Any, sizes: tuple[int, int]) -> Transfer:
    empty_s = through_pipe(None).move_s
    given, got = through_pipe(payload), through_pipe(result)
    moving_s = sum(max(0.0, one.move_s - empty_s) for one in (given, got))
    both = sum(sizes)
    pipe_s = given.whole_s + got.whole_s
    arrays_there, arrays_back = sharing.arrays(payload), sharing.arrays(result)
    shared = (
        sharing.measure(arrays_there, arrays_back) if sharing.dominate((*arrays_there, *arrays_back), both) else None
    )
    return Transfer(
        argument_bytes=sizes[0],
        result_bytes=sizes[1],
        pipe_s=pipe_s,
        queue_s=through_queue(payload) + through_queue(result) if pipe_s < TOO_LONG_S else None,
        parent_s=given.dump_s + got.load_s + moving_s,
        worker_s=given.load_s + got.dump_s + moving_s,
        shared_parent_s=shared[0] if shared is not None else None,
        shared_worker_s=shared[1] if shared is not None else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """The seconds that one object takes through a pipe: pickled, sent and received, read again."""

    dump_s: float
    move_s: float
    load_s: float

    @property
    def whole_s(self) -> float:
        """From one end to the other."""
        return self.dump_s + self.move_s + self.load_s


def through_pipe(thing: Any) -> Passed:
    """Return the seconds that an object takes through a `multiprocessing.Pipe`, as in a pool that has been at work.

    Each round does what a pool does with a call, in its order: pickle, send, receive, read again, let go. Parts that
    are repeated by themselves find their memory still mapped, which a process that receives does not: of 10 MiB
    of bytes it maps and clears 28 MiB anew for every call, at 23 ms, where the parts by themselves add up to 9 ms.
    Raises what pickling raises.
    """
    receiving, sending = multiprocessing.Pipe(duplex=False)
    go, moments = threading.Semaphore(0), [0, 0]
    errors: list[Exception] = []

    def send() -> None:
        while go.acquire() and moments[0] >= 0:
            moments[0] = host.perf_counter_ns()
            try:
                pickled = ForkingPickler.dumps(thing)
            except Exception as error:  # noqa: BLE001 - whatever the user's classes raise
                errors.append(error.with_traceback(None))  # not with its frames: they hold buffers, in a ring
                sending.close()
                return
            moments[1] = host.perf_counter_ns()
            sending.send_bytes(pickled)

    def receive() -> tuple[float, float, float]:
        go.release()
        try:
            content = receiving.recv_bytes()
        except EOFError:
            raise errors.pop() from None
        received = host.perf_counter_ns()
        pickle.loads(content)  # noqa: S301 - pickled by the thread above
        read = host.perf_counter_ns()
        return (moments[1] - moments[0]) / 1e9, (received - moments[1]) / 1e9, (read - received) / 1e9

    thread = threading.Thread(target=send, name="gilprobe-sender", daemon=True)
    thread.start()
    try:
        first = receive()
        if sum(first) >= ENOUGH_S:
            dump_s, move_s, load_s = first
        else:
            if sum(first) < ENOUGH_S / ROUNDS:
                receive()  # the first ones pay for memory, and for what the allocator learns from them
            dump_s, move_s, load_s = _medians(receive)
        return Passed(dump_s=dump_s, move_s=move_s, load_s=load_s)
    finally:
        moments[0] = -1
        go.release()
        thread.join()
        receiving.close()
        sending.close()


def through_queue(thing: Any) -> float:
    """Return the seconds that an object takes through a `multiprocessing.Queue`, pickled and read again."""
    methods = multiprocessing.get_all_start_methods()
    queue: Any = multiprocessing.get_context("fork" if "fork" in methods else methods[0]).Queue()

    def pass_on() -> tuple[float]:
        started = host.perf_counter_ns()
        queue.put(thing)
        queue.get()
        return ((host.perf_counter_ns() - started) / 1e9,)

    try:
        queue.put(None)  # starts its feeder thread
        queue.get()
        return _medians(pass_on)[0]
    finally:
        queue.close()
        queue.join_thread()


def _medians(timed: Callable[[], tuple[float, ...]]) -> list[float]:
    """Return the median of each of the figures in a few measurements, of fewer if they are long."""
    found: list[tuple[float, ...]] = []
    while len(found) < ROUNDS and sum(map(sum, found)) < ENOUGH_S:
        found.append(timed())
    return [statistics.median(part) for part in zip(*found, strict=True)]


# What cannot be moved


def _pickled(thing: Any, named: dict[str, Any], whose: str) -> int | str:
    """Count the bytes that something takes pickled; say why it cannot be pickled or read again, and who is to blame."""
    try:
        pickled = ForkingPickler.dumps(thing)
    except Exception as error:  # noqa: BLE001 - whatever the user's classes raise
        path, culprit = to_blame(named)
        return f"{CANNOT}: {whose} {path} is {_a(culprit)}, which cannot be pickled ({_first_line(error)})"
    try:
        pickle.loads(pickled)  # noqa: S301 - pickled just above
    except Exception as error:  # noqa: BLE001 - whatever the user's classes raise
        return f"{CANNOT}: {whose} {' or '.join(named)} can be pickled but not read again ({_first_line(error)})"
    return pickled.nbytes


def to_blame(named: dict[str, Any]) -> tuple[str, object]:
    """Find the innermost object that cannot be pickled, and the path to it: ``session.pool[0].lock``."""
    path, thing = next(((name, value) for name, value in named.items() if not _found_by_name(value)), ("", named))
    for _ in range(DEEPEST):
        inner = next(((where, value) for where, value in _children(thing) if not _found_by_name(value)), None)
        if inner is None:
            break
        path, thing = path + inner[0], inner[1]
    return path, thing


def _children(thing: object) -> list[tuple[str, object]]:
    """List what an object holds, with the way to get there."""
    if isinstance(thing, _ATOMS):
        return []
    if isinstance(thing, dict):
        return [(f"[{key!r}]", value) for key, value in thing.items()] + [(f" key {key!r}", key) for key in thing]
    if isinstance(thing, list | tuple):
        return [(f"[{at}]", value) for at, value in enumerate(thing)]
    if isinstance(thing, set | frozenset):
        return [(" member", value) for value in thing]
    found = dict(getattr(thing, "__dict__", {})) if not isinstance(thing, type) else {}
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and hasattr(thing, name):
                found[name] = getattr(thing, name)
    return [(f".{name}", value) for name, value in found.items()]


def _a(thing: object) -> str:
    kind = type(thing)
    if inspect.isfunction(thing):
        return "a lambda" if thing.__name__ == "<lambda>" else f"the local function {thing.__qualname__}"
    module = "" if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}."
    name = f"{module}{kind.__qualname__}"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _first_line(error: BaseException) -> str:
    try:
        text = str(error).splitlines()
    except Exception:  # noqa: BLE001 - whatever pickling raises
        text = []
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
