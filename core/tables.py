"""The tables. Evidence is what sources said; the directory is what applied plans made of it.

``records``, ``parts``, ``snapshot_chunks`` and ``fetches`` are evidence: each fetch writes them.
``users``, ``memberships``, ``schools`` and ``links`` are the directory: ``sync/ledger/apply.py``
writes them, and nothing else does. ``plans`` and ``changes`` are the ledger: applied changes are
history. Tables do not validate; whatever is written here has been through a model of
``core/models.py``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from core.stored import UtcTime

BigId = BigInteger().with_variant(Integer(), "sqlite")
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _key(**options: Any) -> Any:
    return Field(default=None, sa_column=Column(BigId, primary_key=True, **options))


class District(SQLModel, table=True):
    """A tenant. ``serial`` counts its applied changes; ``chain`` is the hash of the last plan."""

    __tablename__ = "districts"

    id: int | None = _key(autoincrement=True)
    slug: str = Field(max_length=64, unique=True)
    name: str = Field(max_length=255)
    settings: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    serial: int = Field(default=0, sa_type=BigInteger)
    chain: bytes = Field(default=b"", sa_type=LargeBinary)
    season_state: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json))
    """What the calendar needs to remember: a pause by hand, the guard of the last return."""
    handled_due: datetime | None = Field(default=None, sa_type=UtcTime)
    """The last due time that the service took care of, or since when it watches the district."""
    told: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json))
    """What was last told of each topic, so that each change of state is told just once."""


class Source(SQLModel, table=True):
    """One configured connector of a district."""

    __tablename__ = "sources"
    __table_args__ = (UniqueConstraint("district_id", "name"),)

    id: int | None = _key(autoincrement=True)
    district_id: int = Field(sa_column=Column(BigId, ForeignKey("districts.id"), nullable=False))
    name: str = Field(max_length=64)
    connector: str = Field(max_length=64)
    precedence: int
    config: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    """As in the district file: secrets are references (``env:NAME``), never the secret itself."""
    mapping: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
    keep_when_missing: list[str] = Field(
        default_factory=list, sa_column=Column(Json, nullable=False)
    )
    """Profile fields that stay as they are when this source stops saying them (AC6)."""
    own_numbers: list[str] = Field(
        default_factory=list,
        sa_column=Column(Json, nullable=False, server_default=text("'[]'")),
    )
    """Numbers of this source's own scheme: they say nothing about who somebody is elsewhere."""
    configured: bool = True
    """False: no longer in the district file. It changes nobody until it is retired (F10)."""
    retired: bool = False
    vendor_district: str | None = Field(default=None, max_length=255)
    """The vendor's own district id, bound at the first sync (L9)."""
    settings_print: bytes | None = Field(default=None, sa_type=LargeBinary)
    """Fingerprint of connector version, mapping and filters of the last complete fetch."""
    evidence_serial: int = Field(default=0, sa_type=BigInteger)
    snapshot_serial: int | None = Field(default=None, sa_type=BigInteger)
    """The evidence serial at which the vendor-order snapshot was written; else it is stale."""
    complete_at: datetime | None = Field(default=None, sa_type=UtcTime)
    """When the last complete fetch was kept."""
    full_at: datetime | None = Field(default=None, sa_type=UtcTime)
    established: bool = False
    """A complete fetch of this source has been applied: L6 counts from here on."""
    revision: str | None = Field(default=None, max_length=255)
    cursor: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    vendor_state: str | None = Field(default=None, max_length=64)
    vendor_time: datetime | None = Field(default=None, sa_type=UtcTime)
    health: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json))
    """Failures in a row and what follows from them."""


