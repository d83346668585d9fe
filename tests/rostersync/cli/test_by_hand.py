"""Acts by hand and decisions on plans, through the command line, on both stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kit.command_line import Cli, D, statuses, synced, users
from tests.kit.oneroster_folder import Folder, Person, students, teachers


@pytest.fixture
def folder(tmp_path: Path, cli: Cli) -> Folder:
    """A district that was synced once: two teachers and twelve students."""
    folder = Folder(tmp_path)
    folder.write([*teachers(1, 2), *students(*range(12))])
    assert cli("load", str(folder.file)).code == 0
    synced(cli)
    return folder


def add(cli: Cli, *more: str) -> dict[str, Any]:
    called = cli(
        "user", "add", D, "--given", "Sub", "--family", "Stitute", "--role", "teacher",
        "--email", "sub@springfield.example", *more, "--json",
    )  # fmt: skip
    assert statuses(called) == (0, "applied"), called
    user: dict[str, Any] = called.document["user"]
    return user


def one(cli: Cli, word: str) -> dict[str, Any]:
    (found,) = users(cli, "--search", word)
    return found


def test_somebody_added_by_hand_is_protected_and_stays(cli: Cli, folder: Folder) -> None:
    user = add(cli, "--school", "lincoln high", "--actor", "principal", "--reason", "maternity")
    assert (user["origin"], user["protected"], user["schools"][0]["name"]) == (
        "manual", True, "Lincoln High",
    )  # fmt: skip
    folder.write([*teachers(1, 2), *students(*range(11))])
    synced(cli)
    assert one(cli, "stitute")["status"] == "active"
    last = cli("changes", D, "--since", "16", "--json").document["changes"][0]
    assert (last["actor"], last["reason"], last["action"]) == ("principal", "by_hand", "create")


def test_an_edited_role_is_locked_and_a_name_follows_the_roster(cli: Cli, folder: Folder) -> None:
    called = cli("user", "edit", D, "sis:te001", "--role", "admin", "--family", "Newname", "--json")
    assert called.document["user"]["locked_fields"] == ["role"]
    assert called.document["user"]["family_name"] == "Newname"
    synced(cli)
    now = one(cli, "te001")
    assert (now["roles"], now["family_name"]) == (["admin"], "Teacher001")


def test_a_field_is_cleared_by_an_empty_text(cli: Cli, folder: Folder) -> None:
    user = add(cli)
    called = cli("user", "edit", D, user["id"], "--email", "", "--json")
    assert called.document["user"]["email"] is None


def test_i12_one_name_is_enough_and_is_never_taken_away(cli: Cli, folder: Folder) -> None:
    for name in ("--given", "--family"):
        called = cli("user", "add", D, name, "Sukarno", "--role", "teacher", "--json")
        assert statuses(called) == (0, "applied"), called
        user = called.document["user"]["id"]
        assert cli("user", "edit", D, user, name, "").code == 2
    nobody = cli("user", "add", D, "--role", "teacher")
    assert (nobody.code, "Give --family, --given or both." in nobody.err) == (2, True)


def test_archive_returns_at_the_next_run_unless_kept(cli: Cli, folder: Folder) -> None:
    for word, more, after in (("st0001", [], "active"), ("st0002", ["--keep"], "archived")):
        mail = f"{word}@springfield.example"
        called = cli("user", "archive", D, mail, *more, "--json")
        assert called.document["user"]["status"] == "archived"
        synced(cli)
        assert one(cli, word)["status"] == after


def test_restore_protect_and_locks_are_shown(cli: Cli, folder: Folder) -> None:
    user = add(cli)["id"]
    cli("user", "archive", D, user)
    assert "active (protected)" in cli("user", "restore", D, user).out
    assert cli("user", "unprotect", D, user, "--json").document["user"]["protected"] is False
    again = cli("user", "unprotect", D, user, "--json")
    assert statuses(again) == (0, "nothing_to_do")
    assert again.document["user"]["id"] == user
    assert cli("user", "protect", D, user, "--json").document["user"]["protected"] is True
    locked = cli("user", "lock", D, user, "--field", "email", "--json").document["user"]
    assert locked["locked_fields"] == ["email"]
    assert "locked: email" in cli("users", D, "--search", "stitute").out
    freed = cli("user", "unlock", D, user, "--json").document["user"]
    assert freed["locked_fields"] == []
    cli("user", "lock", D, user, "--field", "email")
    assert cli("user", "unlock", D, "--all", "--field", "email").code == 0
    assert one(cli, "stitute")["locked_fields"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", D, "--given", "A", "--family", "B", "--role", "pupil"),
        ("add", D, "--given", "A", "--family", "B", "--role", "student", "--grade", "99"),
        ("add", D, "--given", "A", "--family", "B", "--role", "student", "--school", "None High"),
        ("add", D, "--given", "A", "--family", "B", "--role", "student", "--email",
         "te001@springfield.example"),
        ("edit", D, "sis:te001"),
        ("edit", D, "sis:nobody", "--given", "A"),
        ("archive", D, "sis:te001", "--until", "2026-09-01"),
        ("archive", D, "sis:te001", "--keep", "--until", "September"),
        ("lock", D, "sis:te001"),
        ("lock", D, "sis:te001", "--field", "shoe"),
        ("unlock", D),
    ],
)  # fmt: skip
def test_wrong_usage_is_refused_and_changes_nobody(
    cli: Cli, folder: Folder, arguments: tuple[str, ...]
) -> None:
    before = users(cli)
    called = cli("user", *arguments, "--json")
    assert called.code == 2, called
    assert set(called.document) == {"error"}
    assert "@springfield" not in called.out + called.err
    assert users(cli) == before


# -- plans, decided


def held_plan(cli: Cli, folder: Folder) -> str:
    folder.write([*teachers(1, 2), *students(*range(6))])
    called = cli("sync", D, "--json")
    assert statuses(called) == (10, "held")
    name: str = called.document["plans"][-1]["id"]
    return name


def test_apply_does_what_the_plan_said(cli: Cli, folder: Folder) -> None:
    folder.write([*teachers(1, 2), *students(*range(12)), Person("st9", "Newcomer")])
    plan = cli("plan", D, "--json").document["plans"][0]["plan"]["id"]
    called = cli("apply", plan, "--json")
    assert statuses(called) == (0, "applied")
    assert called.document["plans"][0]["counts"]["create"] == 1
    assert one(cli, "st9")["status"] == "active"
    assert statuses(cli("apply", plan.lower(), "--json")) == (0, "nothing_to_do")


def test_a_held_plan_is_not_applied_but_approved(cli: Cli, folder: Folder) -> None:
    plan = held_plan(cli, folder)
    assert statuses(cli("apply", plan, "--json")) == (10, "held")
    assert len(users(cli, "--status", "active")) == 14
    told = cli("approve", plan, "--reason", "the school moved")
    assert told.code == 0
    assert f"Plan {plan} of springfield: applied" in told.out
    assert len(users(cli, "--status", "active")) == 8


def test_a_rejected_plan_stays_refused_and_cannot_be_applied(cli: Cli, folder: Folder) -> None:
    plan = held_plan(cli, folder)
    assert cli("reject", plan).code == 2
    rejected = cli("reject", plan, "--reason", "a mistake of the export", "--json")
    assert statuses(rejected) == (0, "rejected")
    assert statuses(cli("sync", D, "--json")) == (0, "nothing_to_do")
    applied = cli("apply", plan, "--json")
    assert applied.code == 2
    assert (applied.document["status"], applied.document["error"]["code"]) == ("refused", "usage")
    assert "rejected by" in cli("show", plan).out


def test_a_plan_that_no_longer_fits_changes_nothing(cli: Cli, folder: Folder) -> None:
    folder.write([*teachers(1, 2), *students(*range(11))])
    plan = cli("plan", D, "--json").document["plans"][0]["plan"]["id"]
    cli("user", "edit", D, "sis:st0011", "--given", "Changed")
    called = cli("apply", plan, "--json")
    assert statuses(called) == (11, "drifted")
    assert "Changed" not in called.document["error"]["message"]
    assert one(cli, "st0011")["status"] == "active"


def test_an_unknown_plan_is_an_error_document(cli: Cli, folder: Folder) -> None:
    for word in ("P99", "R1", "me@x.example"):
        called = cli("apply", word, "--json")
        assert called.code == 2
        assert set(called.document) == {"error"}
        assert "@" not in called.out


# -- why


def test_why_tells_where_somebody_stands_whose_word_counts_and_what_happened(
    cli: Cli, folder: Folder
) -> None:
    cli("user", "edit", D, "sis:te001", "--role", "admin", "--reason", "promoted")
    folder.write([*teachers(1, 2), *students(*range(6))])
    cli("sync", D)
    told = cli("why", D, "te001@springfield.example").out
    assert "Sam Teacher001 (u" in told
    assert "active (locked: role)" in told
    assert "sis:te001: shared, holds them" in told
    assert "family name: Teacher001 (sis)" in told
    assert "roles teacher → admin" in told
    assert "promoted" in told
    held = cli("why", D, "sis:st0011")
    assert held.code == 0
    assert "holds: leaves" in held.out
    document = cli("why", D, "sis:st0011", "--json").document
    assert document["situation"] == "left"
    assert cli("why", D, "nobody@x.example").code == 2


def test_why_speaks_of_a_record_that_has_no_user_yet(cli: Cli, folder: Folder) -> None:
    folder.write([*teachers(1, 2), *students(*range(12)), Person("st77", "Newcomer")])
    cli("plan", D)
    told = cli("why", D, "sis:st77")
    assert told.code == 0
    assert "sis:st77 is nobody in the directory yet" in told.out
