"""Reading ahead: the next page of a vendor is fetched while the current one is compared.

Used by connectors over HTTP, around the loop that asks for pages. The vendor still gets one request
at a time, in the same order, and notices nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from threading import Thread
from typing import Generic, TypeVar, cast

T = TypeVar("T")

_END = object()


def ahead(pages: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield what ``pages`` yields, and raise what it raises, in the same places.

    From the second page on, another thread asks for the next page in advance; never two at a time.
    It does not begin earlier, because the first page may show that nothing is new. A caller that
    stops early waits for the request that is under way.
    """
    try:
        for first in pages:
            yield first
            break
        page = next(pages, _END)
        while page is not _END:
            coming = _Coming(pages)
            try:
                yield cast("T", page)
            finally:
                coming.wait()
            page = coming.page()
    finally:
        pages.close()


class _Coming(Generic[T]):
    """The next page, while it is being fetched."""

    def __init__(self, pages: Generator[T, None, None]) -> None:
        self._pages = pages
        self._page: object = _END
        self._error: BaseException | None = None
        self._thread = Thread(target=self._ask, name="read-ahead", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        try:
            self._page = next(self._pages, _END)
        except BaseException as error:  # noqa: BLE001 - it is raised where the page is wanted
            self._error = error

    def wait(self) -> None:
        """Return when the request under way is answered."""
        self._thread.join()

    def page(self) -> object:
        """Return the page or ``_END``, or raise the error that came instead."""
        if self._error is not None:
            raise self._error
        return self._page