class Record(SQLModel, table=True):
    """Evidence: what a source last said about one entry. ``version`` moves with it (P2)."""

    __tablename__ = "records"
    __table_args__ = (
        UniqueConstraint("source_id", "kind", "external_id", name="uq_records_key"),
        Index("ix_records_email", "email"),
        Index(
            "ix_records_person",
            "source_id",
            "person_key",
            sqlite_where=text("person_key IS NOT NULL"),
            postgresql_where=text("person_key IS NOT NULL"),
        ),
    )

    id: int | None = _key(autoincrement=True)
    source_id: int = Field(sa_column=Column(BigId, nullable=False))
    kind: str = Field(max_length=8)
    external_id: str = Field(max_length=512)
    raw_print: bytes | None = Field(default=None, sa_type=LargeBinary)
    """Keyed fingerprint of raw bytes whose normalisation is ``data``."""
    gist_print: bytes | None = Field(default=None, sa_type=LargeBinary)
    """Keyed fingerprint of what the connector reads of such raw bytes, where it can tell."""
    norm_print: bytes = Field(sa_type=LargeBinary)
    data: str = Field(sa_type=Text)
    """The normalised entry as JSON, in the shape of the model of its kind."""
    version: int = 1
    present: bool = True
    in_scope: bool = True
    suspect: bool = False
    absent_since: datetime | None = Field(default=None, sa_type=UtcTime)
    absent_fetches: int = 0
    email: str | None = Field(default=None, max_length=1024)
    person_key: str | None = Field(default=None, max_length=1024)
    roles: str = Field(default="", max_length=64)
    """Role words between commas (``,student,``), to scope a fetch by role (F6)."""


class OpenRecord(SQLModel, table=True):
    """Evidence that moved, or must be looked at again, until it is settled."""

    __tablename__ = "open_records"
    __table_args__ = (Index("ix_open_records", "source_id", "kind"),)

    record_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    source_id: int = Field(sa_column=Column(BigId, nullable=False))
    kind: str = Field(max_length=8)
    cause: str | None = Field(default=None, max_length=32)
    """Why the evidence moved, where it was not the vendor: ``settings``, ``shrunk_role`` …"""


class Part(SQLModel, table=True):
    """Evidence: one row of an entry that is joined from several rows."""

    __tablename__ = "parts"
    __table_args__ = (Index("ix_parts_owner", "source_id", "owner"),)

    source_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    stream: str = Field(max_length=32, primary_key=True)
    key: str = Field(max_length=512, primary_key=True)
    owner: str = Field(max_length=512)
    raw_print: bytes | None = Field(default=None, sa_type=LargeBinary)
    gist_print: bytes | None = Field(default=None, sa_type=LargeBinary)
    data: str = Field(sa_type=Text)


class SnapshotChunk(SQLModel, table=True):
    """The order in which a vendor last served a stream: a cache, page by page.

    ``prints`` joins the 16-byte fingerprints of the page's raw records, ``keys`` their ids (NUL
    between them). ``spans`` has the sizes and fingerprints of stretches of a few rows; a page
    without has one of the whole, ``digest``, when it may be trusted whole.
    """

    __tablename__ = "snapshot_chunks"

    source_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    stream: str = Field(max_length=32, primary_key=True)
    position: int = Field(primary_key=True)
    digest: bytes | None = Field(default=None, sa_type=LargeBinary)
    count: int
    prints: bytes = Field(sa_type=LargeBinary)
    keys: bytes = Field(sa_type=LargeBinary)
    spans: bytes | None = Field(default=None, sa_type=LargeBinary)


class Touched(SQLModel, table=True):
    """Keys whose evidence moved after the snapshot was written: it must not vouch for them."""

    __tablename__ = "touched"

    source_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    stream: str = Field(max_length=32, primary_key=True)
    key: str = Field(max_length=512, primary_key=True)


