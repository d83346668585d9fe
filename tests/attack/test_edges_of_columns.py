"""What fits into one database and not into the other does not exist: limits belong to the model.

Each edge of each column (so many characters, so many bytes, grown by folding, NUL, half a surrogate
pair, numbers of twenty digits) is brought in through the door that the column has, on SQLite and on
PostgreSQL, and both must then tell the same.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from core.models import PROFILE_FIELDS
from core.storage.database import Database
from tests.kit.world import World, new_world


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
