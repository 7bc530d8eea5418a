"""The command line, ``gilprobe`` or ``python -m pytest_gilprobe``: compare | render | run | watch."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gilprobe import __version__, serialize
from pytest_gilprobe.model import GilprobeError

if TYPE_CHECKING:
    from pytest_gilprobe.comparison import Comparison
    from pytest_gilprobe.model import Report

FORMATS = ("terminal", "markdown", "html")
_SUFFIXES = {".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html"}
OK = 0
WORSE = 1
WRONG_INPUT = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit status: 0, or 2 with one line on standard error when the input is wrong.

    Args:
        argv: the arguments without the program's name; ``None`` takes those of the process.
    """
    arguments = build_parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except GilprobeError as error:
        sys.stderr.write(f"gilprobe: error: {error}\n")
        return WRONG_INPUT
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def build_parser() -> argparse.ArgumentParser:
    """Declare the subcommands; each sets ``run`` to the function that serves it."""
    parser = argparse.ArgumentParser(
        prog="gilprobe", description="Draw and compare reports: would threads help, would processes, or neither?"
    )
    parser.add_argument("--version", action="version", version=f"pytest-gilprobe {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_compare(commands)
    _add_render(commands)
    _add_run(commands)
    _add_watch(commands)
    return parser


def _add_compare(commands: Any) -> None:
    command = commands.add_parser(
        "compare",
        help="set several JSON reports side by side",
        description="Set JSON reports side by side; the first is what the others are held against.",
    )
    command.add_argument("reports", nargs="+", metavar="REPORT.json", help="a report, as gilprobe.json")
    command.add_argument(
        "--fail-on", choices=["regression"], help="exit with status 1 if the intervals support that something got worse"
    )
    _add_output(command)
    command.set_defaults(run=_compare)


def _add_render(commands: Any) -> None:
    command = commands.add_parser(
        "render", help="draw a JSON report", description="Draw a JSON report for the terminal, as Markdown or as HTML."
    )
    command.add_argument("report", metavar="REPORT.json", help="a report, as gilprobe.json")
    command.add_argument("--advice", metavar="NODEID", help="print the code that follows from one workload's verdict")
    _add_output(command)
    command.set_defaults(run=_render)


def _add_run(commands: Any) -> None:
    command = commands.add_parser(
        "run", help="probe a function that has no test", description="Probe a function that has no test."
    )
    command.add_argument("function", metavar="MODULE:FUNCTION", help="what to call, such as shop.images:resize")
    command.add_argument(
        "--args-from",
        metavar="MODULE:FUNCTION",
        help="a function that returns the arguments: a tuple, a dict of named ones, or the only one",
    )
    command.add_argument("--workers", default="auto", metavar="N", help="threads and processes to try (default: auto)")
    command.add_argument("--max-time", default="5", metavar="S", help="seconds that the probe may take (default: 5)")
    command.add_argument(
        "--timeout", default="60", metavar="S", help="seconds after which a batch is killed (default: 60)"
    )
    command.add_argument("--start-method", metavar="M", help="how worker processes start (default: multiprocessing's)")
    command.add_argument("--json", metavar="FILE", help="also write the report as JSON, to compare or render later")
    _add_output(command)
    command.set_defaults(run=_run)


def _add_watch(commands: Any) -> None:
    command = commands.add_parser(
        "watch",
        help="watch the GIL of any Python program",
        description="Watch a Python program's GIL from outside: who holds it, who waits for it, and how much of the "
        "time. The program is not changed, stopped or slowed. The summary goes to standard error.",
    )
    command.add_argument("--pid", type=int, help="watch a process that runs already, until it ends or Ctrl-C")
    command.add_argument("--for", dest="for_s", type=float, metavar="SECONDS", help="watch no longer than this")
    command.add_argument("program", nargs="*", metavar="COMMAND", help="after --: a program to start and its arguments")
    command.set_defaults(run=_watch)


def _watch(arguments: argparse.Namespace) -> int:
    from pytest_gilprobe.scan import live  # noqa: PLC0415

    if (arguments.pid is None) == (not arguments.program):
        msg = "watch takes either --pid PID or -- COMMAND..."
        raise GilprobeError(msg)
    on_screen = sys.stderr.isatty()
    if arguments.pid is not None:
        return live.watch_process(arguments.pid, live=on_screen, for_s=arguments.for_s)
    return live.watch_command(arguments.program, live=on_screen, for_s=arguments.for_s)


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=FORMATS, help="default: by the suffix of FILE, else terminal")
    command.add_argument("-o", "--output", metavar="FILE", help="write to FILE instead of standard output")


