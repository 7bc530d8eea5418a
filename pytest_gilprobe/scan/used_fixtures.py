"""Name those fixtures of a test that the user knows: the ones that the project defines or the test asks for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pytest

SITE_PACKAGES: Final = ("site-packages", "dist-packages")
"""The names of folders in which packages are installed."""
_INSTALLED: Final = tuple(f"{os.sep}{folder}{os.sep}" for folder in SITE_PACKAGES)
_MOST_WRAPPERS: Final = 8
"""Most decorators and partials of a fixture's function that are looked through."""


def names(item: pytest.Item) -> list[str]:
    """Return the names of the fixtures of test ``item`` that the project defines or the test itself asks for.

    Fixtures that a plugin adds for its own purposes (such as pytest-asyncio's runner) are left out. So are arguments
    whose values ``parametrize`` passes directly. pytest's private ``_fixtureinfo`` is read, as no public name tells
    which definition of a fixture a test gets.
    """
    given = {"request"}
    if hasattr(item, "callspec"):
        for mark in item.iter_markers("parametrize"):
            args = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
            indirect = mark.kwargs.get("indirect", next(iter(mark.args[2:]), False))
            args = [name.strip() for name in args.split(",")] if isinstance(args, str) else args
            given.update(() if indirect is True else set(args) - set(indirect or ()))
    info = getattr(item, "_fixtureinfo", None)
    asked, defined = {*getattr(info, "argnames", ())}, getattr(info, "name2fixturedefs", {})
    asked.update(name for mark in item.iter_markers("usefixtures") for name in mark.args)
    return [
        name
        for name in getattr(item, "fixturenames", ())
        if name not in given and (name in asked or _is_projects(defined.get(name)))
    ]


def _is_projects(definitions: Any) -> bool:
    """Return whether a fixture is defined in the project, by the project: no ``setup_method`` that pytest wraps."""
    if not definitions or definitions[-1].argname.startswith("_xunit_"):
        return False
    func: object = definitions[-1].func
    for _ in range(_MOST_WRAPPERS):
        func = getattr(func, "__wrapped__", None) or getattr(func, "func", None) or func
    file = getattr(getattr(func, "__code__", None), "co_filename", "")
    return not isinstance(file, str) or not any(folder in file for folder in _INSTALLED)
