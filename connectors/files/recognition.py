"""Which format a file is, found from its headers and its files' names (file-rules.md 2.2, 4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from connectors.contract.connector import Connector
from connectors.files.csv_file import CsvFile
from connectors.files.file_set import open_files
from core.errors import FileRefused, IncompleteFetch


def recognise(path: Path, formats: Mapping[str, type[Connector]]) -> list[str]:
    """Return the names of the formats that say that the file is theirs; none: it is unknown."""
    try:
        with open_files(path) as files:
            given = _Given(files.files())
            return [name for name, one in formats.items() if one.recognises(given)]
    except (FileRefused, IncompleteFetch):
        return []


class _Given(Mapping[str, Sequence[str]]):
    """Name → header of the files that somebody gave; a header is read when it is asked for."""

    def __init__(self, files: Sequence[CsvFile]) -> None:
        self._files = {file.name.casefold(): file for file in files}

    def __getitem__(self, name: str) -> Sequence[str]:
        try:
            return self._files[name].header().folded
        except (FileRefused, IncompleteFetch):
            return ()

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def columns_of_the_one_file(given: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Return the columns of the only file that was given; several files: no columns."""
    return frozenset(next(iter(given.values()))) if len(given) == 1 else frozenset()
