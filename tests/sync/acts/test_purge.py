"""Retention: a purge by plan erases old archived people, and the chain still verifies."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UsageError
from core.storage.database import Database
from sync.acts import hand_edit
from sync.acts.purge import purge
from sync.acts.undo import undo_run
from sync.ledger.chain import verify
from sync.run.open_records import open_source
from tests.kit.town import Town, child


@pytest.fixture
def town(database: Database, tmp_path: Path) -> Town:
    """Two left long ago, one last week, one is kept archived while shared."""
    town = Town(database, tmp_path, more="retention_days = 30")
    town.write([child(n) for n in range(40)])
    town.sync()
    hand_edit.edit_user(
        database, town.slug, town.user("k0").id, hand_edit.UserEdit({"username": "zzz"}),
        actor="principal", reason="Family0 asked for it", now=town.clock,
    )  # fmt: skip
    hand_edit.archive_user(
        database, town.slug, town.user("k9").id, keep=True, actor="x", now=town.clock
    )
    town.write([child(n) for n in range(2, 40)])
    town.sync(expect="applied")
    town.tick(days=40)
    town.write([child(n) for n in range(3, 40)])
    town.sync(expect="applied")
    town.tick(days=5)
    return town


def test_c15_a_purge_erases_who_was_archived_longer_than_the_district_keeps(town: Town) -> None:
    planned = purge(town.database, town.slug, actor="x", now=town.clock)
    assert planned.status == "planned"
    assert town.counts(planned.plan_ids[0])["purge"] == 2
    assert len(town.users()) == 40
    done = town.apply(planned)
    assert len(town.users()) == 38
    assert {user.family_name for user in town.users("archived")} == {"Family2", "Family9"}
    report = verify(town.database, town.slug)
    assert report["intact"], report
    assert report["districts"][0]["erased"] >= 4
    with pytest.raises(UsageError, match="cannot be undone"):
        undo_run(town.database, done.run_id or 0, actor="x")


def test_a_purge_leaves_no_personal_data_of_theirs_anywhere(town: Town) -> None:
    town.apply(purge(town.database, town.slug, actor="x", now=town.clock))
    for table in (
        "changes", "plans", "records", "parts", "users", "conflicts", "rejections", "runs"
    ):  # fmt: skip
        for row in town.ask(f"SELECT * FROM {table}"):
            said = str(tuple(row))
            assert "Family0" not in said, table
            assert "Given1'" not in said, table


def test_an_earlier_run_is_undone_but_for_whom_a_purge_erased(town: Town) -> None:
    (row,) = town.ask(
        "SELECT applied_run_id FROM plans WHERE district_id = :d AND first_serial = 1"
    )
    gone = {town.user(key).id for key in ("k0", "k1")}
    town.apply(purge(town.database, town.slug, actor="x", now=town.clock))
    undone = undo_run(town.database, row.applied_run_id, actor="x", now=town.clock)
    assert gone <= set(undone.left)
    assert verify(town.database, town.slug)["intact"]


def test_a_purge_leaves_nobody_open_whom_it_erased(town: Town) -> None:
    with town.database.write() as connection:
        for (source,) in town.ask("SELECT id FROM sources"):
            open_source(connection, source)
    town.apply(purge(town.database, town.slug, actor="x", now=town.clock))
    assert len(town.ask("SELECT record_id FROM open_records")) == 38
    assert not town.ask(
        "SELECT record_id FROM open_records WHERE record_id NOT IN (SELECT id FROM records)"
    )


def test_a_purged_person_who_is_shared_again_joins_again(town: Town) -> None:
    town.apply(purge(town.database, town.slug, actor="x", now=town.clock))
    town.write([child(0), *(child(n) for n in range(3, 40))])
    town.sync(expect="applied")
    assert town.user("k0").status == "active"
    assert verify(town.database, town.slug)["intact"]


def test_a_district_that_keeps_everybody_refuses_a_purge(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path)
    with pytest.raises(UsageError, match="keeps archived people"):
        purge(database, town.slug, actor="x")
