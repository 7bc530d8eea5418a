"""Make a timed call fail if one of its subtests fails: for the fixture ``subtests`` and `unittest.TestCase.subTest`."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import pytest


class PlainSubtests:
    """Replaces the fixture ``subtests`` in timed calls: a subtest that fails makes its call fail."""

    def test(self, msg: str | None = None, **kwargs: object) -> AbstractContextManager[None]:  # noqa: ARG002 - the fixture's signature
        """Return a context that does nothing; the arguments are ignored."""
        return nullcontext()


@contextmanager
def plain_subtests(item: pytest.Function) -> Iterator[None]:
    """For a ``with`` block, have ``subTest`` of a `unittest.TestCase` let exceptions pass instead of reporting them.

    ``item`` is a test of that class. Private access, as a public name does not exist: ``_outcome``.
    """
    case: Any = item.instance
    outcome, case._outcome = case._outcome, None  # noqa: SLF001 - see above
    try:
        yield
    finally:
        case._outcome = outcome  # noqa: SLF001 - see above
