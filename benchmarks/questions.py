"""Answer ten questions that people asked in public: for each a marked test, its report, and the decision.

    python benchmarks/questions.py                    writes docs/questions.md; a minute, on an idle machine
    python benchmarks/questions.py --output -         prints it instead

Needs pandas and scikit-learn beside the package.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from pytest_gilprobe import read_report  # noqa: E402 - the checkout beside this file
from pytest_gilprobe.model.report import Report  # noqa: E402
from pytest_gilprobe.report import brief_terminal, terminal  # noqa: E402
from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: E402

WIDTH: Final = 100
EITHER_POOL: Final = "A pool pays in any case. Begin with threads, the cheaper one, and measure there."
OPEN: Final = (
    "This run leaves it open, and says between what. On an idle machine, or with a longer `max_time`, it settles."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question: ``asked`` in our words, ``test`` the source of a test file, a decision for each likely answer."""

    title: str
    link: str
    asked: str
    test: str
    decisions: Mapping[str, str]

    @property
    def source(self) -> str:
        """The test file's source text."""
        return textwrap.dedent(self.test).strip() + "\n"


QUESTIONS: Final = (
    Question(
        title="A Python function over the groups of a pandas frame",
        link="https://stackoverflow.com/questions/11728836",
        asked="Applying a Python function to each group is slow, and processes must pickle every group. Do they pay?",
        test="""
            import pandas

            FRAME = pandas.DataFrame({"city": [at % 50 for at in range(20_000)], "price": 1.5, "amount": 3})


            def with_tax(group):
                return sum(round(price * amount * 1.19, 2) for price, amount in zip(group["price"], group["amount"]))


            def by_city(frame):
                return frame.groupby("city")[["price", "amount"]].apply(with_tax)


            def test_groups(gilprobe):
                gilprobe(by_city, FRAME)
            """,
        decisions={
            "processes": "Processes, each given a part of the frame with whole groups in it: the function holds "
            "the GIL, and "
            "moving the frame costs little beside it. Moving one group at a time would not pay.",
            "serial": "Stay serial, or make the function faster first: moving the frame eats the gain.",
        },
    ),
    Question(
        title="Pickling arrays in threads",
        link="https://github.com/cloudpipe/cloudpickle/issues/374",
        asked="Large arrays are serialized in a thread pool, and it takes as long as one after the other. Is it "
        "the GIL?",
        test="""
            import pickle

            import numpy

            ARRAY = numpy.arange(500_000.0)


            def test_pickle(gilprobe):
                gilprobe(pickle.dumps, ARRAY)
            """,
        decisions={
            "serial": "Stay serial. Yes, it is the GIL: pickling holds it while it copies. Processes do not help "
            "either, since an "
            "array must be pickled to get there.",
            "threads": "Threads gain here, though pickling holds the GIL for a part of the time.",
        },
    ),
    Question(
        title="Large arrays back from processes",
        link="https://github.com/joblib/joblib/issues/915",
        asked="Workers return arrays of many megabytes. Does what processes gain survive moving them?",
        test="""
            import numpy


            def field(size):
                return numpy.sqrt(numpy.arange(size, dtype=float))


            def test_field(gilprobe):
                gilprobe(field, 2_000_000)
            """,
        decisions={
            "inconclusive": "Not processes: moving an array out of one costs more than computing it. "
            "Threads can gain as far as memory allows: try them, and measure there.",
            "threads": "Threads: NumPy lets go of the GIL here, and threads share the result. Moving the array "
            "out of a process costs "
            "more than computing it.",
            "serial": "Stay serial: memory is the limit, which threads share, and moving the array costs more "
            "than computing it.",
        },
    ),
    Question(
        title="Parsing JSON in threads",
        link="https://github.com/ijl/orjson/issues/305",
        asked="Could several threads parse several documents faster?",
        test="""
            import json

            TEXT = json.dumps([{"id": at, "city": "Wien", "prices": [at, at + 1], "paid": True} for at in range(4_000)])


            def test_parse(gilprobe):
                gilprobe(json.loads, TEXT)
            """,
        decisions={
            "serial": "Stay serial. Parsing makes Python objects, so it holds the GIL; and to bring these "
            "objects back from a process "
            "takes about as long as parsing. Have a process do the work that follows, and return its result only.",
            "processes": "Processes, but only just: the objects must come back, which takes about as long as "
            "parsing. Have the process "
            "do the work that follows, and return its result only.",
        },
    ),
    Question(
        title="SQLite queries in threads",
        link="https://github.com/simonw/datasette/issues/1727",
        asked="Reads of one database run in several threads, each with its own connection. Do they use several cores?",
        test="""
            import contextlib
            import sqlite3

            import pytest


            @pytest.fixture(scope="module")
            def database(tmp_path_factory):
                path = tmp_path_factory.mktemp("db") / "orders.db"
                with contextlib.closing(sqlite3.connect(path)) as connection, connection:
                    connection.execute("create table orders (city, price)")
                    rows = [(at % 97, at / 7) for at in range(50_000)]
                    connection.executemany("insert into orders values (?, ?)", rows)
                return path


            def totals(path):
                with contextlib.closing(sqlite3.connect(path)) as connection:
                    return connection.execute("select city, sum(price) from orders group by city").fetchall()


            def test_totals(gilprobe, database):
                gilprobe(totals, database)
            """,
        decisions={
            "threads": "Threads: SQLite lets go of the GIL while it searches, and few rows come back. A query "
            "that returns many rows makes "
            "Python objects, and would hold it.",
            "processes": "Processes: SQLite lets go of the GIL, but its threads share locks of their own. Of a "
            "few rows the result costs nothing.",
            "serial": "Stay serial: what the threads share is SQLite's own, not the GIL.",
        },
    ),
    Question(
        title="Many small downloads",
        link="https://github.com/nomic-ai/nomic/pull/358",
        asked="Twenty small files are fetched one after the other. Are threads enough, or must it be processes "
        "or async code?",
        test='''
            import subprocess
            import sys
            import urllib.request

            import pytest

            SERVER = """
            import http.server, time

            class Page(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    time.sleep(0.02)
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(b"x" * 2_000)

                def log_message(self, *_):
                    pass

            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
            print(server.server_port, flush=True)
            server.serve_forever()
            """


            @pytest.fixture(scope="module")
            def url():
                with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
                    yield f"http://127.0.0.1:{server.stdout.readline().strip()}/"
                    server.kill()


            def fetch(url):
                with urllib.request.urlopen(url) as page:
                    return page.read()


            def test_download(gilprobe, url):
                gilprobe(fetch, url)
            ''',
        decisions={
            "threads": "Threads: a thread that waits for the network has let go of the GIL. Many more threads "
            "than cores may pay, since "
            "each only waits: try `workers=16`.",
        },
    ),
    Question(
        title="A client with a rate limit",
        link="https://github.com/vutran1710/PyrateLimiter/issues/106",
        asked="All threads share a limiter that lets one request go at a time. Why do more threads not help?",
        test="""
            import threading
            import time


            class Limited:
                def __init__(self, pause_s):
                    self.pause_s = pause_s
                    self.next_s = 0.0
                    self.lock = threading.Lock()

                def get(self):
                    with self.lock:
                        time.sleep(max(0.0, self.next_s - time.monotonic()))
                        self.next_s = time.monotonic() + self.pause_s
                    return "answer"


            CLIENT = Limited(0.01)


            def get():
                return CLIENT.get()


            def test_client(gilprobe):
                gilprobe(get)
            """,
        decisions={
            "processes": "Stay serial, although processes read 2x: each process has a limiter of its own, so "
            "together they break the limit. "
            "The report names the limit: threads wait, and not for the GIL. Ask for a higher rate, or for more "
            "in each request.",
            "serial": "Stay serial: the limit is the limit. Ask for a higher rate, or for more in each request.",
        },
    ),
    Question(
        title="A random forest that predicts a few rows",
        link="https://github.com/scikit-learn/scikit-learn/issues/16143",
        asked="Predicting a handful of rows is slower with more jobs. Should requests be served by threads, then?",
        test="""
            import numpy
            from sklearn.ensemble import RandomForestClassifier

            POINTS = numpy.random.default_rng(1).random((500, 8))
            FOREST = RandomForestClassifier(n_estimators=50, random_state=1).fit(POINTS, POINTS[:, 0] > 0.5)


            def predict(rows):
                return FOREST.predict(rows)


            def test_predict(gilprobe):
                gilprobe(predict, POINTS[:5])
            """,
        decisions={
            "processes": "Processes, each with the forest loaded, and one job in each: for a few rows the time "
            "goes into Python code "
            "around the trees, which holds the GIL. More jobs inside a call only add to that.",
            "threads": "Threads, with one job in each call: they share the forest, and the trees let go of the GIL.",
            "serial": "Stay serial, and predict more rows in one call: what a call costs is the Python code "
            "around the trees.",
        },
    ),
    Question(
        title="Logging from threads",
        link="https://github.com/PyAV-Org/PyAV/issues/2276",
        asked="Threads that log a lot spend their time waiting for a lock. How much does it cost?",
        test="""
            import logging

            import pytest


            @pytest.fixture(scope="module")
            def log(tmp_path_factory):
                made = logging.Logger("orders")
                handler = logging.FileHandler(tmp_path_factory.mktemp("log") / "orders.log")
                handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
                made.addHandler(handler)
                yield made
                handler.close()


            @pytest.mark.gilprobe
            def test_log(log):
                for number in range(100):
                    log.info("order %d is paid", number)
            """,
        decisions={
            "inconclusive": "Do not log in the threads that compute: they take turns. A `QueueHandler` and one "
            "thread that writes, or fewer lines, cost them less; whether processes gain is open.",
            "processes": "Do not log in the threads that compute: they take turns, and are slower than one. "
            "Processes gain, but each "
            "needs a file of its own. Usually a `QueueHandler` and one thread that writes are enough, or fewer lines.",
            "serial": "Do not log in the threads that compute: they take turns. A `QueueHandler` and one thread "
            "that writes, or fewer "
            "lines, cost them less.",
        },
    ),
    Question(
        title="A pool's map over short lists",
        link="https://github.com/joblib/loky/issues/12",
        asked="Mapping a small function over a list by a pool of processes is slower than a loop. From what size "
        "on does it pay?",
        test="""
            def total(numbers):
                return sum(numbers)


            def test_total(gilprobe):
                gilprobe(total, list(range(20)))
            """,
        decisions={
            "serial": "Stay serial: dispatching a task takes many times as long as the call, and so does moving its "
            "list, so larger tasks do not help either. Where they would, the report says *or hand a pool 1100 calls at "
            "a time*: that is the `chunksize`.",
        },
    ),
)


