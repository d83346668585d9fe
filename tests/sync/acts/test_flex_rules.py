"""The rules of the upload and of what it does to people, each with its number (sections 3-6, 9).

The numbers are those of ``docs/design/file-rules.md``. Section 2 (the shape of the file) is tested
with the connector, section 11 in ``test_flex.py``.

One file, because the sections of that page are read beside it in their order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import Busy, UsageError
from core.failpoints import at_failpoints
from core.storage.database import Database
from rostersync.cli.app import run
from sync.acts.hand_edit import (
    UserEdit,
    add_user,
    archive_user,
    edit_user,
    lock_fields,
    protect_user,
    restore_user,
)
from sync.acts.pause import pause_district
from sync.acts.upload import Uploaded, read_waiting, upload_file
from sync.engine import sync_district
from sync.run.find import district_row
from sync.sources.district_load import load_district_file
from sync.sources.received_files import uploads
from tests.kit.user_files import HEADER, active, district, row

S = "springfield"
BY: dict[str, Any] = {"actor": "admin"}


@pytest.fixture(autouse=True)
def _district(database: Database, tmp_path: Path) -> None:
    district(database, tmp_path)


def give(database: Database, folder: Path, *rows: str, name: str = "people.csv") -> Uploaded:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in (HEADER, *rows)))
    return upload_file(database, S, path, actor="secretary")


def allow(database: Database, folder: Path, *domains: str) -> None:
    """Add domains to the district's own."""
    file = folder / "district.toml"
    own = '["springfield.example"'
    more = "".join(f', "{domain}"' for domain in domains)
    file.write_text(file.read_text().replace(own, own + more))
    load_district_file(database, file)


def many(count: int = 30) -> list[str]:
    """Return the rows of some people of whom nobody is in question."""
    return [row(number) for number in range(100, 100 + count)]


def person(database: Database, email: str) -> dict[str, Any]:
    """Return the one user with this address."""
    with database.read() as connection:
        found = connection.exec_driver_sql(
            f"SELECT * FROM users WHERE email_folded = '{email}@springfield.example'"
        ).mappings()
        return dict(found.one())


def roles(database: Database, user_id: str) -> list[str]:
    with database.read() as connection:
        query = f"SELECT role FROM memberships WHERE user_id = '{user_id}'"
        return sorted(connection.exec_driver_sql(query).scalars())


# -------------------------------------------------------------- 3. what an upload does


def test_3_1_an_upload_holds_everybody_and_3_5_whom_it_lacks_is_archived(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1))
    give(database, tmp_path, *many())
    assert person(database, "p001")["status"] == "archived"
    assert active(database) == 30


def test_3_4_the_same_file_name_may_be_used_each_time(database: Database, tmp_path: Path) -> None:
    give(database, tmp_path, *many(), name="everybody.csv")
    done = give(database, tmp_path, *many(), row(1), name="everybody.csv")
    assert (done.status, active(database)) == ("PROCESSED", 31)


def test_3_6_every_field_may_be_edited_by_a_new_file(database: Database, tmp_path: Path) -> None:
    """All of them in one file would be somebody else under a reused id, and is asked (I13)."""
    give(database, tmp_path, *many(), row(1))
    before = person(database, "p001")
    edited = {"firstname": "Kim", "lastname": "Newname", "gradyear": "2031"}
    give(database, tmp_path, *many(), row(1, **edited))
    give(database, tmp_path, *many(), row(1, **edited, email="kim@springfield.example"))
    kim = person(database, "kim")
    assert (kim["id"], kim["given_name"], kim["family_name"], kim["graduation_year"]) == (
        before["id"], "Kim", "Newname", 2031,
    )  # fmt: skip


def test_3_7_with_idnumber_an_address_changes_and_the_person_stays(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1))
    before = person(database, "p001")
    give(database, tmp_path, *many(), row(1, email="new@springfield.example"))
    assert person(database, "new")["id"] == before["id"]
    assert active(database) == 31


def test_3_7_without_idnumber_one_with_the_same_names_and_name_of_the_box_stays_the_same_person(
    database: Database, tmp_path: Path
) -> None:
    allow(database, tmp_path, "a.example", "b.example")
    give(database, tmp_path, *many(), row(1, idnumber="", email="kim@a.example"))
    before = _by_address(database, "kim@a.example")
    give(database, tmp_path, *many(), row(1, idnumber="", email="kim@b.example"))
    assert _by_address(database, "kim@b.example") == before


