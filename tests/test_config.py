"""`pytest_gilprobe.plugin.config`: options and marker keywords, read, refused and resolved."""

from __future__ import annotations

import math
import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.settings import Expectation, Plan
from pytest_gilprobe.model.words import Bound, CallKind, FailOn
from pytest_gilprobe.plugin.config import KEYWORDS, Settings, plan_for, read_marks, strategies_of
from pytest_gilprobe.plugin.options import OPTIONS, Option, asked
from pytest_gilprobe.strategies.registry import BUILT_IN, Strategies

if TYPE_CHECKING:
    from collections.abc import Mapping

NODEID = "test_it.py::test_it"


def settings(pytester: pytest.Pytester, *flags: str, ini: str = "") -> Settings:
    """Resolve the options of a session started with these flags and this ini section."""
    pytester.makeini(f"[pytest]\n{ini}\n")
    return Settings.from_pytest(configured(pytester, *flags))


def configured(pytester: pytest.Pytester, *flags: str) -> pytest.Config:
    """Parse the flags of a session, without a plugin that wants settings of its own."""
    return pytester.parseconfig("-p", "no:asyncio", *flags)


def read(*marks: pytest.Mark) -> dict[str, Any]:
    """Merge marks where the built-in strategies are all that there are."""
    return read_marks(NODEID, marks, BUILT_IN.names)


def planned(keywords: dict[str, Any], found: Settings, cpus: int = 2, known: Strategies = BUILT_IN) -> Plan:
    """Resolve a plan where the built-in strategies are all that there are."""
    return plan_for(NODEID, keywords, found, known, cpus)


def refusal(pytester: pytest.Pytester, *flags: str, ini: str = "") -> str:
    """Return the usage error that these flags and this ini section are."""
    with pytest.raises(pytest.UsageError) as found:
        settings(pytester, *flags, ini=ini)
    return str(found.value)


def test_defaults_are_those_of_the_contract(pytester: pytest.Pytester) -> None:
    """Without flags and ini keys nothing is reported, 5 s may pass per probe, 60 s per batch, workers are automatic."""
    found = settings(pytester)
    assert (found.report, found.disable, found.probe_all, found.scan, found.ab_gil) == (False,) * 5
    assert (found.report_dir, found.baseline) == (pytester.path / "reports", None)
    assert (found.strategies, found.fail_on) == (None, frozenset())
    assert (found.workers, found.max_time_s, found.timeout_s, found.start_method) == (None, 5.0, 60.0, None)
    assert found.changed == ()


def test_a_flag_beats_an_ini_key(pytester: pytest.Pytester) -> None:
    """Flag before ini before default."""
    ini = "gilprobe_workers = 3\ngilprobe_max_time = 2"
    found = settings(pytester, "--gilprobe-workers=8", ini=ini)
    assert (found.workers, found.max_time_s, found.timeout_s) == (8, 2.0, 60.0)


@pytest.mark.parametrize(
    ("flags", "ini", "proof_s"),
    [((), "", 10.0), (("--gilprobe-max-time=5",), "", 5.0), ((), "gilprobe_max_time = 7", 7.0)],
)
def test_a_time_that_was_set_is_never_passed(
    pytester: pytest.Pytester, flags: tuple[str, ...], ini: str, proof_s: float
) -> None:
    """Also if it is the default's own number."""
    assert settings(pytester, *flags, ini=ini).proof_time_s == proof_s


@pytest.mark.parametrize(
    ("option", "text", "field", "value"),
    [
        ("report", "true", "report", True),
        ("strategies", "threads, serial", "strategies", ("threads", "serial")),
        ("fail-on", "hung,unsafe", "fail_on", frozenset({FailOn.HUNG, FailOn.UNSAFE})),
        ("disable", "yes", "disable", True),
        ("all", "ON", "probe_all", True),
        ("workers", "7", "workers", 7),
        ("max-time", "0.5", "max_time_s", 0.5),
        ("timeout", "9", "timeout_s", 9.0),
        ("start-method", "spawn", "start_method", "spawn"),
    ],
)
def test_every_ini_key_does_what_its_flag_does(
    pytester: pytest.Pytester, option: str, text: str, field: str, value: object
) -> None:
    """An ini key sets the same field to the same value as the flag of that name."""
    declared = next(one for one in OPTIONS if one.name == option)
    flag = declared.flag if declared.is_switch else f"{declared.flag}={text}"
    assert getattr(settings(pytester, flag), field) == value
    assert getattr(settings(pytester, ini=f"{declared.ini} = {text}"), field) == value