def measured(folder: Path) -> Report:
    """Probe all tests in one session, in the order of the questions."""
    files = []
    for number, question in enumerate(QUESTIONS, 1):
        files.append(f"test_{number:02}.py")
        (folder / files[-1]).write_text(question.source, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    flags = ["-q", "-p", "no:cacheprovider", "--gilprobe-report", "--gilprobe-max-time=15", *files]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "pytest", *flags], cwd=folder, env=environment, check=True)
    return read_report(folder / "reports" / "gilprobe.json")


def page(report: Report) -> Iterator[str]:
    """Draw the page: what was asked, the test, its report, the decision."""
    machine = report.environment
    python, today = platform.python_version(), dt.datetime.now(tz=dt.UTC).date()
    yield "# What people asked\n"
    made = f"`python benchmarks/questions.py`, {today}, CPython {python}, {machine.cpus_usable} CPUs"
    yield "Ten questions from public threads, in our words. Each has a test that anybody can run, what its report"
    yield f"says, and the decision that follows. Made by {made}.\n"
    for number, (question, workload) in enumerate(zip(QUESTIONS, report.workloads, strict=True), 1):
        found = workload.verdict.strategy
        drawn = terminal.text(
            brief_terminal.draw(replace(report, workloads=(workload,)), BUILT_IN, width=WIDTH), color=False
        ).rstrip()
        yield f"## {number}. {question.title}\n"
        yield f"*{question.asked}* ([asked here]({question.link}))\n"
        yield f"```python\n{question.source}```\n"
        yield "```text\n{}\n```\n".format("\n".join(drawn.splitlines()[1:]))  # without the count
        still_open = OPEN if "serial" in workload.verdict.candidates else EITHER_POOL
        yield f"**Decision.** {question.decisions.get(found, still_open)}\n"


def main() -> None:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default=str(ROOT / "docs" / "questions.md"), help="file to write, - for none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(page(measured(Path(folder).resolve()))).rstrip() + "\n"
    if arguments.output == "-":
        print(text)
    else:
        Path(arguments.output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
