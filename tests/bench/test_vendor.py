"""The vendor of the bench computes nothing while a client is measured."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from bench.rosters.days import days_of
from rostersync.emulator import Emulator
from rostersync.emulator.district.generator import District
from rostersync.emulator.district.view import DayView


def test_what_was_asked_for_once_is_served_again_out_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    district = District(users=60, days=days_of(("0.1",), 60))
    with Emulator(district, "clever", day=1, neighbours=0, bodies_in_memory=True) as emulator:
        headers = {"Authorization": f"Bearer {emulator.config()['token']}"}

        def answers() -> list[bytes]:
            urls = [f"{emulator.base_url}/{path}" for path in ("users?limit=100", "events")]
            return [requests.get(url, headers=headers, timeout=10).content for url in urls]

        made = answers()
        assert all(b'"data":[{' in body for body in made)

        def computed(*_: Any) -> None:
            raise AssertionError("a page was made twice")

        monkeypatch.setattr(DayView, "person", computed)
        assert answers() == made
