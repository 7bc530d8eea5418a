"""Which module switched the GIL on, in a free-threaded Python that had started without it."""

from __future__ import annotations

import re

_WARNING = re.compile(r"The global interpreter lock \(GIL\) has been enabled to load module '(?P<module>.+?)'")


class Culprits:
    """The modules that CPython has warned of, in order, each once."""

    def __init__(self, known: tuple[str, ...] = ()) -> None:
        """Begin with those that are known already."""
        self._names = dict.fromkeys(known)

    @property
    def names(self) -> tuple[str, ...]:
        """The modules named so far."""
        return tuple(self._names)

    def hear(self, warning: object) -> None:
        """Take a warning's text in, if it is the one that CPython gives when an extension makes it switch the GIL on.

        A filter that ignores the warning keeps the name from us; then the switch itself is still seen, without one.

        Source: ``_PyImport_CheckGILEnabled`` in CPython's ``import.c``, 3.13 to 3.15.
        """
        found = _WARNING.search(str(warning))
        if found is not None:
            self._names.setdefault(found["module"])
