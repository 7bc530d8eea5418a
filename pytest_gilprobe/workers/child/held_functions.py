"""Find the user's own functions that were seen to hold the GIL, by the files and function names in stacks."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.observe.source_code import is_own, short_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gilprobe.model.holders import HeldStack


def functions(held: Sequence[HeldStack]) -> Iterator[tuple[Any, Any]]:
    """Yield the user's own functions that appear in the stacks ``held``, each with its class or ``None``.

    ``held`` are call stacks of threads that held the GIL, each with its share of the time. Functions with the largest
    share come first. In place of a nested function comes the outermost function around it, whose source contains both.
    """
    shares: Counter[tuple[str, str]] = Counter()
    for stack in held:
        for file, name in {(one.file or "", one.function.partition(".<locals>")[0]) for one in stack.frames}:
            shares[file, name] += stack.share  # type: ignore[assignment]  # counts of a Counter may be shares
    modules = _own_modules() if shares else {}
    for (file, name), _ in shares.most_common():
        for module in modules.get(file, ()):
            found, owner = _named(module, name)
            if found is not None:
                yield found, owner
                break


def share_in(held: Sequence[HeldStack], file: str, lines: range) -> float | None:
    """Of the time that the GIL was held, return the share (0 to 1) in which code in ``lines`` of ``file`` held it.

    Code that these lines call counts, too. ``held`` are call stacks of threads that held the GIL, each with its share
    of that time. Return ``None`` if ``held`` is empty.
    """
    if not held:
        return None
    inside = (one.share for one in held if any(at.file == file and at.line in lines for at in one.frames))
    return min(1.0, sum(inside))


def _own_modules() -> dict[str, list[ModuleType]]:
    """Return the modules of the user's own, by the short names of their files."""
    found: dict[str, list[ModuleType]] = {}
    for module in list(sys.modules.values()):
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if isinstance(file, str) and is_own(file):
            found.setdefault(short_file(file), []).append(module)
    return found


def _named(module: ModuleType, name: str) -> tuple[Any, Any]:
    """Return what a qualified name stands for in a module, and the class that it is in; ``None`` if nothing."""
    found: Any = module
    owner: Any = None
    for part in name.split("."):
        owner = found if isinstance(found, type) else None
        found = inspect.getattr_static(found, part, None)
    return found, owner
