"""Generate code that a user can paste to make calls in a process pool that gets its arrays in shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.report.call_source import GUARD, INDENT, program, source_of

if TYPE_CHECKING:
    from pytest_gilprobe.model.results import Callee

_IMPORTS = (
    "import pickle",
    "from concurrent.futures import ProcessPoolExecutor",
    "from itertools import accumulate, pairwise",
    "from multiprocessing.shared_memory import SharedMemory",
)
_TO_MEMORY = '''\
def to_shared_memory(value):
    """Copy the arrays in a value into shared memory; return what finds them there, which is small."""
    arrays = []
    rest = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
    parts = [array.raw() for array in arrays]
    ends = list(accumulate(map(len, parts), initial=0))
    memory = SharedMemory(create=True, size=max(1, ends[-1]))
    for part, (start, end) in zip(parts, pairwise(ends)):
        memory.buf[start:end] = part
    memory.close()
    return rest, memory.name, ends'''
_FROM_MEMORY = '''\
def from_shared_memory(found):
    """Return a copy of a value, and free the shared memory that it was in."""
    rest, name, ends = found
    memory = SharedMemory(name)
    parts = [bytearray(memory.buf[start:end]) for start, end in pairwise(ends)]
    memory.close()
    memory.unlink()
    return pickle.loads(rest, buffers=parts)'''
_IN_WORKER = '''\
def {run}(found):
    """Make one call in a worker, which uses the arrays where they are, in shared memory."""
    rest, name, ends = found
    memory = SharedMemory(name)
    parts = [memory.buf[start:end] for start, end in pairwise(ends)]
    result = to_shared_memory({call}(pickle.loads(rest, buffers=parts)))
    del parts
    memory.close()
    return result'''


def process_pool(callee: Callee, workers: int) -> list[str]:
    """Return the lines of a program that makes calls of ``callee`` in a `ProcessPoolExecutor` with shared memory.

    ``workers`` is the number of processes. All arrays in arguments and results go through shared memory, even those
    inside of tuples or objects: pickle's protocol 5 hands out their buffers separately. The main process creates the
    memory of all arguments before it starts the pool, so that all processes share one resource tracker (the process of
    `multiprocessing` that cleans up shared memory). The main process also frees all of the memory.
    """
    source = source_of(callee)
    call, run = f"{source.last_name}_batch", f"run_{source.last_name}"
    names = f"{source.names}," if len(source.variables) == 1 else source.names
    unpack = [f"{INDENT}{names} = arguments"] if source.variables else []
    one = [f"def {call}(arguments):", *unpack, f"{INDENT}return {source.name}({source.arguments})"]
    in_worker = _IN_WORKER.format(run=run, call=call)
    body = [
        GUARD,
        f"{INDENT}calls = [to_shared_memory(({names})) {source.for_each}]",
        f"{INDENT}with ProcessPoolExecutor(max_workers={workers}) as pool:",
        f"{INDENT * 2}results = [from_shared_memory(result) for result in pool.map({run}, calls)]",
        f"{INDENT}for _, name, _ in calls:",
        f"{INDENT * 2}SharedMemory(name).unlink()",
    ]
    helpers = [one, *(text.splitlines() for text in (_TO_MEMORY, _FROM_MEMORY, in_worker))]
    return program(_IMPORTS, source, helpers, body)
