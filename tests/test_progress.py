"""`pytest_gilprobe.plugin.progress`: words behind the cursor that leave no trace."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_gilprobe.plugin.progress import Progress


class Writer:
    """A terminal writer that keeps what it is told."""

    def __init__(self, at: int, fullwidth: int) -> None:
        self.width_of_current_line = at
        self.fullwidth = fullwidth
        self.text = ""
        self._file = self

    def flush(self) -> None:
        """Do nothing."""

    def write(self, text: str, **_: object) -> None:
        self.text += text

    def screen(self) -> str:
        """Say what a terminal shows of it: a backspace moves left, a character overwrites."""
        shown: list[str] = []
        cursor = 0
        for character in self.text:
            if character == "\b":
                cursor -= 1
                continue
            shown[cursor : cursor + 1] = [character]
            cursor += 1
        return "".join(shown).rstrip()


def make(*, tty: bool = True, verbosity: int = 0, at: int = 10) -> tuple[Progress, Writer]:
    """Make a `Progress` on a fake terminal of 80 columns, the cursor at ``at``."""
    writer = Writer(at, 80)
    config = SimpleNamespace(get_terminal_writer=lambda: writer)
    reporter = SimpleNamespace(isatty=tty, verbosity=verbosity, config=config)
    plugins = SimpleNamespace(get_plugin=lambda name: reporter if name == "terminalreporter" else None)
    return Progress(cast("pytest.Config", SimpleNamespace(pluginmanager=plugins))), writer


def test_words_are_shown_on_a_terminal() -> None:
    """On a terminal the words stand behind the cursor."""
    progress, writer = make()
    progress.show("threads 3")
    assert writer.screen() == " [gilprobe: threads 3]"


def test_new_words_replace_the_old_ones() -> None:
    """Shorter words leave nothing of longer ones."""
    progress, writer = make()
    progress.show("processes 10")
    progress.show("serial 1")
    assert writer.screen() == " [gilprobe: serial 1]"


def test_nothing_is_left_when_cleared() -> None:
    """After the end of a probe the line is as it was before, however often it is cleared."""
    progress, writer = make()
    progress.show("start")
    progress.clear()
    written = writer.text
    progress.clear()
    assert writer.screen() == ""
    assert writer.text == written


@pytest.mark.parametrize("quiet", [{"tty": False}, {"verbosity": -1}])
def test_nothing_is_shown_where_nobody_looks(quiet: dict[str, Any]) -> None:
    """Into a file, and under ``-q``, nothing is written."""
    progress, writer = make(**quiet)
    progress.show("start")
    progress.clear()
    assert writer.text == ""


def test_nothing_is_shown_where_the_line_is_full() -> None:
    """Words that would wrap could not be taken back, so they are not shown."""
    progress, writer = make(at=70)
    progress.show("threads 3")
    assert writer.text == ""


def test_session_without_a_terminal_reporter() -> None:
    """Under ``-p no:terminal`` there is nobody to tell."""
    plugins = SimpleNamespace(get_plugin=lambda _: None)
    progress = Progress(cast("pytest.Config", SimpleNamespace(pluginmanager=plugins)))
    progress.show("start")
    progress.clear()
