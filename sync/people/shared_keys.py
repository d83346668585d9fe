"""Shared keys: who has a key in common with a new person, looked up for all of them together.

Fills ``new_keys`` with everything by which new people could be known, and ``found`` with users and
other new people who have one of these keys. ``sync/people/matching.py`` decides what follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import TextClause, text

from core.models import without_zeros
from core.storage.database import Database
from sync.people.identity import NUMBERS
from sync.people.person import RecordView
from sync.people.traits import OwnNumbers, traits_of
from sync.run.scratch_tables import Found, GivenAway, NewKeys


def note(
    database: Database, keys: NewKeys, records: Iterable[RecordView], aliases: Mapping[str, str]
) -> None:
    """Write down every key of these records; ``aliases``: old email domain → the new one."""
    keys.add(database, [row for record in records for row in _rows(record, aliases)])


def ready(database: Database, keys: NewKeys) -> None:
    """Index the keys, once all are written down."""
    keys.index()
    if not database.is_sqlite:
        keys.connection.exec_driver_sql("ANALYZE new_keys")


def find(
    database: Database,
    keys: NewKeys,
    found: Found,
    given_away: GivenAway,
    district_id: int,
    own: OwnNumbers,
) -> list[int]:
    """Fill ``found`` with all who share a key with a new person; return the sources of these.

    People of whom somebody said that they are new are left out: by the answer to their own
    question, or to that of a record whose id was swapped with theirs (``given_away``, I13).
    """
    connection = keys.connection
    about = {"district": district_id}
    for query in (*_FIND_BY_KEYS, *_find_by_own_numbers(own)):
        connection.execute(query, about)
    if connection.execute(_ANY_LOGIN).first():
        connection.execute(_FIND_BY_LOGIN, about)
    found.index("ix_found")
    for query in _FIND_WITHOUT_ZEROS:
        connection.execute(query, about)
    connection.execute(_DROP_DECIDED_NEW)
    given_away.connection.execute(_DROP_GIVEN_TO_SOMEBODY_NEW)
    found.index()
    if not database.is_sqlite:
        connection.exec_driver_sql("ANALYZE found")
    return list(connection.execute(_SOURCES_OF_FOUND).scalars())


def _rows(record: RecordView, aliases: Mapping[str, str]) -> list[tuple[Any, ...]]:
    person = person_of(record)
    known = traits_of([record.data], aliases)
    rows = [
        (record.id, record.source_id, person, _word(kind), value)
        for kind, values in known.keys.items()
        for value in values
    ]
    rows += [(record.id, record.source_id, person, "email", email) for email in known.emails]
    if known.is_adult:
        rows += [(record.id, record.source_id, person, "login", name) for name in known.usernames]
    rows += [
        (record.id, record.source_id, person, f"bare:{kind}", without_zeros(value))
        for kind, values in known.keys.items()
        if kind.partition(":")[0] in NUMBERS
        for value in values
        if value.isascii() and value.isdecimal()
    ]
    if record.person_key:  # an entry without any key still belongs to its person
        rows.append((record.id, record.source_id, person, "self", person))
    return rows


def _word(kind: str) -> str:
    """Return the word by which a key is looked up: a number counts within its role class."""
    name = kind.partition(":")[0]
    return kind if name.partition("@")[0] in NUMBERS else name


def person_of(record: RecordView | Any) -> str:
    """Return a key that all entries of one person in one source share, and nobody else."""
    key = f"k{record.person_key}" if record.person_key else f"e{record.external_id}"
    return f"{record.source_id}:{key}"


_CLASSES = ("student", "staff", "contact")
_CROSSED = (  # (the number here, the field there, of whom)
    ("sis_id", "student_number", "student"), ("student_number", "sis_id", "student"),
    ("sis_id", "staff_number", "staff"), ("staff_number", "sis_id", "staff"),
)  # fmt: skip


# --- Set-wise statements ---
# They look up each key of all new people in one pass. ``new_keys`` is filled, indexed and analysed
# before it is read, and each number and address of users has its index; CROSS JOIN keeps SQLite to
# the order in which the tables are written, which begins with the keys.
_DROP_DECIDED_NEW = text(  # others may still turn out to be the same person as they
    "DELETE FROM found WHERE person IN (SELECT k.person FROM new_keys k JOIN conflicts c"
    " ON c.record_id = k.record_id WHERE c.kind = 'user' AND c.status = 'resolved'"
    " AND c.decision = 'new')"
)
_DROP_GIVEN_TO_SOMEBODY_NEW = text(
    "DELETE FROM found WHERE person IN (SELECT k.person FROM new_keys k JOIN given_away g"
    " ON g.record_id = k.record_id WHERE g.to_id IS NULL)"
)
_KNOWN_BY = (  # the order of the tables is the order of reading: each key is looked up once
    "INSERT INTO found SELECT k.person, k.source_id, u.id, CAST(NULL AS TEXT), {found} FROM"
    " new_keys k CROSS JOIN users u WHERE u.district_id = :district AND u.merged_into IS NULL"
    " AND k.word IN ({words}) AND k.value = u.{column}"
)


def _classes(name: str, classes: Iterable[str]) -> str:
    return ", ".join(f"'{name}:{cls}'" for cls in classes)


def _find_by_own_numbers(own: OwnNumbers) -> Iterable[TextClause]:
    """SQL that finds users by numbers that are a source's own, among its own people."""
    for source_id, names in own.items():
        for name in sorted(names):
            words = _classes(f"{name}@{int(source_id)}", _CLASSES)
            yield text(_KNOWN_BY.format(words=words, column=name, found="k.word"))


