"""The JSON shapes, read off a directory that was written straight into the tables."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.errors import UsageError
from core.models import PROFILE_FIELDS, Role, UserStatus
from core.storage.database import Database
from sync.run import display, find
from sync.views import conflicts, districts, people, plans
from sync.views.people import UserFilter
from tests.kit import tables as given

AT = given.AT


@pytest.fixture
def database(database: Database) -> Database:
    given.store(
        database,
        [
            given.district(serial=4),
            given.district("shelbyville", 2),
            given.source(1, "sis", complete_at=AT),
            given.source(2, "clever", configured=False),
            given.school("s1", "Lincoln High"),
            given.school("s2", "Grant Middle"),
            given.user("u1", "Ada", "Byron", email="Ada@x.example", grade="09", sis_id="100%"),
            given.user("u2", "Bo", "Amber", email="bo@x.example", status="archived"),
            given.user("u3", "Cy", "Cole", origin="manual", protected=True, locked_fields=["role"]),
            given.user("u4", "Di", "Dean", email="bo@x.example", district_id=1),
            given.user("v1", "El", "Eve", email="ada@x.example", district_id=2),
            given.member("u1", "student", "s1", primary=True),
            given.member("u1", "student", "s2"),
            given.member("u1", "contact", "s1"),
            given.member("u3", "teacher"),
            given.record(1, "x-1"),
            given.record(2, "x-2", present=False),
            given.record(3, "c-1", source_id=2),
            given.link(1, "u1"),
            given.link(3, "u1"),
            given.link(2, "u2", held=False),
            given.run(1, status="held"),
            given.run(2, kind="apply", actor="admin"),
            given.fetch(1, 1, complete=True, records=3),
            given.plan(
                1, status="applied", applied_at=AT, applied_run_id=1, first_serial=1, size=3,
                counts={"create": 2, "archive": 1}, schools={"create": 1},
                certificates={"sis": {"complete": True}},
            ),
            given.change(
                1, 0, "create", "s1", kind="school", after={"name": "Lincoln High"}
            ),
            given.change(
                1, 1, "create", "u1", record_id=1, role="student", school_id="s1",
                after={
                    "given_name": "Ada", "family_name": "Byron", "status": "active",
                    "memberships": [["student", "s1", True]],
                },
            ),
            given.change(
                1, 2, "archive", "u2", role="student", school_id="s2", reason="absent",
                before={"status": "active"}, after={"status": "archived"},
                basis=[[2, 1, 0, 1]],
            ),
            given.plan(2, status="draft"),
            given.plan(
                3, status="applied", kind="hand", applied_at=AT, applied_run_id=2, run_id=2,
                first_serial=4, size=1,
            ),
            given.change(
                3, 0, "update", "u1", reason="by_hand",
                before={"grade": "08", "email": None, "memberships": [["student", "s1", True]]},
                after={
                    "grade": "09", "email": "Ada@x.example",
                    "memberships": [["student", "s1", False], ["student", "s2", True]],
                },
            ),
            given.plan(
                4, status="held", standing=True, size=1, superseded_by=None,
                held=[{"limit": "school_role", "scope": "x", "allowed": 3, "found": 4}],
            ),
            given.change(4, 0, "create", "n9", after={"name": "New"}, kind="school"),
            given.conflict(1, 1, candidates=[{"id": "u2", "evidence": ["email"]}]),
            given.conflict(2, 3, status="resolved"),
        ],
    )  # fmt: skip
    return database


def ids(database: Database, **conditions: Any) -> list[str]:
    with database.read() as connection:
        row = find.district_row(connection, "springfield")
        wanted = UserFilter(**conditions)
        found = [user["id"] for user in people.users(connection, row, wanted)]
        assert people.count_users(connection, row, wanted) == len(found)
    return found


def resolve(database: Database, word: str) -> str:
    with database.read() as connection:
        row = find.district_row(connection, "springfield")
        return people.resolve_user(connection, row, word)


def test_a_user_has_the_documented_shape(database: Database) -> None:
    with database.read() as connection:
        row = find.district_row(connection, "springfield")
        user = people.user_json(connection, row, "u1")
    assert user["roles"] == ["contact", "student"]
    assert user["schools"] == [
        {"id": "s1", "name": "Lincoln High", "primary": True, "roles": ["student", "contact"]},
        {"id": "s2", "name": "Grant Middle", "primary": False, "roles": ["student"]},
    ]
    assert user["sources"] == ["sis", "clever"]
    assert set(user) >= {
        *PROFILE_FIELDS, "id", "status", "origin", "roles", "schools", "protected",
        "locked_fields", "sources",
    }  # fmt: skip
    assert "email_folded" not in user


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, ["u1", "u2", "u3", "u4"]),
        ({"status": UserStatus.ARCHIVED}, ["u2"]),
        ({"role": Role.STUDENT}, ["u1"]),
        ({"role": Role.TEACHER, "school": "s1"}, []),
        ({"role": Role.CONTACT, "school": "grant middle"}, []),
        ({"school": "lincoln high"}, ["u1"]),
        ({"origin": "manual"}, ["u3"]),
        ({"search": "BYR"}, ["u1"]),
        ({"search": "0%"}, ["u1"]),
        ({"search": "bo@x"}, ["u2", "u4"]),
        ({"source": "sis"}, ["u1"]),
        ({"stale": True, "now": AT + timedelta(days=180)}, []),
        ({"stale": True, "now": AT + timedelta(days=181)}, ["u3", "u4"]),
    ],
)
def test_users_are_filtered(
    database: Database, conditions: dict[str, Any], found: list[str]
) -> None:
    assert ids(database, **conditions) == found


def test_users_are_paged_without_loss_or_repeat(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_PAGE", 2)
    assert ids(database) == ["u1", "u2", "u3", "u4"]
    with database.read() as connection:
        row = find.district_row(connection, "springfield")

        def some(**how: Any) -> list[str]:
            return [user["id"] for user in people.users(connection, row, **how)]

        assert some(offset=1, limit=2) == ["u2", "u3"]
        assert some(by_name=True, offset=0, limit=3) == ["u2", "u1", "u3"]


@pytest.mark.parametrize("word", ["u1", "ada@X.example", "sis:x-1", "clever:c-1", " u1 "])
def test_a_user_is_named_by_id_email_or_record(database: Database, word: str) -> None:
    assert resolve(database, word) == "u1"


def test_an_ambiguous_email_lists_user_ids_and_no_address(database: Database) -> None:
    with pytest.raises(UsageError) as refused:
        resolve(database, "bo@x.example")
    assert "u2, u4" in refused.value.message
    assert "bo@" not in refused.value.message + refused.value.hint


@pytest.mark.parametrize("word", ["v1", "sis:c-1", "none:x-1", "who@x.example", "", ":"])
def test_nobody_is_meant_by_an_unknown_word_and_it_is_not_echoed(
    database: Database, word: str
) -> None:
    with pytest.raises(UsageError, match=r"^No user of springfield is meant by that\.$"):
        resolve(database, word)


def test_a_plan_has_the_documented_shape(database: Database) -> None:
    with database.read() as connection:
        shown = plans.plan_json(connection, plans.plan_row(connection, "p1"))
        held = plans.plan_json(connection, plans.plan_row(connection, "4"))
        found = plans.certificates(connection, [1, 4])
    assert (shown["id"], shown["district"], shown["digest"]) == ("P1", "springfield", "0102")
    assert (shown["counts"]["create"], shown["counts"]["merge"]) == (2, 0)
    assert shown["schools"] == {
        "create": 1, "update": 0, "archive": 0, "restore": 0, "link": 0, "unlink": 0
    }  # fmt: skip
    assert shown["created_at"] == "2026-09-01T05:00:00Z"
    assert held["held"] == [{"limit": "school_role", "scope": "x", "allowed": 3, "found": 4}]
    assert found == {"sis": {"complete": True}}


def test_a_draft_is_no_plan_yet(database: Database) -> None:
    with database.read() as connection:
        row = find.district_row(connection, "springfield")
        assert [plan["id"] for plan in plans.plans(connection, row)] == ["P4", "P3", "P1"]
        with pytest.raises(UsageError, match="There is no plan P2"):
            plans.plan_row(connection, "P2")


def test_changes_show_whom_from_where_and_old_to_new(database: Database) -> None:
    with database.read() as connection:
        school, created, archived = plans.iter_changes(connection, 1)
        (edited,) = plans.iter_changes(connection, 3)
        (made,) = plans.iter_changes(connection, 4)
    assert (school["name"], school["user_id"], school["school_id"]) == ("Lincoln High", None, "s1")
    assert created == {
        "seq": 1, "kind": "user", "action": "create", "user_id": "u1", "school_id": "s1",
        "name": "Ada Byron", "source": "sis", "external_id": "x-1", "role": "student",
        "school": "Lincoln High", "reason": "new_in_source",
        "fields": {
            "given_name": [None, "Ada"], "family_name": [None, "Byron"],
            "status": [None, "active"], "roles": [[], ["student"]],
            "schools": [[], ["Lincoln High"]],
        },
    }  # fmt: skip
    assert (archived["name"], archived["source"], archived["external_id"]) == (
        "Bo Amber", "sis", "x-2",
    )  # fmt: skip
    assert archived["fields"] == {"status": ["active", "archived"]}
    assert edited["fields"] == {
        "email": [None, "Ada@x.example"],
        "grade": ["08", "09"],
        "schools": [["Lincoln High"], ["Grant Middle", "Lincoln High"]],
        "primary_school": ["Lincoln High", "Grant Middle"],
    }
    assert made["name"] == "New"


def test_changes_are_paged_by_their_seq(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_PAGE", 2)

    def seqs(*page: int | None) -> list[int]:
        with database.read() as connection:
            return [change["seq"] for change in plans.iter_changes(connection, 1, *page)]  # type: ignore[arg-type]

    assert seqs() == [0, 1, 2]
    assert seqs(1, 1) == [1]
    assert seqs(0, 3) == [0, 1, 2]
    assert seqs(3, None) == []


def test_an_app_that_remembers_the_serial_misses_nothing(database: Database) -> None:
    with database.read() as connection:
        row = find.district_row(connection, "springfield")
        whole = list(plans.feed(connection, row, 0, plans.feed_end(connection, row, 0, None)))
        for size in (1, 2, 3, 10):
            since, seen = 0, []
            while (end := plans.feed_end(connection, row, since, size)) > since:
                seen += list(plans.feed(connection, row, since, end))
                since = end
            assert (since, seen) == (4, whole)
        assert plans.feed_end(connection, row, 99, None) == 99
    assert [change["serial"] for change in whole] == [1, 2, 3, 4]
    assert [(one["plan_id"], one["run_id"], one["actor"]) for one in whole[2:]] == [
        ("P1", "R1", "schedule"), ("P3", "R2", "admin"),
    ]  # fmt: skip
    assert whole[0]["at"] == "2026-09-01T05:00:00Z"


def test_runs_come_newest_first_with_their_plans_and_certificates(database: Database) -> None:
    with database.read() as connection:
        row = find.district_row(connection, "springfield")
        newest, first = districts.runs(connection, row)
        assert [run["id"] for run in districts.runs(connection, row, limit=1)] == ["R2"]
    assert (newest["id"], newest["plans"], newest["actor"]) == ("R2", ["P3"], "admin")
    assert (first["plans"], first["certificates"]["sis"]["records"]) == (["P1", "P4"], 3)


def test_districts_and_sources_are_listed_with_what_they_hold(database: Database) -> None:
    with database.read() as connection:
        second, first = districts.districts(connection)
        sis, clever = districts.sources(connection, find.district_row(connection, "springfield"))
        assert len(list(districts.sources(connection))) == 2
    assert (first["district"], first["held_plan"], first["sources"]) == (
        "springfield", "P4", ["sis", "clever"],
    )  # fmt: skip
    assert first["users"] == {"active": 3, "suspended": 0, "archived": 1}
    assert (second["district"], second["last_run"]) == ("shelbyville", None)
    assert (sis["people"], sis["status"], clever["status"]) == (1, "configured", "not_in_file")


def test_open_conflicts_are_listed_and_settled_ones_on_request(database: Database) -> None:
    with database.read() as connection:
        row = find.district_row(connection, "springfield")
        (shown,) = conflicts.conflicts(connection, row)
        assert [one["id"] for one in conflicts.conflicts(connection, row, status=None)] == [
            "C1",
            "C2",
        ]
    assert (shown["source"], shown["external_id"]) == ("sis", "x-1")
    (candidate,) = shown["candidates"]
    assert (candidate["id"], candidate["evidence"]) == ("u2", ["email"])
    assert shown["record"].keys() <= candidate.keys()


def test_an_unknown_district_or_source_is_refused_with_the_likely_one(database: Database) -> None:
    with database.read() as connection:
        with pytest.raises(UsageError) as refused:
            find.district_row(connection, "springfeild")
        assert refused.value.hint == "Did you mean springfield?"
        row = find.district_row(connection, "springfield")
        assert find.source_row(connection, row, "sis").connector == "oneroster_csv"
        with pytest.raises(UsageError) as refused:
            find.source_row(connection, row, "sys")
        assert "sis, clever" in refused.value.hint


@pytest.mark.parametrize(("word", "number"), [("P12", 12), ("p12", 12), ("12", 12), (" P007 ", 7)])
def test_ids_are_read_as_printed_in_any_case_or_bare(word: str, number: int) -> None:
    assert display.parse_id("P", word) == number


@pytest.mark.parametrize("word", ["R12", "P", "", "P-1", "P1x", "P٣", "9" * 30])
def test_what_is_no_plan_id_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="That is not the id of a plan"):
        display.parse_id("P", word)
