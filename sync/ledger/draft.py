"""A draft: the changes of a plan while it is being made, written in bulk as they are found.

A change's content is canonical JSON. ``digest`` covers it with a random salt (the chain is made of
these, and can be verified after a purge), ``content_print`` is keyed and unsalted (the same step in
two plans has the same).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, text

from core.models import Kind, checked_reason
from core.storage.database import Database
from core.storage.stored import to_json, utc_text
from sync.ledger.outline import Outline
from sync.run.scratch_tables import Marks, Suspected

CHANGE_COLUMNS = (
    "plan_id", "seq", "kind", "action", "target_id", "revision", "record_id", "record_version",
    "role", "school_id", "before", "after", "basis", "reason", "salt", "digest", "content_print",
)  # fmt: skip
TAKING_COLUMNS = (
    "plan_id",
    "target_id",
    "source_id",
    "school_id",
    "role",
    "what",
    "explained",
    "guarded",
)
DIGEST_SIZE = 32
PRINT_SIZE = 16
_SALT = 16
_WORDS = {kind: kind.value for kind in Kind}
_USER = Kind.USER
_FLUSH = 5_000
_NULL = b"null"

Values = Mapping[str, Any]
Basis = Sequence[Sequence[int | None]]


class Step(NamedTuple):
    """One change before it is stored; see ``core.storage.schema.Change`` for the fields."""

    kind: Kind
    action: str
    target: str
    revision: int | None
    reason: str
    before: Values | None = None
    after: Values | None = None
    basis: Basis | None = None
    record_id: int | None = None
    record_version: int | None = None
    role: str | None = None
    school: str | None = None


canonical = msgspec.json.Encoder(order="deterministic").encode
"""Returns the canonical JSON text of a value: keys sorted, no spaces."""


def content_of(step: Step, before: bytes, after: bytes, basis: bytes) -> bytes:
    """Return what a change's digest covers; the parts are canonical JSON, ``null`` if missing."""
    head = canonical(
        [
            step.kind, step.action, step.target, step.revision, step.reason,
            step.record_id, step.record_version, step.role, step.school,
        ]
    )  # fmt: skip
    return b"%b%b%b%b" % (head, before, after, basis)


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known of a plan from the start: its district, the run that makes it, its basis."""

    district_id: int
    run_id: int
    kind: str
    now: datetime
    season: str = "normal"
    guarded: bool = False
    certificates: Mapping[str, Any] = field(default_factory=dict)
    establishes: Sequence[int] = ()
    """Sources whose first complete fetch the plan applies (L6)."""
    actor: str | None = None
    """The person who decided the plan from the start, as for an act by hand."""
    reason: str | None = None

    def __post_init__(self) -> None:
        """Refuse a reason that cannot be kept; the actor has been checked with the run."""
        checked_reason(self.reason)


def open_plan(
    database: Database,
    connection: Connection,
    opening: Opening,
    marks: Marks | None = None,
    suspected: Suspected | None = None,
) -> Draft:
    """Store an empty plan as a draft, and return the collector of its changes.

    ``marks`` and ``suspected`` are for a plan that the limits judge.
    """
    about = {
        "district": opening.district_id,
        "run": opening.run_id,
        "kind": opening.kind,
        "digest": b"",
        "now": utc_text(opening.now),
        "season": opening.season,
        "guarded": opening.guarded,
        "certificates": to_json(opening.certificates),
        "establishes": to_json(list(opening.establishes)),
        "actor": opening.actor,
        "decided": None if opening.actor is None else utc_text(opening.now),
        "reason": opening.reason,
    }
    plan_id = int(connection.execute(_NEW_PLAN, about).scalar_one())
    return Draft(database, plan_id, marks, suspected)


class Draft:
    """Collects the steps and takings of one plan and writes them in batches."""

    def __init__(
        self,
        database: Database,
        plan_id: int,
        marks: Marks | None = None,
        suspected: Suspected | None = None,
    ) -> None:
        self.database = database
        self.plan_id = plan_id
        self.marks = marks
        """Where ``mark`` writes; None for a plan that no limit judges, which has no marks."""
        self.suspected = suspected
        """Where ``suspect`` writes; None for the same plans."""
        self.size = 0
        self.counts: Counter[str] = Counter()
        self.school_counts: Counter[str] = Counter()
        self.additions: Counter[int] = Counter()
        self.taken = 0
        self._keyed = blake2b(digest_size=PRINT_SIZE, key=database.key)
        self._rows: list[Sequence[Any]] = []
        self._put = self._rows.append
        self._takings: list[tuple[Any, ...]] = []
        self._marked: list[tuple[str, int, str]] = []
        self._odd: list[tuple[str, int, str, str]] = []
        self._digest = blake2b(digest_size=DIGEST_SIZE)
        self._salts = b""
        self.outline = Outline()
        self.in_order = True
        """False once rows were removed: digest and outline must then be read from the table."""

    def add(self, steps: Sequence[Step]) -> None:
        """Add the steps of one person or school, in this order."""
        counts = self.counts if steps[0].kind is _USER else self.school_counts
        if len(steps) == 1:  # almost always
            counts[steps[0].action] += 1
        else:
            counts.update({step.action for step in steps})
        for step in steps:
            before = _NULL if step.before is None else canonical(step.before)
            after = _NULL if step.after is None else canonical(step.after)
            basis = _NULL if step.basis is None else canonical(step.basis)
            content = content_of(step, before, after, basis)
            salt = self._salt()
            digest = blake2b(salt + content, digest_size=DIGEST_SIZE).digest()
            print_ = self._keyed.copy()
            print_.update(content)
            self._digest.update(digest)
            self._put(
                (
                    self.plan_id, self.size, _WORDS[step.kind], step.action, step.target,
                    step.revision, step.record_id, step.record_version, step.role, step.school,
                    None if step.before is None else before.decode(),
                    None if step.after is None else after.decode(),
                    None if step.basis is None else basis.decode(),
                    step.reason, salt, digest, print_.digest(),
                )
            )  # fmt: skip
            self.outline.note(_WORDS[step.kind], step.action, step.school, step.role, self.size)
            self.size += 1

    def take(
        self, target: str, source_id: int, groups: Sequence[tuple[str, str]], what: str,
        *, explained: bool = False,
    ) -> None:  # fmt: skip
        """Record what one person loses: ``groups`` are their (school id, role) pairs (L2)."""
        self.taken += 1
        for school, role in groups or (("", ""),):
            self._takings.append(
                (self.plan_id, target, source_id, school, role, what, explained, False)
            )

    def mark(self, target: str, source_id: int, mark: str) -> None:
        """Record why ``approval_needed`` looks at a person, apart from what they lose."""
        if self.marks is None:
            raise RuntimeError("a plan that no limit judges has no marks")
        self._marked.append((target, source_id, mark))

    def suspect(self, target: str, source_id: int, kind: str, about: str) -> None:
        """Record something odd that the update of one person does (L10)."""
        if self.suspected is None:
            raise RuntimeError("a plan that no limit judges suspects nobody")
        self._odd.append((target, source_id, kind, about))

    def forget(self, connection: Connection, target: str, actions: Sequence[str]) -> None:
        """Remove everything recorded about one person with these actions."""
        self.flush(connection)
        for table in ("changes", "takings"):
            forgetting = _forgetting(self.database, table, self.plan_id)
            connection.exec_driver_sql(forgetting, (target,))
        self.counts.subtract(actions)
        self.in_order = False

    @property
    def full(self) -> bool:
        """Whether it is time to flush."""
        return len(self._rows) >= _FLUSH

    def flush(self, connection: Connection) -> None:
        """Write what has been collected."""
        if self._rows:
            self.database.insert_into(connection, "changes", CHANGE_COLUMNS, self._rows)
            self._rows.clear()
        if self._takings:
            unique = list({row[1:5]: row for row in self._takings}.values())
            self.database.insert_into(connection, "takings", TAKING_COLUMNS, unique)
            self._takings = []
        if self.marks is not None:
            self.marks.add(self.database, self._marked)
            self._marked = []
        if self.suspected is not None:
            self.suspected.add(self.database, self._odd)
            self._odd = []

    @contextmanager
    def streaming(self, connection: Connection) -> Iterator[None]:
        """Write the steps of the block as they are added; no query may run inside it."""
        self.flush(connection)
        try:
            with self.database.loading(connection, "changes", CHANGE_COLUMNS) as self._put:
                yield
        finally:
            self._put = self._rows.append

    def digest(self) -> bytes:
        """Return the digest over all changes in order. Only right while ``in_order``."""
        return self._digest.digest()

    def _salt(self) -> bytes:
        if not self._salts:
            self._salts = os.urandom(_SALT * 1024)
        salt, self._salts = self._salts[:_SALT], self._salts[_SALT:]
        return salt


# --- Set-wise statements ---
# A plan begins where its district stands, so its serial is taken from there as it is written. What
# is recorded about somebody is removed for one person at a time, and there may be many: the driver
# gets these statements as they are, and ``ix_changes_target`` finds the rows.

_NEW_PLAN = text(
    "INSERT INTO plans (district_id, run_id, kind, status, standing, digest, created_at,"
    " base_serial, season, guarded, counts, schools, held, certificates, establishes, additions,"
    " approved, size, decided_by, decided_at, decision_reason)"
    " SELECT id, :run, :kind, 'draft', FALSE, :digest, :now, serial, :season, :guarded, '{}',"
    " '{}', '[]', :certificates, :establishes, '{}', FALSE, 0, :actor, :decided, :reason"
    " FROM districts WHERE id = :district RETURNING id"
)


def _forgetting(database: Database, table: str, plan_id: int) -> str:
    mark = "?" if database.is_sqlite else "%s"
    return f"DELETE FROM {table} WHERE plan_id = {int(plan_id)} AND target_id = {mark}"
