"""The tables, each said once. Evidence is what sources said, the directory what plans made of it.

``records``, ``parts``, ``snapshot_chunks`` and ``fetches`` are evidence: each fetch writes them.
``users``, ``memberships``, ``schools`` and ``links`` are the directory: an applied plan writes
them, and nothing else does. ``plans`` and ``changes`` are the ledger: applied changes are history.
Tables do not validate; whatever is written here has been through a model of ``core/models.py``.

A column that is added here is a column everywhere: in statements, in the objects that rows are read
into, in ``core/storage/tables.py`` and in what a migration is compared with. It needs its migration
beside it (``core/migrations/versions``). The file is long because it is a list: a table is looked
up here.

One file, because it is one list: every table, each said once.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)

from core.storage.columns import BigId, Json, Row, Stored, optional, required, row_id
from core.storage.stored import UtcTime


class District(Row, name="districts"):
    """A tenant. ``serial`` counts its applied changes; ``chain`` is the hash of the last plan."""

    id = row_id()
    slug = required(String(64), unique=True)
    name = required(String(255))
    settings: Stored[dict[str, Any]] = required(Json())
    serial = required(BigInteger(), default=0)
    chain = required(LargeBinary(), default=b"")
    season_state: Stored[dict[str, Any] | None] = optional(Json(), default=dict)
    """What the calendar needs to remember: a pause by hand, the guard of the last return."""
    handled_due = optional(UtcTime())
    """The last due time that the service took care of, or since when it watches the district."""
    told: Stored[dict[str, Any] | None] = optional(Json(), default=dict)
    """What was last told of each topic, so that each change of state is told just once."""
    look_alikes = optional(Integer())
    """How many pairs of users look like one person, when they were last counted; None: never."""
    look_alikes_counted: Stored[dict[str, Any] | None] = optional(Json())
    """Of that count: its time, the ``serial`` then, and the serial from which it is taken anew."""


class Source(Row, name="sources", extras=lambda: [UniqueConstraint("district_id", "name")]):
    """One configured connector of a district."""

    id = row_id()
    district_id = required(BigId, ForeignKey("districts.id"))
    name = required(String(64))
    connector = required(String(64))
    precedence = required(Integer())
    config: Stored[dict[str, Any]] = required(Json())
    """As in the district file: secrets are references (``env:NAME``), never the secret itself."""
    mapping: Stored[dict[str, Any]] = required(Json(), default=dict)
    keep_when_missing: Stored[list[str]] = required(Json(), default=list)
    """Profile fields that stay as they are when this source stops saying them (AC6)."""
    own_numbers: Stored[list[str]] = required(Json(), default=list, server_default=text("'[]'"))
    """Numbers of this source's own scheme: they say nothing about who somebody is elsewhere."""
    configured = required(Boolean(), default=True)
    """False: no longer in the district file. It changes nobody until it is retired (F10)."""
    retired = required(Boolean(), default=False)
    vendor_district = optional(String(255))
    """The vendor's own district id, bound at the first sync (L9)."""
    settings_print = optional(LargeBinary())
    """Fingerprint of connector version, mapping and filters of the last complete fetch."""
    evidence_serial = required(BigInteger(), default=0)
    snapshot_serial = optional(BigInteger())
    """The evidence serial at which the vendor-order snapshot was written; else it is stale."""
    complete_at = optional(UtcTime())
    """When the last complete fetch was kept."""
    full_at = optional(UtcTime())
    established = required(Boolean(), default=False)
    """A complete fetch of this source has been applied: L6 counts from here on."""
    revision = optional(String(255))
    cursor: Stored[dict[str, Any] | None] = optional(Json())
    vendor_state = optional(String(64))
    vendor_time = optional(UtcTime())
    health: Stored[dict[str, Any] | None] = optional(Json(), default=dict)
    """Failures in a row and what follows from them."""


class Record(
    Row,
    name="records",
    extras=lambda: [
        UniqueConstraint("source_id", "kind", "external_id", name="uq_records_key"),
        Index("ix_records_email", "email"),
        Index(
            "ix_records_person",
            "source_id",
            "person_key",
            sqlite_where=text("person_key IS NOT NULL"),
            postgresql_where=text("person_key IS NOT NULL"),
        ),
    ],
):
    """Evidence: what a source last said about one entry. ``version`` moves with it (P2)."""

    id = row_id()
    source_id = required(BigId)
    kind = required(String(8))
    external_id = required(String(512))
    raw_print = optional(LargeBinary())
    """Keyed fingerprint of raw bytes whose normalisation is ``data``."""
    gist_print = optional(LargeBinary())
    """Keyed fingerprint of what the connector reads of such raw bytes, where it can tell."""
    norm_print = required(LargeBinary())
    data = required(Text())
    """The normalised entry as JSON, in the shape of the model of its kind."""
    version = required(Integer(), default=1)
    present = required(Boolean(), default=True)
    in_scope = required(Boolean(), default=True)
    suspect = required(Boolean(), default=False)
    absent_since = optional(UtcTime())
    absent_fetches = required(Integer(), default=0)
    email = optional(String(1024))
    person_key = optional(String(1024))
    roles = required(String(64), default="")
    """Role words between commas (``,student,``), to scope a fetch by role (F6)."""


