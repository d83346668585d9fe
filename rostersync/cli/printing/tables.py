"""Tables for a terminal: no word in them is ever split, for an id in two pieces is no id."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rostersync.cli.door import Door
from rostersync.cli.output import one_line

if TYPE_CHECKING:
    from rich.console import Console


def listing(
    door: Door,
    found: Iterable[dict[str, Any]],
    columns: Mapping[str, Callable[[dict[str, Any]], Any]],
    empty: str,
) -> None:
    """Print a list as JSON, or as a table for people: each column with what it shows of one."""
    if door.as_json:
        door.document(found)
        return
    rows = ([show(one) for show in columns.values()] for one in found)
    table(door, columns, rows, empty)


def table(
    door: Door,
    columns: Iterable[str],
    rows: Iterable[Iterable[Any]],
    empty: str,
    *,
    keep: Sequence[str] = (),
) -> None:
    """Print a short table for people, or the sentence ``empty``.

    No word is ever split, for an id in two pieces is no id. Where the words do not fit side by side
    the last columns are left out, but never the first, and those of ``keep`` only after all others.
    """
    cells = [["" if cell is None else one_line(str(cell)) for cell in row] for row in rows]
    if not cells:
        door.say(empty)
        return
    heads = list(columns)
    if len(cells) > LONG_TABLE and _write_fitting(door.out, heads, cells):
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    widths = fitted(heads, cells, door.out.width, keep)
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, width in widths.items():
        shown.add_column(heads[index], overflow="fold", width=width)
    for row in cells:
        shown.add_row(*(Text(row[index]) for index in widths))
    # a first column that alone is too wide runs over the edge, unsplit
    door.out.print(shown, width=max(door.out.width, sum(widths.values())), crop=False)
    left_out = [head for index, head in enumerate(heads) if index not in widths]
    if left_out:
        door.say(f"There is no room here for: {', '.join(left_out)}. A wider window shows it.")


_GAP = 3
"""Characters between two columns."""


def fitted(
    heads: Sequence[str], cells: Sequence[Sequence[str]], room: int, keep: Sequence[str]
) -> dict[int, int]:
    """Return the columns for which there is room, each with its width."""
    from rich.cells import cell_len

    columns = [[head, *column] for head, *column in zip(heads, *cells, strict=True)]
    least = [max(cell_len(w) for c in column for w in _words(c)) for column in columns]
    wanted = [max(cell_len(w) for c in column for w in c.split("\n")) for column in columns]
    left = list(range(len(heads)))
    while len(left) > 1 and sum(least[one] + _GAP for one in left) - _GAP > room:
        others = [one for one in left[1:] if heads[one] not in keep]
        left.remove((others or left)[-1])
    widths = {one: least[one] for one in left}
    spare = room - sum(width + _GAP for width in widths.values()) + _GAP
    for number, one in enumerate(sorted(left, key=lambda one: wanted[one] - least[one])):
        more = min(wanted[one] - least[one], max(0, spare) // (len(left) - number))
        widths[one] += more
        spare -= more
    return widths


def _words(cell: str) -> list[str]:
    """Return the words of a cell as rich folds it: spaces at its start belong to the first."""
    return _WORD.findall(cell) or [""]


_WORD = re.compile(r"^\s*\S+|\S+")

LONG_TABLE = 100
"""Rows past which a table is laid out by us, if it fits: rich takes a second for a thousand."""


def _write_fitting(console: Console, heads: Sequence[str], cells: Sequence[Sequence[str]]) -> bool:
    """Write a table as ``rich`` would, where no cell needs folding; say whether it was written."""
    from rich.cells import cell_len
    from rich.text import Text

    columns = list(zip(heads, *cells, strict=True))
    widths = [max(cell_len(cell) for cell in column) for column in columns]
    room = console.width - 3 * (len(widths) - 1)
    if sum(widths) > room:
        return False

    def line(row: Sequence[str]) -> str:
        return "   ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        )

    rule = "─" * (sum(widths) + 3 * (len(widths) - 1))
    console.print(Text(f"{line(heads)}", style="bold"), soft_wrap=True)
    console.file.write("\n".join([rule, *map(line, cells), ""]))
    return True
