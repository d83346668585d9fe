"""FINRA FLEX: delivery status, the one upload, changes after it (file-rules.md 11, I8)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.files.templates import write_template
from connectors.finra_flex import FinraFlex
from core.errors import ConfigError, FileRefused, UsageError
from core.storage.database import Database
from rostersync.cli.app import run
from sync.acts import flex
from sync.acts.approval import apply_plan
from sync.acts.hand_edit import UserEdit, add_user, archive_user, edit_user
from sync.acts.upload import Uploaded, upload_file
from sync.engine import sync_district
from tests.kit.command_line import Cli
from tests.kit.firm import available, make_firm, staff
from tests.kit.user_files import active, district


def report(folder: Path, *numbers: int, more: str = "", age_days: float = 0) -> None:
    rows = "".join(f"{n},Y\n" for n in numbers)
    path = folder / "finpro.csv"
    path.write_text(f"Individual CRD#,Is FinPro user?\n{rows}{more}")
    when = (datetime.now(UTC) - timedelta(days=age_days)).timestamp()
    os.utime(path, (when, when))


@pytest.fixture
def firm(database: Database, tmp_path: Path) -> str:
    return make_firm(database, tmp_path)


def give(database: Database, folder: Path, content: str, **how: Any) -> Uploaded:
    path = folder / "UploadUsersTemplate.csv"
    path.write_text(content)
    how.setdefault("without_report", True)
    return upload_file(database, "springfield", path, actor="ce admin", **how)


# ---------------------------------------------------------------------------- the delivery


@pytest.mark.usefixtures("firm")
def test_flex_11_3_a_new_firm_is_provisioning_and_takes_no_upload(
    database: Database, tmp_path: Path
) -> None:
    with database.read() as connection:
        assert flex.delivery(connection, "springfield")["status"] == "Provisioning"
    with pytest.raises(FileRefused, match="still Provisioning") as refused:
        give(database, tmp_path, staff(1, 2))
    assert refused.value.exit_code == 15
    available(database)
    assert give(database, tmp_path, staff(1, 2)).status == "PROCESSED"
    assert active(database) == 2


def test_flex_11_1_a_school_has_no_flex_delivery(database: Database, tmp_path: Path) -> None:
    district(database, tmp_path)
    with database.read() as connection, pytest.raises(UsageError, match="is no firm"):
        flex.delivery(connection, "springfield")


@pytest.mark.usefixtures("firm")
def test_flex_11_6_a_second_upload_is_refused_with_a_pointer_to_the_change_procedure(
    database: Database, tmp_path: Path
) -> None:
    available(database)
    give(database, tmp_path, staff(1, 2))
    with pytest.raises(FileRefused, match="a second is not taken") as refused:
        give(database, tmp_path, staff(1, 2, 3))
    assert "flex request add" in refused.value.hint
    assert active(database) == 2


@pytest.mark.usefixtures("firm")
def test_flex_11_6_an_upload_that_failed_may_be_made_again(
    database: Database, tmp_path: Path
) -> None:
    available(database)
    assert give(database, tmp_path, staff(1) + "x,A,B,c@springfield.example\n").status == "FAILED"
    assert give(database, tmp_path, staff(1)).status == "PROCESSED"


def test_flex_11_5_a_check_accepts_nothing(database: Database, tmp_path: Path) -> None:
    make_firm(database, tmp_path, 'finpro_report = "finpro.csv"')
    report(tmp_path, 1)
    assert give(database, tmp_path, staff(1, 2), dry=True).status == "FAILED"
    report(tmp_path, 1, 2)
    checked = give(database, tmp_path, staff(1, 2), dry=True)
    assert (checked.status, checked.outcome.status, active(database)) == ("PROCESSED", "planned", 0)
    available(database)
    assert give(database, tmp_path, staff(1, 2)).status == "PROCESSED"
    assert active(database) == 2


@pytest.mark.usefixtures("firm")
def test_a_check_whose_plan_is_applied_is_the_one_upload(
    database: Database, tmp_path: Path
) -> None:
    available(database)
    checked = give(database, tmp_path, staff(1, 2), dry=True)
    apply_plan(database, checked.outcome.plan_ids[0], actor="ce admin")
    with pytest.raises(FileRefused, match="a second"):
        give(database, tmp_path, staff(1, 2))


@pytest.mark.usefixtures("firm")
def test_a_firm_is_never_read_by_a_schedule_and_absence_archives_nobody(
    database: Database, tmp_path: Path
) -> None:
    available(database)
    give(database, tmp_path, staff(1, 2))
    outcome = sync_district(database, "springfield", actor="nightly")
    assert (outcome.status, active(database)) == ("nothing_to_do", 2)


# --------------------------------------------------------------------------- all or nothing


def test_i8_flex_11_4_one_person_without_an_account_refuses_the_file_and_lists_all(
    database: Database, tmp_path: Path
) -> None:
    make_firm(database, tmp_path, 'finpro_report = "finpro.csv"')
    available(database)
    report(tmp_path, 1, 3, more="5,N\n")
    done = give(database, tmp_path, staff(1, 2, 3, 4, 5))
    assert (done.status, done.outcome.exit_code, active(database)) == ("FAILED", 15, 0)
    assert [(one.line, one.rule) for one in done.found] == [
        (3, "no-finpro-account"), (5, "no-finpro-account"), (6, "no-finpro-account"),
    ]  # fmt: skip
    assert all("upload the file again" in one.hint for one in done.found)
    report(tmp_path, 1, 2, 3, 4, 5)
    assert give(database, tmp_path, staff(1, 2, 3, 4, 5)).status == "PROCESSED"


BAD: dict[str, Callable[[str], str]] = {
    "crd-id": lambda text: text + "12a,A,B,c@springfield.example\n",
    "repeated-crd-id": lambda text: text + "0001,A,B,c@springfield.example\n",
    "repeated-email": lambda text: text + "9,A,B,P1@springfield.example\n",
    "missing-value": lambda text: text + "9,A,,c@springfield.example\n",
    "email-format": lambda text: text + "9,A,B,c.springfield.example\n",
    "formula": lambda text: text + '9,"=A1",B,c@springfield.example\n',
    "too-few-fields": lambda text: text + "9,A,B\n10,A,B,d@springfield.example\n",
    "too-many-fields": lambda text: text + "9,A,B,c@springfield.example,x\n",
}


@pytest.mark.usefixtures("firm")
@pytest.mark.parametrize("rule", sorted(BAD))
def test_i8_one_bad_line_refuses_the_whole_file(
    database: Database, tmp_path: Path, rule: str
) -> None:
    available(database)
    done = give(database, tmp_path, BAD[rule](staff(1, 2)))
    assert (done.status, done.outcome.exit_code, active(database)) == ("FAILED", 15, 0)
    assert [(one.line, one.rule) for one in done.found] == [(4, rule)]


@pytest.mark.usefixtures("firm")
def test_a_near_miss_in_the_header_is_named_and_not_guessed(
    database: Database, tmp_path: Path
) -> None:
    available(database)
    done = give(
        database, tmp_path, staff(1).replace("first_name", "First Name"), source="people"
    )  # fmt: skip
    assert done.status == "FAILED"
    assert [(one.line, one.column, one.hint) for one in done.found] == [
        (1, "First Name", "Rename it to first_name."),
    ]  # fmt: skip


def test_flex_11_11_a_stale_report_warns(database: Database, tmp_path: Path) -> None:
    make_firm(database, tmp_path, 'finpro_report = "finpro.csv"')
    available(database)
    report(tmp_path, 1, 2, age_days=90)
    done = give(database, tmp_path, staff(1, 2))
    assert done.status == "PROCESSED"
    notes = done.outcome.certificates["people"]["notes"]
    assert any("90 days old" in note for note in notes)


def test_flex_11_12_the_report_may_call_its_columns_otherwise(
    database: Database, tmp_path: Path
) -> None:
    make_firm(
        database, tmp_path,
        'finpro_report = "finpro.csv"\nfinpro_columns = { crd_id = "CRD", has_account = "State",'
        ' yes = ["enrolled"] }',
    )  # fmt: skip
    available(database)
    (tmp_path / "finpro.csv").write_text("Name,CRD,State\nx,01,Enrolled\nx,2,invited\n")
    done = give(database, tmp_path, staff(1, 2))
    assert [one.line for one in done.found] == [3]


def test_a_report_with_other_columns_is_a_mistake_in_the_configuration(
    database: Database, tmp_path: Path
) -> None:
    make_firm(database, tmp_path, 'finpro_report = "finpro.csv"')
    available(database)
    (tmp_path / "finpro.csv").write_text("Person,State\n1,Y\n")
    with pytest.raises(ConfigError, match="has no column Individual CRD#"):
        give(database, tmp_path, staff(1))


# -------------------------------------------------------------------------- change requests


@pytest.mark.usefixtures("firm")
def test_flex_11_6_changes_are_asked_for_written_as_a_mail_and_applied_when_confirmed(
    database: Database, tmp_path: Path
) -> None:
    available(database)
    give(database, tmp_path, staff(1, 2, 3))
    person = {"first_name": "Kim", "last_name": "New", "email": "kim@springfield.example"}
    numbers = [
        flex.ask(database, "springfield", "add", "44", person, actor="a"),
        flex.ask(database, "springfield", "remove", "2", {}, actor="a"),
        flex.ask(database, "springfield", "update", "3", {"last_name": "Newname"}, actor="a"),
    ]
    assert active(database) == 3, "asking changes nobody"
    with database.read() as connection:
        mail = flex.mail_text(connection, "springfield")
    assert "F1. Add crd_id 44: first_name Kim, last_name New" in mail
    assert "F2. Remove crd_id 2\n" in mail
    assert "F3. Change crd_id 3: last_name Newname" in mail
    for number in numbers:
        assert flex.confirm(database, "springfield", number, actor="a").status == "applied"
    with database.read() as connection:
        found = connection.exec_driver_sql(
            "SELECT crd_id, family_name FROM users WHERE status = 'active' ORDER BY crd_id"
        ).all()
        told = list(flex.requests(connection, "springfield"))
        assert flex.mail_text(connection, "springfield") == ""
    assert [tuple(one) for one in found] == [("1", "Person1"), ("3", "Newname"), ("44", "New")]
    assert all(one["status"] == "confirmed" and one["plan_id"] for one in told)
    assert flex.confirm(database, "springfield", "F1", actor="a").status == "nothing_to_do"
    sync_district(database, "springfield", actor="nightly")
    assert active(database) == 3, "no sync takes a confirmed change back"


@pytest.mark.usefixtures("firm")
@pytest.mark.parametrize(
    ("kind", "crd", "fields"),
    [("add", "x1", {}), ("add", "9", {}), ("add", "1", {"first_name": "A", "last_name": "B",
      "email": "c@d.example"}), ("remove", "9", {}), ("update", "1", {})],
)  # fmt: skip
def test_a_request_that_makes_no_sense_is_refused(
    database: Database, tmp_path: Path, kind: Any, crd: str, fields: dict[str, str]
) -> None:
    available(database)
    give(database, tmp_path, staff(1))
    with pytest.raises(UsageError):
        flex.ask(database, "springfield", kind, crd, fields, actor="a")


@pytest.mark.usefixtures("firm")
def test_the_command_line_says_that_courses_are_not_its_matter(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    url = database.url.render_as_string(hide_password=False)
    assert run(["flex", "status", "springfield", "--set", "available", "--database", url]) == 0
    said = capsys.readouterr().out
    assert "Available" in said
    assert "Courses are assigned in FLEX itself" in said


# ------------------------------------------------- the one upload is not spent by accident


@pytest.mark.usefixtures("firm")
def test_i8_the_example_row_of_the_template_refuses_the_file(
    database: Database, tmp_path: Path
) -> None:
    available(database)
    write_template(FinraFlex.template(), tmp_path / "template.csv")
    template = (tmp_path / "template.csv").read_text()
    done = give(database, tmp_path, template + "7654321,Lee,Reed,lee@springfield.example\n")
    assert (done.status, done.outcome.exit_code, active(database)) == ("FAILED", 15, 0)
    assert [(one.line, one.rule) for one in done.found] == [(2, "example-row")]
    assert give(database, tmp_path, staff(1, 2)).status == "PROCESSED", "it was not spent"


@pytest.mark.usefixtures("firm")
def test_i8_without_a_finpro_report_the_upload_wants_to_be_asked_for_so(
    database: Database, tmp_path: Path
) -> None:
    available(database)
    with pytest.raises(FileRefused, match="No FinPro report") as refused:
        give(database, tmp_path, staff(1, 2), without_report=False)
    assert "--without-report" in refused.value.hint
    checked = give(database, tmp_path, staff(1, 2), without_report=False, dry=True)
    assert checked.status == "PROCESSED", "a check may be made at any time"
    with pytest.raises(FileRefused, match="only checked"):
        apply_plan(database, checked.outcome.plan_ids[0], actor="ce admin")
    assert active(database) == 0
    done = give(database, tmp_path, staff(1, 2), without_report=True)
    assert (done.status, active(database)) == ("PROCESSED", 2)
    assert any("accounts were not checked" in one for one in done.said)


def test_i8_the_plan_of_a_check_is_not_applied_before_flex_is_available(
    database: Database, tmp_path: Path
) -> None:
    make_firm(database, tmp_path, 'finpro_report = "finpro.csv"')
    report(tmp_path, 1, 2)
    checked = give(database, tmp_path, staff(1, 2), dry=True, without_report=False)
    with pytest.raises(FileRefused, match="only checked"):
        apply_plan(database, checked.outcome.plan_ids[0], actor="ce admin")
    available(database)
    assert apply_plan(database, checked.outcome.plan_ids[0], actor="x").status == "applied"


@pytest.mark.usefixtures("firm")
def test_i8_the_one_upload_says_its_file_and_where_changes_go(
    database: Database, tmp_path: Path
) -> None:
    available(database)
    done = give(database, tmp_path, staff(1, 2))
    assert done.said[0] == "UploadUsersTemplate.csv is the firm's one upload."
    assert "flex@finra.org" in done.said[1]
    with pytest.raises(FileRefused, match=r"UploadUsersTemplate\.csv") as refused:
        give(database, tmp_path, staff(1, 2, 3))
    assert "flex@finra.org" in refused.value.hint
    flex.ask(database, "springfield", "remove", "1", {}, actor="ce admin")
    with database.read() as connection:
        assert flex.mail_text(connection, "springfield").startswith("To: flex@finra.org\n")


@pytest.mark.usefixtures("firm")
def test_i8_by_hand_nobody_bypasses_the_request_that_a_firm_must_send(
    database: Database, tmp_path: Path
) -> None:
    available(database)
    give(database, tmp_path, staff(1, 2))
    with database.read() as connection:
        query = "SELECT id FROM users WHERE crd_id = '1'"
        user = connection.exec_driver_sql(query).scalar_one()
    new = UserEdit({"given_name": "Kim", "family_name": "Stone"}, role="staff")
    acts: list[Callable[[], object]] = [
        lambda: add_user(database, "springfield", new, actor="x"),
        lambda: archive_user(database, "springfield", user, actor="x"),
        lambda: edit_user(
            database, "springfield", user, UserEdit({"family_name": "Reed"}), actor="x"
        ),
    ]
    for act in acts:
        with pytest.raises(UsageError, match="asked of it first") as refused:
            act()
        assert "flex request" in refused.value.hint
        assert "flex@finra.org" in refused.value.hint
    assert active(database) == 2
    flex.ask(database, "springfield", "remove", "1", {}, actor="x")
    assert flex.confirm(database, "springfield", "F1", actor="x").status == "applied"
    assert active(database) == 1


@pytest.mark.usefixtures("firm")
def test_acts_by_hand_in_a_firm_tell_their_run_and_where_changes_go(
    database: Database, tmp_path: Path, cli: Cli
) -> None:
    available(database)
    give(database, tmp_path, staff(1, 2))
    refused = cli("user", "archive", "springfield", "p1@springfield.example")
    assert refused.code == 2
    assert "Changes go to flex@finra.org: rostersync flex request remove" in refused.err
    cli("flex", "request", "remove", "springfield", "1")
    confirmed = cli("flex", "request", "confirm", "springfield", "F1")
    restored = cli("user", "restore", "springfield", "p1@springfield.example")
    assert "Changes go to flex@finra.org" in restored.out
    for called in (confirmed, restored):
        assert called.code == 0
        (run_id,) = re.findall(r"To take it back: rostersync undo (R\d+)\n", called.out)
        assert run_id in {one["id"] for one in cli("runs", "springfield", "--json").document}
    assert active(database) == 2
    assert cli("undo", run_id, "--apply").code == 0
    assert active(database) == 1
