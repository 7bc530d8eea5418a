"""Measure the cost of moving a call's data to another process: pickled through a pipe, or in shared memory.

The pipe is measured inside one worker process with a thread at each end: pickling, system calls and copies are the same
as between two processes, and both ends release the GIL while they wait (``benchmarks/transfer.py`` compares this with
two real processes).
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

from pytest_gilprobe.model.results import Transfer
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers.child import shared_memory
from pytest_gilprobe.workers.naming import Given, given_first, without_partials
from pytest_gilprobe.workers.protocol import TransferMeasured

ROUNDS = 5
ENOUGH_S = 0.1
"""Seconds of timing in all after which moving the same data is not timed again: large data is moved only once or
twice."""
DEEPEST = 20
"""Largest number of steps, each from an object to a part of it, in the search for the part that cannot be pickled."""
CANNOT = "cannot be passed to a process"
_ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None))


def measure(given: Given, result: object) -> TransferMeasured:
    """Measure the cost of moving the arguments of ``given`` to another process, and ``result`` back.

    If a part cannot be moved, ``refused`` of the returned record names it. The arguments include all objects that an
    executor must move: also the arguments inside a `functools.partial`, the object of a bound method, and a callable
    object.
    """
    given = without_partials(given)
    owner = given_first(given.func)
    payload = (owner, given.args, given.kwargs)
    there = _pickled_bytes(payload, _named(given) | ({"self": owner} if owner is not None else {}), "its argument")
    if isinstance(there, str):
        return TransferMeasured(refused=there)
    back = _pickled_bytes(result, {"result": result}, "its")
    if isinstance(back, str):
        return TransferMeasured(refused=back)
    return TransferMeasured(transfer=_transfer(payload, result, (there, back)))


def _named(given: Given) -> dict[str, Any]:
    """Return the arguments by the names of the parameters that take them."""
    try:
        bound = inspect.signature(given.func).bind(*given.args, **given.kwargs).arguments
    except (TypeError, ValueError):
        return {f"argument_{at}": value for at, value in enumerate(given.args, 1)} | given.kwargs
    return dict(bound)


def _transfer(payload: Any, result: Any, sizes: tuple[int, int]) -> Transfer:
    empty_s = through_pipe(None).move_s
    there, back = through_pipe(payload), through_pipe(result)
    moving_s = sum(max(0.0, one.move_s - empty_s) for one in (there, back))
    arrays = shared_memory.arrays(payload), shared_memory.arrays(result)
    shareable = shared_memory.dominate(arrays[0] + arrays[1], sum(sizes))
    shared = shared_memory.measure(*arrays) if shareable else None
    return Transfer(
        argument_bytes=sizes[0],
        result_bytes=sizes[1],
        pipe_s=there.whole_s + back.whole_s,
        parent_s=there.dump_s + back.load_s + moving_s,
        worker_s=there.load_s + back.dump_s + moving_s,
        shared_parent_s=shared[0] if shared is not None else None,
        shared_worker_s=shared[1] if shared is not None else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeTimes:
    """Seconds to move one object through a pipe.

    ``dump_s`` is the time to pickle it, ``move_s`` to send and receive it, and ``load_s`` to unpickle it.
    """

    dump_s: float
    move_s: float
    load_s: float

    @property
    def whole_s(self) -> float:
        """Seconds to pickle, send, receive and unpickle the object, together."""
        return self.dump_s + self.move_s + self.load_s


def through_pipe(thing: Any) -> PipeTimes:
    """Return the typical seconds to move an object through a `multiprocessing.Pipe`, as an executor does.

    All steps of an executor are repeated together, in order: pickle, send, receive, unpickle, and free the memory. A
    step that is repeated alone would be too quick: it would reuse memory, but a process that receives data must first
    map new memory. Exceptions of pickling and unpickling propagate.
    """
    receiving, sending = multiprocessing.Pipe(duplex=False)
    go, moments = threading.Semaphore(0), [0, 0]
    errors: list[Exception] = []

    def send() -> None:
        while go.acquire() and moments[0] >= 0:
            moments[0] = clocks.perf_counter_ns()
            try:
                pickled = ForkingPickler.dumps(thing)
            except Exception as error:  # noqa: BLE001 - whatever the user's classes raise
                errors.append(error.with_traceback(None))  # its frames refer to buffers, in a reference cycle
                sending.close()
                return
            moments[1] = clocks.perf_counter_ns()
            sending.send_bytes(pickled)

    def receive() -> tuple[float, float, float]:
        go.release()
        try:
            content = receiving.recv_bytes()
        except EOFError:
            raise errors.pop() from None
        received = clocks.perf_counter_ns()
        pickle.loads(content)  # noqa: S301 - pickled by the thread above
        read = clocks.perf_counter_ns()
        return (moments[1] - moments[0]) / 1e9, (received - moments[1]) / 1e9, (read - received) / 1e9

    thread = threading.Thread(target=send, name="gilprobe-sender", daemon=True)
    thread.start()
    try:
        dump_s, move_s, load_s = _typical(receive)
        return PipeTimes(dump_s=dump_s, move_s=move_s, load_s=load_s)
    finally:
        moments[0] = -1
        go.release()
        thread.join()
        receiving.close()
        sending.close()


def _typical(timed: Callable[[], tuple[float, float, float]]) -> list[float]:
    """Return the median of each figure over a few measurements; of fewer, or just the first, where they are long."""
    first = timed()
    if sum(first) >= ENOUGH_S:
        return list(first)
    if sum(first) < ENOUGH_S / ROUNDS:
        timed()  # the first ones pay for memory, and for what the allocator learns from them
    found: list[tuple[float, ...]] = []
    while len(found) < ROUNDS and sum(map(sum, found)) < ENOUGH_S:
        found.append(timed())
    return [statistics.median(part) for part in zip(*found, strict=True)]


# What cannot be moved


def _pickled_bytes(thing: Any, named: dict[str, Any], whose: str) -> int | str:
    """Return how many bytes an object takes pickled, or a text that says which part of it cannot be moved, and why."""
    try:
        pickled = ForkingPickler.dumps(thing)
    except Exception as error:  # noqa: BLE001 - whatever the user's classes raise
        path, part = unpicklable_part(named)
        return f"{CANNOT}: {whose} {path} is {_a(part)}, which cannot be pickled ({first_line(error)})"
    try:
        pickle.loads(pickled)  # noqa: S301 - pickled just above
    except Exception as error:  # noqa: BLE001 - whatever the user's classes raise
        return f"{CANNOT}: {whose} {' or '.join(named)} can be pickled but not read again ({first_line(error)})"
    return pickled.nbytes


def unpicklable_part(named: dict[str, Any]) -> tuple[str, object]:
    """Return the path, such as ``session.pool[0].lock``, to an innermost object that cannot be pickled, and the object.

    ``named`` has the objects to search, by the names with which paths begin. If all of them can be pickled, the result
    is an empty path and ``named``.
    """
    path, thing = next(((name, value) for name, value in named.items() if not _can_be_pickled(value)), ("", named))
    for _ in range(DEEPEST):
        inner = next(((where, value) for where, value in _parts(thing) if not _can_be_pickled(value)), None)
        if inner is None:
            break
        path, thing = path + inner[0], inner[1]
    return path, thing


def _can_be_pickled(thing: object) -> bool:
    try:
        ForkingPickler.dumps(thing)
    except Exception:  # noqa: BLE001 - whatever pickling raises
        return False
    return True


def _parts(thing: object) -> list[tuple[str, object]]:
    """List the objects inside an object, each with the path to it."""
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
    """Name the kind of an object, with its article."""
    kind = type(thing)
    if inspect.isfunction(thing):
        return "a lambda" if thing.__name__ == "<lambda>" else f"the local function {thing.__qualname__}"
    module = "" if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}."
    name = f"{module}{kind.__qualname__}"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def first_line(error: BaseException) -> str:
    """Return the type of an exception and the first line of its text; only the type if no text can be had."""
    try:
        text = str(error).splitlines()
    except Exception:  # noqa: BLE001 - whatever pickling raises
        text = []
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
