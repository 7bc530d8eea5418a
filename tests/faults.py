"""The catalogue of faults: what a test can do wrong, and what the report must say of it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any

from pytest_gilprobe.observe.interpreter import gil_enabled

TIMEOUT_S = 3
HEAD = """
import os, signal, sys, threading, time
import pytest

def in_worker():
    return "PYTEST_GILPROBE_WORKER" in os.environ  # looked up when called: a forked worker has this module already
CALLS = []

def in_thread():
    return threading.current_thread() is not threading.main_thread()

def work():
    time.sleep(0.01)
"""
FOLLOWER = """
@pytest.mark.gilprobe
def test_next():
    time.sleep(0.01)
"""
FROZEN = """
CLOCKS = [
    getattr(time, name)
    for name in ("perf_counter_ns", "perf_counter", "monotonic_ns", "monotonic", "time", "thread_time_ns")
]

@pytest.fixture
def frozen():
    nap, changed = time.sleep, []
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()):
            if any(value is clock for clock in CLOCKS):
                changed.append((module, name, value))
                setattr(module, name, lambda: 5)
    yield nap
    for module, name, value in changed:
        setattr(module, name, value)
"""
"""The way of freezegun: a clock is found in every module that holds it under whatever name."""
MOCKED = """
@pytest.fixture
def mocked(monkeypatch):
    import builtins, subprocess
    from unittest import mock
    for module, names in (
        (os, ("kill", "killpg", "open", "mkdir", "getpid")), (builtins, ("open",)), (subprocess, ("Popen",)),
        (time, ("sleep", "perf_counter_ns", "monotonic")), (threading, ("Thread",)), (signal, ("signal",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, mock.MagicMock(return_value=7))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: the body of ``test_fault``, and what its report must hold.

    ``status``, ``threads`` and ``processes`` are the status and the outcomes; ``said`` are words that the report of
    the workload holds somewhere. ``module`` stands above the test, ``fixtures`` are its arguments.
    """

    name: str
    body: str
    status: str = "probed"
    threads: str = "ok"
    processes: str = "ok"
    said: tuple[str, ...] = ()
    module: str = ""
    fixtures: str = ""
    arguments: tuple[str, ...] = field(default=())
    environment: dict[str, str] = field(default_factory=dict)
    text: str = ""

    @property
    def source(self) -> str:
        """The test file, with a test behind the faulty one; ``text`` where that says all of it."""
        if self.text:
            return self.text
        body = textwrap.indent(textwrap.dedent(self.body).strip(), "    ")
        test = f"\n@pytest.mark.gilprobe\ndef test_fault({self.fixtures}):\n{body}\n"
        return HEAD + textwrap.dedent(self.module) + test + FOLLOWER


def _raises(name: str, what: str, *said: str, module: str = "") -> Fault:
    return Fault(
        name=f"raises in threads: {name}",
        body=f"work()\nif in_thread():\n    {what}",
        threads="failed",
        said=said,
        module=module,
    )


def _once(name: str, what: str, *, status: str = "not_probed", said: tuple[str, ...] = (), **more: Any) -> Fault:
    skipped: dict[str, Any] = {} if status == "probed" else {"threads": "skipped", "processes": "skipped"}
    return Fault(name=name, body=f"work()\nif in_worker():\n    {what}", status=status, said=said, **(skipped | more))


def _changes(name: str, what: str, said: str | None, **more: Any) -> Fault:
    words = () if said is None else (said,)
    return Fault(name=f"changes {name}", body=f"work()\nif in_worker():\n    {what}", said=words, **more)


RAISES = (
    _raises("an assertion", "value = 3; assert value == 4", "assert 3 == 4"),
    _raises("SystemExit", "sys.exit(3)", "SystemExit: 3"),
    _raises("KeyboardInterrupt", "raise KeyboardInterrupt", "KeyboardInterrupt"),
    _raises("a BaseException of its own", "raise Odd('odd')", "Odd: odd", module="class Odd(BaseException): pass\n"),
    _raises("what cannot be pickled", "raise Odd(lambda: 0)", "Odd", module="class Odd(Exception): pass\n"),
    _raises(
        "what cannot be shown",
        "raise Odd",
        "Odd",
        module="class Odd(Exception):\n    def __str__(self): raise ValueError('no text')\n    __repr__ = __str__\n",
    ),
    _raises("pytest.skip", "pytest.skip('not here')", "Skipped: not here"),
    _raises("pytest.fail", "pytest.fail('no good')", "Failed: no good"),
    _raises("pytest.xfail", "pytest.xfail('known')", "known"),
    _raises("pytest.exit", "pytest.exit('enough')", "enough"),
    Fault(
        name="raises in processes only (one lock for all)",
        body="""
        import fcntl
        with open(LOCK, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if in_thread() else fcntl.LOCK_NB))
            time.sleep(0.06)
        """,
        module="LOCK = __file__ + '.lock'\n",
        processes="failed",
        said=("BlockingIOError",),
    ),
    _once("raises on the second call", "CALLS.append(1); assert len(CALLS) < 2", said=("assert 2 < 2",)),
    _once("raises in a worker only", "raise RuntimeError('not twice')", said=("not twice",)),
    Fault(
        name="set-up fails in a worker",
        module="@pytest.fixture\ndef broken():\n    assert not in_worker(), 'only one of me'\n",
        fixtures="broken",
        body="work()",
        status="not_probed",
        threads="skipped",
        processes="skipped",
        said=("only one of me",),
    ),
    Fault(
        name="tear-down fails in a worker",
        module="@pytest.fixture\ndef broken():\n    yield\n    assert not in_worker(), 'tear-down'\n",
        fixtures="broken",
        body="work()",
    ),
    Fault(
        name="is expected to fail",
        body="pytest.xfail('known')",
        status="not_probed",
        threads="skipped",
        processes="skipped",
        said=("xfail",),
    ),
)

HANGS = (
    Fault(
        name="hangs in threads: on a lock",
        module="LOCK = threading.Lock()\nLOCK.acquire()\n",
        body="work()\nif in_thread():\n    LOCK.acquire()",
        threads="hung",
        said=("test_it.py", "killed"),
    ),
    Fault(
        name="hangs in threads: in native code that holds the GIL",
        body="work()\nif in_thread():\n    import ctypes\n    ctypes.PyDLL(None).sleep(30)",
        threads="hung",
        said=("test_it.py", *(("held the GIL all the time",) if gil_enabled() else ())),
    ),
    Fault(
        name="hangs in threads: swallows every exception",
        body="work()\nwhile in_thread():\n    try:\n        time.sleep(0.01)\n    except BaseException:\n        pass",
        threads="hung",
        said=("test_it.py",),
    ),
    _once("hangs in a worker", "time.sleep(30)", said=("killed", "test_it.py")),
    Fault(
        name="hangs in set-up",
        module="@pytest.fixture\ndef slow():\n    if in_worker():\n        time.sleep(30)\n",
        fixtures="slow",
        body="work()",
        status="not_probed",
        threads="skipped",
        processes="skipped",
        said=("killed",),
    ),
    Fault(
        name="hangs in tear-down",
        module="@pytest.fixture\ndef slow():\n    yield\n    if in_worker():\n        time.sleep(30)\n",
        fixtures="slow",
        body="work()",
    ),
)

DIES = (
    _once("os._exit", "os._exit(3)", said=("exit status 3",)),
    _once("segmentation fault", "import ctypes; ctypes.string_at(0)", said=("SIGSEGV", "test_it.py")),
    _once("abort", "os.abort()", said=("SIGABRT",)),
    _once("SIGKILL", "os.kill(os.getpid(), signal.SIGKILL)", said=("SIGKILL",)),
    _once("SIGTERM", "os.kill(os.getpid(), signal.SIGTERM); time.sleep(1)", said=("SIGTERM",)),
    Fault(
        name="os._exit in threads",
        body="work()\nif in_thread():\n    os._exit(3)",
        threads="crashed",
        said=("exit status 3",),
    ),
    Fault(
        name="segmentation fault in threads",
        body="work()\nif in_thread():\n    import ctypes; ctypes.string_at(0)",
        threads="crashed",
        said=("SIGSEGV", "test_it.py"),
    ),
    Fault(
        name="out of memory in threads",
        body="""
        work()
        if in_thread():
            import resource
            resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
            CALLS.append(bytearray(2**31))
        """,
        threads="failed",
        said=("MemoryError",),
    ),
    Fault(
        name="dies in set-up",
        module="@pytest.fixture\ndef deadly():\n    if in_worker():\n        os._exit(5)\n",
        fixtures="deadly",
        body="work()",
        status="not_probed",
        threads="skipped",
        processes="skipped",
        said=("exit status 5",),
    ),
    Fault(
        name="dies in tear-down",
        module="@pytest.fixture\ndef deadly():\n    yield\n    if in_worker():\n        os._exit(5)\n",
        fixtures="deadly",
        body="work()",
    ),
    _once("closes every file descriptor above 2", "os.closerange(3, 4096)", said=("file descriptors",)),
)

MISBEHAVES = (
    _changes(
        "nothing, but writes 100 MB", "[print('x' * 10**6) for _ in range(5)]; sys.stderr.write('y' * 10**6)", None
    ),
    _changes("nothing, but reads stdin", "assert sys.stdin.read() == ''", None),
    _changes("descriptors 0 to 2: closes them", "os.closerange(0, 3)", None),
    _changes("the current folder", "os.chdir('/')", None),
    _changes("the environment", "os.environ['ODD'] = 'x'; os.environ.pop('PATH', None)", None),
    _changes("sys.path", "sys.path.clear()", None),
    _changes("the switch interval", "sys.setswitchinterval(0.5)", "switch interval"),
    _changes("the CPU affinity", "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})", "CPU affinity"),
    _changes("the priority", "os.nice(1) if not CALLS else None; CALLS.append(1)", "priority"),
    _changes(
        "signal handlers",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN) if not in_thread() else None",
        "signal handlers",
    ),
    _changes("timers", "signal.setitimer(signal.ITIMER_REAL, 100)", "timers"),
    _changes(
        "time.perf_counter", "time.perf_counter = time.perf_counter_ns = time.thread_time_ns = lambda: 0", "time module"
    ),
    _changes("time.sleep", "time.sleep = lambda s: sum(range(10000))", "time module"),
    _changes("threading.Thread", "threading.Thread = None", "threading.Thread"),
    _changes("print", "import builtins; builtins.print = builtins.open = None", "built-in functions"),
    Fault(
        name="makes every clock stand still, in all modules",
        module=FROZEN,
        fixtures="frozen",
        body="frozen(0.01)\nassert time.perf_counter_ns() == 5",
    ),
    Fault(
        name="mocks what pytest's own process needs, and hangs in a worker",
        module=MOCKED,
        fixtures="mocked",
        body="while in_worker():\n    pass",
        status="not_probed",
        threads="skipped",
        processes="skipped",
        said=("killed", "test_it.py"),
    ),
    _changes("the recursion limit", "sys.setrecursionlimit(200)", "recursion limit"),
    Fault(
        name="recursion to the limit",
        body="work()\ndef deeper():\n    deeper()\nwith pytest.raises(RecursionError):\n    deeper()",
    ),
    Fault(  # pytest restores its filters after each test
        name="changes warnings to errors",
        body="work()\nif in_worker():\n    import warnings; warnings.simplefilter('error')",
    ),
    _changes("the tracer", "sys.settrace(lambda *a: None)", "tracing"),
    _changes("the garbage collector", "import gc; gc.disable(); gc.freeze()", "garbage collector"),
    _changes(
        "the locale",
        "import locale; locale.setlocale(locale.LC_ALL, 'C.UTF-8' if locale.setlocale(locale.LC_ALL) == 'C' else 'C')",
        "locale",
    ),
    Fault(name="forks", body="work()\npid = os.fork()\nif pid == 0:\n    os._exit(0)\nos.waitpid(pid, 0)"),
    Fault(
        name="forks and runs on in the child",
        body="work()\nif in_worker() and not CALLS:\n    CALLS.append(os.fork())",
        status="any",
        threads="any",
        processes="any",
    ),
    _changes(
        "nothing, but leaves processes", "CALLS or CALLS.append(__import__('subprocess').Popen(['sleep', '100']))", None
    ),
    _changes(
        "nothing, but leaves a daemon",
        "CALLS or CALLS.append(__import__('subprocess').Popen(['sleep', '100'], start_new_session=True))",
        None,
    ),
    _once(
        "leaves a spinning thread",
        "threading.Thread(target=spin, name='spinner', daemon=True).start()",
        said=("spinner", "computing"),
        module="def spin():\n    while True:\n        pass\n",
    ),
    _once(
        "leaves a spinning process",
        "__import__('subprocess').Popen([sys.executable, '-c', 'while True: pass'], start_new_session=True); "
        "time.sleep(0.1)",
        said=("process", "computing"),
    ),
    _changes(
        "nothing, but leaks 10 file descriptors a call",
        "CALLS.extend(os.dup(0) for _ in range(10))",
        None,
        threads="any",
        processes="any",
    ),
    _changes("nothing, but leaks 20 MB a call", "CALLS.append(bytearray(20 * 2**20))", None),
    _changes(
        "nothing, but leaks 500 MB a call",
        "CALLS.append(b'x' * (500 * 2**20))",
        None,
        status="any",
        threads="any",
        processes="any",
    ),
)

_AUDIT = "def audit(*_): raise RuntimeError('not allowed')\n"
_RAISES = """
class Raises:
    def write(self, *_):
        raise OSError("nothing is written")
    flush = close = fileno = write
"""
_FIND_SOCKETS = """
def sockets():
    import stat
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                yield number
        except OSError:
            pass
"""
_DEADLY = "if in_worker():\n    os._exit(4)"

UNDERMINES = (
    _once(
        "closes the worker's pipe to pytest",
        "[os.close(number) for number in sockets()]",
        said=("file descriptors",),
        module=_FIND_SOCKETS,
    ),
    _once(
        "writes a part of a message into the worker's pipe, and hangs",
        "[os.write(number, b'\\0\\0') for number in sockets()]; time.sleep(30)",
        said=("killed", "test_it.py"),
        module=_FIND_SOCKETS,
    ),
    _once(
        "writes nonsense into the worker's pipe",
        "[os.write(number, b'nonsense') for number in sockets()]; time.sleep(30)",
        said=("something else than an answer arrived",),
        module=_FIND_SOCKETS,
    ),
    _once("empties sys.modules", "sys.modules.clear()", said=("the worker process ended",)),
    _once("stops itself with SIGSTOP", "os.kill(os.getpid(), signal.SIGSTOP)", said=("killed",)),
    _once("has an audit hook that raises", "sys.addaudithook(audit)", said=("RuntimeError",), module=_AUDIT),
    _changes(
        "resource limits: no more files",
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))",
        "limits",
    ),
    _changes("standard streams: they raise", "sys.stdout = sys.stderr = Raises()", "standard streams", module=_RAISES),
    Fault(
        name="may write no file, in pytest's own process too",
        body="""
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        work()
        """,
        said=("resource limits",),
    ),
    Fault(
        name="removes what reads and kills, in pytest's own process too",
        module="""
        @pytest.fixture
        def without(monkeypatch):
            import select
            for module, name in ((os, "read"), (os, "pread"), (os, "kill"), (os, "killpg"), (select, "select")):
                monkeypatch.delattr(module, name)
        """,
        fixtures="without",
        body="work()",
    ),
    Fault(
        name="its fixture has a timer that ends before the probe does",
        module="""
        def late(*_):
            raise TimeoutError("too late")

        @pytest.fixture
        def limited():
            before = signal.signal(signal.SIGALRM, late)
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            yield
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        """,
        fixtures="limited",
        body="work()",
    ),
    Fault(
        name="its fixture leaves next to no stack",
        module="""
        @pytest.fixture
        def shallow():
            import inspect
            before = sys.getrecursionlimit()
            sys.setrecursionlimit(len(inspect.stack()) + 40)
            yield
            sys.setrecursionlimit(before)
        """,
        fixtures="shallow",
        body="work()",
    ),
    Fault(
        name="dies where environment, path and folder are of its fixture's making",
        module="""
        @pytest.fixture
        def elsewhere(tmp_path):
            from unittest import mock
            here, path, gone = os.getcwd(), sys.path[:], tmp_path / "gone"
            gone.mkdir()
            os.chdir(gone)
            gone.rmdir()
            sys.path.clear()
            kept = {name: value for name, value in os.environ.items() if "GILPROBE" in name}
            with mock.patch.dict(os.environ, kept, clear=True):
                yield
            sys.path[:] = path
            os.chdir(here)
        """,
        fixtures="elsewhere",
        body=_DEADLY,
        status="not_probed",
        threads="skipped",
        processes="skipped",
        said=("exit status 4",),
    ),
    Fault(
        name="dies where nobody is told of children's ends",
        body="signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n" + _DEADLY,
        status="not_probed",
        threads="skipped",
        processes="skipped",
        said=("the worker process ended",),
    ),
    *(
        Fault(
            name=f"{name} in a worker's set-up",
            module=f"@pytest.fixture\ndef ends():\n    if in_worker():\n        {what}\n",
            fixtures="ends",
            body="work()",
            status="not_probed",
            threads="skipped",
            processes="skipped",
            said=(said,),
        )
        for name, what, said in (
            ("pytest.exit", "pytest.exit('stop it')", "stop it"),
            ("KeyboardInterrupt", "raise KeyboardInterrupt", "KeyboardInterrupt"),
            ("SystemExit", "sys.exit(3)", "SystemExit"),
        )
    ),
)

FAULTS = (*RAISES, *HANGS, *DIES, *MISBEHAVES, *UNDERMINES)
