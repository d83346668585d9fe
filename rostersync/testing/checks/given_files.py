"""Files that people upload and download: recognised, made from a template, exported, read back."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from connectors.contract.connector import Connector, FetchRequest, RowsRefused
from connectors.contract.file_exchange import ExportFile, ExportRequest, HeldPerson, LeftOut
from connectors.files.csv_write import csv_bytes
from connectors.files.recognition import recognise
from connectors.files.templates import write_template
from connectors.installed import file_formats
from core.models import PROFILE_FIELDS, NormalizedUser
from rostersync.testing.bench import Bench, check, demand
from rostersync.testing.reading import Reading, read
from rostersync.testing.scenario import Situation

EXAMPLE_ROW = "example-row"
"""The rule of a template's example row, which a format may refuse as nobody."""


def _takes_uploads(bench: Bench) -> str:
    return "" if bench.connector.capabilities.takes_uploads else "takes no uploads"


def _has_a_template(bench: Bench) -> str:
    if why := _takes_uploads(bench):
        return why
    return "" if _defines(bench.connector, "template") else "has no template"


def _exports(bench: Bench) -> str:
    if why := _takes_uploads(bench):
        return why
    return "" if _defines(bench.connector, "export_rows") else "writes no export"


def _defines(connector: type[Connector], method: str) -> bool:
    own: Any = getattr(connector, method)
    return own.__func__ is not getattr(Connector, method).__func__


@check()
def methods_for_files_come_with_the_flag(bench: Bench) -> None:
    """``takes_uploads`` stands beside ``recognises``, ``template`` and ``export_rows``."""
    flag = bench.connector.capabilities.takes_uploads
    for method in ("recognises", "template", "export_rows"):
        demand(
            flag or not _defines(bench.connector, method),
            f"{method}() is defined, but the capability takes_uploads is not set",
        )
    demand(
        not flag or _defines(bench.connector, "recognises"),
        "takes_uploads is set, but recognises() is not defined: nobody could leave --source out",
    )


@check(_takes_uploads)
def an_uploaded_roster_is_read(bench: Bench) -> None:
    """``takes_uploads``: a file that somebody gives is read instead of the configured place."""
    with _given(bench) as (path, connector, directory):
        given = read(connector, FetchRequest(directory=directory, file=str(path)))
    _demand_read(given, "the roster, given as an upload,")
    demand(
        _people(given.users) == _people(bench.roster().users),
        "the roster, given as an upload, has other people than at its place",
    )
    with TemporaryDirectory() as folder:
        nothing = read(
            _connect(bench), FetchRequest(directory=folder, file=f"{folder}/not-there.csv")
        )
    demand(
        not nothing.complete,
        "pages() read a roster although the uploaded file is not there: it must read request.file",
    )


@check(_takes_uploads)
def its_own_files_are_recognised(bench: Bench) -> None:
    """``recognises`` says yes to the roster in order, and no to files of any other format."""
    name, connector = bench.connector.name, bench.connector
    with _given(bench) as (path, _, _):
        demand(recognise(path, {name: connector}), "recognises() says no to the roster in order")
    with TemporaryDirectory() as folder:
        strange = Path(folder, "fruit.csv")
        strange.write_text("fruit,colour\napple,red\n")
        demand(
            not recognise(strange, {name: connector}),
            "recognises() says yes to a file with the columns fruit and colour",
        )
        for other, format_ in file_formats().items():
            if other != name and (files := format_.template()):
                write_template(files, template := Path(folder, f"{other}.zip"))
                demand(
                    not recognise(template, {name: connector}),
                    f"recognises() says yes to the template of {other}",
                )


@check(_has_a_template)
def a_template_is_recognised_and_read(bench: Bench) -> None:
    """``template``: what somebody downloads is recognised when they upload it, and no row fails."""
    files = bench.connector.template()
    demand(files, "template() returns no file")
    for name, file in files.items():
        wide = [row for row in file.rows if len(row) != len(file.header)]
        demand(not wide, f"a row of {name} has not as many cells as the header has columns")
    with TemporaryDirectory() as folder:
        for kind in ("zip", "csv", "xlsx") if len(files) == 1 else ("zip",):
            write_template(files, path := Path(folder, f"template.{kind}"))
            demand(
                recognise(path, {bench.connector.name: bench.connector}),
                f"recognises() says no to the template as .{kind}",
            )
            reading = read(_connect(bench), FetchRequest(directory=folder, file=str(path)))
            if _is_only_the_example(reading):
                continue  # the format takes its own example for nobody
            _demand_read(reading, f"the template as .{kind}")
            demand(reading.users, f"the template as .{kind} has nobody in it")


