"""Drawings as HTML, read by a parser and, where there is one, by a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import browser
import goldens
import pytest
from comparison_fixture import CRUNCHING, free_threaded_report, precise_report
from hypothesis import HealthCheck, given, settings
from reports_fixture import HOSTILE_ERROR, HOSTILE_NODEID, rich_report, threads, with_parts
from strategies import reports

from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.safe_text import safe_line, safe_lines
from pytest_gilprobe.report import html
from pytest_gilprobe.report.compare import compare
from pytest_gilprobe.strategies.registry import BUILT_IN

VOID = {"meta", "input", "br", "wbr"}
OURS = {
    *(
        "name",
        "content",
        "charset",
        "http-equiv",
        "lang",
        "id",
        "class",
        "href",
        "for",
        "type",
        "placeholder",
        "hidden",
    ),
    *(
        "autocomplete",
        "scope",
        "colspan",
        "role",
        "tabindex",
        "width",
        "height",
        "x",
        "y",
        "x1",
        "x2",
        "y1",
        "y2",
        "dx",
    ),
    *("text-anchor", "viewbox", "d", "cx", "cy", "r", "patternunits", "patterntransform"),
}
"""The attributes that a page has, beside those that begin with ``aria-`` or ``data-``."""


class Reader(HTMLParser):
    """Reads a page: tags have to be balanced; keeps text, attributes and the tags' numbers."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.assets: dict[str, str] = {}
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count a tag and keep its attributes."""
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count a tag that closes itself, as in SVG."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that tags close in order."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep text apart from style and script."""
        inside = self.open[-1] if self.open else ""
        if inside in ("style", "script"):
            self.assets[inside] = data
        else:
            self.text += data

    def values(self, name: str) -> list[str]:
        """Give all values of an attribute."""
        return [value for _, found, value in self.attributes if found == name]


@pytest.fixture(scope="module")
def page() -> str:
    """Draw the fixed report."""
    return html.draw(rich_report(), BUILT_IN)


def comparison_page() -> str:
    """Draw a fixed comparison."""
    return html.draw_comparison(
        compare([("py313.json", precise_report()), ("py313t.json", free_threaded_report())]), BUILT_IN
    )


MORE = tuple(f"executor:{name}" for name in ("loky", "dask-cluster", "a", "mpi4py"))


def many_strategies_page() -> str:
    """Draw the fixed report with a workload that has strategies which are not known here."""
    first, *others = rich_report().workloads
    first = with_parts(first, **{name: threads(1.5) for name in MORE})
    return html.draw(replace(rich_report(), workloads=(first, *others)), BUILT_IN)


def test_golden(page: str) -> None:
    """The fixed report's page."""
    goldens.check("report.html", page)


def test_golden_comparison() -> None:
    """The fixed comparison's page."""
    goldens.check("comparison.html", comparison_page())


def test_pages_say_of_what_speed_ups_and_ceiling_are(page: str) -> None:
    """The numbers of both pages are those of pools, as the answers are; the ceiling is that of a plain Python loop."""
    assert "speed-up of a pool" in page
    assert "ceiling, the speed-up of a plain Python loop" in page
    assert "are those of a pool, dispatch included" in comparison_page()
    assert "speed-ups of the calls alone" not in comparison_page()


@pytest.mark.parametrize("kind", ["report", "comparison"])
def test_self_contained(kind: str, page: str) -> None:
    """A page asks for nothing and runs nothing but its own script, which its policy knows by hash."""
    read = Reader(page if kind == "report" else comparison_page())
    names = {name for _, name, _ in read.attributes if not name.startswith(("aria-", "data-"))}
    assert names <= OURS, "no style, src or on... attributes"
    assert all(link.startswith("#") for link in read.values("href"))
    assert "url(" not in re.sub(r"url\(#[a-z-]+\)", "", read.assets["style"])
    assert "@import" not in read.assets["style"]
    policy = next(value for value in read.values("content") if value.startswith("default-src"))
    for asset in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(read.assets[asset].encode()).digest()).decode()
        assert f"{asset}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert read.tags["script"] == read.tags["style"] == 1
    assert (read.assets["script"] + read.assets["style"]).isascii(), "survives any output encoding"


def test_hostile_names_are_text(page: str) -> None:
    """Markup in a name or an error is shown, not acted on."""
    read = Reader(page)
    assert read.tags["img"] == 0
    assert read.text.count(safe_line(HOSTILE_NODEID)) == 2
    assert safe_lines(HOSTILE_ERROR)[0] in read.text


