"""Find out which modules switched the GIL on in a free-threaded Python that had started without the GIL."""

from __future__ import annotations

import re

_WARNING = re.compile(r"The global interpreter lock \(GIL\) has been enabled to load module '(?P<module>.+?)'")


class SwitchedOnBy:
    """Collect the modules whose import switched the GIL on, from CPython's warnings."""

    def __init__(self, known: tuple[str, ...] = ()) -> None:
        """Start with the names of modules that are already known to have switched the GIL on."""
        self._names = dict.fromkeys(known)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the modules that switched the GIL on, each once, in the order of the warnings."""
        return tuple(self._names)

    def note(self, warning: object) -> None:
        """Add the module that ``warning`` says has switched the GIL on; ignore any other warning.

        If a warning filter hides that warning, the module stays unknown.

        *Source:* ``_PyImport_CheckGILEnabled`` in CPython's ``import.c``, 3.13 to 3.15.
        """
        found = _WARNING.search(str(warning))
        if found is not None:
            self._names.setdefault(found["module"])
