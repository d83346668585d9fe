"""The head of a chain: how far it had come, signed with the installation's key, to keep elsewhere.

Somebody who may write the database can cut off the end of a chain and set the district back, and
what is left verifies. A head that was printed before shows it: the chain must still hold the plan
that it names. The signature is an HMAC, so that only this installation can have made it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select

from core.errors import UsageError
from core.storage.database import Database
from core.storage.schema import District, Plan
from sync.ledger.draft import canonical
from sync.run.display import PLAN, shown_id


class Head(msgspec.Struct, frozen=True):
    """Where the chain of one district ended; ``plan`` is None while nothing was applied."""

    district: str
    serial: int
    plan: int | None
    chain: str
    signature: str = ""

    def signed(self, key: bytes) -> str:
        """Return the signature that this head must have."""
        own = blake2b(b"rostersync head", key=key, digest_size=32).digest()
        words = canonical([self.district, self.serial, self.plan, self.chain])
        return hmac.digest(own, words, "sha256").hex()


class Heads(msgspec.Struct, frozen=True):
    """What ``db head`` prints."""

    heads: Sequence[Head]


def heads_of(database: Database, slug: str | None = None) -> dict[str, Any]:
    """Return the signed heads of one district or of all, as ``db head`` prints them."""
    with database.read() as connection:
        rows = [row for row in connection.execute(_DISTRICTS) if slug in (None, row.slug)]
    heads = []
    for row in rows:
        head = Head(row.slug, row.serial, row.plan_id, bytes(row.chain).hex())
        heads.append(msgspec.structs.replace(head, signature=head.signed(database.key)))
    found: dict[str, Any] = msgspec.to_builtins(Heads(heads))
    return found


def read_heads(database: Database, path: Path) -> dict[str, Head]:
    """Return district → head from a file that ``db head`` has printed. Raises ``UsageError``."""
    try:
        document = msgspec.json.decode(path.read_bytes(), type=Heads)
    except OSError as error:
        raise UsageError(
            f"The file {path} cannot be read: {error.strerror}.", hint="Check its path."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The file {path} is not what rostersync db head prints: {error}.",
            hint="Give a file that was made with: rostersync db head > FILE",
        ) from None
    for head in document.heads:
        if not hmac.compare_digest(head.signature, head.signed(database.key)):
            raise UsageError(
                f"The head of {head.district} in {path} is not signed with the key of this"
                " installation, or it was altered.",
                hint="Give the file as it was printed. After rostersync db new-key, print new"
                " heads and verify against those.",
            )
    return {head.district: head for head in document.heads}


def is_held(connection: Connection, head: Head) -> bool:
    """Say whether the chain of a district still holds the plan that it ended with then."""
    if head.plan is None:
        return True
    about = {"plan": head.plan, "district": head.district}
    row = connection.execute(_PLAN, about).one_or_none()
    return (
        row is not None
        and row.first_serial + row.size - 1 == head.serial
        and bytes(row.chain or b"").hex() == head.chain
    )


def lost(head: Head) -> str:
    """Say in words that a chain no longer holds what it ended with."""
    plan = shown_id(PLAN, head.plan or 0)
    return f"{plan}: the chain ended here when its head was printed, and no longer holds it"


def missing_districts(heads: Mapping[str, Head], found: Sequence[str]) -> list[str]:
    """Return the districts that have a head but are no longer there."""
    return sorted(set(heads) - set(found))


_LAST = (
    select(Plan.id)
    .where(Plan.district_id == District.id, Plan.status == "applied")
    .order_by(Plan.first_serial.desc(), Plan.id.desc())
    .limit(1)
    .scalar_subquery()
)
_DISTRICTS = select(
    District.slug, District.serial, District.chain, _LAST.label("plan_id")
).order_by(District.slug)
_PLAN = (
    select(Plan.first_serial, Plan.size, Plan.chain)
    .join_from(Plan.table, District.table, District.id == Plan.district_id)
    .where(
        Plan.id == bindparam("plan"),
        District.slug == bindparam("district"),
        Plan.status == "applied",
    )
)
