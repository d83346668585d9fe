"""A connector that serves rows from memory: whatever order, repetition and damage a test asks for.

``Paper`` serves people as one row each, ``JoinedPaper`` as a row for the person and rows for roles.
``Town`` is an installation that reads them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import msgspec
import pytest
from sqlalchemy import text

from connectors.contract.connector import (
    Capabilities,
    Certificate,
    Connector,
    ConnectorConfig,
    FetchRequest,
    Page,
    Part,
    Record,
)
from core.errors import IncompleteFetch, SkipRecord
from core.models import Kind, Membership, NormalizedSchool, NormalizedUser, Role
from core.storage.database import Database
from sync.engine import sync_district
from tests.kit import tables as directory

Rows = Sequence[Mapping[str, Any]]


@dataclass
class Day:
    """What is served on one day, stream by stream, and how the reading ends."""

    schools: Rows
    users: Rows
    roles: Rows = ()
    page_size: int = 3
    cut_after: int | None = None
    """Break off after so many pages."""
    delta: bool = False
    """The rows are only what changed; nobody is missed in them."""
    absent: frozenset[str] = frozenset()
    there: frozenset[str] = frozenset()
    """The ids that answer when they are asked for, served or not."""
    version: str = "1"


def split(body: bytes) -> list[bytes]:
    """Return the rows of a page."""
    return body.split(b"\n")


class Paper(Connector):
    """Serves ``day``. A row's ``x`` says what is wrong with it: ``keyless bad gone empty``."""

    name = "paper"
    version = "1"
    title = "Paper"
    config_model = ConnectorConfig
    capabilities = Capabilities()
    streams: ClassVar[Mapping[str, Kind]] = {"schools": Kind.SCHOOL, "users": Kind.USER}
    day: Day

    def __init__(self, day: Day, **flags: Any) -> None:
        super().__init__(ConnectorConfig())
        self.day = day
        self.version = day.version  # type: ignore[misc]
        self.capabilities = Capabilities(**flags)

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        """Serve the day's rows."""
        served = 0
        for stream in self.streams:
            rows = getattr(self.day, stream)
            if stream in self.day.absent:
                continue
            for start in range(0, len(rows), self.day.page_size):
                if self.day.cut_after is not None and served >= self.day.cut_after:
                    raise IncompleteFetch("The reading broke off.")
                some = rows[start : start + self.day.page_size]
                body = b"\n".join(msgspec.json.encode(row) for row in some)
                lines = range(start + 2, start + 2 + len(some))
                yield Page(
                    stream, body, split, file=f"{stream}.csv", lines=lambda _, lines=lines: lines
                )
                served += 1
        return Certificate(
            complete=True,
            pages=served,
            incremental=self.day.delta,
            absent_streams=self.day.absent,
        )

    def exists(self, keys: Sequence[str]) -> dict[str, bool]:
        """Say of each whether it answers."""
        return {key: key in self.day.there for key in keys}

    def identify(self, stream: str, raw: bytes) -> str:
        """Return the row's id."""
        row = msgspec.json.decode(raw)
        if row.get("x") == "keyless":
            raise SkipRecord("No key.", rule="missing-key", column="id")
        return str(row["id"])

    def gist(self, stream: str, raw: bytes) -> bytes | None:
        """Return the row without its date."""
        row = msgspec.json.decode(raw)
        return msgspec.json.encode({name: value for name, value in row.items() if name != "t"})

    def parse(self, stream: str, raw: bytes) -> Record | Part:
        """Return what the row says."""
        row = msgspec.json.decode(raw)
        key, wrong = str(row["id"]), row.get("x")
        if wrong == "bad":
            raise SkipRecord("Bad row.", rule="bad-value", column="n", key=key)
        if stream == "schools":
            if wrong == "gone":
                return Record(Kind.SCHOOL, key, deleted=True)
            return Record(Kind.SCHOOL, key, school=NormalizedSchool(external_id=key, name=row["n"]))
        return self.person(row, key, gone=wrong == "gone")

    def person(self, row: Mapping[str, Any], key: str, *, gone: bool) -> Record | Part:
        """Return the user that a row of ``users`` describes."""
        if gone:
            return Record(Kind.USER, key, deleted=True)
        user = NormalizedUser(
            external_id=key,
            family_name=row["n"],
            email=row.get("e"),
            memberships=(Membership(role=Role(row.get("r", "student")), school=row.get("s")),),
            person_key=row.get("p"),
        )
        former = (str(row["f"]),) if row.get("f") and row["f"] != key else ()
        return Record(Kind.USER, key, user=user, former_keys=former)


