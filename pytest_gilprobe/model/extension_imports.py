"""The records of which extension modules loaded when a subinterpreter with a GIL of its own imported them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

REFUSED: Final = re.compile(r"module ([\w.]+) does not support loading in subinterpreters")
"""Matches what CPython's `ImportError` says of a module that refuses to load in a subinterpreter with a GIL of its own.
*Source:* ``Python/import.c`` and ``Objects/moduleobject.c``, 3.12 to 3.15."""
OF_AN_IMPORT: Final = re.compile(r"\b(ImportError|ModuleNotFoundError|NotShareableError)\b")
"""Matches the name of an error that Python code raises if a module that it needs did not load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionImport:
    """One import of an extension module (a module of native code) in a subinterpreter.

    ``name`` is the module's qualified name, ``loads`` is whether it loaded. ``imported_by`` is the file and line, such
    as ``app.py:3``, of the first code outside of the module's own package that asked for it; ``None`` if no Python code
    asked for it, or if it was imported only to find out whether it loads.
    """

    name: str
    loads: bool
    imported_by: str | None = None

    @property
    def package(self) -> str:
        """The name of the top-level package that the module belongs to."""
        return self.name.partition(".")[0]


def refusal_text(imports: Sequence[ExtensionImport], error: str) -> str | None:
    """Return a sentence that names the module whose failure to load caused ``error``, and the code that imported it.

    ``imports`` are the imports so far, and ``error`` is an error's text. The module is the one that ``error`` names as
    refusing to load. If it names none but contains the name of an import error, the module is the last one in
    ``imports`` that did not load. Return ``None`` if neither holds: ``error`` then seems to have another cause.
    """
    refused = {one.name: one for one in imports if not one.loads}
    named = REFUSED.findall(error)
    if named:
        alike = (
            one for one in refused.values() if f".{one.name}".endswith(f".{named[-1]}")
        )  # without its package, too
        found = next(alike, ExtensionImport(name=named[-1], loads=False))
    elif refused and OF_AN_IMPORT.search(error):
        found = list(refused.values())[-1]
    else:
        return None
    by = f" (imported by {found.imported_by})" if found.imported_by is not None else ""
    return f"{found.name}{by} does not load in a subinterpreter with a GIL of its own"


def joined(imports: Iterable[ExtensionImport], loads: Mapping[str, bool]) -> tuple[ExtensionImport, ...]:
    """Return the extension modules that the workload failed to import, then all others in ``loads``, each once.

    ``imports`` are the imports that the workload made; those that loaded are left out. ``loads`` has the modules that
    were imported one by one only to find out whether they load: it maps each name to whether the module loaded. Of
    these, the modules that did not load come first.
    """
    refused = {one.name: one for one in imports if not one.loads}
    others = {name: ExtensionImport(name=name, loads=fared) for name, fared in loads.items() if name not in refused}
    return (*refused.values(), *sorted(others.values(), key=lambda one: (one.loads, one.name)))


def others_text(table: Sequence[ExtensionImport], blamed: str) -> str:
    """Return a clause on whether other packages load, to append to a sentence on a module that does not load.

    ``table`` has all modules that were tried. ``blamed`` is the sentence, which begins with the name of the module that
    does not load. The result is such as ``; nor do modules of numpy``; it is empty if ``table`` has no module of
    another package.
    """
    package = blamed.split(maxsplit=1)[0].partition(".")[0]
    refused = list(dict.fromkeys(one.package for one in table if not one.loads and one.package != package))
    if refused:
        return f"; nor do modules of {', '.join(refused)}"
    return f"; it would work but for {package}" if any(one.loads and one.package != package for one in table) else ""


def package_lines(table: Sequence[ExtensionImport]) -> list[str]:
    """Return a line for each package, such as ``numpy: 3 of 20 extension modules do not load (imported by app.py:3)``.

    ``table`` has the modules that were tried, of all packages.
    """
    packages: dict[str, list[ExtensionImport]] = {}
    for one in table:
        packages.setdefault(one.package, []).append(one)
    return [_line(name, found) for name, found in packages.items()]


def _line(package: str, found: Sequence[ExtensionImport]) -> str:
    refused = [one for one in found if not one.loads]
    count = f"all {len(found)}" if len(found) > 1 else "its only"
    if not refused:
        return f"{package}: {count} extension module{'s load' if len(found) > 1 else ' loads'}"
    by = next((f" (imported by {one.imported_by})" for one in refused if one.imported_by is not None), "")
    if len(found) == 1:
        return f"{package}: its only extension module does not load{by}"
    return f"{package}: {len(refused)} of {len(found)} extension modules do not load{by}"
