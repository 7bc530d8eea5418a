"""Write source code that calls one function many times: its import, what the user must supply, variables and loops."""

from __future__ import annotations

import builtins
import keyword
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_gilprobe.model.results import Callee

EXAMPLE_CALLS = 100
"""Number of calls that generated code makes of a function without parameters; with parameters, the user's lists of
arguments set that number. If one task makes several calls, this is the number of tasks instead."""
INDENT = "    "
GUARD = 'if __name__ == "__main__":  # a new process may import this file'
"""Line of generated code above the code that starts a pool. A worker process or subinterpreter may import the file
again; this line keeps it from starting a pool of its own."""
_NAMES = frozenset(
    {"at", "batch", "batches", "call", "calls", "list", "pool", "range", "result", "results", "task", "tasks", "zip"}
    | {"asyncio", "free", "group", "len", "limited", "loop", "main", "pickle", "pairwise", "accumulate"}
    | {"to_shared_memory", "from_shared_memory", "name", "arguments"}
    | {"trio", "found", "nursery", "enumerate", "sorted", "partial"}
)
"""Names that generated code uses itself, so that no argument may have them."""
_STANDS_IN = "work"
"""Name that generated code gives to a function that the user must write, if no other name fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """How generated code names one argument of the function that it calls.

    For a parameter ``url``, ``name`` is the variable that holds the argument of one call: ``url``. ``given`` is what
    stands in the call: ``url``, or ``url=url`` if it is passed by keyword. ``many`` is the variable with the list of
    the arguments of all calls: ``url_list``.
    """

    name: str
    given: str
    many: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSource:
    """The parts of generated code that depend on the function to call, as source text.

    Attributes:
        name: the name by which the code calls the function, such as ``Client.get``.
        variables: the arguments of one call, in order.
        imports: the line that imports the function; empty if it is a builtin, or cannot be imported.
        notes: comment lines on what the user must supply; may be empty.
        stub: lines of a function definition that the user must complete; empty if none is needed.
    """

    name: str
    variables: tuple[Variable, ...]
    imports: tuple[str, ...]
    notes: tuple[str, ...]
    stub: tuple[str, ...]

    @property
    def last_name(self) -> str:
        """The last part of the function's dotted name: ``get`` of ``Client.get``."""
        return self.name.rpartition(".")[2]

    @property
    def arguments(self) -> str:
        """The arguments as they stand in one call, such as ``url, timeout=timeout``; empty if there are none."""
        return ", ".join(one.given for one in self.variables)

    @property
    def names(self) -> str:
        """The variables that hold one call's arguments, such as ``url, timeout``; empty if there are none."""
        return ", ".join(one.name for one in self.variables)

    @property
    def lists(self) -> str:
        """The variables with the lists of all calls' arguments, such as ``url_list, timeout_list``; empty if none."""
        return ", ".join(one.many for one in self.variables)

    @property
    def for_each(self) -> str:
        """The ``for`` clause of a comprehension that makes all calls, such as ``for url in url_list``."""
        if not self.variables:
            return f"for _ in range({EXAMPLE_CALLS})"
        return f"for {self.names} in {self.lists if len(self.variables) == 1 else f'zip({self.lists})'}"

    @property
    def numbered(self) -> str:
        """The head of a loop over all calls that numbers them from 0: ``for at, url in enumerate(url_list)``."""
        if not self.variables:
            return f"for at in range({EXAMPLE_CALLS})"
        if len(self.variables) == 1:
            return f"for at, {self.names} in enumerate({self.lists})"
        return f"for at, ({self.names}) in enumerate(zip({self.lists}))"

    @property
    def by_position(self) -> bool:
        """Whether every argument is passed by position, as an executor's ``map`` needs; false without arguments."""
        return bool(self.variables) and all(one.given == one.name for one in self.variables)

    def comprehension(self, submit: str = "") -> str:
        """Return the source of a list comprehension that calls the function once for each set of arguments.

        ``submit`` is the source of a function that makes the calls, such as ``pool.submit``: the comprehension then has
        ``pool.submit(fetch, url)`` instead of ``fetch(url)``.
        """
        if submit:
            return f"[{submit}({', '.join(filter(None, [self.name, self.arguments]))}) {self.for_each}]"
        return f"[{self.name}({self.arguments}) {self.for_each}]"


