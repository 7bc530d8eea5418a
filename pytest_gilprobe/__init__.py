"""Would threads help here, would processes, or neither, and is it the GIL? Names a user may import.

PYTEST_DONT_REWRITE: pytest rewrites the asserts of plugins and warns of what it finds imported already. A worker that
is not forked imports this package before it starts pytest, and where warnings are errors that would be its end.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_gilprobe.api import probe as probe

__version__ = "0.1.0"


class _Package(ModuleType):
    """Exports `probe` on first use, so that ``import pytest_gilprobe`` stays light.

    The room ``pytest_gilprobe.probe`` has the same name; importing it would put the module in the function's place.
    *Source:* The Python Language Reference, 3.3.2.1, "Customizing module attribute access".
    """

    @property
    def probe(self) -> Any:
        """Probe one function: `pytest_gilprobe.api.probe`."""
        from pytest_gilprobe.api import probe  # noqa: PLC0415 - see the class

        return probe

    @probe.setter
    def probe(self, module: ModuleType) -> None:
        """Take no notice of the import of the room."""


sys.modules[__name__].__class__ = _Package