def _compare(arguments: argparse.Namespace) -> int:
    from pytest_gilprobe.compare import compare  # noqa: PLC0415 a subcommand loads what it needs

    reports = [(path, serialize.read(path)) for path in arguments.reports]
    comparison = compare(reports)
    status = _deliver(_draw_comparison(comparison, arguments), arguments)
    return status if arguments.fail_on is None else _regressions(reports)


def _regressions(reports: Sequence[tuple[str, Report]]) -> int:
    """Say on standard error what got worse since the first report; 1 if anything did."""
    from pytest_gilprobe import baseline  # noqa: PLC0415 a subcommand loads what it needs

    (first, before), *others = reports
    status = OK
    for path, report in others:
        held = baseline.hold(report, before)
        sys.stderr.writelines(f"{line}\n" for line, _ in baseline.lines(held, f"{first}: {path}"))
        status = WORSE if held.regressions else status
    return status


def _run(arguments: argparse.Namespace) -> int:
    from pytest_gilprobe import api, named  # noqa: PLC0415 a subcommand loads what it needs

    sys.path[:0] = [""] if "" not in sys.path else []
    function = named.resolve(arguments.function)
    args, keywords = named.arguments_from(arguments.args_from) if arguments.args_from else ((), {})
    if callable(function):
        named.fit(arguments.function, function, args, keywords)
    found = api.probe(
        function,
        *args,
        gilprobe_workers=arguments.workers,
        gilprobe_max_time=arguments.max_time,
        gilprobe_timeout=arguments.timeout,
        gilprobe_start_method=arguments.start_method,
        **keywords,
    )
    if arguments.json:
        serialize.write_atomic(arguments.json, serialize.to_json(found.report))
    return _deliver(_draw(found.report, arguments), arguments)


def _render(arguments: argparse.Namespace) -> int:
    if arguments.advice is not None:
        from pytest_gilprobe import advice  # noqa: PLC0415 a subcommand loads what it needs

        return _deliver(advice.of(serialize.read(arguments.report), arguments.advice), arguments)
    return _deliver(_draw(serialize.read(arguments.report), arguments), arguments)


def _draw(report: Report, arguments: argparse.Namespace) -> str:
    from pytest_gilprobe.reporters import html, markdown, terminal  # noqa: PLC0415

    match _format(arguments):
        case "html":
            return html.draw(report)
        case "markdown":
            return markdown.draw(report, limit=None)
    if report.scan is not None:
        from pytest_gilprobe.reporters import scan_terminal  # noqa: PLC0415 - only a scan needs it

        return terminal.text(scan_terminal.draw(report, **_screen(arguments)), color=_color(arguments))
    return terminal.text(terminal.draw(report, **_screen(arguments)), color=_color(arguments))


def _draw_comparison(comparison: Comparison, arguments: argparse.Namespace) -> str:
    from pytest_gilprobe.reporters import html, markdown, terminal  # noqa: PLC0415

    match _format(arguments):
        case "html":
            return html.draw_comparison(comparison)
        case "markdown":
            return markdown.draw_comparison(comparison, limit=None)
    return terminal.text(terminal.draw_comparison(comparison, **_screen(arguments)), color=_color(arguments))


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


def _deliver(text: str, arguments: argparse.Namespace) -> int:
    text = f"{text.rstrip()}\n"
    if arguments.output:
        serialize.write_atomic(arguments.output, text)
    else:
        encoding = sys.stdout.encoding or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:  # HTML and Markdown both know character references
            text = text.encode("ascii", errors="xmlcharrefreplace").decode("ascii")
        sys.stdout.write(text)
    return OK
