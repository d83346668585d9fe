"""What a run tells on its way: deletions, the end of a pause, the run that takes an act back."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from rostersync.cli.printing.outcomes import suspected_sentence
from sync.run.clock import utc_now
from tests.kit.command_line import Cli, D
from tests.kit.world import World


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1 person was called deleted by the vendor, and stays"), (2, "2 people were called")],
)
def test_deletions_that_prove_nothing_yet_are_told(number: int, said: str) -> None:
    sentence = suspected_sentence(number)
    assert sentence.startswith(said)
    assert "--full" in sentence


def test_a_sync_in_a_pause_says_until_when(world: World, cli: Cli) -> None:
    until = (utc_now() + timedelta(days=9)).date()
    world.sis.students(3)
    world.save()
    assert cli("pause", D, "--until", until.isoformat()).code == 0
    called = cli("sync", D)
    assert called.code == 0
    assert f"The district is paused until {until}, this day included:" in called.out
    assert f"rostersync schedule {D}" in called.out
    document = cli("sync", D, "--json").document
    assert (document["status"], document["paused_until"]) == ("paused", until.isoformat())


def test_a_pause_without_an_end_says_who_ends_it(world: World, cli: Cli) -> None:
    assert cli("pause", D).code == 0
    called = cli("sync", D)
    assert f"The district is paused until somebody resumes it (rostersync resume {D})" in (
        called.out
    )
    assert cli("sync", D, "--json").document["paused_until"] is None


@pytest.mark.usefixtures("world")
def test_every_act_by_hand_names_the_run_that_undo_takes_back(cli: Cli) -> None:
    added = cli("user", "add", D, "--given", "Rae", "--family", "Hand", "--role", "staff")
    user = added.out.split()[0]
    acts = [
        added,
        cli("user", "edit", D, user, "--family", "Other"),
        cli("user", "archive", D, user),
        cli("user", "restore", D, user),
        cli("user", "lock", D, user, "--field", "email"),
    ]
    for act in acts:
        assert act.code == 0, act
        (run,) = re.findall(r"To take it back: rostersync undo (R\d+)$", act.out, re.M)
        undone = cli("undo", run)
        assert undone.code == 0, undone
    again = cli("user", "lock", D, user, "--field", "email")
    assert "It was so already." in again.out
    assert "undo" not in again.out, "nothing was done, so there is nothing to take back"
