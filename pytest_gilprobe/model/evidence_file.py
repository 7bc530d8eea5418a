"""Write and read evidence files: gzip-compressed JSON lines, a header and then one line for each probed workload.

Each line is compressed by itself as soon as it is made, so that memory does not grow with the number of workloads: the
members of a gzip file may follow one another (RFC 1952, section 2.2). The conversion follows the fields of the records,
see `pytest_gilprobe.model.codec`. A node id may occur more than once, after a rerun: the last line counts.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NoReturn, TypeVar, cast

from pytest_gilprobe.model import codec, report_json
from pytest_gilprobe.model.codec import JsonObject, WrongError, in_one_line
from pytest_gilprobe.model.evidence import EVIDENCE_VERSION, EvidenceHeader, EvidenceRecord
from pytest_gilprobe.model.report import Report

FORMAT = "gilprobe-evidence"
"""The value of the key ``format`` in the first line of every evidence file."""
_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 16
_WHAT = "a file that --gilprobe-evidence has written"
_Decoded = TypeVar("_Decoded")


# Writing


class EvidenceSpool:
    """Collect compressed records in a temporary file without a name, and write the evidence file from it at the end.

    A record holds the raw readings of one workload's probe. Records are not buffered in memory, so that a forked child
    process cannot write them a second time. The temporary file vanishes when the process ends, in whatever way.
    """

    def __init__(self) -> None:
        """Open the temporary file. Raises `OSError` if there is no place for one."""
        self._file = cast("BinaryIO", tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - closed by `close`

    def keep(self, packed: bytes) -> None:
        """Add one record, compressed by `pack`, to the temporary file. Raises `OSError` if the disk is full."""
        self._file.write(packed)

    def write(self, path: str | os.PathLike[str], report: Report) -> None:
        """Write the records kept so far to ``path``, as the evidence file that belongs to ``report``.

        The file is replaced in one step: a reader finds the old content or the new content, never a part.

        Raises:
            ReportError: the operating system refused to write the file; the message contains the path.
        """
        report_json.write_pieces(path, self._pieces(header_of(report)))

    def close(self) -> None:
        """Remove the temporary file, and with it all records that were kept."""
        self._file.close()

    def _pieces(self, header: EvidenceHeader) -> Iterator[bytes]:
        yield pack_header(header)
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            yield piece
        self._file.seek(0, os.SEEK_END)


def write(path: str | os.PathLike[str], report: Report, records: Iterable[EvidenceRecord]) -> None:
    """Write ``records`` (raw readings of probes) to ``path``, as the evidence file that belongs to ``report``.

    The file is replaced in one step: a reader finds the old content or the new content, never a part.

    Raises:
        ReportError: a number in a record is not finite, or the operating system refused to write the file.
    """
    report_json.write_pieces(path, [pack_header(header_of(report)), *map(pack, records)])


def header_of(report: Report) -> EvidenceHeader:
    """Return the header of the evidence file that belongs to ``report``: the report's version, time and environment."""
    return EvidenceHeader(tool_version=report.tool_version, created=report.created, environment=report.environment)


def pack(record: EvidenceRecord) -> bytes:
    """Return one workload's record as a line of JSON, compressed by gzip.

    Raises:
        ReportError: a number in the record is not finite.
    """
    members = codec.plain(record)
    try:
        return _compressed(members)
    except ValueError:
        path, value = next(codec.not_finite(members))
        msg = f"{in_one_line(record.nodeid)}: {path}: found {value!r}, allowed: a finite number; it was not kept"
        raise report_json.ReportError(msg) from None


def pack_header(header: EvidenceHeader) -> bytes:
    """Return the first line of an evidence file: ``header`` as a line of JSON, compressed by gzip."""
    return _compressed(
        {
            "format": FORMAT,
            "version": EVIDENCE_VERSION,
            "tool": {"name": report_json.TOOL_NAME, "version": header.tool_version},
            "created": header.created,
            "environment": codec.plain(header.environment),
        }
    )


