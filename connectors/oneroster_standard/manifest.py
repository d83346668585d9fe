"""What a OneRoster CSV set holds: its version, its files with their modes, its headers.

Used by ``oneroster_csv`` only. Where manifest and files differ the files are believed, and the
difference becomes a note.
Docs: https://www.imsglobal.org/spec/oneroster/v1p2/bind/csv (1.2) and
https://www.imsglobal.org/oneroster-v11-final-csv-tables (1.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from connectors.files.csv_file import CsvFile
from connectors.files.csv_table import Shape, Table
from connectors.files.file_set import FileSet, no_such_set
from core.errors import IncompleteFetch, SkipRecord

EXPECTED = "manifest.csv, orgs.csv, users.csv and, for OneRoster 1.2, roles.csv"


class PropertyRow(NamedTuple):
    """One row of manifest.csv."""

    propertyName: str
    value: str


_MANIFEST = Shape(PropertyRow, key="propertyName", required=("propertyName", "value"))
STANDARD = {
    ("1.1", "orgs"): "name type identifier parentSourcedId",
    ("1.1", "users"): "enabledUser orgSourcedIds role username userIds givenName familyName "
    "middleName identifier email sms phone agentSourcedIds grades password",
    ("1.2", "users"): "enabledUser username userIds givenName familyName middleName identifier "
    "email sms phone agentSourcedIds grades password userMasterIdentifier resourceSourcedIds "
    "preferredGivenName preferredMiddleName preferredFamilyName primaryOrgSourcedId pronouns",
    ("1.2", "roles"): "userSourcedId roleType role beginDate endDate orgSourcedId "
    "userProfileSourcedId",
}
STANDARD["1.2", "orgs"] = STANDARD["1.1", "orgs"]
"""The columns of the standard after the three that every file has, by version and file."""
_MAY_LACK = {"resourceSourcedIds", "dateLastModified", "status"}
"""Columns whose lack is no news: 1.2.1 dropped the first, bulk files need not fill the others."""

_FILES = frozenset(
    (
        "manifest", "orgs", "users", "roles", "academicSessions", "categories", "classes",
        "classResources", "courses", "courseResources", "demographics", "enrollments",
        "lineItems", "resources", "results", "scoreScales", "lineItemLearningObjectiveIds",
        "lineItemScoreScales", "resultLearningObjectiveIds", "resultScoreScales", "userProfiles",
        "userResources",
    )
)  # fmt: skip


_ONLY_1_2 = frozenset(
    (
        "roles", "scoreScales", "lineItemLearningObjectiveIds", "lineItemScoreScales",
        "resultLearningObjectiveIds", "resultScoreScales", "userProfiles", "userResources",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Survey:
    """What is there to read: the version, each file with its mode, and what was odd."""

    version: str
    files: dict[str, CsvFile]
    delta: frozenset[str]
    silent: frozenset[str]
    notes: list[str] = field(default_factory=list)


def manifest_rows(version: str, system: str) -> list[tuple[str, str]]:
    """Return the manifest rows of a bulk set that we write: orgs, users and, in 1.2, roles."""
    ours = {"orgs", "users", "roles"}
    of_the_version = sorted(_FILES - {"manifest"} - (set() if version == "1.2" else _ONLY_1_2))
    return [
        ("manifest.version", "1.0"),
        ("oneroster.version", version),
        *((f"file.{name}", "bulk" if name in ours else "absent") for name in of_the_version),
        ("source.systemName", system),
        ("source.systemCode", system),
    ]


def survey(files: FileSet) -> Survey:
    """Decide version and modes from the manifest and, where they differ, from the files.

    Raises ``FileRefused`` for any other files, ``IncompleteFetch`` for a set that lacks a file.
    """
    manifest = files.file("manifest.csv")
    version, modes, notes = _read_manifest(manifest) if manifest else ("", {}, [])
    there = {name for name in _FILES if files.file(f"{name}.csv")}
    if not there.intersection(("manifest", "users", "orgs", "roles")):
        raise no_such_set(files, "OneRoster", EXPECTED)
    if not manifest:
        notes.append("manifest.csv is missing: every file is read as bulk.")
    version = _settle_version(files, version, notes)
    needed = ["orgs", "users", *(["roles"] if version == "1.2" else [])]
    for name in needed:
        if name in there and manifest and modes.get(name) not in ("bulk", "delta"):
            said = modes.get(name) or "not listed"
            notes.append(f"{name}.csv is {said} in manifest.csv; it is read as bulk.")
    whole = any(name in there and modes.get(name) != "delta" for name in needed)
    silent = {n for n in needed if n not in there and modes.get(n) == "absent" and not whole}
    gone = [f"{n}.csv" for n in needed if n not in there and n not in silent]
    if gone:
        raise IncompleteFetch(
            f"{files.label} lacks {', '.join(gone)}.", hint=f"Expected {EXPECTED}."
        )
    found = {n: file for n in needed if (file := files.file(f"{n}.csv"))}
    delta = frozenset(n for n in found if modes.get(n) == "delta")
    return Survey(version, found, delta, frozenset(silent), notes)


def _read_manifest(file: CsvFile) -> tuple[str, dict[str, str], list[str]]:
    """Return (OneRoster version, file → mode, notes)."""
    table = Table(file.header(), _MANIFEST)
    names = {name.casefold(): name for name in _FILES}
    version, modes, notes = "", {}, []
    for line, raw in file.rows():
        try:
            row = table.read(raw)
        except SkipRecord as problem:
            notes.append(f"{file.name} line {line}: {problem.message}")
            continue
        name = row.propertyName.casefold()
        if name == "oneroster.version":
            version = row.value
        elif name.startswith("file."):
            modes[names.get(name[5:], name[5:])] = row.value.casefold()
    return version, modes, notes


def _settle_version(files: FileSet, said: str, notes: list[str]) -> str:
    """Return 1.1 or 1.2. The files win over the manifest."""
    if said.startswith("1.2"):
        return "1.2"
    users = files.file("users.csv")
    if users is None:
        seen = "1.2" if files.file("roles.csv") and not said.startswith("1.1") else "1.1"
    else:
        names = set(users.header().folded)
        with_role = "role" in names
        seen = "1.2" if not with_role and files.file("roles.csv") else "1.1"
    if said and not said.startswith(seen):
        notes.append(f"manifest.csv says OneRoster {said[:12]}; the files are read as {seen}.")
    return seen


def header_notes(table: Table[Any], version: str, name: str) -> list[str]:
    """Say what of the header is not as the standard has it. Nothing of it fails."""
    file, notes = table.header.file, list(table.notes)
    standard = ["sourcedId", "status", "dateLastModified", *STANDARD[version, name].split()]
    aliases = {alias.casefold(): column for alias, column in table.shape.aliases.items()}
    spelled = {column.casefold(): column for column in standard}
    rank = {column: at for at, column in enumerate(standard)}
    taken = {column.casefold() for column in table.shape.columns}
    read = []
    strange = []
    for folded, written in zip(table.header.folded, table.header.names, strict=True):
        column = spelled.get(folded) or aliases.get(folded)
        if column in rank:
            read.append(column)
        elif folded and folded not in taken and not folded.startswith("metadata."):
            strange.append(written[:40])
    if read != sorted(read, key=rank.__getitem__):
        notes.append(f"{file}: the columns are not in the order of the standard.")
    lacking = [c for c in standard if c not in read and c not in _MAY_LACK]
    if lacking:
        notes.append(f"{file} has no column {', '.join(lacking)}.")
    if strange:
        notes.append(f"{file}: not read, because not in the standard: {', '.join(strange)}.")
    return notes
