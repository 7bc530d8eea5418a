"""Declare the options and the marker, and find the marked tests, at hardly any cost.

A session without probes must cost the same as one without the plugin (``benchmarks/idle_cost.py``). So this module
imports only modules that pytest has imported, makes no dataclass (0.4 ms each), and leaves reading and checking the
values to `pytest_gilprobe.plugin.config`, which is imported only if an option is set or a test is marked.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARKER = "gilprobe"


class Option:
    """One option: its flag ``--gilprobe-NAME``, its ini key ``gilprobe_NAME``, and the kind of its value.

    ``reads`` is the kind of value, such as ``seconds``, and a key of `pytest_gilprobe.plugin.config.READERS`; it is
    empty for a switch, whose flag takes no value. ``repeats`` is whether the flag may be given several times and the
    ini key may have several lines. ``help`` explains the option, and ``metavar`` stands for the value in that help.
    ``default`` is the default value as text, or ``None`` if there is none.
    """

    __slots__ = ("default", "flag", "help", "ini", "metavar", "name", "reads", "repeats")

    def __init__(  # noqa: PLR0913 - what an option can be, each by its keyword
        self,
        name: str,
        help: str,  # noqa: A002 - argparse's word
        *,
        reads: str = "",
        metavar: str = "",
        default: str | None = None,
        repeats: bool = False,
    ) -> None:
        """Derive the flag and the ini key from ``name``; ``help`` explains the option.

        ``reads`` is the kind of the value, such as ``seconds``, empty for a switch; ``metavar`` stands for the value in
        the help. ``default`` is the default value as text. ``repeats`` is whether the flag may be given several times.
        """
        self.repeats = repeats
        self.name = name
        self.flag = f"--gilprobe-{name}"
        self.ini = f"gilprobe_{name.replace('-', '_')}"
        self.reads = reads
        self.default = default if reads else "false"
        self.metavar = metavar
        self.help = help

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return not self.reads


OPTIONS = (
    Option(
        "report",
        "report with reasons (-v: all figures), and gilprobe.json, gilprobe.md and gilprobe.html in the report folder",
    ),
    Option("report-dir", "the report folder (default: reports)", reads="path", metavar="DIR", default="reports"),
    Option(
        "evidence",
        "keep the raw readings of every probe beside the report, in gilprobe-evidence.jsonl.gz, for gilprobe judge",
    ),
    Option("disable", "run marked tests once, as if the plugin were absent"),
    Option("all", "probe every collected test as if it were marked"),
    Option("scan", "no reruns: run the suite once and record wall, CPU and GIL-held share of every test"),
    Option(
        "ab-gil",
        "on a free-threaded build: probe everything with PYTHON_GIL=0 and again with PYTHON_GIL=1, and compare",
    ),
    Option(
        "strategies",
        "strategies to try, with commas between; serial always runs (default: serial,threads,processes; for coroutines "
        "serial,tasks,processes)",
        reads="strategies",
        metavar="LIST",
    ),
    Option(
        "executor",
        "an executor to try as the strategy executor:NAME; FACTORY takes nothing and returns a "
        "concurrent.futures.Executor or a context manager of one (can be repeated)",
        reads="executors",
        metavar="NAME=MODULE:FACTORY",
        repeats=True,
    ),
    Option(
        "workers",
        "threads, tasks, processes to try: 2 or more, or auto: usable CPUs, at least 2, at most 4 (default: auto)",
        reads="workers",
        metavar="N",
        default="auto",
    ),
    Option(
        "max-time",
        "seconds that one probe may take; if not set, 10 where it contradicts what is expected (default: 5)",
        reads="seconds",
        metavar="S",
        default="5",
    ),
    Option(
        "timeout",
        "seconds after which a batch of calls is killed and reported as hung (default: 60)",
        reads="seconds",
        metavar="S",
        default="60",
    ),
    Option(
        "scale",
        "measure throughput with 1, 2, 4 ... workers, as far as they gain, or with COUNTS such as 1,2,4,8: how many "
        "are enough, and what limits them",
        reads="scale",
        metavar="COUNTS",
    ),
    Option(
        "start-method",
        "how worker processes start: fork, forkserver or spawn (default: multiprocessing's)",
        reads="start_method",
        metavar="M",
    ),
    Option(
        "fail-on",
        "what makes a test, or the session, fail: of unsafe, hung, inconclusive, regression, gil-switched-on; with "
        "commas between",
        reads="fail_on",
        metavar="LIST",
    ),
    Option(
        "holders",
        "find out where in the code the GIL is held: on or off (default: on)",
        reads="on_or_off",
        metavar="SWITCH",
        default="on",
    ),
    Option("baseline", "an earlier gilprobe.json to compare with", reads="path", metavar="FILE"),
)

ALONE = {"scale": "auto"}
"""Values, by option name, of flags that are given without a value: ``--gilprobe-scale`` alone means ``auto``. The next
argument on the command line is the flag's value only if it is ``auto``, ``off``, or numbers with commas."""