class OpenRecord(
    Row, name="open_records", extras=lambda: [Index("ix_open_records", "source_id", "kind")]
):
    """Evidence that moved, or must be looked at again, until it is settled."""

    record_id = required(BigId, primary_key=True)
    source_id = required(BigId)
    kind = required(String(8))
    cause = optional(String(32))
    """Why the evidence moved, where it was not the vendor: ``settings``, ``shrunk_role`` …"""


class Part(Row, name="parts", extras=lambda: [Index("ix_parts_owner", "source_id", "owner")]):
    """Evidence: one row of an entry that is joined from several rows."""

    source_id = required(BigId, primary_key=True)
    stream = required(String(32), primary_key=True)
    key = required(String(512), primary_key=True)
    owner = required(String(512))
    raw_print = optional(LargeBinary())
    gist_print = optional(LargeBinary())
    data = required(Text())


class SnapshotChunk(Row, name="snapshot_chunks"):
    """The order in which a vendor last served a stream: a cache, page by page.

    ``prints`` joins the 16-byte fingerprints of the page's raw records, ``keys`` their ids (NUL
    between them). ``spans`` has the sizes and fingerprints of stretches of a few rows; a page
    without has one of the whole, ``digest``, when it may be trusted whole.
    """

    source_id = required(BigId, primary_key=True)
    stream = required(String(32), primary_key=True)
    position = required(Integer(), primary_key=True)
    digest = optional(LargeBinary())
    count = required(Integer())
    prints = required(LargeBinary())
    keys = required(LargeBinary())
    spans = optional(LargeBinary())


class Touched(Row, name="touched"):
    """Keys whose evidence moved after the snapshot was written: it must not vouch for them."""

    source_id = required(BigId, primary_key=True)
    stream = required(String(32), primary_key=True)
    key = required(String(512), primary_key=True)


class User(
    Row,
    name="users",
    extras=lambda: [
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
    ],
):
    """The directory: a person as applied plans made them. ``revision`` moves with every change."""

    id = required(String(32), primary_key=True)
    district_id = required(BigId)
    status = required(String(16))
    origin = required(String(8))
    revision = required(Integer(), default=1)
    protected = required(Boolean(), default=False)
    kept_archived = required(Boolean(), default=False)
    """Archived by hand to stay so, until ``kept_until`` if given (I2)."""
    kept_until = optional(String(10))
    """A local date of the district, YYYY-MM-DD."""
    locked_fields: Stored[list[str]] = required(Json(), default=list)
    given_name = optional(String(1024))
    middle_name = optional(String(1024))
    family_name = optional(String(1024))
    preferred_given_name = optional(String(1024))
    preferred_middle_name = optional(String(1024))
    preferred_family_name = optional(String(1024))
    email = optional(String(1024))
    email_folded = optional(String(1024))
    username = optional(String(1024))
    grade = optional(String(8))
    graduation_year = optional(Integer())
    sis_id = optional(String(1024))
    student_number = optional(String(1024))
    state_id = optional(String(1024))
    staff_number = optional(String(1024))
    crd_id = optional(String(1024))
    created_at = required(UtcTime())
    archived_at = optional(UtcTime())
    hand_at = optional(UtcTime())
    """When a person last acted on this user (I6)."""
    merged_into = optional(String(32))
    """The user whom this one turned out to be: archived, and nobody's match any more."""


class Membership(
    Row, name="memberships", extras=lambda: [Index("ix_memberships_school", "school_id", "role")]
):
    """The directory: a user's role at one school; ``school_id`` is empty where there is none."""

    user_id = required(String(32), primary_key=True)
    role = required(String(16), primary_key=True)
    school_id = required(String(32), primary_key=True, default="")
    is_primary = required(Boolean(), default=False)