def test_a_path_in_the_ini_file_starts_from_that_file(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever folder pytest is started; a path on the command line starts from there, as does the default."""
    pytester.makeini("[pytest]\ngilprobe_report_dir = all our reports\ngilprobe_baseline = old/gilprobe.json")
    monkeypatch.chdir(pytester.mkdir("below"))
    by_ini = Settings.from_pytest(configured(pytester))
    assert by_ini.report_dir == pytester.path / "all our reports"
    assert by_ini.baseline == pytester.path / "old/gilprobe.json"
    by_flag = Settings.from_pytest(configured(pytester, "--gilprobe-report-dir=here", "--gilprobe-baseline=/x.json"))
    assert (by_flag.report_dir, by_flag.baseline) == (pytester.path / "below/here", Path("/x.json"))
    pytester.makeini("[pytest]\n")
    assert Settings.from_pytest(configured(pytester)).report_dir == pytester.path / "below/reports"


@pytest.mark.parametrize(
    ("flags", "ini"),
    [
        ((), "gilprobe_workers = 2"),
        ((), "gilprobe_report = false"),
        (("--gilprobe-report",), ""),
        (("--gilprobe-fail-on=nothing",), ""),
    ],
)
def test_whether_anything_was_asked_for_is_known_before_it_is_read(
    pytester: pytest.Pytester, flags: tuple[str, ...], ini: str
) -> None:
    """Be a value right or wrong."""
    pytester.makeini(f"[pytest]\n{ini}\n")
    assert asked(configured(pytester, *flags))


@pytest.mark.parametrize("ini", ["", "gilprobe_workers ="])
def test_ini_key_without_a_value_asks_for_nothing(pytester: pytest.Pytester, ini: str) -> None:
    """It is as if it were not there."""
    pytester.makeini(f"[pytest]\n{ini}\n")
    assert not asked(configured(pytester))


@pytest.mark.parametrize(
    ("typed", "scale", "paths"),
    [
        (["--gilprobe-scale", "folder"], (), ["folder"]),
        (["folder", "--gilprobe-scale"], (), ["folder"]),
        (["--gilprobe-scale", "1,2,4", "folder"], (1, 2, 4), ["folder"]),
        (["--gilprobe-scale", "off", "folder"], None, ["folder"]),
        (["--gilprobe-scale", "auto", "folder"], (), ["folder"]),
        (["--gilprobe-scale", "-q", "folder"], (), ["folder"]),
    ],
)
def test_path_is_no_value_of_the_flag_before_it(
    pytester: pytest.Pytester, typed: list[str], scale: tuple[int, ...] | None, paths: list[str]
) -> None:
    """A flag may stand without its value, whatever follows."""
    pytester.mkdir("folder")
    config = configured(pytester, *typed)
    assert Settings.from_pytest(config).scale == scale
    assert config.args == paths


def test_switch_can_be_off_in_the_ini_file(pytester: pytest.Pytester) -> None:
    """A switch's ini key takes false, and then it is no change worth a header."""
    found = settings(pytester, ini="gilprobe_report = false")
    assert not found.report
    assert found.changed == ()


def test_header_names_only_what_differs(pytester: pytest.Pytester) -> None:
    """The options that differ from their defaults stand in the report header, switches by name alone."""
    found = settings(pytester, "--gilprobe-report", "--gilprobe-workers=3", "--gilprobe-max-time=5")
    assert found.changed == ("report", "workers=3")


@pytest.mark.parametrize(
    ("option", "text", "allowed"),
    [
        ("workers", "1", "from 2 to 256"),
        ("workers", "0", "from 2 to 256"),
        ("workers", "257", "from 2 to 256"),
        ("workers", "two", "'auto'"),
        ("workers", "2.5", "'auto'"),
        ("max-time", "0", "seconds above 0"),
        ("max-time", "-1", "seconds above 0"),
        ("max-time", "nan", "seconds above 0"),
        ("max-time", "inf", "seconds above 0"),
        ("timeout", "soon", "seconds above 0"),
        ("start-method", "teleport", "'spawn'"),
    ],
)
def test_bad_value_names_the_place_the_value_and_what_is_allowed(
    pytester: pytest.Pytester, option: str, text: str, allowed: str
) -> None:
    """A flag and an ini key that cannot be read are usage errors that say where, what and what else."""
    declared = next(one for one in OPTIONS if one.name == option)
    by_flag = refusal(pytester, f"{declared.flag}={text}")
    assert by_flag.startswith(f"{declared.flag}: found {text!r}, allowed: ")
    assert allowed in by_flag
    by_ini = refusal(pytester, ini=f"{declared.ini} = {text}")
    assert by_ini.startswith(f"ini key {declared.ini}: found {text!r}, allowed: ")
    assert allowed in by_ini


def test_bad_switch_in_the_ini_file_is_refused(pytester: pytest.Pytester) -> None:
    """A switch is true or false, not maybe."""
    said = refusal(pytester, ini="gilprobe_report = maybe")
    assert said.startswith("ini key gilprobe_report: ")
    assert "maybe" in said
    assert said.endswith("; allowed: true or false")


@pytest.mark.parametrize("option", ["report-dir", "baseline"])
def test_empty_path_is_refused(pytester: pytest.Pytester, option: str) -> None:
    """A folder or file has a name."""
    assert refusal(pytester, f"--gilprobe-{option}= ").endswith("found ' ', allowed: a path")


def test_options_are_declared_in_the_help(pytester: pytest.Pytester) -> None:
    """Every flag and every ini key is in ``--help``."""
    text = pytester.runpytest_inprocess("-p", "no:asyncio", "--help").stdout.str()
    assert [one.name for one in OPTIONS if one.flag not in text or one.ini not in text] == []


def test_keywords_are_declared_in_the_markers(pytester: pytest.Pytester) -> None:
    """Every marker keyword is in ``--markers``."""
    text = pytester.runpytest_inprocess("-p", "no:asyncio", "--markers").stdout.str()
    assert [keyword for keyword in KEYWORDS if f"{keyword}=" not in text] == []


# Marker


def mark(*args: object, **kwargs: object) -> pytest.Mark:
    """Make a mark as the decorator does."""
    return pytest.mark.gilprobe.with_args(*args, **kwargs).mark


@pytest.mark.parametrize(
    ("keyword", "value", "found"),
    [
        ("workers", 2, 2),
        ("workers", 256, 256),
        ("workers", "auto", None),
        ("max_time", 1, 1.0),
        ("max_time", 0.25, 0.25),
        ("strategies", "threads", frozenset({"threads"})),
        ("strategies", ["serial", "processes"], frozenset({"serial", "processes"})),
        ("expect", ("threads", "serial"), frozenset({"threads", "serial"})),
        ("expect_bound", "io", Bound.IO),
        ("min_speedup", 1.5, 1.5),
        ("fresh", True, True),
        ("fresh", False, False),
        ("scale", True, ()),
        ("scale", False, None),
        ("scale", (8, 1, 4), (1, 4, 8)),
        ("scales_to", 16, 16),
    ],
)
def test_keyword_is_read(keyword: str, value: object, found: object) -> None:
    """A keyword's allowed values, first and last ones included, are taken."""
    assert read(mark(**{keyword: value})) == {keyword: found}


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("workers", 1),
        ("workers", 257),
        ("workers", 2.5),
        ("workers", None),
        ("workers", True),
        ("max_time", 0),
        ("max_time", True),
        ("max_time", "soon"),
        ("max_time", None),
        ("max_time", math.inf),
        ("strategies", ()),
        ("strategies", "asyncio"),
        ("strategies", 3),
        ("strategies", ["threads", "inconclusive"]),
        ("expect", "inconclusive"),
        ("expect_bound", "inconclusive"),
        ("expect_bound", None),
        ("min_speedup", 0),
        ("min_speedup", "2"),
        ("min_speedup", True),
        ("min_speedup", math.nan),
        ("fresh", 1),
        ("fresh", None),
        ("scale", 4),
        ("scale", (4,)),
        ("scale", (0, 4)),
        ("scale", (1, True)),
        ("scale", "1,x"),
        ("scales_to", 1),
        ("scales_to", "8"),
    ],
)
def test_bad_keyword_value_names_test_keyword_and_value(keyword: str, value: object) -> None:
    """A value that is not allowed is a usage error that names the test, the keyword, the value and what is allowed."""
    with pytest.raises(pytest.UsageError) as found:
        read(mark(**{keyword: value}))
    assert str(found.value).startswith(f"{NODEID}: @pytest.mark.gilprobe({keyword}=...): found {value!r}, allowed: ")


