"""Reading ahead changes when a page is asked for, and nothing that the reader sees."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.contract.ahead import ahead
from core.errors import IncompleteFetch

Source = Callable[[], Generator[int, None, None]]


def source(pages: int, breaks_at: int | None, asked: list[int]) -> Source:
    """Return pages that note which of them were asked for, and may break off."""

    def serve() -> Generator[int, None, None]:
        for page in range(pages):
            asked.append(page)
            if page == breaks_at:
                raise IncompleteFetch("It broke off.")
            yield page

    return serve


def seen(pages: Generator[int, None, None], stops_after: int | None) -> list[object]:
    """Return what a reader sees, which may stop early."""
    found: list[object] = []
    try:
        for page in pages:
            found.append(page)
            if stops_after is not None and len(found) > stops_after:
                break
    except IncompleteFetch as error:
        found.append(error.message)
    finally:
        pages.close()
    return found


@given(
    pages=st.integers(0, 6),
    breaks_at=st.none() | st.integers(0, 6),
    stops_after=st.none() | st.integers(0, 6),
)
def test_a_reader_sees_the_same_pages_and_the_same_end(
    pages: int, breaks_at: int | None, stops_after: int | None
) -> None:
    once: list[int] = []
    again: list[int] = []
    plain = seen(source(pages, breaks_at, once)(), stops_after)
    assert seen(ahead(source(pages, breaks_at, again)()), stops_after) == plain
    assert again[: len(once)] == once
    assert len(again) <= len(once) + 1


def test_the_next_page_is_on_its_way_while_one_is_read() -> None:
    under_way = threading.Event()

    def serve() -> Generator[int, None, None]:
        yield 0
        yield 1
        under_way.set()
        yield 2

    pages = ahead(serve())
    assert [next(pages), next(pages)] == [0, 1]
    assert under_way.wait(10)
    assert list(pages) == [2]


def test_whoever_wants_only_the_first_page_asks_for_no_other() -> None:
    asked: list[int] = []
    pages = ahead(source(5, None, asked)())
    next(pages)
    pages.close()
    assert asked == [0]


def test_whoever_stops_early_leaves_no_question_behind() -> None:
    before = threading.active_count()
    pages = ahead(source(20, None, [])())
    for _ in range(5):
        next(pages)
    pages.close()
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(pages)