def test_3_7_without_idnumber_a_leaver_whom_a_newcomer_resembles_is_held_with_them(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1, idnumber=""))
    done = give(
        database, tmp_path, *many(), row(1, idnumber="", email="another@springfield.example")
    )
    assert (done.outcome.status, done.outcome.exit_code) == ("held", 10)
    assert person(database, "p001")["status"] == "active"
    assert active(database) == 31


def _by_address(database: Database, address: str) -> str:
    with database.read() as connection:
        query = f"SELECT id FROM users WHERE email_folded = '{address}' AND status = 'active'"
        return str(connection.exec_driver_sql(query).scalar_one())


def test_3_8_an_address_changed_here_first_and_then_in_the_file_keeps_the_person(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1))
    user = person(database, "p001")["id"]
    edit_user(database, S, user, UserEdit({"email": "new@springfield.example"}), **BY)
    give(database, tmp_path, *many(), row(1, email="new@springfield.example"))
    assert person(database, "new")["id"] == user
    assert active(database) == 31


def test_3_9_who_returns_with_the_same_address_is_the_same_person(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1, idnumber=""))
    before = person(database, "p001")["id"]
    give(database, tmp_path, *many())
    give(database, tmp_path, *many(), row(1, idnumber=""))
    after = person(database, "p001")
    assert (after["id"], after["status"]) == (before, "active")


def test_3_10_of_two_rows_with_one_address_the_first_is_used_and_the_other_reported(
    database: Database, tmp_path: Path
) -> None:
    done = give(database, tmp_path, *many(3), row(102, firstname="Second", idnumber="77"))
    assert (active(database), person(database, "p102")["given_name"]) == (3, "Sam")
    assert [(one.line, one.rule) for one in done.found] == [(5, "repeated-email")]


# --------------------------------------------------------------------- 4. the list of files


def test_4_1_the_list_has_title_times_type_and_status_newest_first(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(3), name="first.csv")
    give(database, tmp_path, *many(3), name="second.csv")
    with database.read() as connection:
        listed = list(uploads(connection, district_row(connection, S)))
    assert [one["title"] for one in listed] == ["second.csv", "first.csv"]
    assert all(one["created_at"] and one["modified_at"] and one["type"] for one in listed)


def test_4_3_a_file_given_during_another_run_is_queued_and_read_after_it(
    database: Database, tmp_path: Path
) -> None:
    with database.read() as connection:
        number = district_row(connection, S).id
    with database.run_lock(S, number):
        done = give(database, tmp_path, *many(3))
        assert (done.status, done.outcome.exit_code) == ("QUEUED", 13)
        assert isinstance(done.outcome.error, Busy)
    assert [one.status for one in read_waiting(database, S)] == ["PROCESSED"]
    assert active(database) == 3


def test_4_3_a_file_whose_reading_was_cut_short_is_failed(
    database: Database, tmp_path: Path
) -> None:
    first = give(database, tmp_path, *many(3))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE uploads SET status = 'PROCESSING'")
    give(database, tmp_path, *many(3))
    with database.read() as connection:
        listed = {one["id"]: one for one in uploads(connection, district_row(connection, S))}
    assert listed[f"U{first.upload_id}"]["status"] == "FAILED"


def test_4_3_while_a_file_is_read_it_is_processing(database: Database, tmp_path: Path) -> None:
    seen: list[str] = []

    def look(name: str) -> None:
        if name == "run.read":
            with database.read() as connection:
                (one,) = uploads(connection, district_row(connection, S))
            seen.append(one["status"])

    with at_failpoints(look):
        give(database, tmp_path, *many(3))
    assert seen == ["PROCESSING"]


