"""Look-alikes: pairs of users who look like one person, found in the directory in sets (I10, C22).

``duplicates`` lists them, and a run that changes somebody counts them. Nothing here joins anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, func, select, text, update

from core.storage.schema import District, NotSame, User
from core.storage.stored import utc_text
from sync.ledger.domain_moves import read_aliases
from sync.people.identity import NUMBERS, Traits, evidence_of
from sync.people.traits import read_known

_PAGE = 500

MANY = 100
"""A name that more people have says nothing about any two of them, and they are not compared."""

OLD = timedelta(hours=20)
"""A count of this age is taken again at the next sync after a change: once a day."""


def look_alikes(connection: Connection, district_id: int) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (user, user, reasons) of each pair, in the order of their ids.

    They share a strong key of one role class; or the local part of an address, and names that
    agree; or both names, a school and the grade, whatever their addresses are. Different numbers
    speak against the last two, and a name that more than ``MANY`` people have is no hint at all.
    Pairs that a person told apart are left out, and so are merged users.
    """
    aliases = read_aliases(connection, district_id)
    about = {"district": district_id}
    pairs: set[tuple[str, str]] = set()
    for query in _PAIRS:
        pairs.update((row[0], row[1]) for row in connection.execute(query, about))
    neighbours: set[tuple[str, str]] = set()
    for one, other, near in connection.execute(_NAMESAKES, about):
        (neighbours if near else pairs).add((one, other))
    told_apart = select(NotSame.one, NotSame.other).where(NotSame.district_id == district_id)
    apart = {(row[0], row[1]) for row in connection.execute(told_apart)}
    ordered = sorted((pairs | neighbours) - apart)
    for start in range(0, len(ordered), _PAGE):
        some = ordered[start : start + _PAGE]
        known = read_known(connection, {user for pair in some for user in pair}, aliases)
        for one, other in some:
            reasons = list(
                evidence_of(
                    known[one].known, known[other].as_candidate(0, (False, False)), frozenset()
                )
            )
            if (one, other) in neighbours:
                reasons.append("same_school_and_grade")
            if _alike(reasons, known[one].known, known[other].known):
                yield one, other, reasons


def _alike(reasons: Sequence[str], one: Traits, other: Traits) -> bool:
    if any(f"same_{name}" in reasons for name in NUMBERS):
        return True
    if "names_agree" not in reasons or any(f"other_{name}" in reasons for name in NUMBERS):
        return False
    locals_ = [{email.rpartition("@")[0] for email in known.emails} for known in (one, other)]
    return "same_school_and_grade" in reasons or bool(locals_[0] & locals_[1])


def count_look_alikes(connection: Connection, district_id: int, now: datetime) -> int:
    """Return how many pairs there are, by the last count where that is still good.

    ``now`` is UTC. Counting looks at everybody, and a sync of ten changes must not. So the pairs
    are counted anew once a twentieth of the district has changed, once a person told a pair apart,
    and after any change when the last count is ``OLD``.
    """
    of_district = District.id == district_id
    known, last, serial = connection.execute(
        select(District.look_alikes, District.look_alikes_counted, District.serial).where(
            of_district
        )
    ).one()
    if known is not None and last is not None:
        aged = serial != last["serial"] and now - datetime.fromisoformat(last["at"]) >= OLD
        if serial < last["due"] and not aged:
            return int(known)
    found = sum(1 for _ in look_alikes(connection, district_id))
    people = connection.execute(_PEOPLE, {"district": district_id}).scalar_one()
    counted = {"at": utc_text(now), "serial": serial, "due": serial + max(people // 20, 1)}
    connection.execute(
        update(District.table)
        .where(of_district)
        .values(look_alikes=found, look_alikes_counted=counted)
    )
    return found


_PEOPLE = (
    select(func.count()).select_from(User.table).where(User.district_id == bindparam("district"))
)


# --- Set-wise statements ---
# The directory is compared with itself: the values that several people have are found first, and
# only these people are compared. Numbers and addresses have an index for both steps (the order of
# the joins is given). Names have none: they are sorted once, and a list that is materialized is
# joined with itself by a hash or an automatic index.

_SHARED = (
    "WITH shared AS (SELECT {name} AS value FROM users WHERE district_id = :district"
    " AND {name} IS NOT NULL GROUP BY {name} HAVING COUNT(*) > 1)"
    " SELECT a.id, b.id FROM shared s"
    " CROSS JOIN users a CROSS JOIN users b WHERE a.district_id = :district"
    " AND a.{name} = s.value AND b.district_id = :district AND b.{name} = s.value AND a.id < b.id"
    " AND a.merged_into IS NULL AND b.merged_into IS NULL"
)
_PAIRS = tuple(text(_SHARED.format(name=name)) for name in (*NUMBERS, "email_folded"))
_NAME = "LOWER(COALESCE(u.given_name, '') || '|' || COALESCE(u.family_name, ''))"
_OF_DISTRICT = (
    "users u WHERE u.district_id = :district AND u.merged_into IS NULL"
    " AND COALESCE(u.given_name, u.family_name) IS NOT NULL"
)
_NAMESAKES = text(  # ``near``: at one school and in one grade; ``written``: the address up to its @
    f"WITH often AS (SELECT {_NAME} AS name FROM {_OF_DISTRICT} GROUP BY {_NAME}"
    f" HAVING COUNT(*) BETWEEN 2 AND {MANY}), alike AS MATERIALIZED (SELECT u.id, {_NAME} AS name,"
    " CASE WHEN u.status <> 'archived' THEN COALESCE(u.grade, '') END AS grade,"
    f" {_NAME} || RTRIM(u.email_folded, REPLACE(u.email_folded, '@', '')) AS written"
    f" FROM {_OF_DISTRICT} AND {_NAME} IN (SELECT name FROM often)),"
    " placed AS MATERIALIZED (SELECT DISTINCT a.id, a.name, a.grade, m.school_id AS school,"
    "  CASE WHEN m.role = 'student' THEN 1 ELSE 0 END AS pupil"
    "  FROM alike a JOIN memberships m ON m.user_id = a.id"
    "  WHERE m.school_id <> '' AND a.grade IS NOT NULL),"
    " twice AS MATERIALIZED (SELECT id, written FROM alike WHERE written IN"
    "  (SELECT written FROM alike GROUP BY written HAVING COUNT(*) > 1))"
    " SELECT a.id, b.id, 0 AS near FROM twice a JOIN twice b"
    "  ON b.written = a.written AND a.id < b.id"
    " UNION SELECT a.id, b.id, 1 FROM placed a JOIN placed b ON b.name = a.name"
    "  AND b.grade = a.grade AND b.school = a.school AND b.pupil = a.pupil AND a.id < b.id"
)