class User(SQLModel, table=True):
    """The directory: a person as applied plans made them. ``revision`` moves with every change."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'suspended', 'archived')", name="ck_users_status"),
        CheckConstraint("origin IN ('sync', 'file', 'manual')", name="ck_users_origin"),
        Index("ix_users_district", "district_id", "status"),
        Index("ix_users_email", "district_id", "email_folded"),
        *(  # a newcomer is looked up by each number, not compared with everybody
            Index(
                f"ix_users_{name}",
                "district_id",
                name,
                sqlite_where=text(f"{name} IS NOT NULL"),
                postgresql_where=text(f"{name} IS NOT NULL"),
            )
            for name in ("sis_id", "student_number", "state_id", "staff_number", "crd_id")
        ),
    )

    id: str = Field(max_length=32, primary_key=True)
    district_id: int = Field(sa_column=Column(BigId, nullable=False))
    status: str = Field(max_length=16)
    origin: str = Field(max_length=8)
    revision: int = 1
    protected: bool = False
    kept_archived: bool = False
    """Archived by hand to stay so, until ``kept_until`` if given (I2)."""
    kept_until: str | None = Field(default=None, max_length=10)
    """A local date of the district, YYYY-MM-DD."""
    locked_fields: list[str] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    given_name: str | None = Field(default=None, max_length=1024)
    middle_name: str | None = Field(default=None, max_length=1024)
    family_name: str | None = Field(default=None, max_length=1024)
    preferred_given_name: str | None = Field(default=None, max_length=1024)
    preferred_middle_name: str | None = Field(default=None, max_length=1024)
    preferred_family_name: str | None = Field(default=None, max_length=1024)
    email: str | None = Field(default=None, max_length=1024)
    email_folded: str | None = Field(default=None, max_length=1024)
    username: str | None = Field(default=None, max_length=1024)
    grade: str | None = Field(default=None, max_length=8)
    graduation_year: int | None = None
    sis_id: str | None = Field(default=None, max_length=1024)
    student_number: str | None = Field(default=None, max_length=1024)
    state_id: str | None = Field(default=None, max_length=1024)
    staff_number: str | None = Field(default=None, max_length=1024)
    crd_id: str | None = Field(default=None, max_length=1024)
    created_at: datetime = Field(sa_type=UtcTime)
    archived_at: datetime | None = Field(default=None, sa_type=UtcTime)
    hand_at: datetime | None = Field(default=None, sa_type=UtcTime)
    """When a person last acted on this user (I6)."""
    merged_into: str | None = Field(default=None, max_length=32)
    """The user whom this one turned out to be: archived, and nobody's match any more."""


class Membership(SQLModel, table=True):
    """The directory: a user's role at one school; ``school_id`` is empty where there is none."""

    __tablename__ = "memberships"
    __table_args__ = (Index("ix_memberships_school", "school_id", "role"),)

    user_id: str = Field(max_length=32, primary_key=True)
    role: str = Field(max_length=16, primary_key=True)
    school_id: str = Field(default="", max_length=32, primary_key=True)
    is_primary: bool = False


class School(SQLModel, table=True):
    """The directory: one school of a district."""

    __tablename__ = "schools"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'archived')", name="ck_schools_status"),
        Index("ix_schools_district", "district_id"),
    )

    id: str = Field(max_length=32, primary_key=True)
    district_id: int = Field(sa_column=Column(BigId, nullable=False))
    status: str = Field(max_length=16)
    revision: int = 1
    name: str = Field(max_length=1024)
    nces_id: str | None = Field(default=None, max_length=1024)
    state_id: str | None = Field(default=None, max_length=1024)
    number: str | None = Field(default=None, max_length=1024)


class Link(SQLModel, table=True):
    """The directory: record → user or school. ``held`` ends when its absence was applied."""

    __tablename__ = "links"
    __table_args__ = (Index("ix_links_target", "target_id"),)

    record_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    target_id: str = Field(max_length=32)
    held: bool = True


class Run(SQLModel, table=True):
    """One run of a district: a sync, a dry plan, an apply, a hand act."""

    __tablename__ = "runs"
    __table_args__ = (Index("ix_runs_district", "district_id", "id"),)

    id: int | None = _key(autoincrement=True)
    district_id: int = Field(sa_column=Column(BigId, ForeignKey("districts.id"), nullable=False))
    kind: str = Field(max_length=16)
    status: str = Field(max_length=16)
    actor: str = Field(max_length=255)
    started_at: datetime = Field(sa_type=UtcTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcTime)
    error: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))


class Fetch(SQLModel, table=True):
    """Evidence: one reading of a source, with its certificate and what the engine counted."""

    __tablename__ = "fetches"
    __table_args__ = (Index("ix_fetches_run", "run_id"), Index("ix_fetches_source", "source_id"))

    id: int | None = _key(autoincrement=True)
    run_id: int = Field(sa_column=Column(BigId, nullable=False))
    source_id: int = Field(sa_column=Column(BigId, nullable=False))
    at: datetime = Field(sa_type=UtcTime)
    complete: bool
    certificate: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))