def test_unknown_keyword_is_refused() -> None:
    """A keyword that nobody knows is a usage error that lists those known."""
    with pytest.raises(pytest.UsageError, match=rf"{NODEID}: .* no keyword 'worker', allowed: workers, max_time"):
        read(mark(worker=2))


def test_positional_argument_is_refused() -> None:
    """The marker takes keywords only."""
    with pytest.raises(pytest.UsageError, match=rf"{NODEID}: .* keywords only, found \(2,\)"):
        read(mark(2))


def test_closer_mark_wins_keyword_by_keyword() -> None:
    """A function's mark beats its class's, and what it does not say is taken from there."""
    merged = read(mark(workers=3), mark(workers=8, max_time=1))
    assert merged == {"workers": 3, "max_time": 1.0}


@given(
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()) | st.binary(),
    keyword=st.sampled_from(sorted(KEYWORDS)),
)
def test_any_keyword_value_is_taken_or_refused(value: object, keyword: str) -> None:
    """Whatever a marker is given, it is read or it is a usage error; nothing else is raised."""
    try:
        merged = read(mark(**{keyword: value}))
    except pytest.UsageError as error:
        assert repr(value) in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert set(merged) == {keyword}


class Asked:
    """Stands for pytest's config: a few flags, no ini file."""

    inipath = None
    invocation_params = SimpleNamespace(dir=Path("/"))

    def __init__(self, flags: Mapping[str, str]) -> None:
        self._flags = flags

    def getoption(self, name: str) -> str | None:
        return self._flags.get(name)

    def getini(self, name: str) -> None:
        """Know no ini key."""


