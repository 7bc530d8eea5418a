"""The options and the marker as declared, and nothing else: what every session pays for, marked tests or not.

An idle session must not be told from one without the plugin (``benchmarks/idle_cost.py``): so no import here beyond
pytest's own, no record that takes a `dataclass` to make (0.4 ms each), and each value is read and checked in
`pytest_gilprobe.config` only once something was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

MARKER = "gilprobe"
INSIDE_WORKER = "PYTEST_GILPROBE_WORKER"
"""Set in the environment of every worker, and so of all that it starts: no pytest session in there starts workers of
its own."""


class Option:
    """One option: its flag ``--gilprobe-NAME``, its ini key ``gilprobe_NAME``, and what kind of value it takes.

    ``reads`` names the reader in `pytest_gilprobe.config`; an option without a ``metavar`` is a switch.
    """

    __slots__ = ("default", "flag", "help", "ini", "metavar", "name", "reads")

    def __init__(self, name: str, *, reads: str, help: str, default: str = "", metavar: str | None = None) -> None:  # noqa: A002 - argparse's word
        """Derive flag and ini key from the name."""
        self.name = name
        self.flag = f"--gilprobe-{name}"
        self.ini = f"gilprobe_{name.replace('-', '_')}"
        self.reads = reads
        self.default = default
        self.metavar = metavar
        self.help = help

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return self.metavar is None


OPTIONS = (
    Option(
        "report",
        reads="switch",
        default="false",
        help="detailed terminal report, and gilprobe.json, gilprobe.md and gilprobe.html in the report folder",
    ),
    Option("report-dir", reads="folder", default="reports", metavar="DIR", help="the report folder (default: reports)"),
    Option("disable", reads="switch", default="false", help="run marked tests once, as if the plugin were absent"),
    Option("all", reads="switch", default="false", help="probe every collected test as if it were marked"),
    Option(
        "scan",
        reads="switch",
        default="false",
        help="no reruns: run the suite once and record wall, CPU and GIL-held share of every test",
    ),
    Option(
        "ab-gil",
        reads="switch",
        default="false",
        help="on a free-threaded build: probe everything with PYTHON_GIL=0 and again with PYTHON_GIL=1, and compare",
    ),
    Option(
        "workers",
        reads="workers",
        default="auto",
        metavar="N",
        help=(
            "threads and processes to try: a number from 2, or auto: usable CPUs, at least 2, at most 4 (default: auto)"
        ),
    ),
    Option(
        "max-time",
        reads="seconds",
        default="5",
        metavar="S",
        help="seconds that one probe may take; if not set, 10 where it contradicts what is expected (default: 5)",
    ),
    Option(
        "timeout",
        reads="seconds",
        default="60",
        metavar="S",
        help="seconds after which a batch of calls is killed and reported as hung (default: 60)",
    ),
    Option(
        "start-method",
        reads="start_method",
        metavar="M",
        help="how worker processes start: fork, forkserver or spawn (default: multiprocessing's)",
    ),
    Option(
        "fail-on",
        reads="fail_on",
        metavar="LIST",
        help="what makes a test, or the session, fail: of unsafe, hung, inconclusive, regression; with commas between",
    ),
    Option("baseline", reads="file", metavar="FILE", help="an earlier gilprobe.json to compare with"),
)

MARKER_HELP = (
    "gilprobe(workers='auto', max_time=5, strategies=('serial', 'threads', 'processes'), expect=None, "
    "expect_bound=None, "
    "min_speedup=None): after the test passed, rerun it serially, in threads and in processes, and say which to use."
)


def declare(parser: pytest.Parser) -> None:
    """Declare every option as a flag and as an ini key."""
    group = parser.getgroup("gilprobe", "would threads help, or processes, and is it the GIL?")
    for option in OPTIONS:
        how: dict[str, Any] = (
            {"action": "store_const", "const": "true"} if option.is_switch else {"metavar": option.metavar}
        )
        group.addoption(option.flag, dest=option.ini, default=None, help=option.help, **how)
        parser.addini(option.ini, f"{option.help}; as {option.flag}", type="string", default="")


def asked(config: pytest.Config) -> bool:
    """Tell whether any flag or ini key was given, be its value right or wrong."""
    return any(config.getoption(option.ini) is not None or config.getini(option.ini) for option in OPTIONS)


def marked(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """Give the items, in order, that carry the marker, or whose class or module does, or that ask for the fixture.

    As `pytest.Item.get_closest_marker` would, at a twentieth of its cost (0.1 us an item): neighbours mostly have one
    parent, which is asked once.
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
