"""Take the documentation's pictures, and what its tutorial prints, from real reports: needs Chromium.

Usage: python benchmarks/pictures.py [--no-tutorial]

Draws ``reports/py*`` anew, probes downloads from a server that takes four at a time, for the picture of a curve, and
takes ``docs/images/``. Then runs the tutorial's code, about half a minute that wants an
idle machine, takes its picture and puts what the terminal shows into ``docs/tutorial.md``.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import browser  # noqa: E402 the path comes first
import join  # noqa: E402
import scaling  # noqa: E402

from pytest_gilprobe import Prober  # noqa: E402
from pytest_gilprobe.cli import main as gilprobe  # noqa: E402
from pytest_gilprobe.model import report_json  # noqa: E402
from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: E402

SAMPLE = "py313"
"""The Python whose report is shown."""
TUTORIAL = ROOT / "docs/tutorial.md"
IMAGES = ROOT / "docs/images"
ANSWERS = ("threads", "processes", "threads")
"""What the tutorial's prose says of its three tests; a machine too busy to find that is no place for its picture."""
HEAD_LINES = 2
"""Lines at the top of the short report that are bold: title, and number of each answer."""
COLORS = {
    "green": "#8ae234",
    "cyan": "#34e2e2",
    "yellow": "#fce94f",
    "red": "#ff6b6b",
    "blue": "#8ab4f8",
    "purple": "#d7a6ff",
}
"""What a dark terminal shows for the colors that are asked of it."""
SIZES = {
    "terminal": ("terminal", 740, 235, True, ""),
    "sample-light": ("sample", 1280, 1080, False, ""),
    "sample-why": ("sample", 1280, 1010, False, "#evidence"),
    "sample-dark": ("sample", 1280, 1010, True, "#evidence"),
    "sample-phone": ("sample", 390, 1000, False, ""),
    "sample-why-phone": ("sample", 390, 1000, False, "article"),
    "matrix-words": ("matrix", 1200, 880, False, ""),
    "matrix-light": ("matrix", 1440, 1080, False, "#h-matrix"),
    "curve": ("curve", 1180, 460, False, ".curves"),
    "tutorial-light": ("tutorial", 1180, 1250, False, ""),
}
"""For each picture: its page, width and height in CSS pixels, whether the reader prefers dark, what to scroll to."""


def draw(folder: Path) -> None:
    """Draw the pages of the committed reports."""
    reports = [str(path) for path in join.found(ROOT / "reports")]
    sample = str(ROOT / f"reports/{SAMPLE}/gilprobe.json")
    if gilprobe(["render", sample, "-o", str(folder / "sample.html")]):
        sys.exit(1)
    if gilprobe(["compare", *reports, "-o", str(folder / "matrix.html")]):
        sys.exit(1)


def draw_curve(folder: Path) -> None:
    """Draw the curve of downloads from a server that takes four at a time."""
    server = scaling.Server("limit", 4, 20)
    try:
        call = server.call()
        call.__name__ = call.__qualname__ = "download"
        found = Prober(strategies="threads", max_time=1, start_method="fork", scale=True).probe(call)
    finally:
        server.end()
    report_json.write_atomic(folder / "curve.json", report_json.to_json(found.report))
    if gilprobe(["render", str(folder / "curve.json"), "-o", str(folder / "curve.html")]):
        sys.exit(1)


def draw_terminal(folder: Path, text: str) -> None:
    """Draw what the tutorial's terminal shows, in the colors of a terminal, as a page."""
    block = re.search(r"^\$ pytest --gilprobe-report\n(.*?)(?=^```$)", text, re.MULTILINE | re.DOTALL)
    if block is None:
        sys.exit(f"{TUTORIAL.name}: no block of pytest --gilprobe-report found")
    shown = "\n".join(_in_color(line, bold=number < HEAD_LINES) for number, line in enumerate(block[1].splitlines()))
    style = "margin:0;padding:12px;background:#1d1f21;color:#d3d7cf;font:14px/1.3 monospace"
    page = (
        f'<!doctype html><meta charset="utf-8"><body style="{style}"><pre style="margin:0;font:inherit">{shown}</pre>'
    )
    (folder / "terminal.html").write_text(page, "utf-8")