class JoinedPaper(Paper):
    """The same people in two streams; a person without a role row has no membership.

    A person of whose roles not one is known cannot be joined.
    """

    name = "joined_paper"
    streams: ClassVar[Mapping[str, Kind]] = {
        "schools": Kind.SCHOOL,
        "users": Kind.USER,
        "roles": Kind.USER,
    }

    def parse(self, stream: str, raw: bytes) -> Record | Part:
        """Return the row as a part."""
        if stream != "roles":
            return super().parse(stream, raw)
        row = msgspec.json.decode(raw)
        key, wrong = str(row["id"]), row.get("x")
        if wrong == "bad":
            raise SkipRecord("Bad row.", rule="bad-value", column="r", key=key)
        data = {"r": row.get("r", "student"), "s": row.get("s")}
        return Part(str(row["o"]), key, data, deleted=wrong == "gone")

    def person(self, row: Mapping[str, Any], key: str, *, gone: bool) -> Part:
        """Return the person's own row."""
        return Part(key, key, {"n": row["n"], "e": row.get("e")}, deleted=gone)

    def combine(self, owner: str, parts: Sequence[tuple[str, Part]]) -> Record | None:
        """Join a person with their roles."""
        main = next((part for stream, part in parts if stream == "users"), None)
        if main is None:
            return None
        if main.deleted:
            return Record(Kind.USER, owner, deleted=True)
        roles = [part.data for stream, part in parts if stream == "roles"]
        found = {(role["r"], role["s"]) for role in roles if role["r"] in set(Role)}
        if roles and not found:
            raise SkipRecord("No role is known.", rule="unknown-role", column="r", key=owner)
        user = NormalizedUser(
            external_id=owner,
            family_name=main.data["n"],
            email=main.data["e"],
            memberships=tuple(
                Membership(role=Role(role), school=school)
                for role, school in sorted(found, key=str)
            ),
        )
        return Record(Kind.USER, owner, user=user)


class Town:
    """An installation with one district and one source, which reads what it is given.

    A forgetful one forgets its snapshot before each reading; one that starts ``over`` parses all
    rows anew as well.
    """

    between = timedelta(days=1)
    """How much later each sync is."""

    def __init__(self, database: Database, *, forgetful: bool, over: bool = False) -> None:
        self.database = database
        self.forgetful = forgetful
        self.over = over
        self.runs = 0
        self.parsed = 0
        """Rows that the last reading parsed."""
        directory.store(database, [directory.district(), directory.source()])

    def sync(self, day: Day, kind: type[Paper], **flags: Any) -> dict[str, Any]:
        """Read one day; return how the run ended."""
        if self.forgetful:
            with self.database.write() as connection:
                connection.execute(text("UPDATE sources SET snapshot_serial = NULL"))
                for table in ("records", "parts") if self.over else ():
                    forget = f"UPDATE {table} SET raw_print = NULL, gist_print = NULL"
                    connection.execute(text(forget))
        self.runs += 1
        now = directory.AT + self.runs * self.between
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sync.reading.read_sources.open_connector", lambda _: kind(day, **flags))
            patch.setattr("sync.engine.origins_of", lambda _: {1: "sync"})
            outcome = sync_district(self.database, "springfield", actor="test", now=lambda: now)
        self.parsed = sum(found.get("parsed", 0) for found in outcome.certificates.values())
        certificates = {
            name: {key: value for key, value in found.items() if key != "parsed"}
            for name, found in outcome.certificates.items()
        }
        return {"status": outcome.status, "certificates": certificates}

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return everything that must be equal, in the vendor's and our own public words."""
        with self.database.read() as connection:
            return {
                name: sorted(map(tuple, connection.execute(text(query))), key=repr)
                for name, query in _STATE.items()
            }


_OF_RECORD = "(SELECT r.kind || ':' || r.external_id FROM records r WHERE r.id = {})"
_STATE = {
    "records": "SELECT kind, external_id, norm_print, data, version, present, in_scope,"
    " suspect, absent_since, absent_fetches, email, person_key, roles FROM records",
    "open": f"SELECT {_OF_RECORD.format('record_id')}, kind, cause FROM open_records",
    "parts": "SELECT stream, key, owner, data FROM parts",
    "findings": "SELECT fetch_id, stream, file, line, rule, message FROM findings",
    "users": "SELECT id, status, family_name, email, revision FROM users",
    "schools": "SELECT id, status, name, revision FROM schools",
    "memberships": "SELECT user_id, role, school_id, is_primary FROM memberships",
    "links": f"SELECT {_OF_RECORD.format('record_id')}, target_id, held FROM links",
    "changes": "SELECT p.run_id, p.status, c.seq, c.kind, c.action, c.target_id, c.revision,"
    f" {_OF_RECORD.format('c.record_id')}, c.record_version, c.role, c.school_id, c.before,"
    " c.after, c.reason FROM changes c JOIN plans p ON p.id = c.plan_id",
    "plans": "SELECT run_id, kind, status, standing, counts, schools, held, size FROM plans",
    "takings": "SELECT target_id, source_id, school_id, role, what FROM takings",
    "conflicts": f"SELECT {_OF_RECORD.format('record_id')}, candidates, reason, status"
    " FROM conflicts",
    "census": "SELECT scope, school_id, role, since, people FROM census",
}
