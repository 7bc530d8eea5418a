"""Run the command ``gilprobe`` with one of its subcommands: compare, merge, render, judge, run or watch."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_gilprobe import __version__
from pytest_gilprobe import cli_output as output
from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.errors import GilprobeError

if TYPE_CHECKING:
    from pytest_gilprobe.model.report import Report

OK = 0
WORSE = NO_CODE = 1
WRONG_INPUT = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand of ``gilprobe`` and return its exit status.

    The status is 2 after a `GilprobeError`, whose message is printed, and 130 after Ctrl-C.

    Args:
        argv: the arguments without the program's name; ``None`` takes the arguments of the process.
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
    """Return the parser of the command line of ``gilprobe``, with all its subcommands.

    In the parsed arguments, ``run`` is the function that carries out the subcommand.
    """
    parser = argparse.ArgumentParser(
        prog="gilprobe", description="Draw and compare reports: would threads help, would processes, or neither?"
    )
    parser.add_argument("--version", action="version", version=f"pytest-gilprobe {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_compare, _add_merge, _add_render, _add_judge, _add_run, _add_watch):
        add(commands)
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
    output.add_output(command)
    command.set_defaults(run=_compare)


def _add_merge(commands: Any) -> None:
    about = "Join JSON reports of parts of one suite into one report."
    command = commands.add_parser("merge", help="join the reports of shards", description=about)
    command.add_argument("reports", nargs="+", metavar="REPORT.json", help="a report, as gilprobe.json")
    command.add_argument("-o", "--output", metavar="FILE", help="write the JSON report to FILE, not standard output")
    command.set_defaults(run=_merge)


def _add_render(commands: Any) -> None:
    command = commands.add_parser(
        "render", help="draw a JSON report", description="Draw a JSON report for the terminal, as Markdown or as HTML."
    )
    command.add_argument("report", metavar="REPORT.json", help="a report, as gilprobe.json")
    command.add_argument("--advice", metavar="NODEID", help="print the code that follows from one workload's verdict")
    output.add_verbose(command)
    output.add_output(command, (*output.FORMATS, *output.STACK_FORMATS))
    command.set_defaults(run=_render)


def _add_judge(commands: Any) -> None:
    command = commands.add_parser(
        "judge",
        help="judge kept evidence again",
        description="Judge the raw readings in an evidence file again, by this version, and draw the report.",
    )
    command.add_argument("evidence", metavar="EVIDENCE", help="a file that --gilprobe-evidence has written")
    output.add_verbose(command)
    command.add_argument("--json", metavar="FILE", help="also write the report as JSON, to compare or render later")
    output.add_output(command)
    command.set_defaults(run=_judge)


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
    command.add_argument(
        "--fresh",
        metavar="MODULE:MAKE",
        help="a function that returns new arguments for each call, untimed: for calls that change them",
    )
    default = "(default: threads,processes; for coroutines tasks,processes)"
    command.add_argument("--strategies", metavar="LIST", help=f"strategies to try, with commas between {default}")
    command.add_argument(
        "--executor",
        action="append",
        default=[],
        metavar="NAME=MODULE:FACTORY",
        help="a concurrent.futures.Executor to try, made by FACTORY (can be repeated)",
    )
    command.add_argument(
        "--workers", default="auto", metavar="N", help="threads, tasks, processes to try (default: auto)"
    )
    command.add_argument("--max-time", default="5", metavar="S", help="seconds that the probe may take (default: 5)")
    command.add_argument(
        "--timeout", default="60", metavar="S", help="seconds after which a batch is killed (default: 60)"
    )
    command.add_argument(
        "--scale", nargs="?", const="auto", default="off", metavar="COUNTS", help="also for 1, 2, 4 ..."
    )
    command.add_argument("--start-method", metavar="M", help="how worker processes start (default: multiprocessing's)")
    output.add_verbose(command)
    command.add_argument("--json", metavar="FILE", help="also write the report as JSON, to compare or render later")
    command.add_argument("--evidence", metavar="FILE", help="also keep the raw readings, for gilprobe judge")
    output.add_output(command)
    command.set_defaults(run=_run)


def _add_watch(commands: Any) -> None:
    command = commands.add_parser(
        "watch",
        help="watch the GIL of any Python program",
        description="Watch a Python program's GIL from outside: who holds it, who waits for it, and how much of the "
        "time. The program is not changed, stopped or slowed. The summary goes to standard error.",
    )
    command.add_argument("--pid", type=int, help="watch a process that runs already, until it ends or Ctrl-C")
    command.add_argument("--for", dest="for_s", metavar="SECONDS", help="watch no longer than this")
    command.add_argument("program", nargs="*", metavar="COMMAND", help="after --: a program to start and its arguments")
    command.set_defaults(run=_watch)


def _watch(arguments: argparse.Namespace) -> int:
    from pytest_gilprobe.model import values  # noqa: PLC0415 a subcommand loads what it needs
    from pytest_gilprobe.scan import watch_command  # noqa: PLC0415

    if (arguments.pid is None) == (not arguments.program):
        msg = "watch takes either --pid PID or -- COMMAND..."
        raise GilprobeError(msg)
    for_s = None if arguments.for_s is None else values.check("--for", values.seconds, arguments.for_s)
    on_screen = sys.stderr.isatty()
    if arguments.pid is not None:
        return watch_command.watch_process(arguments.pid, live=on_screen, for_s=for_s)
    return watch_command.watch_program(arguments.program, live=on_screen, for_s=for_s)


def _compare(arguments: argparse.Namespace) -> int:
    from pytest_gilprobe.report.compare import compare  # noqa: PLC0415 a subcommand loads what it needs

    reports = [(path, report_json.read(path)) for path in arguments.reports]
    comparison = compare(reports)
    status = output.deliver(output.draw_comparison(comparison, arguments), arguments)
    return status if arguments.fail_on is None else _regressions(reports)


def _merge(arguments: argparse.Namespace) -> int:
    from pytest_gilprobe.report.merge import merge  # noqa: PLC0415 a subcommand loads what it needs

    joined = merge([(path, report_json.read(path)) for path in arguments.reports])
    return output.deliver(report_json.to_json(joined), arguments)


def _regressions(reports: Sequence[tuple[str, Report]]) -> int:
    """Say on standard error what got worse since the first report; 1 if anything did."""
    from pytest_gilprobe.verdict import baseline  # noqa: PLC0415 a subcommand loads what it needs

    (first, before), *others = reports
    status = OK
    for path, report in others:
        found = baseline.since(before, report)
        sys.stderr.writelines(f"{line}\n" for line, _ in baseline.lines(found, f"{first}: {path}"))
        status = WORSE if found.regressions else status
    return status


def _run(arguments: argparse.Namespace) -> int:
    from pytest_gilprobe.probing import run_command  # noqa: PLC0415 a subcommand loads what it needs

    found = run_command.probed(arguments)
    if arguments.evidence:
        found.write_evidence(arguments.evidence)
    return _finished(found.report, arguments)


def _judge(arguments: argparse.Namespace) -> int:
    from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: PLC0415 a subcommand loads what it needs
    from pytest_gilprobe.verdict import judge_again  # noqa: PLC0415

    return _finished(judge_again.report_again(arguments.evidence, BUILT_IN.get), arguments)


def _finished(report: Report, arguments: argparse.Namespace) -> int:
    """Write a new report as JSON, if that is asked for, and draw it."""
    if arguments.json:
        report_json.write_atomic(arguments.json, report_json.to_json(report))
    return output.deliver(output.draw(report, arguments), arguments)


def _render(arguments: argparse.Namespace) -> int:
    report = report_json.read(arguments.report)
    if arguments.advice is None:
        return output.deliver(output.draw(report, arguments), arguments)
    from pytest_gilprobe.report import snippets  # noqa: PLC0415 a subcommand loads what it needs
    from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: PLC0415

    advice = snippets.of(report, arguments.advice, BUILT_IN)
    return output.deliver(advice.text, arguments) or (OK if advice.is_code else NO_CODE)
