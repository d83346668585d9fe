"""Draws the rooms of the repository from the imports of its code: ``make picture``.

A box is a room, an arrow says "imports". An arrow that follows from others is left out, so a room
may also import what its arrows lead to further down. Where two rooms import each other, the rarer
of the two imports is a dashed arrow that runs upward.
"""

from __future__ import annotations

import graphlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "design" / "rooms.svg"
PACKAGES = ("rostersync", "sync", "connectors", "core")
"""From the top down: a package imports only those after it."""

MACHINERY = {"contract", "http", "files", "oneroster_standard"}
"""The rooms of ``connectors`` that are no vendor and no format."""

WIDTH, LEFT, BOX, ROW, BAND = 1000, 130, (150, 36), 72, 24

_STYLE = """
  text { font: 13px sans-serif; fill: #1b2733; text-anchor: middle }
  .package { font-weight: bold; text-anchor: start; fill: #44566a }
  .band { fill: #f2f5f8 } .band.odd { fill: #e7edf3 }
  .room { fill: #fff; stroke: #44566a }
  .arrow { stroke: #7b8fa3; fill: none; marker-end: url(#tip) }
  .upward { stroke: #b3402a; stroke-dasharray: 5 4 }
"""


def room_of(module: str) -> str | None:
    """Return the room of a module: its folder, or the module itself if it stands above the folders.

    The vendors and formats of ``connectors`` are drawn as one room, for none of them imports
    another. A package's own ``__init__`` is no room.
    """
    package, *inside = module.split(".")
    if not inside:
        return None
    if package == "core":
        return package
    if package == "connectors" and inside[0] not in MACHINERY:
        return "connectors/vendors"
    is_folder = ROOT.joinpath(package, inside[0]).is_dir()
    return f"{package}/{inside[0]}" if is_folder else f"{package}/{inside[0]}.py"


def read_rooms() -> dict[str, Counter[str]]:
    """Return room → how often it imports which other room."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports: dict[str, Counter[str]] = {}
    for module in sorted(graph.modules):
        if (room := room_of(module)) is not None:
            found = map(room_of, graph.find_modules_directly_imported_by(module))
            imports.setdefault(room, Counter()).update(other for other in found if other)
            del imports[room][room]
    return imports


def without_circles(
    imports: Mapping[str, Counter[str]],
) -> tuple[dict[str, set[str]], list[tuple[str, str]]]:
    """Return the imports that run downward, and those that close a circle, the rarest of each."""
    down = {room: set(found) for room, found in imports.items()}
    upward: list[tuple[str, str]] = []
    while True:
        try:
            graphlib.TopologicalSorter(down).prepare()
        except graphlib.CycleError as error:
            imported_by = error.args[1]  # each one is imported by the next
            circle = [(room, other) for other, room in pairwise(imported_by)]
            rarest = min(circle, key=lambda edge: (imports[edge[0]][edge[1]], edge))
            down[rarest[0]].discard(rarest[1])
            upward.append(rarest)
        else:
            return down, sorted(upward)


def layers(down: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the rooms in rows from the top down, each package a block of rows of its own.

    A room stands below every room of its package that imports it.
    """
    rows: list[list[str]] = []
    for package in PACKAGES:
        inside = {
            room: {other for other in found if other.split("/")[0] == package}
            for room, found in down.items()
            if room.split("/")[0] == package
        }
        height: dict[str, int] = {}
        for room in graphlib.TopologicalSorter(inside).static_order():  # the imported ones first
            height[room] = 1 + max((height[other] for other in inside[room]), default=-1)
        rows += [
            sorted(room for room in height if height[room] == level)
            for level in range(max(height.values()), -1, -1)
        ]
    return rows


