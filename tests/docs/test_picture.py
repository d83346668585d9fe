"""The picture of the rooms is the one that the imports of the code give."""

from __future__ import annotations

from collections import Counter

import pytest

from docs.picture import PICTURE, arrows, draw, layers, read_rooms, room_of, without_circles
from tests.docs.console import ROOT

ROOMS = {
    "rostersync/cli": Counter({"sync/planning": 2, "core": 9}),
    "sync/planning": Counter({"sync/rules": 3, "core": 1}),
    "sync/rules": Counter({"core": 4, "connectors/contract": 1}),
    "connectors/contract": Counter({"core": 1}),
    "core": Counter(),
}


def test_the_picture_is_current() -> None:
    current = PICTURE.read_text(encoding="utf-8")
    assert current == draw(read_rooms()), "run make picture and commit it"


def test_every_folder_of_the_code_is_a_room_of_the_picture_or_of_its_page() -> None:
    page = (ROOT / "docs" / "design" / "architecture.md").read_text(encoding="utf-8")
    folders = [
        folder
        for package in ("rostersync", "sync")
        for folder in (ROOT / package).iterdir()
        if (folder / "__init__.py").exists()
    ]
    assert len(folders) > 10
    assert [f for f in folders if f"`{f.parent.name}/{f.name}/`" not in page] == []


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    down, upward = without_circles(ROOMS)
    assert upward == []
    assert set(arrows(down)) == {
        ("rostersync/cli", "sync/planning"),
        ("sync/planning", "sync/rules"),
        ("sync/rules", "connectors/contract"),
        ("connectors/contract", "core"),
    }
    assert [row for row in layers(down) if row[0].startswith("sync")] == [
        ["sync/planning"],
        ["sync/rules"],
    ]


def test_of_two_rooms_that_import_each_other_the_rarer_import_runs_upward() -> None:
    circle = {**ROOMS, "sync/rules": Counter({"core": 4, "sync/planning": 1})}
    down, upward = without_circles({**circle, "connectors/contract": Counter({"core": 1})})
    assert upward == [("sync/rules", "sync/planning")]
    assert "sync/rules" in down["sync/planning"]


@pytest.mark.parametrize(
    ("module", "room"),
    [
        ("sync", None),
        ("sync.engine", "sync/engine.py"),
        ("sync.rules.limits", "sync/rules"),
        ("core.storage.database", "core"),
        ("connectors.user_csv", "connectors/vendors"),
        ("connectors.contract.connector", "connectors/contract"),
    ],
)
def test_a_module_is_in_the_room_of_its_folder(module: str, room: str | None) -> None:
    assert room_of(module) == room
