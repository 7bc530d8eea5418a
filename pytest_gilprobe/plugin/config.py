"""Read and check the plugin's options and the marker's keywords; make from both a plan for the probe of each test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import pytest

from pytest_gilprobe.model import values
from pytest_gilprobe.model.settings import Expectation, Plan
from pytest_gilprobe.model.words import EXECUTOR, SERIAL, FailOn
from pytest_gilprobe.plugin.options import OPTIONS, ini_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.plugin.options import Option
    from pytest_gilprobe.strategies.registry import Strategies

PROOF_TIMES = 2
"""A probe may take this many times its default time while it is undecided whether the test meets its marker's
expectations, or is worse than in the baseline (an earlier report). *Source:* ``benchmarks/gate_rates.py``."""


def _start_method(text: str) -> str:
    import multiprocessing  # noqa: PLC0415 - heavy, and rarely asked for

    return values.start_method(text, multiprocessing.get_all_start_methods())


READERS: dict[str, Callable[[Any], Any]] = {
    "path": values.path,
    "workers": values.workers,
    "seconds": values.seconds,
    "start_method": _start_method,
    "fail_on": values.fail_on,
    "strategies": values.listed_strategies,
    "executors": values.executors,
    "on_or_off": values.on_or_off,
    "scale": values.scale,
}
"""For each kind of option value (`pytest_gilprobe.plugin.options.Option.reads`), the function that checks an option's
text and returns the value."""
KEYWORDS = (
    "workers",
    "max_time",
    "strategies",
    "expect",
    "expect_bound",
    "min_speedup",
    "max_gil_held",
    "max_gil_hold",
    "max_loop_block",
    "fresh",
    "scale",
    "scales_to",
)
"""The keywords of the marker ``gilprobe``, in the same order as the functions by which `read_marks` checks them."""
STRATEGIES = pytest.StashKey["Strategies"]()
"""Key under which ``config.stash`` keeps the session's strategies (ways to run calls), from their first use on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Values of all options of this plugin in one session, from flags, ini file and defaults.

    Fields are named after options, such as ``max_time_s`` (seconds) after ``max-time``; ``probe_all`` is the option
    ``all``. Paths are absolute. ``None`` stands for a number chosen later (``workers``), the default
    (``start_method``, ``strategies``), no earlier report to compare with (``baseline``), or no curve of throughput by
    number of workers (``scale``). An empty ``scale`` stands for a curve whose numbers of workers are chosen later. The
    names in ``strategies`` are not checked yet.

    A probe may take ``max_time_s``, or ``proof_time_s`` while it is undecided whether the test meets its marker's
    expectations or is worse than in the baseline; both are the same if the user set ``max-time``. ``changed`` lists the
    options that differ from their defaults: ``name=value``, or ``name`` alone if the flag takes no value.
    """

    report: bool
    report_dir: Path
    evidence: bool
    disable: bool
    probe_all: bool
    scan: bool
    ab_gil: bool
    strategies: tuple[str, ...] | None
    executors: tuple[str, ...]
    workers: int | None
    max_time_s: float
    proof_time_s: float
    timeout_s: float
    start_method: str | None
    scale: tuple[int, ...] | None
    fail_on: frozenset[FailOn]
    baseline: Path | None
    holders: bool
    changed: tuple[str, ...]

    @classmethod
    def from_pytest(cls, config: pytest.Config) -> Settings:
        """Return a session's settings: for each option the flag wins over the ini key, the ini key over the default.

        Raises `pytest.UsageError` for an invalid value; the message has the flag or ini key, the value and what is
        allowed.
        """
        given = {option.name: found for option in OPTIONS if (found := _given(config, option)) is not None}
        read = {option.name: _read(option, given.get(option.name), config) for option in OPTIONS}
        return cls(
            report=read["report"],
            report_dir=read["report-dir"],
            evidence=read["evidence"],
            disable=read["disable"],
            probe_all=read["all"],
            scan=read["scan"],
            ab_gil=read["ab-gil"],
            strategies=read["strategies"],
            executors=read["executor"] or (),
            workers=read["workers"],
            max_time_s=read["max-time"],
            proof_time_s=read["max-time"] * (1 if "max-time" in given else PROOF_TIMES),
            timeout_s=read["timeout"],
            start_method=read["start-method"],
            scale=read["scale"],
            fail_on=read["fail-on"] or frozenset(),
            baseline=read["baseline"],
            holders=read["holders"],
            changed=tuple(
                option.name if option.is_switch else f"{option.name}={_shown(given[option.name].value)}"
                for option in OPTIONS
                if option.name in given and given[option.name].value not in (False, option.default)
            ),
        )


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


class _Given(NamedTuple):
    """The value of an option, the flag or ini key that it was given by, and the folder that a path starts from."""

    value: Any
    where: str
    folder: Path


def _given(config: pytest.Config, option: Option) -> _Given | None:
    flag = config.getoption(option.ini)
    if flag is not None:
        return _Given(flag, option.flag, config.invocation_params.dir)
    ini = ini_value(config, option)
    if ini is None:
        return None
    if option.repeats:
        ini = [line.strip() for line in ini.splitlines() if line.strip()]
    folder = config.invocation_params.dir if config.inipath is None else config.inipath.parent
    return _Given(ini, f"ini key {option.ini}", folder)


def _read(option: Option, given: _Given | None, config: pytest.Config) -> Any:
    """Read an option's value, or else its default; None where it has none."""
    if option.is_switch:
        return given is not None and given.value
    if given is None:
        given = _Given(option.default, option.flag, config.invocation_params.dir)
    if given.value is None:
        return None
    try:
        value = READERS[option.reads](given.value)
    except values.RefusedError as allowed:
        refuse(f"{given.where}: found {given.value!r}, allowed: {allowed}")
    return given.folder / value if isinstance(value, Path) else value


