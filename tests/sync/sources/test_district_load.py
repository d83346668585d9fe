"""Loading a district file into the database, on both stores."""

from __future__ import annotations

from collections.abc import Generator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy import text

import core.registry
from connectors.contract.connector import (
    Capabilities,
    Certificate,
    Connector,
    ConnectorConfig,
    FetchRequest,
    Page,
    Record,
)
from core.errors import ConfigError, UsageError
from core.models import Kind
from core.storage.database import Database, open_database
from sync.run.find import district_row, source_row
from sync.sources.connect import open_connector, secret_fields
from sync.sources.district_load import load_district_file


class Server(BaseModel):
    """A part of the config with a secret of its own."""

    host: str
    password: SecretStr | None = None


class PaperConfig(ConnectorConfig):
    """Config of a connector that reads nothing."""

    path: str = "."
    token: SecretStr | None = None
    keys: tuple[SecretStr, ...] = ()
    sftp: Server | None = None


class Paper(Connector):
    """A connector that reads nothing."""

    name = "paper"
    version = "1"
    title = "Paper"
    config_model = PaperConfig
    capabilities = Capabilities()
    streams: ClassVar[dict[str, Kind]] = {"users": Kind.USER}

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        """Serve nothing."""
        yield from ()
        return Certificate(complete=True)

    def identify(self, stream: str, raw: bytes) -> str:
        """Never called."""
        raise NotImplementedError

    def parse(self, stream: str, raw: bytes) -> Record:
        """Never called."""
        raise NotImplementedError


class Stone(Paper):
    """Another vendor."""

    name = "stone"


@pytest.fixture(autouse=True)
def _connectors(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        EntryPoint(name, f"{__name__}:{kind}", core.registry.CONNECTORS)
        for name, kind in (("paper", "Paper"), ("stone", "Stone"))
    ]

    monkeypatch.setattr(core.registry, "entry_points", lambda group: entries)
    asked_each_time = core.registry._registered_at.__wrapped__
    monkeypatch.setattr(core.registry, "_registered_at", asked_each_time)


def write(folder: Path, body: str = "", *, slug: str = "a") -> Path:
    path = folder / f"{slug}.toml"
    path.write_text(
        f'[[district]]\nslug = "{slug}"\nname = "District"\ntimezone = "UTC"\n{body}',
        encoding="utf-8",
    )
    return path


def source(
    name: str = "one", connector: str = "paper", precedence: int = 1, config: str = ""
) -> str:
    return (
        f'[[district.source]]\nname = "{name}"\nconnector = "{connector}"\n'
        f"precedence = {precedence}\n[district.source.config]\n{config}\n"
    )


def rows(database: Database, table: str) -> list[dict[str, Any]]:
    with database.read() as connection:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]


def test_loading_creates_the_districts_and_their_sources(
    database: Database, tmp_path: Path
) -> None:
    result = load_district_file(database, write(tmp_path, source(config='path = "drop"')))
    assert [(top.name, top.action) for top in result.districts] == [("a", "created")]
    assert [(one.name, one.action) for one in result.districts[0].sources] == [("one", "created")]
    (district,), (row,) = rows(database, "districts"), rows(database, "sources")
    assert (district["slug"], district["serial"]) == ("a", 0)
    assert row["district_id"] == district["id"]


def test_loading_twice_changes_nothing(database: Database, tmp_path: Path) -> None:
    body = "grace = {days = 2}\n" + source(config='token = "env:TOKEN"\nroles = ["teacher"]')
    path = write(tmp_path, body)
    load_district_file(database, path)
    before = rows(database, "districts"), rows(database, "sources")
    assert not load_district_file(database, path).changed
    assert (rows(database, "districts"), rows(database, "sources")) == before


def test_a_dry_run_shows_what_would_change_and_changes_nothing(
    database: Database, tmp_path: Path
) -> None:
    load_district_file(database, write(tmp_path, source(config='path = "old"')))
    before = rows(database, "districts"), rows(database, "sources")
    body = "[district.limits]\ndistrict = {percent = 4, least = 10}\n"
    path = write(tmp_path, body + source(config='path = "new"') + source("two", precedence=2))
    (top,) = load_district_file(database, path, dry_run=True).districts
    assert (top.action, top.changes) == ("updated", {"limits.district.percent": [5, 4]})
    assert [(one.name, one.action, one.changes) for one in top.sources] == [
        ("one", "updated", {"config.path": ["old", "new"]}),
        ("two", "created", {}),
    ]
    new = write(tmp_path, source(), slug="b")
    assert load_district_file(database, new, dry_run=True).changed
    assert (rows(database, "districts"), rows(database, "sources")) == before
    assert load_district_file(database, path).as_json()["districts"][0]["changes"] == top.changes


def test_a_source_that_leaves_the_file_is_kept_and_comes_back(
    database: Database, tmp_path: Path
) -> None:
    both = write(tmp_path, source() + source("two", precedence=2))
    load_district_file(database, both)
    (top,) = load_district_file(database, write(tmp_path, source())).districts
    assert [(one.name, one.action) for one in top.sources] == [
        ("one", "unchanged"), ("two", "not_in_file"),
    ]  # fmt: skip
    assert {row["name"]: bool(row["configured"]) for row in rows(database, "sources")} == {
        "one": True, "two": False,
    }  # fmt: skip
    assert not load_district_file(database, write(tmp_path, source())).changed
    load_district_file(database, write(tmp_path, source() + source("two", precedence=2)))
    assert all(row["configured"] for row in rows(database, "sources"))


