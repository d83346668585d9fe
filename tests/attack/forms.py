"""One roster in every form that it may come in: over HTTP in each dialect, and as files.

form = FORMS["oneroster_csv11"](folder, monkeypatch, database)
form.people = people(3)
form.world.sync()
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.attack.conftest import Attack, add_source
from tests.attack.hostile import DIALECTS, Hostile, Person
from tests.kit.world import World

CSV_FORMS = ("oneroster_csv11", "oneroster_csv12", "clever_csv")
FORMS = (*DIALECTS, *CSV_FORMS)
NAMED_FORMS = (*FORMS, "user_csv")
"""All forms in which a person has a given and a family name of their own."""
ONEROSTER_FORMS = tuple(form for form in FORMS if not form.startswith("clever"))


class Form:
    """A district whose source ``sis`` reads one roster in one form."""

    def __init__(self, form: str, world: World, people: list[Person]) -> None:
        self.form = form
        self.world = world
        self.people = people

    def sync(self, *, code: int | None = None) -> Any:
        """Sync, an hour later."""
        return self.world.later(hours=1).sync(sources=["sis"], code=code)

    def user(self, key: str) -> dict[str, Any]:
        """Return the user of a person, by the person's id."""
        word = {"clever_csv": "student:", "user_csv": "id:"}.get(self.form, "")
        return self.world.user(f"{word}{key}")

    def joined(self) -> int:
        """Count everybody who is active."""
        return self.world.count()


class OverHttp(Form):
    """Served by the hostile server."""

    def __init__(self, form: str, world: World, vendor: Hostile) -> None:
        super().__init__(form, world, vendor.people)
        self.vendor = vendor


class AsFiles(Form):
    """Written as a set of CSV files before each sync."""

    def __init__(
        self,
        form: str,
        world: World,
        folder: Path,
        people: list[Person],
        monkeypatch: Any,
        **how: Any,
    ) -> None:
        super().__init__(form, world, people)
        self.folder = folder
        folder.mkdir()
        connector = form if form in ("clever_csv", "user_csv") else "oneroster_csv"
        add_source(world, "sis", connector, {"path": str(folder), **how}, monkeypatch)

    def sync(self, *, code: int | None = None) -> Any:
        """Write the files, and sync."""
        {
            "oneroster_csv11": self._oneroster,
            "oneroster_csv12": self._oneroster,
            "clever_csv": self._clever,
            "user_csv": self._users,
        }[self.form]()
        return super().sync(code=code)

    def _write(self, name: str, header: str, rows: Sequence[Sequence[Any]]) -> None:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(header.split(","))
        writer.writerows(rows)
        (self.folder / name).write_text(out.getvalue(), encoding="utf-8")

    def _oneroster(self) -> None:
        two = self.form == "oneroster_csv12"
        files = {"users": "bulk", "orgs": "bulk"} | ({"roles": "bulk"} if two else {})
        every = ("academicSessions", "classes", "courses", "enrollments", "orgs", "users", "roles")
        names = [name for name in every if two or name != "roles"]
        manifest = [["manifest.version", "1.0"], ["oneroster.version", "1.2" if two else "1.1"]]
        manifest += [[f"file.{name}", files.get(name, "absent")] for name in names]
        self._write("manifest.csv", "propertyName,value", manifest)
        self._write("orgs.csv", "sourcedId,name,type", [["o1", "Lincoln", "school"]])
        people = [[p["id"], p.get("enabled", "true"), p["id"], p["given"], p["family"],
                   p["email"], p.get("grade") or "",
                   ",".join(f"{{{kind}:{number}}}" for kind, number in p.get("ids", ())),
                   p.get("number", "")]
                  for p in self.people]  # fmt: skip
        header = (
            "sourcedId,enabledUser,username,givenName,familyName,email,grades,userIds,identifier"
        )
        if two:
            self._write("users.csv", header, people)
            self._write(
                "roles.csv",
                "sourcedId,userSourcedId,roleType,role,orgSourcedId",
                [
                    [f"{p['id']}-{number}", p["id"], "secondary" if number else "primary", role,
                     p["school"]]
                    for p in self.people for number, role in enumerate(roles_of(p))
                ],
            )  # fmt: skip
        else:
            rows = [
                [*row, ",".join(roles_of(p)), p["school"]]
                for row, p in zip(people, self.people, strict=True)
            ]
            self._write("users.csv", f"{header},role,orgSourcedIds", rows)

    def _clever(self) -> None:
        self._write("schools.csv", "School_id,School_name,School_number", [["o1", "Lincoln", "1"]])
        students = [p for p in self.people if p["role"] == "student"]
        self._write(
            "students.csv",
            "School_id,Student_id,Last_name,First_name,Grade,Student_email,Student_number,"
            "Graduation_year",
            [[p["school"], p["id"], p["family"], p["given"], p.get("grade") or "", p["email"],
              p.get("number", ""), p.get("year", "")] for p in students],
        )  # fmt: skip
        self._write(
            "teachers.csv",
            "School_id,Teacher_id,Last_name,First_name,Teacher_email",
            [[p["school"], p["id"], p["family"], p["given"], p["email"]]
             for p in self.people if p["role"] == "teacher"],
        )  # fmt: skip

    def _users(self) -> None:
        self._write(
            "users.csv",
            "firstname,lastname,email,role,gradyear,status,idnumber",
            [[p["given"], p["family"], p["email"], p["role"], "", "", p.get("number", p["id"])]
             for p in self.people],
        )  # fmt: skip


def roles_of(person: Person) -> list[str]:
    """Return the roles of a person, the first one first."""
    return [person["role"], *person.get("more_roles", ())]


def new_form(
    form: str,
    people: list[Person],
    attack: Attack,
    world: World,
    folder: Path,
    monkeypatch: Any,
    **how: Any,
) -> Form:
    """Return a district that reads ``people`` in a form. ``world`` is used for files only.

    ``how`` is more of the connector's config.
    """
    if form in DIALECTS:
        attacked = attack(form, **how)
        attacked.vendor.people = people
        made = OverHttp(form, attacked.world, attacked.vendor)
        made.people = people
        return made
    return AsFiles(form, world, folder / "set", people, monkeypatch, **how)
