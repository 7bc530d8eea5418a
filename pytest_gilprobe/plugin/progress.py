"""Show a probe's progress, such as ``threads 2``, at the end of pytest's current line on a terminal; erase it later."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


class Progress:
    """Shows a few words at the end of pytest's current line of output, and erases them again with backspaces."""

    def __init__(self, config: pytest.Config) -> None:
        """Find the terminal; nothing is shown if the output is not a terminal, or with ``-q``."""
        reporter: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
        self._reporter = reporter if reporter is not None and reporter.isatty and reporter.verbosity >= 0 else None
        self._shown = 0

    def show(self, words: str) -> None:
        """Show ``words`` in place of earlier ones; show nothing without a terminal, or if the line is too full."""
        self.clear()
        if self._reporter is None:
            return
        writer = self._reporter.config.get_terminal_writer()
        text = f" [gilprobe: {words}]"
        if writer.width_of_current_line + len(text) >= writer.fullwidth:
            return
        self._past_the_writer(text)
        self._shown = len(text)

    def clear(self) -> None:
        """Erase the words shown, if any."""
        if self._reporter is None or not self._shown:
            return
        shown, self._shown = self._shown, 0
        self._past_the_writer("\b" * shown + " " * shown + "\b" * shown)

    def _past_the_writer(self, text: str) -> None:
        """Write what is no part of the line.

        Private access: ``_file``. The writer counts what goes through it as part of the current line, to place the
        percentage at its end; a backspace in it makes that count -1, and there is no public way around it.
        """
        if self._reporter is not None:
            file = self._reporter.config.get_terminal_writer()._file  # noqa: SLF001 - see above
            file.write(text)
            file.flush()