class Finding(SQLModel, table=True):
    """A row that could not be used, by file and line; no value of the row is kept."""

    __tablename__ = "findings"

    fetch_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    seq: int = Field(primary_key=True)
    stream: str = Field(max_length=32)
    file: str | None = Field(default=None, max_length=512)
    line: int | None = None
    column: str = Field(default="", max_length=255)
    rule: str = Field(max_length=64)
    message: str = Field(sa_type=Text)
    hint: str = Field(default="", sa_type=Text)


class Plan(SQLModel, table=True):
    """A sealed list of changes. Applied plans of a district form a hash chain."""

    __tablename__ = "plans"
    __table_args__ = (
        CheckConstraint(
            "status IN ('draft', 'planned', 'held', 'approved', 'applied', 'rejected',"
            " 'superseded', 'expired', 'drifted')",
            name="ck_plans_status",
        ),
        Index(
            "uq_plans_standing",
            "district_id",
            unique=True,
            sqlite_where=text("standing"),
            postgresql_where=text("standing"),
        ),
        Index("ix_plans_district", "district_id", "first_serial"),
    )

    id: int | None = _key(autoincrement=True)
    district_id: int = Field(sa_column=Column(BigId, ForeignKey("districts.id"), nullable=False))
    run_id: int = Field(sa_column=Column(BigId, nullable=False))
    kind: str = Field(max_length=16)
    status: str = Field(max_length=16)
    standing: bool = False
    """The district's one held plan; the database allows no second."""
    digest: bytes = Field(default=b"", sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcTime)
    base_serial: int = Field(sa_type=BigInteger)
    season: str = Field(default="normal", max_length=16)
    guarded: bool = False
    counts: dict[str, int] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
    schools: dict[str, int] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
    held: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    certificates: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(Json, nullable=False)
    )
    establishes: list[int] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    """Sources whose first complete fetch this plan applies (L6)."""
    additions: dict[str, int] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
    """Source id → people created or restored by this plan (L6)."""
    effects: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    """What applying it does beside its changes (a source is retired …); the digest covers it."""
    superseded_by: int | None = Field(default=None, sa_type=BigInteger)
    approved: bool = False
    decided_by: str | None = Field(default=None, max_length=255)
    decided_at: datetime | None = Field(default=None, sa_type=UtcTime)
    decision_reason: str | None = Field(default=None, sa_type=Text)
    applied_at: datetime | None = Field(default=None, sa_type=UtcTime)
    applied_run_id: int | None = Field(default=None, sa_type=BigInteger)
    first_serial: int | None = Field(default=None, sa_type=BigInteger)
    """The serial of the change with seq 0; a change's serial is ``first_serial + seq``."""
    size: int = 0
    chain: bytes | None = Field(default=None, sa_type=LargeBinary)


class Change(SQLModel, table=True):
    """One step of a plan, with its preconditions. Of an applied plan it is the ledger's line."""

    __tablename__ = "changes"
    __table_args__ = (Index("ix_changes_target", "target_id"),)

    plan_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    seq: int = Field(primary_key=True)
    kind: str = Field(max_length=8)
    action: str = Field(max_length=16)
    target_id: str = Field(max_length=32)
    revision: int | None = None
    """The revision the target must have; None: it must not exist yet."""
    record_id: int | None = Field(default=None, sa_type=BigInteger)
    record_version: int | None = None
    role: str | None = Field(default=None, max_length=16)
    school_id: str | None = Field(default=None, max_length=32)
    before: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    after: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    basis: list[list[int | None]] | None = Field(default=None, sa_column=Column(Json))
    """The person's records this rests on, on their first change: ``[record id, version, held,
    settles]`` each. ``held`` 1 or 0 is what the link becomes, null leaves it; ``settles`` 1 closes
    the record once applied, 0 keeps it open. A create or link names its record in ``record_id``
    instead."""
    reason: str = Field(max_length=64)
    salt: bytes | None = Field(default=None, sa_type=LargeBinary)
    digest: bytes = Field(sa_type=LargeBinary)
    """Digest of salt and content: what the plan's digest and the chain are made of."""
    content_print: bytes | None = Field(default=None, sa_type=LargeBinary)
    """Keyed fingerprint of the content alone: the same step in two plans has the same."""