def test_readable_without_a_script(page: str) -> None:
    """Every answer, reason and number is in the page as it comes; only the filter waits for the script."""
    read = Reader(page)
    for workload in rich_report().workloads:
        assert " ".join(safe_lines(workload.reason or workload.verdict.reason)) in read.text
    assert ("form", "hidden", "") in read.attributes
    assert read.tags["article"] == len(rich_report().workloads)


def test_accessible(page: str) -> None:
    """There is a language, one main heading, tables with headers, unique ids, and words beside every picture."""
    read = Reader(page)
    assert read.values("lang") == ["en"]
    assert read.tags["h1"] == read.tags["main"] == 1
    assert set(read.values("scope")) == {"col", "row"}
    ids = read.values("id")
    assert len(set(ids)) == len(ids)
    assert {link.removeprefix("#") for link in read.values("href")} <= set(ids)
    assert set(read.values("for")) <= set(ids)
    pictures = page.count('<svg class="bar"') + page.count('<svg class="stack"')
    pictures += page.count('<svg class="icicle"')
    assert page.count('role="img" aria-label="') == pictures > 20


def test_pictures(page: str) -> None:
    """A bar has its interval and the marks of 1x, the workers and the ceiling; a stack its slices."""
    card = page.partition('<article id="w2"')[2].partition("</article>")[0]
    threads = card.split("<tr ")[2]
    assert 'aria-label="threads: speed-up 1.00x [0.97, 1.03]"' in threads
    assert [threads.count(f'class="{name}"') for name in ("ci", "m-one", "m-workers", "m-ceiling")] == [3, 1, 1, 1]
    assert re.findall(r'class="a-[a-z]+"[^>]*>([^<]+)<', card.partition("</thead>")[0]) == [
        "1x",
        "2 workers",
        "ceiling 1.96x",
    ]
    said = "threads: 49 % on the CPU, holding the GIL, <1 % on the CPU, without the GIL, "
    assert f'aria-label="{said}' in unescape(threads)


def test_every_strategy_has_a_row_and_a_column() -> None:
    """Each has its color, executors the same; a strategy that a workload lacks has an empty cell."""
    page = many_strategies_page()
    read = Reader(page)
    header = page.partition("<thead>")[2].partition("</thead>")[0]
    assert re.findall(r">([^<>]+)</th>", header)[5:-1] == ["threads", "processes", *MORE]
    card = page.partition('<article id="w1"')[2].partition("</article>")[0]
    assert re.findall(r'<tr class="([a-z]+)">', card) == ["blue", "green", "cyan", *["orange"] * len(MORE)]
    assert read.text.count(MORE[0]) == 1 + 2
    second = page.partition('<tr id="r2"')[2].partition("</tr>")[0]
    assert second.count('<td class="num"></td>') == len(MORE)


def test_empty() -> None:
    """A report without workloads is a page that says so."""
    read = Reader(html.draw(replace(rich_report(), workloads=()), BUILT_IN))
    assert "no workloads" in read.text
    assert read.tags["table"] == 0


@pytest.mark.thorough
@given(reports())
@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
def test_any_report_is_a_sound_page(report: Report) -> None:
    """Whatever a report holds, tags are balanced, no tag or attribute but ours appears, and UTF-8 holds it."""
    page = html.draw(report, BUILT_IN)
    page.encode()
    read = Reader(page)
    assert {name for _, name, _ in read.attributes if not name.startswith(("aria-", "data-"))} <= OURS
    assert read.tags["script"] == 1
    assert read.tags["article"] == len(report.workloads)


def test_jinja_is_loaded_late(pytester: pytest.Pytester) -> None:
    """Importing the drawing does not import Jinja2."""
    code = "import sys, pytest_gilprobe.report.html; sys.exit('jinja2' in sys.modules)"
    assert pytester.run(sys.executable, "-c", code).ret == 0


