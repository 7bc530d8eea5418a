"""The five cases of every introduction to concurrency in Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sample_workloads import picture
from sample_workloads.expected import AROUND_THE_GIL_SHARING

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.gilprobe(expect="threads", expect_bound="io")
def test_downloading_files(get: Callable[[str], bytes]) -> None:
    """I/O-bound, so threads: a thread that waits for the network has let go of the GIL, and others run meanwhile.

    256 KiB from a server that takes 30 ms to answer. Processes would wait side by side just as well, but cost more.

    Source: CPython documentation, glossary, "global interpreter lock": "the GIL is always released when doing I/O";
    `threading`: "an appropriate model if you want to run multiple I/O-bound tasks simultaneously".
    """
    assert len(get("/file?wait_ms=30")) == 256 * 1024


@pytest.mark.gilprobe(expect="threads", expect_bound="io")
def test_api_calls(get: Callable[[str], bytes]) -> None:
    """I/O-bound, so threads: 25 ms of waiting for a small JSON answer, which takes well under a millisecond to read.

    Source: as for downloading files.
    """
    assert json.loads(get("/users/7?wait_ms=25"))["name"] == "Ada"


@pytest.mark.gilprobe(expect=AROUND_THE_GIL_SHARING, expect_bound="cpu")
def test_image_processing() -> None:
    """CPU-bound in Python, so processes: bytecode computes each pixel, and only the thread with the GIL runs bytecode.

    The picture in shades of grey, pixel by pixel. On a Python without a GIL threads compute too (1.5x to 2.0x for two
    in CPython 3.13t), as far as they do not slow each other down by the objects that they share.

    Source: CPython documentation, `threading`: "due to the Global Interpreter Lock, only one thread can execute
    Python code at once"; `multiprocessing`: "side-stepping the Global Interpreter Lock by using subprocesses instead
    of threads".
    """
    image = picture.from_png(picture.PATH.read_bytes())
    grey = bytearray()
    for at in range(0, len(image.pixels), 3):
        red, green, blue = image.pixels[at : at + 3]
        grey.append((red * 299 + green * 587 + blue * 114) // 1000)
    assert len(grey) == image.width * image.height


@pytest.mark.gilprobe(expect=AROUND_THE_GIL_SHARING, expect_bound="cpu")
def test_data_crunching() -> None:
    """CPU-bound in Python, so processes: each has a GIL of its own.

    On a Python without a GIL threads compute too (1.5x to 2.0x for two in CPython 3.13t).

    Source: as for image processing.
    """
    n = 200_000
    assert sum(i * i for i in range(n)) == (n - 1) * n * (2 * n - 1) // 6


@pytest.mark.gilprobe(expect="serial", expect_bound="cpu")
def test_simple_scripting() -> None:
    """A few microseconds, so serial: to hand a call to a thread costs more than the call, to a process far more.

    Source: CPython documentation, `concurrent.futures.Executor.map`, where ``chunksize`` is there to hand out calls
    by the heap; and the measurement of the cost of handing out that every verdict rests on.
    """
    lines = "title = Quarterly report\nformat = pdf\npages = 12\nlanguage = en\ndraft = no".splitlines()
    settings = dict(line.split(" = ") for line in lines)
    assert settings["pages"] == "12"
