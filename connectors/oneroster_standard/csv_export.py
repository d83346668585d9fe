"""An export as OneRoster CSV: the files that give back what a source said and the directory says.

Used by ``oneroster_csv``. Rows of classes, and of people out of scope, are not there: they make no
user. Only the order of two schools may differ where the source is restricted to some ``schools``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.contract.file_exchange import (
    ExampleFile,
    ExportedRow,
    ExportFile,
    ExportRequest,
    HeldPerson,
    LeftOut,
)
from connectors.files.csv_write import cells_of
from connectors.oneroster_standard.manifest import STANDARD, manifest_rows

_IDS = ("sourcedId", "status", "dateLastModified")
_WORDS = {"student": "student", "teacher": "teacher", "staff": "aide", "contact": "guardian"}
_BEYOND = {
    "preferred_given_name": "preferredGivenName",
    "preferred_middle_name": "preferredMiddleName",
    "preferred_family_name": "preferredFamilyName",
}
"""Columns that 1.1 does not have, but that are read: written only where somebody needs them."""
_PLAIN = (
    "given_name", "middle_name", "family_name", "preferred_given_name", "preferred_middle_name",
    "preferred_family_name", "email", "username",
)  # fmt: skip


def example_set() -> Mapping[str, ExampleFile]:
    """Return a set of OneRoster 1.1 to be filled in: a district, a school and a student."""
    return {
        "manifest.csv": ExampleFile(("propertyName", "value"), manifest_rows("1.1", "example")),
        "orgs.csv": _example(
            "orgs",
            {"sourcedId": "d1", "name": "Example District", "type": "district"},
            {"sourcedId": "s1", "name": "Example School", "type": "school", "identifier": "101",
             "parentSourcedId": "d1"},
        ),
        "users.csv": _example(
            "users",
            {"sourcedId": "u1", "enabledUser": "true", "orgSourcedIds": "s1", "role": "student",
             "username": "sam", "givenName": "Sam", "familyName": "Example",
             "identifier": "900001", "email": "sam@school.example", "grades": "09"},
        ),
    }  # fmt: skip


def _example(name: str, *rows: Mapping[str, str]) -> ExampleFile:
    header = (*_IDS, *STANDARD["1.1", name].split())
    return ExampleFile(header, [tuple(row.get(column, "") for column in header) for row in rows])


def export_files(request: ExportRequest, columns: Mapping[str, str]) -> Sequence[ExportFile]:
    """Return the set, in the version that was read last; ``columns`` is our field → column."""
    return _Export(request, columns).files()


def _beyond(request: ExportRequest) -> Iterator[str]:
    """Yield the columns that 1.1 does not have and somebody needs all the same."""
    for name, column in _BEYOND.items():
        if request.anybody_has(name):
            yield column
    if request.anybody_has("person_key") and any(
        (person.said.get("person_key") or "").startswith("master:") for person in request.people()
    ):
        yield "userMasterIdentifier"


class _Export:
    def __init__(self, request: ExportRequest, columns: Mapping[str, str]) -> None:
        self.request = request
        self.columns = columns
        self.version = "1.2" if request.joined else "1.1"
        beyond = () if request.joined else tuple(_beyond(request))
        self.orgs = (*_IDS, *STANDARD[self.version, "orgs"].split())
        self.users = (*_IDS, *STANDARD[self.version, "users"].split(), *beyond)
        self.top = self._free_org_id(request.district)

    def files(self) -> list[ExportFile]:
        """Return the files of the set."""
        files = [
            ExportFile("manifest.csv", ("propertyName", "value"), self._manifest),
            ExportFile("orgs.csv", self.orgs, self._org_rows),
            ExportFile("users.csv", self.users, self._user_rows),
        ]
        if self.request.joined:
            header = (*_IDS, *STANDARD["1.2", "roles"].split())
            files.append(ExportFile("roles.csv", header, lambda: self._role_rows(header)))
        return files

    def _free_org_id(self, wish: str) -> str:
        """Return an id for the district's own org that no school has."""
        taken = {school["external_id"] for school in self.request.schools()}
        while wish in taken:
            wish += "-district"
        return wish

    def _manifest(self) -> Iterator[ExportedRow]:
        yield from manifest_rows(self.version, self.request.source)

    def _org_rows(self) -> Iterator[ExportedRow]:
        about = {"sourcedId": self.top, "name": self.request.district_name, "type": "district"}
        yield cells_of(self.orgs, about)
        for school in self.request.schools():
            identifier = school.get("nces_id") or school.get("number")
            yield cells_of(
                self.orgs,
                {"sourcedId": school["external_id"], "name": school["name"], "type": "school",
                 "identifier": identifier, "parentSourcedId": self.top},
            )  # fmt: skip

    def _user_rows(self) -> Iterator[ExportedRow]:
        return map(self._user, self.request.people())

    def _role_rows(self, header: Sequence[str]) -> Iterator[ExportedRow]:
        for person in self.request.people():
            if isinstance(self._user(person), LeftOut):
                continue
            key = person.said["external_id"]
            for number, member in enumerate(person.said.get("memberships", []), start=1):
                yield cells_of(
                    header,
                    {"sourcedId": f"{key}-{number}", "userSourcedId": key,
                     "roleType": "primary" if member.get("primary") else "secondary",
                     "role": _role_word(member, self.version),
                     "orgSourcedId": member.get("school") or self.top},
                )  # fmt: skip

    def _user(self, person: HeldPerson) -> ExportedRow:
        profile, said = person.profile, person.said
        if not (profile["given_name"] or profile["family_name"]):
            return LeftOut(person.user_id, "a OneRoster file needs a name")
        members = said.get("memberships", [])
        main = next((m["school"] for m in members if m.get("primary")), None)
        roles = {member["role"] for member in members}
        orgs = dict.fromkeys(
            [*([main] if main else []), *(m.get("school") or self.top for m in members)]
        )
        kind, _, key = (said.get("person_key") or "").partition(":")
        ids = []
        if kind == "userid":
            ids.append("{" + key + "}")
        if profile["state_id"]:
            ids.append("{stateId:" + profile["state_id"] + "}")
        if any("{" in one[1:-1] or "}" in one[1:-1] for one in ids):
            return LeftOut(person.user_id, "an id with braces has no place in a OneRoster file")
        return cells_of(
            self.users,
            {self.columns[name]: profile[name] for name in _PLAIN}
            | {
                "sourcedId": said["external_id"],
                "enabledUser": "false" if person.suspended else "true",
                "orgSourcedIds": ",".join(orgs),
                "role": ",".join(dict.fromkeys(_role_word(member, "1.1") for member in members)),
                "userIds": ",".join(ids),
                "identifier": profile["student_number" if "student" in roles else "staff_number"],
                "grades": profile["grade"],
                "userMasterIdentifier": key if kind == "master" else None,
                "primaryOrgSourcedId": main,
            },
        )


def _role_word(member: Mapping[str, Any], version: str) -> str:
    if member["role"] != "admin":
        return _WORDS[member["role"]]
    if version == "1.1":
        return "administrator"
    return "siteAdministrator" if member.get("school") else "districtAdministrator"
