"""Take the documentation's pictures from real reports: needs Chromium.

Usage: python benchmarks/pictures.py REPORT.html MATRIX.html TUTORIAL.html FOLDER

Each is a file that a session or ``gilprobe compare`` left; FOLDER is ``docs/images``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import browser

SIZES = {
    "sample-light": (0, 1280, 1100, False, ""),
    "sample-why": (0, 1280, 900, False, "#evidence"),
    "sample-dark": (0, 1280, 900, True, "#evidence"),
    "sample-phone": (0, 390, 1000, False, ""),
    "matrix-words": (1, 1440, 400, False, ""),
    "matrix-light": (1, 1440, 1100, False, "main table"),
    "tutorial-light": (2, 1180, 900, False, ""),
}
"""For each picture: its page, width and height in CSS pixels, whether the reader prefers dark, what to scroll to."""


def main(pages: list[Path], folder: Path) -> None:
    """Open each page and save what the window shows."""
    program = browser.find()
    if program is None:
        sys.exit(f"no Chromium on this machine: looked for {', '.join(browser.NAMES)}")
    with tempfile.TemporaryDirectory() as profile, browser.chromium(program, Path(profile)) as tab:
        for name, (page, width, height, dark, at) in SIZES.items():
            tab.look(width=width, height=height, dark=dark)
            tab.open(pages[page].resolve())
            if at:
                tab.ask(f"document.querySelector('{at}').scrollIntoView({{behavior: \"instant\"}})")
            tab.picture(folder / f"{name}.png")
            print(f"{folder / name}.png")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main([Path(path) for path in sys.argv[1:4]], Path(sys.argv[4]))