def arrows(down: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Yield the imports that do not follow from others."""
    below: dict[str, set[str]] = {}
    for room in graphlib.TopologicalSorter(down).static_order():
        below[room] = set().union(*({other} | below[other] for other in down.get(room, ())))
    for room, found in sorted(down.items()):
        indirect = set().union(*(below[other] for other in found))
        yield from ((room, other) for other in sorted(found - indirect))


def in_order(rows: list[list[str]], drawn: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Put the rooms of each row near those that they share an arrow with."""
    near: dict[str, list[str]] = {}
    for room, other in drawn:
        near.setdefault(room, []).append(other)
        near.setdefault(other, []).append(room)
    place = {room: (n + 1) / (len(row) + 1) for row in rows for n, room in enumerate(row)}
    for _ in range(8):
        for row in rows:
            wished = {
                room: sum(place[other] for other in near.get(room, [room]))
                / len(near.get(room, [1]))
                for room in row
            }
            row.sort(key=lambda room: (round(wished[room], 6), room))
            for n, room in enumerate(row):
                place[room] = (n + 1) / (len(row) + 1)
    return rows


def route(room: str, other: str, at: Mapping[str, tuple[float, float]]) -> str:
    """Return a curve from one room down to another that runs behind as few boxes as it can."""
    wide, high = BOX
    (x1, y1), (x2, y2) = at[room], at[other]
    y1, y2 = y1 + high / 2, y2 - high / 2
    bend = (y2 - y1) / 2

    def behind(aside: float) -> int:
        """Count the points of the curve that lie behind a box."""
        count = 0
        for step in range(1, 40):
            t = step / 40
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            x = (a + b) * x1 + (c + d) * x2 + (b + c) * aside
            y = a * y1 + b * (y1 + bend) + c * (y2 - bend) + d * y2
            count += any(
                abs(x - left) < wide / 2 + 4 and abs(y - top) < high / 2
                for name, (left, top) in at.items()
                if name not in (room, other)
            )
        return count

    aside = min((0, 130, -130, 200, -200, 280, -280), key=lambda one: (behind(one), abs(one)))
    return (
        f"M{x1:.0f} {y1:.0f} C{x1 + aside:.0f} {y1 + bend:.0f}"
        f" {x2 + aside:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"
    )


def draw(imports: Mapping[str, Counter[str]]) -> str:
    """Return the picture as SVG."""
    down, upward = without_circles(imports)
    drawn = list(arrows(down))
    rows = in_order(layers(down), drawn)
    wide, high = BOX
    at: dict[str, tuple[float, float]] = {}
    bands: dict[str, list[float]] = {}
    top = 16.0
    for row in rows:
        package = row[0].split("/")[0]
        if package not in bands:
            top += BAND
            bands[package] = [top - 12, top]
        space = (WIDTH - LEFT) / len(row)
        for n, room in enumerate(row):
            at[room] = (LEFT + space * (n + 0.5), top + high / 2)
        bands[package][1] = top + high + 12
        top += ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top - ROW + high + 28:.0f}"'
        ' role="img" aria-label="The rooms of the code and what they import">',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
        ' markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#7b8fa3"/></marker></defs>',
    ]
    for n, (package, (first, last)) in enumerate(bands.items()):
        odd = " odd" if n % 2 else ""
        parts += [
            f'<rect class="band{odd}" x="0" y="{first:.0f}" width="{WIDTH}"'
            f' height="{last - first:.0f}"/>',
            f'<text class="package" x="14" y="{first + 24:.0f}">{package}/</text>',
        ]
    for room, other in drawn:
        parts.append(f'<path class="arrow" d="{route(room, other, at)}"/>')
    for room, other in upward:
        (x1, y1), (x2, y2) = at[room], at[other]
        parts.append(
            f'<path class="arrow upward" d="M{x1 + 14:.0f} {y1 - high / 2:.0f}'
            f' L{x2 + 14:.0f} {y2 + high / 2:.0f}"/>'
        )
    for room, (x, y) in at.items():
        name = escape(room.partition("/")[2] or room)
        parts += [
            f'<rect class="room" x="{x - wide / 2:.0f}" y="{y - high / 2:.0f}" width="{wide}"'
            f' height="{high}" rx="5"/>',
            f'<text x="{x:.0f}" y="{y + 5:.0f}">{name}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw(read_rooms()), encoding="utf-8")
    sys.stdout.write(f"{PICTURE.relative_to(ROOT)} is drawn.\n")
