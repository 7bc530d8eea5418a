"""Write the code that leaves an event loop free while a call runs elsewhere: in asyncio, or in trio.

Trio has no process pool of its own: its code has a thread wait for the result of a process pool of
`concurrent.futures`.
"""

from __future__ import annotations

import ast
from typing import Final, NamedTuple

from pytest_gilprobe.model.safe_text import safe_line

_LONGEST_CODE: Final = 70
"""Most characters of code that a sentence quotes."""


class LoopCode(NamedTuple):
    """The pieces of code, as text, that move a call out of the event loop of one library (asyncio or trio).

    Attributes:
        to_thread: the name of the function that makes a call in a thread, such as ``asyncio.to_thread``.
        by_pool: how to compute in a process pool, as the end of a sentence: ``by loop.run_in_executor``.
        give_way: the code that lets the loop run other tasks, such as ``await asyncio.sleep(0)``.
        in_thread: the code that makes a call in a thread, with ``...`` in place of a call that cannot be written out.
        in_process: the code that makes a call in a process, with ``...`` in place of a call that cannot be written out.
    """

    to_thread: str
    by_pool: str
    give_way: str
    in_thread: str
    in_process: str


ASYNCIO: Final = LoopCode(
    to_thread="asyncio.to_thread",
    by_pool="by loop.run_in_executor",
    give_way="await asyncio.sleep(0)",
    in_thread="await asyncio.to_thread(...)",
    in_process="await loop.run_in_executor(pool, ...)",
)
TRIO: Final = LoopCode(
    to_thread="trio.to_thread.run_sync",
    by_pool="by trio.to_thread.run_sync(pool.submit(...).result)",
    give_way="await trio.sleep(0)",
    in_thread="await trio.to_thread.run_sync(...)",
    in_process="await trio.to_thread.run_sync(pool.submit(...).result)",
)


def of(library: str | None) -> LoopCode:
    """Return the pieces of code that move a call out of an event loop of ``library``, ``asyncio`` or ``trio``.

    ``None`` counts as asyncio.
    """
    return TRIO if library == "trio" else ASYNCIO


def awaited(code: str, library: str | None, *, in_thread: bool) -> str:
    """Return code that makes a call outside of the event loop: ``await asyncio.to_thread(query, 1)`` for ``query(1)``.

    ``code`` is the source text of the call. ``library`` is that of the loop, ``asyncio`` or ``trio``; ``None`` counts
    as asyncio. The call is made in a thread if ``in_thread`` is true, else in a process. In the result, ``...`` stands
    for a call that is too long or cannot be moved as it is.
    """
    try:
        call = ast.parse(code, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    moved = of(library).in_thread if in_thread else of(library).in_process
    if not isinstance(call, ast.Call) or any(isinstance(one, ast.Await | ast.Yield) for one in ast.walk(call)):
        return moved
    if not in_thread and any(isinstance(one, ast.GeneratorExp | ast.Lambda | ast.Starred) for one in ast.walk(call)):
        return moved  # no process can be given these
    write = _in_trio if of(library) is TRIO else _in_asyncio
    written = f"await {write(call, in_thread=in_thread)}"
    return safe_line(written) if len(written) <= _LONGEST_CODE else moved


def _in_asyncio(call: ast.Call, *, in_thread: bool) -> str:
    if in_thread:
        return f"asyncio.to_thread({_handed(call)})"
    return f"loop.run_in_executor(pool, {_bound(call)})"


def _in_trio(call: ast.Call, *, in_thread: bool) -> str:
    if in_thread:
        return f"trio.to_thread.run_sync({_bound(call)})"
    return f"trio.to_thread.run_sync(pool.submit({_handed(call)}).result)"


def _handed(call: ast.Call) -> str:
    """Return a call's function and arguments, as they are given to what makes the call."""
    return ", ".join(ast.unparse(one) for one in (call.func, *call.args, *call.keywords))


def _bound(call: ast.Call) -> str:
    """Return the same where arguments cannot be given by name."""
    return f"functools.partial({_handed(call)})" if call.keywords else _handed(call)
