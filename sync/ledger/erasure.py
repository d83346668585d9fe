"""Erasure: a purge is sealed with a digest over the changes that it empties, and held to it.

An emptied change has lost the salt that its own digest was made with, so that nobody can guess what
it said; its digest alone no longer shows whether the rest of the row is as it was. The purge shows
it: the digest in its effects covers what stays of each row.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, text

from core.storage.stored import from_json
from sync.ledger.draft import DIGEST_SIZE, canonical


def sealed_erasure(connection: Connection, plan_id: int) -> dict[str, Any]:
    """Return what a purge empties, to be sealed with it: ``{"changes", "digest"}``.

    A change that is applied to one of its people later moves their revision, so that the purge no
    longer fits.
    """
    digest, size = blake2b(digest_size=DIGEST_SIZE), 0
    for row in connection.execute(_EMPTIED, {"plan": plan_id}):
        *kept, own = row
        digest.update(canonical(kept) + bytes(own))
        size += 1
    return {"changes": size, "digest": digest.hexdigest()}


def unexplained(connection: Connection, district_id: int) -> dict[int, int]:
    """Return plan → how many of its changes are empty although no later purge emptied them."""
    rows = connection.execute(_UNEXPLAINED, {"district": district_id})
    return {int(plan_id): int(number) for plan_id, number in rows}


def broken_erasures(connection: Connection, district_id: int) -> list[int]:
    """Return the applied purges whose emptied changes are not those that they were sealed with.

    A purge of an earlier version was sealed without such a digest; that its changes are empty and
    belong to it is all that can be shown then.
    """
    broken = []
    for plan_id, effects in connection.execute(_PURGES, {"district": district_id}).all():
        sealed = (from_json(effects) or {}).get("purge")
        if not isinstance(sealed, dict):
            continue
        still_full = connection.execute(_STILL_FULL, {"plan": plan_id}).first()
        if still_full or sealed_erasure(connection, plan_id) != sealed:
            broken.append(int(plan_id))
    return broken


# --- Set-wise statements ---
# They join the changes of applied plans with those of purges. ix_changes_target finds the changes
# of a person; the order is that of the serials, which is the same in every database. Somebody who
# comes back after a purge has the same id: their later changes are not among what it emptied.

_OF_THE_PURGED = (
    " FROM changes c JOIN plans p ON p.id = c.plan_id WHERE p.status = 'applied' AND p.id <> :plan"
    " AND c.target_id IN (SELECT target_id FROM changes WHERE plan_id = :plan"
    " AND action = 'purge') AND p.first_serial < COALESCE("
    "(SELECT first_serial FROM plans WHERE id = :plan), p.first_serial + 1)"
)
_EMPTIED = text(
    "SELECT c.plan_id, c.seq, c.kind, c.action, c.target_id, c.revision, c.reason, c.record_id,"
    f" c.record_version, c.role, c.school_id, c.digest{_OF_THE_PURGED}"
    " ORDER BY p.first_serial, c.seq"
)
_STILL_FULL = text(
    f"SELECT 1{_OF_THE_PURGED} AND (c.salt IS NOT NULL OR c.basis IS NOT NULL) LIMIT 1"
)
_PURGES = text(
    "SELECT p.id, p.effects FROM plans p WHERE p.district_id = :district AND p.status = 'applied'"
    " AND EXISTS (SELECT 1 FROM changes c WHERE c.plan_id = p.id AND c.action = 'purge')"
    " ORDER BY p.first_serial"
)
_UNEXPLAINED = text(
    "SELECT c.plan_id, COUNT(*) FROM changes c JOIN plans p ON p.id = c.plan_id"
    " WHERE p.district_id = :district AND p.status = 'applied' AND c.salt IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM changes e JOIN plans q ON q.id = e.plan_id"
    "  WHERE e.target_id = c.target_id AND e.action = 'purge' AND q.status = 'applied'"
    "  AND q.district_id = p.district_id AND q.first_serial > p.first_serial)"
    " GROUP BY c.plan_id"
)
