"""``resolve --all-agreeing`` links where names and address agree; all else is left to a person."""

from __future__ import annotations

from tests.kit.command_line import Cli, D
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
