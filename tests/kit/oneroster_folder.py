"""A OneRoster 1.1 folder of a few people, written anew for each day of a test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

HEADER = (
    "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,givenName,"
    "familyName,middleName,identifier,email,sms,phone,agentSourcedIds,grades,password"
)
ORGS = """\
sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId
d1,,,Springfield USD,district,,
s1,,,Lincoln High,school,101,d1
s2,,,Grant Middle,school,102,d1
"""
MANIFEST = """\
propertyName,value
manifest.version,1.0
oneroster.version,1.1
file.academicSessions,absent
file.categories,absent
file.classes,absent
file.classResources,absent
file.courses,absent
file.courseResources,absent
file.demographics,absent
file.enrollments,absent
file.lineItems,absent
file.orgs,bulk
file.resources,absent
file.results,absent
file.users,bulk
source.systemName,Springfield SIS
source.systemCode,sis
"""
DISTRICT = """\
[[district]]
slug = "springfield"
name = "Springfield USD"
timezone = "America/Chicago"
{more}
[[district.source]]
name = "sis"
connector = "oneroster_csv"
precedence = 1
[district.source.config]
path = "roster"
"""


class Person(NamedTuple):
    """One row of users.csv."""

    key: str
    family: str
    given: str = "Sam"
    role: str = "student"
    school: str = "s1"
    grade: str = "09"
    enabled: str = "true"

    def row(self) -> str:
        """Return the row."""
        mail = f"{self.key}@springfield.example"
        grade = self.grade if self.role == "student" else ""
        return (
            f"{self.key},,,{self.enabled},{self.school},{self.role},{self.key},,{self.given},"
            f"{self.family},,,{mail},,,,{grade},"
        )


def students(*numbers: int, school: str = "s1") -> list[Person]:
    """Return students with these numbers."""
    return [Person(f"st{n:04}", f"Student{n:04}", school=school) for n in numbers]


def teachers(*numbers: int) -> list[Person]:
    """Return teachers with these numbers."""
    return [Person(f"te{n:03}", f"Teacher{n:03}", role="teacher") for n in numbers]


def write_roster(folder: Path, rows: Iterable[str], orgs: str = ORGS) -> None:
    """Write a whole OneRoster 1.1 folder, whose users.csv has these rows."""
    (folder / "manifest.csv").write_text(MANIFEST)
    (folder / "orgs.csv").write_text(orgs)
    (folder / "users.csv").write_text("\n".join([HEADER, *rows, ""]))


class Folder:
    """A district file and the roster folder beside it."""

    def __init__(self, path: Path) -> None:
        self.roster = path / "roster"
        self.roster.mkdir()
        self.file = path / "district.toml"
        self.district()

    def district(self, more: str = "") -> str:
        """Write the district file, with ``more`` keys, and return its path."""
        self.file.write_text(DISTRICT.format(more=more), encoding="utf-8")
        return str(self.file)

    def write(self, people: Iterable[Person]) -> None:
        """Write a whole roster."""
        write_roster(self.roster, (person.row() for person in people))
