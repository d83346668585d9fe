"""The floors: the least that a step could cost, each in a process of its own.

    python -m bench.measures.floors WHAT ARGUMENTS

``get CONFIG``: GET every page of Clever with requests. ``parse CONFIG``: what the connector takes
to split and parse every record. ``first CONFIG URL``: GET, validate each page with pydantic, insert
each user with the driver. ``read FOLDER``: read every file and split it into lines. ``served
CONNECTOR CONFIG``: ask for what a connector asks for. Each prints its seconds, in which no import
is, and the bytes it read.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PIECE = 2 << 20
_NEXT = re.compile(rb'"rel"\s*:\s*"next"\s*,\s*"uri"\s*:\s*"([^"]*)"')


class Watch:
    """Adds up wall and processor seconds while it runs."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what is done in the block."""
        began, at = time.perf_counter(), time.process_time()
        yield
        self.seconds += time.perf_counter() - began
        self.cpu += time.process_time() - at


def _pages_of(config: dict[str, Any], limit: int = 10_000) -> Callable[[str], Iterator[bytes]]:
    """Return what yields the body of each page of a stream."""
    import requests

    root = config["base_url"]
    origin = root.rpartition("/")[0]

    def pages(stream: str) -> Iterator[bytes]:
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

    return pages


def get(watch: Watch, config: str) -> int:
    """GET everything and keep nothing."""
    pages = _pages_of(json.loads(config))
    with watch.running():
        return sum(len(body) for stream in ("schools", "users") for body in pages(stream))


def parse(watch: Watch, config: str) -> int:
    """Split and parse everything, without the time for getting it."""
    from connectors.clever.connector import Clever, CleverConfig, split_listing

    connector = Clever(CleverConfig.model_validate_json(config))
    pages, size = _pages_of(json.loads(config)), 0
    for stream in ("schools", "users"):
        for body in pages(stream):
            size += len(body)
            with watch.running():
                for raw in split_listing(body):
                    connector.identify(stream, raw)
                    connector.parse(stream, raw)
    return size


def first(watch: Watch, config: str, url: str) -> int:
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

    adapter, insert, pages = TypeAdapter(Page), _inserter(url), _pages_of(json.loads(config))
    with watch.running():
        size = sum(len(body) for body in pages("schools"))
        for body in pages("users"):
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


def _inserter(url: str) -> Callable[[list[tuple[Any, ...]]], None]:
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
    postgres.execute(f"CREATE TABLE floor ({columns})")

    def into_postgres(rows: list[tuple[Any, ...]]) -> None:
        with postgres.cursor() as cursor:
            cursor.executemany(f"INSERT INTO floor VALUES ({', '.join(['%s'] * 12)})", rows)
        postgres.commit()

    return into_postgres


def read(watch: Watch, folder: str) -> int:
    """Read every file in pieces of 2 MiB, split them into lines, and keep nothing."""
    size = 0
    with watch.running():
        for path in sorted(Path(folder).iterdir()):
            with path.open("rb") as file:
                rest = b""
                while piece := file.read(_PIECE):
                    size += len(piece)
                    rest = (rest + piece).split(b"\n").pop()
    return size


def served(watch: Watch, connector: str, config: str) -> int:
    """Ask for what a full reading asks for, and keep nothing."""
    from connectors.contract.connector import FetchRequest
    from connectors.installed import load

    kind = load(connector)
    reader = kind(kind.config_model.model_validate_json(config))
    try:
        with watch.running():
            return sum(len(page.body) for page in reader.pages(FetchRequest()))
    finally:
        reader.close()


FLOORS: dict[str, Callable[..., int]] = {
    "get": get, "parse": parse, "first": first, "read": read, "served": served,
}  # fmt: skip


def main() -> None:
    watch = Watch()
    size = FLOORS[sys.argv[1]](watch, *sys.argv[2:])
    print(json.dumps({"seconds": watch.seconds, "cpu": watch.cpu, "bytes": size}))


if __name__ == "__main__":
    main()
