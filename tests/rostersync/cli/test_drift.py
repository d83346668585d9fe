"""``show --drift`` through the command line: whose changes of a plan no longer fit, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.command_line import Cli, D, synced, users
from tests.kit.oneroster_folder import Folder, Person, students, teachers


@pytest.fixture
def folder(tmp_path: Path, cli: Cli) -> Folder:
    """A district of 14 people, and a plan P2 that archives a student, takes one in, edits one."""
    folder = Folder(tmp_path)
    folder.write([*teachers(1, 2), *students(*range(12))])
    assert cli("load", str(folder.file)).code == 0
    synced(cli)
    folder.write(
        [*teachers(1, 2), *students(*range(2, 12)), Person("st0001", "Elsewhere"),
         Person("new", "Comer")]
    )  # fmt: skip
    assert cli("plan", D).code == 0
    return folder


def id_of(cli: Cli, key: str) -> str:
    """Return the id of the user with this key."""
    (user,) = users(cli, "--search", f"{key}@")
    return str(user["id"])


def test_a_plan_that_fits_drifts_nowhere(cli: Cli, folder: Folder) -> None:
    called = cli("show", "P2", "--drift")
    assert called.code == 0
    assert called.out == "P2 fits: nothing that it rests on has moved.\n"
    document = cli("show", "P2", "--drift", "--json").document
    assert document["plans"][0]["drift"] == []
    assert document["plans"][0]["plan"]["id"] == "P2"


def test_drift_names_who_was_edited_and_of_whom_the_source_says_otherwise(
    cli: Cli, folder: Folder
) -> None:
    edited, back = id_of(cli, "st0001"), id_of(cli, "st0000")
    assert cli("user", "edit", D, edited, "--given", "Kim").code == 0
    folder.write(
        [*teachers(1, 2), *students(0, *range(2, 12)), Person("st0001", "Elsewhere"),
         Person("new", "Comer", given="Robin")]
    )  # fmt: skip
    cli("plan", D)
    called = cli("show", "P2", "--drift", "--json")
    assert called.code == 11
    (plan,) = called.document["plans"]
    found = {one["user_id"]: (one["actions"], one["moved"]) for one in plan["drift"]}
    assert found.pop(edited) == (["update"], ["revision"])
    assert found.pop(back) == (["archive"], ["evidence"])
    assert list(found.values()) == [(["create"], ["evidence"])]
    told = cli("show", "P2", "--drift")
    assert told.code == 11
    rows = [line.split() for line in told.out.splitlines()]
    assert [edited, "update", "changed", "here", "since"] in rows
    assert "3 no longer fit, so P2 would apply nothing." in told.out
    assert cli("show", "P2", "--drift", "--format", "json").document == called.document


def test_who_drifts_is_who_apply_refuses(cli: Cli, folder: Folder) -> None:
    edited = id_of(cli, "st0001")
    cli("user", "edit", D, edited, "--given", "Kim")
    drift = cli("show", "P2", "--drift", "--json").document["plans"][0]["drift"]
    refused = cli("apply", "P2", "--json")
    assert refused.code == 11
    assert [one["user_id"] for one in drift] == [edited]
    assert edited in refused.document["error"]["message"]
    assert cli("show", "P2", "--drift").code == 11, "it can be looked at afterwards too"


def test_an_applied_plan_drifts_no_more(cli: Cli, folder: Folder) -> None:
    assert cli("apply", "P2").code == 0
    called = cli("show", "P2", "--drift")
    assert (called.code, called.out) == (0, "P2 was applied: it fitted.\n")


def test_drift_of_a_plan_that_is_not_there_is_wrong_usage(cli: Cli, folder: Folder) -> None:
    assert cli("show", "P9", "--drift", "--json").code == 2
