"""Let another process read this process's memory, where Linux's Yama module forbids that even to a child."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

_YAMA: Final = Path("/proc/sys/kernel/yama/ptrace_scope")
_PR_SET_PTRACER: Final = 0x59616D61


def permit(pid: int) -> None:
    """Let process ``pid``, and no other, read this process's memory if Linux's Yama module forbids that.

    Never raises: if permission cannot be given, that process cannot read. *Source:*
    ``Documentation/admin-guide/LSM/Yama.rst`` of Linux.
    """
    try:
        restricted = _YAMA.read_text("ascii").strip() == "1"
    except OSError:
        return
    if restricted:
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import ctypes  # noqa: PLC0415 - absent where libffi is

            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(pid), 0, 0, 0)
