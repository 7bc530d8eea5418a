"""Lists in the documents that must equal the code: drawn from the code here, and rewritten on request."""

from __future__ import annotations

import ast
import importlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pytest_gilprobe"
METHOD_MODULES = tuple(
    path.relative_to(PACKAGE).with_suffix("").as_posix()
    for pattern in (
        "model/thresholds.py",
        "stats/*.py",
        "verdict/*.py",
        "strategies/*.py",
        "probing/*.py",
        "workers/parent/*.py",
        "workers/child/batch.py",
        "workers/child/control.py",
        "workers/child/dispatch.py",
    )
    for path in sorted(PACKAGE.glob(pattern))
    if path.stem != "__init__"
)
"""The modules whose numbers decide what a verdict says or how it is measured."""


def check(document: str, name: str, drawn: str) -> None:
    """Compare the part of a document between the marks ``name`` with what the code says.

    With ``GILPROBE_REWRITE_DOCS=1`` in the environment, rewrite it.
    """
    path = ROOT / document
    text = path.read_text("utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n)(.*?)(\n<!-- end of {name} -->)", re.DOTALL)
    found = pattern.search(text)
    assert found is not None, f"{document} has no part marked {name}"
    if os.environ.get("GILPROBE_REWRITE_DOCS") == "1":
        path.write_text(text[: found.start(2)] + drawn + text[found.end(2) :], "utf-8")
    else:
        assert found.group(2) == drawn, (
            f"{document}: the part {name} is out of date, GILPROBE_REWRITE_DOCS=1 rewrites it"
        )


def modules() -> str:
    """Draw the list of modules: each with the first line of its docstring."""
    lines = []
    for path in sorted(PACKAGE.rglob("*.py")):
        first = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0].replace("|", "\\|")
        lines.append(f"| `{path.relative_to(PACKAGE)}` | {first} |")
    return "\n".join(["| module | what it does |", "|---|---|", *lines])


def numbers() -> str:
    """Draw the table of numbers: each named one of the method's modules with its value and what its docstring says."""
    lines = [
        f"| `{module.replace('/', '.')}.{name}` | {value} | {why} |"
        for module in METHOD_MODULES
        for name, value, why in constants(module)
    ]
    return "\n".join(["| number | value | what it is, and why |", "|---|---|---|", *lines])


def constants(path: str) -> Iterator[tuple[str, str, str]]:
    """List a module's numbers, private ones and sums of others too, with their docstrings, in the module's order."""
    module = importlib.import_module(f"pytest_gilprobe.{path.replace('/', '.')}")
    body = ast.parse((PACKAGE / f"{path}.py").read_text("utf-8")).body
    for statement, following in zip(body, [*body[1:], None], strict=True):
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        value = getattr(statement, "value", None)
        if not isinstance(target, ast.Name) or not target.id.isupper():
            continue
        if not _is_numeric(getattr(module, target.id)):
            continue
        yield target.id, ast.unparse(cast("ast.expr", value)), _docstring(following)


def _is_numeric(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_numeric, value))
    return isinstance(value, int | float)


def _docstring(statement: ast.stmt | None) -> str:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split()).replace("|", "\\|")
    return ""
