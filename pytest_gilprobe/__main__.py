"""Run the command line: ``python -m pytest_gilprobe`` does the same as ``gilprobe``."""

from __future__ import annotations

import sys

from pytest_gilprobe.cli import main

if __name__ == "__main__":
    sys.exit(main())
