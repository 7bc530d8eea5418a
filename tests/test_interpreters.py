"""The strategy ``interpreters``: subinterpreters with a GIL of their own, in a worker process that hosts them."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
import sessions
from evidence import estimate, evidence, serial, tried
from fake_workers import Behaviour, FakeGroup, FakeWorker, lost, plan
from with_interpreters import HAS_THEM, INTERPRETERS, needs_them

from pytest_gilprobe.model.extension_imports import (
    ExtensionImport,
    joined,
    others_text,
    package_lines,
    refusal_text,
)
from pytest_gilprobe.model.readings import Measurement
from pytest_gilprobe.model.results import Transfer
from pytest_gilprobe.model.words import Bound, Gil, NextStep, Outcome
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.probing import schedule
from pytest_gilprobe.probing.open_test import NotProbed
from pytest_gilprobe.probing.schedule import Job
from pytest_gilprobe.strategies import interpreters
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.workers.child import extensions, handing_over
from pytest_gilprobe.workers.child.import_record import asking
from pytest_gilprobe.workers.extension_messages import ExtensionsListed, ExtensionsTried, ListExtensions, TryExtensions
from pytest_gilprobe.workers.naming import Given
from pytest_gilprobe.workers.protocol import Batch, Close, Failed, MeasureTransfer, Open, Opened, Stop, TransferMeasured
from pytest_gilprobe.workers.stretch_messages import Stretch

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gilprobe.workers.parent.group import WorkerGroup


# Which module is to blame

NUMPY = ExtensionImport(name="numpy._core._multiarray_umath", loads=False, imported_by="app.py:3")
SPEEDUPS = ExtensionImport(name="markup._speedups", loads=False, imported_by="app.py:2")
SOCKET = ExtensionImport(name="_socket", loads=True, imported_by="app.py:1")
SAID = "ImportError: module {} does not support loading in subinterpreters"


@pytest.mark.parametrize(
    ("imports", "error", "blamed"),
    [
        ((NUMPY, SPEEDUPS), SAID.format(NUMPY.name), NUMPY),
        ((SPEEDUPS, NUMPY), "ImportError: the C extensions could not be loaded", NUMPY),
        ((SOCKET, NUMPY), "concurrent.interpreters.NotShareableError: cannot be shared", NUMPY),
        ((NUMPY, SPEEDUPS), SAID.format("_multiarray_umath"), NUMPY),
        ((), SAID.format("orjson.orjson"), ExtensionImport(name="orjson.orjson", loads=False)),
        ((SPEEDUPS,), "ValueError: no", None),
        ((SOCKET,), "ImportError: no module named nothing", None),
    ],
)
def test_module_that_an_error_is_about(
    imports: tuple[ExtensionImport, ...], error: str, blamed: ExtensionImport | None
) -> None:
    """The module that the error names is to blame, else the last one that did not load; never one that did."""
    found = refusal_text(imports, error)
    if blamed is None:
        assert found is None
        return
    assert found is not None
    assert found.startswith(blamed.name)
    assert (blamed.imported_by or "imported by") in found or blamed.imported_by is None


TABLE = (
    NUMPY,
    ExtensionImport(name="numpy.linalg._umath_linalg", loads=False),
    ExtensionImport(name="lxml.etree", loads=False),
    ExtensionImport(name="yaml._yaml", loads=True),
)


def test_table_of_modules() -> None:
    """A module that was refused stays so, with its importer; the others are as they fared when they were tried."""
    loads = {"yaml._yaml": True, "lxml.etree": False, "numpy.linalg._umath_linalg": False, NUMPY.name: True}
    assert set(joined((SOCKET, NUMPY), loads)) == set(TABLE)
    assert package_lines(TABLE) == [
        "numpy: 2 of 2 extension modules do not load (imported by app.py:3)",
        "lxml: its only extension module does not load",
        "yaml: its only extension module loads",
    ]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (TABLE, "; nor do modules of lxml"),
        ((TABLE[0], TABLE[1], TABLE[3]), "; it would work but for numpy"),
        ((NUMPY,), ""),
        ((), ""),
    ],
)
def test_how_the_other_packages_fare(table: tuple[ExtensionImport, ...], said: str) -> None:
    """The sentence on the module that does not load goes on with the packages that do not load either."""
    assert others_text(table, f"{NUMPY.name} (imported by app.py:3) does not load") == said


@needs_them
def test_modules_are_tried() -> None:
    """A real module that does not load is found out, outside of this process."""
    import psutil  # noqa: PLC0415 - it has to be loaded to be listed

    assert psutil.__name__ in {name.partition(".")[0] for name in extensions.listed(forked=False)}
    assert not any(name.startswith("psutil") for name in extensions.listed(forked=True))
    files = {name: file for name, file in extensions.listed(forked=False).items() if name.startswith("psutil")}
    assert extensions.tried(files) == dict.fromkeys(files, False)


def test_modules_that_cannot_be_tried_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without subinterpreters, or if the trial crashes, nothing is claimed."""
    monkeypatch.setattr(extensions, "_HOST", "raise SystemExit(3)  # {trial}")
    assert extensions.tried({"numpy": "numpy.so"}) == {}