def _in_color(line: str, *, bold: bool) -> str:
    """Mark a line up as a terminal shows it: its answer, if it begins with one, in the strategy's color."""
    answer = re.match(r"(serial|threads|processes)( [\d.]+x)?(?=  )", line)
    if answer is None:
        weight = "bold" if bold else "normal"
        return f'<span style="font-weight:{weight}">{html.escape(line)}</span>'
    color = COLORS[BUILT_IN[answer[1]].color]
    return f'<b style="color:{color}">{answer[0]}</b>{html.escape(line[answer.end() :])}'


def follow_the_tutorial(folder: Path) -> str:
    """Do what the tutorial says, and give its text with what was printed this time."""
    text = TUTORIAL.read_text("utf-8")
    for name, code in re.findall(r"^```python\n# ((?:test_)?orders\.py)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        (folder / name).write_text(code, "utf-8")
    for flags in ("-q", "--gilprobe-report"):
        print(f"$ pytest {flags}")
        printed = _printed(folder, flags)
        _check_answers(printed)
        block = re.compile(rf"(?<=^```console\n\$ pytest {flags}\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
        text, replaced = block.subn(lambda _, new=printed: new, text)  # type: ignore[misc] # mypy knows no bound lambda
        if replaced != 1:
            sys.exit(f"{TUTORIAL.name}: found {replaced} blocks of pytest {flags}, expected 1")
    (folder / "reports/gilprobe.html").rename(folder / "tutorial.html")
    return text


def _check_answers(printed: str) -> None:
    """Give up, with nothing written, unless the answers are those that the tutorial tells of."""
    found = re.findall(r"^(serial|threads|processes|inconclusive)(?: [\d.]+x)?  ", printed, re.MULTILINE)
    if tuple(found) != ANSWERS:
        sys.exit(f"{printed}found {', '.join(found)}, the tutorial says {', '.join(ANSWERS)}: try again when idle")


def _printed(folder: Path, flags: str) -> str:
    """Run pytest there and give what it prints; of a whole report, from its title to its end."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", flags]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    environment.pop("GITHUB_STEP_SUMMARY", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    report = re.search(r"^=+ gilprobe: .*? =+\n.*?(?=\n=+ 3 passed)", done.stdout, re.MULTILINE | re.DOTALL)
    return f"{(report[0] if report else done.stdout).strip()}\n"


def take(folder: Path) -> None:
    """Open each page that was drawn and save what the window shows."""
    program = browser.find()
    if program is None:
        sys.exit(f"no Chromium on this machine: looked for {', '.join(browser.NAMES)}")
    with browser.chromium(program, folder / "profile") as tab:
        for name, (page, width, height, dark, at) in SIZES.items():
            if not (folder / f"{page}.html").is_file():
                continue
            tab.look(width=width, height=height, dark=dark)
            tab.open(folder / f"{page}.html")
            if at:
                tab.ask(f"document.querySelector('{at}').scrollIntoView({{behavior: \"instant\"}})")
            tab.picture(IMAGES / f"{name}.png")
            print(f"docs/images/{name}.png")


def main(*, tutorial: bool) -> None:
    """Take all pictures; the tutorial's text is written last, when all went well."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw(folder)
        draw_curve(folder)
        text = follow_the_tutorial(folder) if tutorial else None
        draw_terminal(folder, text or TUTORIAL.read_text("utf-8"))
        take(folder)
    if text is not None:
        TUTORIAL.write_text(text, "utf-8")


if __name__ == "__main__":
    if set(sys.argv[1:]) - {"--no-tutorial"}:
        sys.exit(__doc__)
    main(tutorial="--no-tutorial" not in sys.argv)
