"""What vendors do: their rosters change, readings of them end early, and what a reading proves.

``Rosters`` is the first part of the state machine. It knows, by its own lights and never by the
engine's, who was shown to be gone, since when, and how often.

One file, because a part of the state machine is one class.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from sqlalchemy import event

from core.errors import Busy
from core.failpoints import at_failpoints
from core.storage.database import Database
from tests.kit.world import World, decoded, new_world

STUDENTS = [f"s{number}" for number in range(9)]
ADULTS = [f"t{number}" for number in range(4)]
PAPER = [f"x{number}" for number in range(5)]
PAPER_ROLES = {key: "admin" if key in ("x2", "x4") else "staff" for key in PAPER}
CROWD = [f"c{number:02}" for number in range(60)]

ways = st.sampled_from(
    ["whole"] * 8
    + ["cut", "at_end", "says_so", "refused", "empty", "short", "header"]
    + ["left_out", "another_district", "troubled"]
)
second_ways = st.sampled_from(["whole"] * 4 + ["says_so", "refused"])
people = st.sampled_from(STUDENTS + ADULTS)
papers = st.sampled_from(PAPER)
emails = st.sampled_from([None, None, "ana@a.example", "ana@b.example", "bo@a.example"])
families = st.sampled_from(["Own", "Own", "Lopez", "Smith"])
grades = st.sampled_from(["05", "06", "07"])
roles = st.sampled_from(["student", "student", "teacher", "staff"])
persons = st.sampled_from([None, None, None, "master:1", "master:2"])
schools = st.sampled_from(["lincoln", "grant", None])

written = st.tuples(
    st.just("a_row_is_written"), people, roles, schools, families, emails, grades,
    st.booleans(), persons,
)  # fmt: skip
some_leave = st.tuples(
    st.just("people_are_taken_off"), st.lists(people, min_size=1, max_size=4, unique=True)
)
replaced = st.tuples(
    st.just("somebody_has_another_key"), people, st.sampled_from(["names", "local part", "both"])
)
torn = st.tuples(
    st.just("a_row_is_torn_or_mended"),
    people,
    st.sampled_from(["broken", "broken", "keyless", "deleted"]),
    st.booleans(),
)
on_paper = st.tuples(st.just("a_row_of_the_file_is_written"), papers, emails, families)
off_paper = st.tuples(st.just("somebody_is_taken_off_the_file"), papers)
anything = st.lists(
    st.one_of(
        written, written, some_leave, replaced, torn, on_paper, off_paper,
        st.tuples(
            st.just("a_role_is_taken_off_the_file"), st.sampled_from(["staff", "admin", "admin"])
        ),
        st.tuples(st.just("a_school_changes"), st.sampled_from(["rename", "close", "open"])),
        st.tuples(st.just("the_order_changes")),
        st.tuples(st.just("the_torn_are_mended")),
    ),
    max_size=5,
)  # fmt: skip


def of_machine(name: str) -> st.SearchStrategy[Any]:
    """Return what the class of the machine at hand says of this name: a focus says less."""
    return st.runner().flatmap(lambda machine: getattr(machine, name))


edits = of_machine("edits_made")
"""What vendors do between two runs: names of methods of ``Rosters`` with their arguments."""


class Crash(Exception):
    """The program ends here, as far as the database can tell."""


@contextmanager
def crash_after(
    database: Database, statements: int, since: str | None = None
) -> Iterator[list[int]]:
    """Raise ``Crash`` before the n-th statement that this block sends to the database.

    ``since``: they are counted from the first time that this failpoint is passed.
    """
    left, counting = [statements], [since is None]

    def passed(name: str) -> None:
        counting[0] = counting[0] or name == since

    def count(*_: object) -> None:
        left[0] -= counting[0]
        if left[0] == 0:
            raise Crash

    event.listen(database.engine, "before_cursor_execute", count)
    try:
        with at_failpoints(passed):
            yield left
    except Crash:
        pass
    finally:
        event.remove(database.engine, "before_cursor_execute", count)


@dataclass
class Absence:
    """Somebody whom a complete reading has proven to be gone."""

    since: date
    readings: int = 1


class Rosters(RuleBasedStateMachine):
    """A district, its rosters, and what the readings of them have shown."""

    open_new: ClassVar[Callable[[Path], Database]]
    edits_made: ClassVar[Any] = anything
    ways_read: ClassVar[Any] = ways
    second_ways_read: ClassVar[Any] = second_ways
    crash_at: ClassVar[Any] = st.tuples(
        st.sampled_from([None, "evidence.committed", "run.read", "plan.drafted", "apply.checked"]),
        st.integers(1, 60),
    )
    """The failpoint from which statements are counted, and before which of them the run ends."""
    rostered: ClassVar[Mapping[str, str]] = {"sis": "board", "second": "board_file"}
    spoilers: ClassVar[Any] = st.sampled_from(["blanked", "renamed", "moved", "outside_domains"])
    """What a vendor does to everybody; other names alone ask whose id it is (I13)."""
    crowds: ClassVar[bool] = False
    """Whether sixty people may join at once; it costs a second."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="engine"))
        self.database = type(self).open_new(self.folder)
        self.world: World = new_world(
            self.database, self.folder, sources=self.rostered, config={"asks_by_id": True}
        )
        for name in self.rostered:
            self.world.rosters[name].school("lincoln", "Lincoln High", nces_id="1")
        if "second" in self.rostered:
            self.world.reconfigure("second", scoped=True)
        self.world.sis.school("grant", "Grant Middle")
        self.gone: dict[str, dict[str, Absence]] = {name: {} for name in self.rostered}
        """Source → key → since when complete readings have proven that it is gone."""
        self.roles_of: dict[tuple[str, str], set[str]] = {}
        """(source, key) → the roles that its last readable row had."""
        self.names_of: dict[tuple[str, str], str] = {}
        """(source, key) → the names that its last readable row had."""
        self.marks_of: dict[tuple[str, str], set[str]] = {}
        """(source, key) → what of its last readable row tells one person from another."""
        self.mapped = False
        """Whether user names have come from our own mapping."""
        self.failed: set[str] = set()
        """Sources that were not read completely in the run of this step."""
        self.ids: dict[tuple[str, str], str] = {}
        self.fetched: dict[str, int] = {}
        self.said: dict[tuple[str, str], str] = {}
        self.left_out: list[str] = []
        """Whom the last listing left out that forgets some."""
        self.retired: dict[str, int] = {}
        """Source → the run that retired it."""
        self.undone: dict[str, list[tuple[int, int]]] = {}
        """Whom an undo has put back, and on what evidence, until the next run has planned."""
        self.paused = False
        self.step = 0
        self.dirty = True

    def teardown(self) -> None:
        try:
            if self.ids:
                self.everything_approved()
        finally:
            self.database.engine.dispose()
            shutil.rmtree(self.folder, ignore_errors=True)

    def everything_approved(self) -> None:
        """Do what every story ends with."""

    @initialize()
    def a_first_roster(self) -> None:
        for number, key in enumerate(STUDENTS):
            school = "grant" if number >= 7 else "lincoln"
            self.world.sis.student(key, grade="05", school=school)
        for key in ADULTS[:3]:
            self.world.sis.teacher(key)
        if "second" in self.rostered:
            for key in PAPER[:3]:
                self.world.second.person(key, PAPER_ROLES[key])
        self.it_begins()
        self.run("sync", "whole", "whole")
        assert self.world.count() > len(STUDENTS)
        self.it_goes_on()

    def it_begins(self) -> None:
        """Write down what else the first roster has: for a focus."""

    def it_goes_on(self) -> None:
        """Let happen what has happened before the story begins: for a focus."""

    # -- rosters

    def edit(self, edits: list[tuple[Any, ...]]) -> None:
        """Let vendors edit their rosters."""
        for name, *about in edits:
            getattr(self, name)(*about)

    def a_row_is_written(
        self, key: str, role: str, school: str | None, family: str, email: str | None,
        grade: str, enabled: bool, person: str | None,
    ) -> None:  # fmt: skip
        name = f"Of {key}" if family == "Own" else family
        self.world.sis.person(
            key, role, school=school, family_name=name, email=email, grade=grade,
            enabled=enabled or key < "s6", person_key=person,
        )  # fmt: skip

    def a_row_of_the_file_is_written(self, key: str, email: str | None, family: str) -> None:
        name = f"Of {key}" if family == "Own" else family
        self.world.second.person(key, PAPER_ROLES[key], email=email, family_name=name)

    def people_are_taken_off(self, keys: list[str]) -> None:
        self.world.sis.without(*(key for key in keys if key in self.world.sis.people))

    def somebody_is_taken_off_the_file(self, key: str) -> None:
        if key in self.world.second.people:
            self.world.second.without(key)

    def a_role_is_taken_off_the_file(self, role: str) -> None:
        for key in [key for key in self.world.second.people if PAPER_ROLES[key] == role]:
            self.world.second.without(key)

    def somebody_has_another_key(self, key: str, same: str) -> None:
        """Somebody leaves, and somebody comes who is like them."""
        row = self.world.sis.people.get(key)
        if row is None:
            return
        self.world.sis.without(key)
        names = {name: row["fields"].get(name) for name in ("given_name", "family_name")}
        local, _, domain = (row["fields"].get("email") or f"{key}@a.example").partition("@")
        other = "b.example" if domain == "a.example" else "a.example"
        if same == "local part":
            names = {"given_name": "Robin", "family_name": f"New {key}"}
        email = None if same == "names" else f"{local}@{other}"
        self.world.sis.person(
            f"{key}n", memberships=row["memberships"], **names, email=email, grade="07"
        )

    def a_row_is_torn_or_mended(self, key: str, fact: str, on: bool) -> None:
        if key in self.world.sis.people:
            self.world.sis.row(key, **{fact: on})

    def everybody_is_spoilt(self, kind: str, half: int | None) -> None:
        """Let the vendor do the same to everybody of its roster, or to every other one (L10)."""
        other = {"lincoln": "grant", "grant": "lincoln"}
        for number, (key, row) in enumerate(sorted(self.world.sis.people.items())):
            if half is not None and number % 2 != half:
                continue
            fields = row["fields"]
            match kind:
                case "blanked":
                    fields.pop("grade", None)
                case "renamed":
                    fields |= {"given_name": "X", "family_name": f"Wrong{key}"}
                case "moved":
                    row["memberships"] = [(r, other.get(s, s)) for r, s in row["memberships"]]
                case "outside_domains":
                    fields["email"] = f"{key}@vendor.example"

    def a_school_changes(self, act: str) -> None:
        schools = self.world.sis.schools
        if act == "close":
            schools.pop("grant", None)
        else:
            self.world.sis.school("grant", "Grant Middle" if act == "open" else "Grant School")

    def the_order_changes(self) -> None:
        self.world.sis.reorder()

    def the_torn_are_mended(self) -> None:
        for row in self.world.sis.people.values():
            for fact in ("broken", "keyless", "deleted"):
                row.pop(fact, None)

    # -- runs

    @rule(way=of_machine("ways_read"), second=of_machine("second_ways_read"), full=st.booleans(),
          edits=edits)  # fmt: skip
    def sync(self, way: str, second: str, full: bool, edits: list[Any]) -> None:
        self.edit(edits)
        self.run("sync", way, second, full=full)

    @rule(edits=edits)
    def sync_whole(self, edits: list[Any]) -> None:
        self.edit(edits)
        self.run("sync", "whole", "whole")

    @rule(way=of_machine("ways_read"), edits=edits)
    def sync_one_source(self, way: str, edits: list[Any]) -> None:
        self.edit(edits)
        self.run("sync", way, None, sources=["sis"])

    @rule(way=of_machine("ways_read"), full=st.booleans(), edits=edits)
    def a_dry_run(self, way: str, full: bool, edits: list[Any]) -> None:
        self.edit(edits)
        before = self.world.dump()
        self.run("plan", way, "whole", full=full)
        assert self.world.dump() == before, "a dry run changed the directory"

    @rule(way=of_machine("ways_read"), crash=of_machine("crash_at"), edits=edits)
    def sync_crashes(self, way: str, crash: tuple[str | None, int], edits: list[Any]) -> None:
        self.edit(edits)
        self.set_way("sis", way)
        self.set_way("second", "whole")
        since, statements = crash
        with crash_after(self.database, statements, since):
            self.world.sync()
        self.failed = set()
        self.learn("sis", way, crashed=True)
        self.learn("second", "whole", crashed=True)
        self.dirty = True

    @rule(edits=edits)
    def a_second_run_is_started_meanwhile(self, edits: list[Any]) -> None:
        """Two runs of one district never overlap: the second is told so, and does nothing."""
        self.edit(edits)
        refused: list[bool] = []

        def hook(name: str) -> None:
            if name == "run.read" and not refused:
                refused.append(False)
                try:
                    self.world.sync()
                except Busy:
                    refused[0] = True

        with at_failpoints(hook):
            self.run("sync", "whole", "whole")
        assert all(refused), "a second run began while one was under way"

    @precondition(lambda self: self.crowds and CROWD[0] not in self.world.sis.people)
    @rule(count=st.sampled_from([60, 55]))
    def a_crowd_joins(self, count: int) -> None:
        for key in CROWD[:count]:
            self.world.sis.student(key)
        self.run("sync", "whole", "whole")

    @rule(kind=of_machine("spoilers"), half=st.sampled_from([None, 0, 1]))
    def the_vendor_spoils_its_roster(self, kind: str, half: int | None) -> None:
        self.everybody_is_spoilt(kind, half)
        self.run("sync", "whole", "whole")

    @rule(roles=st.sampled_from([["student"], ["student", "teacher", "staff", "admin"]]))
    def the_source_is_narrowed_or_widened(self, roles: list[str]) -> None:
        self.world.reconfigure(roles=roles)

    @rule(word=st.sampled_from(["", "{key}", "{key}", "id-{key}"]))
    def the_mapping_is_changed(self, word: str) -> None:
        self.world.reconfigure(mapping={"username": word} if word else {})
        self.mapped = True

    @rule(days=st.sampled_from([0.1, 1, 3, 8]))
    def time_passes(self, days: float) -> None:
        self.world.later(days=days)

    def run(self, kind: str, way: str, second: str | None, **options: Any) -> None:
        """Run a sync or a dry run over rosters that are read this way."""
        self.set_way("sis", way)
        if second is not None:
            self.set_way("second", second)
        self.failed = set()
        outcome = getattr(self.world, kind)(**options)
        if self.paused and kind == "sync":
            assert outcome.status == "paused", outcome
            assert not outcome.certificates, "a source was read in a pause"
        read = {"sis": way, "second": second}
        for name, certificate in outcome.certificates.items():
            if self.is_no_proof(name, str(read[name])):
                assert not certificate["complete"], (name, read[name], certificate)
            if not certificate["complete"]:
                self.failed.add(name)
        self.learn("sis", way)
        if second is not None:
            self.learn("second", second)
        self.dirty = True

    def set_way(self, name: str, way: str) -> None:
        """Say how the next reading of a source goes."""
        if name not in self.rostered:
            return
        roster = self.world.rosters[name]
        rows = roster.people
        hows: dict[str, dict[str, Any]] = {
            "whole": {},
            "cut": {"ends_after": len(rows) // 2},
            "at_end": {"fails": "at_end"},
            "says_so": {"complete": False},
            "refused": {"fails": "refused"},
            "short": {"declared": {"people": len(rows) + 1}},
            "empty": {"people": []},
            "header": {"people": [], "schools": []},
            "left_out": {},
            "another_district": {"district": "D2"},
            "troubled": {"state": "error"},
        }
        how = {"district": "D1"} | hows[way]
        if way == "left_out":
            self.left_out = self.some_who_are_there(name)
            how["people"] = [row for key, row in rows.items() if key not in self.left_out]
            how["still_there"] = self.left_out
        roster.reads(**how)

    def some_who_are_there(self, name: str) -> list[str]:
        """Return two whom a listing may leave out: they are there yet, and answer when asked."""
        known = self.world.rows(
            "SELECT r.external_id FROM records r JOIN sources s ON s.id = r.source_id"
            " WHERE s.name = :name AND r.kind = 'user' AND r.present",
            name=name,
        )
        present = {row[0] for row in known}
        rows = self.world.rosters[name].people
        return [key for key, row in rows.items() if key in present and is_sound(row)][:2]

    def is_no_proof(self, name: str, way: str) -> bool:
        """Say whether the engine has to notice that a reading of this kind is not whole."""
        if way in ("whole", "troubled"):
            return False
        if way != "left_out":
            return True
        torn = any(row.get("keyless") for row in self.world.rosters[name].people.values())
        return bool(self.left_out) and not torn

    # -- what a reading proves, by our own lights

    def learn(self, name: str, way: str, *, crashed: bool = False) -> None:
        """Note who was met in a reading, and who was proven to be gone."""
        if name not in self.rostered:
            return
        rows = dict(self.world.rosters[name].people)
        newest = self.world.rows(
            "SELECT f.id, f.complete FROM fetches f JOIN sources s ON s.id = f.source_id"
            " WHERE s.name = :name ORDER BY f.id DESC LIMIT 1",
            name=name,
        )
        if not newest or newest[0].id <= self.fetched.get(name, 0):
            return  # it crashed before it was kept
        self.fetched[name] = newest[0].id
        if crashed and way == "whole" and not newest[0].complete:
            return  # it crashed while it was read: a failure of its source, and nothing is kept
        way = self.believed(name, way)
        if way == "cut":
            rows = dict(list(rows.items())[: len(rows) // 2])
        elif way == "left_out":
            rows = {key: row for key, row in rows.items() if key not in self.left_out}
        elif way in ("refused", "empty", "header", "another_district"):
            return
        if name == "second" and way != "whole":
            return
        for key, row in rows.items():
            if is_sound(row) and not row.get("deleted"):
                self.gone[name].pop(key, None)
                self.note(name, key, row)
        if not newest[0].complete:
            return
        for absence in self.gone[name].values():
            absence.readings += 1
        if way not in ("whole", "left_out"):
            return
        deleted = {key for key, row in rows.items() if row.get("deleted") and is_sound(row)}
        for key in (deleted & self.known(name)) | self.missing(name, rows):
            self.gone[name].setdefault(key, Absence(self.world.now.date()))

    def believed(self, name: str, way: str) -> str:
        """Return how a reading went, as far as it may prove anything."""
        return way

    def note(self, name: str, key: str, row: Mapping[str, Any]) -> None:
        """Keep what a row says."""
        said = {"enabled": True, **row["fields"], "memberships": row["memberships"]}
        self.said[name, key] = repr(sorted(said.items()))
        self.roles_of[name, key] = {role for role, _ in row["memberships"]}
        names = (said.get(name) or "" for name in ("given_name", "family_name"))
        self.names_of[name, key] = "|".join(names).casefold().replace(" ", "")
        self.marks_of[name, key] = marks(said)

    def missing(self, name: str, rows: Mapping[str, Any]) -> set[str]:
        """Return whom a complete reading has not met, as far as that proves anything."""
        if any(row.get("keyless") for row in rows.values()):
            return set()
        missing = self.known(name) - rows.keys()
        if name == "second":  # a file speaks for the roles it has (F6)
            there = {role for key in rows for role in self.roles_of.get((name, key), ())}
            missing = {key for key in missing if self.roles_of[name, key] & there}
        return missing

    def known(self, name: str) -> set[str]:
        """Return the keys of everybody whom readings of a source have shown."""
        return {key for source, key in self.said if source == name}

    def is_gone(self, about: tuple[str, str]) -> bool:
        """Say whether a source was proven to share somebody no more."""
        name, key = about
        return name in self.retired or key in self.gone[name]

    def is_over(self, about: tuple[str, str], today: datetime) -> bool:
        """Say whether somebody's grace has ended: both its days and its readings (S7)."""
        name, key = about
        if name in self.retired:
            return True
        absence, grace = self.gone[name][key], self.grace_given
        days = (today.date() - absence.since).days
        return days >= grace["days"] and absence.readings >= grace["fetches"]

    @property
    def grace_given(self) -> dict[str, int]:
        """The grace that the district gives."""
        settings = decoded(self.world.value("SELECT settings FROM districts"))
        return dict(settings.get("grace") or {"days": 0, "fetches": 1})


def marks(said: Mapping[str, Any]) -> set[str]:
    """Return what tells one person from another: words of names, the address, the user name."""
    names = [said.get(name) or "" for name in ("given_name", "middle_name", "family_name")]
    words = " ".join(names).casefold().split()
    return {*words, *(str(said[n]).casefold() for n in ("email", "username") if said.get(n))}


def is_sound(row: Mapping[str, Any]) -> bool:
    """Say whether a row can be read."""
    return not (row.get("broken") or row.get("keyless"))