def strategies_of(config: pytest.Config) -> Strategies:
    """Return the session's strategies (ways to run calls): built-in ones, and those of plugins and conftest files.

    Raises `pytest.UsageError` if a strategy is invalid or conflicts with another, such as by an equal name.
    """
    from pytest_gilprobe.strategies.registry import Strategies, StrategyError  # noqa: PLC0415 - a scan needs none of it

    if STRATEGIES not in config.stash:
        found = config.hook.pytest_gilprobe_strategies(config=config)
        try:
            config.stash[STRATEGIES] = Strategies(
                one for some in found for one in (some if isinstance(some, Sequence) else (some,))
            )
        except StrategyError as error:
            refuse(str(error))
    return config.stash[STRATEGIES]


def read_marks(nodeid: str, marks: Iterable[pytest.Mark], names: Iterable[str]) -> dict[str, Any]:
    """Check the keywords of one test's ``gilprobe`` marks, and return their values by keyword.

    ``marks`` begin with the mark closest to the test; if several set a keyword, the closest wins. ``names`` are the
    strategies that keywords may name. Raises `pytest.UsageError` for a positional argument, an unknown keyword or an
    invalid value; the message has ``nodeid``, what was found and what is allowed.
    """
    among = partial(values.strategies, names=tuple(names))
    readers: tuple[Callable[[Any], Any], ...] = (
        values.workers,
        values.seconds,
        among,
        among,
        values.bound,
        values.factor,
        values.share,
        values.seconds,
        values.seconds,
        values.switch,
        values.scale,
        values.scales_to,
    )
    read = dict(zip(KEYWORDS, readers, strict=True))
    merged: dict[str, Any] = {}
    for mark in marks:
        if mark.args:
            refuse(
                f"{nodeid}: @pytest.mark.gilprobe takes keywords only, found {mark.args!r}, "
                f"allowed: {', '.join(KEYWORDS)}"
            )
        for keyword, value in mark.kwargs.items():
            if keyword not in read:
                refuse(f"{nodeid}: @pytest.mark.gilprobe has no keyword {keyword!r}, allowed: {', '.join(KEYWORDS)}")
            try:
                merged.setdefault(keyword, read[keyword](value))
            except values.RefusedError as allowed:
                refuse(f"{nodeid}: @pytest.mark.gilprobe({keyword}=...): found {value!r}, allowed: {allowed}")
    return merged