@given(text=st.text(), option=st.sampled_from([one for one in OPTIONS if not one.is_switch]))
def test_any_option_text_is_taken_or_refused(text: str, option: Option) -> None:
    """Whatever text a flag holds, it is read or is a usage error that names flag and text."""
    try:
        Settings.from_pytest(cast("pytest.Config", Asked({option.ini: text})))
    except pytest.UsageError as error:
        assert str(error).startswith(f"{option.flag}: found {text!r}, allowed: ")  # noqa: PT017 - either is right


# Plan


def plain(**changes: object) -> Settings:
    """Make the settings of a session without flags."""
    values: dict[str, Any] = {
        "report": False,
        "report_dir": Path("reports"),
        "disable": False,
        "probe_all": False,
        "workers": None,
        "max_time_s": 5.0,
        "proof_time_s": 10.0,
        "timeout_s": 60.0,
        "start_method": None,
        "executors": (),
        "changed": (),
    }
    known = {one for one in Settings.__slots__ if one not in values}
    return Settings(**{**dict.fromkeys(known, None), **values, **changes})


@pytest.mark.parametrize(("cpus", "workers"), [(1, 2), (2, 2), (3, 3), (4, 4), (64, 4)])
def test_automatic_workers_are_the_usable_cpus_from_2_to_4(cpus: int, workers: int) -> None:
    """``auto`` is the usable CPUs, at least 2, at most 4."""
    assert planned({}, plain(), cpus).workers == workers


def test_marker_beats_settings() -> None:
    """A marker's keyword beats the flag's value, and ``auto`` there undoes the flag's number."""
    assert planned({"workers": 3, "max_time": 1.0}, plain(workers=8)).workers == 3
    assert planned({"workers": None}, plain(workers=8)).workers == 2


def test_a_time_that_was_set_is_kept_whatever_is_expected() -> None:
    """Only the default time may be passed to prove that something expected is not so; a marker's time may not."""
    assert planned({}, plain()).proof_time_s == 10.0
    assert planned({"max_time": 3.0}, plain()).proof_time_s == 3.0


def test_serial_always_runs() -> None:
    """A plan that asks for threads alone still runs serial calls: they are what threads are compared with."""
    assert planned({"strategies": frozenset({"threads"})}, plain()).strategies == {"serial", "threads"}
    assert planned({}, plain(strategies=("threads",))).strategies == {"serial", "threads"}


def test_marker_beats_the_strategies_of_the_session() -> None:
    """``strategies=`` of a marker is all that is tried, whatever ``--gilprobe-strategies`` says."""
    keywords = {"strategies": frozenset({"threads"})}
    assert planned(keywords, plain(strategies=("processes",))).strategies == {"serial", "threads"}


