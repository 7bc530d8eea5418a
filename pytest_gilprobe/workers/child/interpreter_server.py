"""The server of one subinterpreter: a pytest session of its own, in a thread of the process that hosts it.

It answers the questions that the hosting process passes on, as the server of a worker process answers those of pytest's
own process. All subinterpreters of the process share the log and the standard streams, so it leaves them alone.
"""

from __future__ import annotations

import pickle
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, NoReturn

from pytest_gilprobe.observe.gil_address import Location, locate
from pytest_gilprobe.workers.child.import_record import ImportRecord
from pytest_gilprobe.workers.child.process import CHANNEL_LOST, end
from pytest_gilprobe.workers.child.server import Server

if TYPE_CHECKING:
    import pytest

    from pytest_gilprobe.workers.protocol import Answer
    from pytest_gilprobe.workers.worker_spec import WorkerSpec


def serve(descriptor: int, log: int, pickled_spec: bytes) -> None:
    """Run the pytest session of this subinterpreter, which answers the questions of the process that hosts it.

    ``descriptor`` is the file descriptor of the pipe for questions and answers, ``log`` that of the hosting process's
    log. ``pickled_spec`` is the pickled `WorkerSpec` of the session.
    """
    record = ImportRecord()
    spec: WorkerSpec = pickle.loads(pickled_spec)  # noqa: S301 - pickled by the host
    InterpreterServer(Connection(descriptor), spec, log, record).run()


class InterpreterServer(Server):
    """Answers questions in a subinterpreter; they come from the process that hosts it.

    Each message to that process is a pair: the answer, and the extension modules imported so far.
    """

    shared = True

    def __init__(self, channel: Connection, spec: WorkerSpec, log: int, record: ImportRecord) -> None:
        """Prepare to run the pytest session that ``spec`` describes, and to answer the questions on ``channel``.

        ``log`` is the file descriptor of the hosting process's log. ``record`` records this interpreter's imports.
        """
        super().__init__(channel, spec, log)
        self._record = record

    @staticmethod
    def pytest_addoption(parser: pytest.Parser) -> None:
        """Declare the ini keys of pytest's plugin faulthandler, so that an ini file may have them.

        The plugin itself is switched off, because its module does not load in subinterpreters.
        """
        for name in ("faulthandler_timeout", "faulthandler_exit_on_timeout"):
            parser.addini(name, "declared by pytest-gilprobe in subinterpreters; without effect", default=None)

    def say(self, answer: Answer) -> None:
        """Send an answer to the process that hosts this subinterpreter; end that process if the pipe is closed."""
        try:
            self._channel.send((answer, self._record.all()))
        except (OSError, ValueError):
            end(CHANNEL_LOST)

    def _end(self, status: int) -> NoReturn:
        """Leave this interpreter to the host, which ends the process; end the process if a test's call did it."""
        if status and self._serving:
            end(status)
        self._channel.send(None)
        threading.Event().wait()
        raise AssertionError  # the event is never set

    def _settle(self) -> None:
        """Leave the log and the standard streams as they are: they are the host's."""

    def _own_gil(self) -> Location:
        return locate(of_this_interpreter=True)
