"""Email domains: a district that moves from one to another, found in a plan or ordered ahead.

A sync in which people move to a new domain says so in one step of its plan; ``rename_domain`` does
the same ahead of the vendor. The old domain stays an alias for matching either way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, bindparam, select, text

from core.errors import UsageError
from core.models import Kind, fits_as_email, fold_email
from core.settings import is_domain
from core.storage.database import Database
from core.storage.schema import User
from core.storage.stored import from_json
from sync.acts.ordered_plan import order_plan
from sync.ledger.draft import Step
from sync.run.clock import Clock
from sync.run.outcome import Outcome

REASON = "domain_change"


def rename_domain(
    database: Database,
    slug: str,
    old: str,
    new: str,
    *,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
) -> Outcome:
    """Store a ``planned`` plan that moves every address from one domain to another.

    Nobody is changed yet. Once it is applied, a source that still sends the old address changes
    nobody back. ``outcome.left`` names people whose new address somebody else has; locked addresses
    are counted and stay. Raises ``UsageError`` if the domains are not two different ones.
    """
    old, new = (fold_email(domain).removeprefix("@") for domain in (old, new))
    if old == new or not is_domain(old) or not is_domain(new):
        raise UsageError("These are not two email domains.", hint="Give --from a.example --to …")
    with order_plan(database, slug, "domain", actor=actor, reason=reason, now=now) as asked:
        moved = kept = 0
        about = {"district": asked.district_id, "domain": f"%@{old}"}
        taken = set(asked.connection.execute(_ADDRESSES, about | {"domain": f"%@{new}"}).scalars())
        for row in _people(asked.connection, about):
            after = f"{row.email.strip().rpartition('@')[0]}@{new}"
            if "email" in (from_json(row.locked_fields) or ()):
                kept += 1
                continue
            if fold_email(after) in taken or not fits_as_email(after):
                asked.outcome.left.append(row.id)
                continue
            moved += 1
            step = Step(
                Kind.USER, "update", row.id, row.revision, REASON,
                before={"email": row.email, "email_folded": row.email_folded},
                after={"email": after, "email_folded": fold_email(after)},
                role=row.role, school=row.school or None,
            )  # fmt: skip
            asked.draft.add([step])
            if asked.draft.full:
                asked.draft.flush(asked.connection)
        asked.extra["locked"] = kept
        asked.always = True
        asked.effects["domains"] = [{"from": old, "to": new, "people": moved, "alias": True}]
    return asked.outcome


def _people(connection: Connection, about: dict[str, Any]) -> Iterator[Any]:
    last = ""
    while rows := connection.execute(_PEOPLE_OF_DOMAIN, about | {"last": last}).all():
        yield from rows
        last = rows[-1].id


_ADDRESSES = select(User.email_folded).where(
    User.district_id == bindparam("district"), User.email_folded.like(bindparam("domain"))
)


# --- Set-wise statements ---
# The people of a domain are read page by page in the order of their ids, each with one role and one
# school.

_PEOPLE_OF_DOMAIN = text(
    "SELECT u.id, u.revision, u.email, u.email_folded, u.locked_fields, (SELECT MIN(m.role)"
    " FROM memberships m WHERE m.user_id = u.id) AS role, (SELECT MIN(m.school_id)"
    " FROM memberships m WHERE m.user_id = u.id) AS school FROM users u"
    " WHERE u.district_id = :district AND u.id > :last AND u.email_folded LIKE :domain"
    " AND u.merged_into IS NULL ORDER BY u.id LIMIT 5000"
)
