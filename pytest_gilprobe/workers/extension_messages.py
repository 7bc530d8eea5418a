"""The messages about extension modules: which of them a workload has loaded, and which load in a subinterpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ListExtensions:
    """List the extension modules that are loaded in the worker of an open test.

    ``forked`` is whether the worker is a fork of pytest's own process. If it is, the modules of psutil, which this
    package imports in that process, are left out.
    """

    forked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TryExtensions:
    """Find out which extension modules load in a subinterpreter; ``files`` maps their names to their files."""

    files: Mapping[str, str]


ExtensionQuestion = ListExtensions | TryExtensions


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionsListed:
    """The loaded extension modules that are not of the standard library; ``files`` maps their names to their files."""

    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionsTried:
    """Which extension modules load in a subinterpreter: ``loads`` maps their names to true or false.

    Modules of which that could not be found out are missing.
    """

    loads: Mapping[str, bool]


ExtensionAnswer = ExtensionsListed | ExtensionsTried
