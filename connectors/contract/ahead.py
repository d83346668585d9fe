"""Reading ahead: the next page of a vendor is on its way while this one is compared.

Used by connectors over HTTP, around the loop that asks for pages. The vendor is still asked one
question after the other, in the same order, and hears of nothing but the order of our work.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


def ahead(pages: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield what ``pages`` yields, and raise what it raises, where it does.

    From the second page on the next one is asked for before it is wanted, by another thread; never
    two at a time. Not earlier, because the first page may show that nothing is new. A reader who
    stops early waits for the request that is under way.
    """
    try:
        for first in pages:
            yield first
            break
        page = next(pages, None)
        if page is None:
            return
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reader:
            while page is not None:
                coming = reader.submit(next, pages, None)
                try:
                    yield page
                finally:
                    wait([coming])
                page = coming.result()
    finally:
        pages.close()
