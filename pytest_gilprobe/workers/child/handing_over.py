"""Measure the cost of handing a call's data to a subinterpreter, as `InterpreterPoolExecutor` does.

The executor calls the function by `concurrent.interpreters.Interpreter.call`, with the arguments in a tuple: CPython
pickles what it cannot share. Here this is timed in one thread, with the data and without any; the difference is the
cost.
"""

from __future__ import annotations

import pickle
import statistics
import sys
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.extension_imports import REFUSED
from pytest_gilprobe.model.results import Transfer
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers.child import transfer
from pytest_gilprobe.workers.naming import Given, given_first, without_partials
from pytest_gilprobe.workers.protocol import TransferMeasured

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 9
"""Largest number of times that handing over the same data is timed; the median counts. It is not timed again once the
timings have taken `ENOUGH_S` seconds in all."""
ENOUGH_S = 0.1
"""Seconds of timing in all after which handing over the same data is not timed again."""
CANNOT = "cannot be handed to a subinterpreter"

_kept: list[Any] = []


def take(*_: object) -> None:
    """Accept any arguments and do nothing with them: in a subinterpreter, this shows the cost of handing them over."""


def keep(thing: object) -> None:
    """Store ``thing``, in place of what was stored before, so that `give` returns it each time that it is called."""
    _kept[:] = [thing]


def give() -> object:
    """Return the object that `keep` stored last."""
    return _kept[0]


def apply(function: Callable[..., object], arguments: tuple[object, ...], named: dict[str, object]) -> object:
    """Return ``function(*arguments, **named)``.

    In a subinterpreter, this receives what `InterpreterPoolExecutor` hands over for a call: a function, a tuple and a
    dictionary.
    """
    return function(*arguments, **named)


def measure(given: Given, result: object) -> TransferMeasured:
    """Measure how many seconds it takes to hand the arguments of ``given`` to a subinterpreter, and ``result`` back.

    ``given`` is a call that returned ``result``. ``transfer`` of the returned record has the seconds, less those for a
    call without data. If the arguments or the result cannot be handed over, ``refused`` of the record says why instead.
    """
    from concurrent import interpreters  # type: ignore[attr-defined, unused-ignore] # noqa: PLC0415 - CPython 3.14

    given = without_partials(given)
    payload = (given_first(given.func), given.args, given.kwargs)
    interpreter = interpreters.create()
    try:
        interpreter.exec(f"import sys; sys.path[:] = {sys.path!r}")
        call = interpreter.call
        empty_s = _typical_s(lambda: call(apply, take, (), {}))
        there_s = _typical_s(lambda: call(apply, take, payload, {}))
        call(apply, keep, (result,), {})
        back_s = _typical_s(lambda: call(apply, give, (), {}))
    except Exception as error:  # noqa: BLE001 - whatever the user's classes raise, there or here
        return TransferMeasured(refused=f"{CANNOT}: {_cause(error)}")
    finally:
        interpreter.close()
    return TransferMeasured(
        transfer=_transfer(payload, result, max(0.0, there_s - empty_s), max(0.0, back_s - empty_s))
    )


def _transfer(payload: object, result: object, there_s: float, back_s: float) -> Transfer:
    """Split the cost between the two interpreters: the one that sends pickles, the other one reads."""
    (there_bytes, dump_s), (back_bytes, back_dump_s) = _pickled(payload), _pickled(result)
    dump_s = there_s / 2 if dump_s is None else min(dump_s, there_s)
    back_dump_s = back_s / 2 if back_dump_s is None else min(back_dump_s, back_s)
    return Transfer(
        argument_bytes=there_bytes,
        result_bytes=back_bytes,
        pipe_s=there_s + back_s,
        parent_s=dump_s + back_s - back_dump_s,
        worker_s=there_s - dump_s + back_dump_s,
    )


def _pickled(thing: object) -> tuple[int, float | None]:
    """Return how many bytes an object takes pickled, and the seconds to pickle it; 0 and ``None`` if it cannot be."""
    try:
        return len(pickle.dumps(thing)), _typical_s(lambda: pickle.dumps(thing))
    except Exception:  # noqa: BLE001 - a memoryview is shared, for example
        return 0, None


def _typical_s(action: Callable[[], object]) -> float:
    """Return the median time of an action over a few rounds, after one that does not count if it was short."""
    found = [_seconds(action)]
    if found[0] < ENOUGH_S / ROUNDS:
        found.clear()
    while len(found) < ROUNDS and sum(found) < ENOUGH_S:
        found.append(_seconds(action))
    return statistics.median(found)


def _seconds(action: Callable[[], object]) -> float:
    started_ns = clocks.perf_counter_ns()
    action()
    return (clocks.perf_counter_ns() - started_ns) / 1e9


def _cause(error: BaseException) -> str:
    """Return why something cannot be handed over; the module that does not load there, if that is why."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__ or following.__context__
    refused = REFUSED.search("\n".join(str(one) for one in chain))
    if refused is not None:
        return f"{refused[1]}, which it needs, does not load there"
    return transfer.first_line(chain[-1])