def source_of(callee: Callee) -> CallSource:
    """Return the parts of generated code that import, name and call ``callee``.

    A test function, a lambda or a nested function cannot be imported: instead of the import, there is a function
    definition that the user must complete.
    """
    if callee.is_test or not callee.importable:
        name = _free_name(callee)
        variables = _variables(callee.parameters, {name, f"{name}_batch", f"run_{name}", *_NAMES})
        stub = _stub(callee, name, variables)
        return CallSource(name=name, variables=variables, imports=(), notes=_supplied(variables), stub=stub)
    first, last = callee.name.partition(".")[0], callee.name.rpartition(".")[2]
    taken = {*callee.name.split("."), f"{last}_batch", f"run_{last}", *_NAMES}
    variables = _variables(callee.parameters, taken)
    imports: tuple[str, ...] = (f"from {callee.module} import {first}",)
    notes = _supplied(variables)
    if callee.module in {"__main__", "builtins"}:
        imports = ()
    if callee.module == "__main__":
        notes = (f"# you supply {first}: the script that was probed defines it", *notes)
    return CallSource(name=callee.name, variables=variables, imports=imports, notes=notes, stub=())


def is_source(callee: Callee) -> bool:
    """Return whether generated code can call ``callee``: the names that it needs are valid Python identifiers.

    Arguments that are passed by keyword must also follow all others and have different names. Users run the generated
    code, and its names come from a report file that anybody may have edited: this check keeps other code out.
    """
    names = [*callee.module.split("."), *(one.removesuffix("=") for one in callee.parameters)]
    if callee.importable and not callee.is_test:
        names += callee.name.split(".")
    by_name = [one for one in callee.parameters if one.endswith("=")]
    last = list(callee.parameters[len(callee.parameters) - len(by_name) :])
    return by_name == last and len(set(by_name)) == len(by_name) and all(_is_name(name) for name in names)


def program(
    standard: Iterable[str], source: CallSource, helpers: Iterable[Sequence[str]], body: Iterable[str]
) -> list[str]:
    """Return the lines of a whole program: imports, what the user supplies, definitions, and calls.

    Args:
        standard: lines that import what the calls need, such as ``import asyncio``.
        source: the function that the program calls.
        helpers: function definitions, each as a sequence of lines, that the program needs at its top level.
        body: the lines that make the calls.
    """
    blocks = [block for block in (list(standard), list(source.imports)) if block]
    imports = [line for at, block in enumerate(blocks) for line in (["", *block] if at else block)]
    known = [*imports, *([""] if imports and source.notes else []), *source.notes]
    defined = [list(block) for block in (source.stub, *helpers) if block]
    if not defined:
        return [*known, *([""] if known else []), *body]
    found = known
    for block in (*defined, list(body)):
        found = [*found, *(["", ""] if found else []), *block]
    return found


def _supplied(variables: tuple[Variable, ...]) -> tuple[str, ...]:
    """Return the line that says which variables the user must define."""
    if not variables:
        return ()
    many = ", ".join(one.many for one in variables)
    lists = "a list with the argument of each call" if len(variables) == 1 else "lists with the arguments of all calls"
    return (f"# you supply {many}: {lists}",)


def _stub(callee: Callee, name: str, variables: tuple[Variable, ...]) -> tuple[str, ...]:
    """Return a definition with nothing in it, that says what is to be put there."""
    positional = [one.name for one in variables if one.given == one.name]
    named = [one.given.partition("=")[0] for one in variables if one.given != one.name]
    taken = ", ".join([*positional, *(["*", *named] if named else [])])
    own = callee.name if all(map(_is_name, callee.name.split("."))) else "it"
    does = f"what {own} does" if callee.is_test or callee.name != "lambda" else "what the lambda returns"
    shared = "" if callee.is_test else "; a pool's processes find functions at the top level only"
    kind = "async def" if callee.awaited else "def"
    return (f"{kind} {name}({taken}):", f"{INDENT}...  # you supply {does}{shared}")


def _free_name(callee: Callee) -> str:
    """Return a name for a function that the user must write: that of the test without ``test``, or of the function."""
    name = callee.name.rpartition(".")[2]
    if callee.is_test:
        name = name.removeprefix("test").removesuffix("_test").strip("_")
    return name if _is_name(name) and name not in _NAMES and not hasattr(builtins, name) else _STANDS_IN


def _variables(parameters: Iterable[str], taken: set[str]) -> tuple[Variable, ...]:
    """Name variables after the parameters, but never as anything else that the shown code names."""
    found: list[Variable] = []
    for parameter in parameters:
        bare = parameter.rstrip("=")
        name = _untaken(bare, taken)
        many = _untaken(f"{bare.rstrip('_')}_list", taken | {name})
        taken = taken | {name, many}
        found.append(Variable(name=name, given=f"{bare}={name}" if parameter != bare else name, many=many))
    return tuple(found)


def _untaken(name: str, taken: set[str]) -> str:
    while name in taken or keyword.iskeyword(name):
        name += "_"
    return name


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)
