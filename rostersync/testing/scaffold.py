"""``rostersync connector new NAME``: a small plugin package, whole from the first minute.

What is written installs, is listed by ``rostersync connectors``, syncs its own fixture and passes
the conformance suite before its author has changed a line. The author then replaces the made-up
JSON format by the real one, and the suite tells what is still missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from core.errors import UsageError
from core.registry import registered
from rostersync.testing.scenario import CANARY


def new_connector(name: str, folder: Path) -> tuple[Path, ...]:
    """Write the package of a connector called ``name`` into ``folder``, and return its files.

    Raise UsageError, having written nothing, if the name is no name for a connector, if one of
    that name is installed, or if the folder is there and not empty.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise UsageError(
            f"{name!r} cannot be the name of a connector.",
            hint="Use lower-case letters, digits and single underscores, a letter first: my_sis.",
        )
    if any(entry.name == name for entry in registered()):
        raise UsageError(
            f"A connector called {name!r} is installed already.",
            hint="Two connectors cannot share a name: choose another.",
        )
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UsageError(
            f"{folder} is there already, and not empty.",
            hint="Name a new folder with --folder, or move what is there out of the way.",
        )
    words = {
        "name": name,
        "cls": "".join(word.capitalize() for word in name.split("_")),
        "package": f"rostersync_{name}",
        "dist": f"rostersync-{name.replace('_', '-')}",
    }
    files = {
        Template(path).substitute(words): Template(text.lstrip("\n")).substitute(words)
        for path, text in _FILES.items()
    }
    for situation, roster in _rosters().items():
        files[f"{words['package']}/fixtures/{situation}/roster.json"] = roster
    files[f"{words['package']}/fixtures/expected.json"] = _expected()
    written = []
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return tuple(written)


_SCHOOLS = [
    {"id": "s1", "name": "Lincoln Elementary"},
    {"id": "s2", "name": "Roosevelt High"},
]


def _person(key: str, given: str, family: str, role: str, **more: Any) -> dict[str, Any]:
    mail = f"{given}.{family}@springfield.example".lower()
    return {
        "id": key,
        "given_name": given,
        "family_name": family,
        "role": role,
        "school": "s1",
        "email": mail,
        **more,
    }


_PEOPLE = [
    _person("p1", "Ada", "Okonkwo", "student", grade="04", email=None),
    _person("p2", "Zoë", "Müller", "student", grade="05", email="zoe.mueller@springfield.example"),
    _person("p3", "Minh", "Nguyễn", "student", grade="11", school="s2", email=None),
    _person("p4", "Rosa", "Castellanos", "teacher"),
    _person("p5", "Henry", "Abernathy", "admin", school="s2"),
]


