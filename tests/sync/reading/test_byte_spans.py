"""Stretches of a page that stand as they stood: cut out, they are neither lost nor invented."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from connectors.clever.connector import split_listing
from connectors.contract.connector import Page
from sync.reading.order.byte_spans import row_starts
from sync.reading.order.fingerprints import Prints, ReadingTerms
from sync.reading.order.page_order import Chunk, PageOrder, join_keys
from sync.reading.order.page_rows import PageRows

PRINTS = Prints(ReadingTerms(b"k" * 32, b"p" * 16), "users")
PRINTS.turn(b"")

Row = tuple[str, str]
Shape = tuple[Callable[[Sequence[Row]], bytes], Callable[[bytes], list[bytes]]]


def as_clever(rows: Sequence[Row]) -> bytes:
    """Return a listing whose rows stand in wrappers, between links that name some of them."""
    items = [{"data": {"id": key, "n": said}, "uri": f"/users/{key}"} for key, said in rows]
    links = [{"rel": "next", "uri": f"/users?starting_after={rows[-1][0]}"}] if rows else []
    return json.dumps({"links": links, "data": items, "last": rows[-1:]}).encode()


def as_lines(rows: Sequence[Row]) -> bytes:
    return b"".join(f"{key},{said}\n".encode() for key, said in rows)


SHAPES: dict[str, Shape] = {
    "a vendor's listing": (as_clever, split_listing),
    "lines of a file": (as_lines, bytes.splitlines),
}


def keys_of(rows: Sequence[bytes]) -> list[str]:
    return [json.loads(r)["id"] if r[:1] == b"{" else r.split(b",")[0].decode() for r in rows]


def stored(position: int, rows: PageRows, keys: Sequence[str]) -> Chunk:
    prints, every_key, spans = rows.stored(keys, PRINTS)
    return Chunk(position, None, rows.count, prints, join_keys(every_key), spans)


def first_day(bodies: Sequence[bytes], split: Callable[[bytes], list[bytes]]) -> list[Chunk]:
    """Return what the snapshot keeps of pages read for the first time."""
    read = [PageRows.all_of(Page("users", body, split), PRINTS) for body in bodies]
    return [stored(number, rows, keys_of(rows.raw)) for number, rows in enumerate(read)]


def order_of(chunks: Sequence[Chunk]) -> PageOrder:
    return PageOrder(lambda at: next((chunk for chunk in chunks if chunk.position >= at), None))


def paged(rows: Sequence[Row], size: int) -> list[Sequence[Row]]:
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def people(count: int, first: int = 0) -> list[Row]:
    return [(f"p{number:04}", f"Ash {number % 7}") for number in range(first, first + count)]


@st.composite
def two_days(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """Draw a roster and the same a day later: people left, came, changed, moved, stand twice."""
    before = people(draw(st.integers(1, 150)))
    after = list(before)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(len(after) - 1, 0)))
        match draw(st.sampled_from(["leave", "join", "change", "move", "twice", "many"])):
            case "leave" if after:
                del after[at]
            case "join":
                after.insert(at, (f"q{draw(st.integers(0, 99))}", "Birch"))
            case "change" if after:
                after[at] = (after[at][0], draw(st.sampled_from(["Cedar", "p0001", "", "Ash 1"])))
            case "move" if after:
                after.insert(draw(st.integers(0, len(after) - 1)), after.pop(at))
            case "twice" if after:
                after.insert(draw(st.integers(0, len(after))), after[at])
            case "many":
                after[at:at] = people(40, first=draw(st.integers(200, 300)))
    return before, after


@pytest.mark.parametrize("shape", SHAPES)
@given(
    days=two_days(),
    sizes=st.tuples(st.integers(20, 160), st.integers(20, 160)),
    avoid=st.sets(st.sampled_from(["p0003", "p0040", "p0077"])),
)
def test_what_is_cut_out_and_what_is_left_are_the_page(
    shape: str, days: tuple[list[Row], list[Row]], sizes: tuple[int, int], avoid: set[str]
) -> None:
    write, split = SHAPES[shape]
    order = order_of(first_day([write(rows) for rows in paged(days[0], sizes[0])], split))
    chunks = []
    bodies = [write(rows) for rows in paged(days[1], sizes[1])]
    for number, body in enumerate(bodies):
        page, whole = Page("users", body, split), split(body)
        cut = order.cut(body, PRINTS.of, avoid)
        event(f"something is cut out: {cut is not None}")
        rows = PageRows.all_of(page, PRINTS) if cut is None else PageRows.left_by(cut, page, PRINTS)
        assert rows is not None
        assert rows.count == len(whole)
        found = {rows.number(row): raw for row, raw in enumerate(rows.raw)}
        assert [found[at] for at in sorted(found)] == [whole[at] for at in sorted(found)]
        prints, keys, _ = rows.stored(keys_of(rows.raw), PRINTS)
        assert prints == b"".join(PRINTS.of_all(whole))
        assert keys == keys_of(whole)
        assert not avoid.difference(keys_of(rows.raw)) & set(keys)
        order.accept(order.match(rows.prints, rows.cut))
        chunks.append(stored(number, rows, keys_of(rows.raw)))
    again = order_of(chunks)
    for body, chunk in zip(bodies, chunks, strict=True):  # what was kept of the day knows the day
        if chunk.stretches()[0].span is None:
            return
        cut = again.cut(body, PRINTS.of, frozenset())
        assert cut is not None
        rows = PageRows.left_by(cut, Page("users", body, split), PRINTS)
        assert rows is not None
        assert rows.known_chunk() is chunk
        again.drop(chunk)


@pytest.mark.parametrize("shape", SHAPES)
def test_whoever_leaves_shifts_the_pages_and_nobody_else_is_split(shape: str) -> None:
    write, split = SHAPES[shape]
    before = people(4_000)
    chunks = first_day([write(rows) for rows in paged(before, 1_000)], split)
    order, left = order_of(chunks), []
    for rows in paged(before[:5] + before[6:], 1_000):
        page = Page("users", write(rows), split)
        cut = order.cut(page.body, PRINTS.of, frozenset())
        assert cut is not None
        found = PageRows.left_by(cut, page, PRINTS)
        assert found is not None
        order.accept(order.match(found.prints, cut))
        left.append(len(found.raw))
    assert max(left) <= 3 * 16  # at both ends of a page, and where somebody left


def test_rows_that_do_not_stand_in_the_body_as_they_are_have_no_stretches() -> None:
    page = Page("users", as_lines(people(100)).upper(), lambda body: body.lower().splitlines())
    rows = PageRows.all_of(page, PRINTS)
    assert rows.stored(keys_of(rows.raw), PRINTS)[2] == b""


@given(st.data())
def test_each_row_begins_where_it_first_stands_behind_the_one_before(data: st.DataObject) -> None:
    few = st.text("a,", max_size=20).map(str.encode)
    rows = data.draw(st.lists(few, max_size=8))
    gaps = data.draw(st.lists(few, min_size=len(rows), max_size=len(rows)))
    body = b"".join(gap + row for gap, row in zip(gaps, rows, strict=True))
    wanted, at = [], 0
    for row in rows:
        wanted.append(body.find(row, at))
        at = wanted[-1] + len(row)
    found = row_starts(body, rows)
    event(f"all are there: {found is not None}")
    assert found == (wanted if -1 not in wanted else None)
