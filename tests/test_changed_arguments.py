"""Calls that change their arguments, in sessions with real workers: they get no verdict, and the reason is named."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from sessions import Session, budget, run, write

import pytest_gilprobe

TESTS = """
    import collections, functools, random, threading, unittest, warnings
    import pytest


    class Store:
        def __init__(self):
            self.lock, self.rows = threading.RLock(), list(range(30_000))

        def drain(self):
            with self.lock:
                while self.rows:
                    self.rows.pop()


    @functools.lru_cache
    def squares(number):
        return sum(at * at for at in range(number))


    def rotated(rows):
        rows.rotate(3)
        return sum(rows)


    def first_import(rows):
        import decimal, statistics, email.message
        rows["calls"] = rows.get("calls", 0) + 1
        return sum(range(5_000))


    def take_some(rows):
        return sum(sum(range(rows.pop() % 100)) for _ in range(100) if rows)


    def shuffled():
        return random.Random(0).sample(range(30_000), 30_000)


    def test_sort(gilprobe):
        rows = shuffled()
        gilprobe(rows.sort)


    def test_closure(gilprobe):
        rows = shuffled()
        gilprobe(lambda: rows.sort())


    def test_object(gilprobe):
        gilprobe(Store().drain)


    def test_used_up_later(gilprobe):
        gilprobe(take_some, list(range(20_000)))


    def test_file(gilprobe, tmp_path):
        (tmp_path / "rows").write_text("1,2,3\\n" * 30_000)
        with open(tmp_path / "rows") as file:
            gilprobe(lambda file: sum(len(line.split(",")) for line in file), file)


    @pytest.fixture
    def rows():
        return shuffled()


    @pytest.mark.gilprobe
    def test_fixture(rows):
        rows.sort()


    class TestCases(unittest.TestCase):
        def setUp(self):
            self.rows = shuffled()

        @pytest.mark.gilprobe
        def test_in_case(self):
            self.rows.sort()

        @pytest.mark.gilprobe
        def test_of_case_without_change(self):
            self.assertEqual(len(sorted(self.rows)), len(self.rows))


    class TestAwaited(unittest.IsolatedAsyncioTestCase):
        def setUp(self):
            self.rows = shuffled()

        @pytest.mark.gilprobe
        async def test_awaited_in_case(self):
            self.rows.sort()


    @pytest.mark.gilprobe
    def test_patched(monkeypatch):
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        warnings.filterwarnings("ignore", "no such warning")
        sum(range(20_000))


    def test_fails_again(gilprobe):
        gilprobe([shuffled()].pop)


    def test_steady(gilprobe):
        gilprobe(rotated, collections.deque(range(20_000)))


    def test_import(gilprobe):
        gilprobe(first_import, {})


    def test_cached(gilprobe):
        gilprobe(squares, 200_000)


    def test_unchanged(gilprobe):
        gilprobe(sorted, shuffled())
"""
CHANGING = {
    "test_sort": "its object (a list)",
    "test_closure": "variable rows (a list)",
    "test_object": "its object (a Store)",
    "test_used_up_later": "argument rows (a list)",
    "test_file": "argument file (a TextIOWrapper)",
    "test_fixture": "fixture rows (a list)",
    "test_in_case": "attribute rows (a list)",
    "test_awaited_in_case": "attribute rows (a list)",
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Probe every kind of call in one session."""
    folder = tmp_path_factory.mktemp("changing")
    write(folder, TESTS)
    return run(folder, budget_s=1.0)


@pytest.mark.parametrize(("name", "what"), CHANGING.items())
def test_no_verdict_on_a_call_that_changes_its_arguments(session: Session, name: str, what: str) -> None:
    """Wherever the arguments come from, later calls with other work are found, and no strategy is advised."""
    workload = session.one(name)
    verdict = workload["verdict"]
    assert verdict["strategy"] == verdict["bound"] == "inconclusive"
    assert verdict["candidates"] == {}
    assert what in verdict["reason"]
    assert ("setUp" if "case" in name else "fresh") in verdict["reason"]
    assert [caution["slug"] for caution in verdict["cautions"]] == ["changes-arguments"]
    assert workload["strategies"]["serial"]["wall_s_per_call"]["value"] > 1e-5


def test_case_that_changes_nothing_has_no_such_caution(session: Session) -> None:
    """The attributes of a test case are compared, and found to be the same each time."""
    verdict = session.one("test_of_case_without_change")["verdict"]
    slugs = {caution["slug"] for caution in verdict["cautions"]}
    assert not slugs & {"changes-arguments", "shared-arguments", "may-use-up"}