def test_4_9_what_a_script_sends_is_on_the_same_list(database: Database, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    second = (
        '[[district.source]]\nname = "nightly"\nconnector = "user_csv"\nprecedence = 2\n'
        '[district.source.config]\ninbound = "drop"\nsettle_seconds = 0\n'
    )
    district(database, tmp_path, second)
    sent = "".join(f"{line}\n" for line in (HEADER, *many(3), row(9, gradyear="soon")))
    wrong = sent.replace("springfield.example", "else.example")
    for content in (sent, sent, wrong, "nonsense\n1\n"):
        (drop / "sent.csv").write_text(content)
        sync_district(database, S, actor="schedule")
    with database.read() as connection:
        listed = list(uploads(connection, district_row(connection, S)))
    assert [(one["title"], one["type"], one["status"], one["actor"]) for one in listed] == [
        ("sent.csv", "user_csv", "FAILED", "schedule"),
        ("sent.csv", "user_csv", "PROCESSED", "schedule"),  # 4.4: of rows that are bad only
        ("sent.csv", "user_csv", "PROCESSED", "schedule"),
    ]
    assert [one["counts"]["rows"] for one in listed] == [0, 4, 4]
    assert [one["counts"]["usable"] for one in listed] == [0, 0, 3]
    assert all(one["run_id"] and one["modified_at"] and one["size"] for one in listed)
    assert [bool(one["note"]) for one in listed] == [True, True, False]


def test_4_10_an_upload_ends_with_the_name_under_which_it_is_listed(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "people.csv"
    path.write_text(HEADER + "\n" + row(1) + "\n")
    url = database.url.render_as_string(hide_password=False)
    assert run(["upload", S, str(path), "--database", url]) == 0
    assert "The file is U1: PROCESSED" in capsys.readouterr().out
    assert run(["files", S, "--database", url]) == 0
    assert "U1" in capsys.readouterr().out


def test_4_6_a_failed_file_is_put_right_and_uploaded_again(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "people.csv"
    path.write_text("first name,lastname,email\nA,B,a@springfield.example\n")
    assert upload_file(database, S, path, actor="x").status == "FAILED"
    path.write_text("firstname,lastname,email\nA,B,a@springfield.example\n")
    assert upload_file(database, S, path, actor="x").status == "PROCESSED"


# ----------------------------------------------------------------------------- 5. archiving


def test_5_1_an_archived_person_is_kept_with_their_history(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1))
    give(database, tmp_path, *many())
    user = person(database, "p001")
    with database.read() as connection:
        history = connection.exec_driver_sql(
            f"SELECT action FROM changes WHERE target_id = '{user['id']}' ORDER BY plan_id"
        ).scalars()
        assert next(iter(history)) == "create"
    assert user["archived_at"] is not None


def test_5_2_of_whom_is_archived_it_is_known_whether_a_file_or_a_person_did_it(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1), row(2))
    archive_user(database, S, person(database, "p002")["id"], **BY)
    give(database, tmp_path, *many(), row(2))
    archive_user(database, S, person(database, "p002")["id"], **BY)
    with database.read() as connection:
        kinds = connection.exec_driver_sql(
            "SELECT u.email_folded, p.kind FROM changes c JOIN plans p ON p.id = c.plan_id"
            " JOIN users u ON u.id = c.target_id WHERE c.action = 'archive'"
        ).all()
    assert {tuple(one) for one in kinds} == {
        ("p001@springfield.example", "upload"), ("p002@springfield.example", "hand"),
    }  # fmt: skip


@pytest.mark.parametrize("role", ["student", "teacher", "staff", "admin"])
def test_5_3_a_student_or_an_adult_who_is_no_longer_sent_is_archived(
    database: Database, tmp_path: Path, role: str
) -> None:
    others = [row(number, role) for number in range(200, 230)]
    give(database, tmp_path, *others, row(1, role))
    give(database, tmp_path, *others)
    assert person(database, "p001")["status"] == "archived"


def test_5_8_whom_a_person_added_a_person_archives(database: Database, tmp_path: Path) -> None:
    add_user(database, S, _new("hand"), **BY)
    for _ in range(2):
        give(database, tmp_path, *many())
        sync_district(database, S, actor="nightly")
    user = person(database, "hand")
    assert user["status"] == "active"
    archive_user(database, S, user["id"], **BY)
    assert person(database, "hand")["status"] == "archived"


def test_5_4_protection_is_off_for_file_users_and_on_for_manual_ones(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(3))
    add_user(database, S, _new("hand"), **BY)
    assert not person(database, "p100")["protected"]
    assert person(database, "hand")["protected"]


def _new(name: str) -> UserEdit:
    fields = {"given_name": "Pat", "family_name": "Hand", "email": f"{name}@springfield.example"}
    return UserEdit(fields, role="student")


def test_5_5_a_protected_person_stays_and_5_6_an_unprotected_one_leaves(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1), row(2))
    protect_user(database, S, person(database, "p001")["id"], True, **BY)
    give(database, tmp_path, *many())
    assert person(database, "p001")["status"] == "active"
    assert person(database, "p002")["status"] == "archived"


def test_5_7_a_manual_user_whom_no_file_ever_held_is_never_archived_by_one(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many())
    added = add_user(database, S, _new("hand"), **BY)
    protect_user(database, S, str(added.user_id), False, **BY)
    give(database, tmp_path, *many(29))
    assert person(database, "hand")["status"] == "active"


def test_5_9_archive_by_hand_works_on_everybody_and_5_10_who_is_still_in_the_file_returns(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1))
    user = person(database, "p001")["id"]
    protect_user(database, S, user, True, **BY)
    archive_user(database, S, user, **BY)
    assert person(database, "p001")["status"] == "archived"
    give(database, tmp_path, *many(), row(1))
    assert person(database, "p001")["status"] == "active"


