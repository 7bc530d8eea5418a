"""Have every Python that starts with this folder on its path behave as on a system that offers processes little.

No ``/proc`` and no ``/sys`` (but for psutil, which has other ways elsewhere), no fork, no signal when the parent ends,
no reading of memory, no CPUs to choose: what macOS and Windows lack, as far as Linux can pretend.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing import context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

REFUSED = "refused, as on another system"


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise what another system would, for an event that Python's audit hooks tell."""
    if event in {"open", "os.listdir", "os.scandir"}:
        if str(arguments[0]).startswith(("/proc", "/sys")) and not asked_by_psutil(sys._getframe(1)):
            raise FileNotFoundError(2, REFUSED, arguments[0])
    elif event in {"os.fork", "os.forkpty"}:
        raise OSError(REFUSED)
    elif event == "ctypes.dlsym" and arguments[1] in {"prctl", "process_vm_readv"}:
        raise AttributeError(REFUSED)


def asked_by_psutil(frame: FrameType | None) -> bool:
    """Tell whether one of the calling functions is psutil's."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("psutil"):
            return True
        frame = frame.f_back
    return False


for name in ("sched_getaffinity", "sched_setaffinity", "memfd_create", "pidfd_open"):
    if hasattr(os, name):
        delattr(os, name)
known: Any = context
known._default_context._default_context = known._concrete_contexts["spawn"]
known._concrete_contexts = {"spawn": known._concrete_contexts["spawn"]}
multiprocessing.get_all_start_methods = lambda: ["spawn"]
sys.addaudithook(refuse)