def _rosters() -> Mapping[str, str]:
    """Return the fixture's files by situation: the same roster, with one thing different each."""
    whole = _roster(_PEOPLE)
    bird = _person("", CANARY, CANARY, "student")
    return {
        "roster": whole,
        "empty": json.dumps({"schools": [], "people": []}, indent=2) + "\n",
        "truncated": whole[: len(whole) * 2 // 3],
        "bad_row": _roster([*_PEOPLE[:2], bird, *_PEOPLE[2:]]),
        "unknown_words": _roster([*_PEOPLE[:4], {**_PEOPLE[4], "role": "librarian"}]),
        "private_data": _roster(
            [{**_PEOPLE[0], "password": CANARY, "birth_date": CANARY}, *_PEOPLE[1:]]
        ),
    }


def _expected() -> str:
    """Return what the roster means, field by field: what ``connector test --record`` writes."""
    people = {}
    for person in _PEOPLE:
        said = {name: person[name] for name in ("given_name", "family_name")}
        said |= {name: person[name] for name in ("email", "grade") if person.get(name)}
        member = {"role": person["role"], "school": person["school"], "primary": True}
        people[person["id"]] = {"external_id": person["id"], **said, "memberships": [member]}
    schools = {
        school["id"]: {"external_id": school["id"], "name": school["name"]} for school in _SCHOOLS
    }
    whole = {"people": people, "schools": schools, "gone": []}
    return json.dumps(whole, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _roster(people: list[dict[str, Any]]) -> str:
    whole = {"schools": _SCHOOLS, "people": people}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


_PYPROJECT = """
[build-system]
requires = ["hatchling>=1.21"]
build-backend = "hatchling.build"

[project]
name = "$dist"
version = "0.1.0"
description = "Reads $name rosters for rostersync"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["rostersync"]

[project.optional-dependencies]
dev = ["pytest>=8.1"]

# This makes the connector known: the name is the one that a district file uses.
[project.entry-points."rostersync.connectors"]
$name = "$package.connector:$cls"

# And this is what `rostersync connector test $name` reads it with.
[project.entry-points."rostersync.scenarios"]
$name = "$package.scenario:scenario"

[tool.hatch.build.targets.wheel]
packages = ["$package"]
"""

_CONNECTOR = '''
"""Reads the roster that $cls exports as one JSON file.

Docs: where the vendor describes the format. Format version: 1.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import msgspec
from pydantic import Field, ValidationError
from rostersync import (
    Capabilities,
    Certificate,
    Check,
    Connector,
    ConnectorConfig,
    FetchRequest,
    FileRefused,
    IncompleteFetch,
    Kind,
    Membership,
    NormalizedSchool,
    NormalizedUser,
    Page,
    Record,
    Role,
    SkipRecord,
    ceds_grade,
)

# ---------------------------------------------------------------------------- config


class ${cls}Config(ConnectorConfig):
    """What a district file says under [district.source.config]."""

    path: str = Field(description="The exported file; a relative path starts at the district file.")


# ----------------------------------------------------------------------- wire shapes


class Export(msgspec.Struct):
    """The file as it is: two lists, whose entries are not read yet."""

    schools: msgspec.Raw
    people: msgspec.Raw


# ------------------------------------------------------------------------- the class


class $cls(Connector):
    """$cls, from the file that it exports."""

    name = "$name"
    version = "1"  # raise it whenever parse() reads the same bytes differently
    title = "$cls export (one JSON file)"
    docs = ""
    config_model = ${cls}Config
    capabilities = Capabilities(partial_is_usable=False)
    streams = {"schools": Kind.SCHOOL, "people": Kind.USER}

    config: ${cls}Config

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        """Serve the schools, then the people."""
        export = self._read(Path(request.directory, self.config.path))
        for stream, body in (("schools", export.schools), ("people", export.people)):
            yield Page(stream, bytes(body), _entries)
        return Certificate(complete=True, pages=2)

    def identify(self, stream: str, raw: bytes) -> str:
        """Return the id of one entry."""
        return _id(msgspec.json.decode(raw))

    def parse(self, stream: str, raw: bytes) -> Record:
        """Return one entry in rostersync's words."""
        entry = msgspec.json.decode(raw)
        key = _id(entry)
        try:
            if stream == "schools":
                school = NormalizedSchool(external_id=key, name=entry.get("name"))
                return Record(Kind.SCHOOL, key, school=school)
            return _person(key, entry)
        except ValidationError as error:
            column = str(error.errors(include_input=False)[0]["loc"][0])
            # `from None`, because the original error may quote a person's data.
            raise SkipRecord(
                f"The column {column!r} cannot be read.", rule="value", column=column, key=key
            ) from None

    def check(self) -> Iterable[Check]:
        """Tell whether the file can be read."""
        try:
            self._read(Path(self.config.path))
        except (FileRefused, IncompleteFetch) as error:
            return [Check("file", False, error.message)]
        return [Check("file", True, "The export can be read.")]

    def _read(self, path: Path) -> Export:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Export)
        except OSError as error:
            raise FileRefused(
                f"{path.name} cannot be opened ({error.strerror}).", hint="Check 'path'."
            ) from None
        except msgspec.ValidationError as error:
            raise FileRefused(f"{path.name} is no $name export: {error}.") from None
        except msgspec.DecodeError:
            raise IncompleteFetch(
                f"{path.name} breaks off in the middle.", hint="Export it again."
            ) from None


def _entries(body: bytes) -> list[bytes]:
    return [bytes(entry) for entry in msgspec.json.decode(body, type=list[msgspec.Raw])]


def _id(entry: dict[str, Any]) -> str:
    key = str(entry.get("id") or "").strip()
    if not key:
        raise SkipRecord("An entry has no id.", rule="id-missing", column="id")
    return key


def _person(key: str, entry: dict[str, Any]) -> Record:
    # Only what is named here is kept: passwords and demographics have no field to go to.
    unknown = []
    memberships: tuple[Membership, ...] = ()
    word = str(entry.get("role") or "").lower()
    if word in set(Role):
        memberships = (Membership(role=Role(word), school=entry.get("school"), primary=True),)
    else:
        unknown.append(f"role={word}")
    grade = ceds_grade(str(entry.get("grade") or ""))
    if entry.get("grade") and grade is None:
        unknown.append(f"grade={entry['grade']}")
    user = NormalizedUser(
        external_id=key,
        given_name=entry.get("given_name"),
        family_name=entry.get("family_name"),
        email=entry.get("email"),
        memberships=memberships,
        grade=grade,
    )
    return Record(Kind.USER, key, user=user, unknown=tuple(unknown))
'''

_SCENARIO = '''
"""Where the conformance checks find a roster in each situation: the folders in fixtures/."""

from __future__ import annotations

from pathlib import Path

from rostersync.testing import FolderScenario

FIXTURES = Path(__file__).parent / "fixtures"


def scenario() -> FolderScenario:
    """Return the scenario of our fixture: five people in two schools."""
    return FolderScenario(FIXTURES, people=5, schools=2, key="path", file="roster.json")
'''

_TEST = '''
"""The whole test: every rule that a rostersync connector must keep."""

from rostersync.testing import ConnectorSuite, Scenario

from $package.connector import $cls
from $package.scenario import scenario


class Test$cls(ConnectorSuite):
    connector = $cls

    def scenario(self) -> Scenario:
        return scenario()
'''

_README = """
# $dist

A rostersync connector that reads $name rosters.

```
pip install -e '.[dev]'
rostersync connectors               # $name is listed, with where it comes from
rostersync load district.toml       # a district that reads the fixture
rostersync plan example             # what a sync would change
rostersync sync example
rostersync users example
pytest                              # every rule that a connector must keep
rostersync connector test $name     # the same, as a report
```

Where to go on:

1. `$package/fixtures/roster/`: put in a small roster as the vendor really gives it, with
   made-up people; then the same roster in the other situations (`rostersync.testing.Situation`
   says what each must hold).
2. `$package/connector.py`: read it. Config first, then the wire shapes, then the class.
3. `rostersync connector test $name --record` writes `fixtures/expected.json`, which says field by
   field what your connector makes of the roster. Read it through and keep it: `pytest` holds the
   connector to it from then on.
4. `pytest` says which rules do not hold yet. One that cannot hold is declared with its reason:
   `exempt = {"name_of_the_check": "why this vendor cannot keep the rule"}` in the test class.
"""

_DISTRICT = """
[[district]]
slug = "example"
name = "Example District"
timezone = "America/Chicago"

[[district.source]]
name = "$name"
connector = "$name"
precedence = 1

[district.source.config]
path = "$package/fixtures/roster/roster.json"
"""

_FILES: Mapping[str, str] = {
    "pyproject.toml": _PYPROJECT,
    "README.md": _README,
    "district.toml": _DISTRICT,
    "$package/__init__.py": '"""The $name connector of rostersync."""\n',
    "$package/py.typed": "",
    "$package/connector.py": _CONNECTOR,
    "$package/scenario.py": _SCENARIO,
    "tests/test_$name.py": _TEST,
}
