"""Write the result of a ``gilprobe`` subcommand as text: in the format, and to the file, that the arguments name."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model import report_json

if TYPE_CHECKING:
    from pytest_gilprobe.model.comparison import Comparison
    from pytest_gilprobe.model.report import Report

FORMATS = ("terminal", "markdown", "html")
STACK_FORMATS = ("collapsed", "speedscope", "firefox")
_SUFFIXES = {".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html"}


def add_output(command: argparse.ArgumentParser, formats: Sequence[str] = FORMATS) -> None:
    """Add the options ``--format`` and ``--output`` to ``command``, the parser of a subcommand.

    ``formats`` are the words that ``--format`` takes.
    """
    command.add_argument("--format", choices=formats, help="default: by the suffix of FILE, else terminal")
    command.add_argument("-o", "--output", metavar="FILE", help="write to FILE instead of standard output")


def add_verbose(command: argparse.ArgumentParser) -> None:
    """Add the option ``--verbose``, for the whole report on the terminal, to ``command``, a subcommand's parser."""
    command.add_argument("-v", "--verbose", action="store_true", help="show all figures and remarks on the terminal")


def draw(report: Report, arguments: argparse.Namespace) -> str:
    """Return ``report`` drawn as text, in the format that the parsed command line ``arguments`` ask for."""
    from pytest_gilprobe.report import firefox, html, markdown, stack_files  # noqa: PLC0415
    from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: PLC0415

    match _format(arguments):
        case "collapsed":
            return stack_files.collapsed(report)
        case "speedscope":
            return stack_files.speedscope(report)
        case "firefox":
            return firefox.draw(report)
        case "html":
            return html.draw(report, BUILT_IN)
        case "markdown":
            return markdown.draw(report, BUILT_IN, limit=None)
    return _on_terminal(report, arguments)


def _on_terminal(report: Report, arguments: argparse.Namespace) -> str:
    """Draw a scan's report, a whole report, or a short one with its heading."""
    from pytest_gilprobe.report import brief_terminal, scan_terminal, terminal  # noqa: PLC0415
    from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: PLC0415

    if report.scan is not None:
        return terminal.text(scan_terminal.draw(report, **_screen(arguments)), color=_color(arguments))
    if arguments.verbose:
        return terminal.text(terminal.draw(report, BUILT_IN, **_screen(arguments)), color=_color(arguments))
    short = brief_terminal.draw(report, BUILT_IN, **_screen(arguments))
    return f"{brief_terminal.title(report)}\n{terminal.text(short, color=_color(arguments))}"


def draw_comparison(comparison: Comparison, arguments: argparse.Namespace) -> str:
    """Return ``comparison`` drawn as text, in the format that the parsed command line ``arguments`` ask for."""
    from pytest_gilprobe.report import comparison_terminal, html, markdown, terminal  # noqa: PLC0415
    from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: PLC0415

    match _format(arguments):
        case "html":
            return html.draw_comparison(comparison, BUILT_IN)
        case "markdown":
            return markdown.draw_comparison(comparison, BUILT_IN, limit=None)
    drawn = comparison_terminal.draw(comparison, BUILT_IN, **_screen(arguments))
    return terminal.text(drawn, color=_color(arguments))


def _format(arguments: argparse.Namespace) -> str:
    if arguments.format:
        return str(arguments.format)
    return _SUFFIXES.get(Path(arguments.output or "").suffix.lower(), "terminal")


def _screen(arguments: argparse.Namespace) -> dict[str, Any]:
    encoding = "utf-8" if arguments.output else sys.stdout.encoding or "utf-8"
    return {"width": shutil.get_terminal_size().columns, "encoding": encoding}


def _color(arguments: argparse.Namespace) -> bool:
    """Decide by the NO_COLOR convention (https://no-color.org) and whether a person is looking."""
    return not arguments.output and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def deliver(text: str, arguments: argparse.Namespace) -> int:
    """Write ``text`` to the file named ``arguments.output``, or to standard output if that name is empty or ``None``.

    If standard output cannot encode ``text``, every character that is not ASCII is written as an XML character
    reference, such as ``&#8211;``. Returns 0, the exit status. Raises `ReportError` if the file cannot be written.
    """
    text = f"{text.rstrip()}\n"
    if arguments.output:
        report_json.write_atomic(arguments.output, text)
    else:
        encoding = sys.stdout.encoding or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:  # HTML and Markdown both know character references
            text = text.encode("ascii", errors="xmlcharrefreplace").decode("ascii")
        sys.stdout.write(text)
    return 0
