"""Name the fixtures of a test that a reader of a scan knows: the project's own, and those that the test asks for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pytest

_INSTALLED: Final = tuple(f"{os.sep}{folder}{os.sep}" for folder in ("site-packages", "dist-packages"))


def names(item: pytest.Item) -> list[str]:
    """Name the fixtures of a test; what ``parametrize`` gives directly is an argument, no fixture.

    Fixtures that a plugin adds for its own purposes (such as pytest-asyncio's runner) are left out.
    Private access: ``_fixtureinfo``, as there is no public name for which definition of a fixture a test gets.
    """
    given = {"request"}
    if hasattr(item, "callspec"):
        for mark in item.iter_markers("parametrize"):
            args = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
            indirect = mark.kwargs.get("indirect", next(iter(mark.args[2:]), False))
            args = [name.strip() for name in args.split(",")] if isinstance(args, str) else args
            given.update(() if indirect is True else set(args) - set(indirect or ()))
    info = getattr(item, "_fixtureinfo", None)
    asked, defined = getattr(info, "argnames", ()), getattr(info, "name2fixturedefs", {})
    return [
        name
        for name in getattr(item, "fixturenames", ())
        if name not in given and (name in asked or _is_projects(defined.get(name)))
    ]


def _is_projects(definitions: Any) -> bool:
    """Return whether a fixture is defined in the project, by the project: no ``setup_method`` that pytest wraps."""
    if not definitions or definitions[-1].argname.startswith("_xunit_"):
        return False
    code = getattr(definitions[-1].func, "__code__", None)
    return code is not None and not any(folder in code.co_filename for folder in _INSTALLED)
