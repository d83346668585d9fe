"""A small directory written straight into the tables, for tests of what is read off them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from core.models import fold_email
from core.settings import DistrictSettings
from core.storage.database import Database
from core.storage.tables import (
    Change,
    Conflict,
    District,
    Fetch,
    Link,
    Membership,
    Plan,
    Record,
    Run,
    School,
    Source,
    User,
)

AT = datetime(2026, 9, 1, 5, 0, tzinfo=UTC)


def store(database: Database, rows: Sequence[SQLModel]) -> None:
    with database.write() as connection, Session(connection) as session:
        for row in rows:  # one by one: tables may point at each other
            session.add(row)
            session.flush()


def district(
    slug: str = "springfield", number: int = 1, zone: str = "America/Chicago", **values: Any
) -> District:
    settings = DistrictSettings(slug=slug, name="Springfield USD", timezone=zone)
    return District(id=number, slug=slug, name=settings.name, settings=settings.stored(), **values)


def source(number: int = 1, name: str = "sis", district_id: int = 1, **values: Any) -> Source:
    return Source(
        id=number, district_id=district_id, name=name, connector="oneroster_csv",
        precedence=number, config={}, **values,
    )  # fmt: skip


def school(number: str, name: str, district_id: int = 1) -> School:
    return School(id=number, district_id=district_id, status="active", name=name)


def user(number: str, given: str, family: str, **values: Any) -> User:
    email = values.get("email")
    return User(
        id=number,
        given_name=given,
        family_name=family,
        email_folded=None if email is None else fold_email(email),
        **{"district_id": 1, "status": "active", "origin": "sync", "created_at": AT, **values},
    )


def member(user_id: str, role: str, school_id: str = "", primary: bool = False) -> Membership:
    return Membership(user_id=user_id, role=role, school_id=school_id, is_primary=primary)


def record(number: int, external_id: str, source_id: int = 1, **values: Any) -> Record:
    return Record(
        id=number, source_id=source_id, external_id=external_id, norm_print=b"0",
        **{"kind": "user", "data": "{}", **values},
    )  # fmt: skip


def link(record_id: int, target: str, held: bool = True) -> Link:
    return Link(record_id=record_id, target_id=target, held=held)


def run(number: int = 1, **values: Any) -> Run:
    return Run(
        id=number,
        **{
            "district_id": 1, "kind": "sync", "status": "applied", "actor": "schedule",
            "started_at": AT, **values,
        },
    )  # fmt: skip


def plan(number: int = 1, **values: Any) -> Plan:
    return Plan(
        id=number, district_id=1, base_serial=0, digest=b"\x01\x02",
        **{"run_id": 1, "kind": "sync", "status": "planned", "created_at": AT, **values},
    )  # fmt: skip


def change(plan_id: int, seq: int, action: str, target: str, **values: Any) -> Change:
    return Change(
        plan_id=plan_id, seq=seq, action=action, target_id=target, digest=b"0",
        **{"kind": "user", "reason": "new_in_source", **values},
    )  # fmt: skip


def fetch(run_id: int, source_id: int, **certificate: Any) -> Fetch:
    return Fetch(run_id=run_id, source_id=source_id, at=AT, complete=True, certificate=certificate)


def conflict(number: int, record_id: int, **values: Any) -> Conflict:
    return Conflict(
        id=number, district_id=1, kind="user", record_id=record_id, created_at=AT,
        **{"candidates": [], "reason": "same_email", **values},
    )  # fmt: skip