class School(
    Row,
    name="schools",
    extras=lambda: [
        CheckConstraint("status IN ('active', 'archived')", name="ck_schools_status"),
        Index("ix_schools_district", "district_id"),
    ],
):
    """The directory: one school of a district."""

    id = required(String(32), primary_key=True)
    district_id = required(BigId)
    status = required(String(16))
    revision = required(Integer(), default=1)
    name = required(String(1024))
    nces_id = optional(String(1024))
    state_id = optional(String(1024))
    number = optional(String(1024))


class Link(Row, name="links", extras=lambda: [Index("ix_links_target", "target_id")]):
    """The directory: record → user or school. ``held`` ends when its absence was applied."""

    record_id = required(BigId, primary_key=True)
    target_id = required(String(32))
    held = required(Boolean(), default=True)


class Run(Row, name="runs", extras=lambda: [Index("ix_runs_district", "district_id", "id")]):
    """One run of a district: a sync, a dry plan, an apply, a hand act."""

    id = row_id()
    district_id = required(BigId, ForeignKey("districts.id"))
    kind = required(String(16))
    status = required(String(16))
    actor = required(String(255))
    started_at = required(UtcTime())
    finished_at = optional(UtcTime())
    error: Stored[dict[str, Any] | None] = optional(Json())


class Fetch(
    Row,
    name="fetches",
    extras=lambda: [Index("ix_fetches_run", "run_id"), Index("ix_fetches_source", "source_id")],
):
    """Evidence: one reading of a source, with its certificate and what the engine counted."""

    id = row_id()
    run_id = required(BigId)
    source_id = required(BigId)
    at = required(UtcTime())
    complete = required(Boolean())
    certificate: Stored[dict[str, Any]] = required(Json())


class Finding(Row, name="findings"):
    """One fault of a row, by file and line or by a server's id; no value of the row is kept."""

    fetch_id = required(BigId, primary_key=True)
    seq = required(Integer(), primary_key=True)
    stream = required(String(32))
    file = optional(String(512))
    line = optional(Integer())
    external_id = optional(String(512))
    """The id of a record that has no line, because a server sent it."""
    left_out = required(Boolean(), default=False, server_default=text("false"))
    """Only a value of the row was left out; the row itself is used."""
    column = required(String(255), default="")
    rule = required(String(64))
    message = required(Text())
    hint = required(Text(), default="")


class Plan(
    Row,
    name="plans",
    extras=lambda: [
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
    ],
):
    """A sealed list of changes. Applied plans of a district form a hash chain."""

    id = row_id()
    district_id = required(BigId, ForeignKey("districts.id"))
    run_id = required(BigId)
    kind = required(String(16))
    status = required(String(16))
    standing = required(Boolean(), default=False)
    """The district's one held plan; the database allows no second."""
    digest = required(LargeBinary(), default=b"")
    created_at = required(UtcTime())
    expires_at = optional(UtcTime())
    base_serial = required(BigInteger())
    season = required(String(16), default="normal")
    guarded = required(Boolean(), default=False)
    counts: Stored[dict[str, int]] = required(Json(), default=dict)
    schools: Stored[dict[str, int]] = required(Json(), default=dict)
    held: Stored[list[dict[str, Any]]] = required(Json(), default=list)
    certificates: Stored[dict[str, Any]] = required(Json(), default=dict)
    establishes: Stored[list[int]] = required(Json(), default=list)
    """Sources whose first complete fetch this plan applies (L6)."""
    additions: Stored[dict[str, int]] = required(Json(), default=dict)
    """Source id → people created or restored by this plan (L6)."""
    effects: Stored[dict[str, Any] | None] = optional(Json())
    """What applying it does beside its changes (a source is retired …); the digest covers it."""
    superseded_by = optional(BigInteger())
    approved = required(Boolean(), default=False)
    decided_by = optional(String(255))
    decided_at = optional(UtcTime())
    decision_reason = optional(Text())
    applied_at = optional(UtcTime())
    applied_run_id = optional(BigInteger())
    first_serial = optional(BigInteger())
    """The serial of the change with seq 0; a change's serial is ``first_serial + seq``."""
    size = required(Integer(), default=0)
    chain = optional(LargeBinary())