# What handing data over costs


@needs_them
class TestHandingOver:
    """Data on its way to a real subinterpreter and back."""

    def test_bytes_are_cheap(self) -> None:
        """Bytes are handed over and their sizes told; both interpreters' shares add up to the whole."""
        data = bytes(2**16)
        found = handing_over.measure(Given(func=len, args=(data,)), data).transfer
        assert found is not None
        assert found.argument_bytes >= len(data)
        assert found.result_bytes >= len(data)
        assert found.parent_s + found.worker_s == pytest.approx(found.pipe_s)

    def test_what_cannot_be_pickled(self) -> None:
        """A lock cannot be handed over, and the reason is told."""
        found = handing_over.measure(Given(func=len, args=(threading.Lock(),)), None)
        assert found.transfer is None
        assert found.refused is not None
        assert "lock" in found.refused

    def test_module_that_does_not_load_there(self) -> None:
        """An object of a module that does not load is refused with the module's name, whatever hides it."""
        import psutil  # noqa: PLC0415 - only here

        found = handing_over.measure(Given(func=len, args=(psutil.Process(),)), None)
        assert found.refused is not None
        assert "psutil" in found.refused


def test_importer_is_outside_of_the_package() -> None:
    """Code of the module's own package, and the import system, only pass on what other code asked for."""
    seen: list[str | None] = []

    def look() -> None:
        for name in ("fast._c", "slow._c"):
            frame = asking(name, sys._getframe(1))
            seen.append(frame and f"{frame.f_code.co_filename}:{frame.f_lineno}")

    inner: dict[str, Any] = {"__name__": "fast.inner", "look": look}
    exec(compile("def load():\n    look()", "fast.py", "exec"), inner)  # noqa: S102 - frames to read
    app = {"__name__": "app", "load": inner["load"]}
    exec(compile("\n\nload()", "app.py", "exec"), app)  # noqa: S102 - frames to read
    assert seen == ["app.py:3", "fast.py:2"]


# Whether it can be tried


