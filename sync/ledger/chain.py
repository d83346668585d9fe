"""The ledger's hash chain over the applied plans of a district, and its verification.

Changes that a purge has erased are counted; their digests still carry the chain, and the purge
shows that what is left of them is as it was (``sync/ledger/erasure.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, String, Text, bindparam, literal_column, select, type_coerce

from core.models import Kind
from core.storage.database import Database
from core.storage.schema import Change, District, Plan, Run
from core.storage.stored import from_json
from sync.ledger import erasure
from sync.ledger.apply import chain_of, circumstances
from sync.ledger.directory import people_apart, schools_apart
from sync.ledger.draft import DIGEST_SIZE, Step, canonical, content_of
from sync.ledger.head import Head, is_held, lost, missing_districts
from sync.ledger.seal import with_effects


@dataclass(slots=True)
class DistrictReport:
    """The result of verifying one district's chain. ``problems`` name plans, never people."""

    district: str
    plans: int = 0
    changes: int = 0
    erased: int = 0
    serial: int = 0
    problems: list[str] = field(default_factory=list)
    people: list[dict[str, Any]] | None = None
    """In whom the ledger and the tables differ; None: not asked."""
    schools: list[dict[str, Any]] | None = None
    """In which schools they differ; None: not asked."""

    @property
    def intact(self) -> bool:
        """Nothing was found."""
        return not self.problems and not self.people and not self.schools

    def as_json(self) -> dict[str, Any]:
        """Return the report as the command line prints it."""
        return {
            "district": self.district, "intact": self.intact, "plans": self.plans,
            "changes": self.changes, "erased": self.erased, "serial": self.serial,
            "problems": self.problems,
            **({} if self.people is None else {"people": self.people}),
            **({} if self.schools is None else {"schools": self.schools}),
        }  # fmt: skip


def verify(
    database: Database,
    slug: str | None = None,
    *,
    directory: bool = False,
    heads: Mapping[str, Head] | None = None,
) -> dict[str, Any]:
    """Verify the chains of one district or of all: ``{"intact", "districts": [report…]}``.

    ``directory``: also rebuild people, schools and links from the ledger and name what differs.
    ``heads``: what the chains must still hold.
    """
    heads = heads or {}
    with database.read() as connection:
        rows = connection.execute(_DISTRICTS).all()
        reports = []
        for row in rows:
            if slug not in (None, row.slug):
                continue
            report = _verify_district(connection, row)
            if row.slug in heads and not is_held(connection, heads[row.slug]):
                report.problems.append(lost(heads[row.slug]))
            if directory:
                report.people = [one.as_json() for one in people_apart(connection, row.id)]
                report.schools = [one.as_json() for one in schools_apart(connection, row.id)]
            reports.append(report)
        if slug is None:
            reports += [
                DistrictReport(gone, problems=["the district is no longer there"])
                for gone in missing_districts(heads, [row.slug for row in rows])
            ]
    return {
        "intact": all(report.intact for report in reports),
        "districts": [report.as_json() for report in reports],
    }


def _verify_district(connection: Connection, district: Any) -> DistrictReport:
    report = DistrictReport(district.slug, serial=district.serial)
    chain, serial = b"", 0
    unexplained = erasure.unexplained(connection, district.id)
    for plan in connection.execute(_PLANS, {"district": district.id}).all():
        report.plans += 1
        digest, size, erased, altered = fold(connection, plan.id)
        report.changes += size
        report.erased += erased
        altered += unexplained.get(plan.id, 0)
        if altered:
            report.problems.append(f"P{plan.id}: {altered} changes are not what was applied")
        if digest != plan.digest or size != plan.size:
            report.problems.append(f"P{plan.id}: its changes are not the ones that were sealed")
        if plan.first_serial != serial + 1:
            report.problems.append(f"P{plan.id}: its serials do not follow the plan before")
        told = circumstances(
            plan.kind, plan.applied, plan.actor, plan.decided_by, plan.decided, bool(plan.approved)
        )
        stored, before = plan.chain or b"", chain
        chain = chain_of(before, plan.id, plan.digest, told)
        if chain != stored and chain_of(before, plan.id, plan.digest) == stored:
            chain = stored  # applied by a version whose chain did not hold who and when
        if chain != stored:
            report.problems.append(f"P{plan.id}: the chain is broken here")
            chain = plan.chain or b""
        serial = plan.first_serial + plan.size - 1
    report.problems += [
        f"P{plan_id}: what this purge erased is not what is left of it"
        for plan_id in erasure.broken_erasures(connection, district.id)
    ]
    if chain != district.chain:
        report.problems.append("the district does not end where its chain does")
    if serial != district.serial:
        report.problems.append("the district's serial is not the last applied change's")
    return report


