"""Draws the rooms of the repository from the imports of its code: ``make picture``.

A box is a room, an arrow says "imports". An arrow that follows from others is left out, so a room
may also import what its arrows lead to further down. Every arrow runs downward; if the rooms import
each other in a circle there is no picture, only a sentence that names the circle.
"""

from __future__ import annotations

import graphlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "design" / "rooms.svg"
PACKAGES = ("rostersync", "sync", "connectors", "core")
"""From the top down: a package imports only those after it."""

WIDTH, LEFT, BOX, ROW, BAND = 1000, 130, (118, 44), 84, 24

_STYLE = """
  text { font: 13px sans-serif; fill: #1b2733; text-anchor: middle }
  .count { font-size: 11px; fill: #5a6b7b }
  .package { font-weight: bold; text-anchor: start; fill: #44566a }
  .band { fill: #f2f5f8 } .band.odd { fill: #e7edf3 }
  .room { fill: #fff; stroke: #44566a }
  .arrow { stroke: #7b8fa3; fill: none; marker-end: url(#tip) }
"""


def room_of(module: str) -> str | None:
    """Return the room of a module: its folder, or the module itself if it stands above the folders.

    The vendors and formats at the top of ``connectors`` are drawn as one room: none of them imports
    another. A package's own ``__init__`` is no room.
    """
    package, *inside = module.split(".")
    if not inside:
        return None
    if package != "core" and ROOT.joinpath(package, inside[0]).is_dir():
        return f"{package}/{inside[0]}"
    if package == "connectors":
        return "connectors/vendors"
    return package if package == "core" else f"{package}/{inside[0]}.py"


def read_rooms() -> tuple[dict[str, int], dict[str, set[str]]]:
    """Return room → number of its files, and room → the rooms that it imports."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    files: dict[str, int] = {}
    imports: dict[str, set[str]] = {}
    for module in sorted(graph.modules):
        if (room := room_of(module)) is not None:
            files[room] = files.get(room, 0) + 1
            found = map(room_of, graph.find_modules_directly_imported_by(module))
            imports.setdefault(room, set()).update({other for other in found if other} - {room})
    return files, imports


def layers(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the rooms in rows from the top down, each package a block of rows of its own.

    A room stands below every room of its package that imports it. Raises ``SystemExit`` for a circle.
    """
    rows: list[list[str]] = []
    for package in PACKAGES:
        inside = {
            room: {other for other in found if other.split("/")[0] == package}
            for room, found in imports.items()
            if room.split("/")[0] == package
        }
        try:
            order = list(graphlib.TopologicalSorter(inside).static_order())
        except graphlib.CycleError as circle:
            raise SystemExit(f"These rooms import each other: {' → '.join(circle.args[1])}") from None
        height: dict[str, int] = {}
        for room in order:  # what is imported comes first
            height[room] = 1 + max((height[other] for other in inside[room]), default=-1)
        rows += [
            sorted(room for room in order if height[room] == level)
            for level in range(max(height.values()), -1, -1)
        ]
    return rows


def arrows(imports: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Yield the imports that do not follow from others."""
    below: dict[str, set[str]] = {}
    for room in graphlib.TopologicalSorter(imports).static_order():
        below[room] = set().union(*({other} | below[other] for other in imports.get(room, ())))
    for room, found in sorted(imports.items()):
        indirect = set().union(*(below[other] for other in found))
        yield from ((room, other) for other in sorted(found - indirect))


def in_order(rows: list[list[str]], drawn: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Put the rooms of each row where their arrows are short: near the rooms that they belong to."""
    near: dict[str, list[str]] = {}
    for room, other in drawn:
        near.setdefault(room, []).append(other)
        near.setdefault(other, []).append(room)
    place = {room: (n + 1) / (len(row) + 1) for row in rows for n, room in enumerate(row)}
    for _ in range(8):
        for row in rows:
            wished = {
                room: sum(place[other] for other in near.get(room, [room])) / len(near.get(room, [1]))
                for room in row
            }
            row.sort(key=lambda room: (round(wished[room], 6), room))
            for n, room in enumerate(row):
                place[room] = (n + 1) / (len(row) + 1)
    return rows


def draw(files: Mapping[str, int], imports: Mapping[str, set[str]]) -> str:
    """Return the picture as SVG."""
    drawn = list(arrows(imports))
    rows = in_order(layers(imports), drawn)
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
        (x1, y1), (x2, y2) = at[room], at[other]
        y1, y2 = y1 + high / 2, y2 - high / 2
        bend = (y2 - y1) / 2
        parts.append(
            f'<path class="arrow" d="M{x1:.0f} {y1:.0f} C{x1:.0f} {y1 + bend:.0f}'
            f' {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"/>'
        )
    for room, (x, y) in at.items():
        name = escape(room.partition("/")[2] or room)
        parts += [
            f'<rect class="room" x="{x - wide / 2:.0f}" y="{y - high / 2:.0f}" width="{wide}"'
            f' height="{high}" rx="5"/>',
            f'<text x="{x:.0f}" y="{y - 2:.0f}">{name}</text>',
            f'<text class="count" x="{x:.0f}" y="{y + 14:.0f}">{files[room]} files</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw(*read_rooms()), encoding="utf-8")
    sys.stdout.write(f"{PICTURE.relative_to(ROOT)} is drawn.\n")