def test_earlier_pythons_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below 3.14, and on a free-threaded build, the strategy says what it needs."""
    monkeypatch.setattr(interpreters, "FIRST_PYTHON", (99, 0))
    assert INTERPRETERS.refuses(cast("Any", None)) == interpreters.NEEDED


def test_it_is_tried_only_if_asked_for() -> None:
    """Nothing of it is started in a session that does not name it."""
    assert "interpreters" not in BUILT_IN.default_names


# In the schedule, on a clock that moves only when a batch says so


def measured(group: FakeGroup, **changes: Any) -> Measurement:
    """Measure the pretended workload in interpreters and processes."""
    job = Job(plan=plan(strategies=frozenset({"interpreters", "processes"}), **changes), keep=0, cpus=2, known_call_s=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        patch.setattr(machine, "throttled_s", lambda: None)
        return schedule.measure(job, cast("WorkerGroup", group), BUILT_IN, lambda _: NextStep.STOP, lambda *_: None)


def of_host(group: FakeGroup) -> list[Any]:
    """List what the host of the interpreters was asked."""
    return [question for question, _ in group.groups["interpreters"].asked]


def test_batches_run_in_the_host() -> None:
    """The test is opened in the host with as many lanes as there are, called once, and closed at the end."""
    group = FakeGroup(Behaviour(gains={"interpreters": 2.0}))
    seen = measured(group)
    asked = of_host(group)
    assert isinstance(asked[0], Open)
    assert asked[0].lanes == 2
    assert (asked[1].calls, asked[1].lanes) == (1, 2)
    assert isinstance(asked[-1], Close)
    assert seen.ends["interpreters"].outcome is Outcome.OK
    assert len(seen.rounds[0].batches["interpreters"].lanes) == 2
    assert seen.rounds[0].batches["interpreters"].apart
    assert all(one.strategy != "interpreters" for one, _ in group.asked if isinstance(one, Batch))


def test_host_is_started_for_nobody_else() -> None:
    """A probe without interpreters has no host."""
    group = FakeGroup()
    job = Job(plan=plan(), keep=0, cpus=2, known_call_s=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        schedule.measure(job, cast("WorkerGroup", group), BUILT_IN, lambda _: NextStep.STOP, lambda *_: None)
    assert group.groups == {}


def test_module_that_does_not_load_skips_the_strategy() -> None:
    """The others go on, the host is kept for the next test, and the workload's other modules are tried."""

    def script(_: FakeWorker, question: Any, __: int) -> Any:
        if isinstance(question, TryExtensions):
            return ExtensionsTried(loads=dict.fromkeys(question.files, True))
        return (
            Failed(error="numpy does not load", impossible=True, imports=(NUMPY,))
            if isinstance(question, Open)
            else None
        )

    listed = ExtensionsListed(files={"yaml._yaml": "yaml.so"})
    group = FakeGroup(
        script=lambda _, question, __: listed if isinstance(question, ListExtensions) else None, script_apart=script
    )
    seen = measured(group)
    end = seen.ends["interpreters"]
    said = "numpy does not load; it would work but for numpy"
    assert (end.outcome, end.error, end.impossible) == (Outcome.SKIPPED, said, True)
    assert [one.name for one in seen.apart["interpreters"].extensions] == [NUMPY.name, "yaml._yaml"]
    assert seen.ends["processes"].outcome is Outcome.OK
    assert [worker.alive for worker in group.groups["interpreters"].workers] == [True]


def test_data_is_measured_for_each_way_of_moving() -> None:
    """Interpreters have a cost of their own; what cannot be handed over skips them, and they are not even started."""
    pipe = Transfer(argument_bytes=8, result_bytes=8, pipe_s=1e-3, parent_s=5e-4, worker_s=5e-4)

    def script(worker: FakeWorker, question: Any, _: int) -> Any:
        if isinstance(question, Open):
            worker.is_open = True
            return Opened(given=True)
        if isinstance(question, MeasureTransfer):
            there = question.strategy == "processes"
            return TransferMeasured(transfer=pipe) if there else TransferMeasured(refused="it stays here")
        return None

    group = FakeGroup(script=script)
    seen = measured(group)
    assert seen.transfer == pipe
    assert (seen.ends["interpreters"].outcome, seen.ends["interpreters"].error) == (Outcome.SKIPPED, "it stays here")
    assert seen.ends["processes"].outcome is Outcome.OK
    assert group.groups == {}


