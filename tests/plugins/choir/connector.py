"""Reads, recognises, exports and gives a template of the choir sheet."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple

from pydantic import ValidationError

from rostersync import (
    Capabilities,
    Certificate,
    ExampleFile,
    ExportedRow,
    ExportFile,
    ExportRequest,
    FileConfig,
    FileConnector,
    FileSet,
    GivenFiles,
    HeldPerson,
    Kind,
    LeftOut,
    Membership,
    NormalizedUser,
    Page,
    Record,
    Role,
    Shape,
    SkipRecord,
    Table,
    the_one_file,
)


class SheetConfig(FileConfig):
    """Config of ``choir_sheet``."""


class Row(NamedTuple):
    """One row of the sheet."""

    singer: str
    first: str
    last: str
    voice: str
    mail: str


_SHAPE = Shape(Row, key="singer", required=("singer", "first", "last", "voice"))
_ROLES = {"treble": Role.STUDENT, "alto": Role.STUDENT, "conductor": Role.TEACHER}
_VOICES = {Role.STUDENT: "treble", Role.TEACHER: "conductor"}
_NAME = "choir.csv"


class ChoirSheet(FileConnector):
    """The sheet of one choir."""

    name = "choir_sheet"
    version = "1"
    title = "Choir sheet (one CSV)"
    config_model = SheetConfig
    capabilities = Capabilities(origin="file", partial_is_usable=False, takes_uploads=True)
    streams = {"singers": Kind.USER}  # noqa: RUF012
    hidden = ("password", "birthdate")
    config: SheetConfig

    def read_set(self, files: FileSet) -> Generator[Page, None, Certificate]:
        file = the_one_file(files)
        header = file.header()
        table = self.tables["singers"] = Table(header, _SHAPE, guarded=True)
        pages = yield from file.pages("singers", header, table.context)
        return Certificate(
            complete=True,
            pages=pages,
            vendor_time=files.modified,
            notes=(*files.notes, *table.notes),
        )

    def identify(self, stream: str, raw: bytes) -> str:
        key: str = self.tables[stream].ids(raw).singer
        if not key:
            raise _blank("singer")
        return key

    def parse(self, stream: str, raw: bytes) -> Record:
        key = self.identify(stream, raw)
        row: Row = self.tables[stream].read(raw)
        faults = self.row_faults(stream, key, row)
        if faults:
            raise faults[0]
        role = _ROLES.get(row.voice.casefold())
        user = NormalizedUser(
            external_id=key,
            given_name=row.first,
            family_name=row.last,
            email=row.mail or None,
            memberships=() if role is None else (Membership(role=role),),
        )
        unknown = () if role else (f"voice={row.voice}",)
        return Record(Kind.USER, key, user=user, unknown=unknown)

    def row_faults(self, stream: str, key: str, row: Row) -> list[SkipRecord]:
        found = [] if row.last else [_blank("last", key)]
        try:
            NormalizedUser(external_id=key, given_name=row.first, email=row.mail or None)
        except ValidationError:
            found.append(
                SkipRecord("A value cannot be used.", rule="value", column="mail", key=key)
            )
        return found

    @classmethod
    def recognises(cls, files: GivenFiles) -> bool:
        return len(files) == 1 and {"singer", "voice"} <= set(next(iter(files.values())))

    @classmethod
    def template(cls) -> Mapping[str, ExampleFile]:
        example = ("c1", "Sam", "Example", "treble", "sam@school.example")
        return {_NAME: ExampleFile(Row._fields, [example])}

    @classmethod
    def export_rows(cls, request: ExportRequest) -> Sequence[ExportFile]:
        return [ExportFile(_NAME, Row._fields, lambda: map(_exported, request.people()))]


def _blank(column: str, key: str | None = None) -> SkipRecord:
    return SkipRecord(f"{column} is blank.", rule="missing-value", column=column, key=key)


def _exported(person: HeldPerson) -> ExportedRow:
    profile, said = person.profile, person.said
    roles = {Role(member["role"]) for member in said.get("memberships", [])}
    voice = next((_VOICES[role] for role in _VOICES if role in roles), None)
    if voice is None:
        return LeftOut(person.user_id, "a choir sheet knows singers and conductors only")
    return (
        said["external_id"],
        profile["given_name"] or "",
        profile["family_name"] or "",
        voice,
        profile["email"] or "",
    )