class Change(Row, name="changes", extras=lambda: [Index("ix_changes_target", "target_id")]):
    """One step of a plan, with its preconditions. Of an applied plan it is the ledger's line."""

    plan_id = required(BigId, primary_key=True)
    seq = required(Integer(), primary_key=True)
    kind = required(String(8))
    action = required(String(16))
    target_id = required(String(32))
    revision = optional(Integer())
    """The revision the target must have; None: it must not exist yet."""
    record_id = optional(BigInteger())
    record_version = optional(Integer())
    role = optional(String(16))
    school_id = optional(String(32))
    before: Stored[dict[str, Any] | None] = optional(Json())
    after: Stored[dict[str, Any] | None] = optional(Json())
    basis: Stored[list[list[int | None]] | None] = optional(Json())
    """The person's records this rests on, on their first change: ``[record id, version, held,
    settles]`` each. ``held`` 1 or 0 is what the link becomes, null leaves it; ``settles`` 1 closes
    the record once applied, 0 keeps it open. A create or link names its record in ``record_id``
    instead."""
    reason = required(String(64))
    salt = optional(LargeBinary())
    digest = required(LargeBinary())
    """Digest of salt and content: what the plan's digest and the chain are made of."""
    content_print = optional(LargeBinary())
    """Keyed fingerprint of the content alone: the same step in two plans has the same."""


class Taking(Row, name="takings", extras=lambda: [Index("ix_takings_source", "source_id")]):
    """What a plan takes away from one person, counted by the limits (L1, L2)."""

    plan_id = required(BigId, primary_key=True)
    target_id = required(String(32), primary_key=True)
    source_id = required(BigId, primary_key=True)
    school_id = required(String(32), primary_key=True, default="")
    role = required(String(16), primary_key=True, default="")
    what = required(String(16))
    explained = required(Boolean(), default=False)
    guarded = required(Boolean(), default=False)
    """Held by the guard of a first run after a pause: it stays held until somebody decides."""


class KeptSuspicion(
    Row, name="suspicions", extras=lambda: [Index("ix_suspicions_source", "source_id", "kind")]
):
    """What a plan does to one person that is odd once it happens to many (L10)."""

    plan_id = required(BigId, primary_key=True)
    target_id = required(String(32), primary_key=True)
    source_id = required(BigId, primary_key=True)
    kind = required(String(16), primary_key=True)
    about = required(String(255), primary_key=True, default="")
    """The field that was emptied, the new domain, or a school that was left or joined."""


class WaitingPerson(Row, name="waiting_people"):
    """Somebody whose change waits until their school has rolled over (S6), as a run found it."""

    district_id = required(BigId, primary_key=True)
    user_id = required(String(32), primary_key=True)
    kept = required(Boolean(), primary_key=True)
    """Found by a sync; False: by the last dry run."""
    run_id = required(BigId)
    what = required(String(16))
    """What they would lose: ``archive``, ``suspend``, ``role`` or ``hold``."""


class PlanGroup(Row, name="plan_groups"):
    """How many changes of one kind, school and role a large plan has, and where the first stand."""

    plan_id = required(BigId, primary_key=True)
    kind = required(String(8), primary_key=True)
    action = required(String(16), primary_key=True)
    school_id = required(String(32), primary_key=True, default="")
    role = required(String(16), primary_key=True, default="")
    changes = required(Integer())
    first: Stored[list[int]] = required(Json(), default=list)
    """The seqs of its first changes."""


class Pupil(Row, name="pupils"):
    """Who was a student where, and in which grade, before the pause that a school returns from.

    Kept from the first guarded run until no school waits for its rollover any more (S4).
    """

    district_id = required(BigId, primary_key=True)
    user_id = required(String(32), primary_key=True)
    school_id = required(String(32), primary_key=True)
    grade = optional(String(8))


class Census(Row, name="census"):
    """How many active people a source holds in a group, from one applied plan on (L3)."""

    source_id = required(BigId, primary_key=True)
    scope = required(String(16), primary_key=True)
    school_id = required(String(32), primary_key=True, default="")
    role = required(String(16), primary_key=True, default="")
    plan_id = required(BigId, primary_key=True)
    since = required(UtcTime())
    people = required(Integer())


class Conflict(
    Row,
    name="conflicts",
    extras=lambda: [
        Index("ix_conflicts_district", "district_id", "status"),
        Index("ix_conflicts_record", "record_id"),
    ],
):
    """Something that a person must decide: whose record this is."""

    id = row_id()
    district_id = required(BigId)
    kind = required(String(8))
    record_id = required(BigId)
    candidates: Stored[list[dict[str, Any]]] = required(Json())
    """Each ``{"id", "evidence": [slugs]}``."""
    reason = required(String(64))
    status = required(String(16), default="open")
    """``open``, ``resolved`` (``decision`` says how) or ``gone``."""
    decision = optional(String(64))
    decided_by = optional(String(255))
    decided_at = optional(UtcTime())
    created_at = required(UtcTime())


