"""`pytest_gilprobe.config`: options and marker keywords, read, refused and resolved."""

from __future__ import annotations

import math
import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.config import KEYWORDS, Expectation, Plan, Settings, plan_for, read_marks
from pytest_gilprobe.model import Bound, Strategy
from pytest_gilprobe.options import OPTIONS, Option

if TYPE_CHECKING:
    from collections.abc import Mapping

NODEID = "test_it.py::test_it"


def settings(pytester: pytest.Pytester, *flags: str, ini: str = "") -> Settings:
    """Resolve the options of a session started with these flags and this ini section."""
    pytester.makeini(f"[pytest]\n{ini}\n")
    return Settings.from_pytest(pytester.parseconfig("-p", "no:asyncio", *flags))


def refusal(pytester: pytest.Pytester, *flags: str, ini: str = "") -> str:
    """Return the usage error that these flags and this ini section are."""
    with pytest.raises(pytest.UsageError) as found:
        settings(pytester, *flags, ini=ini)
    return str(found.value)


def test_defaults_are_those_of_the_contract(pytester: pytest.Pytester) -> None:
    """Without flags and ini keys nothing is reported, 5 s may pass per probe, 60 s per batch, workers are automatic."""
    found = settings(pytester)
    assert (found.report, found.report_dir, found.disable, found.probe_all) == (False, Path("reports"), False, False)
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
        ("report-dir", "elsewhere", "report_dir", Path("elsewhere")),
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
    assert "allowed: true or false" in refusal(pytester, ini="gilprobe_report = maybe")


def test_empty_folder_flag_is_refused(pytester: pytest.Pytester) -> None:
    """The report folder has a name."""
    assert "the path of a folder" in refusal(pytester, "--gilprobe-report-dir= ")


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
    ("keyword", "value", "read"),
    [
        ("workers", 2, 2),
        ("workers", 256, 256),
        ("workers", "auto", None),
        ("max_time", 1, 1.0),
        ("max_time", 0.25, 0.25),
        ("strategies", "threads", frozenset({Strategy.THREADS})),
        ("strategies", ["serial", "processes"], frozenset({Strategy.SERIAL, Strategy.PROCESSES})),
        ("expect", ("threads", "serial"), frozenset({Strategy.THREADS, Strategy.SERIAL})),
        ("expect_bound", "io", Bound.IO),
        ("min_speedup", 1.5, 1.5),
    ],
)
def test_keyword_is_read(keyword: str, value: object, read: object) -> None:
    """A keyword's allowed values, first and last ones included, are taken."""
    assert read_marks(NODEID, [mark(**{keyword: value})]) == {keyword: read}


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
    ],
)
def test_bad_keyword_value_names_test_keyword_and_value(keyword: str, value: object) -> None:
    """A value that is not allowed is a usage error that names the test, the keyword, the value and what is allowed."""
    with pytest.raises(pytest.UsageError) as found:
        read_marks(NODEID, [mark(**{keyword: value})])
    assert str(found.value).startswith(f"{NODEID}: @pytest.mark.gilprobe({keyword}=...): found {value!r}, allowed: ")


def test_unknown_keyword_is_refused() -> None:
    """A keyword that nobody knows is a usage error that lists those known."""
    with pytest.raises(pytest.UsageError, match=rf"{NODEID}: .* no keyword 'worker', allowed: workers, max_time"):
        read_marks(NODEID, [mark(worker=2)])


def test_positional_argument_is_refused() -> None:
    """The marker takes keywords only."""
    with pytest.raises(pytest.UsageError, match=rf"{NODEID}: .* keywords only, found \(2,\)"):
        read_marks(NODEID, [mark(2)])


def test_closer_mark_wins_keyword_by_keyword() -> None:
    """A function's mark beats its class's, and what it does not say is taken from there."""
    merged = read_marks(NODEID, [mark(workers=3), mark(workers=8, max_time=1)])
    assert merged == {"workers": 3, "max_time": 1.0}


@given(
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()) | st.binary(),
    keyword=st.sampled_from(sorted(KEYWORDS)),
)
def test_any_keyword_value_is_taken_or_refused(value: object, keyword: str) -> None:
    """Whatever a marker is given, it is read or it is a usage error; nothing else is raised."""
    try:
        merged = read_marks(NODEID, [mark(**{keyword: value})])
    except pytest.UsageError as error:
        assert repr(value) in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert set(merged) == {keyword}


class Asked:
    """Stands for pytest's config: a few flags, no ini keys."""

    def __init__(self, flags: Mapping[str, str]) -> None:
        self._flags = flags

    def getoption(self, name: str) -> str | None:
        return self._flags.get(name)

    def getini(self, name: str) -> str:  # noqa: ARG002 - pytest's signature
        return ""


@given(text=st.text(), option=st.sampled_from(OPTIONS))
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
        "changed": (),
    }
    known = {one for one in Settings.__slots__ if one not in values}
    return Settings(**{**dict.fromkeys(known, None), **values, **changes})


@pytest.mark.parametrize(("cpus", "workers"), [(1, 2), (2, 2), (3, 3), (4, 4), (64, 4)])
def test_automatic_workers_are_the_usable_cpus_from_2_to_4(cpus: int, workers: int) -> None:
    """``auto`` is the usable CPUs, at least 2, at most 4."""
    assert plan_for(NODEID, {}, plain(), cpus).workers == workers


def test_marker_beats_settings() -> None:
    """A marker's keyword beats the flag's value, and ``auto`` there undoes the flag's number."""
    assert plan_for(NODEID, {"workers": 3, "max_time": 1.0}, plain(workers=8), 2).workers == 3
    assert plan_for(NODEID, {"workers": None}, plain(workers=8), 2).workers == 2


def test_a_time_that_was_set_is_kept_whatever_is_expected() -> None:
    """Only the default time may be passed to prove that something expected is not so; a marker's time may not."""
    assert plan_for(NODEID, {}, plain(), 2).proof_time_s == 10.0
    assert plan_for(NODEID, {"max_time": 3.0}, plain(), 2).proof_time_s == 3.0


def test_serial_always_runs() -> None:
    """A plan that asks for threads alone still runs serial calls: they are what threads are compared with."""
    planned = plan_for(NODEID, {"strategies": frozenset({Strategy.THREADS})}, plain(), 2)
    assert planned.strategies == {Strategy.SERIAL, Strategy.THREADS}


def test_plan_without_keywords_expects_nothing() -> None:
    """A bare mark asks for all strategies and expects nothing."""
    assert plan_for(NODEID, {}, plain(), 2) == Plan(
        nodeid=NODEID,
        workers=2,
        max_time_s=5.0,
        proof_time_s=10.0,
        timeout_s=60.0,
        strategies=frozenset(Strategy),
        expectation=Expectation(),
    )


def test_expectations_reach_the_plan() -> None:
    """What a marker expects is kept for the gates."""
    keywords = read_marks(NODEID, [mark(expect="threads", expect_bound="io", min_speedup=1.5)])
    assert plan_for(NODEID, keywords, plain(), 2).expectation == Expectation(
        strategies=frozenset({Strategy.THREADS}), bound=Bound.IO, min_speedup=1.5
    )


def test_start_methods_are_those_of_this_platform() -> None:
    """Every start method that multiprocessing has here is allowed."""
    for method in multiprocessing.get_all_start_methods():
        asked = Asked({"gilprobe_start_method": method})
        assert Settings.from_pytest(cast("pytest.Config", asked)).start_method == method
