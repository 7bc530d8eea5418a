"""Messages about extension modules: which are loaded in a worker process, and which load in a subinterpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ListExtensions:
    """Asks a worker process, in which a test is set up, which extension modules are loaded there.

    ``forked`` is whether the worker is a fork of pytest's own process. If it is, the modules of psutil, which this
    package imports in that process, are left out. The answer is `ExtensionsListed`.
    """

    forked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TryExtensions:
    """Asks a worker process which extension modules load in a subinterpreter; the answer is `ExtensionsTried`.

    ``files`` maps the names of the modules to their files.
    """

    files: Mapping[str, str]


ExtensionQuestion = ListExtensions | TryExtensions


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionsListed:
    """The answer to `ListExtensions`: the loaded extension modules that are not of the standard library.

    ``files`` maps the names of the modules to their files.
    """

    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionsTried:
    """The answer to `TryExtensions`: which extension modules load in a subinterpreter.

    ``loads`` maps the name of a module to whether it loads. A module is left out if that could not be found out.
    """

    loads: Mapping[str, bool]


ExtensionAnswer = ExtensionsListed | ExtensionsTried