class Rejection(Row, name="rejections"):
    """A refused change, remembered by its content until its evidence changes (P4)."""

    district_id = required(BigId, primary_key=True)
    content_print = required(LargeBinary(), primary_key=True)
    target_id = required(String(32))
    plan_id = required(BigId)


class Undone(Row, name="undone"):
    """Evidence whose effect a person has undone: redoing it is held once (P8).

    It counts while the record has this version and is open.
    """

    record_id = required(BigId, primary_key=True)
    district_id = required(BigId)
    version = required(Integer())
    plan_id = required(BigId)
    """The plan that undid it."""


class DomainAlias(Row, name="domain_aliases"):
    """An old email domain of a district: for matching its addresses are those of the new one."""

    district_id = required(BigId, primary_key=True)
    old = required(String(255), primary_key=True)
    new = required(String(255))
    plan_id = required(BigId)


class NotSame(Row, name="not_same"):
    """Two users of whom a person said that they are two people; ``one`` is the smaller id."""

    one = required(String(32), primary_key=True)
    other = required(String(32), primary_key=True)
    district_id = required(BigId)
    decided_by = required(String(255))
    decided_at = required(UtcTime())


class Upload(
    Row,
    name="uploads",
    extras=lambda: [
        CheckConstraint(
            "status IN ('PENDING', 'QUEUED', 'PROCESSING', 'PROCESSED', 'FAILED')",
            name="ck_uploads_status",
        ),
        Index("ix_uploads_district", "district_id", "status"),
    ],
):
    """A file that a person gave us, and what became of it (file-rules.md 4)."""

    id = row_id()
    district_id = required(BigId, ForeignKey("districts.id"))
    source_id = optional(BigInteger())
    title = required(String(255))
    """The name of the file, as it was given."""
    type = optional(String(64))
    """The connector whose file it is, found from its headers."""
    actor = required(String(255))
    created_at = required(UtcTime())
    modified_at = required(UtcTime())
    content_hash = required(String(64))
    size = required(BigInteger())
    status = required(String(16))
    scope = required(String(255), default="")
    """The roles it speaks for, between commas; of equal scopes the newest is read (S1)."""
    dry = required(Boolean(), default=False)
    """Given to be looked at: what it says counts only once its plan is applied."""
    counts: Stored[dict[str, int]] = required(Json(), default=dict)
    note = required(Text(), default="")
    run_id = optional(BigInteger())
    plan_id = optional(BigInteger())
    original = optional(LargeBinary())
    """The file, encrypted with the installation's key, until ``kept_until``."""
    kept_until = optional(UtcTime())


class FlexDelivery(Row, name="flex_deliveries"):
    """Where the FINRA FLEX delivery of a firm stands (file-rules.md 11.3); no row: Provisioning."""

    district_id = required(BigId, primary_key=True)
    status = required(String(16))
    changed_by = required(String(255))
    changed_at = required(UtcTime())


class FlexRequest(
    Row,
    name="flex_requests",
    extras=lambda: [
        CheckConstraint("status IN ('open', 'confirmed')", name="ck_flex_requests_status"),
        Index("ix_flex_requests_district", "district_id", "status"),
    ],
):
    """A change that the firm asks the help desk for, after its one upload (file-rules.md 11.6)."""

    id = row_id()
    district_id = required(BigId, ForeignKey("districts.id"))
    kind = required(String(8))
    """``add``, ``remove`` or ``update``."""
    crd_id = required(String(32))
    fields: Stored[dict[str, str]] = required(Json(), default=dict)
    status = required(String(16), default="open")
    actor = required(String(255))
    created_at = required(UtcTime())
    confirmed_by = optional(String(255))
    confirmed_at = optional(UtcTime())
    plan_id = optional(BigInteger())


class Applying(Row, name="applying"):
    """The plan that the current transaction applies: SQLite's triggers look here.

    Committed, the table is always empty (``core/storage/watch.py``).
    """

    plan_id = required(BigId, primary_key=True)


class OutsideEdit(Row, name="outside_edits"):
    """A person or school whose row, memberships or links were written past the ledger.

    A trigger notes them, and they stay here until a repair has put them back
    (``core/storage/watch.py``).
    """

    district_id = required(BigId, primary_key=True)
    target_id = required(String(32), primary_key=True)
    """Empty: the whole table was emptied at once."""


class Installation(
    Row,
    name="installation",
    extras=lambda: [CheckConstraint("id = 1", name="ck_installation_one")],
):
    """The one row about this database as a whole: a check of the key that it was filled with."""

    id = required(Integer(), primary_key=True)
    key_check = required(LargeBinary())