class Taking(SQLModel, table=True):
    """What a plan takes away from one person, counted by the limits (L1, L2)."""

    __tablename__ = "takings"
    __table_args__ = (Index("ix_takings_source", "source_id"),)

    plan_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    target_id: str = Field(max_length=32, primary_key=True)
    source_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    school_id: str = Field(default="", max_length=32, primary_key=True)
    role: str = Field(default="", max_length=16, primary_key=True)
    what: str = Field(max_length=16)
    explained: bool = False
    guarded: bool = False
    """Held by the guard of a first run after a pause: it stays held until somebody decides."""


class PlanGroup(SQLModel, table=True):
    """How many changes of one kind, school and role a large plan has, and where the first stand."""

    __tablename__ = "plan_groups"

    plan_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    kind: str = Field(max_length=8, primary_key=True)
    action: str = Field(max_length=16, primary_key=True)
    school_id: str = Field(default="", max_length=32, primary_key=True)
    role: str = Field(default="", max_length=16, primary_key=True)
    changes: int
    first: list[int] = Field(default_factory=list, sa_column=Column(Json, nullable=False))
    """The seqs of its first changes."""


class Pupil(SQLModel, table=True):
    """Who was a student where, and in which grade, before the pause that a school returns from.

    Kept from the first guarded run until no school waits for its rollover any more (S4).
    """

    __tablename__ = "pupils"

    district_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    user_id: str = Field(max_length=32, primary_key=True)
    school_id: str = Field(max_length=32, primary_key=True)
    grade: str | None = Field(default=None, max_length=8)


class Census(SQLModel, table=True):
    """How many active people a source holds in a group, from one applied plan on (L3)."""

    __tablename__ = "census"

    source_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    scope: str = Field(max_length=16, primary_key=True)
    school_id: str = Field(default="", max_length=32, primary_key=True)
    role: str = Field(default="", max_length=16, primary_key=True)
    plan_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    since: datetime = Field(sa_type=UtcTime)
    people: int


class Conflict(SQLModel, table=True):
    """Something that a person must decide: whose record this is."""

    __tablename__ = "conflicts"
    __table_args__ = (
        Index("ix_conflicts_district", "district_id", "status"),
        Index("ix_conflicts_record", "record_id"),
    )

    id: int | None = _key(autoincrement=True)
    district_id: int = Field(sa_column=Column(BigId, nullable=False))
    kind: str = Field(max_length=8)
    record_id: int = Field(sa_column=Column(BigId, nullable=False))
    candidates: list[dict[str, Any]] = Field(sa_column=Column(Json, nullable=False))
    """Each ``{"id", "evidence": [slugs]}``."""
    reason: str = Field(max_length=64)
    status: str = Field(default="open", max_length=16)
    """``open``, ``resolved`` (``decision`` says how) or ``gone``."""
    decision: str | None = Field(default=None, max_length=64)
    decided_by: str | None = Field(default=None, max_length=255)
    decided_at: datetime | None = Field(default=None, sa_type=UtcTime)
    created_at: datetime = Field(sa_type=UtcTime)


class Rejection(SQLModel, table=True):
    """A refused change, remembered by its content until its evidence changes (P4)."""

    __tablename__ = "rejections"

    district_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    content_print: bytes = Field(sa_type=LargeBinary, primary_key=True)
    target_id: str = Field(max_length=32)
    plan_id: int = Field(sa_column=Column(BigId, nullable=False))


class Undone(SQLModel, table=True):
    """Evidence whose effect a person has undone: redoing it is held once (P8).

    It counts while the record has this version and is open.
    """

    __tablename__ = "undone"

    record_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    district_id: int = Field(sa_column=Column(BigId, nullable=False))
    version: int
    plan_id: int = Field(sa_column=Column(BigId, nullable=False))
    """The plan that undid it."""