# In a browser


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    """Open a browser, or skip."""
    program = browser.find()
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(browser.NAMES)} is on this machine")
    with browser.chromium(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def show(tab: browser.Page, folder: Path, page: str) -> None:
    """Write a page to a file and open that."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    tab.problems.clear()
    tab.open(path)


VISIBLE = "[...document.querySelectorAll('#overview tbody tr')].filter(row => !row.hidden).map(row => row.id)"
CARDS = "[...document.querySelectorAll('article')].filter(card => !card.hidden).map(card => card.id)"


def filtered(tab: browser.Page, words: str) -> list[str]:
    """Type into the filter and give the rows that stay."""
    tab.ask(f"document.getElementById('find').value = {json.dumps(words)}")
    tab.ask("document.getElementById('find').dispatchEvent(new Event('input'))")
    rows: list[str] = tab.ask(VISIBLE)
    return rows


def test_browser_filter(tab: browser.Page, tmp_path: Path, page: str) -> None:
    """Typing keeps the workloads whose name or reason has all words, in the table and in the cards."""
    show(tab, tmp_path, page)
    assert len(tab.ask(VISIBLE)) == 9
    assert filtered(tab, "GIL turns") == ["r2"]
    assert tab.ask(CARDS) == ["w2"]
    assert tab.ask("document.getElementById('shown').textContent") == "1 of 9 workloads"
    assert len(filtered(tab, "")) == 9
    assert tab.problems == []


def test_browser_many(tab: browser.Page, tmp_path: Path) -> None:
    """Of more than 1,000 workloads the first 300 that match are shown, and all of them on request."""
    workloads = tuple(replace(rich_report().workloads[7], nodeid=f"test_{number:04}") for number in range(1001))
    show(tab, tmp_path, html.draw(replace(rich_report(), workloads=workloads), BUILT_IN))
    assert len(tab.ask(VISIBLE)) == len(tab.ask(CARDS)) == 300
    assert filtered(tab, "_0999") == ["r1000"]
    assert len(filtered(tab, "")) == 300
    assert tab.ask("document.getElementById('all').textContent") == "showing the first 300: show all 1001"
    tab.ask("document.getElementById('all').click()")
    assert len(tab.ask(VISIBLE)) == len(tab.ask(CARDS)) == 1001
    assert tab.problems == []


def test_browser_answers(tab: browser.Page, tmp_path: Path, page: str) -> None:
    """A press on an answer keeps its workloads, a second press all; the check box keeps what has cautions."""
    show(tab, tmp_path, page)
    press = "document.querySelector('#answers [data-answer=processes] button').click()"
    tab.ask(press)
    assert tab.ask(VISIBLE) == ["r2", "r5"]
    tab.ask(press)
    assert len(tab.ask(VISIBLE)) == 9
    tab.ask("document.getElementById('noted').click()")
    assert tab.ask(VISIBLE) == ["r2", "r5", "r6", "r7", "r8", "r9"]
    assert tab.problems == []


@pytest.mark.parametrize(
    ("column", "orders"),
    [
        ("per call", [["r3", "r4", "r5", "r2"], ["r7", "r6", "r1", "r2"]]),
        ("threads", [["r3", "r2", "r7", "r4"], ["r1", "r4", "r7", "r2"]]),
        ("strategy", [["r9", "r6", "r7", "r8"], ["r1", "r4", "r3", "r2"]]),
    ],
)
def test_browser_sort(tab: browser.Page, tmp_path: Path, page: str, column: str, orders: list[list[str]]) -> None:
    """A press on a header sorts by its numbers or words, a second press the other way; no number comes last."""
    show(tab, tmp_path, page)
    button = f"[...document.querySelectorAll('#overview thead button')].find(one => one.textContent === '{column}')"
    for order, direction in zip(orders, ("ascending", "descending"), strict=True):
        tab.ask(f"{button}.click()")
        assert tab.ask(VISIBLE)[:4] == order
        assert tab.ask("document.querySelector('[aria-sort]').ariaSort") == direction
    assert tab.problems == []


SHOWN = """[...document.querySelectorAll('#w2 .icicle > svg')]
  .filter(one => one.getClientRects().length).map(one => one.querySelector('title').textContent.split(',')[0])"""


def opened(tab: browser.Page, folder: Path, page: str) -> None:
    """Show a page, open the second workload's picture of stacks, and wait until the script has taken it."""
    show(tab, folder, page)
    tab.ask(
        "new Promise(done => { const it = document.querySelector('#w2 details.where'); "
        "it.addEventListener('toggle', done, {once: true}); it.open = true; })"
    )


def test_browser_icicle_zoom(tab: browser.Page, tmp_path: Path, page: str) -> None:
    """A press makes a function as wide as the picture, below its callers, without its neighbours; another undoes it."""
    tab.look(width=1200, height=900)
    opened(tab, tmp_path, page)
    names = tab.ask(SHOWN)
    assert names == ["test_orders", "loads", "total<b>|`"]
    second = "document.querySelectorAll('#w2 .icicle > svg')[1]"
    tab.ask(f"{second}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    assert tab.ask(SHOWN) == names[:2]
    assert tab.ask(f"{second}.getAttribute('width')") == "100%"
    assert tab.ask("document.querySelector('#w2 .tools output').textContent") == "loads, json/__init__.py: 61 %"
    tab.ask("document.querySelector('#w2 .tools button').click()")
    assert tab.ask(SHOWN) == names
    assert tab.ask(f"{second}.getAttribute('width')") == "61%"
    tab.ask(f"{second}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'Enter'}}))")
    assert tab.ask(SHOWN) == names[:2]
    assert tab.problems == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("JSON load", (1, "61 % of the time with the GIL held")),
        ("tests/", (1, "100 % of the time with the GIL held")),
        (".py", (3, "100 % of the time with the GIL held")),
        ("<b>", (1, "30 % of the time with the GIL held")),
        ("nowhere", (0, "nothing found")),
        ("", (0, "")),
    ],
)
def test_browser_icicle_search(
    tab: browser.Page, tmp_path: Path, page: str, words: str, found: tuple[int, str]
) -> None:
    """Words find functions by name and file; what lies below another hit is counted once."""
    opened(tab, tmp_path, page)
    field = "document.querySelector('#w2 .tools input')"
    tab.ask(f"{field}.value = {json.dumps(words)}")
    tab.ask(f"{field}.dispatchEvent(new Event('input'))")
    hits = tab.ask("document.querySelectorAll('#w2 .icicle > .hit').length")
    assert (hits, tab.ask("document.querySelector('#w2 .tools output').textContent")) == found
    assert tab.problems == []