def add_record(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO records (source_id, kind, external_id, norm_print, data, version,"
                " present, in_scope, suspect, absent_fetches, roles)"
                " SELECT id, 'user', 'x1', :print, '{}', 1, true, true, false, 0, ''"
                " FROM sources"
            ),
            {"print": b"0"},
        )


def test_a_changed_config_keeps_the_evidence_of_its_source(
    database: Database, tmp_path: Path
) -> None:
    load_district_file(database, write(tmp_path, source(config='path = "old"')))
    add_record(database)
    before = rows(database, "records")
    load_district_file(database, write(tmp_path, source(config='path = "new"')))
    assert rows(database, "records") == before


def test_a_source_that_was_read_cannot_become_another_vendor(
    database: Database, tmp_path: Path
) -> None:
    load_district_file(database, write(tmp_path, source()))
    add_record(database)
    with pytest.raises(UsageError, match="cannot become a stone source") as refused:
        load_district_file(database, write(tmp_path, source(connector="stone")))
    assert "source of its own name" in refused.value.hint


def test_a_source_never_read_may_change_its_connector(database: Database, tmp_path: Path) -> None:
    load_district_file(database, write(tmp_path, source()))
    load_district_file(database, write(tmp_path, source(connector="stone")))
    assert rows(database, "sources")[0]["connector"] == "stone"


@pytest.mark.parametrize(
    ("config", "line", "key"),
    [
        ('token = "T0PSECRET"', 10, "token"),
        ("token = 12345678", 10, "token"),
        ('keys = ["env:KEY", "T0PSECRET"]', 10, "keys"),
        ('[district.source.config.sftp]\nhost = "h"\npassword = "T0PSECRET"', 12, "sftp.password"),
    ],
)
def test_a_secret_in_clear_is_refused_with_how_to_give_it_and_never_echoed(
    database: Database, tmp_path: Path, config: str, line: int, key: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_district_file(database, write(tmp_path, source(config=config)))
    assert refused.value.message == (
        f"a.toml, line {line}: district.source.config.{key} is a secret in clear. Give env:NAME"
        " (an environment variable) or file:PATH (a file), never the secret itself."
    )
    assert rows(database, "districts") == []


def test_a_config_that_its_connector_does_not_take_is_refused_by_key_and_line(
    database: Database, tmp_path: Path
) -> None:
    config = 'pth = "x"\nroles = ["pupil"]'
    with pytest.raises(ConfigError) as refused:
        load_district_file(database, write(tmp_path, source(config=config)))
    first, second = refused.value.message.splitlines()
    assert (
        first == "a.toml, line 10: district.source.config.pth is not a key here; did you mean path?"
    )
    assert second.startswith("a.toml, line 11: district.source.config.roles should be 'student'")


def test_an_unknown_connector_is_refused_with_its_line_and_the_likely_name(
    database: Database, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_district_file(database, write(tmp_path, source(connector="papr")))
    assert "line 7: district.source.connector cannot be used." in refused.value.message
    assert "Did you mean 'paper'?" in refused.value.message


def test_one_bad_district_keeps_the_whole_file_out(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path, source())
    bad = write(tmp_path, source(config='token = "clear"'), slug="b")
    path.write_text(path.read_text() + bad.read_text())
    with pytest.raises(ConfigError):
        load_district_file(database, path)
    assert rows(database, "districts") == []


def test_a_connector_is_opened_with_its_secrets_read_at_that_moment(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    config = (
        f'token = "env:PAPER_TOKEN"\nsftp = {{host = "h", password = "file:{tmp_path}/password"}}'
    )
    database = open_database(sqlite_url)
    load_district_file(database, write(tmp_path, source(config=config)))
    with database.read() as connection:
        from core.storage.tables import Source  # the row as the engine reads it

        row = connection.execute(Source.__table__.select()).one()  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="PAPER_TOKEN is not set"):
        open_connector(row)
    monkeypatch.setenv("PAPER_TOKEN", "t0ken")
    opened = open_connector(row)
    assert isinstance(opened.config, PaperConfig)
    assert opened.config.token is not None
    assert opened.config.token.get_secret_value() == "t0ken"
    assert opened.config.sftp is not None
    assert opened.config.sftp.password == SecretStr("s3cret")
    assert "t0ken" not in repr(opened.config)
    assert secret_fields(PaperConfig) == ["token", "keys", "sftp.password"]


def test_a_mapping_rule_that_cannot_be_read_is_refused_by_key_and_line(
    database: Database, tmp_path: Path
) -> None:
    body = source() + '[district.source.mapping]\nusername = "{sis.id}"\nemial = "{email}"\n'
    with pytest.raises(ConfigError) as refused:
        load_district_file(database, write(tmp_path, body))
    assert "a.toml, line 13: district.source.mapping.emial cannot be used" in refused.value.message
    assert "username cannot" not in refused.value.message


def test_relative_paths_start_at_the_district_file_wherever_it_is_loaded_from(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, source(config='path = "drop"'))
    monkeypatch.chdir(tmp_path)
    load_district_file(database, Path("a.toml"))
    monkeypatch.chdir("/")
    assert not load_district_file(database, tmp_path / "a.toml").changed
    with database.read() as connection:
        row = district_row(connection, "a")
        assert row.settings["directory"] == str(tmp_path.resolve())
        assert source_row(connection, row, "one").config == {"path": "drop"}
