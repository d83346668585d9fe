"""Rows refused that may have another key than their person's: their people stay (F12).

A row with an address in a wrong domain, or a faulty row at another school, does not have the key
under which its person was known. A row with the key of somebody else is refused together
with theirs, because the two contradict each other. Used by ``sync/reading/absence.py`` before
anybody counts as missing; works on the stage only.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict

import msgspec
from sqlalchemy import Connection, bindparam, select, text

from connectors.contract.connector import Connector
from core.storage.schema import Record, Source
from sync.reading.fetch_result import FetchResult
from sync.reading.stage import Stage

Names = tuple[str, str]
"""Given and family name, as ``folded_names`` compares them."""


def keep_the_refused(
    stage: Stage, source: Source, connector: Connector, reading: FetchResult
) -> None:
    """Remove the people of refused rows from the list of the missing.

    That is the entry that the row itself names, or else the only person of the source with its
    names. If nobody is found and the row was refused because of its key, its stream counts as one
    with an unreadable key (F5).
    """
    connection = stage.connection
    rows = connection.execute(_REFUSED).all()
    joined = connector.capabilities.joined
    missing = connection.execute(_ANY_PART if joined else _ANY_ENTRY).first()
    if not rows or missing is None:
        return
    wanted = {folded_names(row.given, row.family) for row in rows}
    wanted.discard(("", ""))
    named = _who_has(connection, source, wanted) if wanted else {}
    known = _entries(connection, source, [row.owner for row in rows if row.owner])
    kept: set[str] = set()
    for row in rows:
        found = (
            {row.owner}
            if row.owner in known
            else named.get(folded_names(row.given, row.family), ())
        )
        if len(found) == 1:
            kept.update(found)
        elif row.doubtful:
            reading.withhold(row.stream, row.file, row.line)
    reading.kept = len(kept)
    for start in range(0, len(kept), _AT_ONCE):
        about = {"source": source.id, "kept": sorted(kept)[start : start + _AT_ONCE]}
        connection.execute(_KEEP_PARTS if joined else _KEEP_ENTRIES, about)


def keep_the_unjoined(
    stage: Stage, source: Source, reading: FetchResult, names: set[Names]
) -> None:
    """Remove from the missing everybody who alone has the names of an entry that was not joined.

    Joining has found the missing by then, so their rows are kept along with them.
    """
    connection = stage.connection
    named = _who_has(connection, source, names - {("", "")})
    kept = sorted({next(iter(keys)) for keys in named.values() if len(keys) == 1})
    for start in range(0, len(kept), _AT_ONCE):
        about = {"source": source.id, "kept": kept[start : start + _AT_ONCE]}
        connection.execute(_KEEP_PARTS_OF_GONE, about)
        reading.kept += connection.execute(_KEEP_ENTRIES, about).rowcount


def folded_names(given: str | None, family: str | None) -> Names:
    """Return names as they are compared here: no case, no accents, letters and digits only."""
    return _plain(given or ""), _plain(family or "")


def _plain(name: str) -> str:
    signs = unicodedata.normalize("NFKD", name.casefold())
    return "".join(sign for sign in signs if sign.isalnum())


def _who_has(connection: Connection, source: Source, wanted: set[Names]) -> dict[Names, set[str]]:
    """Return names → the present entries of the source that have them."""
    found: dict[Names, set[str]] = defaultdict(set)
    for key, data in connection.execute(_PRESENT, {"source": source.id}):
        said = msgspec.json.decode(data, type=_Named)
        names = folded_names(said.given_name, said.family_name)
        if names in wanted:
            found[names].add(key)
    return found


class _Named(msgspec.Struct):
    given_name: str | None = None
    family_name: str | None = None


def _entries(connection: Connection, source: Source, keys: list[str]) -> set[str]:
    """Return those of ``keys`` that are entries of the source and present."""
    found: set[str] = set()
    for start in range(0, len(keys), _AT_ONCE):
        about = {"source": source.id, "keys": keys[start : start + _AT_ONCE]}
        found.update(connection.execute(_THERE, about).scalars())
    return found


_AT_ONCE = 500
_PEOPLE_PRESENT = (
    Record.source_id == bindparam("source"),
    Record.kind == "user",
    Record.present,
)
_PRESENT = select(Record.external_id, Record.data).where(*_PEOPLE_PRESENT)
_THERE = select(Record.external_id).where(
    *_PEOPLE_PRESENT, Record.external_id.in_(bindparam("keys", expanding=True))
)


# --- Set-wise statements ---
# They are about the stage, whose tables are temporary; a part is removed from the list of the
# missing by its owner, which only the stored part knows.

_REFUSED = text("SELECT stream, owner, given, family, doubtful, file, line FROM stage_refused")
_ANY_ENTRY = text("SELECT 1 FROM stage_gone WHERE kind = 'user' LIMIT 1")
_ANY_PART = text("SELECT 1 FROM stage_gone_parts LIMIT 1")
_KEEP_ENTRIES = text("DELETE FROM stage_gone WHERE kind = 'user' AND key IN :kept").bindparams(
    bindparam("kept", expanding=True)
)
_OF_KEPT = (
    "DELETE FROM stage_gone_parts WHERE EXISTS (SELECT 1 FROM parts p"
    " WHERE p.source_id = :source AND p.stream = stage_gone_parts.stream"
    " AND p.key = stage_gone_parts.key AND p.owner IN :kept{more})"
)
_KEEP_PARTS = text(_OF_KEPT.format(more="")).bindparams(bindparam("kept", expanding=True))
_KEEP_PARTS_OF_GONE = text(
    _OF_KEPT.format(
        more=" AND EXISTS (SELECT 1 FROM stage_gone g WHERE g.kind = 'user' AND g.key = p.owner)"
    )
).bindparams(bindparam("kept", expanding=True))
