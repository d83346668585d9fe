"""The rules of the upload and of what it does to people, each with its number (sections 3-6, 9).

Section 2 (the shape of the file) is tested with the connector, section 11 in ``test_flex.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.database import Database
from core.errors import Busy, UsageError
from sync.engine import sync_district
from sync.hand import (
    UserEdit,
    add_user,
    archive_user,
    edit_user,
    lock_fields,
    protect_user,
    restore_user,
)
from sync.upload import Uploaded, read_waiting, upload_file
from sync.uploads import uploads
from sync.views import district_row

from .kit import HEADER, district, row
from .test_inbound import active

S = "springfield"
BY: dict[str, Any] = {"actor": "admin"}


@pytest.fixture(autouse=True)
def _district(database: Database, tmp_path: Path) -> None:
    district(database, tmp_path)


def give(database: Database, folder: Path, *rows: str, name: str = "people.csv") -> Uploaded:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in (HEADER, *rows)))
    return upload_file(database, S, path, actor="secretary")


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
    give(database, tmp_path, *many(), row(1))
    give(
        database, tmp_path, *many(),
        row(
            1, firstname="Kim", lastname="Newname", gradyear="2031",
            email="kim@springfield.example",
        ),
    )  # fmt: skip
    kim = person(database, "kim")
    assert (kim["given_name"], kim["family_name"], kim["graduation_year"]) == (
        "Kim", "Newname", 2031,
    )  # fmt: skip


def test_3_7_with_idnumber_an_address_changes_and_the_person_stays(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(), row(1))
    before = person(database, "p001")
    give(database, tmp_path, *many(), row(1, email="new@springfield.example"))
    assert person(database, "new")["id"] == before["id"]
    assert active(database) == 31


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


def test_9_10_an_address_that_is_active_already_is_refused_as_a_double(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, *many(3))
    edit = UserEdit({"given_name": "A", "family_name": "B", "email": "P100@springfield.example"})
    with pytest.raises(UsageError):
        add_user(database, S, UserEdit(edit.fields, role="student"), **BY)


def test_5_14_a_run_without_a_new_file_archives_nobody(database: Database, tmp_path: Path) -> None:
    give(database, tmp_path, *many())
    for _ in range(3):
        assert sync_district(database, S, actor="nightly").exit_code == 0
    assert active(database) == 30
