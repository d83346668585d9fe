"""Drive a connector as the engine does: serve pages, split, identify, parse, combine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from connectors.contract.connector import Certificate, Connector, FetchRequest, Part, Record
from core.errors import RosterSyncError, SkipRecord
from core.models import NormalizedSchool, NormalizedUser
from rostersync.testing import NotSupplied, Scenario, Setting, Situation

FIXTURES = Path(__file__).parents[2] / "fixtures"


@dataclass
class Reading:
    """Everything one fetch of a connector brought."""

    users: dict[str, NormalizedUser] = field(default_factory=dict)
    schools: dict[str, NormalizedSchool] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    parts: dict[str, list[tuple[str, Part]]] = field(default_factory=dict)
    skipped: list[tuple[str, int, SkipRecord]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    pages: int = 0
    certificate: Certificate | None = None
    error: RosterSyncError | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        assert self.certificate is not None
        return self.certificate.notes

    @property
    def faults(self) -> list[tuple[int, str]]:
        """(line, rule) of every skipped row."""
        return [(line, problem.rule) for _, line, problem in self.skipped]

    def _keep(self, record: Record) -> None:
        self.records.append(record)
        self.unknown += record.unknown
        if record.deleted:
            self.deleted.append(record.key)
        elif record.user:
            self.users[record.key] = record.user
        elif record.school:
            self.schools[record.key] = record.school


def read(connector: Connector, directory: Path | str = ".") -> Reading:
    """Read everything; an error that ends the fetch is kept in ``error``."""
    reading = Reading()
    pages = connector.pages(FetchRequest(directory=str(directory)))
    try:
        while True:
            try:
                page = next(pages)
            except StopIteration as stop:
                reading.certificate = stop.value
                break
            reading.pages += 1
            rows = page.split(page.body)
            assert page.lines is not None
            lines = page.lines(rows)
            assert len(lines) == len(rows)
            reading.rows[page.stream] = reading.rows.get(page.stream, 0) + len(rows)
            for line, raw in zip(lines, rows, strict=True):
                try:
                    key = connector.identify(page.stream, raw)
                    parsed = connector.parse(page.stream, raw)
                except SkipRecord as problem:
                    reading.skipped.append((page.stream, line, problem))
                    continue
                assert parsed.key == key
                if isinstance(parsed, Part):
                    reading.parts.setdefault(parsed.owner, []).append((page.stream, parsed))
                    reading.unknown += parsed.unknown
                else:
                    reading._keep(parsed)
        for owner, parts in reading.parts.items():
            try:
                if record := connector.combine(owner, parts):
                    reading._keep(record)
            except SkipRecord as problem:
                reading.skipped.append(("", 0, problem))
    except RosterSyncError as error:
        reading.error = error
    finally:
        connector.close()
    return reading


def refusal(connector: Connector, directory: Path | str = ".") -> RosterSyncError:
    """Return the error that ended the fetch."""
    reading = read(connector, directory)
    assert reading.error is not None, "the fetch went through"
    assert reading.certificate is None
    return reading.error


Edit = Callable[[str], str]


def copy_of(fixture: str, to: Path, edits: Mapping[str, Edit | None] | None = None) -> Path:
    """Copy a fixture's folder; edit files, add them, or (None) leave them out. Line ends stay."""
    folder = to / "set"
    shutil.copytree(FIXTURES / fixture, folder)
    for name, edit in (edits or {}).items():
        path = folder / name
        if edit is None:
            path.unlink()
        else:
            before = path.read_bytes().decode() if path.exists() else ""
            path.write_bytes(edit(before).encode())
    return folder


def swap(old: str, new: str) -> Edit:
    """Replace text that must be there."""

    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


def more(*rows: str) -> Edit:
    """Add rows at the end."""
    return lambda text: text + "".join(f"{row}\n" for row in rows)


def header_only(text: str) -> str:
    return text.split("\n")[0] + "\n"


def cut(text: str) -> str:
    """End in the middle of the last row."""
    return text.rstrip("\n").rpartition(",")[0].rpartition(",")[0]


EXPECTED = Path(__file__).parents[1] / "connectors" / "expected"
"""What the fixtures mean, written by ``ROSTERSYNC_RECORD=1 pytest`` and read through."""


class EditedFolder(Scenario):
    """A scenario whose situations are edits of one fixture."""

    def __init__(
        self,
        fixture: str,
        edits: Mapping[Situation, Mapping[str, Edit | None]],
        *,
        people: int,
        schools: int,
        file: str = "",
        exempt: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            people=people,
            schools=schools,
            exempt=exempt,
            expected=EXPECTED / f"{fixture.replace('/', '_')}.json",
        )
        self._fixture = fixture
        self._edits = {Situation.ROSTER: {}, **edits}
        self._file = file

    @contextmanager
    def open(self, situation: Situation) -> Iterator[Setting]:
        if situation not in self._edits:
            raise NotSupplied(situation)
        with tempfile.TemporaryDirectory() as name:
            folder = copy_of(self._fixture, Path(name), self._edits[situation])
            path = str(folder / self._file)
            yield Setting({"path": path}, directory=name, upload=path)