class DomainAlias(SQLModel, table=True):
    """An old email domain of a district: for matching its addresses are those of the new one."""

    __tablename__ = "domain_aliases"

    district_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    old: str = Field(max_length=255, primary_key=True)
    new: str = Field(max_length=255)
    plan_id: int = Field(sa_column=Column(BigId, nullable=False))


class NotSame(SQLModel, table=True):
    """Two users of whom a person said that they are two people; ``one`` is the smaller id."""

    __tablename__ = "not_same"

    one: str = Field(max_length=32, primary_key=True)
    other: str = Field(max_length=32, primary_key=True)
    district_id: int = Field(sa_column=Column(BigId, nullable=False))
    decided_by: str = Field(max_length=255)
    decided_at: datetime = Field(sa_type=UtcTime)


class Upload(SQLModel, table=True):
    """A file that a person gave us, and what became of it (file-rules.md 4)."""

    __tablename__ = "uploads"
    __table_args__ = (
        CheckConstraint(
            "status IN ('PENDING', 'QUEUED', 'PROCESSING', 'PROCESSED', 'FAILED')",
            name="ck_uploads_status",
        ),
        Index("ix_uploads_district", "district_id", "status"),
    )

    id: int | None = _key(autoincrement=True)
    district_id: int = Field(sa_column=Column(BigId, ForeignKey("districts.id"), nullable=False))
    source_id: int | None = Field(default=None, sa_type=BigInteger)
    title: str = Field(max_length=255)
    """The name of the file, as it was given."""
    type: str | None = Field(default=None, max_length=64)
    """The connector whose file it is, found from its headers."""
    actor: str = Field(max_length=255)
    created_at: datetime = Field(sa_type=UtcTime)
    modified_at: datetime = Field(sa_type=UtcTime)
    content_hash: str = Field(max_length=64)
    size: int = Field(sa_type=BigInteger)
    status: str = Field(max_length=16)
    scope: str = Field(default="", max_length=255)
    """The roles it speaks for, between commas; of equal scopes the newest is read (S1)."""
    dry: bool = False
    """Given to be looked at: what it says counts only once its plan is applied."""
    counts: dict[str, int] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
    note: str = Field(default="", sa_type=Text)
    run_id: int | None = Field(default=None, sa_type=BigInteger)
    plan_id: int | None = Field(default=None, sa_type=BigInteger)
    original: bytes | None = Field(default=None, sa_type=LargeBinary)
    """The file, encrypted with the installation's key, until ``kept_until``."""
    kept_until: datetime | None = Field(default=None, sa_type=UtcTime)


class FlexDelivery(SQLModel, table=True):
    """Where the FINRA FLEX delivery of a firm stands (file-rules.md 11.3); no row: Provisioning."""

    __tablename__ = "flex_deliveries"

    district_id: int = Field(sa_column=Column(BigId, primary_key=True, autoincrement=False))
    status: str = Field(max_length=16)
    changed_by: str = Field(max_length=255)
    changed_at: datetime = Field(sa_type=UtcTime)


class FlexRequest(SQLModel, table=True):
    """A change that the firm asks the help desk for, after its one upload (file-rules.md 11.6)."""

    __tablename__ = "flex_requests"
    __table_args__ = (
        CheckConstraint("status IN ('open', 'confirmed')", name="ck_flex_requests_status"),
        Index("ix_flex_requests_district", "district_id", "status"),
    )

    id: int | None = _key(autoincrement=True)
    district_id: int = Field(sa_column=Column(BigId, ForeignKey("districts.id"), nullable=False))
    kind: str = Field(max_length=8)
    """``add``, ``remove`` or ``update``."""
    crd_id: str = Field(max_length=32)
    fields: dict[str, str] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
    status: str = Field(default="open", max_length=16)
    actor: str = Field(max_length=255)
    created_at: datetime = Field(sa_type=UtcTime)
    confirmed_by: str | None = Field(default=None, max_length=255)
    confirmed_at: datetime | None = Field(default=None, sa_type=UtcTime)
    plan_id: int | None = Field(default=None, sa_type=BigInteger)
