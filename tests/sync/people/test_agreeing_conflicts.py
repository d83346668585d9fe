"""``resolve --all-agreeing`` links where names and address agree; all else is left to a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.storage.database import Database
from tests.kit.command_line import Cli, D
from tests.kit.user_files import district
from tests.kit.world import World


def test_those_who_agree_are_linked_at_once_and_the_others_stay_open_and_listed(
    world: World, cli: Cli
) -> None:
    """The vendor gives everybody a new id: some agree in everything, some only in the address."""
    said = {
        "both": {"given_name": "Maya", "family_name": "Singh"},
        "accent": {"given_name": "Zoë", "family_name": "Núñez"},
        "mononym": {"given_name": "Suharto", "family_name": None},
        "married": {"given_name": "Kim", "family_name": "Park"},
        "gained": {"given_name": "Cher", "family_name": None},
    }
    for key, names in said.items():
        world.sis.student(f"old-{key}", email=f"{key}@x.example", **names)
    world.sync(code=0)
    before = {key: world.id_of(f"old-{key}") for key in said}
    said["married"] = {"given_name": "Kim", "family_name": "Lee"}
    said["gained"] = {"given_name": "Cher", "family_name": "Bono"}
    for key, names in said.items():
        world.sis.without(f"old-{key}")
        world.sis.student(f"new-{key}", email=f"{key}@x.example", **names)
    world.sync()
    assert len(world.conflicts()) == 5
    assert "In 3 of these both names and the address agree." in cli("conflicts", D).out
    decided = cli("resolve", D, "--all-agreeing", "--json")
    assert decided.code == 0
    agreeing = {"both", "accent", "mononym"}
    assert {one["user_id"] for one in decided.document["decided"]} == {
        before[key] for key in agreeing
    }
    left = cli("conflicts", D, "--json").document
    assert {one["external_id"] for one in left} == {"new-married", "new-gained"}
    listed = cli("conflicts", D).out
    assert "Kim Lee" in listed
    assert "Cher Bono" in listed
    assert "agree." not in listed, "nobody is left who agrees in everything"
    world.sync()
    for key in agreeing:
        assert world.id_of(f"new-{key}") == before[key], key
    assert {key for _, key, _, _ in world.conflicts()} == {"new-married", "new-gained"}
    assert set(world.statuses().values()) == {"active"}, "nobody leaves meanwhile"
    again = cli("resolve", D, "--all-agreeing")
    assert "In no open conflict do both names and the address agree" in again.out


@pytest.mark.parametrize("key", ["oldBirch", "newBirch"])
def test_rows_of_a_clever_set_that_contradict_each_other_are_left_out_of_what_is_decided_at_once(
    database: Database, tmp_path: Path, cli: Cli, key: str
) -> None:
    """All others have new ids; the two rows of one disagree about who that is (F12, F14)."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "schools.csv").write_text("School_id,School_name\n1,Lincoln\n2,Grant\n")
    (folder / "teachers.csv").write_text(
        "School_id,Teacher_id,Last_name,First_name\n1,t1,Park,Dee\n"
    )
    district(database, tmp_path, 'path = "set"', connector="clever_csv")

    def write(*rows: str) -> None:
        header = "School_id,Student_id,Last_name,First_name,Student_email\n"
        (folder / "students.csv").write_text(header + "".join(f"{row}\n" for row in rows))

    def student(key: str, name: str, family: str | None = None, school: int = 1) -> str:
        return f"{school},{key},{family or name},Ana,{name.lower()}@springfield.example"

    names = ("Alder", "Birch", "Cedar", "Doyle")
    write(*(student(f"old{name}", name) for name in names))
    assert cli("sync", D).code == 0
    before = {one["email"]: one["id"] for one in cli("users", D, "--json").document}
    write(
        *(student(f"new{name}", name) for name in names if name != "Birch"),
        student(key, "Birch"), student(key, "Birch", "Quill", 2),
    )  # fmt: skip
    cli("sync", D)
    skipped = cli("skipped", D).out
    assert key not in {one["external_id"] for one in cli("conflicts", D, "--json").document}
    assert "students.csv" in skipped
    assert "In 3 of these both names and the address agree." in cli("conflicts", D).out
    decided = cli("resolve", D, "--all-agreeing", "--json").document["decided"]
    assert {one["user_id"] for one in decided} == {
        before[f"{name.lower()}@springfield.example"] for name in names if name != "Birch"
    }
    for _ in range(3):
        cli("sync", D)
    after = cli("users", D, "--json").document
    assert {one["email"]: one["id"] for one in after} == before, "nobody is there twice"
    assert {one["status"] for one in after} == {"active"}, "nobody left"
    if key == "newBirch":  # once the rows are corrected, the person has the new id
        write(*(student(f"new{name}", name) for name in names))
        cli("sync", D)
        assert cli("conflicts", D, "--json").document != []
        cli("resolve", D, "--all-agreeing")
        cli("sync", D)
        last = cli("users", D, "--json").document
        assert {one["email"]: one["id"] for one in last} == before
        assert {one["status"] for one in last} == {"active"}
