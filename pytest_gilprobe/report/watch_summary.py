"""Draw what ``gilprobe watch`` saw of a running process: one line while it watches, and a summary at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.safe_text import encodable, safe_line
from pytest_gilprobe.model.scans import HoldingFunction
from pytest_gilprobe.report import holding_functions
from pytest_gilprobe.report.screen import INDENT, Page, table, text

_BARS: Final = " ▁▂▃▄▅▆▇█"
_PLAIN_BARS: Final = " .:-=+*#@"
_MOST_THREADS: Final = 30
_LIVE_COLUMNS: Final = 10
_MOST_LIVE: Final = 4
_MOST_FUNCTIONS: Final = 5


class Screen(TypedDict):
    """A terminal's ``width`` in columns and its ``encoding``: keyword arguments for functions that draw on it."""

    width: int
    encoding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedThread:
    """One thread of a watched process, with shares of the watched time; ``None`` means unknown.

    Attributes:
        tid: the thread's id; ``None`` if this record sums up threads that ended, or lived too short to be told apart.
        name: the thread's name.
        held: the share for which this thread held the GIL.
        cpu: the share for which it ran on a CPU.
        run_queue: the share for which it waited for a CPU.
        waiting: the share for which it waited for the GIL.
        off: the share for which it lived, but neither held the GIL nor waited for it.
    """

    tid: int | None
    name: str
    held: float | None
    cpu: float
    run_queue: float
    waiting: float | None
    off: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedProcess:
    """What was seen of the process ``pid`` in ``wall_s`` seconds.

    Attributes:
        held: share of the time for which any thread held the process's GIL; ``None`` if unknown.
        unwatched: why the GIL was not watched, or was watched at first only; ``None`` if it was watched to the end.
        curve: the GIL-held share, from 0 to 1, in each of several equal spans of the watched time, the earliest first;
            ``None`` for a span in which the GIL was not seen.
        cpu: CPU time of all threads, divided by ``wall_s``: 1 is one core.
        thread_count: how many threads were seen, including threads that ended.
        threads: the threads, sorted by how long each held the GIL, the longest first.
        functions: the functions that held the GIL for longest; empty if they are not known.
    """

    pid: int
    wall_s: float
    held: Estimate | None
    unwatched: str | None
    curve: tuple[float | None, ...]
    cpu: float
    thread_count: int
    threads: tuple[WatchedThread, ...]
    functions: tuple[HoldingFunction, ...] = ()

    @property
    def waiting(self) -> float:
        """Average number of threads that waited for the GIL at the same time."""
        return sum(thread.waiting or 0.0 for thread in self.threads)


def live_line(seen: WatchedProcess, *, width: int, encoding: str = "utf-8") -> str:
    """Draw one line on a process that is being watched, shorter than ``width`` columns.

    It begins with the totals: watched time, GIL-held share, CPU use and threads. As many details follow as fit: the
    GIL-held share over the last few spans of time as bars, the function that held the GIL for longest, and the threads
    that held it for longest. ``seen`` is what was seen so far. Characters that ``encoding`` lacks are replaced.
    """
    held = numbers.percent(seen.held.value if seen.held else None)
    waits = f"{numbers.count(seen.thread_count, 'thread')}, {seen.waiting:.1f} waiting"
    room = max(width - 1, 0)
    line = f"gilprobe: {seen.wall_s:.0f} s  GIL {held}  {_busy(seen)}  {waits}"[:room]
    page = Page(width=max(width, 40), encoding=encoding)
    places = (
        f"{numbers.percent(one.share.value)} of the held time in {safe_line(one.function)}:{one.line}"
        for one in seen.functions[:1]
    )
    for piece in (
        _bars(seen, encoding)[-_LIVE_COLUMNS:],
        *map(page.fit, places),
        *map(page.fit, map(_holds_and_waits, seen.threads[:_MOST_LIVE])),
    ):
        if piece and len(line) + len(piece) + 2 <= room:
            line += f"  {piece}"
    return line


def draw(seen: WatchedProcess, *, width: int = 80, encoding: str = "utf-8") -> str:
    """Draw the summary of a watched process as text of several lines.

    It has the totals in a sentence, the GIL-held share over time as bars, the functions that held the GIL for longest,
    and a table of threads; what is unknown is left out. ``width`` is the terminal's, in columns; less than 40 counts as
    40. Characters that ``encoding`` lacks are replaced.
    """
    page = Page(width=max(width, 40), encoding=encoding)
    lines = page.wrap(_headline(seen))
    if seen.unwatched:
        watched = "watched at first only" if seen.held else "not watched"
        lines += page.wrap(f"the GIL was {watched}: {safe_line(seen.unwatched)}")
    if any(point is not None for point in seen.curve):
        step = page.fit(numbers.seconds(seen.wall_s / len(seen.curve)))
        lines += [f"GIL held over time, {step} a column, from none to all:", _bars(seen, encoding)]
    for title, said in holding_functions.lists(seen.functions):
        lines += page.wrap(f"{title}:")
        lines += [part for line in said[:_MOST_FUNCTIONS] for part in page.wrap(line, INDENT)]
    drawn = "\n".join(lines) + "\n"
    rows = [_row(thread, page) for thread in seen.threads[:_MOST_THREADS]]
    if rows:
        drawn += "\n".join(page.wrap("threads (% of the watched time):")) + "\n"
        headers = ("thread", "GIL held", "waiting for it", "neither", "CPU", "run queue")
        drawn += text(table(headers, rows, [{}] * len(rows), page.width), color=False)
    if len(seen.threads) > _MOST_THREADS:
        drawn += f"and {len(seen.threads) - _MOST_THREADS} more threads\n"
    return drawn


def _headline(seen: WatchedProcess) -> str:
    held = "GIL not seen"
    if seen.held is not None:
        held = f"GIL held {numbers.percent(seen.held.value)} of the time ({numbers.share_span(seen.held)})"
    waits = f"{seen.waiting:.1f} of {numbers.count(seen.thread_count, 'thread')} waiting for the GIL on average"
    return f"gilprobe watch: process {seen.pid}, {numbers.seconds(seen.wall_s)}: {held}, {_busy(seen)}, {waits}"


def _holds_and_waits(thread: WatchedThread) -> str:
    shares = {"holds": thread.held, "waits": thread.waiting}
    told = ", ".join(f"{verb} {numbers.percent(share)}" for verb, share in shares.items() if share is not None)
    return f"{thread.tid} {safe_line(thread.name)} {told}" if told else ""


def _busy(seen: WatchedProcess) -> str:
    return f"CPU {numbers.percent(seen.cpu)} of one core"


def _bars(seen: WatchedProcess, encoding: str) -> str:
    bars = _BARS if encodable(_BARS, encoding) == _BARS else _PLAIN_BARS
    return "".join("?" if point is None else bars[round(point * (len(bars) - 1))] for point in seen.curve)


def _row(thread: WatchedThread, page: Page) -> tuple[str, ...]:
    name = safe_line(thread.name) if thread.tid is None else f"{thread.tid} {safe_line(thread.name)}"
    shares = (thread.held, thread.waiting, thread.off, thread.cpu, thread.run_queue)
    return (page.fit(name), *map(numbers.percent, shares))