@pytest.mark.parametrize("outcome", [Outcome.HUNG, Outcome.CRASHED])
@pytest.mark.parametrize("kind", [Open, Batch])
def test_lost_host_ends_the_strategy_only(outcome: Outcome, kind: type) -> None:
    """What hangs or crashes in an interpreter costs the host, and no other worker."""
    group = FakeGroup(script_apart=lambda _, question, __: lost(outcome) if isinstance(question, kind) else None)
    seen = measured(group)
    assert seen.ends["interpreters"].outcome is outcome
    assert seen.ends["processes"].outcome is Outcome.OK
    assert group.groups["interpreters"].workers == []
    assert group.started == 2


def test_long_call_is_not_made_in_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is too long to be repeated is made in other strategies only, and no usual worker stands in."""
    group = FakeGroup(Behaviour(call_s=3.0, busy=1.0, gains={}))
    job = Job(
        plan=plan(strategies=frozenset({"interpreters", "processes"})),
        keep=0,
        cpus=2,
        known_call_s=3.0,
        own_run=serial(3.0, 1.0),
    )
    monkeypatch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
    with pytest.raises(NotProbed) as caught:
        schedule.measure(job, cast("WorkerGroup", group), BUILT_IN, lambda _: NextStep.STOP, lambda *_: None)
    assert caught.value.seen is not None
    assert list(caught.value.seen.rounds[0].batches) == ["serial", "processes"]
    assert caught.value.seen.ends["interpreters"].outcome is Outcome.SKIPPED
    assert group.groups == {}


def test_usual_worker_refuses_a_batch_of_interpreters() -> None:
    """Nothing is measured as interpreters that never ran in any."""
    with pytest.raises(ValueError, match="hosts none"):
        INTERPRETERS.run(cast("Any", None), Batch(strategy="interpreters", calls=1, lanes=2))
    with pytest.raises(ValueError, match="hosts none"):
        INTERPRETERS.stretch(
            cast("Any", None), Stretch(strategy="interpreters", lanes=2, begin_ns=0, until_ns=1, calls_per_mark=1)
        )


def test_failed_batch_discards_the_host() -> None:
    """A host in which a call has failed half-way is not used again."""

    def script(_: FakeWorker, question: Any, __: int) -> Any:
        return Failed(error="ValueError: no") if isinstance(question, Batch) and question.calls > 1 else None

    group = FakeGroup(Behaviour(call_s=0.001), script_apart=script)
    seen = measured(group)
    assert seen.ends["interpreters"].outcome is Outcome.FAILED
    assert group.groups["interpreters"].workers == []
    assert not any(isinstance(question, Close | Stop) for question in of_host(group))


# What is said


def test_advice_over_processes_has_a_reason() -> None:
    """Where processes were tried, too, the sentence says what a call costs less here."""
    found = evidence(1.0, 1.2)
    results = {
        **found.results,
        "processes": replace(tried(2.0), pool_speedup=estimate(1.2), dispatch_s_per_call=4e-4),
        "interpreters": replace(tried(2.0), pool_speedup=estimate(1.8), dispatch_s_per_call=5e-5),
    }
    found = replace(found, results=results, strategies=(*found.strategies, INTERPRETERS))
    said = INTERPRETERS.why_advised(found, Bound.CPU, Gil.HELD)
    assert said.endswith("dispatching a call takes 50 µs instead of 400 µs for processes")


# Real interpreters

SESSION = """
    import os
    import sys
    import threading
    import time

    import pytest

    def is_sub():
        return threading.main_thread() is not threading.current_thread()

    @pytest.fixture(scope="module")
    def numbers():
        return list(range(3000))

    def test_loop(numbers, tmp_path):
        assert sum(n * n for n in numbers) > 0
        (tmp_path / "own").touch()

    def test_lazy():
        import psutil
        time.sleep(0.005)

    def test_ended():
        if is_sub():
            os._exit(3)
        time.sleep(0.005)

    def test_raises():
        if is_sub():
            raise ValueError("not here")
        time.sleep(0.005)

    def test_given(gilprobe):
        gilprobe(sorted, [3, 1, 2] * 500)

    def test_awaited(gilprobe):
        import asyncio

        async def main():
            await gilprobe(asyncio.sleep, 0.002)

        asyncio.run(main())
