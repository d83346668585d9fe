"""PostgreSQL databases for a test, and what a test says that cannot run here."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import psycopg
import pytest

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
_numbers = itertools.count(1)


def cannot_run(reason: str) -> NoReturn:
    """Skip the test with a sentence; in CI fail it, since there everything must really run."""
    if IN_CI:
        pytest.fail(f"{reason} (In CI that is a failure.)", pytrace=False)
    pytest.skip(reason)


@contextmanager
def new_postgres_database(postgres_url: str, template: str = "template1") -> Iterator[str]:
    """Make a database, yield its URL, and drop it together with open connections."""
    server = postgres_url.replace("postgresql+psycopg://", "postgresql://", 1)
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
    try:
        yield postgres_url.replace("/postgres?", f"/{name}?", 1)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
