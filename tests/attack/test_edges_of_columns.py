"""What fits into one database and not into the other does not exist: limits belong to the model.

Each edge of each column (so many characters, so many bytes, grown by folding, NUL, half a surrogate
pair, numbers of twenty digits) is brought in through the door that the column has, on SQLite and on
PostgreSQL, and both must then tell the same.
"""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, insert, text

from connectors.contract.connector import Certificate
from core.errors import SkipRecord, UsageError
from core.models import PROFILE_FIELDS, checked_reason
from core.storage.columns import every_table
from core.storage.database import Database
from core.storage.schema import District
from sync.run.run_rows import open_run
from sync.sources.soundness import sound_certificate, storable, told_of
from tests.kit.world import MONDAY, World, new_world


def signs(first: int, last: int, count: int) -> str:
    """Return different letters, which no database can press together."""
    return "".join(map(chr, random.Random(count).choices(range(first, last), k=count)))


def edges(most: int) -> dict[str, str]:
    """Return values on both sides of each edge of a text of so many characters."""
    return {
        "fits": signs(0x61, 0x7B, most),
        "one_more": signs(0x61, 0x7B, most + 1),
        "many_more": signs(0x61, 0x7B, most * 20),
        "half_astral": signs(0x20000, 0x2A000, most // 2),
        "astral": signs(0x20000, 0x2A000, most),
        "one_more_astral": signs(0x20000, 0x2A000, most + 1),
        "grows_twofold": "\u00df" * (most - 1),
        "grows_threefold": "\u0390" * (most // 2),
        "nul": "a\0b",
        "high_surrogate": "a\ud800b",
        "low_surrogate": "a\udfffb",
        "twenty_digits": "9" * 20,
    }


def people_at_the_edges(world: World) -> None:
    """Put somebody on the roster for each edge of each field, and a school likewise."""
    roster = world.sis
    for field in PROFILE_FIELDS:
        for edge, value in edges(1024).items():
            said = f"{value[:-4]}@x.y" if field == "email" and len(value) > 99 else value
            roster.student(f"{field}-{edge}", **{field: said})
    roster.student("person_key-astral", person_key=f"master:{edges(1017)['astral']}")
    roster.student("person_key-half", person_key=f"master:{edges(1017)['half_astral'][:500]}")
    roster.student("domain", email="a@" + "d" * 1000)
    for number, (edge, value) in enumerate(edges(512).items()):
        roster.student(value)
        roster.student(f"at-{edge}", school=value)
        roster.school(value, f"School {number}")
        for field in ("name", "nces_id", "state_id", "number"):
            roster.school(f"{field}-{edge}", **{"name": "A school", field: value})


def told(world: World) -> dict[str, Any]:
    """Return what the directory and the findings say, ids aside."""
    fields = ", ".join(f"u.{name}" for name in (*PROFILE_FIELDS, "email_folded"))
    tables = {
        "users": f"SELECT {fields}, u.status FROM users u",
        "schools": "SELECT name, nces_id, state_id, number FROM schools",
        "records": "SELECT kind, external_id, email, person_key, data FROM records",
        "findings": 'SELECT stream, file, line, "column", rule, message, hint FROM findings',
    }
    return {
        name: sorted(map(repr, map(tuple, world.rows(query)))) for name, query in tables.items()
    }


def test_a_roster_at_the_edges_is_read_alike(
    both: tuple[Database, Database], tmp_path: Path
) -> None:
    found = []
    for database in both:
        world = new_world(database, tmp_path)
        people_at_the_edges(world)
        outcome = world.sync()
        assert outcome.exit_code == 0, (outcome, outcome.error, database.url.drivername)
        found.append(told(world))
        served = len(world.sis.people) + len(world.sis.schools)
        kept = world.value("SELECT COUNT(*) FROM records")
        assert kept + world.value("SELECT COUNT(*) FROM findings") == served
    assert found[0] == found[1]


# ------------------------------------------------------------------- every column has its guard

GUARDS: dict[str, str] = {
    "model": "users.given_name users.middle_name users.family_name users.preferred_given_name"
    " users.preferred_middle_name users.preferred_family_name users.email users.email_folded"
    " users.username users.grade users.sis_id users.student_number users.state_id"
    " users.staff_number users.crd_id schools.name schools.nces_id schools.state_id schools.number"
    " records.email records.person_key records.roles memberships.role pupils.grade",
    "identify": "records.external_id parts.key parts.owner touched.key findings.external_id",
    "soundness": "findings.file findings.column findings.rule findings.stream"
    " sources.vendor_district sources.vendor_state sources.revision",
    "settings": "districts.slug districts.name sources.name sources.connector"
    " domain_aliases.old domain_aliases.new",
    "actor": "runs.actor plans.decided_by conflicts.decided_by not_same.decided_by uploads.actor"
    " flex_deliveries.changed_by flex_requests.actor flex_requests.confirmed_by",
    "cut": "uploads.title uploads.scope suspicions.about",
    "checked by its act": "flex_requests.crd_id users.kept_until",
}
"""Where a text that others write is bounded. All other columns hold our own words and ids."""

OURS = {
    "kind", "status", "origin", "reason", "action", "season", "role", "stream", "what", "scope",
    "cause", "decision", "type", "content_hash", "id", "target_id", "user_id", "school_id",
    "merged_into", "one", "other",
}  # fmt: skip
"""Columns of words and ids that we make ourselves, in any table."""


def test_every_column_of_bounded_text_has_a_guard() -> None:
    guarded = {name for names in GUARDS.values() for name in names.split()}
    columns = {
        f"{table.name}.{column.name}": column
        for table in every_table().tables.values()
        for column in table.columns
        if isinstance(column.type, String) and column.type.length is not None
    }
    assert guarded <= set(columns), "a column that there is no more"
    bare = {name for name in columns if name.partition(".")[2] not in OURS} - guarded
    assert bare == set(), "say where it is bounded, and bring its edges in above"


MARKS = ("vendor_district", "vendor_state", "revision")


def test_what_else_is_too_long_is_told_alike(both: tuple[Database, Database]) -> None:
    """Findings, marks of a certificate, names of files, actors and reasons."""
    for edge, value in edges(255).items():
        told = told_of(SkipRecord(value, rule=value, column=value, hint=value))
        assert all(len(one) <= n for one, n in zip(told, (255, 64, 1_000, 1_000), strict=True)), (
            edge
        )
        for name in MARKS:
            with suppress(ValueError):
                kept = getattr(sound_certificate(Certificate(complete=True, **{name: value})), name)
                assert len(kept) <= 255, edge
                assert kept == storable(value), "a mark is kept whole, or refused"
        for database in both:
            with database.write() as connection:
                connection.execute(text("DELETE FROM runs"))
                if not connection.execute(text("SELECT 1 FROM districts")).first():
                    values = {"slug": "d", "name": "D", "settings": {}}
                    connection.execute(insert(District.table), values)
                district = connection.execute(text("SELECT id FROM districts")).scalar_one()
                fits = len(value) <= 255 and storable(value) == value
                if not fits:
                    with pytest.raises(UsageError) as refusal:
                        open_run(connection, district, "sync", value, MONDAY)
                    assert value not in refusal.value.message
                    continue
                open_run(connection, district, "sync", value, MONDAY)
                stored = connection.execute(text("SELECT actor FROM runs")).scalar_one()
                assert stored == checked_reason(value), edge