"""


@pytest.fixture(scope="module", name="session")
def real_session(tmp_path_factory: pytest.TempPathFactory) -> sessions.Session:
    """Run a session with the strategy, over good and bad workloads."""
    folder = tmp_path_factory.mktemp("interpreters")
    sessions.write(folder, SESSION)
    sessions.write(folder, "import psutil\n\ndef test_module():\n    psutil.pids()\n", "test_native.py")
    return sessions.run(folder, "-v", "--gilprobe-all", "--gilprobe-strategies=interpreters", budget_s=2.0)


@needs_them
class TestRealInterpreters:
    """What became of the workloads of that session."""

    @staticmethod
    def end(session: sessions.Session, name: str) -> tuple[str, str]:
        """Return outcome and error of the interpreters of one workload."""
        found = session.one(name)["strategies"]["interpreters"]
        return found["outcome"], found["error"] or ""

    def test_session_goes_on(self, session: sessions.Session) -> None:
        """Every test is probed, whatever the one before did."""
        assert session.exit_status == 0, session.output
        assert {one["status"] for one in session.workloads.values()} == {"probed"}

    def test_pure_python_runs_there(self, session: sessions.Session) -> None:
        """A test with fixtures runs in interpreters that are set up by pytest, and threads' ceiling is no limit."""
        assert self.end(session, "test_loop") == ("ok", "")
        found = session.one("test_loop")["strategies"]["interpreters"]
        assert found["calls"] > 0
        assert found["start_up_s"] > 0

    def test_the_gil_of_each_is_watched(self, session: sessions.Session) -> None:
        """Each interpreter holds a GIL of its own while it computes: they are held at the same time."""
        found = session.one("test_loop")["strategies"]["interpreters"]["gils_held"]
        assert len(found["shares"]) == 2
        assert all(0 < share <= 1 for share in found["shares"])
        assert 0 < found["at_once"] <= min(found["shares"]) + 0.2
        assert "GILs in interpreters: one each, held for " in " ".join(session.output.split())

    def test_module_that_does_not_load_is_named(self, session: sessions.Session) -> None:
        """The reason names the module, and the line that imports it: in a call, and at the top of a file."""
        for name, line in (("test_lazy", "test_it.py:21"), ("test_module", "test_native.py:1")):
            outcome, error = self.end(session, name)
            assert outcome == "skipped"
            assert "psutil" in error
            assert line in error

    def test_process_that_ends_is_the_hosts(self, session: sessions.Session) -> None:
        """``os._exit`` in an interpreter ends the host, whose exit status is told."""
        outcome, error = self.end(session, "test_ended")
        assert outcome == "crashed"
        assert "exit status 3" in error

    def test_call_that_raises_fails(self, session: sessions.Session) -> None:
        """The user's own error is told with its place."""
        outcome, error = self.end(session, "test_raises")
        assert outcome == "failed"
        assert "ValueError: not here" in error

    def test_given_call_runs_there(self, session: sessions.Session) -> None:
        """A call through the fixture is repeated in interpreters, too."""
        assert self.end(session, "test_given")[0] == "ok"

    def test_awaited_call_runs_there(self, session: sessions.Session) -> None:
        """So is one that is awaited: what serves it beside the event loop is no daemon thread, which is not allowed."""
        assert self.end(session, "test_awaited") == ("ok", "")


@pytest.mark.skipif(HAS_THEM, reason="this Python has them")
def test_python_without_them_says_so(tmp_path: Path) -> None:
    """The strategy is skipped with what it needs, and the session goes on."""
    sessions.write(tmp_path, "def test_it():\n    pass\n")
    found = sessions.run(tmp_path, "--gilprobe-all", "--gilprobe-strategies=interpreters").one("test_it")
    result = found["strategies"]["interpreters"]
    assert (result["outcome"], result["error"], result["impossible"]) == ("skipped", interpreters.NEEDED, True)
