"""Write reports as JSON files; read such files and check their values, with errors that name the wrong key.

The conversion follows the fields of the records of `pytest_gilprobe.model`, see `pytest_gilprobe.model.codec`. Within
a schema version, unknown keys are ignored, and a missing key takes the default of its field if the field has one.
Reports of version 1 are read too, see `pytest_gilprobe.model.report_v1`.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pytest_gilprobe.model import codec, report_v1
from pytest_gilprobe.model.codec import JsonObject, WrongError, in_one_line
from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.report import SCHEMA_VERSION, Environment, Report, Shard
from pytest_gilprobe.model.results import WorkloadResult
from pytest_gilprobe.model.scans import Scan

TOOL_NAME = "pytest-gilprobe"
"""The value of the key ``tool.name`` in every report."""


class ReportError(GilprobeError):
    """Raised if a report cannot be read or written.

    The message is one line: the file, the path of the key, the value found, and the values allowed.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tool:
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    """What is read of a file."""

    schema_version: int
    tool: _Tool
    created: str
    environment: Environment
    workloads: tuple[WorkloadResult, ...]
    scan: Scan | None = None
    shards: tuple[Shard, ...] = ()


def to_json(report: Report) -> str:
    r"""Return a report as JSON text in ASCII, so that every node id survives any file encoding.

    Each record within a workload takes one line, so that a diff of two reports shows the changed records. Lone
    surrogates become ``\udXXX`` escapes, which `from_json` reads back.

    Raises:
        ReportError: a number in the report is not finite.
    """
    head: JsonObject = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": TOOL_NAME, "version": report.tool_version},
        "created": report.created,
        "environment": codec.plain(report.environment),
    }
    if report.scan is not None:
        head["scan"] = codec.plain(report.scan)
    if report.shards:
        head["shards"] = codec.plain(report.shards)
    try:
        lines = [f" {json.dumps(key)}: {_dumps(value)}," for key, value in head.items()]
        workloads = ",\n".join(",\n".join(_lines(workload)) + "}" for workload in report.workloads)
    except ValueError:
        _name_what_is_not_finite(report)
    return "\n".join(["{", *lines, f' "workloads": [\n{workloads}]}}', ""])


def from_json(text: str, source: str) -> Report:
    """Return the report that JSON text holds.

    Args:
        text: a report of schema version 1 or 2, such as `to_json` returns.
        source: the file's name, for error messages.

    Raises:
        ReportError: the text is not JSON, has another schema version, or holds a wrong value; the message is one
            line, such as ``a.json: workloads[3].strategies.serial.calls: found "x", allowed: a whole number``.
    """
    is_old = False
    try:
        top = _parse(text)
        is_old = _version(top) == report_v1.VERSION
        contents: _Contents = codec.decoder(_Contents)(report_v1.upgraded(top) if is_old else top)
    except WrongError as wrong:
        raise _located(wrong, source, is_old=is_old) from None
    return Report(
        tool_version=contents.tool.version,
        created=contents.created,
        environment=contents.environment,
        workloads=contents.workloads,
        scan=contents.scan,
        shards=contents.shards,
    )


def workload_to_json(workload: WorkloadResult) -> str:
    """Return one workload's result as one line of JSON in ASCII, to send it to another process.

    Raises:
        ReportError: a number in the workload's result is not finite.
    """
    try:
        return _dumps(codec.plain(workload))
    except ValueError:
        _name_what_is_not_finite(workload)


def workload_from_json(text: str, source: str) -> WorkloadResult:
    """Return the result that ``text`` holds, as `workload_to_json` wrote it.

    ``source`` says where the text comes from; error messages begin with it.

    Raises:
        ReportError: the text is not JSON or holds a wrong value.
    """
    try:
        workload: WorkloadResult = codec.decoder(WorkloadResult)(_parse(text))
    except WrongError as wrong:
        raise _located(wrong, source) from None
    return workload