def _compressed(members: JsonObject) -> bytes:
    line = json.dumps(members, allow_nan=False, separators=(",", ":"))
    return gzip.compress(f"{line}\n".encode("ascii"), mtime=0)


# Reading


def read_header(path: str | os.PathLike[str]) -> EvidenceHeader:
    """Return the header of an evidence file, which says what made the file, when and on which machine.

    Raises:
        ReportError: the file cannot be read, is no evidence file, or has another version of the format.
    """
    source = os.fspath(path)
    number, line = next(_lines(source), (1, b""))
    return _located(source, number, _header, line)


def read_records(path: str | os.PathLike[str]) -> Iterator[EvidenceRecord]:
    """Check the header of an evidence file, then yield its records one by one, each with one workload's readings.

    Raises:
        ReportError: the file cannot be read, or a line holds a wrong value; the message is one line, such as
            ``e.jsonl.gz: line 3: measurement.rounds[1].batches: found "x", allowed: an object``.
    """
    source = os.fspath(path)
    for number, line in _lines(source):
        if number == 1:
            _located(source, number, _header, line)
        elif line.strip():
            yield _located(source, number, _record, line)


def _lines(source: str) -> Iterator[tuple[int, bytes]]:
    """Yield the numbered lines of a file, compressed or not."""
    number = 0
    try:
        with open(source, "rb") as raw:  # noqa: PTH123 - the source is shown as it was given
            start = raw.read(len(_MAGIC))
            raw.seek(0)
            stream: Any = gzip.GzipFile(fileobj=raw) if start == _MAGIC else io.BufferedReader(cast("Any", raw))
            for line in stream:
                number += 1
                yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        _refuse(f"{in_one_line(source)}: after line {number}: the file is damaged or not complete: {error}")
    except OSError as error:
        raise report_json.ReportError(report_json.os_error(source, "read", error)) from error


def _located(source: str, number: int, decode: Callable[[JsonObject], _Decoded], line: bytes) -> _Decoded:
    try:
        return decode(_parse(line))
    except WrongError as wrong:
        _refuse(": ".join(filter(None, [in_one_line(source), f"line {number}", wrong.where(), str(wrong)])))


def _parse(line: bytes) -> JsonObject:
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except (UnicodeDecodeError, RecursionError):
        msg = f"not JSON text, allowed: {_WHAT}"
        raise WrongError(msg) from None
    except json.JSONDecodeError as error:
        msg = f"column {error.colno}: not JSON: {error.msg}; allowed: {_WHAT}"
        raise WrongError(msg) from None
    except ValueError as error:  # a whole number with more digits than Python converts
        raise WrongError(in_one_line(error)) from None
    top: JsonObject = codec.decoder(dict)(value)
    return top


def _refuse_constant(name: str) -> NoReturn:
    msg = f"not JSON: found {name}, allowed: finite numbers and null"
    raise WrongError(msg)


def _header(top: JsonObject) -> EvidenceHeader:
    if top.get("format") != FORMAT:
        msg = f"format: found {codec.found(top.get('format'))}, allowed: {json.dumps(FORMAT)}, {_WHAT}"
        raise WrongError(msg)
    tool = top.get("tool")
    made_by = tool.get("version") if isinstance(tool, dict) else None
    version = top.get("version")
    if type(version) is not int or version != EVIDENCE_VERSION:
        is_newer = type(version) is int and version > EVIDENCE_VERSION
        newer = f"; made by a newer {report_json.TOOL_NAME} ({codec.found(made_by)}), upgrade to read it"
        msg = f"version: found {codec.found(version)}, allowed: {EVIDENCE_VERSION}{newer if is_newer else ''}"
        raise WrongError(msg)
    header: EvidenceHeader = codec.decoder(EvidenceHeader)({**top, "tool_version": made_by})
    return header


def _record(top: JsonObject) -> EvidenceRecord:
    record: EvidenceRecord = codec.decoder(EvidenceRecord)(top)
    if wrong := record.impossible():
        raise WrongError(wrong)
    return record


def _refuse(message: str) -> NoReturn:
    raise report_json.ReportError(message)
