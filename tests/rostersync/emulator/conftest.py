"""What the emulator's tests share: one small district, and a client that only knows HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from rostersync.emulator.district.days import (
    Changes,
    Day,
    Disables,
    DomainChange,
    Joins,
    Leaves,
    NewIds,
    RenamesSchools,
    Returns,
    ToBeDeleted,
)
from rostersync.emulator.district.generator import District

SCRIPT = (
    Day(Joins(12), Leaves(30), Changes(20)),
    Day(Returns(5), ToBeDeleted(4), Disables(3), NewIds(6), RenamesSchools(1)),
    Day(DomainChange("b.example"), Changes(6, fields=("role",), role="teacher")),
)


@pytest.fixture(scope="session")
def district() -> District:
    return District(seed=7, users=1500, days=SCRIPT, contacts=0.02)


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def follow(http: requests.Session, config: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """Read a Clever list to its end by the links alone."""
    host = config["base_url"].rpartition("/v3")[0]
    url: str | None = f"{config['base_url']}/{path}"
    rows: list[dict[str, Any]] = []
    while url is not None:
        answer = http.get(url, headers=bearer(config["token"]), timeout=20)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        rows += [entry["data"] for entry in body["data"]]
        url = next((host + link["uri"] for link in body["links"] if link["rel"] == "next"), None)
    return rows