COROUTINES = """
    import random, pytest

    pytestmark = [pytest.mark.anyio, pytest.mark.gilprobe]


    @pytest.fixture
    def anyio_backend():
        return "asyncio"


    @pytest.fixture
    def rows():
        return random.Random(0).sample(range(30_000), 30_000)


    async def test_sort(rows):
        rows.sort()


    class TestRows:
        async def test_in_class(self, rows):
            rows.sort()


    async def test_unchanged(rows):
        sorted(rows)
"""


@pytest.mark.thorough
def test_coroutine_tests_are_compared(tmp_path: Path) -> None:
    """A coroutine test that changes a fixture's value gets no verdict; one that does not has no such caution."""
    pytest.importorskip("anyio")
    write(tmp_path, COROUTINES)
    done = run(tmp_path, "-p", "anyio", budget_s=2.0)
    for name in ("test_sort", "test_in_class"):
        verdict = done.one(name)["verdict"]
        assert verdict["strategy"] == "inconclusive"
        assert "fixture rows (a list)" in verdict["reason"], done.output
        assert "@pytest.mark.gilprobe(fresh=True) makes its fixtures anew" in verdict["reason"]
    slugs = {caution["slug"] for caution in done.one("test_unchanged")["verdict"]["cautions"]}
    assert not slugs & {"changes-arguments", "shared-arguments", "may-use-up"}


@pytest.mark.parametrize("name", ["test_steady", "test_import", "test_cached", "test_unchanged"])
def test_ordinary_first_calls_are_no_such_calls(session: Session, name: str) -> None:
    """Imports, caches and changes that make no difference to the time are not mistaken for used-up arguments."""
    verdict = session.one(name)["verdict"]
    slugs = {caution["slug"] for caution in verdict["cautions"]}
    assert "changes-arguments" not in slugs
    tried = session.one(name)["strategies"]["threads"]["outcome"] == "ok"  # a busy machine may leave no time for them
    assert ("shared-arguments" in slugs) == (tried and name in {"test_steady", "test_import"})


def test_changes_that_pytest_undoes_are_not_left_behind(session: Session) -> None:
    """What `monkeypatch` and the warning filters of pytest put back after the test disturbs no later test."""
    slugs = {caution["slug"] for caution in session.one("test_patched")["verdict"]["cautions"]}
    assert not slugs & {"leaves-changed", "shared-arguments"}


def test_call_that_fails_again_names_what_changed(session: Session) -> None:
    """If the second call fails because the first one used its argument up, that is said, with the remedy."""
    workload = session.one("test_fails_again")
    assert workload["status"] == "not_probed"
    for said in ("changed its object (a list)", "IndexError", "gilprobe.fresh(func, make)"):
        assert said in workload["reason"]


def test_api_gives_workers_the_arguments_as_they_were() -> None:
    """`probe` calls the function once itself: workers nevertheless begin with the arguments as they were."""
    rows = random.Random(0).sample(range(60_000), 60_000)
    found = pytest_gilprobe.Prober(max_time=budget(1.0), start_method="fork").probe(rows.sort)
    assert found.verdict.strategy == "inconclusive"
    assert "changes-arguments" in {caution.slug for caution in found.verdict.cautions}


async def drained(rows: list[int]) -> int:
    """Use up a list, a part of it before each look at other tasks."""
    total = 0
    while rows:
        await asyncio.sleep(0)
        total += sum(rows.pop() for _ in range(min(len(rows), 50_000)))
    return total


def test_awaited_call_that_changes_its_argument_gets_no_verdict() -> None:
    """Later calls of a coroutine function that used up its list have no work: they are no evidence."""
    found = pytest_gilprobe.Prober(max_time=budget(1.0), start_method="fork").probe(drained, list(range(200_000)))
    assert found.verdict.strategy == "inconclusive"
    (caution,) = (one for one in found.verdict.cautions if one.slug == "changes-arguments")
    assert "gilprobe.fresh(func, make)" in caution.message + found.verdict.reason


class OnlyOne:
    """Has rows, and no copy can be made of it."""

    def __init__(self) -> None:
        self.rows = list(range(400_000))

    def __reduce__(self) -> str:
        raise TypeError

    def drain(self) -> int:
        """Use the rows up."""
        total = 0
        while self.rows:
            total += self.rows.pop()
        return total


def test_api_has_workers_before_its_own_call() -> None:
    """What that call uses up and no copy restores is whole in workers, so that the first call's time tells of it."""
    found = pytest_gilprobe.Prober(max_time=budget(1.0), start_method="fork").probe(OnlyOne().drain)
    caution = next((one for one in found.verdict.cautions if one.slug == "may-use-up"), None)
    if caution is None:
        pytest.skip("too busy a machine: modules were imported between the calls, or none were probed")
    assert "its object (an OnlyOne), which could not be compared" in caution.message
    assert "gilprobe.fresh(func, make)" in caution.message