def fold(connection: Connection, plan_id: int) -> tuple[bytes, int, int, int]:
    """Return a plan's digest, its size, how many contents were erased and how many altered."""
    digest, size, erased, altered = blake2b(digest_size=DIGEST_SIZE), 0, 0, 0
    for row in _changes(connection, plan_id):
        size += 1
        digest.update(row.digest)
        if row.salt is None and _is_empty(row):
            erased += 1
        elif row.salt is None or bytes(row.digest) != _digest(row):
            altered += 1
    effects = connection.execute(_EFFECTS, {"plan": plan_id}).scalar()
    if effects:
        return with_effects(digest.digest(), effects), size, erased, altered
    return digest.digest(), size, erased, altered


def _is_empty(row: Any) -> bool:
    """Say whether a change says nothing any more, as a purge leaves it."""
    return row.before is None and row.after is None and row.content_print is None


def _changes(connection: Connection, plan_id: int) -> Iterator[Any]:
    last = -1
    while rows := connection.execute(_SOME_CHANGES, {"plan": plan_id, "last": last}).all():
        yield from rows
        last = rows[-1].seq


def _digest(row: Any) -> bytes:
    step = Step(
        Kind(row.kind), row.action, row.target_id, row.revision, row.reason,
        record_id=row.record_id, record_version=row.record_version,
        role=row.role, school=row.school_id,
    )  # fmt: skip
    content = content_of(step, *(_canonical(v) for v in (row.before, row.after, row.basis)))
    return blake2b(bytes(row.salt) + content, digest_size=DIGEST_SIZE).digest()


def _canonical(value: Any) -> bytes:
    return canonical(from_json(value))


_DISTRICTS = select(District.id, District.slug, District.serial, District.chain).order_by(
    District.slug
)
_PLANS = (
    select(
        Plan.id,
        Plan.digest,
        Plan.size,
        Plan.first_serial,
        Plan.chain,
        Plan.kind,
        Plan.approved,
        Plan.decided_by,
        type_coerce(Plan.applied_at, String).label("applied"),
        type_coerce(Plan.decided_at, String).label("decided"),
        Run.actor,
    )
    .join_from(Plan.table, Run.table, Run.id == Plan.applied_run_id, isouter=True)
    .where(Plan.district_id == bindparam("district"), Plan.status == "applied")
    .order_by(Plan.first_serial)
)
_EFFECTS = select(Plan.effects).where(Plan.id == bindparam("plan"))
# As they are stored: of a change that was erased nothing needs to be decoded. The limit is part of
# the statement, so that PostgreSQL knows how few rows of a large plan it is asked for.
_SOME_CHANGES = (
    select(
        Change.seq,
        Change.kind,
        Change.action,
        Change.target_id,
        Change.revision,
        Change.record_id,
        Change.record_version,
        Change.role,
        Change.school_id,
        type_coerce(Change.before, Text),
        type_coerce(Change.after, Text),
        type_coerce(Change.basis, Text),
        Change.reason,
        Change.salt,
        Change.digest,
        Change.content_print,
    )
    .where(Change.plan_id == bindparam("plan"), Change.seq > bindparam("last"))
    .order_by(Change.seq)
    .limit(literal_column("5000"))
)
