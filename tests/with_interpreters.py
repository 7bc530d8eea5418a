"""The strategy of subinterpreters, and whether this Python has any with a GIL of their own."""

from __future__ import annotations

import sys
import sysconfig

import pytest

from pytest_gilprobe.strategies import interpreters
from pytest_gilprobe.strategies.registry import BUILT_IN

INTERPRETERS = BUILT_IN["interpreters"]
HAS_THEM = sys.version_info >= (3, 14) and not sysconfig.get_config_var("Py_GIL_DISABLED")
needs_them = pytest.mark.skipif(not HAS_THEM, reason=interpreters.NEEDED)
