"""Report to and from JSON: schema version, validation, errors with the key's path.

The mapping itself is read off the records of `pytest_gilprobe.model`, see `pytest_gilprobe.codec`. Forward
compatible within a schema version: unknown keys are ignored, and a missing key takes its field's default where it has
one.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any, NoReturn

from pytest_gilprobe import codec
from pytest_gilprobe.codec import WrongError, one_line
from pytest_gilprobe.model import SCHEMA_VERSION, Environment, GilprobeError, JsonObject, Report, Scan, WorkloadResult

TOOL_NAME = "pytest-gilprobe"
"""What ``tool.name`` says in every report."""


class ReportError(GilprobeError):
    """A report that cannot be read or written: one line with file, key path, what was found, what is allowed."""


def to_json(report: Report) -> str:
    r"""Write a report as JSON text, in ASCII, so that every node id survives any file encoding.

    One workload takes a handful of lines, one per record within it: a report under version control shows
    what changed. Lone surrogates come out as ``\udXXX`` escapes, which `from_json` reads back.

    Raises:
        ReportError: a number in the report is not finite.
    """
    head: JsonObject = {
        "schema_version": report.schema_version,
        "tool": {"name": TOOL_NAME, "version": report.tool_version},
        "created": report.created,
        "environment": codec.plain(report.environment),
    }
    try:
        lines = [f" {json.dumps(key)}: {_dumps(value)}," for key, value in head.items()]
        if report.scan is not None:
            lines.append(f' "scan": {_dumps(codec.plain(report.scan))},')
        workloads = ",\n".join(_workload_lines(workload) for workload in report.workloads)
    except ValueError:
        _name_what_is_not_finite(report)
    return "\n".join(["{", *lines, f' "workloads": [\n{workloads}]}}', ""])


def from_json(text: str, source: str) -> Report:
    """Read a report from JSON text.

    Args:
        text: what `to_json` wrote, or a report of the same schema version from elsewhere.
        source: the file's name, for error messages.

    Raises:
        ReportError: the text is not JSON, is of another schema version, or holds a wrong value; the message
            is one line, such as ``a.json: workloads[3].serial.calls: found "x", allowed: a whole number``.
    """
    try:
        return _report(_parse(text))
    except WrongError as wrong:
        raise _located(wrong, source) from None


def workload_to_json(workload: WorkloadResult) -> str:
    """Write one workload as JSON on one line of ASCII, as it stands in a report: what travels between processes.

    Raises:
        ReportError: a number in it is not finite.
    """
    try:
        return _dumps(codec.plain(workload))
    except ValueError:
        _name_what_is_not_finite(workload)


def workload_from_json(text: str, source: str) -> WorkloadResult:
    """Read one workload from what `workload_to_json` wrote; ``source`` names it in error messages.

    Raises:
        ReportError: as `from_json`.
    """
    try:
        workload: WorkloadResult = codec.decoder(WorkloadResult)(_parse(text))
    except WrongError as wrong:
        raise _located(wrong, source) from None
    return workload


def read(path: str | os.PathLike[str]) -> Report:
    """Read the report in a file; see `from_json`.

    Raises:
        ReportError: the file cannot be read, or does not hold a report.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{one_line(path)}: byte {error.start} is not UTF-8, allowed: a JSON report in UTF-8"
        raise ReportError(msg) from None
    except (OSError, ValueError) as error:
        raise ReportError(_os_error(path, "read", error)) from error
    return from_json(text, os.fspath(path))


def write_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file so that a reader finds the old content or the new, never a part of it.

    The text goes to a temporary file in the same folder (made if missing), is flushed to the disk, and takes
    the target's name in one step; on failure nothing is left behind. A target that is not a regular file (a
    device, a pipe) is written to instead of replaced; a symbolic link is followed. The encoding is UTF-8;
    lone surrogates are written as escapes.

    Raises:
        ReportError: the operating system refused; the message names the path.
    """
    content = text.encode("utf-8", errors="backslashreplace")
    try:
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        if _is_special(target):
            target.write_bytes(content)
        else:
            _replace(target, content)
    except (OSError, ValueError) as error:
        raise ReportError(_os_error(path, "written", error)) from error


# Writing


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _workload_lines(workload: WorkloadResult) -> str:
    """Write one workload: its plain values on the first line, then a line for each record."""
    members = codec.plain(workload)
    scalars = {name: value for name, value in members.items() if not isinstance(value, dict)}
    records = (f'   "{name}": {_dumps(value)}' for name, value in members.items() if isinstance(value, dict))
    return ",\n".join([f"  {_dumps(scalars)[:-1]}", *records]) + "}"


def _name_what_is_not_finite(record: Report | WorkloadResult) -> NoReturn:
    """Find the number that JSON cannot hold: off the fast path, since it must not happen."""
    path, value = next(codec.not_finite(codec.plain(record)))
    msg = f"{path}: found {value!r}, allowed: a finite number; the report was not written"
    raise ReportError(msg)


# Reading


def _located(wrong: WrongError, source: str) -> ReportError:
    return ReportError(": ".join(filter(None, [one_line(source), wrong.where(), str(wrong)])))


def _parse(text: str) -> JsonObject:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        msg = f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        raise WrongError(msg) from None
    except RecursionError:
        msg = "not a report: nested too deeply"
        raise WrongError(msg) from None
    except ValueError as error:  # a whole number with more digits than Python converts
        msg = f"not a report: {one_line(error)}"
        raise WrongError(msg) from None
    top: JsonObject = codec.decoder(dict)(value)
    return top


def _refuse_constant(name: str) -> NoReturn:
    msg = f"not JSON: found {name}, allowed: finite numbers and null"
    raise WrongError(msg)


def _report(top: JsonObject) -> Report:
    version: int = codec.member(top, "schema_version", int)
    tool: JsonObject = codec.member(top, "tool", dict)
    if version != SCHEMA_VERSION:
        made_by = codec.found(tool.get("version"))
        newer = f"; made by a newer {TOOL_NAME} ({made_by}), upgrade to read it" if version > SCHEMA_VERSION else ""
        msg = f"schema_version: found {codec.found(version)}, allowed: {SCHEMA_VERSION}{newer}"
        raise WrongError(msg)
    try:
        tool_version = codec.member(tool, "version", str)
    except WrongError as wrong:
        wrong.path.insert(0, "tool")
        raise
    return Report(
        schema_version=version,
        tool_version=tool_version,
        created=codec.member(top, "created", str),
        environment=codec.member(top, "environment", Environment),
        workloads=codec.member(top, "workloads", tuple[WorkloadResult, ...]),
        scan=codec.member(top, "scan", Scan | None) if "scan" in top else None,
    )


# Files


def _is_special(target: Path) -> bool:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _replace(target: Path, content: bytes) -> None:
    """Write ``content`` beside ``target`` under the user's umask (`tempfile` would force 0600), then rename."""
    beside = target.with_name(f".{target.name[:40]}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _os_error(path: str | os.PathLike[str], verb: str, error: Exception) -> str:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{one_line(os.fspath(path))}: cannot be {verb}: {one_line(why)}"
