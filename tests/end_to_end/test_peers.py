"""The capabilities C13 to C31 that no other file here proves, each with its number, on both stores.

C15 is in ``test_purge`` too, C16 and C21 in ``test_matching``, C22 in ``test_duplicates``, C23 in
``test_switch``, C24 in ``test_domains``, C30 in ``test_why``, C31 in ``test_undo``.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from core.storage.database import Database
from sync.acts import hand_edit
from sync.sources.district_load import load_district_file
from sync.views.try_record import try_record
from sync.views.why import why
from tests.kit.town import Town, child


@pytest.fixture
def town(database: Database, tmp_path: Path) -> Town:
    town = Town(database, tmp_path)
    town.write([child(n) for n in range(12)])
    town.sync()
    return town


def others(*but: int) -> list[int]:
    return [n for n in range(12) if n not in but]


def test_c13_at_the_rollover_everybody_goes_on_with_the_same_id(town: Town) -> None:
    ids = {n: town.user(f"k{n}").id for n in range(12)}
    town.write([child(n, key=f"next{n}", grade="10") for n in range(12)])  # new entries, too
    town.sync(expect="applied")
    assert {n: town.user(f"next{n}").id for n in range(12)} == ids
    assert {user.grade for user in town.users("active")} == {"10"}
    assert len(town.users()) == 12


def test_c14_somebody_missing_is_archived_only_after_the_days_and_fetches_of_grace(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path, more="grace = { days = 3, fetches = 2 }")
    town.write([child(n) for n in range(12)])
    town.sync()
    town.write([child(n) for n in others(3)])
    for _ in range(3):
        town.sync()
        assert town.user("k3").status == "active"
        town.tick(days=1)
    town.sync()
    assert town.user("k3").status == "archived"


def test_c15_whoever_leaves_is_archived_and_never_deleted(town: Town) -> None:
    before = town.user("k3")
    town.write([child(n) for n in others(3)])
    town.sync(expect="applied")
    after = town.user("k3")
    assert (after.id, after.status) == (before.id, "archived")
    assert (after.email, after.family_name) == (before.email, before.family_name)
    assert len(town.users()) == 12


def test_c16_whoever_is_shared_again_has_the_same_id_history_and_settings(town: Town) -> None:
    user, about = town.user("k3").id, {"actor": "x", "now": town.clock}
    hand_edit.lock_fields(town.database, town.slug, user, ["username"], True, **about)
    town.write([child(n) for n in others(3)])
    town.sync(expect="applied")
    town.write([child(n) for n in range(12)])
    town.sync(expect="applied")
    back = town.user("k3")
    assert (back.id, back.status) == (user, "active")
    assert "username" in str(back.locked_fields)
    page = why(town.database, town.slug, user, now=town.clock)
    assert [change["action"] for change in page["changes"]] == [
        "create", "update", "archive", "restore",
    ]  # fmt: skip


def test_c17_somebody_added_by_hand_is_never_archived_while_protected(town: Town) -> None:
    edit = hand_edit.UserEdit({"given_name": "Sub", "family_name": "Stitute"}, role="teacher")
    user = hand_edit.add_user(town.database, town.slug, edit, actor="x", now=town.clock).user_id
    for people in (others(1), others(1, 2), range(12)):
        town.write([child(n) for n in people])
        town.sync()
    assert next(u for u in town.users() if u.id == user).status == "active"


def test_c18_protection_of_one_synced_person_is_shown_in_the_plan(town: Town) -> None:
    user = town.user("k3").id
    hand_edit.protect_user(town.database, town.slug, user, True, actor="x", now=town.clock)
    town.write([child(n) for n in others(3, 4)])
    done = town.sync(expect="applied")
    counts = town.counts(done.plan_ids[0])
    assert (counts["archive"], counts["protected"]) == (1, 1)
    assert (town.user("k3").status, town.user("k4").status) == ("active", "archived")


def test_c19_an_archive_by_hand_with_keep_stays_and_without_it_returns(town: Town) -> None:
    for key, keep in (("k3", True), ("k4", False)):
        user = town.user(key).id
        hand_edit.archive_user(
            town.database, town.slug, user, keep=keep, actor="x", reason="left", now=town.clock
        )
    town.sync()
    assert (town.user("k3").status, town.user("k4").status) == ("archived", "active")
    assert town.sync().status == "nothing_to_do"


def test_c19_a_kept_archive_ends_with_its_date(town: Town) -> None:
    until = (town.now + timedelta(days=3)).date()
    user = town.user("k3").id
    hand_edit.archive_user(
        town.database, town.slug, user, keep=True, until=until, actor="x", now=town.clock
    )
    town.tick(days=2)
    town.sync()
    assert town.user("k3").status == "archived"
    town.tick(days=2)
    town.sync()
    assert town.user("k3").status == "active"


def test_c20_a_locked_field_keeps_its_value_until_it_is_released(town: Town) -> None:
    user = town.user("k3").id
    where, about = (town.database, town.slug), {"actor": "x", "now": town.clock}
    hand_edit.edit_user(*where, user, hand_edit.UserEdit({"given_name": "Mine"}), **about)
    hand_edit.lock_fields(*where, user, ["given_name"], True, **about)
    town.write([*(child(n) for n in others(3)), child(3, given="Theirs")])
    done = town.sync()
    assert town.user("k3").given_name == "Mine"
    if done.plan_ids:
        assert town.counts(done.plan_ids[0])["locked"] == 1
    hand_edit.lock_fields(*where, None, ["given_name"], False, **about)  # for the whole district
    town.sync()
    assert town.user("k3").given_name == "Theirs"


def test_c26_one_person_with_two_roles_and_schools_is_one_user_and_keeps_the_rest(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path, ("sis", "staffing"))
    teacher = child(1, role="teacher")
    town.write([teacher, child(2)])
    town.sync("sis")
    town.write([teacher._replace(key="t1", role="administrator", school="s2")], "staffing")
    town.sync()
    both = town.user("t1", "staffing")
    assert both.id == town.user("k1").id
    roles = {(row.role) for row in town.ask("SELECT role FROM memberships WHERE user_id = :u",
                                            u=both.id)}  # fmt: skip
    assert roles == {"teacher", "admin"}
    town.write([teacher._replace(key="t1", role="aide", school="s2")], "staffing")
    if town.sync().status == "held":
        town.approve()
    roles = {(row.role) for row in town.ask("SELECT role FROM memberships WHERE user_id = :u",
                                            u=both.id)}  # fmt: skip
    assert "teacher" in roles
    assert "admin" not in roles


def test_c27_narrowing_a_source_is_shown_as_leaves_scope_and_held(town: Town) -> None:
    town.write([*(child(n) for n in range(12)), child(50, role="teacher")])
    town.sync()
    file = town.folder / "district.toml"
    file.write_text(file.read_text() + '\nroles = ["student"]\n')
    load_district_file(town.database, file)
    done = town.sync(expect="held")
    assert town.counts(done.plan_ids[-1])["leaves_scope"] == 1
    assert town.user("k50").status == "active"


def test_c28_a_mapping_rule_is_tried_on_one_record(town: Town) -> None:
    file = town.folder / "district.toml"
    file.write_text(file.read_text() + '\n[district.source.mapping]\nusername = "{email}"\n')
    load_district_file(town.database, file)
    tried = try_record(town.database, town.slug, "sis", "k3")
    assert tried["record"]["username"] == "g3.f3@a.example"
    assert "username" in tried["mapped"]
    assert town.user("k3").username == "k3", "trying changes nobody"


def test_c29_only_what_changed_is_applied_and_a_new_rule_forces_a_full_pass(town: Town) -> None:
    town.write([*(child(n) for n in others(3)), child(3, given="Else")])
    done = town.sync(expect="applied")
    (row,) = town.ask("SELECT size FROM plans WHERE id = :p", p=done.plan_ids[0])
    assert row.size == 1
    file = town.folder / "district.toml"
    file.write_text(file.read_text() + '\n[district.source.mapping]\nusername = "{email}"\n')
    load_district_file(town.database, file)
    done = town.sync()
    if done.status == "held":
        town.approve()
    assert {user.username for user in town.users()} == {f"g{n}.f{n}@a.example" for n in range(12)}