def refuse(message: str) -> NoReturn:
    """Raise `pytest.UsageError` with ``message``, which says what is wrong with a setting."""
    raise pytest.UsageError(message) from None


def default_strategies(settings: Settings, known: Strategies) -> frozenset[str]:
    """Return the names of the strategies that are tried if a marker does not set ``strategies``.

    They are those that the user set, else the defaults among ``known``, the session's strategies. Executors of
    ``--gilprobe-executor`` are added. Raises `pytest.UsageError` if the user's setting names an unknown strategy.
    """
    if settings.strategies is None:
        return known.default_names
    named = {one.partition("=")[0] for one in settings.executors}
    try:
        asked = values.strategies(settings.strategies, known.all_names)
        return asked | {name for name in known.names if name.removeprefix(EXECUTOR) in named and EXECUTOR in name}
    except values.RefusedError as allowed:
        found = ",".join(settings.strategies)
        refuse(f"--gilprobe-strategies (ini key gilprobe_strategies): found {found!r}, allowed: {allowed}")


def _scale(keywords: dict[str, Any], settings: Settings) -> tuple[int, ...] | None:
    """Return the numbers of workers of a curve; ``scales_to`` without ``scale`` asks for those that it takes."""
    if "scales_to" in keywords and "scale" not in keywords:
        return values.doublings_to(keywords["scales_to"])
    return keywords.get("scale", settings.scale)


def plan_for(nodeid: str, keywords: dict[str, Any], settings: Settings, known: Strategies, cpus: int) -> Plan:
    """Return how to probe the test ``nodeid``: the ``keywords`` of its marks override the session's ``settings``.

    ``known`` are the strategies that can make the test's calls, and ``cpus`` is how many CPUs are usable. Raises
    `pytest.UsageError` if the marker expects what none of the strategies to be tried can give.
    """
    workers = keywords.get("workers", settings.workers)
    tried = (keywords.get("strategies") or default_strategies(settings, known)) | {SERIAL}
    expected = keywords.get("expect", frozenset())
    tried_text, expected_text = (
        ", ".join(repr(name) for name in known.names if name in some) for some in (tried, expected)
    )
    if expected and not expected & tried:
        refuse(f"{nodeid}: @pytest.mark.gilprobe expects {expected_text}, but strategies= tries only {tried_text}")
    if "min_speedup" in keywords and not (expected or tried) & (tried - {SERIAL}):
        refuse(f"{nodeid}: @pytest.mark.gilprobe(min_speedup=...) needs a strategy beside 'serial', found {tried_text}")
    return Plan(
        nodeid=nodeid,
        workers=workers if workers is not None else values.automatic_workers(cpus),
        max_time_s=keywords.get("max_time", settings.max_time_s),
        proof_time_s=keywords.get("max_time", settings.proof_time_s),
        timeout_s=settings.timeout_s,
        strategies=tried,
        fresh=keywords.get("fresh", False),
        expectation=Expectation(
            strategies=expected,
            bound=keywords.get("expect_bound"),
            min_speedup=keywords.get("min_speedup"),
            max_loop_block=keywords.get("max_loop_block"),
            max_gil_held=keywords.get("max_gil_held"),
            max_gil_hold_s=keywords.get("max_gil_hold"),
            scales_to=keywords.get("scales_to"),
        ),
        kind=known.kind,
        scale=_scale(keywords, settings),
    )
