"""The floors: the least that a step could cost, each in a process of its own.

``get``: GET every page with requests. ``parse``: what the connector takes to split and parse every
record. ``first``: GET, validate each page with pydantic, insert each user with the driver. Each
prints its seconds without the start of the interpreter, and the bytes it read.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import requests

_NEXT = re.compile(rb'"rel"\s*:\s*"next"\s*,\s*"uri"\s*:\s*"([^"]*)"')


def pages(config: dict[str, Any], stream: str, limit: int = 10_000) -> Iterator[bytes]:
    """Yield the body of each page."""
    root = config["base_url"]
    origin = root.rpartition("/")[0]
    url: str | None = f"{root}/{stream}?limit={limit}"
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {config['token']}"
        session.headers["Accept-Encoding"] = "gzip, deflate"
        while url:
            answer = session.get(url)
            answer.raise_for_status()
            body = answer.content
            found = _NEXT.search(body, max(0, len(body) - 8192))
            url = origin + found.group(1).decode() if found else None
            yield body


def get(config: dict[str, Any]) -> int:
    """GET everything and keep nothing."""
    return sum(len(body) for stream in ("schools", "users") for body in pages(config, stream))


def parse(config: dict[str, Any]) -> tuple[int, float, float]:
    """Split and parse everything, without the time for getting it."""
    from connectors.clever import Clever, CleverConfig, split_listing

    connector = Clever(CleverConfig.model_validate(config))
    size, seconds, cpu = 0, 0.0, 0.0
    for stream in ("schools", "users"):
        for body in pages(config, stream):
            size += len(body)
            began, at = time.perf_counter(), time.process_time()
            for raw in split_listing(body):
                connector.identify(stream, raw)
                connector.parse(stream, raw)
            seconds += time.perf_counter() - began
            cpu += time.process_time() - at
    return size, seconds, cpu


def first(config: dict[str, Any], url: str) -> int:
    """GET, validate with pydantic and insert."""
    from pydantic import BaseModel, TypeAdapter

    class Name(BaseModel):
        first: str = ""
        middle: str = ""
        last: str = ""

    class Role(BaseModel):
        school: str | None = None
        schools: list[str] = []
        sis_id: str | None = None
        state_id: str | None = None
        student_number: str | None = None
        grade: str | None = None
        graduation_year: str | None = None

    class User(BaseModel):
        id: str
        email: str | None = None
        name: Name
        roles: dict[str, Role]

    class Item(BaseModel):
        data: User

    class Page(BaseModel):
        data: list[Item]

    adapter, size = TypeAdapter(Page), 0
    insert = _inserter(url)
    size = sum(len(body) for body in pages(config, "schools"))
    for body in pages(config, "users"):
        size += len(body)
        users = [item.data for item in adapter.validate_json(body).data]
        rows = []
        for user in users:
            role = next(iter(user.roles.values()))
            rows.append(
                (
                    user.id, user.name.first, user.name.middle, user.name.last, user.email,
                    ",".join(user.roles), role.school, role.sis_id, role.state_id,
                    role.student_number, role.grade, role.graduation_year,
                )
            )  # fmt: skip
        insert(rows)
    return size


def _inserter(url: str) -> Any:
    columns = "id TEXT PRIMARY KEY, " + ", ".join(f"c{number} TEXT" for number in range(11))
    if url.startswith("sqlite"):
        import sqlite3

        lite = sqlite3.connect(url.removeprefix("sqlite:///"))
        lite.execute("PRAGMA journal_mode=WAL")
        lite.execute(f"CREATE TABLE floor ({columns})")

        def into_sqlite(rows: list[tuple[Any, ...]]) -> None:
            with lite:
                lite.executemany(f"INSERT INTO floor VALUES ({', '.join('?' * 12)})", rows)

        return into_sqlite
    import psycopg

    postgres = psycopg.connect(url, autocommit=False)
    postgres.execute("DROP TABLE IF EXISTS floor")
    postgres.execute(f"CREATE TABLE floor ({columns})")

    def into_postgres(rows: list[tuple[Any, ...]]) -> None:
        with postgres.cursor() as cursor:
            cursor.executemany(f"INSERT INTO floor VALUES ({', '.join(['%s'] * 12)})", rows)
        postgres.commit()

    return into_postgres


def main() -> None:
    what, config = sys.argv[1], json.loads(sys.argv[2])
    began, at = time.perf_counter(), time.process_time()
    size, seconds, cpu = 0, None, 0.0
    match what:
        case "get":
            size = get(config)
        case "parse":
            size, seconds, cpu = parse(config)
        case "first":
            size = first(config, sys.argv[3])
    if seconds is None:
        seconds, cpu = time.perf_counter() - began, time.process_time() - at
    print(json.dumps({"seconds": seconds, "cpu": cpu, "bytes": size}))


if __name__ == "__main__":
    main()
