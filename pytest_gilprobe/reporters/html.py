"""Draw as one self-contained HTML page: no network, no script needed to read it, names and errors inert."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib import resources
from typing import TYPE_CHECKING

from pytest_gilprobe.comparison import Comparison
from pytest_gilprobe.model import Report
from pytest_gilprobe.reporters import layout, matrix, svg
from pytest_gilprobe.reporters.views import ReportView

if TYPE_CHECKING:
    import jinja2


def draw(report: Report | ReportView) -> str:
    """Draw a whole report, or its layout, as a page: the answers, then for each workload the picture of why.

    Everything is escaped by the templates; on top of that the page's policy lets only its own script run, which is
    known by its hash, and forbids every request.
    """
    view = report if isinstance(report, ReportView) else layout.report_view(report)
    return _render("report.html.j2", view)


def draw_comparison(comparison: Comparison) -> str:
    """Draw a comparison as a page: what changed in words, then a row for each workload and a column for each report."""
    return _render("comparison.html.j2", matrix.comparison_view(comparison))


def _render(template: str, view: object) -> str:
    """Fill one of the package's templates with a view."""
    from markupsafe import Markup  # noqa: PLC0415 comes with Jinja2: only who draws a page pays for it

    style, script = _asset("page.css"), _asset("page.js")
    return (
        _environment()
        .get_template(template)
        .render(
            view=view,
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
    environment.globals["nodeid"] = _breakable
    environment.globals.update(axis=svg.axis, badge=svg.badge, evidence=svg.evidence)
    environment.globals["kinds"] = svg.KINDS
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
