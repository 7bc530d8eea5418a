"""Sum up error texts, such as tracebacks, in one line."""

from __future__ import annotations

import re

TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'^[\s|]*File ".*", line \d+')
_OF_PYTEST = re.compile(r"^E\s+(\S.*)")
_GROUP_MARGIN = re.compile(r"^\s*\| ")
_PHASE = re.compile(r"^(.*: )?(failed|skipped) in \w+: ")


def summary(text: str) -> str:
    r"""Sum up an error text in one line: the line that names the exception.

    If text stands before the traceback, the result begins with the first line of that text:

    >>> summary('a batch of 3 calls: Traceback (most recent call last):\n  File "a.py", line 1, in f\nOSError: no')
    'a batch of 3 calls: OSError: no'

    For an error text that pytest wrote, the result is the first line marked with ``E``. For any other text without a
    traceback, it is the first line; for a blank text, it is empty.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    frames = [at for at, line in enumerate(lines) if _FRAME.match(line)]
    if TRACEBACK in text and frames:
        lead = text.partition(TRACEBACK)[0].replace("+ Exception Group ", "").strip()
        return f"{lead.splitlines()[0] if lead else ''} {_exception(lines[frames[-1] + 1 :])}".strip()
    marked = next((found[1] for line in lines if (found := _OF_PYTEST.match(line))), None)
    if marked is not None:
        phase = _PHASE.match(lines[0])
        return f"{phase[0] if phase else ''}{marked}"
    return lines[0].replace(TRACEBACK, "").rstrip() or lines[-1].strip()


def _exception(after_frame: list[str]) -> str:
    """Return the line of the exception behind the last frame of a traceback: the first one that is not indented."""
    for line in after_frame:
        bare = _GROUP_MARGIN.sub("", line)
        if not bare[:1].isspace() and bare.strip("^~- "):
            return bare.strip()
    return after_frame[-1].strip() if after_frame else ""