def read(path: str | os.PathLike[str]) -> Report:
    """Read the report in a JSON file such as ``gilprobe.json``, and check its values.

    Raises:
        ReportError: the file cannot be read, or does not hold a valid report.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{in_one_line(path)}: byte {error.start} is not UTF-8, allowed: a JSON report in UTF-8"
        raise ReportError(msg) from None
    except (OSError, ValueError) as error:
        raise ReportError(os_error(path, "read", error)) from error
    return from_json(text, os.fspath(path))


def write_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Replace a text file in one step, so that a reader finds the old content or the new content, never a part.

    The text is written to a temporary file in the same folder, flushed to the disk, and renamed. It is in UTF-8; lone
    surrogates become escapes. A failure leaves no temporary file. Missing folders are created. A symbolic link is
    followed. A target that is not a regular file (a device, a pipe) is written to directly.

    Raises:
        ReportError: the operating system refused to write the file; the message contains the path.
    """
    write_pieces(path, [text.encode("utf-8", errors="backslashreplace")])


def write_pieces(path: str | os.PathLike[str], pieces: Iterable[bytes]) -> None:
    """Replace a file by the bytes of all ``pieces`` in order: a reader finds the old content or the new, never a part.

    The bytes are written to a temporary file in the same folder, which is then renamed. Missing folders are created. A
    target that is not a regular file (a device, a pipe) is written to directly.

    Raises:
        ReportError: the operating system refused to write the file; the message contains the path.
    """
    try:
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        if _is_special(target):
            with target.open("wb") as stream:
                stream.writelines(pieces)
        else:
            _replace(target, pieces)
    except (OSError, ValueError) as error:
        raise ReportError(os_error(path, "written", error)) from error


# Writing


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _lines(workload: WorkloadResult) -> Iterator[str]:
    """Write one workload: its plain values on the first line, then a line for each record and each strategy."""
    members = codec.plain(workload)
    scalars = {name: value for name, value in members.items() if not isinstance(value, dict)}
    yield f"  {_dumps(scalars)[:-1]}"
    for name, value in members.items():
        if name == "strategies":
            parts = ",\n".join(f"    {json.dumps(key)}: {_dumps(part)}" for key, part in value.items())
            yield f'   "{name}": {{\n{parts}}}'
        elif isinstance(value, dict):
            yield f'   "{name}": {_dumps(value)}'


def _name_what_is_not_finite(record: Report | WorkloadResult) -> NoReturn:
    """Find the number that JSON cannot hold: off the fast path, since it must not happen."""
    path, value = next(codec.not_finite(codec.plain(record)))
    msg = f"{path}: found {value!r}, allowed: a finite number; the report was not written"
    raise ReportError(msg)


# Reading


def _located(wrong: WrongError, source: str, *, is_old: bool = False) -> ReportError:
    where = report_v1.place(wrong.where()) if is_old else wrong.where()
    return ReportError(": ".join(filter(None, [in_one_line(source), where, str(wrong)])))


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
        msg = f"not a report: {in_one_line(error)}"
        raise WrongError(msg) from None
    top: JsonObject = codec.decoder(dict)(value)
    return top


def _refuse_constant(name: str) -> NoReturn:
    msg = f"not JSON: found {name}, allowed: finite numbers and null"
    raise WrongError(msg)


def _version(top: JsonObject) -> object:
    """Return the schema version, unless it is a number that cannot be read: then raise `WrongError`."""
    version = top.get("schema_version")
    if type(version) is int and version not in (report_v1.VERSION, SCHEMA_VERSION):
        tool = top.get("tool")
        made_by = codec.found(tool.get("version") if isinstance(tool, dict) else None)
        newer = f"; made by a newer {TOOL_NAME} ({made_by}), upgrade to read it" if version > SCHEMA_VERSION else ""
        msg = f"schema_version: found {codec.found(version)}, allowed: 1 or 2{newer}"
        raise WrongError(msg)
    return version


# Files


def _is_special(target: Path) -> bool:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _replace(target: Path, pieces: Iterable[bytes]) -> None:
    """Write the pieces beside ``target`` under the user's umask (`tempfile` would force 0600), then rename."""
    beside = target.with_name(f".{target.name[:40]}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        with os.fdopen(descriptor, "wb") as stream:
            stream.writelines(pieces)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def os_error(path: str | os.PathLike[str], verb: str, error: Exception) -> str:
    """Return one line for the user: the file at ``path`` cannot be read or written, and why.

    ``verb`` is ``read`` or ``written``; the reason is taken from ``error``.
    """
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{in_one_line(path)}: cannot be {verb}: {in_one_line(why)}"
