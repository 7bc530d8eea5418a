"""Thirteen kinds of work with libraries that people use every day, one test each. See ``libraries.py``.

    pytest benchmarks/library_workloads.py --gilprobe-report -k yaml

Each call returns little, as a function that is to run in a pool should. No answer is written here: the truth of each is
measured, by ``truth.py``.
"""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bs4
import httpx
import jinja2
import lxml.html
import numpy as np
import pandas as pd
import PIL.Image
import pydantic
import pytest
import requests
import sklearn.ensemble
import sqlalchemy as sa
import yaml
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVER: Final = Path(__file__).resolve().parent.parent / "sample_workloads" / "server.py"
ADDRESS: Final = "GILPROBE_LIBRARIES_ADDRESS"
ROWS: Final = 3_000
CSV: Final = "city,price,amount\n" + "".join(f"city-{at % 50},{at / 7:.2f},{at % 9}\n" for at in range(8 * ROWS))
FRAME: Final = pd.read_csv(io.StringIO(CSV))
PAGE: Final = (
    "<html><body>"
    + "".join(f'<div class="row"><a href="/{at}">item {at}</a><b>{at / 7:.2f}</b></div>' for at in range(600))
    + "</body></html>"
)
POINTS: Final = np.random.default_rng(1).random((500, 8))
FOREST: Final = sklearn.ensemble.RandomForestClassifier(n_estimators=50, random_state=1)
FOREST.fit(POINTS, POINTS[:, 0] > 0.5)
SETTINGS: Final = yaml.safe_dump([{"name": f"job-{at}", "steps": ["build", "test"], "retries": at} for at in range(30)])
PICTURE: Final = io.BytesIO()
"""A JPEG file of 1.5 megapixels."""
PIL.Image.fromarray(np.add.outer(np.arange(1_000), np.arange(1_500)).astype(np.uint8)).save(PICTURE, "JPEG")
ORDERS: Final = [{"number": at, "city": "Wien", "prices": [at * 1.5, 2.5], "paid": bool(at % 2)} for at in range(500)]
SECRET: Final = bytes(1 << 20)
CLIENT: Final = httpx.Client(timeout=10)
"""Making a client costs much more than asking with it."""
CIPHER: Final = AESGCM(bytes(range(32)))
TEMPLATE: Final = jinja2.Environment(autoescape=True).from_string(
    "{% for order in orders %}<p>{{ order.number }}: {{ order.city|upper }}</p>{% endfor %}"
)


@dataclass
class Order:
    """What pydantic validates."""

    number: int
    city: str
    prices: list[float]
    paid: bool


def read_table(text: str) -> int:
    """Parse a CSV file with pandas."""
    return len(pd.read_csv(io.StringIO(text)))


def cents(group: pd.DataFrame) -> float:
    """Add a group's prices up, as Python code does."""
    return sum(round(float(price * amount), 2) for price, amount in zip(group["price"], group["amount"], strict=True))


def by_city(frame: pd.DataFrame) -> float:
    """Apply a Python function to each group of a frame."""
    return float(frame.groupby("city")[["price", "amount"]].apply(cents).sum())


def predict(rows: np.ndarray[Any, Any]) -> int:
    """Predict a few rows with a forest of scikit-learn."""
    return int(FOREST.predict(rows).sum())


def get_with_requests(url: str) -> int:
    """Ask an API with requests."""
    return len(requests.get(url, timeout=10).json())


def get_with_httpx(url: str) -> int:
    """Ask an API with httpx."""
    return len(CLIENT.get(url).json())


def links_by_lxml(page: str) -> int:
    """Find the links of a page with lxml."""
    return len(lxml.html.fromstring(page).xpath("//div[@class='row']/a/@href"))


def links_by_soup(page: str) -> int:
    """Find the links of a page with Beautiful Soup."""
    return len(bs4.BeautifulSoup(page, "html.parser").select("div.row a"))


def load_settings(text: str) -> int:
    """Parse YAML."""
    return len(yaml.safe_load(text))


def thumbnail(data: bytes) -> int:
    """Make a small picture of a large one with Pillow."""
    picture = PIL.Image.open(io.BytesIO(data))
    small = io.BytesIO()
    picture.resize((300, 200), PIL.Image.Resampling.LANCZOS).save(small, "JPEG")
    return len(small.getvalue())


def query(path: str) -> float:
    """Read rows with SQLAlchemy, and add them up."""
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    with engine.connect() as connection:
        return sum(float(row.price) for row in connection.execute(sa.text("select number, city, price from orders")))


def validate(orders: list[dict[str, Any]]) -> int:
    """Validate a list of records with pydantic."""
    return len(pydantic.TypeAdapter(list[Order]).validate_python(orders))


def encrypt(data: bytes) -> int:
    """Encrypt a megabyte with cryptography."""
    return len(CIPHER.encrypt(bytes(12), data, None))


def render(orders: list[dict[str, Any]]) -> int:
    """Render a page with Jinja2."""
    return len(TEMPLATE.render(orders=orders))


WORKLOADS: Final[dict[str, tuple[Callable[..., object], *tuple[Any, ...]]]] = {
    "pandas-read-csv": (read_table, CSV),
    "pandas-group-by": (by_city, FRAME),
    "scikit-learn-predict": (predict, POINTS[:5]),
    "lxml-links": (links_by_lxml, PAGE),
    "bs4-links": (links_by_soup, PAGE),
    "yaml-load": (load_settings, SETTINGS),
    "pillow-thumbnail": (thumbnail, PICTURE.getvalue()),
    "pydantic-validate": (validate, ORDERS),
    "cryptography-encrypt": (encrypt, SECRET),
    "jinja2-render": (render, ORDERS),
}
"""The function and the arguments of each workload, by its name."""


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make a database of one table; return its path."""
    path = str(tmp_path_factory.mktemp("libraries") / "orders.db")
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table orders (number integer, city text, price float)")
        rows = [(at, f"city-{at % 9}", at / 7) for at in range(ROWS)]
        connection.executemany("insert into orders values (?, ?, ?)", rows)
    return path


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Run a server that answers after 20 ms, in a process of its own, unless a process above has started one."""
    if ADDRESS in os.environ:
        yield os.environ[ADDRESS]
        return
    with subprocess.Popen([sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        os.environ[ADDRESS] = f"http://127.0.0.1:{process.stdout.readline().decode().strip()}/?wait_ms=20"
        try:
            yield os.environ[ADDRESS]
        finally:
            del os.environ[ADDRESS]


@pytest.mark.parametrize("name", WORKLOADS)
def test_work(name: str, gilprobe: Any) -> None:
    """Call the function, which the probe then repeats."""
    func, *arguments = WORKLOADS[name]
    gilprobe(func, *arguments)


def test_requests_get(address: str, gilprobe: Any) -> None:
    """Ask an API with requests."""
    gilprobe(get_with_requests, address)


def test_httpx_get(address: str, gilprobe: Any) -> None:
    """Ask an API with httpx."""
    gilprobe(get_with_httpx, address)


def test_sqlalchemy_query(database: str, gilprobe: Any) -> None:
    """Read rows with SQLAlchemy."""
    gilprobe(query, database)
