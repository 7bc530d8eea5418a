"""Draw reports and comparisons as one self-contained HTML page, readable without network access and without scripts."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib import resources
from typing import TYPE_CHECKING

from pytest_gilprobe.report import comparison_layout, curve_svg, layout, svg
from pytest_gilprobe.report.gathered import gathered
from pytest_gilprobe.report.geometry import SLICE_KINDS
from pytest_gilprobe.report.views import ReportView

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jinja2

    from pytest_gilprobe.model.comparison import Comparison
    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.report.views import Note
    from pytest_gilprobe.strategies.registry import Strategies


def draw(report: Report, strategies: Strategies) -> str:
    """Draw a report as an HTML page: which strategy suits each workload, then each one's measurements as a picture.

    ``strategies`` are the registered strategies, which provide colors, icons and code to paste. All text is escaped.
    The page's Content-Security-Policy also forbids all requests, and all scripts except the page's own.
    """
    return draw_view(layout.report_view(report, strategies))


def draw_view(view: ReportView) -> str:
    """Draw a report as an HTML page; ``view`` is the report as texts, made by `pytest_gilprobe.report.layout`."""
    of_several, view = gathered(view)
    return _render("report.html.j2", view, of_several)


def draw_comparison(comparison: Comparison, strategies: Strategies) -> str:
    """Draw a comparison of reports as an HTML page: the changes in words, then a table.

    The table has one row per workload and one column per report. ``strategies`` provide the colors and icons.
    """
    return _render("comparison.html.j2", comparison_layout.comparison_view(comparison, strategies))


def _render(template: str, view: object, of_several: Sequence[Note] = ()) -> str:
    """Fill one of the package's templates with a view, and with the cautions of several workloads."""
    from markupsafe import Markup  # noqa: PLC0415 comes with Jinja2: only who draws a page pays for it

    style, script = _asset("page.css"), _asset("page.js") + _asset("icicle.js")
    return (
        _environment()
        .get_template(template)
        .render(
            view=view,
            of_several=of_several,
            style=Markup(style),  # noqa: S704 the package's own files
            script=Markup(script),  # noqa: S704
            style_hash=Markup(_hash(style)),  # noqa: S704
            script_hash=Markup(_hash(script)),  # noqa: S704
        )
    )


def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 only who draws a page pays for it

    loader = jinja2.FunctionLoader(_asset)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        nodeid=_breakable,
        axis=svg.axis,
        curve=curve_svg.picture,
        badge=svg.badge,
        evidence=svg.evidence,
        icicle=svg.icicle,
        slice_kinds=SLICE_KINDS,
    )
    return environment


def _breakable(nodeid: str) -> str:
    """Escape a node id, set its file apart from its test, and let lines break after folders, file and words."""
    file, between, test = html.escape(nodeid).partition("::")
    file = file.replace("/", "/<wbr>")
    if not between:
        return file
    test = test.replace("::", "::<wbr>").replace("_", "_<wbr>")
    return f'<span class="p">{file}::</span><wbr>{test}'


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode('ascii')}"
