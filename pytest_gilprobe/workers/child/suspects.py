"""Find objects of modules and classes that a call locks or writes to: all threads share them, which may slow them down.

Source is read, not run: that of the called function, of the user's own functions that it calls, and of those that were
seen to hold the GIL. Functions are found if they are called by name, or as methods of a module's object, of the
function's own object or of its arguments. What is written through another name, or by native code, is not found.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import threading
from collections import deque
from itertools import islice
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gilprobe.model.sharing import Suspect
from pytest_gilprobe.observe.source_code import is_own, short_file
from pytest_gilprobe.workers.child import held_functions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FunctionType

    from pytest_gilprobe.model.holders import HeldStack

MOST_SUSPECTS = 3
"""Largest number of suspects (shared objects that are locked or written to) to report: a longer list is no hint."""
MOST_FUNCTIONS = 50
"""Largest number of functions whose source is read, which takes about a millisecond each."""
_WRITES = frozenset(
    [
        "acquire",
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "insert",
        "move_to_end",
        "pop",
        "popitem",
        "popleft",
        "put",
        "put_nowait",
        "remove",
        "setdefault",
        "sort",
        "update",
    ]
)
"""Methods of Python's own containers, queues and locks that change the object."""
_NO_OBJECT = type | type(ast) | type(len) | type(lambda: 0)


class _Used(NamedTuple):
    """A name, or an attribute of one, as a function's source has it, and the lines of its statement in that source."""

    name: str
    attribute: str | None
    line: int
    last_line: int


def suspects(
    called: Callable[..., Any], given: Mapping[str, Any] | None = None, held: Sequence[HeldStack] = ()
) -> tuple[Suspect, ...]:
    """Return the module-level and class-level objects that a call locks or writes to, at most `MOST_SUSPECTS`.

    Args:
        called: The function that is called.
        given: Its arguments, by the names of its parameters.
        held: Call stacks of threads that held the GIL during such calls. Objects that are used in lines that held it
            for longest come first.
    """
    waiting = deque([_Function.of(called, None, given)])
    in_stacks = islice(held_functions.functions(held), MOST_FUNCTIONS)
    waiting.extend(_Function.of(function, owner) for function, owner in in_stacks)
    seen: set[int] = set()
    found: dict[str, Suspect] = {}
    while waiting and len(seen) < MOST_FUNCTIONS:
        function = waiting.popleft()
        if function is None or id(function.plain.__code__) in seen:
            continue
        seen.add(id(function.plain.__code__))
        for one in function.suspects(held):
            if one.name not in found or (one.held_share or 0.0) > (found[one.name].held_share or 0.0):
                found[one.name] = one
        waiting.extend(function.callees())
    return tuple(sorted(found.values(), key=lambda one: -(one.held_share or 0.0))[:MOST_SUSPECTS])


