"""Whatever a plugin raises, returns or never ends is its source's failure, and nobody else's (F18).

The other source of the district goes on (F8), nobody leaves, the status is 12, the message names
the connector and a place, and no data of the plugin's errors is told anywhere.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from core.storage.database import Database
from sync.sources.check import check_district
from tests.attack import crook
from tests.attack.conftest import Attacked, add_source
from tests.attack.crook import RAISED, Crook
from tests.attack.hostile import Hostile, quickly
from tests.kit.sizes import examples
from tests.kit.world import SLUG, World, new_world

PLUGIN = str(Path(__file__).parent / "plugin")
FAILS = set(crook.PLACES) - {"settled", "close", "fields"}
"""Places at which a reading cannot go on; at the others all was read, or nothing asks there."""

WAYS = [
    *((place, name) for place in crook.PLACES for name in crook.RAISED),
    *(("certificate", name) for name in crook.CERTIFICATES),
    *(("served", name) for name in crook.SERVED),
    *(("parsed", name) for name in crook.PARSED),
    *(("identified", name) for name in crook.IDENTIFIED),
]


@pytest.fixture(autouse=True)
def _plugged_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if PLUGIN not in sys.path:
        sys.path.append(PLUGIN)
    yield
    Crook.way, Crook.keys, Crook.version = ("", ""), crook.KEYS, "1"


def beside_a_crook(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, **config: object
) -> Attacked:
    """Return a district with a healthy source and the crook, both read and applied once."""
    world = new_world(database, folder, sources={"town": "board"})
    add_source(world, "sis", "crook", config, monkeypatch)
    attacked = Attacked(world, Hostile("oneroster"))
    attacked.vendor.people = [{"id": key} for key in crook.KEYS]
    attacked.sync(code=0)
    return attacked


def prove_that_it_stays_its_own(attacked: Attacked, way: tuple[str, str]) -> None:
    Crook.way, Crook.version = way, str(int(Crook.version) + 1)  # everything is read anew
    Crook.keys = crook.KEYS[:-1] if way[0] == "exists" else crook.KEYS
    outcome = attacked.sync()
    if way[0] in FAILS:
        assert (outcome.status, outcome.exit_code) == ("partial", 12), (way, outcome.error)
    else:
        assert outcome.exit_code in (0, 12), (way, outcome.error)
    attacked.spared()
    told = attacked.told() + repr(outcome)
    assert "Liam" not in told
    assert "liam.carter" not in told
    Crook.way, Crook.keys = ("", ""), crook.KEYS
    attacked.sync(code=0)
    attacked.spared()
    assert attacked.world.count() == len(crook.KEYS) + attacked.newcomers


@pytest.mark.any_store
def test_whatever_a_plugin_does_it_is_its_sources_failure(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacked = beside_a_crook(database, tmp_path, monkeypatch)

    @given(way=st.sampled_from(WAYS))
    @settings(max_examples=examples(12, long=len(WAYS) * 2))
    def prove(way: tuple[str, str]) -> None:
        prove_that_it_stays_its_own(attacked, way)

    prove()


def test_the_message_names_the_connector_and_the_place_and_holds_no_data(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacked = beside_a_crook(store, tmp_path, monkeypatch)
    Crook.way = ("later", "value")
    outcome = attacked.sync(code=12)
    assert outcome.error is not None
    assert outcome.error.code == "connector_failed"
    assert "crook" in outcome.error.message
    assert "ValueError" in outcome.error.message
    assert "tests.attack.crook, line " in outcome.error.message
    assert "report" in outcome.error.hint


@pytest.mark.parametrize("way", crook.ENDLESS)
def test_a_plugin_that_comes_to_no_end_is_ended(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    attacked = beside_a_crook(store, tmp_path, monkeypatch, reading_timeout=2)
    Crook.way = ("endless", way)
    with quickly(15):
        outcome = attacked.sync()
    assert (outcome.status, outcome.exit_code) == ("partial", 12)
    attacked.spared()
    if way not in ("sleeps", "drips"):
        assert Crook.served <= 20, "it need not wait for the deadline"
    Crook.way = ("", "")
    assert attacked.sync().exit_code == (10 if way == "drips" else 0), "40 had joined, and leave"
    attacked.spared()


def test_a_source_alone_that_fails_says_so(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world: World = new_world(store, tmp_path, sources={"town": "board"})
    add_source(world, "sis", "crook", {}, monkeypatch)
    Crook.way = ("pages", "key")
    outcome = world.sync(sources=["sis"])
    assert (outcome.status, outcome.exit_code) == ("incomplete", 12)
    assert json.dumps(outcome.certificates).find("Liam") == -1


def test_check_names_what_failed_and_looks_at_the_other_sources(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacked = beside_a_crook(store, tmp_path, monkeypatch)

    @given(place=st.sampled_from(["open", "vendor_district"]), what=st.sampled_from([*RAISED]))
    @settings(max_examples=examples(4, long=60))
    def prove(place: str, what: str) -> None:
        Crook.way = (place, what)
        checked = {one.source: one for one in check_district(store, SLUG)}
        assert checked["town"].exit_code == 0
        assert checked["sis"].exit_code != 0
        assert "crook" in repr(checked["sis"].lines)
        assert "Liam" not in repr(checked["sis"].lines)

    prove()
    attacked.spared()


def test_a_connector_that_is_no_longer_installed_stops_nobody_else(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacked = beside_a_crook(store, tmp_path, monkeypatch)
    with store.write() as connection:
        connection.execute(text("UPDATE sources SET connector = 'gone' WHERE name = 'sis'"))
    outcome = attacked.sync()
    assert outcome.status == "partial"
    assert outcome.error is not None
    assert "gone" in outcome.error.message
    attacked.spared()
    with store.write() as connection:
        connection.execute(text("UPDATE sources SET connector = 'crook' WHERE name = 'sis'"))
    attacked.sync(code=0)
