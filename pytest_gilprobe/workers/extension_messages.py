"""The messages about extension modules: which of them a workload has loaded, and which load in a subinterpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ListExtensions:
    """List the extension modules that are loaded in the worker of an open test.

    ``forked`` is whether the worker is a fork of pytest's own process, and so has what this package imports there.
    """

    forked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TryExtensions:
    """Find out which extension modules load in a subinterpreter; ``files`` has the modules' files by their names."""

    files: Mapping[str, str]


ExtensionQuestion = ListExtensions | TryExtensions


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionsListed:
    """The files of the loaded extension modules that are not of the standard library: ``files``, by module name."""

    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionsTried:
    """Whether each module loads: ``loads``, by module name. Modules of which that is unknown are left out."""

    loads: Mapping[str, bool]


ExtensionAnswer = ExtensionsListed | ExtensionsTried