@check(_exports)
def an_export_read_back_says_the_same(bench: Bench) -> None:
    """``export_rows``: an export that is uploaded again changes nobody, and leaves nobody out."""
    reading = bench.roster()
    files = bench.connector.export_rows(_request(bench, reading))
    demand(files, "export_rows() returns no file")
    with TemporaryDirectory() as folder:
        left_out = _write(files, path := Path(folder, "export.zip"))
        again = read(_connect(bench), FetchRequest(directory=folder, file=str(path)))
    _demand_read(again, "the export, uploaded again,")
    wanted = [user for user in reading.users if user.external_id not in left_out]
    demand(wanted, "the export leaves everybody out")
    before, after = _people(wanted), _people(again.users)
    lost = before.keys() - after.keys()
    demand(not lost, f"{len(lost)} people are not in the export, and not among those left out")
    demand(not after.keys() - before.keys(), "the export has people whom the source does not hold")
    fields = sorted(
        {
            field
            for key, user in before.items()
            for field in user.keys() | after[key].keys()
            if user.get(field) != after[key].get(field)
        }
    )
    demand(not fields, f"the export says something else about people: {', '.join(fields)}")


# -- what the checks work with


@contextmanager
def _given(bench: Bench) -> Iterator[tuple[Path, Connector, str]]:
    """Yield the roster in order as a file, a connector to read it, and the working folder."""
    with bench.open() as (connector, setting):
        demand(
            setting.upload is not None,
            "the scenario's setting names no `upload`: the roster in order as a file",
        )
        yield Path(setting.directory, setting.upload or ""), connector, setting.directory


def _connect(bench: Bench) -> Connector:
    with bench.scenario.open(Situation.ROSTER) as setting:
        return bench.connect(setting)


def _is_only_the_example(reading: Reading) -> bool:
    """Tell whether nothing is wrong with a template but that its example row is no person."""
    found = [skip.rule for skip in reading.skips]
    if isinstance(reading.error, RowsRefused):
        found += [finding.rule for finding in reading.error.findings]
    return bool(found) and set(found) == {EXAMPLE_ROW}


def _demand_read(reading: Reading, what: str) -> None:
    demand(reading.crash is None, f"{what} raised {type(reading.crash).__name__}")
    demand(reading.error is None, f"{what} could not be read: {reading.error}")
    demand(reading.complete, f"{what} was not certified complete")
    rules = sorted({skip.rule for skip in reading.skips})
    demand(not rules, f"{what} has rows that cannot be used: {', '.join(rules)}")


def _people(users: Sequence[NormalizedUser]) -> dict[str, dict[str, Any]]:
    """Return what is said about each person, ignoring the order of their schools."""
    found = {}
    for user in users:
        said = user.model_dump(mode="json", exclude_defaults=True)
        said["memberships"] = sorted(map(str, said.get("memberships", [])))
        found[user.external_id] = said
    return found


def _request(bench: Bench, reading: Reading) -> ExportRequest:
    """Ask for an export as the engine does, of what the reading says."""

    def people() -> Iterator[HeldPerson]:
        for user in reading.users:
            yield HeldPerson(
                user_id=user.external_id,
                suspended=not user.enabled,
                profile={name: getattr(user, name) for name in PROFILE_FIELDS},
                said=user.model_dump(mode="json", exclude_defaults=True),
            )

    def schools() -> Iterator[Mapping[str, Any]]:
        for school in reading.schools:
            yield school.model_dump(mode="json", exclude_defaults=True)

    return ExportRequest(
        district="springfield",
        district_name="Springfield",
        source="roster",
        joined=bench.flags.joined,
        schools=schools,
        people=people,
        anybody_has=lambda name: any(getattr(user, name) is not None for user in reading.users),
    )


def _write(files: Sequence[ExportFile], to: Path) -> set[str]:
    """Write an export as a zip; return the ids of the people it leaves out."""
    left_out: set[str] = set()

    def rows(file: ExportFile) -> Iterator[tuple[str | int, ...]]:
        for row in file.rows():
            if isinstance(row, LeftOut):
                left_out.add(row.user_id)
            else:
                yield row

    with zipfile.ZipFile(to, "w") as archive:
        for file in files:
            archive.writestr(file.name, csv_bytes(file.header, rows(file)))
    return left_out