def test_browser_hostile_names(tab: browser.Page, tmp_path: Path, page: str) -> None:
    """Hostile names are text: nothing runs, nothing is fetched, nothing but our script is there."""
    show(tab, tmp_path, page)
    assert tab.ask("document.scripts.length") == 1
    assert tab.ask("document.images.length") == 0
    assert tab.ask("document.querySelector('#w7 h3 .n').textContent") == safe_line(HOSTILE_NODEID)
    assert tab.problems == []


def test_browser_policy_holds(tab: browser.Page, tmp_path: Path, page: str) -> None:
    """Were a script to slip through all escaping, the policy would still not let it run."""
    show(tab, tmp_path, page.replace("<main>", "<main><script>window.ran = 1</script>", 1))
    assert tab.ask("window.ran === undefined")
    assert any("Content Security Policy" in problem for problem in tab.problems)


@pytest.mark.parametrize("width", [320, 400, 800, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_browser_widths(tab: browser.Page, tmp_path: Path, page: str, width: int, dark: bool) -> None:  # noqa: FBT001
    """On a phone and on a desk nothing sticks out sideways, and light differs from dark."""
    tab.look(width=width, height=900, dark=dark)
    for drawn in (page, many_strategies_page(), comparison_page()):
        show(tab, tmp_path, drawn)
        tab.ask("for (const one of document.querySelectorAll('details')) one.open = true")
        assert tab.ask("document.documentElement.scrollWidth") <= width
        background = tab.ask("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(20, 23, 26)") == dark
    assert tab.problems == []


def test_browser_comparison(tab: browser.Page, tmp_path: Path) -> None:
    """A comparison marks what moved, and can show only that."""
    show(tab, tmp_path, comparison_page())
    assert tab.ask("[...document.querySelectorAll('.moved')].map(cell => cell.parentNode.cells[0].textContent)") == [
        CRUNCHING
    ]
    tab.ask("document.getElementById('noted').click()")
    assert tab.ask(VISIBLE) == ["r2"]
    assert tab.problems == []


def test_browser_comparison_sort(tab: browser.Page, tmp_path: Path) -> None:
    """Each report's column sorts by its answers, however many columns there are."""
    found = [(f"{number}.json", precise_report()) for number in range(4)]
    show(tab, tmp_path, html.draw_comparison(compare([*found, ("t.json", free_threaded_report())]), BUILT_IN))
    for column in range(1, 6):
        tab.ask(f"document.querySelectorAll('#overview thead button')[{column}].click()")
        answers = tab.ask(
            f"[...document.querySelectorAll('#overview tbody tr')].map(row => row.cells[{column}].textContent.trim())"
        )
        assert answers[0].startswith("error")
        assert answers == sorted(answers, key=str.lower)
    assert tab.problems == []


CONTRAST = """(() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const says = node => [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
  const low = [];
  for (const node of document.querySelectorAll('body *')) {
    if (node.closest('svg') || !says(node)) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) low.push(node.className + ' ' + node.textContent.slice(0, 20) + ' ' + ratio.toFixed(2));
  }
  return [...new Set(low)];
})()"""
"""Finds text whose contrast with its background is below 4.5 (WCAG 2.2, 1.4.3)."""


@pytest.mark.parametrize("dark", [False, True])
def test_browser_contrast(tab: browser.Page, tmp_path: Path, page: str, dark: bool) -> None:  # noqa: FBT001
    """All text stands out from its background, in light and in dark."""
    tab.look(width=1200, height=900, dark=dark)
    for drawn in (page, many_strategies_page(), comparison_page()):
        show(tab, tmp_path, drawn)
        assert tab.ask(CONTRAST) == []
