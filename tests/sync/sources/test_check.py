"""``check`` and ``discover``: what an admin reads about a vendor, and the exit code."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.storage.database import Database
from rostersync.cli.app import run
from rostersync.emulator import District
from rostersync.emulator.district.days import Day, Joins, Leaves
from sync.sources.check import Line, SourceCheck, check_district
from tests.kit.vendor_world import WAYS, VendorWorld, at_vendor, source_config
from tests.kit.world import SLUG

EVERY_WAY = pytest.mark.parametrize(("vendor", "mode"), WAYS, ids=map("-".join, WAYS))
LOOKED_UP = pytest.mark.parametrize(
    ("vendor", "mode"), [("clever", "lookup"), ("classlink", "discovery"), ("gg4l", "discovery")]
)


def _small() -> District:
    return District(seed=2, users=60, schools=2, days=(Day(Leaves(2), Joins(2)),))


def _checked(world: VendorWorld) -> SourceCheck:
    (found,) = check_district(world.database, SLUG)
    return found


def _lines(found: SourceCheck) -> dict[str, Line]:
    return {line.name: line for line in found.lines}


@EVERY_WAY
def test_a_healthy_source_is_reachable_with_good_credentials_and_its_own_district(
    store: Database, vendor: str, mode: str
) -> None:
    with at_vendor(store, _small(), vendor, mode) as world:
        lines = _lines(_checked(world))
        assert "the first sync binds" in lines["district"].message
        world.sync(code=0)
        found = _checked(world)
        assert found.exit_code == 0, found.lines
        lines = _lines(found)
        assert lines["connection"].passed
        assert lines["credentials"].passed
        assert "bound to" in lines["district"].message
        assert "no pause" in lines["season"].message
        assert world.count() > 0


@pytest.mark.parametrize(
    ("fault", "line", "code"),
    [
        ("token_revoked", "credentials", 14),
        ("token_swapped", "district", 2),
        ("server_error", "connection", 12),
        ("html_503", "connection", 12),
    ],
)
@EVERY_WAY
def test_what_is_wrong_has_its_line_and_exit_code(
    store: Database, vendor: str, mode: str, fault: str, line: str, code: int
) -> None:
    with at_vendor(store, _small(), vendor, mode, config={"attempts": 1}) as world:
        world.sync(code=0)
        world.emulator.fail(fault)
        found = _checked(world)
        assert not _lines(found)[line].passed
        assert found.exit_code == code


@pytest.mark.parametrize("vendor", ["clever", "classlink", "gg4l", "oneroster12"])
def test_a_missing_permission_is_named_and_a_role_of_nobody_is_no_failure(
    store: Database, vendor: str
) -> None:
    with at_vendor(store, _small(), vendor) as world:
        world.emulator.fail("forbidden", stream="schools")
        found = _checked(world)
        assert not _lines(found)["schools"].passed
        assert found.exit_code == 12
        world.emulator.heal()
        world.emulator.fail("empty_role", role="teacher")
        found = _checked(world)
        role = _lines(found)["teacher" if vendor == "clever" else "teachers"]
        assert not role.passed
        assert found.exit_code == 0


def test_the_day_of_the_vendors_data_is_one_of_the_districts_own(store: Database) -> None:
    late = datetime(2026, 9, 2, 2, 30, tzinfo=UTC)  # in Chicago still the evening before
    read = {"complete_at": late, "vendor_time": late}
    there = {"timezone": "America/Chicago"}
    with at_vendor(store, _small(), "classlink", "direct", source=read, settings=there) as world:
        said = _lines(_checked(world))["vendor"].message
        assert said == "At the last reading the vendor's data was of 2026-09-01."


@LOOKED_UP
def test_other_districts_of_the_account_show_as_available(
    store: Database, vendor: str, mode: str
) -> None:
    with at_vendor(store, _small(), vendor, mode, neighbours=3) as world:
        world.sync(code=0)
        assert "3 more districts" in _lines(_checked(world))["available"].message
        world.emulator.fail("district_vanished")
        lines = _lines(_checked(world))
        assert not lines["sharing"].passed
        assert "Its data is kept" in lines["sharing"].message


@LOOKED_UP
def test_discover_lists_the_districts_and_who_reads_them(
    store: Database,
    vendor: str,
    mode: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with at_vendor(store, _small(), vendor, mode, neighbours=1) as world:
        world.sync(code=0)
        config: dict[str, Any] = source_config(world.emulator, vendor, mode)
        file = tmp_path / "account.toml"
        file.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in config.items()))
        url = world.database.engine.url.render_as_string(hide_password=False)
        code = run(["--database", url, "discover", vendor, "--config", str(file), "--json"])
        listed = json.loads(capsys.readouterr().out)
        assert code == 0
        assert [one["status"] for one in listed] == [f"{SLUG}/sis", "available"]
        assert listed[1]["name"] == "Neighbour 1 USD"
        assert run(["--database", url, "discover", vendor, "--config", str(file)]) == 0
        assert "Neighbour 1 USD" in capsys.readouterr().out


def test_discover_reads_no_secret_in_clear_and_says_what_is_wrong_with_the_file(
    store: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = store.engine.url.render_as_string(hide_password=False)
    file = tmp_path / "account.toml"
    file.write_text("this is no TOML")
    assert run(["--database", url, "discover", "clever", "--config", str(file)]) == 2
    assert "account.toml is not valid TOML" in capsys.readouterr().err
    file.write_text('client_id = "app"\nclient_secret = "sesame"\n')
    assert run(["--database", url, "discover", "clever", "--config", str(file)]) == 2
    assert "sesame" not in capsys.readouterr().err


def test_check_prints_one_line_for_each_finding(
    store: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with at_vendor(store, _small(), "clever") as world:
        world.sync(code=0)
        url = world.database.engine.url.render_as_string(hide_password=False)
        assert run(["--database", url, "check", SLUG]) == 0
        told = capsys.readouterr().out
        assert told.startswith("sis (clever)\n  ok  connection")
        os.environ["TEST_TOKEN"] = "another"
        assert run(["--database", url, "check", SLUG, "--json"]) == 14
        document = json.loads(capsys.readouterr().out)
        assert document["sources"][0]["passed"] is False
        assert run(["--database", url, "check", SLUG, "--source", "nobody"]) == 2
        capsys.readouterr()
