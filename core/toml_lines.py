"""The lines of keys in a TOML file; ``tomllib`` reads only the values.

Used by ``core/settings.py`` to name the line in its errors. It takes text that ``tomllib`` has
accepted, so it checks nothing: it only follows tables, keys, arrays and inline tables.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from collections.abc import Mapping

Path = tuple[str | int, ...]

_BARE_END = ",]}\n#"


class TomlLines:
    """The line (1 is the first) of every table, key and array item of a valid TOML text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._newlines = [index for index, char in enumerate(text) if char == "\n"]
        self._tables: dict[Path, int] = {}
        self._lines: dict[Path, int] = {}
        self._scan()

    def __contains__(self, path: Path) -> bool:
        return path in self._lines

    def line(self, path: Path) -> int:
        """Return the line of ``path``, or of the nearest table around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    @property
    def paths(self) -> Mapping[Path, int]:
        """Every path that was found, with its line."""
        return self._lines

    def _scan(self) -> None:
        table: Path = ()
        while self._skip(" \t\r\n"):
            start = self._at
            if self._text.startswith("[[", start):
                self._at += 2
                *around, name = self._key()
                array = (*self._resolve(tuple(around)), name)
                index = self._tables.get(array, 0)
                self._tables[array] = index + 1
                table = (*array, index)
                self._note(array, start)
                self._note(table, start)
                self._to_line_end()
            elif self._text[start] == "[":
                self._at += 1
                table = self._resolve(self._key())
                for depth in range(1, len(table) + 1):
                    self._note(table[:depth], start)
                self._to_line_end()
            else:
                self._pair(table)

    def _resolve(self, header: Path) -> Path:
        """Follow a table header: the name of an array of tables means its newest table."""
        found: Path = ()
        for name in header:
            found = (*found, name)
            if found in self._tables:
                found = (*found, self._tables[found] - 1)
        return found

    def _pair(self, table: Path) -> None:
        start = self._at
        path = table
        for name in self._key():
            path = (*path, name)
            self._note(path, start)
        self._skip(" \t=")
        self._value(path)

    def _value(self, path: Path) -> None:
        char = self._text[self._at]
        if char in "\"'":
            self._string()
        elif char == "[":
            self._at += 1
            index = 0
            while self._skip(" \t\r\n,") and self._text[self._at] != "]":
                self._note((*path, index), self._at)
                self._value((*path, index))
                index += 1
            self._at += 1
        elif char == "{":
            self._at += 1
            while self._skip(" \t\r\n,") and self._text[self._at] != "}":
                self._pair(path)
            self._at += 1
        else:
            while self._at < len(self._text) and self._text[self._at] not in _BARE_END:
                self._at += 1

    def _key(self) -> Path:
        """Read a dotted key, up to its ``=`` or ``]``."""
        names: list[str | int] = []
        while True:
            self._skip(" \t")
            start = self._at
            if self._text[start] in "\"'":
                self._string()
                names.append(str(tomllib.loads(f"k={self._text[start : self._at]}")["k"]))
            else:
                while self._text[self._at] not in " \t.=]":
                    self._at += 1
                names.append(self._text[start : self._at])
            self._skip(" \t")
            if self._text[self._at] != ".":
                return tuple(names)
            self._at += 1

    def _string(self) -> None:
        quote = self._text[self._at]
        fence = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        self._at += len(fence)
        while not self._text.startswith(fence, self._at):
            self._at += 2 if quote == '"' and self._text[self._at] == "\\" else 1
        self._at += len(fence)
        if len(fence) == 3:  # up to two more quotes belong to the text
            while self._at < len(self._text) and self._text[self._at] == quote:
                self._at += 1

    def _skip(self, chars: str) -> bool:
        """Skip ``chars`` and comments. Return False at the end of the text."""
        while self._at < len(self._text):
            if self._text[self._at] == "#":
                self._to_line_end()
            elif self._text[self._at] in chars:
                self._at += 1
            else:
                return True
        return False

    def _to_line_end(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _note(self, path: Path, at: int) -> None:
        self._lines.setdefault(path, bisect_right(self._newlines, at - 1) + 1)
