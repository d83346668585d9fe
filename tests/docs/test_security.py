"""What the page on security says can be done, done."""

from __future__ import annotations

import re
import shutil

import pytest
from sqlalchemy import text

from core.storage.database import Database
from tests.docs.console import ROOT, Reader, blocks

PAGE = ROOT / "docs" / "security.md"
DISTRICT = """\
[[district]]
slug = "a"
name = "A"
timezone = "America/Chicago"
[[district.source]]
name = "sis"
connector = "oneroster_csv"
[district.source.config]
path = "roster.zip"
"""


def test_every_promise_of_the_page_names_a_test_that_there_is() -> None:
    promised = re.findall(
        r"^\| .* \| `(tests/[\w/]+\.py)::(\w+)` \|$", PAGE.read_text("utf-8"), re.M
    )
    assert len(promised) > 20
    rows = PAGE.read_text("utf-8").count("| `tests/")
    assert len(promised) == rows, "a promise whose test cannot be read"
    missing = [
        f"{file}::{name}"
        for file, name in promised
        if not (ROOT / file).exists() or f"\ndef {name}(" not in (ROOT / file).read_text("utf-8")
    ]
    assert missing == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the page makes a key with openssl")
def test_the_commands_of_the_page_come_to_what_it_shows(reader: Reader) -> None:
    reader.follow(PAGE)
    assert (reader.folder / "rostersync.key").stat().st_mode & 0o077 == 0


def test_another_key_is_taken_by_a_command_only_and_changes_nobody(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    (reader.folder / "district.toml").write_text(DISTRICT, encoding="utf-8")
    reader.do("rostersync emulate --users 20 --csv roster.zip")
    reader.do("rostersync load district.toml")
    reader.do("rostersync sync a")
    before = reader.do("rostersync users a --json")
    monkeypatch.setenv("ROSTERSYNC_KEY", "another key, made by us")
    with pytest.raises(AssertionError, match="db new-key"):
        reader.do("rostersync sync a")
    reader.do("rostersync db new-key")
    assert "nothing to do" in reader.do("rostersync sync a")
    assert reader.do("rostersync users a --json") == before


def test_the_role_that_runs_the_syncs_needs_no_more_than_the_page_grants(
    reader: Reader, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROSTERSYNC_KEY", "0" * 64)
    owner = Database(postgresql_url)
    owner.upgrade()
    (sql,) = [
        block.text for block in blocks(PAGE.read_text(encoding="utf-8")) if block.kind == "sql"
    ]
    name = owner.url.database
    with owner.write() as connection:
        connection.execute(text("DROP ROLE IF EXISTS rostersync_run"))
        connection.execute(text("CREATE ROLE rostersync_run LOGIN"))
        connection.execute(text(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC'))
        for statement in sql.replace("DATABASE rostersync ", f'DATABASE "{name}" ').split(";"):
            if statement.strip():
                connection.execute(text(statement))
    url = owner.url.set(username="rostersync_run").render_as_string(hide_password=False)
    monkeypatch.setenv("ROSTERSYNC_DATABASE_URL", url)
    (reader.folder / "district.toml").write_text(DISTRICT, encoding="utf-8")
    try:
        reader.do("rostersync emulate --users 20 --csv roster.zip")
        reader.do("rostersync load district.toml")
        assert "applied" in reader.do("rostersync sync a")
        reader.do("rostersync emulate --users 20 --day 1 --csv roster.zip")
        reader.do("rostersync sync a --full")
        assert "intact" in reader.do("rostersync db verify")
        assert "a.example" in reader.do("rostersync export a")
    finally:
        with owner.write() as connection:
            connection.execute(text("DROP OWNED BY rostersync_run"))
            connection.execute(text("DROP ROLE rostersync_run"))
        owner.close()
