"""What leaves the program: two consoles, text that can do nothing, JSON piece by piece."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.output import UNSEEN

if TYPE_CHECKING:
    from rich.console import Console


def console_of(*, stderr: bool) -> Console:
    """Return a console for stdout or stderr that raises where the reader has gone away."""
    from rich.console import Console

    class Honest(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # the boundary knows what it means; rich would exit with 1

    stream = sys.stderr if stderr else sys.stdout
    # rich honours NO_COLOR and a stream that is no terminal by itself; a file has room for a table
    width = None if stream.isatty() else 200
    return Honest(stderr=stderr, highlight=False, emoji=False, width=width)


_UNSEEN = UNSEEN | {ord("\n"): "\n"}
_ESCAPED = {
    code: f"\\u{code:04x}" if code <= 0xFFFF else json.dumps(chr(code))[1:-1]
    for code in UNSEEN
    if code > 0x20
}
"""What JSON need not escape, but a terminal may obey."""


def harmless(text: str) -> str:
    """Return text without any effect on a terminal: a name in a roster may hold anything."""
    return text if text.isprintable() else text.translate(_UNSEEN)


def one_line(text: str) -> str:
    """Return harmless text on one line: a name with a line break could pass for ours."""
    return harmless(text).replace("\n", "\ufffd")


def harmless_cells(rows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    """Yield the rows of a CSV that somebody may look at on a terminal."""
    for row in rows:
        yield [harmless(cell) if isinstance(cell, str) else cell for cell in row]


def say_on(console: Console, text: str, *, style: str | None = None) -> None:
    """Print text unchanged: no markup, long lines unbroken, control characters made visible."""
    console.print(harmless(text), style=style, markup=False, highlight=False, soft_wrap=True)


def json_pieces(value: Any) -> Iterator[str]:
    """Yield the JSON text of ``value`` piece by piece; iterators become lists, never held whole."""
    import msgspec

    if isinstance(value, dict) and any(isinstance(item, Iterator) for item in value.values()):
        for index, (key, item) in enumerate(value.items()):
            yield f"{', ' if index else '{'}{msgspec.json.encode(key).decode()}: "
            yield from json_pieces(item)
        yield "}"
    elif isinstance(value, Iterator):
        yield "["
        for index, item in enumerate(value):
            if index:
                yield ",\n "
            yield from json_pieces(item)
        yield "]"
    else:
        text = msgspec.json.encode(value).decode()
        yield text if text.isprintable() else text.translate(_ESCAPED)