def test_plan_without_keywords_expects_nothing() -> None:
    """A bare mark asks for all strategies that are tried by default and expects nothing."""
    assert planned({}, plain()) == Plan(
        nodeid=NODEID,
        workers=2,
        max_time_s=5.0,
        proof_time_s=10.0,
        timeout_s=60.0,
        strategies=frozenset({"serial", "threads", "processes"}),
        expectation=Expectation(),
    )


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        (
            {"strategies": {"threads"}, "expect": {"processes"}},
            " expects 'processes', but strategies= tries only 'serial'",
        ),
        ({"strategies": {"serial"}, "min_speedup": 2.0}, "(min_speedup=...) needs a strategy beside 'serial', found "),
        ({"expect": {"serial"}, "min_speedup": 2.0}, "(min_speedup=...) needs a strategy beside 'serial', found "),
    ],
)
def test_expectation_that_cannot_be_met_is_refused(keywords: dict[str, Any], said: str) -> None:
    """What nothing is tried for cannot be expected."""
    with pytest.raises(pytest.UsageError) as found:
        planned(
            {key: frozenset(value) if isinstance(value, set) else value for key, value in keywords.items()}, plain()
        )
    assert f"{NODEID}: @pytest.mark.gilprobe" in str(found.value)
    assert said in str(found.value)


# Strategies


LANES = """
from pytest_gilprobe.strategies.threads import Threads

class Lanes(Threads):
    name = {name!r}
    rank = 30
    by_default = {by_default}

def pytest_gilprobe_strategies():
    return {returned}
"""


def known(pytester: pytest.Pytester, *, name: str = "lanes", by_default: bool = True, returned: str = "") -> Strategies:
    """Gather the strategies of a session whose conftest file adds one."""
    returned = returned or "[Lanes()]"
    pytester.makeconftest(LANES.format(name=name, by_default=by_default, returned=returned))
    return strategies_of(configured(pytester))


def test_strategies_are_those_of_every_plugin(pytester: pytest.Pytester) -> None:
    """A conftest file's strategy stands among the built-in ones, by its rank, and is gathered once."""
    found = known(pytester)
    assert found.names == ("serial", "tasks", "threads", "lanes", "processes", "interpreters")
    assert found.default_names == {"serial", "threads", "lanes", "processes"}
    assert found.existing_for(CallKind.AWAITED).default_names == {"serial", "tasks", "processes"}
    config = configured(pytester)
    assert strategies_of(config) is strategies_of(config)


def test_single_strategy_need_not_be_in_a_list(pytester: pytest.Pytester) -> None:
    """A hook may return a strategy instead of a list of one."""
    assert "lanes" in known(pytester, returned="Lanes()")


def test_strategy_that_is_not_by_default_is_tried_if_asked_for(pytester: pytest.Pytester) -> None:
    """A marker or the session may ask for it by name."""
    found = known(pytester, by_default=False)
    assert "lanes" not in planned({}, plain(), known=found).strategies
    assert "lanes" in planned({}, plain(strategies=("lanes",)), known=found).strategies
    assert read_marks(NODEID, [mark(strategies="lanes")], found.names) == {"strategies": {"lanes"}}
    asked = plain(strategies=("tasks", "processes"))
    assert planned({}, asked, known=found.existing_for(CallKind.PLAIN)).strategies == {"serial", "tasks", "processes"}


@pytest.mark.parametrize(
    ("name", "returned", "said"),
    [
        ("threads", "", "two strategies are called 'threads': Threads and Lanes"),
        ("My Lanes", "", "Lanes.name: found 'My Lanes', allowed: "),
        ("lanes", "[Lanes]", "allowed: instances of pytest_gilprobe.Strategy"),
        ("lanes", "3", "pytest_gilprobe_strategies returned 3, allowed: "),
    ],
)
def test_bad_strategy_is_a_usage_error(pytester: pytest.Pytester, name: str, returned: str, said: str) -> None:
    """What is no strategy, or cannot stand beside the others, is named."""
    with pytest.raises(pytest.UsageError) as found:
        known(pytester, name=name, returned=returned)
    assert said in str(found.value)


def test_strategy_that_does_not_exist_is_refused() -> None:
    """The session's names are checked once all plugins are there."""
    with pytest.raises(
        pytest.UsageError, match=r"--gilprobe-strategies .* found 'threads,nothing', allowed: one or more"
    ):
        planned({}, plain(strategies=("threads", "nothing")))


# The rest of the plan


def test_expectations_reach_the_plan() -> None:
    """What a marker expects is kept for the gates."""
    keywords = read(mark(expect="threads", expect_bound="io", min_speedup=1.5))
    assert planned(keywords, plain()).expectation == Expectation(
        strategies=frozenset({"threads"}), bound=Bound.IO, min_speedup=1.5
    )


def test_start_methods_are_those_of_this_platform() -> None:
    """Every start method that multiprocessing has here is allowed."""
    for method in multiprocessing.get_all_start_methods():
        asked = Asked({"gilprobe_start_method": method})
        assert Settings.from_pytest(cast("pytest.Config", asked)).start_method == method
