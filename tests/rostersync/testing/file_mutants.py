"""One broken choir sheet for each check of files that people give and take."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace

from connectors.contract.connector import Capabilities, Certificate, FetchRequest, Page
from connectors.contract.file_exchange import (
    ExampleFile,
    ExportedRow,
    ExportFile,
    ExportRequest,
    GivenFiles,
    HeldPerson,
    LeftOut,
)
from tests.plugins.choir.connector import ChoirSheet
from tests.rostersync.testing.mutants import breaks


@breaks("methods_for_files_come_with_the_flag")
class HidesThatItTakesFiles(ChoirSheet):
    capabilities = Capabilities(origin="file", partial_is_usable=False)


@breaks("an_uploaded_roster_is_read")
class ReadsItsOwnPlaceOnly(ChoirSheet):
    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        return (yield from super().pages(replace(request, file=None)))


@breaks("its_own_files_are_recognised")
class TakesEveryFileForItsOwn(ChoirSheet):
    @classmethod
    def recognises(cls, files: GivenFiles) -> bool:
        return len(files) == 1


@breaks("a_template_is_recognised_and_read")
class GivesATemplateWithoutAnId(ChoirSheet):
    @classmethod
    def template(cls) -> Mapping[str, ExampleFile]:
        ((name, file),) = super().template().items()
        return {name: ExampleFile(file.header, [("", *row[1:]) for row in file.rows])}


class _ExportsOtherwise(ChoirSheet):
    """Writes other rows than the choir sheet does."""

    @classmethod
    def row(cls, row: tuple[str | int, ...], person: HeldPerson) -> ExportedRow:
        raise NotImplementedError

    @classmethod
    def export_rows(cls, request: ExportRequest) -> Sequence[ExportFile]:
        (file,) = super().export_rows(request)

        def rows() -> Generator[ExportedRow, None, None]:
            for row, person in zip(file.rows(), request.people(), strict=True):
                yield row if isinstance(row, LeftOut) else cls.row(row, person)

        return [replace(file, rows=rows)]


@breaks("an_export_read_back_says_the_same")
class ExportsWithoutAddresses(_ExportsOtherwise):
    @classmethod
    def row(cls, row: tuple[str | int, ...], person: HeldPerson) -> ExportedRow:
        return (*row[:-1], "")


class ExportsOurIds(_ExportsOtherwise):
    @classmethod
    def row(cls, row: tuple[str | int, ...], person: HeldPerson) -> ExportedRow:
        return (f"user-{person.user_id}", *row[1:])


class LeavesEverybodyOut(_ExportsOtherwise):
    @classmethod
    def row(cls, row: tuple[str | int, ...], person: HeldPerson) -> ExportedRow:
        return LeftOut(person.user_id, "it is not written")