MARKER_HELP = (
    "gilprobe(workers='auto', max_time=5, strategies=('serial', 'threads', 'processes'), expect=None, "
    "expect_bound=None, min_speedup=None, max_gil_held=None, max_gil_hold=None, max_loop_block=None, fresh=False, "
    "scale=False, scales_to=None): "
    "after the test passed, rerun it serially, in threads or tasks and in processes, and say which to use."
)


def declare(parser: pytest.Parser) -> None:
    """Declare every option of this plugin as a flag and as an ini key; the value is ``None`` if it is not set."""
    group = parser.getgroup("gilprobe", "would threads help, or processes, and is it the GIL?")
    for option in OPTIONS:
        how: dict[str, Any] = {"metavar": option.metavar} if option.reads else {"action": "store_const", "const": True}
        if option.repeats:
            how["action"] = "append"
        if option.name in ALONE:
            how |= {"nargs": "?", "const": ALONE[option.name]}
        group.addoption(option.flag, dest=option.ini, default=None, help=option.help, **how)
        kind: Any = "string" if option.reads else "bool"
        parser.addini(option.ini, f"{option.help}; as {option.flag}", type=kind, default=None)


def separate_paths(args: list[str]) -> None:
    """Change the command line ``args`` so that a path after a flag with an optional value is not taken for the value.

    The value that the flag means if it stands alone (see `ALONE`) is written behind the flag:
    ``--gilprobe-scale tests`` becomes ``--gilprobe-scale=auto tests``.
    """
    flags = {option.flag: ALONE[option.name] for option in OPTIONS if option.name in ALONE}
    for at, (argument, following) in enumerate(pairwise(args)):
        is_value = following in {"auto", "off"} or following.replace(",", "").isdecimal()
        if argument in flags and not is_value:
            args[at] = f"{argument}={flags[argument]}"


def ini_value(config: pytest.Config, option: Option) -> Any:
    """Return an option's value in the ini file; ``None`` if the ini key is not set or empty.

    The value is a text, or a bool if the option is a switch. Raises `pytest.UsageError` if it has another type.
    """
    try:
        found = config.getini(option.ini)
    except (TypeError, ValueError, pytest.UsageError) as error:
        allowed = "true or false" if option.is_switch else "text"
        msg = f"ini key {option.ini}: {error}; allowed: {allowed}"
        raise pytest.UsageError(msg) from None
    return None if found == "" else found


def asked(config: pytest.Config) -> bool:
    """Return whether any of this plugin's flags or ini keys is set."""
    return any(config.getoption(one.ini) is not None or ini_value(config, one) is not None for one in OPTIONS)


def marked(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield, in order, the items that carry the marker ``gilprobe``, inherit it, or request the fixture ``gilprobe``.

    Neighbouring items mostly have the same parent, whose markers are looked up only once. So this costs 0.1 us per
    item, a 20th of what `pytest.Item.get_closest_marker` costs.
    """
    parent: object = None
    inherits = False
    for item in items:
        if item.parent is not parent:
            parent = item.parent
            inherits = item.parent is not None and item.parent.get_closest_marker(MARKER) is not None
        if (
            inherits
            or (item.own_markers and any(mark.name == MARKER for mark in item.own_markers))
            or MARKER in getattr(item, "fixturenames", ())
        ):
            yield item