class _Function:
    """A function of the user's own: what its source writes to, and what it calls."""

    def __init__(self, plain: FunctionType, owner: Any, tree: ast.AST, given: Mapping[str, Any]) -> None:
        self.plain = plain
        self._given = given
        self._owner = owner
        self._tree = tree
        code = plain.__code__
        rebound = {name for one in ast.walk(tree) if isinstance(one, ast.Global) for name in one.names}
        self._rebound = rebound
        self._local = _locals(code) - rebound
        self._self = code.co_varnames[0] if owner is not None and code.co_argcount else None

    @classmethod
    def of(cls, called: Any, owner: Any, given: Mapping[str, Any] | None = None) -> _Function | None:
        """Return the function behind a partial, a method or a decorator; ``None`` if its source is not the user's."""
        while isinstance(called, functools.partial):
            called = called.func
        if inspect.ismethod(called):
            owner, called = called.__self__, called.__func__
        try:
            plain = inspect.unwrap(called)
        except Exception:  # noqa: BLE001 - of a proxy that lets nobody ask for attributes
            return None
        if not inspect.isfunction(plain):
            call = inspect.getattr_static(type(called), "__call__", None)
            if isinstance(called, _NO_OBJECT) or not inspect.isfunction(call):
                return None
            owner, plain = called, call
        if not is_own(plain.__code__.co_filename):
            return None
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(plain)))
        except (OSError, TypeError, SyntaxError, ValueError):  # no source, a lambda within an expression
            return None
        return cls(plain, owner, tree, given or {})

    def suspects(self, held: Sequence[HeldStack]) -> Iterator[Suspect]:
        """Yield what this function locks or writes to, and caches of functions that it calls."""
        for used in self._written():
            value, name = self._value(used)
            if name is not None and (not _is_constant(value) or used.name in self._rebound):
                yield self._suspect(name, value, used, held)
        for used in self._called():
            value, name = self._value(used)
            if name is not None and _is_cache(value):
                yield self._suspect(name, value, used, held)

    def _suspect(self, name: str, value: Any, used: _Used, held: Sequence[HeldStack]) -> Suspect:
        code = self.plain.__code__
        file, before = short_file(code.co_filename), code.co_firstlineno - 1
        return Suspect(
            name=f"{name} ({_kind(value)})",
            file=file,
            line=before + used.line,
            held_share=held_functions.share_in(held, file, range(before + used.line, before + used.last_line + 1)),
        )

    def callees(self) -> Iterator[_Function | None]:
        """Yield the functions that this one calls by name, or as methods of objects that are known."""
        for used in self._called():
            known = self._object(used)
            if known is not None:
                yield _Function.of(inspect.getattr_static(type(known), used.attribute or "", None), known)
                continue
            value, name = self._value(used)
            if name is not None:
                is_method = used.name == self._self and not isinstance(value, staticmethod)
                yield _Function.of(value, self._owner if is_method else None)

    def _object(self, used: _Used) -> Any:
        """Return the object of a module, or the argument, whose method is called; ``None`` if there is none."""
        if used.attribute is None or used.name == self._self:
            return None
        is_local = used.name in self._local
        value = (self._given if is_local else self.plain.__globals__).get(used.name)
        return None if isinstance(value, type(ast) | type) else value

    def _value(self, used: _Used) -> tuple[Any, str | None]:
        """Return the shared object that a name stands for, and its name for the user; ``None`` if it is not shared."""
        if used.name == self._self and used.attribute is not None:
            return self._of_class(used.attribute)
        if used.name in self._local or used.name not in self.plain.__globals__:
            return None, None
        value = self.plain.__globals__[used.name]
        if isinstance(value, threading.local):  # each thread has its own
            return None, None
        space: Mapping[str, Any] = getattr(value, "__dict__", {})
        if used.attribute is not None and used.attribute in space:
            return space[used.attribute], f"{used.name}.{used.attribute}"
        is_space = used.attribute is not None and isinstance(value, type(ast) | type)
        return (None, None) if is_space else (value, used.name)

    def _of_class(self, attribute: str) -> tuple[Any, str | None]:
        """Return an attribute of a method's own class; ``None`` if it is the instance's own, of which copies tell."""
        kind = self._owner if isinstance(self._owner, type) else type(self._owner)
        missing = object()
        value = inspect.getattr_static(kind, attribute, missing)
        is_own = kind is not self._owner and attribute in getattr(self._owner, "__dict__", {})
        if value is missing or is_own or inspect.isdatadescriptor(value):  # in a slot, or behind a property
            return None, None
        return value, f"{kind.__name__}.{attribute}"

    def _written(self) -> Iterator[_Used]:
        for one in ast.walk(self._tree):
            match one:
                case ast.Subscript(value=base, ctx=ast.Store() | ast.Del()):
                    yield from _used(base)
                case ast.Attribute(value=base, ctx=ast.Store() | ast.Del()):
                    yield from _used(base)
                case ast.Name(id=name, ctx=ast.Store()) if name in self._rebound:
                    yield _Used(name, None, one.lineno, one.lineno)
                case ast.Call(func=ast.Attribute(value=base, attr=method)) if method in _WRITES and not self._is_read(
                    base, method
                ):
                    yield from _used(base)
                case ast.With(items=items) | ast.AsyncWith(items=items):
                    for each in items:
                        yield from _used(each.context_expr, one.end_lineno)

    def _is_read(self, base: ast.expr, method: str) -> bool:
        """Return whether a method's source is read itself: the user's own may not write, whatever its name."""
        known = self._object(_Used(base.id, method, 0, 0)) if isinstance(base, ast.Name) else None
        return known is not None and _Function.of(inspect.getattr_static(type(known), method, None), known) is not None

    def _called(self) -> Iterator[_Used]:
        for one in ast.walk(self._tree):
            if isinstance(one, ast.Call):
                yield from _used(one.func)


def _used(base: ast.expr, last_line: int | None = None) -> Iterator[_Used]:
    """Yield what an expression names, ``NAME`` or ``NAME.attribute``, in a statement that ends with ``last_line``."""
    last = last_line or base.end_lineno or base.lineno
    match base:
        case ast.Name(id=name):
            yield _Used(name, None, base.lineno, last)
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            yield _Used(name, attribute, base.lineno, last)


def _locals(code: CodeType) -> set[str]:
    """Return the names of variables of a function's own, and of functions, lambdas and comprehensions in it."""
    inner = (_locals(one) for one in code.co_consts if isinstance(one, CodeType))
    return {*code.co_varnames, *code.co_cellvars, *code.co_freevars}.union(*inner)


def _is_cache(value: Any) -> bool:
    return inspect.getattr_static(value, "cache_info", None) is not None


def _is_constant(value: Any) -> bool:
    return value is None or isinstance(value, str | bytes | int | float | complex | tuple | frozenset | _NO_OBJECT)


def _kind(value: Any) -> str:
    kind = "a cache" if _is_cache(value) else f"a {type(value).__qualname__}"
    return f"an {kind[2:]}" if kind[2].lower() in "aeiou" and kind.startswith("a ") else kind