# ----------------------------------------------------------------------------- 6. coming back


def test_6_1_restore_and_file_bring_the_same_person_back(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1))
    user = person(database, "p001")["id"]
    give(database, tmp_path, *many())
    restore_user(database, S, user, **BY)
    assert person(database, "p001")["status"] == "active"
    give(database, tmp_path, *many(), row(1))
    assert person(database, "p001")["id"] == user


def test_6_2_who_is_restored_unprotected_and_in_no_file_is_archived_again(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1))
    give(database, tmp_path, *many())
    user = person(database, "p001")["id"]
    restore_user(database, S, user, protect=False, **BY)
    give(database, tmp_path, *many())
    assert person(database, "p001")["status"] == "archived"


def test_6_3_the_history_returns_with_the_person(database: Database, tmp_path: Path) -> None:
    give(database, tmp_path, *many(), row(1))
    give(database, tmp_path, *many())
    give(database, tmp_path, *many(), row(1))
    user = person(database, "p001")["id"]
    with database.read() as connection:
        query = f"SELECT action FROM changes WHERE target_id = '{user}' ORDER BY plan_id, seq"
        acts = list(connection.exec_driver_sql(query).scalars())
    assert [act for act in acts if act in ("create", "archive", "restore")] == [
        "create", "archive", "restore",
    ]  # fmt: skip


# ------------------------------------------------------- 7.2, 7.3 (file users) and 9. add user


def test_7_2_a_field_edited_by_hand_follows_the_file_again_and_7_3_a_role_does_not(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1))
    user = person(database, "p001")["id"]
    edit_user(database, S, user, UserEdit({"given_name": "Hand"}, role="teacher"), **BY)
    give(database, tmp_path, *many(), row(1))
    assert person(database, "p001")["given_name"] == "Sam"
    assert roles(database, user) == ["teacher"]
    lock_fields(database, S, user, ["role"], locked=False, **BY)
    give(database, tmp_path, *many(), row(1))
    assert roles(database, user) == ["student"]


def test_9_2_a_domain_that_is_not_the_districts_is_refused_by_hand_too(
    database: Database,
) -> None:
    edit = UserEdit({"given_name": "A", "family_name": "B", "email": "a@gmail.example"}, "student")
    with pytest.raises(UsageError, match="domain"):
        add_user(database, S, edit, **BY)


def test_9_3_a_personal_domain_is_refused_until_it_is_one_of_the_districts(
    database: Database, tmp_path: Path
) -> None:
    edit = UserEdit({"given_name": "A", "family_name": "B", "email": "a@mail.example"}, "staff")
    with pytest.raises(UsageError, match="domain"):
        add_user(database, S, edit, **BY)
    allow(database, tmp_path, "mail.example")
    assert add_user(database, S, edit, **BY).status == "applied"


def test_9_9_a_student_added_by_hand_has_a_year_and_a_number_and_is_protected(
    database: Database,
) -> None:
    fields = _new("hand").fields | {"graduation_year": "2031", "student_number": "77"}
    add_user(database, S, UserEdit(fields, role="student"), **BY)
    user = person(database, "hand")
    assert (user["graduation_year"], user["student_number"], user["protected"]) == (2031, "77", 1)


def test_9_10_an_address_that_is_archived_leads_to_the_person_who_has_it(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1))
    user = person(database, "p001")["id"]
    give(database, tmp_path, *many())
    with pytest.raises(UsageError) as refused:
        add_user(database, S, _new("p001"), **BY)
    assert refused.value.hint == f"rostersync user restore {S} {user}"
    restore_user(database, S, user, **BY)
    assert person(database, "p001")["status"] == "active"


def test_9_10_an_address_that_is_active_already_is_refused_as_a_double(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(3))
    edit = UserEdit({"given_name": "A", "family_name": "B", "email": "P100@springfield.example"})
    with pytest.raises(UsageError):
        add_user(database, S, UserEdit(edit.fields, role="student"), **BY)


def test_5_14_a_pause_archives_nobody_whatever_is_sent_in_it(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many())
    pause_district(database, S, actor="admin")
    assert give(database, tmp_path, *many(29)).status == "PENDING"
    assert sync_district(database, S, actor="nightly").status == "paused"
    assert active(database) == 30


def test_5_14_a_run_without_a_new_file_archives_nobody(database: Database, tmp_path: Path) -> None:
    give(database, tmp_path, *many())
    for _ in range(3):
        assert sync_district(database, S, actor="nightly").exit_code == 0
    assert active(database) == 30