_FIND_BY_KEYS = (
    *(
        text(_KNOWN_BY.format(words=_classes(name, _CLASSES), column=name, found="k.word"))
        for name in NUMBERS
    ),
    text(_KNOWN_BY.format(words="'email'", column="email_folded", found="k.word")),
    *(
        text(_KNOWN_BY.format(words=_classes(name, (cls,)), column=column, found="'number'"))
        for name, column, cls in _CROSSED
    ),
    text(
        "INSERT INTO found SELECT k.person, k.source_id, l.target_id, CAST(NULL AS TEXT), k.word"
        " FROM new_keys k CROSS JOIN sources s CROSS JOIN records r CROSS JOIN links l"
        " WHERE k.word IN ('master', 'userid') AND s.district_id = :district"
        " AND r.source_id = s.id AND r.person_key = k.value AND r.person_key IS NOT NULL"
        " AND r.kind = 'user' AND l.record_id = r.id"
    ),
    text(
        "INSERT INTO found SELECT DISTINCT k.person, k.source_id, CAST(NULL AS TEXT), o.person,"
        " k.word FROM new_keys k JOIN new_keys o ON o.word = k.word AND o.value = k.value"
        " AND o.source_id <> k.source_id WHERE k.word NOT IN ('self', 'login')"
        " AND k.word NOT LIKE 'bare:%'"
    ),
    *(
        text(
            "INSERT INTO found SELECT DISTINCT k.person, k.source_id, CAST(NULL AS TEXT), o.person,"
            " 'number' FROM new_keys k JOIN new_keys o ON o.value = k.value"
            f" AND o.source_id <> k.source_id WHERE k.word = '{name}:{cls}'"
            f" AND o.word = '{column}:{cls}'"
        )
        for name, column, cls in _CROSSED
    ),
)
_ANY_LOGIN = text("SELECT 1 FROM new_keys WHERE word = 'login' LIMIT 1")
_FIND_BY_LOGIN = text(  # an adult's other entry of the same source (I10)
    "INSERT INTO found SELECT k.person, k.source_id, u.id, CAST(NULL AS TEXT), k.word"
    " FROM users u JOIN new_keys k ON k.word = 'login' AND k.value = LOWER(u.username)"
    " WHERE u.district_id = :district AND u.username IS NOT NULL AND u.merged_into IS NULL"
    " AND EXISTS (SELECT 1 FROM links l JOIN records r ON r.id = l.record_id"
    "  WHERE l.target_id = u.id AND r.source_id = k.source_id)"
)
_EXACTLY = "f.person = k.person AND f.word = SUBSTR(k.word, 6)"
_PADDED = " UNION ALL ".join(f"SELECT '{'0' * zeros}' AS zeros" for zeros in range(12))
_FIND_WITHOUT_ZEROS = (  # only whom the number as it is written does not find (I11)
    *(
        text(
            "INSERT INTO found SELECT DISTINCT k.person, k.source_id, u.id, CAST(NULL AS TEXT),"
            f" 'zeros' FROM new_keys k CROSS JOIN ({_PADDED}) p CROSS JOIN users u"
            f" WHERE k.word IN ({_classes(f'bare:{name}', _CLASSES)})"
            f" AND u.district_id = :district AND u.merged_into IS NULL"
            f" AND u.{name} = p.zeros || k.value"
            f" AND NOT EXISTS (SELECT 1 FROM found f WHERE {_EXACTLY} AND f.target_id IS NOT NULL)"
        )
        for name in NUMBERS
    ),
    text(
        "INSERT INTO found SELECT DISTINCT k.person, k.source_id, CAST(NULL AS TEXT), o.person,"
        " 'zeros' FROM new_keys k JOIN new_keys o ON o.word = k.word AND o.value = k.value"
        " AND o.source_id <> k.source_id WHERE k.word LIKE 'bare:%'"
        f" AND NOT EXISTS (SELECT 1 FROM found f WHERE {_EXACTLY} AND f.other IS NOT NULL)"
    ),
)
_SOURCES_OF_FOUND = text("SELECT DISTINCT source_id FROM found")
